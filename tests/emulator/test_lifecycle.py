"""The life cycle of a stack as in docs/deploy.md, from a failed creation to the removal of the last secret.

SAM CLI and AWS CLI are the real ones, and the shell commands are those of the document.

What the emulator does otherwise than AWS:
- CloudFormation deletes tables although they are protected. So the states
  ROLLBACK_FAILED and DELETE_FAILED, and the way out of them, are not carried out.
- An API has the address that its tag asks for. So a stack that is created again
  has the webhook URLs of the deleted one even without a domain.
- tests/emulator/up leaves out the alarms that calculate with metrics and the
  queues' policy, and writes the concurrency of the queue into the template.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
import redaction
import requests
from conftest import FakeModel, wait_until
from running import BUILD, admin_token
from sam_cli import documented, environment_of_sam, run_in_terminal
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = ROOT / "tests" / "emulator"
STATE = ROOT / ".emulator" / "lifecycle"
BINARIES = os.environ.get("AGENT_WEBHOOKS_BINARIES", BUILD)
TAG = ["--tags", "ms-custom-id=agentwebhooks"]
DOCUMENT = "Parcels can be returned within 30 days."
API_KEY = "sk-lifecycle-7c1e9f"


@pytest.fixture(scope="module")
def lifecycle():
    subprocess.run([EMULATOR / "down", "--state", STATE], check=True)
    up = subprocess.run([EMULATOR / "up", "--state", STATE, "--binaries", BINARIES, "--without-stack"], check=True,
                        stdout=subprocess.PIPE, text=True)
    lifecycle = Lifecycle(json.loads(up.stdout))
    try:
        lifecycle.run()
        yield lifecycle
    finally:
        lifecycle.model.close()
        subprocess.run([EMULATOR / "down", "--state", STATE], check=True)


class Lifecycle:
    """The steps of the document in order, and what was seen after each."""

    def __init__(self, outputs):
        self.endpoint, self.base_url = outputs["endpoint"], outputs["base_url"]
        # `sam deploy` finds template.yaml and samconfig.toml here.
        self.folder = Path(outputs["template"]).parent
        self.environment = {**environment_of_sam(self.folder, self.endpoint), "STACK": "agent-webhooks"}
        self.answers = {"Stack Name": "agent-webhooks", "PublicUrl": self.base_url, "AllowedPrivateHosts": "127.0.0.1",
                        "AgentTimeoutSeconds": "10"}
        # Where the model notes what it was sent. The check `redaction` does not read this stack's logs.
        redaction.FOLDER.mkdir(parents=True, exist_ok=True)
        self.model = FakeModel(None)
        self.results = SimpleNamespace()

    def run(self):
        self.fail_to_create()
        self.create()
        self.protect()
        self.update_and_roll_back()
        self.delete()
        self.attach()
        self.remove()

    def fail_to_create(self):
        template = yaml_parse((self.folder / "template.yaml").read_text())
        storage = ["TasksTable", "AgentsTable", "DocumentsTable", "SigningSecret"]
        template["Resources"] = {name: template["Resources"][name] for name in storage}
        del template["Outputs"]
        # The emulator refuses this alarm, after it has created everything that holds data.
        template["Resources"]["Fails"] = {
            "Type": "AWS::CloudWatch::Alarm", "DependsOn": storage,
            "Properties": {"Metrics": [{"Id": "a", "Expression": "1"}], "ComparisonOperator": "GreaterThanThreshold",
                           "EvaluationPeriods": 1, "Threshold": 1}}
        (self.folder / "fails.yaml").write_text(yaml_dump(template))
        self.sam("deploy", "--template-file", "fails.yaml", "--stack-name", "agent-webhooks", "--resolve-s3", code=1)
        self.results.failed = SimpleNamespace(
            status=self.stack()["StackStatus"], retained=self.data(),
            causes=self.run_documented("Recover from a failed first deployment"))
        self.run_documented("Recover from a failed first deployment", 1)

    def create(self):
        self.results.created = self.deploy_guided()
        self.check = self.run_documented("Deploy", 1)
        self.token = admin_token(self.outputs())
        reader = self.call("POST", "/api/agents", json={"name": "reader"})
        self.call("POST", f"/api/agents/{reader['agent_id']}/sources", params={"title": "Returns"}, data=DOCUMENT,
                  headers={"Content-Type": "text/plain"})
        model = {"provider": "openai", "base_url": self.model.base_url, "name": "any", "api_key": API_KEY}
        asker = self.call("POST", "/api/agents", json={"name": "asker", "model": model})
        self.urls = {"reader": reader["webhook_url"], "asker": asker["webhook_url"]}
        self.results.before = self.use()

    def protect(self):
        self.run_documented("Protect the stack")
        self.deploy_guided(DeletionProtection="true")
        self.results.protected = SimpleNamespace(
            stack=self.stack()["EnableTerminationProtection"], tables=self.protection(),
            deletion=self.sam("delete", "--no-prompts", "--stack-name", "agent-webhooks", "--region", "us-east-1", code=None),
            after=self.use())

    def update_and_roll_back(self):
        first = self.code()
        bootstrap = self.folder / "ConsoleFunction" / "bootstrap"
        shutil.copy2(bootstrap, self.folder / "first")
        # The same program as another package: nothing reads what follows an ELF file's sections.
        with bootstrap.open("ab") as file:
            file.write(b"later")
        self.sam("deploy", *TAG)
        later, protection = self.code(), self.protection()
        shutil.copy2(self.folder / "first", bootstrap)
        self.deploy_guided(DeletionProtection="false")
        self.results.versions = SimpleNamespace(first=first, later=later, back=self.code(), protection_after_update=protection)

    def delete(self):
        self.run_documented("Delete the stack")
        self.run_documented("Delete the stack", 1)
        self.run_documented("Delete the stack", 2)
        self.results.deleted = SimpleNamespace(
            noted=(self.folder / "retained.txt").read_text(), retained=self.data(), groups=self.log_groups(),
            found=self.run_documented("Find retained resources"), secrets=self.run_documented("Find retained resources", 1))

    def attach(self):
        noted = dict(line.split("=", 1) for line in self.results.deleted.noted.splitlines())
        self.deploy_guided(**{f"Existing{name}": value for name, value in noted.items()})
        self.token = admin_token(self.outputs())
        self.results.attached = SimpleNamespace(
            resources=self.resources(), outputs=self.outputs(), use=self.use(), retained=self.data(),
            urls={agent["name"]: agent["webhook_url"] for agent in self.call("GET", "/api/agents")["agents"]})

    def remove(self):
        self.run_documented("Delete the stack", 2)
        self.results.detached = self.data()
        self.run_documented("Remove retained resources")
        self.results.removed = self.data()

    def deploy_guided(self, **answers):
        dialogue = run_in_terminal(["sam", "deploy", "--guided", *TAG], self.folder, self.environment,
                                   {**self.answers, **answers})
        assert (dialogue.repeated, dialogue.code) == (None, 0), dialogue.text
        return dialogue

    def sam(self, *words, code=0):
        done = subprocess.run(["sam", *words], cwd=self.folder, env=self.environment, check=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True)
        assert code in (None, done.returncode), done.stdout
        return done.stdout

    def run_documented(self, heading, index=0):
        """Runs the commands of a section, after the function `out` that the document begins with."""
        _, out = documented("Deploy to AWS", "sh").split("\n", 1)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", out + documented(heading, "sh", index)], cwd=self.folder,
                              env=self.environment, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def use(self):
        """What the agents' callers get: the passage of the document, the API key at the model."""
        ended = {}
        for name, url in self.urls.items():
            answer = requests.post(url, json={"question": "Until when can parcels be returned?"}, timeout=30)
            assert answer.status_code == 200, answer.text
            status = f"{self.base_url}/api/task_status?task_id={answer.json()['task_id']}"
            ended[name] = wait_until(f"the agent {name}", lambda status=status: self.ended(status))
        return SimpleNamespace(passages=ended["reader"]["result"]["result"]["answer"],
                               authorization=self.model.requests[-1]["authorization"])

    @staticmethod
    def ended(status):
        task = requests.get(status, timeout=30).json()
        assert task["status"] != "FAILURE", task
        return task if task["status"] == "SUCCESS" else None

    def call(self, method, path, headers=None, **options):
        answer = requests.request(method, self.base_url + path, timeout=30, **options,
                                  headers={"Authorization": f"Bearer {self.token}", **(headers or {})})
        assert answer.ok, answer.text
        return answer.json()

    def stack(self):
        return self.aws("cloudformation").describe_stacks(StackName="agent-webhooks")["Stacks"][0]

    def outputs(self):
        return {**{output["OutputKey"]: output["OutputValue"] for output in self.stack()["Outputs"]}, "endpoint": self.endpoint}

    def resources(self):
        return {resource["LogicalResourceId"] for resource in
                self.aws("cloudformation").describe_stack_resources(StackName="agent-webhooks")["StackResources"]}

    def code(self):
        name = self.aws("cloudformation").describe_stack_resource(
            StackName="agent-webhooks", LogicalResourceId="ConsoleFunction")["StackResourceDetail"]["PhysicalResourceId"]
        return self.aws("lambda").get_function_configuration(FunctionName=name)["CodeSha256"]

    def protection(self):
        tables = self.aws("dynamodb").list_tables()["TableNames"]
        return {str(self.aws("dynamodb").describe_table(TableName=table)["Table"]["DeletionProtectionEnabled"]).lower()
                for table in tables}

    def data(self):
        """Tables, and secrets by their names."""
        tables = self.aws("dynamodb").list_tables()["TableNames"]
        secrets = self.aws("secretsmanager").list_secrets()["SecretList"]
        return SimpleNamespace(tables=set(tables), secrets={secret["Name"]: secret["ARN"] for secret in secrets})

    def log_groups(self):
        return self.aws("logs").describe_log_groups()["logGroups"]

    def aws(self, service):
        return boto3.client(service, endpoint_url=self.endpoint, region_name="us-east-1", aws_access_key_id="test",
                            aws_secret_access_key="test")


def test_a_failed_creation_leaves_no_table_and_no_secret_and_names_its_cause(lifecycle):
    """D3. Source: RetainExceptOnCreate in the CloudFormation user guide, "DeletionPolicy attribute"."""
    failed = lifecycle.results.failed
    assert failed.status == "ROLLBACK_COMPLETE"
    assert (failed.retained.tables, failed.retained.secrets) == (set(), {})
    assert failed.causes.split()[0] == "Fails"


def test_the_guided_deployment_creates_the_stack_with_the_capability_that_sam_cli_sends(lifecycle):
    """D1. Source: `CreateChangeSet` refuses a template that needs another capability; so does the emulator."""
    assert '["CAPABILITY_IAM"]' in lifecycle.results.created.text
    assert "Successfully created/updated stack - agent-webhooks in us-east-1" in lifecycle.results.created.text
    assert json.loads(lifecycle.check)["status"] == "ok"


def test_the_agents_work_before_anything_else_is_done(lifecycle):
    assert DOCUMENT in lifecycle.results.before.passages
    assert lifecycle.results.before.authorization == f"Bearer {API_KEY}"


def test_a_protected_stack_refuses_sam_delete_and_keeps_working(lifecycle):
    """D5. Source: samcli/lib/delete/cfn_utils.py, `can_delete_stack`: before it removes any artefact."""
    protected = lifecycle.results.protected
    assert (protected.stack, protected.tables) == (True, {"true"})
    assert "TerminationProtection" in protected.deletion
    assert DOCUMENT in protected.after.passages


def test_an_update_replaces_the_code_and_a_rollback_brings_it_back(lifecycle):
    """Under load: test_upgrade.py."""
    versions = lifecycle.results.versions
    assert versions.later != versions.first
    assert versions.back == versions.first


def test_a_plain_update_keeps_the_parameters_that_were_saved(lifecycle):
    """Source: samcli/commands/deploy/guided_config.py saves the answers for later commands."""
    assert lifecycle.results.versions.protection_after_update == {"true"}


def test_a_deletion_retains_two_tables_the_signing_secret_and_the_agents_secrets(lifecycle):
    """D6. Source: DeletionPolicy in template.yaml; the console creates the secrets, so no stack has them."""
    retained = lifecycle.results.deleted.retained
    noted = dict(line.split("=", 1) for line in lifecycle.results.deleted.noted.splitlines())
    assert retained.tables == {noted["AgentsTable"], noted["DocumentsTable"]}
    names = {name: arn for name, arn in retained.secrets.items() if name.startswith("agent-webhooks/provider/")}
    assert len(names) == 1
    assert set(retained.secrets.values()) - set(names.values()) == {noted["SigningSecret"]}
    assert lifecycle.results.deleted.groups == []


def test_the_documented_commands_find_the_retained_resources_without_notes(lifecycle):
    """D6. Source: `DescribeStackEvents` answers for a deleted stack, by its id, for 90 days."""
    noted = dict(line.split("=", 1) for line in lifecycle.results.deleted.noted.splitlines())
    found = dict(line.split() for line in lifecycle.results.deleted.found.splitlines())
    assert found.keys() == noted.keys()
    # The emulator shows a secret's name as its physical id, where AWS shows its ARN.
    assert all(found[name] in noted[name] for name in noted)
    assert len(lifecycle.results.deleted.secrets.split()) == 1


def test_a_new_stack_uses_the_earlier_tables_and_creates_no_others(lifecycle):
    attached = lifecycle.results.attached
    noted = dict(line.split("=", 1) for line in lifecycle.results.deleted.noted.splitlines())
    assert not {"AgentsTable", "DocumentsTable", "SigningSecret"} & attached.resources
    assert {name: attached.outputs[name] for name in noted} == noted
    assert attached.retained.tables == {noted["AgentsTable"], noted["DocumentsTable"], attached.outputs["TasksTable"]}


def test_an_earlier_webhook_url_works_on_the_new_stack_with_its_document_and_its_api_key(lifecycle):
    """D6. The signing secret shows the same URLs; the secrets are found under the stack's name."""
    attached = lifecycle.results.attached
    assert attached.urls == lifecycle.urls
    assert DOCUMENT in attached.use.passages
    assert attached.use.authorization == f"Bearer {API_KEY}"


def test_deleting_the_new_stack_does_not_delete_what_was_attached(lifecycle):
    noted = dict(line.split("=", 1) for line in lifecycle.results.deleted.noted.splitlines())
    assert lifecycle.results.detached.tables == {noted["AgentsTable"], noted["DocumentsTable"]}
    assert noted["SigningSecret"] in lifecycle.results.detached.secrets.values()


def test_the_documented_commands_remove_all_retained_resources(lifecycle):
    """D6."""
    assert (lifecycle.results.removed.tables, lifecycle.results.removed.secrets) == (set(), {})
