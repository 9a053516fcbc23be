"""Triggering an agent from its page, and the result."""

import pytest
from playwright.sync_api import expect

import browser as chromium
from model import refuses, says, waits


@pytest.fixture
def try_it(signed_in):
    """Opens an agent's page, and returns its part \"Try it\"."""

    def open_it(agent):
        signed_in.goto(f"/console/agents/{agent['agent_id']}")
        part = signed_in.get_by_role("region", name="Try it")
        expect(part).to_be_visible()
        return part

    return open_it


def send(part):
    part.get_by_role("button", name="Send").click()


def test_a_payload_is_sent_and_the_task_followed_to_its_answer(signed_in, try_it, api, model):
    turn = waits(says("The order is **on its way**."))
    agent = api.create(name="tried", prompt="Order {{ payload.order.id }}", model=model.playing(turn))
    part = try_it(agent)
    expect(part.get_by_label("Payload")).to_have_value('{\n  "order": {\n    "id": "…"\n  }\n}')
    part.get_by_label("Payload").fill('{"order":{"id":7.50}}')
    send(part)
    expect(part).to_contain_text("A new task.")
    expect(part.get_by_label("Webhook response")).to_contain_text('"success":true')
    expect(part).to_contain_text("Running")
    turn.held.set()
    expect(part.locator(".answer strong")).to_have_text("on its way")
    expect(signed_in.get_by_role("table", name="Latest tasks")).to_contain_text("Succeeded", timeout=10_000)
    chromium.examine(signed_in, "try-it")
    assert model.requests[-1]["messages"][-1]["content"] == '{"order":{"id":7.50}}'
    part.get_by_role("link", name="Open the task").click()
    expect(signed_in.get_by_role("region", name="Answer", exact=True)).to_contain_text("on its way")


def test_the_same_key_returns_the_same_task_and_a_new_key_creates_another(signed_in, try_it, api):
    agent = api.create(name="keyed", sources=[{"title": "Help", "text": "What you can do: ask a question."}])
    part = try_it(agent)
    part.get_by_role("button", name="New key").click()
    key = part.get_by_label("Idempotency-Key").input_value()
    answer = part.get_by_label("Webhook response")
    send(part)
    expect(part).to_contain_text("A new task.")
    first = answer.inner_text()
    part.get_by_label("Payload").fill('{"another":"payload"}')
    send(part)
    expect(part.locator(".http-answer")).to_contain_text("without a new run")
    assert answer.inner_text() == f"Idempotent-Replayed: true\n\n{first}"
    part.get_by_role("button", name="New key").click()
    assert part.get_by_label("Idempotency-Key").input_value() != key
    send(part)
    expect(part.locator(".http-answer")).to_contain_text("A new task.")
    assert answer.inner_text() != first


def test_a_get_sends_its_rows_as_the_query(signed_in, try_it, api, model):
    agent = api.create(name="by-get", model=model.playing(says("ok")))
    part = try_it(agent)
    part.get_by_role("button", name="GET").click()
    part.get_by_label("Name 1").fill("tag")
    part.get_by_label("Value 1").fill("a & b")
    part.get_by_role("button", name="Add a row").click()
    part.get_by_label("Name 2").fill("tag")
    part.get_by_label("Value 2").fill("ü")
    part.get_by_role("button", name="Add a row").click()
    part.get_by_role("button", name="Remove row 3").click()
    chromium.examine(signed_in, "try-it-get")
    send(part)
    expect(part.locator(".answer")).to_contain_text("ok")
    assert model.requests[-1]["messages"][-1]["content"] == '{"tag":["a & b","ü"]}'


def test_an_invalid_payload_is_not_sent_and_the_position_is_shown(signed_in, try_it, api):
    part = try_it(api.create(name="wrong-json"))
    part.get_by_label("Payload").fill('{\n  "a": 1\n  "b": 2\n}')
    expect(part).to_contain_text("Line 3, column 3: a comma or } is missing")
    send(part)
    expect(part.get_by_label("Webhook response")).to_have_count(0)
    expect(part.get_by_label("Payload")).to_have_attribute("aria-invalid", "true")
    part.get_by_label("Payload").fill('{"b":2,"a":1.0}')
    part.get_by_role("button", name="Format").click()
    expect(part.get_by_label("Payload")).to_have_value('{\n  "b": 2,\n  "a": 1.0\n}')


def test_a_failed_task_is_explained_on_the_agents_page(signed_in, try_it, api, model):
    part = try_it(api.create(name="tried-without-success", model=model.playing(refuses(401))))
    send(part)
    expect(part).to_contain_text("The model failed")
    expect(part).to_contain_text("What to do")
    chromium.check_barriers(signed_in)


def test_an_error_response_of_the_webhook_is_shown_unchanged(signed_in, try_it, api, faults):
    faults.allow("answer: 404 POST")
    part = try_it(api.create(name="switched-off", enabled=False))
    send(part)
    expect(part.locator(".http-answer")).to_contain_text("404")
    expect(part.get_by_label("Webhook response")).to_contain_text("agent_not_found")
    expect(part).to_contain_text("The agent is disabled: enable it in its definition.")
    chromium.examine(signed_in, "try-it-disabled")


def test_a_retried_task_is_not_shown_as_waiting_in_the_queue(signed_in, try_it, api, model):
    turn = waits(says("At last."))
    part = try_it(api.create(name="tried-again", model=model.playing(turn)))

    def given_back(route):
        route.fulfill(json={**route.fetch().json(), "status": "PENDING", "attempt": 1})

    signed_in.route("**/api/task_status*", given_back)
    send(part)
    expect(part).to_contain_text("The last attempt did not succeed. The task is waiting for the next one.")
    signed_in.unroute("**/api/task_status*")
    turn.held.set()
    expect(part.locator(".answer")).to_contain_text("At last.")


def test_a_response_is_cleared_when_the_method_changes_or_the_payload_is_invalid(signed_in, try_it, api):
    part = try_it(api.create(name="cleared", sources=[{"title": "Help", "text": "What you can do: ask a question."}]))
    answer = part.get_by_label("Webhook response")
    send(part)
    expect(answer).to_be_visible()
    part.get_by_label("Payload").fill('{"another":"question"}')
    expect(answer).to_be_visible()
    part.get_by_label("Payload").fill('{"another":')
    expect(answer).to_have_count(0)
    part.get_by_label("Payload").fill('{"another":"question"}')
    send(part)
    expect(answer).to_be_visible()
    part.get_by_role("button", name="GET").click()
    expect(answer).to_have_count(0)


def test_an_agent_can_be_tried_with_the_keyboard_alone(signed_in, try_it, api):
    part = try_it(api.create(name="by-keyboard", sources=[{"title": "Help", "text": "What you can do: ask a question."}]))
    part.get_by_label("Payload").focus()
    for _ in range(3):
        signed_in.keyboard.press("Tab")
    expect(part.get_by_role("button", name="Send")).to_be_focused()
    signed_in.keyboard.press("Enter")
    expect(part.locator(".answer")).to_be_visible()
    expect(part.get_by_role("button", name="Send")).to_be_focused()
