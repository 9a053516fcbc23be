"""Connecting a model, an MCP server and an HTTP API in the console."""

import json
import re

import pytest
from playwright.sync_api import expect

import browser as chromium
from model import refuses, says
from test_agents import definition_of, open_agent, save
from tool_servers import OPERATIONS, SECRET, ToolServers, document


@pytest.fixture(scope="module")
def servers():
    servers = ToolServers()
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def secret(api):
    api.manage("PUT", "/api/secrets/tool-token", json={"value": SECRET})
    return "tool-token"


def edit(page, agent):
    open_agent(page, agent, "/definition")


def add_tool(page):
    page.get_by_role("button", name="Add a tool…").click()
    return page.get_by_role("dialog", name="Add a tool")


# Models


def test_a_model_is_tested_before_it_is_saved(signed_in, api, model):
    agent = api.create(name="tested-model", model=model.playing(says("OK")))
    edit(signed_in, agent)
    signed_in.get_by_role("button", name="Test connection").click()
    result = signed_in.get_by_role("status", name="Result of the test")
    expect(result).to_contain_text(re.compile(r"scripted-\d+ replied in .*, with 11 input and 4 output tokens"))
    expect(result).to_contain_text("It takes system messages, tools and answer schemas.")
    chromium.examine(signed_in, "connect-model")


def test_a_failed_test_says_what_the_server_answered(signed_in, api, model):
    agent = api.create(name="refused-model", model=model.playing(refuses(401, "wrong key")))
    edit(signed_in, agent)
    signed_in.get_by_role("button", name="Test connection").click()
    result = signed_in.get_by_role("status", name="Result of the test")
    expect(result).to_contain_text("401")
    signed_in.get_by_role("textbox", name="Model", exact=True).fill(model.playing(refuses(400, "this model does not support tools"), says("OK"))["name"])
    signed_in.get_by_role("button", name="Test connection").click()
    expect(result).to_contain_text("It refuses tools. An agent with tools needs another model.")
    chromium.examine(signed_in, "connect-model-refusals")


def test_a_model_that_is_not_complete_is_explained(signed_in, faults):
    faults.allow("answer: 400 POST .*/api/models/test")
    signed_in.goto("/console/agents/new")
    signed_in.get_by_label("Provider").select_option("openai")
    signed_in.get_by_role("button", name="Test connection").click()
    expect(signed_in.get_by_role("alert")).to_contain_text("`model.base_url` is required")


# MCP servers


def test_tools_of_an_mcp_server_are_chosen_tried_and_added(signed_in, api, model, servers, secret):
    agent = api.create(name="library", model=model.playing(says("x")))
    edit(signed_in, agent)
    dialog = add_tool(signed_in)
    chromium.examine(signed_in, "connect-mcp-empty")
    dialog.get_by_label("URL of the server").fill(f"{servers.url}/mcp")
    dialog.get_by_text("Authentication", exact=True).click()
    dialog.get_by_label("Secret", exact=True).fill(secret)
    dialog.get_by_label("Secret", exact=True).press("Enter")
    expect(dialog.get_by_text("Connected to Library 1.4")).to_be_visible()
    assert all(sent == f"Bearer {SECRET}" for _, sent in servers.calls)
    dialog.get_by_text("1 left out").click()
    expect(dialog.get_by_text("its `inputSchema` is not an object")).to_be_visible()
    dialog.get_by_role("button", name="Try find_book").click()
    expect(dialog.get_by_label("Arguments of find_book, as JSON")).to_have_value('{\n  "title": "Dune"\n}')
    dialog.get_by_role("button", name="Call", exact=True).click()
    expect(dialog.get_by_role("region", name="Result")).to_have_text("Dune: on the shelf")
    add = dialog.get_by_role("button", name=re.compile("^Add .* tool"))
    expect(add).to_be_disabled()
    dialog.get_by_role("checkbox", name=re.compile("^find_book")).check()
    dialog.get_by_role("checkbox", name=re.compile("^lend_book Lends")).focus()
    signed_in.keyboard.press("Space")
    dialog.get_by_role("checkbox", name="lend_book needs approval").check()
    chromium.examine(signed_in, "connect-mcp")
    dialog.get_by_label("Name of the server").fill("library")
    add.click()
    expect(dialog).to_have_count(0)
    expect(signed_in.get_by_role("button", name="Add a tool…")).to_be_focused()
    save(signed_in)
    [tool] = definition_of(api, agent)["tools"]
    assert (tool["allow"], tool["approval"]) == (["find_book", "lend_book"], ["lend_book"])
    assert tool["headers"] == {"Authorization": {"secret": secret, "prefix": "Bearer "}}
    signed_in.get_by_role("button", name="Try a tool…").click()
    trial = signed_in.get_by_role("dialog", name="Try a tool")
    trial.get_by_label("Arguments of find_book, as JSON").fill('{"title": "Emma"}')
    trial.get_by_role("button", name="Call", exact=True).click()
    expect(trial.get_by_role("region", name="Result")).to_have_text("Emma: on the shelf")
    chromium.examine(signed_in, "connect-try")


def test_a_server_that_is_not_an_mcp_server_is_explained(signed_in, api, servers, faults):
    faults.allow("answer: 422 POST .*/api/tools/inspect")
    edit(signed_in, api.create(name="not-mcp"))
    dialog = add_tool(signed_in)
    dialog.get_by_label("URL of the server").fill(f"{servers.url}/elsewhere")
    dialog.get_by_role("button", name="Connect").click()
    expect(dialog.get_by_role("alert")).to_contain_text("404")
    chromium.examine(signed_in, "connect-mcp-failed")
    signed_in.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


# HTTP APIs


def test_operations_of_a_large_api_are_searched_tried_and_added(signed_in, api, model, servers, secret):
    agent = api.create(name="things", model=model.playing(says("x")))
    edit(signed_in, agent)
    dialog = add_tool(signed_in)
    dialog.get_by_role("tab", name="HTTP API (OpenAPI)").click()
    dialog.get_by_label("URL of the document").fill(f"{servers.url}/openapi.json")
    dialog.get_by_role("button", name="Read the document").click()
    expect(dialog.get_by_text("Read “Thing Store”")).to_be_visible()
    expect(dialog.get_by_label("Base URL of the API")).to_have_value(f"{servers.url}/v1")
    expect(dialog.get_by_text("may require authentication with the header Authorization")).to_be_visible()
    rows = dialog.locator(".choice-row")
    expect(rows).to_have_count(OPERATIONS - 1)
    dialog.get_by_role("button", name="Choose all").click()
    expect(dialog.get_by_text("An agent can have at most 128 tools")).to_be_visible()
    chromium.examine(signed_in, "connect-api-large")
    dialog.get_by_role("button", name="Choose none").click()
    dialog.get_by_label("Search").fill("part29 get")
    expect(rows).to_have_count(10)
    dialog.get_by_text("1 left out").click()
    expect(dialog.get_by_text("it requires a body of the type image/png")).to_be_visible()
    dialog.get_by_label("Search").fill("getThing0")
    dialog.get_by_text("Authentication", exact=True).click()
    dialog.get_by_label("Secret", exact=True).fill(secret)
    dialog.get_by_role("button", name="Try getThing0").click()
    expect(dialog.get_by_label("Arguments of getThing0, as JSON")).to_have_value('{\n  "id": "thing-0"\n}')
    dialog.get_by_role("button", name="Call", exact=True).click()
    # The API repeats the secret, and the console does not show it.
    expect(dialog.get_by_role("region", name="Result")).to_have_text('{"thing": "thing-0", "sent": "Bearer [secret]"}')
    dialog.get_by_role("checkbox", name=re.compile("^getThing0")).check()
    chromium.examine(signed_in, "connect-api")
    dialog.get_by_role("button", name="Add 1 operation").click()
    expect(dialog).to_have_count(0)
    save(signed_in)
    [tool] = definition_of(api, agent)["tools"]
    assert (tool["name"], tool["base_url"]) == ("thing-store", f"{servers.url}/v1")
    assert [operation["name"] for operation in tool["operations"]] == ["getThing0"]
    assert tool["headers"] == {"Authorization": {"secret": secret, "prefix": "Bearer "}}


def test_a_document_can_be_a_file_or_pasted_text(signed_in, api, faults, tmp_path):
    faults.allow("answer: 400 POST .*/api/tools/inspect")
    edit(signed_in, api.create(name="files"))
    dialog = add_tool(signed_in)
    dialog.get_by_role("tab", name="HTTP API (OpenAPI)").click()
    dialog.get_by_label("OpenAPI document").select_option("A file")
    file = tmp_path / "things.json"
    file.write_text(json.dumps({**document(), "servers": []}))
    dialog.get_by_label("File", exact=True).set_input_files(file)
    dialog.get_by_role("button", name="Read the document").click()
    expect(dialog.get_by_text("The document has no absolute server URL.")).to_be_visible()
    dialog.get_by_role("checkbox", name=re.compile("^getThing1 ")).check()
    add = dialog.get_by_role("button", name="Add 1 operation")
    expect(add).to_be_disabled()
    dialog.get_by_label("Base URL of the API").fill("https://things.example/v2")
    expect(add).to_be_enabled()
    dialog.get_by_label("OpenAPI document").select_option("Pasted text")
    dialog.get_by_label("Text of the document").fill("swagger: '2.0'")
    dialog.get_by_role("button", name="Read the document").click()
    expect(dialog.get_by_role("alert")).to_contain_text("swagger2openapi")
    dialog.get_by_label("Text of the document").fill("openapi: 3.0.0\ninfo: {title: Small}\npaths:\n  /a:\n    get: {operationId: getA}\n")
    dialog.get_by_role("button", name="Read the document").click()
    dialog.get_by_label("Base URL of the API").fill("https://small.example")
    dialog.get_by_role("checkbox", name=re.compile("^getA")).check()
    add.click()
    expect(signed_in.get_by_label("Tools, as JSON")).to_have_value(re.compile('"base_url": "https://small.example"'))
