"""The helper stacks: created from a template of this folder, and deleted afterwards."""

import contextlib
import time
from pathlib import Path

FOLDER = Path(__file__).parent


class HelperStack:
    def __init__(self, target, name, template, parameters=None):
        self.target = target
        self.name = name
        self.template = (FOLDER / template).read_text()
        self.parameters = parameters or {}
        self.outputs = {}

    @property
    def delete_command(self):
        return self.target.command("cloudformation", "delete-stack", "--stack-name", self.name)

    def create(self):
        cloudformation = self.target.aws("cloudformation")
        cloudformation.create_stack(
            StackName=self.name, TemplateBody=self.template, OnFailure="DELETE", Capabilities=["CAPABILITY_IAM"],
            Tags=[{"Key": "created-by", "Value": "tests/verify"}],
            Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in self.parameters.items()])
        self._wait("stack_create_complete")
        (described,) = cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        return self

    def delete(self):
        self.target.aws("cloudformation").delete_stack(StackName=self.name)
        self._wait("stack_delete_complete")
        # A function's last lines can create its log group again.
        if "LogGroup" in self.outputs:
            with contextlib.suppress(Exception):
                self.target.aws("logs").delete_log_group(logGroupName=self.outputs["LogGroup"])

    def _wait(self, waiter):
        delay = 1 if self.target.is_emulator else 5
        self.target.aws("cloudformation").get_waiter(waiter).wait(
            StackName=self.name, WaiterConfig={"Delay": delay, "MaxAttempts": 600 // delay})


def inline_code(template):
    """The Python code that a template of this folder deploys."""
    lines = (FOLDER / template).read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "ZipFile: |")
    indent = len(lines[start]) - len(lines[start].lstrip()) + 2
    code = []
    for line in lines[start + 1:]:
        if line.strip() and not line.startswith(" " * indent):
            break
        code.append(line[indent:])
    return "\n".join(code)


def run_id():
    """Distinguishes the agents and stacks of one run from those of another."""
    return time.strftime("%m%d%H%M%S", time.gmtime())
