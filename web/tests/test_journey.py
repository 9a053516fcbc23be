"""The main path through the console and curl, from an empty form to an answer.

Runs against the local server, and against the stack on the emulator
(tests/emulator/test_console.py).
"""

import json
import re
import subprocess
import time

from playwright.sync_api import expect

from model import refuses, says

# On the stack, a function caches an agent for a second and can have a cold start.
PATIENCE_MS = 30_000


def test_an_agent_is_created_triggered_by_curl_shown_filtered_and_rotated(page, api, model):
    sign_in(page, api.admin_token)
    answers = model.playing(says("Order **7** is *urgent*.", tokens=(120, 9)), refuses(400, "no such model"))
    name = f"journey-{time.time_ns()}"
    create_agent(page, name, answers)
    url = copied_url(page)

    succeeded = curl(url, {"order": 7})["task_id"]
    check_answer(page, succeeded)
    failed = curl(url, {"order": 8})["task_id"]
    assert api.wait_for_end(failed)["status"] == "FAILURE"
    filter_failures(page, name, failed, succeeded)

    new_url = rotate(page, name)
    assert new_url != url
    wait_for_404(url)
    assert curl(new_url, {"order": 9})["success"]
    check_end_of_overlap(api, page, new_url)


def sign_in(page, admin_token):
    page.goto("/console/")
    page.get_by_label("Admin token").fill(admin_token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible(timeout=PATIENCE_MS)


def create_agent(page, name, model):
    page.goto("/console/agents")
    page.get_by_role("link", name="New agent").first.click()
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("textbox", name="Prompt", exact=True).fill("Say whether order {{ payload.order }} is urgent.")
    page.get_by_label("Provider").select_option("openai")
    page.get_by_role("textbox", name="Model", exact=True).fill(model["name"])
    page.get_by_label("Base URL").fill(model["base_url"])
    page.get_by_role("button", name="Create agent").click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()


def copied_url(page):
    page.get_by_role("button", name="Copy Webhook URL").click()
    url = page.evaluate("navigator.clipboard.readText()")
    assert re.fullmatch(r"https?://\S+/api/webhooks/agents/\w+", url), url
    return url


def check_answer(page, task_id):
    """Finds the task in its agent's list, waits for its end there, and opens it."""
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=f"Task {task_id}"))
    expect(row).to_contain_text("Succeeded", timeout=PATIENCE_MS)
    row.get_by_role("link", name=f"Task {task_id}").click()
    expect(page.locator("strong", has_text=re.compile(r"^7$"))).to_be_visible()
    expect(page.locator("em", has_text="urgent")).to_be_visible()
    expect(page.get_by_text("120 in, 9 out")).to_be_visible()


def filter_failures(page, name, failed, succeeded):
    page.goto("/console/tasks")
    page.get_by_label("Agent", exact=True).select_option(label=name)
    page.get_by_label("Status", exact=True).select_option(label="Failed")
    expect(page.get_by_role("link", name=f"Task {failed}")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.get_by_role("link", name=f"Task {succeeded}")).to_have_count(0)
    page.get_by_role("link", name=f"Task {failed}").click()
    expect(page.get_by_text("The model failed", exact=True).first).to_be_visible()


def rotate(page, name):
    page.goto("/console/agents")
    page.get_by_role("link", name=name).click()
    page.get_by_role("button", name="Rotate").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("How long the old URL keeps working").select_option("0")
    dialog.get_by_role("button", name="Rotate").click()
    expect(dialog.get_by_text("The old URL has ended.")).to_be_visible()
    url = dialog.get_by_role("textbox", name="New webhook URL").input_value()
    dialog.get_by_role("button", name="Done").click()
    return url


def check_end_of_overlap(api, page, url):
    """Uses a shorter overlap than the page offers, so that the test can wait for its end."""
    agent_id = page.url.rpartition("/")[2]
    rotated = api.manage("POST", f"/api/agents/{agent_id}/webhook/rotate", json={"overlap_seconds": 5})
    assert curl(url, {})["success"], "within the overlap"
    wait_for_404(url)
    assert curl(rotated["webhook_url"], {})["success"]


def curl(url, payload):
    command = ["curl", "--silent", "--show-error", "--header", "Content-Type: application/json", "--data", json.dumps(payload), url]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def wait_for_404(url):
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while curl(url, {}) != {"success": False, "message": "Agent not found", "code": "agent_not_found"}:
        assert time.monotonic() < deadline, f"{url} has not ended"
        time.sleep(0.5)
