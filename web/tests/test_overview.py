"""The overview with many tasks, without tasks, and of a new deployment."""

import re

import pytest
from playwright.sync_api import expect

import browser as chromium
from model import refuses, says
from product import Api, Product


def open_overview(page, query=""):
    page.goto(f"/console/{query}")
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()


def tile(page, name):
    return page.locator(".tile").filter(has=page.get_by_text(name, exact=True))


@pytest.fixture(scope="module")
def mixed(api, model):
    """An agent with prices, three successful tasks and one failed task."""
    turns = [says("one", tokens=(1000, 100)), says("two", tokens=(1000, 100)), says("three", tokens=(1000, 100)), refuses(400)]
    agent = api.create(name="mixed", model=model.playing(*turns, price={"input": 2.0, "output": 10.0}))
    ended = [api.run(agent, {"number": number}) for number in range(4)]
    assert [task["status"] for task in ended] == ["SUCCESS"] * 3 + ["FAILURE"]
    return {**agent, "failed": ended[-1]["task_id"]}


def test_the_figures_of_an_agent_match_its_tasks(signed_in, mixed):
    open_overview(signed_in, f"?agent_id={mixed['agent_id']}")
    expect(tile(signed_in, "Tasks")).to_contain_text("4")
    expect(tile(signed_in, "Succeeded")).to_contain_text("75 %")
    expect(tile(signed_in, "Failed")).to_contain_text("1")
    expect(tile(signed_in, "In progress")).to_contain_text("0")
    expect(tile(signed_in, "Tokens")).to_contain_text("3,300")
    expect(tile(signed_in, "Estimated cost")).to_contain_text("$0.009")
    for name in ("Queue wait", "Run time"):
        expect(tile(signed_in, name)).to_contain_text(re.compile(r"\d (ms|s)"))
    expect(signed_in.get_by_role("table", name="Latest failures")).to_be_visible()
    chromium.examine(signed_in, "overview-agent")


def test_the_whole_deployment_is_shown_and_filtered_by_agent_and_time(signed_in, mixed):
    open_overview(signed_in)
    expect(signed_in.get_by_role("img", name=re.compile("^Tasks over time"))).to_be_visible()
    expect(signed_in.get_by_role("table", name="Latest failures")).to_be_visible()
    chromium.examine(signed_in, "overview")
    signed_in.get_by_label("Agent").select_option("mixed")
    signed_in.get_by_role("button", name="7 days").click()
    expect(signed_in).to_have_url(re.compile(rf"hours=168&agent_id={mixed['agent_id']}"))
    expect(tile(signed_in, "Tasks")).to_contain_text("4")
    signed_in.reload()
    expect(signed_in.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    expect(signed_in.get_by_label("Agent")).to_have_value(mixed["agent_id"])


def test_the_latest_failures_link_to_their_tasks(signed_in, mixed):
    open_overview(signed_in, f"?agent_id={mixed['agent_id']}")
    failures = signed_in.get_by_role("region", name="Failures")
    expect(failures.get_by_role("table", name="Failures by kind")).to_contain_text("The model failed")
    failures.get_by_role("link", name=mixed["failed"][-8:]).click()
    expect(signed_in.get_by_role("region", name="Why it failed")).to_be_visible()
    signed_in.go_back()
    # The page reloads its figures, and a click before they are shown is lost.
    expect(failures.get_by_role("table", name="Failures by kind")).to_contain_text("The model failed")
    tile(signed_in, "Failed").get_by_role("link", name="Show them").click()
    expect(signed_in).to_have_url(re.compile(rf"/console/tasks\?agent_id={mixed['agent_id']}&status=FAILURE"))


def test_the_chart_is_available_by_keyboard_by_pointer_and_as_a_table(signed_in, mixed):
    open_overview(signed_in, f"?agent_id={mixed['agent_id']}")
    bars = signed_in.get_by_role("slider", name="Selected bar")
    bars.focus()
    values = [bars.get_attribute("aria-valuetext")]
    for _ in range(2):
        signed_in.keyboard.press("ArrowLeft")
        values.append(bars.get_attribute("aria-valuetext"))
    assert any("3 succeeded, 1 failed" in sentence for sentence in values), values
    expect(signed_in.locator(".chart-tip")).to_be_visible()
    signed_in.keyboard.press("Home")
    expect(bars).to_have_attribute("aria-valuetext", re.compile("no tasks"))
    signed_in.keyboard.press("Escape")
    expect(signed_in.locator(".chart-tip")).to_have_count(0)
    bars.hover()
    expect(signed_in.locator(".chart-tip")).to_be_visible()
    signed_in.get_by_text("As a table").click()
    expect(signed_in.get_by_role("region", name="Tasks over time, as a table").get_by_role("row").nth(1)).to_contain_text("31")


def test_a_missing_price_is_shown_with_a_link_to_set_it(signed_in, api, model):
    agent = api.create(name="unpriced", model=model.playing(says("hello")))
    api.run(agent, {"n": 1})
    open_overview(signed_in, f"?agent_id={agent['agent_id']}")
    cost = tile(signed_in, "Estimated cost")
    expect(cost).to_contain_text("No price set")
    expect(cost.get_by_role("link")).to_have_attribute("href", re.compile(f"/console/agents/{agent['agent_id']}"))


def test_estimated_and_incomplete_figures_are_marked(signed_in, api, mixed):
    stats = api.manage("GET", "/api/stats", params={"agent_id": mixed["agent_id"], "hours": 168})
    stats.update(sampled=True, examined=2000, tasks=40_000)
    stats["from"] = stats["buckets"][40]["at"]
    signed_in.route("**/api/stats?*", lambda route: route.fulfill(json=stats))
    open_overview(signed_in, "?hours=168")
    expect(signed_in.get_by_text("estimated from a sample of 2,000 tasks")).to_be_visible()
    expect(signed_in.get_by_text("There were more tasks than can be read at once")).to_be_visible()
    expect(tile(signed_in, "Tasks")).to_contain_text("≈ 40K")


def test_a_period_without_tasks_differs_from_a_new_deployment(signed_in, api, mixed):
    agent = api.create(name="quiet")
    open_overview(signed_in, f"?agent_id={agent['agent_id']}")
    expect(signed_in.get_by_role("heading", name="No tasks in this period")).to_be_visible()
    expect(signed_in.get_by_text("First steps")).to_have_count(0)
    chromium.examine(signed_in, "overview-quiet")
    signed_in.get_by_role("link", name="Show 14 days").click()
    expect(signed_in.get_by_role("button", name="14 days")).to_have_attribute("aria-pressed", "true")


def test_a_new_deployment_shows_the_first_steps(browser, tmp_path):
    product = Product(tmp_path)
    try:
        context = chromium.a_context(browser, product.url)
        chromium.sign_in(context, product.admin_token)
        faults, page = chromium.Faults(product.url), context.new_page()
        faults.watch(page)
        open_overview(page)
        steps = page.get_by_role("region", name="First steps")
        expect(steps).to_contain_text("demo already exists")
        expect(steps.get_by_label("Webhook URL", exact=True)).to_have_value(re.compile("/api/webhooks/agents/"))
        chromium.examine(page, "first-steps")
        agents = Api(product.url, product.admin_token)
        steps.get_by_role("link", name="Try demo").click()
        page.get_by_role("region", name="Try it").get_by_role("button", name="Send").click()
        expect(page.locator(".answer")).to_be_visible()
        page.get_by_role("link", name="Overview").first.click()
        expect(tile(page, "Tasks")).to_contain_text("1")
        assert faults.unexpected() == []
        assert len(agents.manage("GET", "/api/tasks")["tasks"]) == 1
        context.close()
    finally:
        product.close()


def test_a_failed_load_of_the_figures_is_shown_and_can_be_retried(signed_in, faults, mixed):
    faults.allow("answer: 503")
    refusal = {"success": False, "message": "Storage cannot take it now", "code": "unavailable", "reference": "ref-99"}
    signed_in.route("**/api/stats?*", lambda route: route.fulfill(status=503, json=refusal))
    open_overview(signed_in)
    expect(signed_in.get_by_role("alert")).to_contain_text("ref-99")
    signed_in.unroute("**/api/stats?*")
    signed_in.get_by_role("button", name="Try again").click()
    expect(tile(signed_in, "Succeeded")).to_be_visible()
