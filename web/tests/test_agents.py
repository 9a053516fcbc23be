"""Agents in the console: list, create, change, call, rotate and delete."""

import json
import re
import subprocess
import sys

import pytest
import requests
from playwright.sync_api import expect

import browser as chromium
from model import says
from product import Api, Product


def open_agent(page, agent, part=""):
    page.goto(f"/console/agents/{agent['agent_id']}{part}")
    expect(page.get_by_role("heading", name=agent["name"], level=1)).to_be_visible()


def prompt_of(page):
    return page.get_by_role("textbox", name="Prompt", exact=True)


def url_of(page):
    return page.get_by_role("textbox", name="Webhook URL", exact=True)


def save(page):
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as saved:
        page.get_by_role("button", name="Save", exact=True).click()
    assert saved.value.ok, saved.value.text()
    expect(page.get_by_text("Unsaved changes")).to_have_count(0)


def definition_of(api, agent):
    return api.manage("GET", f"/api/agents/{agent['agent_id']}")


def clipboard(page):
    return page.evaluate("navigator.clipboard.readText()")


# The list


def test_agents_are_listed_and_searched_by_name_model_and_id(signed_in, api, model):
    played = model.playing(says("hello"))
    one = api.create(name="alpha-intake", model=played)
    other = api.create(name="beta-triage", enabled=False)
    signed_in.goto("/console/")
    signed_in.get_by_role("link", name="Agents").click()
    expect(signed_in).to_have_title("Agents · Agent Webhooks")
    rows = signed_in.get_by_role("table", name="Agents").locator("tbody tr")
    search = signed_in.get_by_label("Search agents")
    for asked in ["ALPHA", played["name"], one["agent_id"]]:
        search.fill(asked)
        expect(rows).to_have_count(1)
        expect(rows.first).to_contain_text("alpha-intake")
        expect(rows.first).to_contain_text(played["name"])
    search.fill("beta-triage")
    expect(rows.first).to_contain_text("Disabled")
    search.fill("no such agent")
    expect(signed_in.get_by_role("heading", name="No agents match")).to_be_visible()
    chromium.examine(signed_in, "agents-none-found")
    signed_in.get_by_role("button", name="Show all").click()
    expect(rows.filter(has_text="alpha-intake")).to_have_count(1)
    chromium.examine(signed_in, "agents")
    search.fill("beta")
    signed_in.get_by_role("link", name="beta-triage").click()
    expect(signed_in).to_have_url(re.compile(other["agent_id"]))
    signed_in.go_back()
    expect(search).to_have_value("beta")


@pytest.fixture
def empty_product(tmp_path):
    product = Product(tmp_path)
    api = Api(product.url, product.admin_token)
    # The last line of the start, printed after the demo agent is created.
    next(line for line in product.process.stdout if line.startswith("It asks for the admin token"))
    for agent in api.manage("GET", "/api/agents")["agents"]:
        api.manage("DELETE", f"/api/agents/{agent['agent_id']}")
    yield product
    product.close()


def test_a_deployment_without_agents_says_what_to_do(browser, empty_product):
    context = chromium.a_context(browser, empty_product.url)
    chromium.sign_in(context, empty_product.admin_token)
    page = context.new_page()
    page.goto("/console/agents")
    expect(page.get_by_role("heading", name="No agents yet")).to_be_visible()
    chromium.examine(page, "agents-empty")
    page.get_by_role("main").get_by_role("link", name="New agent").last.click()
    expect(page.get_by_role("heading", name="New agent")).to_be_focused()
    context.close()


def test_loading_the_agents_can_be_retried(signed_in, faults):
    faults.allow("failed: GET .*/api/agents|ERR_CONNECTION_REFUSED")
    signed_in.route("**/api/agents", lambda route: route.abort("connectionrefused"))
    signed_in.goto("/console/agents")
    expect(signed_in.get_by_role("alert")).to_contain_text("The server could not be reached")
    chromium.examine(signed_in, "agents-failed")
    signed_in.unroute("**/api/agents")
    signed_in.get_by_role("button", name="Try again").click()
    expect(signed_in.get_by_role("table", name="Agents")).to_be_visible()


# Creating an agent


def test_a_new_agent_gets_a_webhook_url_that_works_at_once(signed_in, api):
    signed_in.goto("/console/agents")
    signed_in.get_by_role("link", name="New agent").click()
    signed_in.get_by_role("textbox", name="Name", exact=True).fill("made-by-hand")
    prompt_of(signed_in).fill("Say it to {{ payload.name }}.")
    chromium.examine(signed_in, "agent-new")
    signed_in.get_by_role("button", name="Create agent").click()
    expect(signed_in.get_by_role("heading", name="made-by-hand", level=1)).to_be_focused()
    signed_in.get_by_role("button", name="Copy Webhook URL").click()
    expect(signed_in.get_by_text("Webhook URL copied")).to_be_visible()
    url = clipboard(signed_in)
    assert url == url_of(signed_in).input_value()
    triggered = requests.post(url, json={"name": "Ada"}, timeout=10)
    assert api.wait_for_end(triggered.json()["task_id"])["error"]["type"] == "empty_answer"


def test_an_existing_webhook_url_can_be_used(signed_in, faults):
    faults.allow("answer: 400 POST .*/api/agents")
    signed_in.goto("/console/agents/new")
    signed_in.get_by_role("textbox", name="Name", exact=True).fill("moved-here")
    signed_in.get_by_text("Use an existing webhook URL").click()
    token = signed_in.get_by_label("Webhook token")
    token.fill("short")
    signed_in.get_by_role("button", name="Create agent").click()
    expect(token).to_have_accessible_description(re.compile("must have 16 to 128"))
    token.fill("0123456789abcdef-moved")
    signed_in.get_by_role("button", name="Create agent").click()
    expect(url_of(signed_in)).to_have_value(re.compile("/0123456789abcdef-moved$"))


def test_only_the_name_is_required(signed_in):
    signed_in.goto("/console/agents/new")
    signed_in.get_by_role("button", name="Create agent").click()
    name = signed_in.get_by_label("Name")
    expect(name).to_be_focused()
    expect(name).to_have_accessible_description(re.compile("Give the agent a name"))
    chromium.examine(signed_in, "agent-new-refused")


def test_an_agent_can_be_created_with_the_keyboard_alone(signed_in, api):
    page, keys = signed_in, signed_in.keyboard
    page.goto("/console/")
    expect(page.get_by_role("navigation", name="Console")).to_be_visible()
    keys.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    keys.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    tab_back_to(page, page.get_by_role("navigation", name="Console").get_by_role("link", name="Agents"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="Agents", level=1)).to_be_focused()
    tab_to(page, page.get_by_role("link", name="New agent"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="New agent")).to_be_focused()
    tab_to(page, page.get_by_role("textbox", name="Name", exact=True))
    keys.type("by-keyboard")
    tab_to(page, page.get_by_role("switch", name="Enabled"))
    keys.press("Space")
    expect(page.get_by_role("switch", name="Enabled")).not_to_be_checked()
    keys.press("Space")
    tab_to(page, prompt_of(page))
    keys.type("Hello {{ payload.name }}")
    tab_to(page, page.get_by_role("button", name="Create agent"))
    keys.press("Enter")
    expect(page.get_by_role("heading", name="by-keyboard")).to_be_focused()
    tab_to(page, page.get_by_role("tab", name="curl"))
    keys.press("ArrowRight")
    expect(page.get_by_role("tab", name="Python")).to_be_focused()
    expect(page.get_by_role("tabpanel")).to_contain_text("import requests")
    keys.press("End")
    expect(page.get_by_role("tab", name="cron")).to_have_attribute("aria-selected", "true")
    tab_back_to(page, page.get_by_role("button", name="Rotate"))
    keys.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Rotate")).to_be_focused()


def tab_to(page, wanted, key="Tab"):
    for _ in range(60):
        page.keyboard.press(key)
        if wanted.evaluate("element => element === document.activeElement"):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", "the focus is not visible to keyboard users"
            return
    raise AssertionError(f"{wanted} is not reached by {key}")


def tab_back_to(page, wanted):
    tab_to(page, wanted, "Shift+Tab")


# Calling an agent


@pytest.fixture
def answering(api, model):
    return api.create(name="answering", model=model.playing(says("It left on Monday.")))


def snippet(page, name):
    page.get_by_role("tab", name=name, exact=True).click()
    page.get_by_role("button", name=f"Copy {name} snippet").click()
    return clipboard(page)


def test_the_snippets_run_as_pasted(signed_in, answering, tmp_path):
    open_agent(signed_in, answering)
    run = {"capture_output": True, "text": True, "timeout": 30, "cwd": tmp_path}
    pasted = subprocess.run(["sh"], input=snippet(signed_in, "curl"), **run)
    assert json.loads(pasted.stdout)["result"]["result"]["answer"] == "It left on Monday.", pasted
    pasted = subprocess.run([sys.executable, "-"], input=snippet(signed_in, "Python"), **run)
    assert pasted.stdout == "It left on Monday.\n", pasted
    pasted = subprocess.run(["node", "--input-type=module"], input=snippet(signed_in, "JavaScript"), **run)
    assert pasted.stdout == "It left on Monday.\n", pasted
    command = snippet(signed_in, "cron").split(maxsplit=5)[5].replace("\\%", "%")
    pasted = subprocess.run(["sh"], input=command, **run)
    repeated = subprocess.run(["sh"], input=command, **run)
    assert json.loads(pasted.stdout)["success"] and repeated.stdout == pasted.stdout, (pasted, repeated)


def test_the_html_form_creates_a_task_from_its_fields(signed_in, answering, context, api):
    open_agent(signed_in, answering)
    html = snippet(signed_in, "HTML form")
    visitor = context.new_page()
    visitor.set_content(html)
    visitor.get_by_label("question").fill("Where is it?")
    visitor.get_by_role("button", name="Send").click()
    visitor.wait_for_url("**/api/webhooks/**")
    ended = api.wait_for_end(json.loads(visitor.inner_text("body"))["task_id"])
    assert ended["status"] == "SUCCESS"


def test_the_settings_of_other_services_are_shown_one_by_one(signed_in, answering):
    open_agent(signed_in, answering)
    for name, expected in [("GitHub", "Payload URL"), ("Zapier", "Data"), ("Make", "Request content"), ("n8n", "JSON")]:
        signed_in.get_by_role("tab", name=name).click()
        panel = signed_in.get_by_role("tabpanel")
        expect(panel).to_contain_text(answering["webhook_url"])
        expect(panel.locator("dt", has_text=re.compile(f"^{re.escape(expected)}$"))).to_be_visible()
        panel.get_by_role("button", name=re.compile("Copy .*URL")).click()
        assert clipboard(signed_in) == answering["webhook_url"]
        out_of_reach = panel.get_by_text("This URL works only on this machine")
        expect(out_of_reach).to_have_count(0 if name == "n8n" else 1)
    signed_in.get_by_role("tab", name="GitHub").click()
    chromium.examine(signed_in, "agent-overview-settings")


def test_the_curl_snippet_prints_the_servers_error(signed_in, answering):
    open_agent(signed_in, answering)
    wrong = snippet(signed_in, "curl").replace(answering["webhook_url"], answering["webhook_url"] + "0")
    for shell in ["sh", "bash"]:
        pasted = subprocess.run([shell], input=wrong, capture_output=True, text=True, timeout=30)
        assert json.loads(pasted.stdout)["code"] == "agent_not_found", pasted


def test_a_note_is_shown_while_an_agent_has_no_model_and_no_sources(signed_in, api):
    agent = api.create(name="with-nothing")
    open_agent(signed_in, agent)
    note = signed_in.get_by_text("This agent uses this deployment’s default model")
    expect(note).to_be_visible()
    chromium.examine(signed_in, "agent-with-nothing")
    expect(signed_in.get_by_role("link", name="Give it a model")).to_have_attribute("href", re.compile("/definition$"))
    signed_in.get_by_role("link", name="Add a document").click()
    nothing = signed_in.get_by_text("Without documents and texts")
    expect(nothing).to_be_visible()
    api.add_source(agent, "Policy", "Goods can be returned within 30 days.")
    signed_in.reload()
    expect(signed_in.get_by_role("table", name="Documents")).to_be_visible()
    expect(nothing).to_have_count(0)
    with signed_in.expect_response(re.compile("/sources$")):
        open_agent(signed_in, agent)
    expect(url_of(signed_in)).to_be_visible()
    expect(note).to_have_count(0)


def test_an_agents_page_is_accessible_in_every_mode(signed_in, answering, api):
    api.run(answering, {"question": "Where is order 7?"})
    open_agent(signed_in, answering)
    chromium.examine(signed_in, "agent-overview")


def test_a_missing_agent_links_to_all_agents(signed_in, faults):
    faults.allow("answer: 404 GET .*/api/agents/")
    signed_in.goto("/console/agents/00000000-0000-4000-8000-000000000000")
    expect(signed_in.get_by_role("heading", name="Agent not found")).to_be_visible()
    chromium.examine(signed_in, "agent-missing")
    signed_in.get_by_role("link", name="Go to all agents").click()
    expect(signed_in.get_by_role("heading", name="Agents", level=1)).to_be_focused()


# Rotating


def status_of(url):
    return requests.get(url, params={"from": "test"}, timeout=10).status_code


def test_a_rotated_url_works_until_the_end_of_the_overlap(signed_in, api):
    agent = api.create(name="rotating")
    open_agent(signed_in, agent)
    signed_in.get_by_role("button", name="Rotate").click()
    dialog = signed_in.get_by_role("dialog")
    dialog.get_by_label("How long the old URL keeps working").select_option("1 hour")
    expect(dialog.get_by_text("The old URL works until")).to_be_visible()
    expect(dialog.get_by_text("URLs from earlier rotations end no later")).to_be_visible()
    chromium.examine(signed_in, "agent-rotate")
    dialog.get_by_role("button", name="Rotate").click()
    new = dialog.get_by_role("textbox", name="New webhook URL")
    expect(new).not_to_have_value(agent["webhook_url"])
    chromium.examine(signed_in, "agent-rotated")
    url = new.input_value()
    dialog.get_by_role("button", name="Done").click()
    expect(url_of(signed_in)).to_have_value(url)
    assert (status_of(agent["webhook_url"]), status_of(url)) == (200, 200)


def test_without_an_overlap_the_old_url_ends_at_once(signed_in, api):
    agent = api.create(name="rotated-at-once")
    open_agent(signed_in, agent)
    signed_in.get_by_role("button", name="Rotate").click()
    dialog = signed_in.get_by_role("dialog")
    dialog.get_by_label("How long the old URL keeps working").select_option("Not at all: it ends now")
    expect(dialog.get_by_text("and every earlier one return 404")).to_be_visible()
    dialog.get_by_role("button", name="Rotate").click()
    expect(dialog.get_by_text("The old URL has ended.")).to_be_visible()
    assert status_of(agent["webhook_url"]) == 404
    assert status_of(dialog.get_by_role("textbox", name="New webhook URL").input_value()) == 200


# The definition


def test_saving_sends_only_the_changed_fields(signed_in, api, model):
    agent = api.create(name="before", prompt="Not changed.", model=model.playing(says("x"), api_key="sk-stored-key"))
    open_agent(signed_in, agent, "/definition")
    signed_in.get_by_role("textbox", name="Name", exact=True).fill("after")
    signed_in.get_by_label("Turns").fill("3")
    signed_in.get_by_label("Concurrent runs").fill("2")
    signed_in.get_by_label("Input tokens").fill("0.15")
    signed_in.get_by_label("Output tokens").fill("0.6")
    with signed_in.expect_request(lambda request: request.method == "PATCH") as sent:
        save(signed_in)
    assert json.loads(sent.value.post_data) == {
        "name": "after", "limits": {"max_turns": 3, "max_concurrent_runs": 2},
        "model": {"price": {"input": 0.15, "output": 0.6}}}
    expect(signed_in.get_by_role("heading", name="after", level=1)).to_be_visible()
    expect(signed_in.get_by_role("button", name="Save", exact=True)).to_have_count(0)
    saved = definition_of(api, agent)
    assert saved["prompt"] == "Not changed." and saved["model"]["api_key"] == agent["model"]["api_key"]
    signed_in.get_by_label("Concurrent runs").fill("")
    save(signed_in)
    assert "max_concurrent_runs" not in definition_of(api, agent)["limits"]


def test_a_model_is_selected_with_a_key_and_removed(signed_in, api):
    agent = api.create(name="choosing")
    open_agent(signed_in, agent, "/definition")
    signed_in.get_by_label("Provider").select_option("OpenAI chat completions")
    signed_in.get_by_label("Base URL").fill("http://127.0.0.1:9/v1")
    signed_in.get_by_label("API key").select_option("Enter a key")
    signed_in.get_by_label("Key", exact=True).fill("sk-typed-once")
    signed_in.get_by_role("textbox", name="Model", exact=True).fill("any-model")
    save(signed_in)
    assert definition_of(api, agent)["model"]["api_key"]["secret"].startswith(f"agents/{agent['agent_id']}/")
    expect(signed_in.get_by_label("API key")).to_have_value("stored")
    chromium.examine(signed_in, "agent-definition")
    signed_in.get_by_label("Provider").select_option("No model")
    save(signed_in)
    assert definition_of(api, agent)["model"] == {"provider": "extractive"}
    signed_in.get_by_label("Provider").select_option("The deployment’s default")
    save(signed_in)
    assert "model" not in definition_of(api, agent)


def test_an_error_of_the_server_is_shown_at_the_field_it_names(signed_in, api, faults):
    # The preview is refused as well, if it is requested before the next change.
    faults.allow("answer: 400 (PATCH|POST)")
    agent = api.create(name="refused")
    open_agent(signed_in, agent, "/definition")
    signed_in.get_by_label("Provider").select_option("OpenAI chat completions")
    signed_in.get_by_role("textbox", name="Model", exact=True).fill("any-model")
    signed_in.get_by_role("button", name="Save", exact=True).click()
    url = signed_in.get_by_label("Base URL")
    expect(url).to_have_accessible_description(re.compile("`model.base_url` is required"))
    expect(url).to_be_focused()
    chromium.examine(signed_in, "agent-definition-refused")
    url.fill("http://127.0.0.1:9/v1")
    prompt_of(signed_in).fill("{{ payload.")
    signed_in.get_by_role("button", name="Save", exact=True).click()
    expect(prompt_of(signed_in)).to_have_accessible_description(re.compile(r"not a valid template: .* \(line 1\)$"))
    prompt_of(signed_in).fill("")
    tools = signed_in.get_by_label("Tools, as JSON")
    tools.fill('[{"type":"magic"}]')
    signed_in.get_by_role("button", name="Save", exact=True).click()
    expect(tools).to_have_accessible_description(re.compile("unknown variant `magic`"))
    tools.fill('[\n  {"type": }\n]')
    signed_in.get_by_role("button", name="Save", exact=True).click()
    expect(tools).to_have_accessible_description(re.compile("not valid JSON. Line 2, column 12: a value is missing"))


def test_tool_examples_are_inserted_and_accepted_by_the_server(signed_in, api, model):
    agent = api.create(name="with-tools", model=model.playing(says("x")))
    open_agent(signed_in, agent, "/definition")
    for example in ["Source search", "HTTP API", "MCP server"]:
        signed_in.get_by_role("button", name=example).click()
    signed_in.get_by_label("Output schema").fill('{"type": "object", "required": ["urgent"]}')
    save(signed_in)
    saved = definition_of(api, agent)
    assert [tool["type"] for tool in saved["tools"]] == ["search_sources", "http", "mcp"]
    signed_in.get_by_label("Output schema").fill('{"type": "array"}')
    save(signed_in)
    assert definition_of(api, agent)["output_schema"] == {"type": "array"}


def test_secrets_are_stored_and_never_shown(signed_in, api):
    agent = api.create(name="with-secrets")
    open_agent(signed_in, agent, "/definition")
    signed_in.get_by_role("button", name="Secrets…").click()
    dialog = signed_in.get_by_role("dialog", name="Secrets")
    dialog.get_by_label("Name").fill("team/shop-token")
    dialog.get_by_label("Value").fill("sk-never-shown")
    dialog.get_by_label("Value").press("Enter")
    expect(dialog.get_by_text("team/shop-token")).to_be_visible()
    expect(dialog.get_by_label("Value")).to_have_value("")
    chromium.examine(signed_in, "agent-secrets")
    dialog.get_by_role("button", name="Delete the secret team/shop-token").click()
    signed_in.get_by_role("dialog", name="Delete the secret team/shop-token?").get_by_role("button", name="Delete").click()
    expect(dialog.get_by_text("team/shop-token")).to_have_count(0)
    assert "sk-never-shown" not in signed_in.content()


def test_leaving_with_unsaved_changes_asks_first(signed_in, api):
    agent = api.create(name="unsaved")
    signed_in.goto("/console/agents")
    signed_in.get_by_label("Search agents").fill("unsaved")
    signed_in.get_by_role("link", name="unsaved").click()
    signed_in.get_by_role("link", name="Definition").click()
    prompt_of(signed_in).fill("Not saved yet.")
    question = signed_in.get_by_role("dialog", name="Leave without saving?")
    signed_in.get_by_role("link", name="Tasks").click()
    expect(question).to_be_visible()
    chromium.examine(signed_in, "agent-unsaved")
    question.get_by_role("button", name="Stay here").click()
    expect(prompt_of(signed_in)).to_have_value("Not saved yet.")
    signed_in.go_back()
    question.get_by_role("button", name="Stay here").click()
    expect(signed_in).to_have_url(re.compile(f"{agent['agent_id']}/definition$"))
    signed_in.go_back()
    question.get_by_role("button", name="Leave").click()
    expect(signed_in).to_have_url(re.compile(f"{agent['agent_id']}$"))
    signed_in.get_by_role("link", name="Definition").click()
    expect(prompt_of(signed_in)).to_have_value("")
    signed_in.get_by_role("link", name="Tasks").click()
    expect(signed_in.get_by_role("heading", name="Tasks", level=1)).to_be_visible()


def test_the_prompt_preview_renders_a_sample_payload_like_a_run(signed_in, api, faults):
    faults.allow("answer: 400 POST .*/api/prompt_preview")
    agent = api.create(name="previewed")
    open_agent(signed_in, agent, "/definition")
    rendered = signed_in.get_by_role("region", name="Rendered prompt")
    expect(rendered).not_to_be_empty()
    prompt_of(signed_in).fill("Hello {{ payload.customer.name }}.")
    expect(signed_in.get_by_label("Sample payload")).to_have_value('{\n  "customer": {\n    "name": "…"\n  }\n}')
    expect(rendered).to_have_text("Hello ….")
    expect(signed_in.get_by_text("that best match the payload follow")).to_have_count(0)
    prompt_of(signed_in).fill("{{ agent.name }}: order {{ payload.order.id }} at {{ payload.price }}.")
    signed_in.get_by_label("Sample payload").fill('{"order": {"id": 12345678901234567890}, "price": 1.50}')
    expect(rendered).to_have_text("previewed: order 12345678901234567890 at 1.50.")
    chromium.examine(signed_in, "agent-preview")
    prompt_of(signed_in).fill("First line\n{{ payload. }}")
    preview_error = signed_in.get_by_role("status", name="Preview of the prompt")
    expect(preview_error).to_contain_text(re.compile("line 2"))
    expect(rendered).to_have_text("previewed: order 12345678901234567890 at 1.50.")
    signed_in.get_by_label("Sample payload").fill('{"order":')
    expect(preview_error).to_contain_text("not valid JSON")


def test_the_preview_of_an_agent_with_sources_mentions_their_passages(signed_in, api):
    agent = api.create(name="previewed-with-document", prompt="Answer.")
    api.add_source(agent, "Policy", "Goods can be returned within 30 days.")
    open_agent(signed_in, agent, "/definition")
    expect(signed_in.get_by_text("that best match the payload follow")).to_be_visible()
    chromium.examine(signed_in, "agent-preview-sources")


# Sources


def test_a_document_is_uploaded_with_progress_and_deleted(signed_in, api, context, tmp_path):
    agent = api.create(name="reading")
    open_agent(signed_in, agent, "/sources")
    document = tmp_path / "policy.md"
    document.write_text("# Returns policy\n\n" + "Goods can be returned within 30 days. " * 20_000)
    slow = context.new_cdp_session(signed_in)
    slow.send("Network.enable")
    slow.send("Network.emulateNetworkConditions",
              {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000})
    signed_in.get_by_label("Files to upload").set_input_files(document)
    progress = signed_in.get_by_role("progressbar", name="Upload of policy.md")
    expect(progress).to_be_visible()
    signed_in.wait_for_function("() => { const bar = document.querySelector('progress'); return bar && bar.value > 0 && bar.value < 1 }")
    chromium.take_screenshot(signed_in, "agent-uploading-light")
    slow.send("Network.emulateNetworkConditions",
              {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1})
    row = signed_in.get_by_role("table", name="Documents").locator("tbody tr")
    expect(row).to_contain_text("Returns policy", timeout=30_000)
    expect(row).to_contain_text("policy.md")
    expect(progress).to_have_count(0)
    chromium.examine(signed_in, "agent-sources")
    row.get_by_role("button", name="Delete Returns policy").click()
    signed_in.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(signed_in.get_by_text("No documents yet.")).to_be_visible()
    assert api.manage("GET", f"/api/agents/{agent['agent_id']}/sources") == {"sources": []}


def test_dropped_files_are_uploaded_or_refused_with_a_reason(signed_in, api, faults):
    faults.allow("answer: 4.. POST .*/sources")
    agent = api.create(name="dropping")
    open_agent(signed_in, agent, "/sources")
    files = signed_in.evaluate_handle("""() => {
        const files = new DataTransfer();
        files.items.add(new File(['Dropped, and read.'], 'dropped.txt'));
        files.items.add(new File(['GIF89a'], 'picture.gif'));
        files.items.add(new File(['not a PDF'], 'broken.pdf'));
        return files;
    }""")
    signed_in.dispatch_event(".drop-zone", "drop", {"dataTransfer": files})
    expect(signed_in.get_by_role("table", name="Documents")).to_contain_text("dropped.txt")
    uploads = signed_in.get_by_role("list", name="Uploads").get_by_role("listitem")
    expect(uploads.filter(has_text="picture.gif")).to_contain_text("Unsupported file type")
    expect(uploads.filter(has_text="broken.pdf").get_by_role("alert")).to_be_visible()
    chromium.examine(signed_in, "agent-sources-refused")
    for name in ["picture.gif", "broken.pdf"]:
        signed_in.get_by_role("button", name=f"Dismiss {name}").click()
    expect(uploads).to_have_count(0)


def test_texts_are_added_and_removed(signed_in, api):
    agent = api.create(name="with-texts", sources=[{"title": "Old", "text": "Old text."}])
    open_agent(signed_in, agent, "/sources")
    signed_in.get_by_role("button", name="Add a text").click()
    signed_in.get_by_label("Title").last.fill("Hours")
    signed_in.get_by_label("Text", exact=True).last.fill("Open from 9 to 5.")
    save(signed_in)
    assert definition_of(api, agent)["sources"] == [
        {"title": "Old", "text": "Old text."}, {"title": "Hours", "text": "Open from 9 to 5."}]
    signed_in.get_by_role("button", name="Remove Old").click()
    save(signed_in)
    assert [source["title"] for source in definition_of(api, agent)["sources"]] == ["Hours"]


# Disabling and deleting


def test_an_agent_is_disabled_and_enabled(signed_in, api):
    agent = api.create(name="switched")
    open_agent(signed_in, agent, "/danger")
    signed_in.get_by_role("button", name="Disable", exact=True).click()
    expect(signed_in.get_by_role("main").get_by_text("Disabled", exact=True)).to_be_visible()
    assert status_of(agent["webhook_url"]) == 404
    signed_in.get_by_role("button", name="Enable", exact=True).click()
    expect(signed_in.get_by_role("main").get_by_text("Enabled", exact=True)).to_be_visible()
    assert status_of(agent["webhook_url"]) == 200


def test_an_agent_is_deleted_only_after_its_name_is_typed(signed_in, api):
    agent = api.create(name="doomed")
    open_agent(signed_in, agent, "/danger")
    chromium.examine(signed_in, "agent-danger")
    signed_in.get_by_role("button", name="Delete…").click()
    dialog = signed_in.get_by_role("dialog")
    button = dialog.get_by_role("button", name="Delete permanently")
    expect(button).to_be_disabled()
    dialog.get_by_label("Type doomed to confirm").fill("dome")
    expect(button).to_be_disabled()
    chromium.examine(signed_in, "agent-delete")
    dialog.get_by_label("Type doomed to confirm").fill("doomed")
    button.click()
    expect(signed_in.get_by_role("heading", name="Agents", level=1)).to_be_focused()
    expect(signed_in.get_by_text("doomed deleted")).to_be_visible()
    assert status_of(agent["webhook_url"]) == 404


# The frame around all pages


def test_on_a_phone_the_navigation_is_behind_a_button(signed_in):
    chromium.set_mode(signed_in, "phone")
    signed_in.goto("/console/agents")
    menu = signed_in.get_by_role("button", name="Menu")
    tasks = signed_in.get_by_role("link", name="Tasks")
    expect(tasks).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    chromium.take_screenshot(signed_in, "menu-phone")
    chromium.check_barriers(signed_in, "phone")
    tasks.click()
    expect(signed_in.get_by_role("heading", name="Tasks", level=1)).to_be_visible()
    expect(tasks).to_be_hidden()


def test_an_unknown_address_shows_page_not_found(signed_in):
    signed_in.goto("/console/nowhere")
    expect(signed_in.get_by_role("heading", name="Page not found")).to_be_visible()
    chromium.examine(signed_in, "not-found")
