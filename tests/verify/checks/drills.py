"""Check 5: runs that meet their function's time limit, workers that die, and a function that is throttled.

Each drill shortens the agent function's timeout and the queue's visibility timeout, so that
a lost task comes back within seconds. The settings are restored before the check returns.
"""

import sys
import time
from pathlib import Path

from verify.agents import end_lines, wait_for_ends
from verify.results import Status, judge, not_answerable
from verify.settings import set_function, set_mapping, set_reserved_concurrency, set_visibility
from verify.target import TERMINAL, wait_until

TIMEOUT = "timeout"
KILL = "kill"
THROTTLING = "throttling"
# Seconds: what a lease outlives its invocation by (crates/runner/src/task.rs), and a poll of the queue with its scaling.
LEASE_SLACK = 10
POLL = 15


def shorten(context, seconds):
    """Function first: Lambda wants a visibility timeout of at least the function's timeout."""
    set_function(context, "AgentFunction", Timeout=seconds)
    set_visibility(context, "Queue", seconds)
    # SQS documents up to 60 s until a new attribute holds.
    time.sleep(context.choose(60, 0))


BUSY = "Tasks are PENDING or STARTED. Run this check while nothing else uses the stack"


def is_idle(context):
    """Drills must not disturb other tasks. Do not use the length of the queue: repeats of a key leave messages there that wait for a lease."""
    def unfinished(status):
        return context.target.manage("GET", "/api/tasks", params={"status": status, "limit": 1}).json()["tasks"]

    return wait_until(30, lambda: not unfinished("PENDING") and not unfinished("STARTED"))


# ------------------------------------------------------------ Time limit


def run_timeout(context):
    subject = "Runs that meet the function's timeout"
    if not is_idle(context):
        yield not_answerable(TIMEOUT, subject, BUSY)
        return
    target, since, seconds, tasks = context.target, time.time() - 5, context.choose(15, 6), context.choose(5, 2)
    agent = context.agents.create("timeout", context.model, limits={"timeout_seconds": 240})
    with context.settings.scope():
        shorten(context, seconds)
        triggers = [context.agents.trigger(agent, {"sleep": seconds + 10}) for _ in range(tasks)]
        patience = attempts_allowed(target) * (seconds + LEASE_SLACK + POLL) + 60
        began = time.monotonic()
        ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], patience)
        took = time.monotonic() - began
    yield judge(TIMEOUT, subject, judge_bounded(ends, ("timeout", "worker_lost"), attempts_allowed(target)),
                f"{tasks} of {tasks} tasks ended {kinds(ends)} within {took:.0f} s of the trigger; the function's timeout was {seconds} s",
                [f"attempts: {attempts(ends)}", f"bound for lost workers: {patience} s"], {"timeout drill seconds until ended": round(took)})
    yield after(context, TIMEOUT, since)


def judge_bounded(ends, allowed, most_attempts):
    problems = []
    for task_id, end in ends.items():
        kind = (end.get("error") or {}).get("type")
        if end["status"] not in TERMINAL:
            problems.append(f"{task_id} is still {end['status']}")
        elif kind not in allowed:
            problems.append(f"{task_id} ended {end['status']} {kind}, expected {' or '.join(allowed)}")
        elif end["attempt"] > most_attempts:
            problems.append(f"{task_id} took {end['attempt']} attempts, MaxAttempts is {most_attempts}")
    return problems


# ------------------------------------------------------------ Killed workers


def run_kill(context):
    """On AWS the workers die of memory: ten tasks of one batch receive large replies in a function of 128 MB."""
    subject = "Workers that are killed during a run"
    if not is_idle(context):
        yield not_answerable(KILL, subject, BUSY)
        return
    target, since, seconds = context.target, time.time() - 5, context.choose(15, 6)
    most = attempts_allowed(target)
    patience = most * (seconds + LEASE_SLACK + POLL) + 60
    agent = context.agents.create("kill", context.model, limits={"timeout_seconds": 240})
    with context.settings.scope():
        shorten(context, seconds)
        began = time.monotonic()
        if target.is_emulator:
            triggers = [context.agents.trigger(agent, {"sleep": seconds - 1}) for _ in range(2)]
            killed = kill_until_ended(context, [trigger.task_id for trigger in triggers], patience)
        else:
            set_function(context, "AgentFunction", MemorySize=128)
            with context.settings.scope():
                set_mapping(context, "QueueToAgent", enabled=False)
                triggers = [context.agents.trigger(agent, {"fill": 5_000_000, "sleep": 3}) for _ in range(10)]
            wait_for_ends(target, [trigger.task_id for trigger in triggers], patience)
            killed = len(crashes(target.log_events(target.log_group("AgentFunction"), since)))
        ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], patience)
        took = time.monotonic() - began
    result = judge(KILL, subject, judge_bounded(ends, ("worker_lost",), most) if killed else [],
                   f"{len(ends)} of {len(ends)} tasks ended worker_lost after {attempts(ends)} attempts, within {took:.0f} s",
                   [f"workers killed: {killed}", f"bound: {patience} s"], {"kill drill seconds until ended": round(took)})
    if not killed or (result.status is Status.FAIL and all(end["status"] in TERMINAL for end in ends.values()) and not target.is_emulator):
        # Memory pressure is not reliable: a run that survives it proves nothing about lost workers.
        result.status = Status.NOT_ANSWERABLE
        result.finding = (f"Memory pressure killed {killed} workers, and the tasks ended {kinds(ends)}. To answer it, give the agent "
                          "function 128 MB and trigger ten tasks whose payloads and answers have megabytes")
    yield result
    yield after(context, KILL, since)


def kill_until_ended(context, task_ids, patience):
    """kill -9 whenever a task has been STARTED for a moment. Only on the emulator."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "emulator"))
    from running import kill_runners

    killed, deadline = 0, time.monotonic() + patience
    while time.monotonic() < deadline:
        statuses = [context.target.status(task_id).json()["status"] for task_id in task_ids]
        if all(status in TERMINAL for status in statuses):
            break
        if "STARTED" in statuses:
            killed += len(kill_runners(context.target.emulator_pid))
        time.sleep(1)
    return killed


def crashes(events):
    """Lambda's own lines about invocations that did not return."""
    return [event for event in events if '"platform.' in event["message"] and any(
        word in event["message"] for word in ("Runtime.OutOfMemory", "Runtime.ExitError", "signal: killed"))]


# ------------------------------------------------------------ Throttling


def run_throttling(context):
    subject = "Tasks triggered while the agent function is throttled"
    if not is_idle(context):
        yield not_answerable(THROTTLING, subject, BUSY)
        return
    target, since = context.target, time.time() - 5
    seconds, closed_for, tasks = context.choose(15, 6), context.choose(120, 12), context.choose(20, 5)
    agent = context.agents.create("throttled", context.model)
    with context.settings.scope():
        shorten(context, seconds)
        with context.settings.scope():
            set_reserved_concurrency(context, "AgentFunction", 0)
            # A change of concurrency takes some seconds to reach every poller.
            time.sleep(context.choose(15, 1))
            triggers = [context.agents.trigger(agent) for _ in range(tasks)]
            time.sleep(closed_for)
            early = wait_for_ends(target, [trigger.task_id for trigger in triggers], 0)
            counts = receive_counts(context, seconds + 5)
        ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], 300)
    problems = [f"{task_id} is {end['status']}: {end.get('error')}" for task_id, end in ends.items() if end["status"] != "SUCCESS"]
    problems += [f"{task_id} took {end['attempt']} attempts" for task_id, end in ends.items() if (end.get("attempt") or 1) > 1]
    ran = sum(end["status"] != "PENDING" for end in early.values())
    result = judge(THROTTLING, subject, problems, f"{tasks} of {tasks} tasks ran after {closed_for} s of throttling, none ended worker_lost",
                   [f"tasks that ran in spite of the throttling: {ran}", f"ApproximateReceiveCount of sampled messages: {counts or 'none was visible'}",
                    f"the visibility timeout was {seconds} s meanwhile"],
                   {"throttling drill largest receive count": max(counts, default=0)})
    if result.status is Status.PASS and ran == tasks:
        result.status, result.finding = Status.NOT_ANSWERABLE, "The throttling did not take effect"
    yield result
    yield after(context, THROTTLING, since)


def receive_counts(context, seconds):
    """Receives of some messages so far. Each look here adds one receive itself."""
    target, counts, deadline = context.target, [], time.monotonic() + seconds
    while time.monotonic() < deadline and len(counts) < 3:
        answer = target.aws("sqs").receive_message(
            QueueUrl=target.outputs["Queue"], VisibilityTimeout=0, MaxNumberOfMessages=1, WaitTimeSeconds=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount"])
        counts += [int(message["Attributes"]["ApproximateReceiveCount"]) for message in answer.get("Messages", [])]
    return counts


# ------------------------------------------------------------ Afterwards


def after(context, check, since):
    """The function works as before, and no dead letter is left."""
    agent = context.agents.create(f"{check}-after", context.model)
    trigger = context.agents.trigger(agent)
    ends = wait_for_ends(context.target, [trigger.task_id], 120)
    problems = [f"a task triggered after the drill is {end['status']}: {end.get('error')}" for end in ends.values() if end["status"] != "SUCCESS"]
    if not end_lines(context.target, since, [trigger.task_id], context.choose(60, 15)):
        problems.append("its end is not in the log")
    if not wait_until(60, lambda: context.target.messages("DeadLetterQueue") == 0):
        problems.append(f"{context.target.messages('DeadLetterQueue')} dead letters are left")
    return judge(check, "The stack after the drill", problems, "a new task runs, and no dead letter is left",
                 [f"messages in the queue: {context.target.messages('Queue')}"])


def attempts_allowed(target):
    return int(target.parameters.get("MaxAttempts", 5))


def attempts(ends):
    return sorted({end["attempt"] for end in ends.values()}, key=str)


def kinds(ends):
    return " and ".join(sorted({(end.get("error") or {}).get("type") or end["status"] for end in ends.values()}))
