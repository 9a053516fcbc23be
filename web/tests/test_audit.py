"""The page of the audit log, and attacks on a session by pages on another port."""

import re

import pytest
from playwright.sync_api import expect

import browser as chromium
from elsewhere import Elsewhere
from product import Api, Product


@pytest.fixture
def own(browser, tmp_path):
    """A separate server, so that its audit log has no entries of other tests."""
    product = Product(tmp_path)
    context = chromium.a_context(browser, product.url)
    chromium.sign_in(context, product.admin_token)
    yield product, Api(product.url, product.admin_token), context
    context.close()
    product.close()


def rows(page):
    return page.get_by_role("table", name="Audit log, newest first").locator("tbody tr")


def test_a_change_of_the_models_base_url_is_shown_with_its_actor_and_without_the_key(own):
    product, api, context = own
    agent = api.create(name="<b>watched</b>", model={"base_url": "https://a.example/v1", "name": "m"})
    path = f"/api/agents/{agent['agent_id']}"
    api.manage("PATCH", path, json={"model": {"base_url": "https://b.example/v1", "api_key": "sk-of-the-audit-page"}})
    api.manage("POST", f"{path}/webhook/rotate", json={"overlap_seconds": 3600})
    assert api.call("GET", "/api/agents", headers={"Authorization": "Bearer wrong"}).status_code == 401
    page = context.new_page()
    page.goto("/console/")
    page.get_by_role("link", name="Audit log").click()
    expect(page).to_have_url(re.compile("/console/audit$"))
    updated = rows(page).filter(has_text="Agent updated")
    expect(updated).to_contain_text("model.base_url: https://a.example → https://b.example")
    expect(updated).to_contain_text("model.api_key")
    expect(updated).to_contain_text("Admin token")
    expect(updated).to_contain_text("127.0.0.1")
    expect(updated.get_by_role("link", name="<b>watched</b>")).to_have_attribute("href", f"/console/agents/{agent['agent_id']}")
    expect(rows(page).filter(has_text="Webhook rotated")).to_contain_text("the old URL works for 1 h 00 min")
    expect(rows(page).filter(has_text="Admin token rejected")).to_have_count(1)
    expect(rows(page).filter(has_text="Signed in")).to_contain_text("Session")
    assert "sk-of-the-audit-page" not in page.content()
    chromium.examine(page, "audit")


def test_the_audit_log_has_pages(own):
    product, api, context = own
    for number in range(55):
        api.manage("PUT", f"/api/secrets/s{number}", json={"value": "v"})
    page = context.new_page()
    page.goto("/console/audit")
    expect(rows(page)).to_have_count(50)
    expect(rows(page).first).to_contain_text("s54")
    page.get_by_role("link", name="Older").click()
    expect(rows(page).filter(has_text="Secret stored").last).to_contain_text("s0")
    expect(page.get_by_role("link", name="Older")).to_have_count(0)
    page.get_by_role("link", name="Newest").click()
    expect(rows(page)).to_have_count(50)


def test_a_page_on_another_port_cannot_lock_the_operator_out(own):
    """Cookies are shared between ports, and one with a longer path is sent first."""
    product, api, context = own
    elsewhere = Elsewhere()
    port = product.url.rsplit(":", 1)[1]
    page = context.new_page()
    page.goto(elsewhere.url)
    page.evaluate("""name => {
        for (const path of ['/', '/api', '/api/', '/api/session', '/api/agents', '/console'])
            document.cookie = `${name}=x; path=${path}`;
        document.cookie = `=${name}=x; path=/api`;
        document.cookie = 'other=\\u00fc; path=/api';
    }""", f"agent_webhooks_{port}")
    planted = [cookie for cookie in context.cookies(f"{product.url}/api/session") if not cookie["httpOnly"]]
    assert len(planted) > 3, "otherwise the test proves nothing"
    page.goto(f"{product.url}/console/agents")
    expect(page.get_by_role("heading", name="Agents", level=1)).to_be_visible()
    with page.expect_response("**/api/session") as answer:
        page.get_by_role("button", name="Sign out").click()
    assert answer.value.status == 204
    page.get_by_label("Admin token").fill(product.admin_token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Agents", level=1).or_(page.get_by_role("heading", name="Overview", level=1))).to_be_visible()
    page.goto(f"{product.url}/console/agents/new")
    page.get_by_role("textbox", name="Name").first.fill("created-despite-it")
    page.get_by_role("button", name=re.compile("Create")).click()
    expect(page.get_by_role("heading", name="created-despite-it", level=1)).to_be_visible()
    elsewhere.close()


def test_a_page_on_another_port_changes_nothing_with_the_session(own):
    """The other port is the same site, so the browser sends the cookie."""
    product, api, context = own
    elsewhere = Elsewhere()
    page = context.new_page()
    elsewhere.page = f"""<form method=post enctype=text/plain action="{product.url}/api/agents"><input name='{{"name":"planted","a":"' value='"}}'></form>"""
    page.goto(elsewhere.url)
    with page.expect_response(f"{product.url}/api/agents") as answer:
        page.evaluate("document.querySelector('form').submit()")
    headers = answer.value.request.all_headers()
    assert "cookie" in headers and headers["sec-fetch-site"] == "same-site", headers
    assert answer.value.status == 403
    page = context.new_page()
    page.goto("/console/audit")
    expect(rows(page).filter(has_text="Cross-origin change refused")).to_have_count(1)
    elsewhere.close()
