"""Check 7: cold starts, warm latency, and the time from trigger to end."""

import re
import time

from verify.agents import wait_for_ends
from verify.checks.logs import seconds_of
from verify.results import Result, Status, not_answerable
from verify.settings import set_function, update_function
from verify.target import parsed

LATENCY = "latency"
STARTS = "starts"


def percentile(values, percent):
    """The smallest value that at least `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


def milliseconds(call):
    began = time.monotonic()
    answer = call()
    return 1000 * (time.monotonic() - began), answer


# ------------------------------------------------------------ Warm


def run_latency(context):
    target, rounds = context.target, context.choose(200, 20)
    agent = context.agents.create("latency", context.model)
    for _ in range(3):
        context.agents.trigger(agent)
    target.status(context.agents.trigger(agent).task_id)
    # One by one: a connection and an instance stay warm.
    triggers = [context.agents.trigger(agent) for _ in range(rounds)]
    polls = [milliseconds(lambda task_id=trigger.task_id: target.status(task_id))[0] for trigger in triggers]
    ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], 180)
    whole = [elapsed(end) for end in ends.values() if end["status"] == "SUCCESS"]
    figures = {}
    for name, values in {"trigger, warm": [trigger.milliseconds for trigger in triggers], "poll, warm": polls,
                         "trigger to end, recorded times": whole}.items():
        if values:
            figures |= {f"{name}, p50 (ms)": round(percentile(values, 50)), f"{name}, p99 (ms)": round(percentile(values, 99))}
    problems = [f"{len(ends) - len(whole)} of {len(ends)} tasks did not end SUCCESS"] if len(whole) < len(ends) else []
    yield measured(context, LATENCY, "Warm latency from this machine, and the time from trigger to end", problems, figures,
                   f"{rounds} triggers and {rounds} polls, one by one over one connection")


def elapsed(end):
    """Milliseconds from the trigger to the end, by the times in the task's status."""
    return 1000 * (seconds_of(end["finished_at"]) - seconds_of(end["created_at"]))


def measured(context, check, subject, problems, figures, finding, evidence=()):
    if problems:
        return Result(check, subject, Status.FAIL, problems[0], [*problems, *evidence], figures)
    if context.target.is_emulator:
        return not_answerable(check, subject, "The emulator's times say nothing about AWS", [finding, *evidence], figures)
    return Result(check, subject, Status.PASS, finding, list(evidence), figures)


# ------------------------------------------------------------ Cold


def run_starts(context):
    """Each change of a function's description starts new instances. REPORT lines need the system log level INFO."""
    target, rounds, since = context.target, context.choose(5, 1), time.time() - 5
    agent = context.agents.create("starts", context.model)
    calls = {
        "WebhookFunction": lambda: target.http.post(agent.webhook_url, json={"verify": {}}, timeout=40),
        "TaskStatusFunction": lambda: target.call("GET", "/api/health"),
        "ConsoleFunction": lambda: target.manage("GET", f"/api/agents/{agent.agent_id}"),
    }
    figures, evidence, problems = {}, [], []
    for function, call in calls.items():
        times = []
        for _ in new_starts(context, function, rounds):
            took, answer = milliseconds(call)
            times.append(took)
            if answer.status_code >= 400:
                problems.append(f"the first call to a new {function} was answered {answer.status_code}: {answer.text[:100]}")
        figures[f"{function}, first call after a new start, median (ms)"] = round(percentile(times, 50))
    for _ in new_starts(context, "AgentFunction", rounds):
        trigger = context.agents.trigger(agent)
        wait_for_ends(target, [trigger.task_id], 120, pause=0.3)
    # The log arrives some seconds late.
    time.sleep(context.choose(30, 0))
    for function in [*calls, "AgentFunction"]:
        reports = [report for report in map(report_of, target.log_events(target.log_group(function), since)) if report and report["init_ms"]]
        for field in ("init_ms", "duration_ms", "billed_ms", "memory_mb"):
            values = [report[field] for report in reports if report.get(field) is not None]
            if values:
                figures[f"{function}, cold, {field} median of {len(values)}"] = round(percentile(values, 50), 1)
        evidence.append(f"{function}: {len(reports)} REPORT lines of cold starts")
    subject = "Cold starts"
    if not problems and not any("init_ms" in name for name in figures):
        yield not_answerable(STARTS, subject, "No REPORT line has an init duration", evidence, figures)
        return
    yield measured(context, STARTS, subject, problems, figures, f"{rounds} new starts of each function", evidence)


def new_starts(context, function, rounds):
    """Yields after each replacement of the function's instances. Restores description and log level at the end."""
    current = context.target.aws("lambda").get_function_configuration(FunctionName=context.target.resources[function])
    logging = current.get("LoggingConfig") or {}
    wanted = {"Description": "verify: cold start 1"}
    # Three functions log Lambda's own lines from WARN on.
    if logging.get("LogFormat") == "JSON" and logging.get("SystemLogLevel") not in ("INFO", "DEBUG", None):
        wanted["LoggingConfig"] = {**logging, "SystemLogLevel": "INFO"}
    with context.settings.scope():
        set_function(context, function, **wanted)
        for number in range(rounds):
            if number:
                update_function(context, function, Description=f"verify: cold start {number + 1}")
            yield
        # Lambda writes the last REPORT line after the answer.
        time.sleep(context.choose(5, 0))


def report_of(event):
    """The figures of a REPORT line, in Lambda's JSON or text form; None for any other line."""
    line = parsed(event)
    if line and line.get("type") == "platform.report":
        metrics = line["record"]["metrics"]
        return {"init_ms": metrics.get("initDurationMs"), "duration_ms": metrics.get("durationMs"),
                "billed_ms": metrics.get("billedDurationMs"), "memory_mb": metrics.get("maxMemoryUsedMB")}
    if event["message"].startswith("REPORT RequestId"):
        def value(name):
            found = re.search(rf"\b{name}: ([\d.]+)", event["message"])
            return float(found.group(1)) if found else None
        return {"init_ms": value("Init Duration"), "duration_ms": value(r"(?<!Init )(?<!Billed )Duration"),
                "billed_ms": value("Billed Duration"), "memory_mb": value("Max Memory Used")}
    return None


def billed_ms(events):
    """Billed milliseconds of all REPORT lines."""
    return sum(report["billed_ms"] or 0 for report in map(report_of, events) if report)


