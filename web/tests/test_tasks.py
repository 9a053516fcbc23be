"""The list of tasks, and the page of one task."""

import json
import re

import pytest
import requests
from playwright.sync_api import expect

import browser as chromium
from model import calls, refuses, says, waits

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


# An agent without a model that has an answer to {"n": 1}.
ANSWERING = {"sources": [{"title": "Numbers", "text": "The number n is 1."}]}


def open_tasks(page, **query):
    page.goto("/console/tasks?" + "&".join(f"{name}={value}" for name, value in query.items()))
    expect(page.get_by_role("heading", name="Tasks", level=1)).to_be_visible()


def open_task(page, task_id):
    page.goto(f"/console/tasks/{task_id}")
    expect(page.get_by_role("region", name="Details")).to_be_visible()


def rows(page):
    return page.get_by_role("table", name="Tasks, newest first").locator("tbody tr")


def region(page, name):
    return page.get_by_role("region", name=name, exact=True)


def post_text(agent, payload):
    """Sends the JSON text unchanged, and returns the task id."""
    answer = requests.post(agent["webhook_url"], data=payload.encode(), headers={"Content-Type": "application/json"}, timeout=30)
    return answer.json()["task_id"]


def test_a_task_appears_in_the_list_and_ends_there_without_a_reload(signed_in, api, model):
    turn = waits(says("done"))
    agent = api.create(name="slow", model=model.playing(turn))
    open_tasks(signed_in, agent_id=agent["agent_id"])
    expect(signed_in.get_by_text("No tasks match the filter")).to_be_visible()
    task = api.trigger(agent, {"number": 1})
    signed_in.get_by_role("button", name="Refresh").click()
    row = rows(signed_in)
    expect(row).to_contain_text("Running")
    row.get_by_role("link", name=task[-8:]).focus()
    turn.held.set()
    expect(row).to_contain_text("Succeeded")
    expect(row.get_by_role("link", name=task[-8:])).to_be_focused()
    expect(signed_in.get_by_text("1 task: 1 succeeded")).to_be_attached()


def test_a_failure_is_filtered_by_status_and_explained(signed_in, api, model):
    model_ = model.playing(says("fine"), says("fine"), refuses(400))
    agent = api.create(name="sometimes", model=model_)
    for number in range(3):
        ended = api.run(agent, {"number": number})
    assert ended["status"] == "FAILURE"
    open_tasks(signed_in)
    signed_in.get_by_label("Agent").select_option("sometimes")
    expect(rows(signed_in)).to_have_count(3)
    signed_in.get_by_label("Status").select_option("Failed")
    expect(rows(signed_in)).to_have_count(1)
    expect(signed_in).to_have_url(re.compile(rf"agent_id={agent['agent_id']}&status=FAILURE"))
    signed_in.reload()
    expect(signed_in.get_by_label("Status")).to_have_value("FAILURE")
    chromium.examine(signed_in, "tasks-failed")
    rows(signed_in).get_by_role("link", name=ended["task_id"][-8:]).click()
    why = region(signed_in, "Why it failed")
    expect(why).to_contain_text("The model failed")
    expect(why).to_contain_text(ended["error"]["message"])
    expect(why).to_contain_text("Check the model's address, name and key")
    link = why.get_by_role("link", name="Open the agent’s definition")
    expect(link).to_have_attribute("href", f"/console/agents/{agent['agent_id']}/definition")
    chromium.examine(signed_in, "task-failed")


def test_a_row_is_opened_with_a_click_anywhere_but_on_its_agent(signed_in, api):
    agent = api.create(name="clicked", **ANSWERING)
    task = api.run(agent, {"n": 1})["task_id"]
    open_tasks(signed_in, agent_id=agent["agent_id"])
    rows(signed_in).click()
    expect(signed_in).to_have_url(re.compile(f"/console/tasks/{task}$"))
    signed_in.go_back()
    rows(signed_in).get_by_role("link", name="clicked").click()
    expect(signed_in).to_have_url(re.compile(f"/console/agents/{agent['agent_id']}$"))


def test_the_list_of_tasks_has_pages_and_a_link_to_the_newest(signed_in, api, model):
    agent = api.create(name="many", model=model.playing(says("one", tokens=(1200, 90)), says("two"), says("three"), refuses(400)))
    ids = [api.trigger(agent, {"n": number}) for number in range(30)]
    for task in ids:
        api.wait_for_end(task)
    open_tasks(signed_in, agent_id=agent["agent_id"])
    expect(rows(signed_in)).to_have_count(25)
    expect(rows(signed_in).first).to_contain_text(ids[-1][-8:])
    chromium.examine(signed_in, "tasks")
    signed_in.get_by_role("link", name="Older").click()
    expect(rows(signed_in)).to_have_count(5)
    expect(rows(signed_in).last).to_contain_text(ids[0][-8:])
    expect(signed_in.get_by_role("link", name="Older")).to_have_count(0)
    signed_in.go_back()
    expect(rows(signed_in)).to_have_count(25)
    signed_in.go_forward()
    signed_in.get_by_role("link", name="Newest").click()
    expect(rows(signed_in)).to_have_count(25)


def test_a_filter_without_matches_links_to_all_tasks(signed_in, api):
    agent = api.create(name="idle")
    open_tasks(signed_in, agent_id=agent["agent_id"], status="FAILURE")
    expect(signed_in.get_by_role("heading", name="No tasks match the filter")).to_be_visible()
    chromium.examine(signed_in, "tasks-none")
    signed_in.get_by_role("link", name="Show all tasks").click()
    expect(signed_in.get_by_label("Status")).to_have_value("")


def test_a_failed_load_of_the_list_is_shown_and_can_be_retried(signed_in, api, faults):
    api.run(api.create(name="read-again"), {"n": 1})
    faults.allow("answer: 503")
    refusal = {"success": False, "message": "Storage cannot take it now", "code": "unavailable", "reference": "ref-1234"}
    signed_in.route("**/api/tasks?*", lambda route: route.fulfill(status=503, json=refusal))
    open_tasks(signed_in)
    alert = signed_in.get_by_role("alert")
    expect(alert).to_contain_text("Storage cannot take it now")
    expect(alert).to_contain_text("ref-1234")
    chromium.examine(signed_in, "tasks-error")
    signed_in.unroute("**/api/tasks?*")
    alert.get_by_role("button", name="Try again").click()
    expect(rows(signed_in).first).to_be_visible()


def test_a_short_page_shows_the_time_it_searched_back_to_and_continues_there(signed_in, api):
    api.run(api.create(name="looked-at"), {"n": 1})
    requested = []

    def nothing_yet(route):
        requested.append(route.request.url)
        if "cursor=" in route.request.url:
            return route.continue_(url=route.request.url.split("?")[0])
        return route.fulfill(json={"tasks": [], "next_cursor": "further", "looked_back_to": "2026-11-24T05:00:00.000Z"})

    signed_in.route("**/api/tasks?*", nothing_yet)
    open_tasks(signed_in, status="FAILURE")
    expect(signed_in.get_by_text("No tasks match the filter since 24 Nov 2026, 10:30:00")).to_be_visible()
    signed_in.get_by_role("link", name="Search older tasks").click()
    expect(rows(signed_in).first).to_be_visible()
    assert any("cursor=further" in url and "status=FAILURE" in url for url in requested)


def test_a_running_task_is_followed_to_its_answer_without_a_reload(signed_in, api, model):
    turn = waits(says("It is **done**."))
    agent = api.create(name="followed", model=model.playing(turn))
    task = api.trigger(agent, {"n": 1})
    open_task(signed_in, task)
    expect(signed_in.get_by_text("The agent is running")).to_be_visible()
    expect(region(signed_in, "Timeline")).to_contain_text("so far")
    chromium.examine(signed_in, "task-running")
    signed_in.get_by_role("button", name="Raw").focus()
    turn.held.set()
    expect(region(signed_in, "Answer").locator("strong")).to_have_text("done")
    expect(region(signed_in, "Timeline")).to_contain_text("Succeeded")
    expect(signed_in.get_by_text("The task succeeded")).to_be_attached()


def test_a_released_attempt_is_shown_with_its_reason(signed_in, api, model):
    agent = api.create(name="second-try", model=model.playing(refuses(503), says("Now it works.")))
    task = api.run(agent, {"n": 1})
    assert task["attempt"] == 2
    open_task(signed_in, task["task_id"])
    timeline = region(signed_in, "Timeline")
    for part in ["Attempt 1", "Failed, retried:", "model_error", "Pause", "Attempt 2", "Succeeded"]:
        expect(timeline).to_contain_text(part)
    chromium.examine(signed_in, "task-retried")


def test_tool_calls_sources_thought_and_usage_are_shown(signed_in, api, model):
    turns = [calls(("search_sources", {"query": "returns", "limit": 3})), says(ANSWER, tokens=(1200, 98))]
    agent = api.create(name="with-tools", model=model.playing(*turns), tools=[{"type": "search_sources"}],
                       sources=[{"title": "Returns policy", "text": "Returns are free within 30 days."}])
    task = post_text(agent, json.dumps({"question": "Until when can I return the kettle?", "order": {"id": 7, "lines": [{"sku": "K-1"}]}}))
    api.wait_for_end(task)
    open_task(signed_in, task)
    tools = region(signed_in, "Tool calls")
    expect(tools).to_contain_text("1 call in 1 turn")
    tools.get_by_text("search_sources").click()
    expect(tools.get_by_label("Arguments of search_sources")).to_contain_text('"limit": 3')
    expect(tools).to_contain_text("Returns are free within 30 days.")
    sources = region(signed_in, "Sources")
    sources.get_by_text("Returns policy").click()
    expect(sources).to_contain_text("Returns are free within 30 days.")
    details = region(signed_in, "Details")
    expect(details).to_contain_text("1,211 in, 102 out")
    expect(details).to_contain_text(re.compile(r"Expires\s*in 24 h"))
    answer = region(signed_in, "Answer")
    expect(answer.get_by_role("heading", name="Returns")).to_be_visible()
    expect(answer.get_by_role("cell", name="30 days")).to_be_visible()
    chromium.examine(signed_in, "task")


ANSWER = """# Returns

You can send the kettle back **until 24 December**, as the [policy](https://example.com/returns) says.

| what | until |
|:--|--:|
| unopened | 30 days |
| opened | 14 days |

1. Print the label.
2. Drop it off:
   - [x] packed
   - [ ] at the post office

```json
{ "order": 7, "state": "return announced" }
```
"""


def test_an_answer_and_a_payload_full_of_html_are_shown_as_text(signed_in, api, model):
    content = f"# {HOSTILE}\n\n{HOSTILE}\n\n[click](javascript:document.title='owned')\n\n![x](https://elsewhere.example/x.png)"
    agent = api.create(name="hostile", model=model.playing(says(content)))
    task = api.trigger(agent, {"note": HOSTILE, HOSTILE: [HOSTILE]})
    api.wait_for_end(task)
    open_task(signed_in, task)
    answer, payload = region(signed_in, "Answer"), region(signed_in, "Payload")
    expect(answer).to_contain_text(HOSTILE)
    expect(payload).to_contain_text("<script>document.title='owned'</script>")
    for part in (answer, payload):
        assert part.locator("script, img, iframe, [onerror]").count() == 0
    expect(answer.get_by_role("link", name="click")).to_have_count(0)
    expect(answer.get_by_role("link", name="Image: x")).to_have_attribute("rel", "noopener noreferrer nofollow")
    for part in (answer, payload):
        part.get_by_role("button", name="Raw").click()
        expect(part.locator("pre")).to_contain_text("<img src=x")
    assert "owned" not in signed_in.title()
    chromium.check_barriers(signed_in)


def test_digits_and_the_order_of_names_are_preserved(signed_in, api):
    agent = api.create(name="digits")
    task = post_text(agent, '{"z": 1.50, "10": 123456789012345678901234567890, "2": 1e2, "a": -0.0}')
    api.wait_for_end(task)
    open_task(signed_in, task)
    payload = region(signed_in, "Payload")
    payload.get_by_role("button", name="Raw").click()
    shown = payload.get_by_label("Payload as text").inner_text()
    assert shown == '{\n  "z": 1.50,\n  "10": 123456789012345678901234567890,\n  "2": 1e2,\n  "a": -0.0\n}'
    payload.get_by_role("button", name="Copy payload").click()
    assert signed_in.evaluate("navigator.clipboard.readText()") == shown


def test_the_payload_of_a_task_can_be_sent_again(signed_in, api):
    agent = api.create(name="again", **ANSWERING)
    task = post_text(agent, '{"question": "Which number?", "n": 1.0}')
    api.wait_for_end(task)
    open_task(signed_in, task)
    signed_in.get_by_role("button", name="Send it again").click()
    part = region(signed_in, "Try it")
    expect(part.get_by_label("Payload")).to_be_focused()
    expect(part.get_by_label("Payload")).to_have_value('{\n  "question": "Which number?",\n  "n": 1.0\n}')
    part.get_by_role("button", name="Send").click()
    expect(part).to_contain_text("A new task.")
    expect(part.locator(".answer")).to_contain_text("The number n is 1.")


def test_an_answer_that_is_json_is_shown_as_a_tree_and_can_be_folded(signed_in, api, model):
    content = '{"order": {"id": 12345678901234567890, "total": 93.90}, "lines": [1, 2, 3]}'
    agent = api.create(name="json", model=model.playing(says(content)))
    open_task(signed_in, api.run(agent, {"n": 1})["task_id"])
    tree = signed_in.get_by_label("Answer as JSON")
    expect(tree).to_contain_text("12345678901234567890")
    tree.get_by_text('"order"').click()
    expect(tree).not_to_contain_text("12345678901234567890")
    expect(tree).to_contain_text("… 2 fields")
    chromium.check_barriers(signed_in)


def test_a_very_long_answer_is_formatted_in_part_and_available_as_text(signed_in, api, model):
    content = "**begin**\n\n" + "A line of the long answer.\n\n" * 5000 + "the very end"
    agent = api.create(name="long", model=model.playing(says(content)))
    open_task(signed_in, api.run(agent, {"n": 1})["task_id"])
    answer = region(signed_in, "Answer")
    expect(answer.locator("strong").first).to_have_text("begin")
    expect(answer).not_to_contain_text("the very end")
    answer.get_by_role("button", name="Show all as text").click()
    expect(answer).to_contain_text("the very end")


@pytest.mark.parametrize("task", ["01a20a28-dfb7-7c2a-bbf0-65fca2548e07", "no-id", "%2e%2e%2fagents"])
def test_a_missing_task_is_not_shown_as_an_error(signed_in, faults, task):
    faults.allow("answer: 404")
    signed_in.goto(f"/console/tasks/{task}")
    expect(signed_in.get_by_role("heading", name="Task not found")).to_be_visible()
    if task == "no-id":
        chromium.examine(signed_in, "task-gone")


def test_the_full_id_is_copied(signed_in, api):
    task = api.run(api.create(name="copied"), {"n": 1})["task_id"]
    open_task(signed_in, task)
    signed_in.get_by_role("button", name="Copy task id").click()
    assert signed_in.evaluate("navigator.clipboard.readText()") == task
