"""Check 8: the calls and capacity units that AWS counts for a batch of tasks, beside those that the product documents."""

import json
import time
from pathlib import Path

from verify.agents import wait_for_ends
from verify.checks.figures import billed_ms
from verify.parallel import in_parallel
from verify.results import judge, not_answerable
from verify.target import wait_until

CHECK = "calls"
BENCH = Path(__file__).resolve().parents[2] / "bench"
SUBJECT = "Billed calls of a batch of tasks"
# Above what is documented, before it is a finding. Retried calls and a cache that expires cost a little.
TOLERANCE = 1.10
# CloudWatch has SQS metrics complete after about five minutes.
LAG = 330


def run(context):
    """The tasks get whole minutes of their own, because metrics are sums over minutes."""
    target, tasks = context.target, context.choose(200, 20)
    agent = context.agents.create("calls", context.model)
    # Repeats of a key leave messages that wait for the lease of their task.
    if not wait_until(context.choose(960, 0), lambda: target.messages("Queue") == 0, pause=10) and not context.quick:
        yield not_answerable(CHECK, SUBJECT, "Messages of other tasks are in the queue and would be counted")
        return
    # The agent is in every cache, and the connections are open.
    wait_for_ends(target, [context.agents.trigger(agent).task_id], 90)
    wait_for_minute(context)
    since = minute(time.time())
    triggers = in_parallel(lambda _: context.agents.trigger(agent, key=context.agents.marker()), range(tasks), threads=8)
    time.sleep(context.choose(20, 5))
    ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], 180, pause=10)
    wait_for_minute(context)
    until = minute(time.time())
    ended = sum(end["status"] == "SUCCESS" for end in ends.values())
    yield judge(CHECK, "The batch of tasks that is counted", [] if ended == tasks else [f"{ended} of {tasks} ended SUCCESS"],
                f"{tasks} of {tasks} ended SUCCESS")
    context.defer(until + LAG, lambda: counted(context, since, until, tasks))


def wait_for_minute(context):
    """The next minute of the clock begins."""
    if not context.quick:
        time.sleep(61 - time.time() % 60)


def minute(moment):
    return int(moment // 60 * 60)


def counted(context, since, until, tasks):
    target = context.target
    # A quick run shares its minutes with other checks.
    until = max(until, since + 60) if not context.quick else time.time() + 60
    sums = {name: target.metric(namespace, metric, dimensions, since, until)
            for name, (namespace, metric, dimensions) in metrics_of(target).items()}
    if sums["tasks table, write units"] is None or sums["sent"] is None:
        return not_answerable(CHECK, SUBJECT, "CloudWatch has no data points of DynamoDB and SQS for these minutes",
                              [f"{name}: {value}" for name, value in sums.items() if value is not None])
    events = target.log_events(target.log_group("AgentFunction"), since)
    sums["agent, billed ms"] = billed_ms([event for event in events if event["timestamp"] < until * 1000])
    small = json.loads((BENCH / "counts.json").read_text())["small"]
    prices = json.loads((BENCH / "prices.json").read_text())["prices"]
    return judge_counts(sums, tasks, small, prices)


def metrics_of(target):
    tasks_table, agents_table = target.outputs["TasksTable"], target.outputs["AgentsTable"]
    queue = {"QueueName": target.outputs["Queue"].rpartition("/")[2]}
    functions = {name: {"FunctionName": target.resources[name]} for name in ("WebhookFunction", "AgentFunction")}
    return {
        "tasks table, write units": ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": tasks_table}),
        "index, write units": ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", {"TableName": tasks_table, "GlobalSecondaryIndexName": "listed"}),
        "tasks table, read units": ("AWS/DynamoDB", "ConsumedReadCapacityUnits", {"TableName": tasks_table}),
        "agents table, read units": ("AWS/DynamoDB", "ConsumedReadCapacityUnits", {"TableName": agents_table}),
        "sent": ("AWS/SQS", "NumberOfMessagesSent", queue),
        "received": ("AWS/SQS", "NumberOfMessagesReceived", queue),
        "deleted": ("AWS/SQS", "NumberOfMessagesDeleted", queue),
        "empty receives": ("AWS/SQS", "NumberOfEmptyReceives", queue),
        "webhook, invocations": ("AWS/Lambda", "Invocations", functions["WebhookFunction"]),
        "webhook, ms": ("AWS/Lambda", "Duration", functions["WebhookFunction"]),
        "agent, invocations": ("AWS/Lambda", "Invocations", functions["AgentFunction"]),
        "agent, ms": ("AWS/Lambda", "Duration", functions["AgentFunction"]),
    }


def documented(small):
    """Of one task: the counts of benches/bench/counts.json under the names of the metrics."""
    units = {name: count for name, count in small.items() if "log line" not in name}
    return {
        "tasks table, write units": sum(count.get("write_units", 0) for count in units.values()),
        "index, write units": sum(count.get("index_units", 0) for count in units.values()),
        "sent": sum(count["calls"] for name, count in units.items() if name.endswith("SendMessage")),
        "received": 1.0,
        "deleted": 1.0,
        "webhook, invocations": 1.0,
        # A batch has one to ten tasks.
        "agent, invocations": 1.0,
    }


def dollars(sums, prices, webhook_gb=0.25, agent_gb=0.5):
    """List price of these sums, without the HTTP API, log lines and receives of an empty queue."""
    def price(name, count):
        return count * prices[name]["dollars"] / prices[name]["per"]

    def total(*names):
        return sum(sums.get(name) or 0 for name in names)

    return (price("dynamodb_write", total("tasks table, write units", "index, write units"))
            + price("dynamodb_read", total("tasks table, read units", "agents table, read units"))
            # A send has a message group. A batch is one receive and one delete.
            + price("sqs_request", total("sent") + 2 * total("agent, invocations")) + price("sqs_fair", total("sent"))
            + price("lambda_request", total("webhook, invocations", "agent, invocations"))
            + price("lambda_gb_second", (webhook_gb * total("webhook, ms") + agent_gb * total("agent, ms")) / 1000))


def judge_counts(sums, tasks, small, prices):
    expected, problems, evidence, figures = documented(small), [], [], {}
    for name, total in sums.items():
        each = (total or 0) / tasks
        figures[f"{name}, per task"] = round(each, 3)
        limit = expected.get(name)
        evidence.append(f"{name}: {total or 0:.0f} in all, {each:.2f} per task" + (f", documented {limit:g}" if limit is not None else ""))
        if limit is not None and each > limit * TOLERANCE:
            problems.append(f"{name}: {each:.2f} per task, documented {limit:g}")
        # A metric that is missing so far must not pass as a saving.
        if limit is not None and name.endswith("units") and each < limit / TOLERANCE:
            problems.append(f"{name}: {each:.2f} per task, documented {limit:g}. CloudWatch may be late: read the metric again, or correct the document")
    figures["records of a million tasks, with their polls and the model's time (USD)"] = round(1e6 * dollars(sums, prices) / tasks, 2)
    return judge(CHECK, SUBJECT, problems, f"{tasks} tasks consumed what benches/bench/counts.json documents, within 10 %", evidence, figures)


