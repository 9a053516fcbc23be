"""Check 3: every accepted trigger of a burst ends, exactly once."""

import time

from verify.agents import end_lines, wait_for_ends
from verify.model import wait_for_runs
from verify.parallel import in_parallel
from verify.results import judge

CHECK = "burst"


def run(context):
    target, count, since = context.target, context.choose(500, 60), time.time() - 5
    agents = [context.agents.create(f"burst-{number}", context.model) for number in range(4)]
    began = time.monotonic()
    triggers = in_parallel(
        lambda number: context.agents.trigger(agents[number % 4], {"sleep": 0.2}, key=context.agents.marker()), range(count))
    sent = time.monotonic() - began
    ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], context.choose(600, 90))
    took = time.monotonic() - began
    lines = end_lines(target, since, ends, context.choose(120, 20))
    runs = wait_for_runs(context.model, since, {trigger.marker for trigger in triggers}, context.choose(90, 5))
    problems = judge_burst(triggers, ends, lines, runs)
    # Every task again: an ended status never changes.
    again = wait_for_ends(target, list(ends), 60)
    problems += [f"{task_id} changed after its end" for task_id in ends if again.get(task_id) != ends[task_id]]
    statuses = [status for trigger in triggers for status in trigger.refusals]
    yield judge(CHECK, f"{count} triggers in a burst", problems,
                f"{count} of {count} tasks ended SUCCESS, each with one recorded end and one model call",
                [f"retried by the caller: {sorted(statuses) or 'none'}"],
                {"burst triggers": count, "burst triggers per second": round(count / sent, 1), "burst seconds until all ended": round(took, 1)})


def judge_burst(triggers, ends, lines, runs):
    """`runs` counts the model's calls by marker."""
    problems = []
    if len({trigger.task_id for trigger in triggers}) != len(triggers):
        problems.append("two triggers with different keys got one task id")
    for trigger in triggers:
        end = ends.get(trigger.task_id, {"status": "never seen"})
        if end["status"] != "SUCCESS":
            problems.append(f"{trigger.task_id} is {end['status']}: {end.get('error')}")
        recorded = len(lines.get(trigger.task_id, []))
        if recorded != 1:
            problems.append(f"{trigger.task_id} has {recorded} recorded ends in the log")
        calls = runs.get(trigger.marker, 0)
        if calls != 1 and end.get("attempt") == 1:
            problems.append(f"{trigger.task_id} called the model {calls} times in one attempt")
    return problems
