"""The test harness detects what it must detect."""

import pytest

import browser as chromium
from model import calls, refuses, says


@pytest.fixture
def spoiled(browser, product):
    """A page of the product that a test may change."""
    context = chromium.a_context(browser, product.url)
    faults = chromium.Faults(product.url)
    page = context.new_page()
    faults.watch(page)
    page.goto("/api/health")
    yield page, faults
    context.close()


def test_a_console_error_an_exception_and_an_error_response_are_faults(spoiled):
    page, faults = spoiled
    page.evaluate("console.error('oops')")
    page.evaluate("setTimeout(() => { throw new Error('unhandled') })")
    page.evaluate("fetch('/api/nothing-here').then(answer => answer.text())")
    page.wait_for_timeout(100)
    assert [fault.partition(":")[0] for fault in faults.unexpected()] == ["console", "exception", "answer"]
    faults.allow("nothing-here")
    assert len(faults.unexpected()) == 2


def test_a_request_to_another_host_is_a_fault(spoiled):
    page, faults = spoiled
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => {})")
    assert any(fault.startswith("elsewhere: GET http://127.0.0.1:9/") for fault in faults.unexpected())


def test_accessibility_violations_and_horizontal_overflow_are_detected(spoiled):
    page, _ = spoiled
    page.evaluate("document.body.innerHTML = '<img src=\"data:,\"><p style=\"width: 3000px\">wide</p>'")
    with pytest.raises(AssertionError, match="image-alt"):
        chromium.check_barriers(page)
    with pytest.raises(AssertionError, match="3[0-9]{3} pixels wide"):
        chromium.check_width(page)


def test_a_scripted_model_repeats_its_turns(api, model):
    turns = [calls(("search_sources", {"query": "returns"})), says("Within **30 days**.", tokens=(120, 9))]
    agent = api.create(name="scripted", model=model.playing(*turns), tools=[{"type": "search_sources"}],
                       sources=[{"title": "Returns", "text": "Returns: 30 days."}])
    for number in range(2):
        ended = api.run(agent, {"number": number})
        assert (ended["status"], ended["usage"]["input_tokens"]) == ("SUCCESS", 131)
        assert ended["result"]["result"]["answer"] == "Within **30 days**."
        assert [call["tool_name"] for call in ended["result"]["result"]["tool_calls"]] == ["search_sources"]
    failing = api.create(name="failing", model=model.playing(refuses(400, "no such model")))
    assert api.run(failing, {})["error"]["type"] == "model_error"
