"""The command: chooses checks, says what they do, runs them, restores everything, and reports."""

import argparse
import dataclasses
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import boto3
import botocore
from botocore.exceptions import BotoCoreError, ClientError

from verify import report
from verify.agents import PREFIX, Agents
from verify.checks import (
    burst,
    calls,
    contract,
    documents,
    drills,
    figures,
    gateway,
    idempotency,
    logs,
    privileges,
    queue,
    secrets,
    slots,
    storage,
)
from verify.context import Context
from verify.helper_stack import run_id
from verify.model import LambdaModel, LocalModel
from verify.parallel import limit_threads
from verify.probe import Probe
from verify.results import Result, Status, not_answerable
from verify.settings import TemporarySettings
from verify.target import FUNCTIONS, Target, Unusable

ROOT = Path(__file__).resolve().parents[2]
DRILL = ("agent function: Timeout", "queue: VisibilityTimeout")


@dataclasses.dataclass(frozen=True)
class Check:
    name: str
    what: str
    run: Callable
    # Rough, on AWS.
    seconds: int
    dollars: float
    changes: tuple[str, ...] = ()
    needs_model: bool = True
    needs_probe: bool = False


CHECKS = (
    Check("contract", "recorded DocsGPT cases, status codes, payloads, reads after writes", contract.run, 150, 0.005),
    Check("idempotency", "concurrent triggers with one key are one task and one run", idempotency.run, 90, 0.002),
    Check("burst", "triggers in a burst all end, exactly once", burst.run, 120, 0.01),
    Check("slots", "tasks that wait minutes for a run slot all run", slots.run, 300, 0.01),
    Check("gateway", "paths, headers, methods, sizes and throttling as API Gateway has them", gateway.run, 180, 0.005, needs_probe=True),
    Check("queue", "message groups, deferral and loop detection as SQS and Lambda have them", queue.run, 540, 0.005,
          needs_model=False, needs_probe=True),
    Check("logs", "level and timestamp of log lines as CloudWatch Logs stores them", logs.run, 40, 0.001),
    Check("storage", "a put that cannot succeed is refused as a failed condition", storage.run, 2, 0.001, needs_model=False),
    Check("secrets", "reads after creation and names after deletion, of Secrets Manager", secrets.run, 90, 0.02),
    Check("pdf", "a PDF is read in the console function", documents.run, 40, 0.002, needs_model=False),
    Check("privileges", "what the functions' roles may do", privileges.run, 15, 0.0, needs_model=False),
    Check("latency", "warm latency and the time from trigger to end", figures.run_latency, 90, 0.005),
    Check("starts", "cold starts of the four functions", figures.run_starts, 240, 0.005,
          ("all four functions: Description", "webhook, task status and console functions: SystemLogLevel")),
    Check("timeout", "runs that meet the function's timeout end within a bound", drills.run_timeout, 180, 0.005, DRILL),
    Check("kill", "tasks of killed workers end within a bound", drills.run_kill, 360, 0.01,
          (*DRILL, "agent function: MemorySize", "queue mapping: enabled")),
    Check("throttling", "tasks survive minutes of throttling", drills.run_throttling, 280, 0.005,
          (*DRILL, "agent function: reserved concurrency 0")),
    # Last: its metrics are sums over minutes in which nothing else may run.
    Check("calls", "calls and capacity units that AWS counts, beside the documented ones", calls.run, 540, 0.01),
)
HELPER_SECONDS = 240


def main():
    options = parse_arguments()
    if options.list:
        for check in CHECKS:
            print(f"{check.name:<12} {check.what}")
        return 0
    chosen = [check for check in CHECKS if not options.only or check.name in options.only]
    try:
        target = connect(options)
        check_model_is_reachable(target, chosen)
    except (Unusable, ClientError, BotoCoreError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 2
    say(plan(target, chosen, options))
    if not options.yes and not sys.stdin.isatty():
        print("Cannot ask for confirmation without a terminal. Use --yes.", file=sys.stderr)
        return 2
    if not options.yes and input("Type yes to start: ").strip() != "yes":
        return 2
    return verify(target, chosen, options)


def parse_arguments():
    parser = argparse.ArgumentParser(prog="tests/verify/run", description="Verify a deployed stack of Agent Webhooks.",
                                     epilog="Exit code: 0 nothing failed, 1 a check failed or a setting was not restored, 2 not started.")
    parser.add_argument("--stack", default="agent-webhooks", help="name of the CloudFormation stack (default: %(default)s)")
    parser.add_argument("--region", default=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"))
    parser.add_argument("--profile", help="profile of the AWS configuration")
    parser.add_argument("--report", type=Path, default=Path("verify-report"), metavar="DIR", help="folder for the report (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=[check.name for check in CHECKS], metavar="NAME", help="run only these checks; see --list")
    parser.add_argument("--list", action="store_true", help="list the checks")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument("--quick", action="store_true", help="few tasks and short waits; answers less")
    parser.add_argument("--endpoint-url", metavar="URL", help="an AWS emulator")
    parser.add_argument("--emulator", type=Path, metavar="DIR", help="state folder of a stack that tests/emulator/up deployed")
    return parser.parse_args()


def connect(options):
    if options.emulator:
        outputs = json.loads((options.emulator / "outputs.json").read_text())
        return Target(outputs["stack"], outputs["region"], endpoint=outputs["endpoint"], emulator_pid=outputs["pid"])
    return Target(options.stack, options.region, options.profile, options.endpoint_url)


def check_model_is_reachable(target, chosen):
    hosts = [host.strip() for host in target.parameters.get("AllowedPrivateHosts", "").split(",")]
    if target.is_emulator and any(check.needs_model for check in chosen) and not {"*", "127.0.0.1"} & set(hosts):
        raise Unusable("The scripted model is on 127.0.0.1. Deploy with --parameter AllowedPrivateHosts='*'.")


# ------------------------------------------------------------ The plan


def plan(target, chosen, options):
    seconds = sum(check.seconds for check in chosen)
    if not target.is_emulator:
        seconds += HELPER_SECONDS
    if options.quick:
        seconds = min(seconds, 180 if target.is_emulator else 180 + HELPER_SECONDS)
    length = f"about {round(seconds / 60) or 1} minutes"
    dollars = sum(check.dollars for check in chosen)
    cost = "nothing: this is an emulator" if target.is_emulator else f"less than ${max(0.01, 2 * dollars):.2f}"
    changes = sorted({change for check in chosen for change in check.changes})
    lines = [
        f"Verify the stack {target.stack} in {target.region}, account {target.account}: {target.base_url}",
        "",
        f"Time: {length}. Cost: {cost}.",
        f"Creates agents and secrets whose names begin with {PREFIX}, triggers them, and deletes them.",
    ]
    if not target.is_emulator:
        lines += [f"Creates two helper stacks, {target.stack}-verify-model-… and {target.stack}-verify-probe-…, and deletes them.",
                  "The model's function URL is public; its path is secret. The probe loops on purpose: AWS may send a notice about a recursive loop."]
    if changes:
        lines += ["Changes these settings for some minutes each, and restores them, also after Ctrl-C:", *(f"  {change}" for change in changes),
                  "Tasks of other agents would be cut off meanwhile. Run this on a stack that nothing else uses.",
                  f"If this process is killed, run: sh {options.report / 'to-restore.sh'}"]
    return "\n".join([*lines, "", "Checks:", *(f"  {check.name:<12} {check.what}" for check in chosen), ""])


# ------------------------------------------------------------ The run


def verify(target, chosen, options):
    began, run = time.time(), run_id()
    options.report.mkdir(parents=True, exist_ok=True)
    settings = TemporarySettings(options.report / "to-restore.sh", say)
    context = Context(target, settings, Agents(target, run), options.quick, say)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    results, helpers, leftovers, is_interrupted = [], [], [], False
    about = {}
    try:
        about = circumstances(target, options, began)
        executions = about.pop("concurrent executions of the account", None)
        if executions:
            limit_threads(executions)
            about["Concurrent executions of the account"] = executions
        start_helpers(context, chosen, helpers, run)
        for check in chosen:
            results += run_check(check, context)
        results += run_deferred(context)
    except KeyboardInterrupt:
        is_interrupted = True
        say("\nInterrupted.")
    finally:
        signal.signal(signal.SIGINT, lambda *_: say("Restoring and removing; please wait."))
        settings.restore()
        leftovers = remove(context, helpers)
    done = {result.check for result in results}
    results += [Result(check.name, check.what, Status.SKIPPED, "The run was interrupted") for check in CHECKS
                if is_interrupted and check in chosen and check.name not in done]
    about["duration (s)"] = round(time.time() - began)
    unrestored = [*(change.command for change in settings.failures), *leftovers]
    write(options.report, about, results, unrestored)
    failed = any(result.status is Status.FAIL for result in results)
    return 130 if is_interrupted else 1 if failed or unrestored else 0


def start_helpers(context, chosen, helpers, run):
    target = context.target
    if any(check.needs_model for check in chosen):
        context.model = LocalModel() if target.is_emulator else LambdaModel(target, f"{target.stack}-verify-model-{run}")
        start_helper(context, "model", helpers)
    if any(check.needs_probe for check in chosen):
        context.probe = Probe(target, f"{target.stack}-verify-probe-{run}")
        start_helper(context, "probe", helpers)


def start_helper(context, name, helpers):
    helper = getattr(context, name)
    say(f"starting the {name}")
    helpers.append(helper)
    try:
        helper.start()
    except Exception as error:  # noqa: BLE001: the checks that do without it still run
        say(f"  the {name} could not be started: {error}")
        setattr(context, name, None)


def run_check(check, context):
    """Every result of a check. An error of the check itself is a result, too."""
    say(f"{check.name}: {check.what}")
    if check.needs_model and not context.model:
        return [log_result(not_answerable(check.name, check.what, "The scripted model could not be started"))]
    results, began = [], time.monotonic()
    try:
        with context.settings.scope():
            for result in check.run(context):
                results.append(log_result(result))
            if check.needs_probe and not context.probe:
                results.append(log_result(not_answerable(check.name, "The probe's questions", "The probe could not be started")))
    except Exception as error:  # noqa: BLE001
        results.append(log_result(broken(check.name, check.what, error)))
    say(f"  {time.monotonic() - began:.0f} s")
    return results


def broken(name, what, error):
    lines = traceback.format_exception(error)
    if isinstance(error, ClientError) and "AccessDenied" in error.response["Error"]["Code"]:
        return not_answerable(name, what, f"These credentials may not do it: {error}")
    return Result(name, what, Status.FAIL, f"The check stopped: {type(error).__name__}: {str(error)[:300]}", [line.strip() for line in lines[-3:]])


def run_deferred(context):
    results = []
    for not_before, produce in sorted(context.deferred, key=lambda entry: entry[0]):
        if not_before > time.time():
            say(f"waiting {not_before - time.time():.0f} s for CloudWatch metrics")
            time.sleep(not_before - time.time())
        try:
            results.append(log_result(produce()))
        except Exception as error:  # noqa: BLE001
            results.append(log_result(broken("metrics", "CloudWatch metrics", error)))
    return results


def log_result(result):
    say(f"  {result.status:<20} {result.subject}: {result.finding[:240]}")
    return result


def remove(context, helpers):
    """Deletes what this run created. Returns commands for what is left."""
    say("removing agents and helpers")
    commands = []
    try:
        undeleted = context.agents.delete_all()
    except Exception as error:  # noqa: BLE001
        say(f"  agents were not deleted: {error}")
        undeleted = context.agents.created
    commands += [f"agent-webhooks --url {context.target.base_url} agent delete {agent_id}" for agent_id in undeleted]
    for name in context.agents.secrets:
        try:
            context.target.aws("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("ResourceNotFoundException", "InvalidRequestException"):
                commands.append(context.target.command("secretsmanager", "delete-secret", "--secret-id", name, "--force-delete-without-recovery"))
    for helper in helpers:
        try:
            helper.stop()
        except Exception as error:  # noqa: BLE001
            stack = getattr(helper, "helper", None)
            say(f"  a helper was not deleted: {error}")
            if stack:
                commands.append(stack.delete_command)
    return commands


# ------------------------------------------------------------ What is known about the run


def circumstances(target, options, began):
    aws = target.aws("lambda")
    about = {
        "stack": target.stack,
        "date": datetime.datetime.fromtimestamp(began, datetime.UTC).isoformat(timespec="seconds"),
        "region": target.region,
        "environment": "emulator" if target.is_emulator else "AWS",
        "mode": "quick" if options.quick else "full",
        "version": target.call("GET", "/api/health").json().get("version"),
        "commit of this checkout": commit(),
        "Python, boto3, botocore": f"{platform.python_version()}, {boto3.__version__}, {botocore.__version__}",
    }
    try:
        about["concurrent executions of the account"] = aws.get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    except (ClientError, KeyError):
        pass
    about["Template parameters"] = dict(sorted(target.parameters.items()))
    for function in FUNCTIONS:
        configuration = aws.get_function_configuration(FunctionName=target.resources[function])
        about[function] = {name: configuration.get(name) for name in ("Runtime", "Architectures", "MemorySize", "Timeout", "CodeSize",
                                                                      "CodeSha256", "LastModified")}
    return about


def commit():
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], text=True, capture_output=True, check=False)
    return done.stdout.strip() or "unknown"


def write(folder, about, results, unrestored):
    (folder / "report.md").write_text(report.as_markdown(about, results, unrestored))
    (folder / "report.json").write_text(report.as_json(about, results, unrestored))
    say(f"\n{report.summary(results)}The report: {folder / 'report.md'} and {folder / 'report.json'}")
    for command in unrestored:
        say(f"NOT RESTORED OR REMOVED, run: {command}")


def say(text):
    print(text, flush=True)
