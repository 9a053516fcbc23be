"""Attacks through a browser: hostile content, pages of other origins, and data that the
browser stores."""

import json
import re
import time

import pytest
from playwright.sync_api import expect

import browser as chromium
from elsewhere import Elsewhere
from model import calls, refuses, says

# Runs if it is parsed as HTML; shown unchanged if it is treated as text.
SCRIPT = "<img src=x onerror='window.ran=1'><script>window.ran=2</script>"
LINKS = "[a](javascript:window.ran=3) <a href='javascript:window.ran=4'>b</a> [c](data:text/html,<script>window.ran=5</script>)"
TEMPLATE = "{{ 7 * 191 }}${window.ran=6}"


@pytest.fixture
def elsewhere():
    elsewhere = Elsewhere()
    yield elsewhere
    elsewhere.close()


@pytest.fixture(scope="module")
def hostile(api, model, elsewhere_image):
    """An agent with hostile content in every field, a successful task and a failed task."""
    content = f"{SCRIPT}\n\n{LINKS}\n\n![d]({elsewhere_image}) {TEMPLATE}"
    script = model.playing(
        calls(("search_sources", {"query": f"returns {SCRIPT}"})), says(f"# Reply\n\n{content}\n\n```html\n{SCRIPT}\n```"),
        refuses(400, content))
    agent = api.create(name=f"{SCRIPT} hostile", prompt=f"{{% raw %}}{content}{{% endraw %}}", model=script, tools=[{"type": "search_sources"}],
                       sources=[{"title": f"Returns {SCRIPT}", "text": f"Returns within 30 days. {content}"}])
    payload = {f"key {SCRIPT}": [content, {"nested": SCRIPT}], "big": 12345678901234567890}
    succeeded, failed = api.run(agent, payload), api.run(agent, payload)
    assert (succeeded["status"], failed["status"]) == ("SUCCESS", "FAILURE")
    return agent, succeeded["task_id"], failed["task_id"]


@pytest.fixture(scope="module")
def elsewhere_image():
    elsewhere = Elsewhere()
    yield f"{elsewhere.url}/image.png"
    assert elsewhere.asked == [], "a page loaded an image of an answer"
    elsewhere.close()


# -------------------------------------------------------- Hostile content


def test_hostile_content_is_shown_as_text_on_every_page(signed_in, hostile):
    agent, succeeded, failed = hostile
    page = signed_in
    at_agent = f"/console/agents/{agent['agent_id']}"
    for path, shown in {
        "/console/agents": SCRIPT,
        at_agent: SCRIPT,
        f"{at_agent}/sources": SCRIPT,
        f"{at_agent}/definition": SCRIPT,
        f"{at_agent}/danger": SCRIPT,
        f"/console/tasks?agent_id={agent['agent_id']}": SCRIPT,
        f"/console/tasks/{succeeded}": f"key {SCRIPT}",
        f"/console/tasks/{failed}": f"key {SCRIPT}",
        "/console/": None,
    }.items():
        page.goto(path)
        page.get_by_role("heading", level=1).wait_for()
        unfold_everything(page)
        if shown:
            check_shown_as_text(page, shown)
        check_nothing_ran(page)


def test_an_answer_is_formatted_without_active_markup(signed_in, hostile):
    _, succeeded, _ = hostile
    page = signed_in
    page.goto(f"/console/tasks/{succeeded}")
    expect(page.get_by_role("heading", name="Reply")).to_be_visible()
    unfold_everything(page)
    for text in (SCRIPT, TEMPLATE, "12345678901234567890", f"returns {SCRIPT}"):
        check_shown_as_text(page, text)
    for link in page.locator("main a").all():
        assert re.match(r"(/|https?://|mailto:)", link.get_attribute("href") or ""), link.get_attribute("href")
    assert page.locator("main img").count() == 0
    check_nothing_ran(page)


def unfold_everything(page):
    """Includes folded content in the checks."""
    page.wait_for_load_state("networkidle")
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")


def check_shown_as_text(page, text):
    """In the text of the page, or in a field of a form."""
    seen = """text => document.body.innerText.includes(text)
        || [...document.querySelectorAll('input, textarea, select')].some(field => field.value.includes(text))
        || [...document.querySelectorAll('pre, code, dd, td, p, summary')].some(part => part.textContent.includes(text))"""
    chromium.until(page, seen, text)


def check_nothing_ran(page):
    assert page.evaluate("window.ran") is None, page.url
    alive = page.evaluate("""[...document.querySelectorAll('script:not([src]), [onerror], iframe, object, embed, img[src=x]')]
        .map(element => element.outerHTML)""")
    assert alive == [], page.url


# ------------------------------------------- The security policy of the pages


def record_violations(page):
    """Returns a function that returns the violations of the policy from now on."""
    page.evaluate("""window.violations = [];
        document.addEventListener('securitypolicyviolation', event => window.violations.push(event.effectiveDirective))""")
    return lambda: page.evaluate("window.violations")


@pytest.mark.parametrize("path", ["/console/", "/api/docs"])
def test_a_script_planted_in_the_page_does_not_run(signed_in, faults, path):
    faults.allow("Content Security Policy|openapi.json")
    page = signed_in

    def plant(route):
        answer = route.fetch()
        planted = "<script>window.ran=1</script><img src='/nothing' onerror='window.ran=2'></body>"
        route.fulfill(response=answer, body=answer.text().replace("</body>", planted))

    page.route(f"**{path}", plant)
    page.goto(path)
    faults.allow("nothing")
    page.wait_for_load_state("networkidle")
    assert page.locator("script:not([src])").count() == 1, "the script is in the page"
    assert page.evaluate("window.ran") is None
    assert any("script-src" in fault for fault in faults.found), faults.found


@pytest.mark.parametrize("path", ["/console/", "/api/docs"])
def test_a_page_loads_nothing_from_other_origins_and_evaluates_no_strings(signed_in, faults, elsewhere, path):
    faults.allow("Content Security Policy|elsewhere|openapi.json|failed: ")
    page = signed_in
    page.goto(path)
    page.wait_for_load_state("networkidle")
    violations = record_violations(page)
    page.evaluate("""url => {
        const add = (name, attributes) => document.body.append(Object.assign(document.createElement(name), attributes));
        add('script', { src: url + '/script.js' });
        add('script', { textContent: 'window.ran = 1' });
        add('img', { src: url + '/image.png' });
        add('link', { rel: 'stylesheet', href: url + '/style.css' });
        add('iframe', { src: url + '/frame' });
        add('style', { textContent: 'body { color: red }' });
        const button = document.createElement('button');
        button.setAttribute('onclick', 'window.ran = 2');
        document.body.append(button);
        button.click();
        fetch(url + '/fetch').catch(() => {});
        setTimeout("window.ran = 3");
        setTimeout(() => { try { eval('window.ran = 4') } catch {} });
    }""", elsewhere.url)
    wanted = {"script-src-elem", "script-src-attr", "script-src", "img-src", "style-src-elem", "frame-src", "connect-src"}
    chromium.until(page, "wanted => wanted.every(directive => window.violations.includes(directive))", sorted(wanted))
    assert set(violations()) == wanted
    assert page.evaluate("window.ran") is None and elsewhere.asked == []


# ------------------------------------------------- Pages of other origins


def test_a_page_of_another_origin_can_neither_change_nor_read_agents(signed_in, elsewhere, api, faults):
    """The browser is signed in and sends its cookie."""
    faults.allow("elsewhere|answer: 403|CORS|failed: |Failed to load|Access-Control")
    before = api.manage("GET", "/api/agents")
    page = signed_in
    page.goto(elsewhere.url)
    results = page.evaluate("""async url => {
        const attempt = options => fetch(url, { credentials: 'include', ...options }).then(answer => answer.text(), () => 'refused');
        const body = JSON.stringify({ name: 'planted' });
        return [
            await attempt({}),
            await attempt({ method: 'POST', body }),
            await attempt({ method: 'POST', body, headers: { 'X-Console': '1' } }),
            await attempt({ method: 'POST', body, headers: { 'Content-Type': 'application/json' } }),
            await attempt({ method: 'POST', body, mode: 'no-cors', headers: { 'Content-Type': 'text/plain' } }),
        ];
    }""", f"{api.url}/api/agents")
    assert results == ["refused", "refused", "refused", "refused", ""]

    elsewhere.page = f"""<form method=post enctype=text/plain action="{api.url}/api/agents"><input name='{{"name":"planted","a":"' value='"}}'></form>"""
    page.goto(elsewhere.url)
    with page.expect_response(f"{api.url}/api/agents") as answer:
        page.evaluate("document.querySelector('form').submit()")
    assert "cookie" in answer.value.request.all_headers(), "otherwise the test proves nothing"
    assert answer.value.status == 403 and answer.value.json()["code"] == "cross_origin"
    assert api.manage("GET", "/api/agents") == before


def test_no_page_can_be_framed_or_controlled_by_another_origin(signed_in, elsewhere, product, faults):
    faults.allow("elsewhere|failed: |frame|CORS|Content Security Policy")
    page = signed_in
    for path in ("/console/", "/api/docs"):
        elsewhere.page = f"<iframe src='{product.url}{path}'></iframe>"
        page.goto(elsewhere.url)
        assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"], path
        elsewhere.page = "<p>opener</p>"
        page.goto(elsewhere.url)
        with page.expect_popup() as popup:
            page.evaluate("url => { window.held = window.open(url) }", product.url + path)
        popup.value.wait_for_load_state()
        assert popup.value.evaluate("window.opener") is None
        assert page.evaluate("window.held.closed") is True, path
        popup.value.close()


# ------------------------------------------ Data that the browser stores


def test_no_script_can_read_the_token_after_signing_in(page, context, product):
    page.goto("/console/agents")
    page.get_by_label("Admin token").fill(product.admin_token)
    with page.expect_response("**/api/session") as answer:
        page.get_by_role("button", name="Sign in").click()
    assert answer.value.status == 204
    page.get_by_role("heading", level=1, name="Agents").wait_for()

    (cookie,) = context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    assert 11.9 < (cookie["expires"] - time.time()) / 3600 < 12.1
    stored = page.evaluate("""JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href,
        history.state, document.documentElement.outerHTML, [...document.querySelectorAll('input')].map(input => input.value)])""")
    for secret in (product.admin_token, cookie["value"]):
        assert secret not in stored
    assert page.evaluate("indexedDB.databases()") == []


def test_a_wrong_token_is_refused_and_not_added_to_the_url(page):
    page.goto("/console/tasks")
    page.get_by_label("Admin token").fill("wrong-token")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("This is not the admin token of this deployment.")).to_be_visible()
    assert page.url.endswith("/console/tasks")
    chromium.examine(page, "sign-in-refused")


def test_after_signing_out_the_page_and_the_history_contain_no_data(signed_in, context, api):
    agent = api.create(name="left-behind")
    page = signed_in
    page.goto(f"/console/agents/{agent['agent_id']}")
    page.get_by_role("heading", level=1, name="left-behind").wait_for()
    token = agent["webhook_url"].rpartition("/")[2]
    held = "token => [document.documentElement.outerHTML, ...[...document.querySelectorAll('input')].map(input => input.value)].join().includes(token)"
    chromium.until(page, held, token)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Admin token").wait_for()
    assert not page.evaluate(held, token)
    assert context.cookies() == []
    page.goto("about:blank")
    page.go_back()
    page.get_by_label("Admin token").wait_for()
    assert not page.evaluate(held, token)


def test_a_session_without_the_consoles_header_cannot_change_anything(signed_in, context, api):
    before = api.manage("GET", "/api/agents")
    for method, path in (("POST", "/api/agents"), ("PATCH", "/api/agents/any"), ("DELETE", "/api/agents/any"),
                         ("PUT", "/api/secrets/any"), ("POST", "/api/prompt_preview")):
        answer = context.request.fetch(path, method=method, data=json.dumps({"name": "planted", "value": "x"}),
                                       headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json()["code"]) == (403, "cross_origin"), (method, path)
    assert api.manage("GET", "/api/agents") == before


def test_the_browser_does_not_cache_api_responses(signed_in, context, hostile):
    agent, succeeded, _ = hostile
    for path in ("/api/agents", f"/api/agents/{agent['agent_id']}", "/api/tasks", f"/api/tasks/{succeeded}", "/api/stats", "/api/session"):
        answer = context.request.get(path)
        assert (answer.status, answer.headers["cache-control"]) == (200, "no-store"), path
