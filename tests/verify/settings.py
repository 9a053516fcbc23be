"""Temporary changes of the stack's settings, and their restoration."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path


@dataclasses.dataclass
class Change:
    what: str
    # For the operator, should this process be killed before it can restore the setting.
    command: str
    restore: Callable[[], None]


class TemporarySettings:
    """Restores changes in reverse order. A file lists what is changed at any time."""

    def __init__(self, journal: Path, say):
        self.journal = journal
        self.say = say
        self.changes = []
        self.failures = []

    def change(self, what, apply, restore, command):
        """Applies a change. The journal names it first, so that a kill in between is covered."""
        self.say(f"  temporary setting: {what}")
        self.changes.append(Change(what, command, restore))
        self._write()
        apply()

    def restore(self, keep=0):
        """Undoes the changes after the first `keep`. A failure does not stop the others."""
        failed = []
        while len(self.changes) > keep:
            change = self.changes.pop()
            try:
                change.restore()
                self.say(f"  restored: {change.what}")
            except Exception as error:  # noqa: BLE001: every other setting must still be restored
                self.say(f"  NOT RESTORED: {change.what}: {error}\n    run: {change.command}")
                failed.append(change)
        self.failures.extend(failed)
        self._write()

    def scope(self):
        """Restores what is changed within a `with` block."""
        return _Scope(self)

    def _write(self):
        pending = [*self.failures, *self.changes]
        if not pending:
            self.journal.unlink(missing_ok=True)
            return
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        lines = ["#!/bin/sh", "# Settings that tests/verify/run changed and has not restored yet. Newest first."]
        lines += [line for change in reversed(pending) for line in (f"# {change.what}", change.command)]
        self.journal.write_text("\n".join(lines) + "\n")


class _Scope:
    def __init__(self, settings):
        self.settings = settings

    def __enter__(self):
        self.keep = len(self.settings.changes)

    def __exit__(self, *_):
        self.settings.restore(self.keep)


def set_function(context, function, **wanted):
    """Changes a function's configuration, such as Timeout, MemorySize, Description, LoggingConfig."""
    aws, name = context.target.aws("lambda"), context.target.resources[function]
    current = aws.get_function_configuration(FunctionName=name)
    before = {field: current.get(field, "" if field == "Description" else None) for field in wanted}
    before = {field: value for field, value in before.items() if value is not None}

    context.settings.change(
        f"{function} {describe(wanted, before)} (was {describe(before, wanted)})",
        lambda: update_function(context, function, **wanted), lambda: update_function(context, function, **before),
        context.target.command("lambda", "update-function-configuration", "--function-name", name, *cli_options(before)))


def update_function(context, function, **values):
    aws, name = context.target.aws("lambda"), context.target.resources[function]
    aws.update_function_configuration(FunctionName=name, **values)
    aws.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})


def set_visibility(context, queue, seconds):
    aws, url = context.target.aws("sqs"), context.target.outputs[queue]
    before = aws.get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"]["VisibilityTimeout"]

    def update(value):
        aws.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": str(value)})

    context.settings.change(
        f"{queue} VisibilityTimeout={seconds} (was {before})", lambda: update(seconds), lambda: update(before),
        context.target.command("sqs", "set-queue-attributes", "--queue-url", url, "--attributes", f"VisibilityTimeout={before}"))


def set_reserved_concurrency(context, function, executions):
    aws, name = context.target.aws("lambda"), context.target.resources[function]
    before = aws.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")

    def restore():
        if before is None:
            aws.delete_function_concurrency(FunctionName=name)
        else:
            aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=before)

    arguments = (["delete-function-concurrency", "--function-name", name] if before is None else
                 ["put-function-concurrency", "--function-name", name, "--reserved-concurrent-executions", str(before)])
    context.settings.change(
        f"{function} reserved concurrency {executions} (was {'none' if before is None else before})",
        lambda: aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=executions),
        restore, context.target.command("lambda", *arguments))


def set_mapping(context, mapping, enabled):
    aws, identity = context.target.aws("lambda"), context.target.resources[mapping]

    def update(value):
        aws.update_event_source_mapping(UUID=identity, Enabled=value)
        context.target.wait_for_mapping(mapping)

    context.settings.change(
        f"{mapping} {'enabled' if enabled else 'disabled'}", lambda: update(enabled), lambda: update(not enabled),
        context.target.command("lambda", "update-event-source-mapping", "--uuid", identity,
                               "--no-enabled" if enabled else "--enabled"))


def describe(values, others):
    """The values that differ from the others."""
    parts = []
    for name, value in values.items():
        other = others.get(name)
        if isinstance(value, dict) and isinstance(other, dict):
            parts.append(describe(value, other))
        elif value != other:
            parts.append(f"{name}={value}")
    return ", ".join(parts)


def cli_options(values):
    """The options of `aws lambda update-function-configuration` for these values."""
    options = []
    for name, value in values.items():
        option = "--" + "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")
        text = ",".join(f"{field}={inner}" for field, inner in value.items()) if isinstance(value, dict) else str(value)
        options += [option, text]
    return options


def shell(words):
    return " ".join(shlex.quote(str(word)) for word in words)
