"""The runbook for leaked secrets, carried out: its commands are those of docs/operations/runbook.md, run as an operator runs them.

What the emulator does otherwise than AWS:
- It has no CloudWatch Logs Insights and no CloudTrail, so the steps under *Detect* are not carried out.
- It ends an instance at once when its variables change. On AWS an invocation in progress ends on the old one.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest
import redaction
import requests
from conftest import ROOT, wait_until
from sam_cli import documented

TOOLS = ROOT / ".tools" / "venv" / "bin"
# AgentCacheSeconds of the stack, and a little more.
CACHE_SECONDS = 1.5


class Operator:
    """Runs code blocks of the runbook in one folder."""

    def __init__(self, stack, folder):
        self.folder = folder
        self.environment = {
            "PATH": f"{TOOLS}:{os.environ['PATH']}", "HOME": str(folder), "AWS_ENDPOINT_URL": stack.outputs["endpoint"],
            "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": stack.outputs["region"],
            "AWS_DEFAULT_REGION": stack.outputs["region"], "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_PAGER": "",
        }

    def run(self, heading, *blocks, **variables):
        """What the blocks of a section print, after the functions that the runbook begins with."""
        code = [block("Runbook"), block("Leaked secrets"), *(block(heading, index) for index in blocks)]
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", "\n".join(code)], cwd=self.folder, check=False,
                              env={**self.environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout


def block(heading, index=0):
    return documented(heading, "sh", index, document="operations/runbook.md")


@pytest.fixture
def operator(stack, tmp_path):
    return Operator(stack, tmp_path)


def trigger(url):
    return requests.post(url, json={"order": 1}, timeout=30).status_code


def url_of(stack, agent):
    return stack.manage("GET", "/api/agent_webhook", params={"id": agent["agent_id"]}).json()["webhook_url"]


def test_a_leaked_admin_token_is_refused_when_the_commands_return(stack, operator):
    old = stack.admin_token
    session = requests.Session()
    assert session.post(f"{stack.base_url}/api/session", json={"admin_token": old}, timeout=30).status_code == 204
    # Block 0 detects.
    printed = operator.run("A leaked admin token", 1, 2)
    # For the tests that follow, too.
    stack.admin_token = stack.shell(stack.outputs["AdminTokenCommand"])
    redaction.secret("admin token", stack.admin_token)
    assert printed.splitlines()[-2:] == ["old token: 401", "new token: 200"]
    assert stack.admin_token != old and len(stack.admin_token) == 64
    assert stack.call("GET", "/api/agents", headers={"Authorization": f"Bearer {old}"}).status_code == 401
    assert stack.manage("GET", "/api/agents").status_code == 200
    assert session.get(f"{stack.base_url}/api/session", timeout=30).status_code == 401, "sessions end with the token"


def test_without_new_instances_a_leaked_admin_token_is_still_accepted(stack):
    """Why the runbook replaces the instances."""
    secrets, name = stack.aws("secretsmanager"), stack.resources["AdminToken"]
    assert stack.manage("GET", "/api/agents").status_code == 200
    secrets.put_secret_value(SecretId=name, SecretString="another-token-of-more-than-32-characters")
    try:
        assert stack.manage("GET", "/api/agents").status_code == 200
    finally:
        secrets.put_secret_value(SecretId=name, SecretString=stack.admin_token)


def test_a_leaked_signing_secret_leaves_no_url_that_was_derived_from_it(stack, agents, operator):
    made = [agents.create("answers") for _ in range(2)]
    operator.run("A leaked signing secret", 0)
    redaction.secret("signing secret", stack.signing_secret())
    new_urls = dict(line.split() for line in (Path(operator.folder) / "new-urls.txt").read_text().splitlines())
    for url in new_urls.values():
        redaction.webhook(url)
    everyone = {agent["agent_id"] for agent in stack.manage("GET", "/api/agents").json()["agents"]}
    assert new_urls.keys() == everyone
    assert operator.run("A leaked signing secret", 1).splitlines() == ["the console shows the new URLs"]

    time.sleep(CACHE_SECONDS)
    for agent in made:
        assert trigger(agent["webhook_url"]) == 404
        assert new_urls[agent["agent_id"]] != agent["webhook_url"]
        assert trigger(new_urls[agent["agent_id"]]) == 200


def test_before_the_agents_are_rotated_their_old_urls_work_and_the_console_shows_others(stack, agents):
    """What the runbook says about the time between its commands."""
    agent = agents.create("answers")
    secrets, name = stack.aws("secretsmanager"), stack.resources["SigningSecret"]
    before = stack.signing_secret()

    def change(value):
        redaction.secret("signing secret", value)
        secrets.put_secret_value(SecretId=name, SecretString=value)
        functions, console = stack.aws("lambda"), stack.resources["ConsoleFunction"]
        variables = functions.get_function_configuration(FunctionName=console)["Environment"]["Variables"]
        functions.update_function_configuration(FunctionName=console, Environment={"Variables": {**variables, "CHANGED": str(time.time())}})

    change("x" * 43)
    try:
        shown = wait_until("the new signing secret", lambda: url_of(stack, agent) if url_of(stack, agent) != agent["webhook_url"] else None)
        redaction.webhook(shown)
        assert (trigger(agent["webhook_url"]), trigger(shown)) == (200, 404)
    finally:
        change(before)


def test_a_leaked_webhook_url_is_replaced_for_one_agent(stack, agents, operator):
    agent, other = agents.create("answers"), agents.create("answers")
    operator.run("A leaked webhook URL", 1, AGENT_ID=agent["agent_id"])
    time.sleep(CACHE_SECONDS)
    assert operator.run("A leaked webhook URL", 2, OLD_URL=agent["webhook_url"]).strip() == "old URL: 404"
    new = url_of(stack, agent)
    redaction.webhook(new)
    assert (trigger(new), trigger(other["webhook_url"])) == (200, 200)


def test_a_leaked_model_key_is_replaced_without_a_deployment(stack, agents, model, operator):
    keys = {}
    for number, text in enumerate(("first", "second")):
        keys[number] = f"sk-{text}-{time.time_ns()}"
        redaction.secret("stored secret", keys[number])
    assert stack.manage("PUT", "/api/secrets/leaked", json={"value": keys[0]}).status_code == 204
    agent = agents.create("answers", model={"provider": "openai", "base_url": model.base_url, "name": "answers",
                                            "api_key": {"secret": "leaked"}})
    assert stack.wait_for_end(agents.trigger(agent, {"order": "before"}))["status"] == "SUCCESS"
    (Path(operator.folder) / "new-key.txt").write_text(f"{keys[1]}\n")
    operator.run("A leaked model key", 0, 1, SECRET_NAME="leaked")
    marker = f"after-{time.time_ns()}"
    assert stack.wait_for_end(agents.trigger(agent, {"order": marker}))["status"] == "SUCCESS"
    assert [call["authorization"] for call in model.calls_about(marker)] == [f"Bearer {keys[1]}"]
