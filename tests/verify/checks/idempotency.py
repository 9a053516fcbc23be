"""Check 2: many triggers with one key at once are one task and one run."""

import time

from verify.agents import end_lines, wait_for_ends
from verify.model import wait_for_runs
from verify.parallel import in_parallel
from verify.results import judge, not_answerable

CHECK = "idempotency"


def run(context):
    target, count, since = context.target, context.choose(200, 40), time.time() - 5
    agent = context.agents.create("idempotency", context.model)
    marker, key = context.agents.marker(), context.agents.marker()
    script = {"marker": marker, "sleep": 1}
    triggers = in_parallel(lambda _: context.agents.trigger(agent, script, key), range(count))
    ends = wait_for_ends(target, {trigger.task_id for trigger in triggers}, 120)
    late = context.agents.trigger(agent, script, key)
    lines = end_lines(target, since, ends, context.choose(90, 20))
    # Time for a second run that should not be.
    time.sleep(context.choose(15, 1))
    calls = wait_for_runs(context.model, since, {marker}, context.choose(60, 1)).get(marker, 0)
    problems = judge_triggers([*triggers, late]) + judge_runs(ends, lines, calls)
    refusals = sum(len(trigger.refusals) for trigger in triggers)
    yield judge(CHECK, f"{count} concurrent triggers with one key", problems,
                f"one task id, one new task, {count} replays, one model call, one recorded end",
                [f"{refusals} answers asked the caller to retry"])
    yield over_the_rate_limit(context)


def judge_triggers(triggers):
    problems = []
    task_ids = {trigger.task_id for trigger in triggers}
    if len(task_ids) != 1:
        problems.append(f"{len(task_ids)} task ids for one key: {sorted(task_ids)}")
    new = [trigger for trigger in triggers if not trigger.is_replay]
    if len(new) > 1:
        problems.append(f"{len(new)} triggers were answered as new")
    # The one new answer can be lost: a refusal after the write makes its retry a replay.
    if not new and not any(trigger.refusals for trigger in triggers):
        problems.append("no trigger was answered as new")
    return problems


def judge_runs(ends, lines, calls):
    problems = [f"{task_id} ended {end['status']}: {end.get('error')}" for task_id, end in ends.items() if end["status"] != "SUCCESS"]
    problems += [f"{task_id} has {len(found)} recorded ends" for task_id, found in lines.items() if len(found) != 1]
    problems += [f"{task_id} has no recorded end in the log" for task_id in ends.keys() - lines.keys()]
    if calls != len(ends):
        problems.append(f"the model was called {calls} times for {len(ends)} task")
    return problems


def over_the_rate_limit(context):
    """A keyed trigger over the limit is refused by a put with `attribute_exists AND attribute_not_exists`."""
    subject = "A repeat over triggers_per_minute is still a replay"
    # Both triggers must be within one minute of the clock.
    if time.gmtime().tm_sec > 50:
        time.sleep(61 - time.gmtime().tm_sec)
    agent = context.agents.create("rate", context.model, limits={"triggers_per_minute": 1})
    key = context.agents.marker()
    first = context.agents.trigger(agent, key=key)
    if first.refusals:
        return not_answerable(CHECK, subject, f"the first trigger was refused with {first.refusals}")
    new = context.target.call("POST", agent.path, json=1, headers={"Idempotency-Key": context.agents.marker()})
    repeat = context.target.call("POST", agent.path, json=1, headers={"Idempotency-Key": key})
    problems = [] if new.status_code == 429 else [f"a new key over the limit was answered {new.status_code}: {new.text[:200]}"]
    if repeat.status_code != 200 or repeat.json().get("task_id") != first.task_id:
        problems.append(f"the repeated key was answered {repeat.status_code}: {repeat.text[:200]}")
    return judge(CHECK, subject, problems, "429 for a new key, 200 with the first task id for the repeated key")
