"""Check 6, CloudWatch Logs: does Lambda rewrite `level` or `timestamp` of the product's lines?"""

import datetime
import json
import time

from verify.agents import wait_for_ends
from verify.results import judge, not_answerable, only_on_aws
from verify.target import parsed, wait_until

CHECK = "logs"
SUBJECT = "Are `level` and `timestamp` of our log lines as written?"


def run(context):
    """The first model call fails for some seconds, so that one line has the level WARN."""
    target, since = context.target, time.time() - 5
    agent = context.agents.create("logs", context.model)
    trigger = context.agents.trigger(agent, {"status": 500, "until": time.time() + 2})
    wait_for_ends(target, [trigger.task_id], 60)
    group = target.log_group("AgentFunction")
    events = wait_until(context.choose(90, 15), lambda: ended(target.log_events(group, since, trigger.task_id)), pause=2)
    if not events:
        yield not_answerable(CHECK, SUBJECT, "The log has no line about the end of the task")
        return
    problems, evidence = judge_events(events)
    configuration = target.aws("lambda").get_function_configuration(FunctionName=target.resources["AgentFunction"])
    evidence.append(f"LoggingConfig: {json.dumps(configuration.get('LoggingConfig', {}))}")
    yield only_on_aws(judge(CHECK, SUBJECT, problems, "INFO and WARN lines have their level, and a timestamp within 5 s of the event's", evidence),
                      target.is_emulator)


def ended(events):
    return events if any('"total_ms"' in event["message"] for event in events) else None


def judge_events(events):
    """`events` are log events of CloudWatch Logs about one task that was tried twice."""
    problems, levels = [], set()
    for event in events:
        line = parsed(event)
        if line is None:
            problems.append(f"a line is not a JSON object: {event['message'][:120]}")
            continue
        levels.add(line.get("level"))
        written = seconds_of(line.get("timestamp"))
        if written is None:
            problems.append(f"a line has no RFC 3339 timestamp: {event['message'][:120]}")
        elif abs(written - event["timestamp"] / 1000) > 5:
            problems.append(f"timestamp {line['timestamp']} and the event's time differ by {written - event['timestamp'] / 1000:.1f} s")
    if "WARN" not in levels:
        problems.append(f"no line has the level WARN; levels are {sorted(map(str, levels))}")
    if "INFO" not in levels:
        problems.append(f"no line has the level INFO; levels are {sorted(map(str, levels))}")
    sample = next((event["message"].strip() for event in events if '"WARN"' in event["message"]), events[0]["message"].strip())
    return sorted(set(problems)), [f"as stored: {sample[:300]}"]


def seconds_of(text):
    try:
        return datetime.datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
