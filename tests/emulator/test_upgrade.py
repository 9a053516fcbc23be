"""A stack update, a failed one and a rollback, while triggers keep coming and slow runs are in flight.

The load, and the checker of everything that was seen, are those of tests/soak.

What the emulator does otherwise than AWS:
- It kills a function's processes, and so breaks off what they were doing, at
  every change of its code or settings: twice in each update. AWS lets the
  invocations in progress end on the old version. Here a run lost to an update
  costs an attempt and waits for its lease; there it should not be lost at all.
- A new version serves from one moment to the next. On AWS old and new
  instances answer side by side for a while, which is not reproduced: that both
  can read each other's records rests on the record's version, not on this test.
- It changes one resource after another. AWS changes independent ones at once.
- What it ignores in a template (TTL, deletion protection, throttling) it
  ignores in an update too.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
import requests
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "soak"))

from checker import Limits, check, figures  # noqa: E402
from deployed import EMULATOR, MAX_ATTEMPTS, DeployedStack  # noqa: E402
from history import History  # noqa: E402
from load import Pace, run  # noqa: E402
from plan import draw  # noqa: E402
from running import BUILD, function_binary  # noqa: E402

STATE = ROOT / ".emulator" / "upgrade"
BINARIES = Path(os.environ.get("AGENT_WEBHOOKS_BINARIES", BUILD))
FUNCTIONS = {"WebhookFunction": "webhook", "AgentFunction": "agent", "TaskStatusFunction": "task-status", "ConsoleFunction": "console"}
SEED = 7
# Tasks accepted between two steps.
BETWEEN = 10
PACE = Pace(watchers=4, poll_pause=0.1, patience=180, settle=2)
# A function that is replaced in the middle of a call leaves the gateway without its answer.
LIMITS = Limits(MAX_ATTEMPTS, may_answer=frozenset({200, 500, 502, 503, 504}))
BEFORE = {"MaxBodyBytes": "1048576", "AgentTimeoutSeconds": "10", "MaximumConcurrency": "10"}
AFTER = {"MaxBodyBytes": "65536", "AgentTimeoutSeconds": "12", "MaximumConcurrency": "5"}


@pytest.fixture(scope="module")
def upgrade(tmp_path_factory):
    subprocess.run([EMULATOR / "down", "--state", STATE], check=True)
    history = History()
    upgrade = Upgrade(DeployedStack(STATE, BINARIES, history), history, tmp_path_factory.mktemp("upgrade"))
    # More than there is time for: the callers stop when the last step is done.
    plan = draw(SEED, tasks=5000, kills=0, callers=8, rate=4)
    run(plan, upgrade.target, history, PACE, upgrade.perform, slow=0.8)
    history.write(STATE / "history.jsonl")
    return upgrade


class Upgrade:
    """The steps, and what was found after each."""

    def __init__(self, target, history, folder):
        self.target = target
        self.history = history
        self.folder = folder
        self.steps = {}
        self.found = {}

    def perform(self, callers):
        self.callers = callers
        self.url = callers.webhook_urls[0]
        self.let_tasks_come()
        self.find("before")
        self.step("update", self.new_code("second"), AFTER)
        self.step("failed update", self.new_code("third"), {"MaxBodyBytes": "1024"}, self.template_that_fails())
        self.step("rollback", BINARIES, BEFORE)
        callers.stop()

    def step(self, name, binaries, parameters, template=ROOT / "template.yaml"):
        words = [word for pair in parameters.items() for word in ("--parameter", "=".join(pair))]
        began = self.history.now()
        done = subprocess.run([EMULATOR / "up", "--update", "--state", STATE, "--binaries", binaries,
                               "--template", template, *words], check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        # To the checker a replaced process is a killed one.
        self.history.note("killed", since=began, pids=[], when=name)
        self.steps[name] = {"began": began, "ended": self.history.now(), "code": done.returncode, "said": done.stdout}
        self.let_tasks_come()
        self.find(name)

    def let_tasks_come(self):
        self.history.wait_for_accepted(self.history.accepted + BETWEEN, self.callers.are_done, PACE.patience)

    def find(self, name):
        shown = call_console(self.target, self.url)
        cloudformation = self.aws("cloudformation")
        self.found[name] = {
            "status": cloudformation.describe_stacks(StackName="agent-webhooks")["Stacks"][0]["StackStatus"],
            "events": [(event["LogicalResourceId"], event["ResourceStatus"]) for event in
                       cloudformation.describe_stack_events(StackName="agent-webhooks")["StackEvents"]],
            "code": self.code(),
            "url": shown,
            "200 KB": requests.post(self.url, json={"marker": f"soak-probe-{name}", "filler": "x" * 200_000}, timeout=30).status_code,
        }

    def code(self):
        resources = self.aws("cloudformation").describe_stack_resources(StackName="agent-webhooks")["StackResources"]
        names = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources}
        configuration = self.aws("lambda").get_function_configuration
        return {function: configuration(FunctionName=names[function])["CodeSha256"] for function in FUNCTIONS}

    def aws(self, service):
        outputs = json.loads((STATE / "outputs.json").read_text())
        return boto3.client(service, endpoint_url=outputs["endpoint"], region_name=outputs["region"],
                            aws_access_key_id="test", aws_secret_access_key="test")

    def new_code(self, name):
        """The same programs as other packages: what follows an ELF file's sections is not looked at."""
        folder = self.folder / name
        folder.mkdir()
        for function, binary in FUNCTIONS.items():
            shutil.copy2(function_binary(BINARIES, function, binary), folder / binary)
            with (folder / binary).open("ab") as file:
                file.write(name.encode())
        return folder

    def template_that_fails(self):
        """The last function's package is missing, when the others have been updated."""
        template = yaml_parse((ROOT / "template.yaml").read_text())
        console = template["Resources"]["ConsoleFunction"]
        console["Properties"]["CodeUri"] = "s3://deployment/not-there"
        console["DependsOn"] = [function for function in FUNCTIONS if function != "ConsoleFunction"]
        path = self.folder / "fails.yaml"
        path.write_text(yaml_dump(template))
        return path


def call_console(target, url):
    """The agent's webhook URL, as it is shown now."""
    headers = {"Authorization": f"Bearer {target.admin_token}"}
    agents = requests.get(f"{target.base_url}/api/agents", headers=headers, timeout=30).json()["agents"]
    (agent,) = [agent for agent in agents if agent["webhook_url"] == url]
    return agent["webhook_url"]


def in_flight(upgrade, step):
    """Runs begun before a step ended and not answered when it began."""
    times, events = upgrade.steps[step], upgrade.history.events
    begun = {(event["marker"], event["run"]) for event in events if event["kind"] == "run" and event["at"] < times["ended"]}
    answered = {(event["marker"], event["run"]) for event in events
                if event["kind"] == "run_answered" and event["at"] < times["began"]}
    return len(begun - answered)


def test_nothing_is_lost_or_ended_twice_and_keys_keep_their_ids(upgrade):
    violations = check(upgrade.history.events, LIMITS)
    print(figures(upgrade.history.events, violations))
    assert violations == []


def test_every_accepted_task_ended_in_success(upgrade):
    counted = figures(upgrade.history.events, [])
    assert counted["tasks"] >= 4 * BETWEEN
    assert counted["SUCCESS"] == counted["tasks"]


def test_runs_were_broken_off_and_run_again(upgrade):
    counted = figures(upgrade.history.events, [])
    assert counted["re-runs"] > counted["transient errors"]


@pytest.mark.parametrize("step", ["update", "failed update", "rollback"])
def test_runs_were_in_flight_and_triggers_came_during_each_step(upgrade, step):
    assert in_flight(upgrade, step) > 0
    times = upgrade.steps[step]
    during = [event for event in upgrade.history.events
              if event["kind"] == "answered" and event["status"] == 200 and times["began"] < event["at"] < times["ended"]]
    assert len(during) > BETWEEN


def test_the_update_replaced_the_code_and_the_settings(upgrade):
    before, after = upgrade.found["before"], upgrade.found["update"]
    assert (upgrade.steps["update"]["code"], after["status"]) == (0, "UPDATE_COMPLETE"), upgrade.steps["update"]["said"]
    assert all(before["code"][function] != after["code"][function] for function in FUNCTIONS)
    assert (before["200 KB"], after["200 KB"]) == (200, 413)


def test_the_failed_update_had_replaced_functions_and_was_rolled_back_whole(upgrade):
    before, after = upgrade.found["update"], upgrade.found["failed update"]
    assert upgrade.steps["failed update"]["code"] != 0
    assert after["status"] == "UPDATE_ROLLBACK_COMPLETE"
    # The newest event comes first.
    failed = after["events"].index(("ConsoleFunction", "UPDATE_FAILED"))
    replaced = {resource for resource, status in after["events"][failed:] if status == "UPDATE_COMPLETE"}
    assert {"WebhookFunction", "AgentFunction"} <= replaced
    assert after["code"] == before["code"]
    assert after["200 KB"] == 413


def test_the_previous_version_can_be_deployed_again(upgrade):
    before, after = upgrade.found["before"], upgrade.found["rollback"]
    assert (upgrade.steps["rollback"]["code"], after["status"]) == (0, "UPDATE_COMPLETE"), upgrade.steps["rollback"]["said"]
    assert after["code"] == before["code"]
    assert after["200 KB"] == 200


def test_the_webhook_url_stays_the_same(upgrade):
    assert {found["url"] for found in upgrade.found.values()} == {upgrade.url}
