"""`sam build` and `sam deploy --guided` as in docs/deploy.md, with the real SAM CLI and no AWS account.

SAM CLI and cargo-lambda are the real ones. Where a test is about the command that
they run, `cargo build` itself is replaced by a script that records its arguments
and writes a file in place of the binary. The tests of `.aws-sam/build` need
`./test release` first. What happens from the first call to AWS on is in
tests/emulator/test_lifecycle.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_dump, yaml_parse

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / ".aws-sam" / "build"
sys.path.insert(0, str(ROOT / "tests" / "emulator"))

from sam_cli import documented, environment_of_sam, run_in_terminal  # noqa: E402

FUNCTIONS = {"WebhookFunction": "webhook", "AgentFunction": "agent", "TaskStatusFunction": "task-status",
             "ConsoleFunction": "console"}
# `e_machine` of an ELF header (elf.h), in the words of the parameter.
MACHINES = {62: "x86_64", 183: "arm64"}
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
# In place of cargo: passes everything on but `cargo build`.
RECORDER = """#!/usr/bin/env bash
if [[ $1 == build ]]; then
  echo "$*" >>"$RECORDED"
  target=$(sed 's/.*--target \\([^ ]*\\).*/\\1/' <<<"$*") binary=$(sed 's/.*--bin \\([^ ]*\\).*/\\1/' <<<"$*")
  mkdir -p "$CARGO_TARGET_DIR/$target/release" && echo "$binary for $target" >"$CARGO_TARGET_DIR/$target/release/$binary"
elif [[ $1 == lambda ]]; then
  CARGO=$0 exec cargo-lambda "$@"
else
  PATH=$PATH_OF_CARGO exec cargo "$@"
fi
"""
# In place of rustc: says that it runs on another machine.
RUSTC_ON_ARM = """#!/usr/bin/env bash
if [[ $1 == -vV ]]; then rustc -vV | sed 's/^host: .*/host: aarch64-unknown-linux-gnu/'; else exec rustc "$@"; fi
"""


class Project:
    """A copy of what SAM CLI reads of this repository, and the commands that are run there."""

    def __init__(self, folder):
        self.folder = folder / "project"
        self.folder.mkdir()
        for name in ("Cargo.toml", "Cargo.lock", "CargoLambda.toml", "rust-toolchain.toml", "template.yaml"):
            (self.folder / name).write_text((ROOT / name).read_text())
        for name in ("benches", "crates", "functions", "tests"):
            (self.folder / name).symlink_to(ROOT / name)
        programs = folder / "programs"
        programs.mkdir()
        for name, script in (("cargo", RECORDER), ("rustc-on-arm", RUSTC_ON_ARM)):
            (programs / name).write_text(script)
            (programs / name).chmod(0o755)
        self.recorded = folder / "recorded"
        # The first call to AWS fails, because nothing listens there.
        environment = environment_of_sam(folder, "http://127.0.0.1:9")
        self.environment = {
            **environment,
            "PATH": f"{programs}:{environment['PATH']}",
            "PATH_OF_CARGO": os.environ["PATH"],
            "RECORDED": str(self.recorded),
            "AWS_MAX_ATTEMPTS": "1",
            # cargo-lambda adds a target to the toolchain if it can; nothing is compiled for it here.
            "RUSTUP_DIST_SERVER": "http://127.0.0.1:9",
            "RUSTUP_UPDATE_ROOT": "http://127.0.0.1:9",
        }

    def build(self, *functions, **environment):
        """Runs `sam build`, for all functions or one; returns the arguments of each `cargo build`."""
        self.recorded.unlink(missing_ok=True)
        done = subprocess.run(["sam", "build", *functions], cwd=self.folder, env={**self.environment, **environment}, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        return self.recorded.read_text().splitlines()

    def deploy(self, **answers):
        dialogue = run_in_terminal(["sam", "deploy", "--guided"], self.folder, self.environment, answers)
        print(dialogue.text)
        return dialogue

    def target_of_a_build(self, **environment):
        """Builds one function, which stands for all of them."""
        self.build("WebhookFunction", **environment)
        return (self.folder / ".aws-sam/build/WebhookFunction/bootstrap").read_text().split()[-1]


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


def parameters_of(template):
    return list(yaml_parse(template.read_text())["Parameters"])


def test_enter_at_every_prompt_of_the_guided_deployment_leads_to_the_first_call_to_aws(project):
    """D1. Source: samcli/commands/deploy/guided_context.py, `prompt_parameters`.

    Prints the transcript. docs/deploy.md has a shortened one, whose lines are compared up to the defaults.
    """
    dialogue = project.deploy()

    assert dialogue.repeated is None
    assert dialogue.questions == [
        "Stack Name", "AWS Region", *parameters_of(ROOT / "template.yaml"), "Confirm changes before deploy",
        "Allow SAM CLI IAM role creation", "Disable rollback", "Save arguments to configuration file",
        "SAM configuration file", "SAM configuration environment",
    ]
    _, documented_lines = documented("Deploy", "console").split("$ sam deploy --guided\n")
    printed = iter(dialogue.text.splitlines())
    for line in documented_lines.splitlines():
        text = line.partition(" [")[0]
        assert line == "…" or any(text == other.partition(" [")[0] for other in printed), line
    assert dialogue.text.split("Looking for resources needed for deployment:")[1].split("\n")[1].startswith(
        "Error: Could not connect to the endpoint URL"), dialogue.text


def test_a_noecho_parameter_would_be_asked_for_again_and_again(project):
    """D1: why template.yaml has no such parameter. It had one, `OtlpHeaders`."""
    template = yaml_parse((project.folder / "template.yaml").read_text())
    template["Parameters"]["AlarmEmail"]["NoEcho"] = True
    (project.folder / "template.yaml").write_text(yaml_dump(template))

    assert project.deploy().repeated == "AlarmEmail"


def test_sam_build_selects_the_four_packages_with_the_features_of_these_alone(project):
    """D10. Source: aws_lambda_builders/workflows/rust_cargo and cargo-lambda's CargoLambda.toml.

    Without the selection, cargo unifies the features over the workspace, and
    crates of the functions are built with features that only the local server needs.
    """
    commands = project.build()

    assert [re.findall(r"--bin (\S+)", command) for command in commands] == [[binary] for binary in FUNCTIONS.values()]
    for command in commands:
        assert set(re.findall(r"--package (\S+)", command)) == set(FUNCTIONS.values())
        assert {"--release", "--locked"} <= set(command.split())
        assert "--workspace" not in command


def test_the_default_architecture_does_not_depend_on_the_build_machine(project):
    """D2. Source: `build_command` in aws_lambda_builders names the architecture only if it is arm64;
    `TargetArch::from_host` in cargo-lambda then takes the build machine's."""
    arm = str(project.folder.parent / "programs" / "rustc-on-arm")
    assert project.target_of_a_build(RUSTC=arm) == TARGETS["x86_64"]

    # What the line `x86_64 = true` of CargoLambda.toml is for.
    settings = project.folder / "CargoLambda.toml"
    settings.write_text(settings.read_text().replace("x86_64 = true", ""))
    assert project.target_of_a_build(RUSTC=arm) == TARGETS["arm64"]


def test_the_architecture_in_samconfig_is_that_of_the_build_and_of_the_deployment(project):
    """D2. Source: samcli/lib/config/samconfig.py, `get_all` merges the section `global` into every command's."""
    (project.folder / "samconfig.toml").write_text(documented("Deploy on arm64", "toml"))

    assert project.target_of_a_build() == TARGETS["arm64"]
    # What Enter at the prompt means.
    assert re.search(r"^\tParameter Architecture \[arm64\]: $", project.deploy().text, re.MULTILINE)


def test_an_answer_at_the_prompt_does_not_reach_the_build(project):
    """D2: why docs/deploy.md sets the architecture before `sam build`.

    The section that `sam deploy --guided` saves is written here, because it saves
    after its first call to AWS. If this test fails, SAM CLI shares the answers
    with `sam build`, and the document can do without its section on samconfig.toml.
    """
    (project.folder / "samconfig.toml").write_text(
        'version = 0.1\n[default.deploy.parameters]\nparameter_overrides = "Architecture=\\"arm64\\""\n')
    assert project.target_of_a_build() == TARGETS["x86_64"]


def test_the_release_build_has_an_executable_bootstrap_for_each_function_and_nothing_else():
    """D10. Source: the runtime provided.al2023 starts the file `bootstrap` of the package."""
    template = yaml_parse((BUILD / "template.yaml").read_text())
    functions = {name: resource["Properties"] for name, resource in template["Resources"].items()
                 if resource["Type"] == "AWS::Serverless::Function"}
    assert set(functions) == set(FUNCTIONS)
    for function, properties in functions.items():
        package = BUILD / properties["CodeUri"]
        assert [file.name for file in package.iterdir()] == ["bootstrap"], function
        assert os.access(package / "bootstrap", os.X_OK), function


def test_the_release_build_is_for_the_architecture_that_the_build_was_asked_for():
    """D2. `.aws-sam/build.toml` is SAM CLI's record of what it asked for."""
    asked = set(re.findall(r'^architecture = "(.*)"$', (BUILD.parent / "build.toml").read_text(), re.MULTILINE))
    built = {MACHINES[int.from_bytes((BUILD / function / "bootstrap").read_bytes()[18:20], "little")] for function in FUNCTIONS}
    assert len(asked) == 1
    assert built == asked
