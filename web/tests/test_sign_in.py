"""Signing in and out, and sessions that end while a page is open."""

import re

import pytest
from playwright.sync_api import expect

import browser as chromium
from product import Product

TOKEN = "Admin token"


def sign_in_by_hand(page, token):
    page.get_by_label(TOKEN).fill(token)
    page.get_by_role("button", name="Sign in").click()


def test_without_a_session_every_address_asks_for_the_admin_token(page):
    for path in ["/", "/console", "/console/agents", "/console/tasks/anything", "/console/nowhere"]:
        page.goto(path)
        expect(page.get_by_role("heading", name="Sign in to Agent Webhooks")).to_be_visible()
        expect(page).to_have_title("Sign in · Agent Webhooks")
        expect(page.get_by_label(TOKEN)).to_be_focused()
        expect(page.get_by_role("navigation")).to_have_count(0)
    page.get_by_text("Where do I find it?").click()
    expect(page.get_by_text(".agent-webhooks/admin-token")).to_be_visible()
    expect(page.get_by_text("AdminTokenCommand")).to_be_visible()
    chromium.examine(page, "sign-in")


def test_the_right_token_opens_the_requested_page(page, product):
    page.goto("/console/agents?q=demo")
    sign_in_by_hand(page, f"  {product.admin_token}\n")
    expect(page.get_by_role("heading", name="Agents", level=1)).to_be_visible()
    expect(page.get_by_label("Search agents")).to_have_value("demo")
    page.reload()
    expect(page.get_by_role("heading", name="Agents", level=1)).to_be_visible()


def test_a_wrong_token_is_refused_and_can_be_corrected(page):
    page.goto("/console/")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("Paste the admin token here first.")).to_be_visible()
    sign_in_by_hand(page, "0" * 64)
    field = page.get_by_label(TOKEN)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("not the admin token of this deployment"))
    expect(field).to_be_focused()
    expect(field).to_have_value("0" * 64)
    chromium.examine(page, "sign-in-refused")


def test_the_token_is_not_visible_to_scripts_or_in_the_address_bar(page, context, product):
    page.goto("/console/")
    sign_in_by_hand(page, product.admin_token)
    expect(page.get_by_role("navigation", name="Console")).to_be_visible()
    assert product.admin_token not in page.url
    stored = page.evaluate("JSON.stringify([document.cookie, { ...localStorage }, { ...sessionStorage }, history.state])")
    assert stored.startswith('["",{},{},') and product.admin_token not in stored
    [cookie] = context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert product.admin_token not in cookie["value"]


def test_signing_out_ends_the_session_and_clears_the_page(signed_in, context):
    signed_in.goto("/console/agents")
    expect(signed_in.get_by_role("table", name="Agents")).to_be_visible()
    assert context.cookies(), "there is a session to end"
    signed_in.get_by_role("button", name="Sign out").click()
    expect(signed_in.get_by_label(TOKEN)).to_be_focused()
    assert context.cookies() == []
    expect(signed_in.locator("table")).to_have_count(0)
    signed_in.goto("/console/agents")
    expect(signed_in.get_by_label(TOKEN)).to_be_visible()


def is_preview_of(prompt):
    def matches(response):
        return response.url.endswith("/api/prompt_preview") and prompt in (response.request.post_data or "")

    return matches


def test_unsaved_input_survives_the_end_of_the_session(signed_in, context, api, product):
    agent = api.create(name="outlives")
    signed_in.goto(f"/console/agents/{agent['agent_id']}/definition")
    # A later preview request would detect the end of the session before the click. The page
    # requests one when it opens, too, so only the preview of the typed text will do.
    with signed_in.expect_response(is_preview_of("Typed before the session ended.")):
        signed_in.get_by_role("textbox", name="Prompt", exact=True).fill("Typed before the session ended.")
    context.clear_cookies()
    signed_in.get_by_role("button", name="Save").click()
    sign_in_by_hand(signed_in, product.admin_token)
    prompt = signed_in.get_by_role("textbox", name="Prompt", exact=True)
    expect(prompt).to_have_value("Typed before the session ended.")
    signed_in.get_by_role("button", name="Save").click()
    expect(signed_in.get_by_text("Unsaved changes")).to_have_count(0)
    assert api.manage("GET", f"/api/agents/{agent['agent_id']}")["prompt"] == "Typed before the session ended."


@pytest.fixture
def own_product(tmp_path):
    """A separate server: wrong tokens are counted by address, and all tests have the same one."""
    product = Product(tmp_path)
    yield product
    product.close()


def test_too_many_wrong_tokens_show_how_long_to_wait(browser, own_product):
    context = chromium.a_context(browser, own_product.url)
    page = context.new_page()
    page.goto("/console/")
    for number in range(100):
        sign_in_by_hand(page, f"wrong-{number}")
        message = page.get_by_text(re.compile("not the admin token|Too many wrong tokens"))
        expect(message).to_be_visible()
        if "Too many" in message.inner_text():
            break
    expect(page.get_by_text(re.compile(r"Wait (a second|\d+ seconds|a minute), then try again"))).to_be_visible()
    chromium.examine(page, "sign-in-throttled")
    # Wrong tokens from the same address do not lock the operator out.
    sign_in_by_hand(page, own_product.admin_token)
    expect(page.get_by_role("heading", name="Overview", level=1)).to_be_visible()
    context.close()


def test_the_policy_of_the_pages_blocks_a_planted_script(signed_in, faults):
    faults.allow("Content Security Policy|Executing inline script")
    signed_in.goto("/console/agents")
    expect(signed_in.get_by_role("heading", name="Agents", level=1)).to_be_visible()
    signed_in.evaluate("""() => {
        const script = document.createElement('script');
        script.textContent = 'window.planted = true';
        document.body.append(script);
        document.body.insertAdjacentHTML('beforeend', '<img src="data:," onerror="window.planted = true">');
    }""")
    signed_in.wait_for_function("() => document.images.length > 0 && document.images[0].complete")
    assert signed_in.evaluate("window.planted") is None
    assert any("Content Security Policy" in fault for fault in faults.found)


def test_an_unreachable_server_is_reported_and_can_be_retried(page, context, faults):
    faults.allow("failed: GET .*/api/session|net::ERR_INTERNET_DISCONNECTED")
    page.goto("/console/")
    expect(page.get_by_label(TOKEN)).to_be_visible()
    page.route("**/api/session", lambda route: route.abort("connectionrefused"))
    faults.allow("ERR_CONNECTION_REFUSED")
    page.reload()
    expect(page.get_by_role("heading", name="The console could not start")).to_be_visible()
    chromium.examine(page, "unreachable")
    page.unroute("**/api/session")
    page.get_by_role("button", name="Try again").click()
    expect(page.get_by_label(TOKEN)).to_be_visible()
