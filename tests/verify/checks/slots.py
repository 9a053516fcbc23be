"""Check 4: tasks that wait long for a run slot still run. Lambda stops loops after 16 hops."""

import time

from verify.agents import end_lines, wait_for_ends
from verify.model import most_at_once, wait_for_runs
from verify.results import Status, judge, only_on_aws

CHECK = "slots"
# Lambda's recursive loop detection ends a chain after about this many invocations.
HOPS = 16


def run(context):
    target, since = context.target, time.time() - 5
    tasks, seconds = context.choose((7, 30), (2, 3))
    agent = context.agents.create("slots", context.model, limits={"max_concurrent_runs": 1, "timeout_seconds": 120})
    triggers = [context.agents.trigger(agent, {"sleep": seconds}) for _ in range(tasks)]
    # Waiting tasks look for the slot at random times, so it stays free for some seconds after each run.
    ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], tasks * (seconds + 30) + 120)
    lines = end_lines(target, since, ends, context.choose(120, 20))
    looks = looks_of(target.log_lines(target.log_group("AgentFunction"), since, '"retry_in_ms"'), ends)
    markers = {trigger.marker for trigger in triggers}
    wait_for_runs(context.model, since, markers, context.choose(60, 1))
    at_once = most_at_once(context.model.calls(since), markers)
    result = judge_slots(tasks, ends, lines, looks, at_once)
    yield result
    ended = time.time()
    context.defer(ended + 240, lambda: dropped(context, since, ended, max(looks.values(), default=0)))


def looks_of(lines, task_ids):
    """How often each task found no free slot: its lines with a pause and no attempt."""
    counts = {}
    for line in lines:
        if line.get("task_id") in task_ids and "retry_in_ms" in line and line.get("attempt") in (None, 0):
            counts[line["task_id"]] = counts.get(line["task_id"], 0) + 1
    return counts


def judge_slots(tasks, ends, lines, looks, at_once):
    problems = [f"{task_id} is {end['status']}: {end.get('error')}" for task_id, end in ends.items() if end["status"] != "SUCCESS"]
    problems += [f"{task_id} has {len(lines.get(task_id, []))} recorded ends" for task_id in ends if len(lines.get(task_id, [])) != 1]
    problems += [f"{task_id} took {end['attempt']} attempts" for task_id, end in ends.items() if (end.get("attempt") or 1) > 1]
    if at_once > 1:
        problems.append(f"{at_once} runs at one time, the agent allows 1")
    most = max(looks.values(), default=0)
    result = judge(CHECK, "Tasks that wait for a run slot", problems,
                   f"{tasks} of {tasks} tasks ended SUCCESS, one at a time; one of them looked for a slot {most} times",
                   [f"looks for a slot: {sorted(looks.values(), reverse=True)}"], {"slots most looks of one task": most})
    if result.status is Status.PASS and most <= HOPS:
        result.status = Status.NOT_ANSWERABLE
        result.finding = f"No task looked more than {most} times; the question begins after {HOPS}. {result.finding}"
    return result


def dropped(context, since, until, looks):
    """RecursiveInvocationsDropped counts what loop detection stopped."""
    target = context.target
    count = target.metric("AWS/Lambda", "RecursiveInvocationsDropped", {"FunctionName": target.resources["AgentFunction"]},
                          since - 60, until + 120)
    problems = [f"Lambda dropped {count:.0f} invocations of the agent function as recursive"] if count else []
    result = judge(CHECK, "RecursiveInvocationsDropped of the agent function", problems,
                   "CloudWatch has no data point above 0", [f"most looks of one task: {looks}"])
    if result.status is Status.PASS and looks <= HOPS:
        result.status = Status.NOT_ANSWERABLE
        result.finding = f"No task looked for a slot more than {HOPS} times"
    return only_on_aws(result, target.is_emulator)
