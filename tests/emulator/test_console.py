"""The console on the deployed stack: its pages as API Gateway hands them on, signing
in, and the way from an empty form to an answer in a real browser."""

import os
import subprocess

import pytest
import redaction
import requests

from conftest import ROOT

DOMAIN = "console.localhost"
PAGES = ("/console", "/console/", "/console/agents/some-id", "/api/docs")


@pytest.fixture(scope="module")
def domain(stack):
    """A domain of its own in front of the stack, since a page asks for paths from the root."""
    gateway = stack.aws("apigateway")
    gateway.create_domain_name(domainName=DOMAIN)
    gateway.create_base_path_mapping(domainName=DOMAIN, restApiId=stack.resources["HttpApi"], stage="$default")
    return stack.outputs["endpoint"].replace("127.0.0.1", DOMAIN)


def test_every_page_is_served_by_the_function_compressed_and_guarded(stack):
    for path in PAGES:
        answer = stack.call("GET", path, headers={"Accept-Encoding": "gzip"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
        assert answer.headers["Content-Encoding"] == "gzip" and answer.text.startswith("<!doctype html>")
        assert answer.headers["Cache-Control"] == "no-cache" and answer.headers["ETag"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        again = stack.call("GET", path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b""), path


def test_files_that_a_page_names_exist_and_are_cached_for_ever(stack):
    for path in PAGES:
        page = stack.call("GET", path).text
        names = [part.partition('"')[0] for part in page.split('="/')[1:] if "/assets/" in part.partition('"')[0]]
        assert len(names) >= 2, page
        for name in names:
            answer = stack.call("GET", f"/{name}")
            assert answer.ok and answer.headers["Cache-Control"] == "public, max-age=31536000, immutable", name


def test_the_root_leads_to_the_console_and_the_output_names_it(stack):
    answer = stack.call("GET", "/", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/console/")
    assert requests.get(stack.outputs["ConsoleUrl"], timeout=30).text == stack.call("GET", "/console/").text


def test_a_session_takes_the_place_of_the_token_and_ends(stack):
    refused = stack.call("POST", "/api/session", json={"admin_token": "wrong"})
    assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
    session = requests.Session()
    base = stack.base_url
    signed_in = session.post(f"{base}/api/session", json={"admin_token": stack.admin_token}, timeout=30)
    assert signed_in.status_code == 204
    cookie = signed_in.headers["Set-Cookie"]
    for attribute in ("HttpOnly", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    redaction.secret("session", cookie.partition("=")[2].partition(";")[0])
    for path in ("/api/session", "/api/agents", "/api/tasks", "/api/stats"):
        assert session.get(f"{base}{path}", timeout=30).status_code == 200, path
    blind = session.post(f"{base}/api/agents", json={"name": "from-elsewhere"}, timeout=30)
    assert (blind.status_code, blind.json()["code"]) == (403, "cross_origin")
    assert session.delete(f"{base}/api/session", headers={"X-Console": "1"}, timeout=30).status_code == 204
    assert session.get(f"{base}/api/agents", timeout=30).status_code == 401


def test_tasks_are_listed_shown_and_counted(agents, stack):
    agent = agents.create("answers")
    task_id = agents.trigger(agent, {"order": 7})
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    (task,) = stack.manage("GET", "/api/tasks", params={"agent_id": agent["agent_id"]}).json()["tasks"]
    assert (task["task_id"], task["status"]) == (task_id, "SUCCESS")
    shown = stack.manage("GET", f"/api/tasks/{task_id}").json()
    assert shown["payload"] == {"order": 7}
    assert [event["type"] for event in shown["events"]] == ["created", "claimed", "finished"]
    counted = stack.manage("GET", "/api/stats", params={"agent_id": agent["agent_id"]}).json()
    assert (counted["tasks"], counted["by_status"]["SUCCESS"]) == (1, 1)


def test_the_api_description_is_public(stack):
    document = stack.call("GET", "/api/openapi.json")
    assert document.status_code == 200 and document.json()["openapi"].startswith("3.1")


def test_in_a_browser_an_agent_is_made_triggered_read_rotated_and_its_failures_found(stack, domain):
    """In the tools of web/tests, which the other tests here do without."""
    subprocess.run([ROOT / "tests" / "console" / "install"], check=True)
    environment = {**os.environ, "CONSOLE_URL": domain, "CONSOLE_API_URL": stack.base_url, "CONSOLE_ADMIN_TOKEN": stack.admin_token}
    tests = [ROOT / "web" / "tests" / "test_journey.py"]
    subprocess.run([ROOT / ".tools" / "console" / "bin" / "pytest", "-q", "-p", "no:cacheprovider", *tests],
                   check=True, env=environment)
