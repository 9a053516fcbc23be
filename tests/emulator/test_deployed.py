"""The deployed stack, driven over HTTP as its callers and operators do."""

import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from botocore.exceptions import ClientError

import redaction
from conftest import wait_until
from test_template import ALARMS, RUNBOOK, metrics_of, metrics_of_the_dashboard, of_type


def a_marker():
    """A word by which a task's calls are found among the model's requests."""
    return f"marker-{uuid.uuid4().hex}"


# ------------------------------------------------------------- The main path


def test_a_trigger_runs_the_agent_and_the_status_has_its_answer(agents, stack, model):
    marker = a_marker()
    agent = agents.create("answers")
    task_id = agents.trigger(agent, {"order": marker})
    end = stack.wait_for_end(task_id)

    assert end["status"] == "SUCCESS", end
    assert end["result"]["status"] == "success"
    assert end["result"]["result"]["answer"] == "All is well."
    assert end["task_id"] == task_id
    assert end["agent_id"] == agent["agent_id"]
    assert end["attempt"] == 1
    assert end["error"] is None
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (11, 4)
    assert [call["path"] for call in model.calls_about(marker)] == ["/v1/chat/completions"]


def test_the_model_receives_the_payload_as_it_was_sent(agents, stack, model):
    marker = a_marker()
    payload = f'{{"z":12345678901234567890123,"a":1.50,"text":"naïve 🦀","marker":"{marker}"}}'
    # No content type: the gateway hands such a body over in base64.
    task_id = agents.trigger(agents.create("answers"), data=payload.encode())
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    message = model.user_message_about(marker)
    assert "12345678901234567890123" in message
    assert "1.50" in message
    assert list(json.loads(message)) == ["z", "a", "text", "marker"]
    assert json.loads(message)["text"] == "naïve 🦀"


def test_a_document_is_uploaded_answered_from_and_gone_when_deleted(agents, stack):
    agent = agents.create("answers", model={"provider": "extractive"})
    path = f"/api/agents/{agent['agent_id']}/sources"
    page = "<title>Zoo</title><h1>Feeding</h1><p>The zebra is fed at noon."
    headers = {"Authorization": f"Bearer {stack.admin_token}", "Content-Type": "text/html"}
    answer = stack.call("POST", f"{path}?source=rules.html", headers=headers, data=page)
    assert answer.status_code == 201, answer.text
    end = stack.wait_for_end(agents.trigger(agent, {"question": "When is the zebra fed?"}))
    source = {"title": "Zoo", "text": "# Feeding\n\nThe zebra is fed at noon.", "source": "rules.html"}
    assert end["result"]["result"]["sources"] == [source]

    # Binary, so base64 on its way; read by a process that the function starts.
    headers["Content-Type"] = "application/pdf"
    answer = stack.call("POST", f"{path}?source=bad.pdf", headers=headers, data=b"%PDF-1.7\n\xff\xfe")
    assert (answer.status_code, answer.json()["code"]) == (422, "unreadable_document")
    document = stack.manage("GET", path).json()["sources"][0]
    assert stack.manage("DELETE", f"{path}/{document['id']}").status_code == 204
    assert stack.aws("dynamodb").scan(TableName=stack.outputs["DocumentsTable"])["Items"] == []


def test_a_get_triggers_with_its_query_as_payload(agents, stack, model):
    marker = a_marker()
    url = agents.create("answers")["webhook_url"]
    answer = requests.get(f"{url}?order={marker}&tag=a+b&tag=c%26d", timeout=30)
    assert answer.status_code == 200, answer.text
    assert stack.wait_for_end(answer.json()["task_id"])["status"] == "SUCCESS"
    assert json.loads(model.user_message_about(marker)) == {"order": marker, "tag": ["a b", "c&d"]}


def test_a_form_triggers_with_its_fields_as_payload(agents, stack, model):
    marker = a_marker()
    task_id = agents.trigger(agents.create("answers"), data={"order": marker, "note": "ünïcode"})
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    assert json.loads(model.user_message_about(marker)) == {"order": marker, "note": "ünïcode"}


def test_a_payload_just_under_the_limit_survives_whole_and_one_over_it_is_refused(agents, stack, model):
    marker = a_marker()
    agent = agents.create("answers")
    # Random text does not compress, so it cannot fit one 400 KB item.
    noise = "".join(uuid.uuid4().hex for _ in range(32_000))
    task_id = agents.trigger(agent, {"marker": marker, "noise": noise})
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    assert json.loads(model.user_message_about(marker))["noise"] == noise

    answer = requests.post(agent["webhook_url"], json={"noise": noise + noise}, timeout=30)
    assert answer.status_code == 413, answer.text


# --------------------------------------------------------------- Idempotency


def test_twenty_concurrent_triggers_with_one_key_are_one_task_and_one_run(agents, stack, model):
    marker = a_marker()
    url = agents.create("answers")["webhook_url"]

    def trigger(_):
        return requests.post(url, json={"marker": marker}, headers={"Idempotency-Key": "one"}, timeout=60)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(trigger, range(20)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    task_ids = {answer.json()["task_id"] for answer in answers}
    assert len(task_ids) == 1
    assert sum(answer.headers.get("Idempotent-Replayed") == "true" for answer in answers) == 19

    (task_id,) = task_ids
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    stack.wait_for_empty("Queue")
    assert len(model.calls_about(marker)) == 1

    by_get = requests.get(url, headers={"Idempotency-Key": "one"}, timeout=30)
    assert (by_get.json()["task_id"], by_get.headers["Idempotent-Replayed"]) == (task_id, "true")
    stack.wait_for_empty("Queue")
    assert len(model.calls_about(marker)) == 1


def test_other_keys_other_agents_and_no_key_are_tasks_of_their_own(agents):
    first, second = agents.create("answers"), agents.create("answers")
    task_ids = [
        agents.trigger(first, {}, key="number-one"),
        agents.trigger(first, {}, key="number-two"),
        agents.trigger(second, {}, key="number-one"),
        agents.trigger(first, {}),
        agents.trigger(first, {}),
    ]
    assert len(set(task_ids)) == 5


# -------------------------------------------------------------------- Faults


def test_one_failing_task_of_a_batch_leaves_the_others_alone(agents, stack, model):
    behaviours = ["answers"] * 7 + ["refuses", "busy-once", "broken-once"]
    agent_of = {behaviour: agents.create(behaviour) for behaviour in set(behaviours)}
    markers = [a_marker() for _ in behaviours]
    model.most_at_once = 0
    with stack.pause_queue():
        task_ids = [agents.trigger(agent_of[b], {"marker": marker}) for b, marker in zip(behaviours, markers)]
    ends = [stack.wait_for_end(task_id) for task_id in task_ids]

    assert [end["status"] for end in ends] == ["SUCCESS"] * 7 + ["FAILURE", "SUCCESS", "SUCCESS"]
    assert model.most_at_once > 1, "the tasks of a batch run at the same time"
    calls = [len(model.calls_about(marker)) for marker in markers]
    assert calls == [1] * 7 + [1, 2, 2], "a permanent fault is not tried again, a passing one is"
    refused = ends[7]
    assert refused["error"]["type"] == "model_error"
    assert refused["error"]["retryable"] is False
    assert isinstance(refused["result"], str)
    stack.wait_for_empty("Queue")


def test_an_agent_that_takes_too_long_ends_as_a_timeout(agents, stack):
    agent = agents.create("slow", limits={"timeout_seconds": 2})
    end = stack.wait_for_end(agents.trigger(agent, {}))
    assert end["status"] == "FAILURE"
    assert end["error"]["type"] == "timeout"


def test_a_task_whose_runner_is_killed_every_time_ends_as_worker_lost(agents, stack, model):
    marker = a_marker()
    task_id = agents.trigger(agents.create("kills-its-runner"), {"marker": marker})
    end = stack.wait_for_end(task_id)
    assert end["status"] == "FAILURE"
    assert end["error"]["type"] == "worker_lost"
    assert len(model.calls_about(marker)) == 2, "as many attempts as MaxAttempts allows"
    stack.wait_for_empty("Queue")

    # The function is none the worse for it.
    after = stack.wait_for_end(agents.trigger(agents.create("answers"), {}))
    assert after["status"] == "SUCCESS"


def test_a_run_whose_runner_is_killed_goes_on_behind_the_tools_it_had_called_for(agents, stack, model):
    marker = a_marker()
    agent = agents.create("searches-then-kills-its-runner-once", tools=[{"type": "search_sources"}],
                          sources=[{"title": "Shop", "text": "Goods can be returned within 30 days."}])
    end = stack.wait_for_end(agents.trigger(agent, {"marker": marker}))
    assert (end["status"], end["attempt"]) == ("SUCCESS", 2), end
    result = end["result"]["result"]
    assert [call["tool_name"] for call in result["tool_calls"]] == ["search_sources"]
    assert result["sources"][0]["title"] == "Shop"
    asked = [request["body"]["messages"][-1]["role"] for request in model.calls_about(marker)]
    assert asked == ["user", "tool", "tool"], "the first turn is not paid for again"
    assert end["usage"]["turns"] == 2


def test_the_dead_letter_queue_is_drained_and_ends_its_tasks(agents, stack, model):
    marker = a_marker()
    agent = agents.create("answers")
    sqs = stack.aws("sqs")
    with stack.pause_queue():
        task_id = agents.trigger(agent, {"marker": marker})
        pending = stack.status(task_id)
        assert pending.json()["status"] == "PENDING"
        assert "Retry-After" in pending.headers

        (message,) = sqs.receive_message(QueueUrl=stack.outputs["Queue"], VisibilityTimeout=0)["Messages"]
        assert message["Body"].strip('"') == task_id, "a message is a task id and nothing else"
        sqs.send_message(QueueUrl=stack.outputs["DeadLetterQueue"], MessageBody=message["Body"],
                         MessageGroupId=agent["agent_id"])
        end = stack.wait_for_end(task_id)
    assert end["status"] == "FAILURE"
    assert end["error"]["type"] == "worker_lost"
    stack.wait_for_empty("DeadLetterQueue")

    # The message that was still in the queue comes late, and changes nothing.
    stack.wait_for_empty("Queue")
    assert stack.status(task_id).json() == end
    assert model.calls_about(marker) == []


def test_a_message_that_is_not_a_task_id_does_not_stay_in_the_queues(stack):
    for queue in ("Queue", "DeadLetterQueue"):
        stack.aws("sqs").send_message(QueueUrl=stack.outputs[queue], MessageBody="not a task id", MessageGroupId="stray")
    stack.wait_for_empty("DeadLetterQueue")
    stack.wait_for_empty("Queue")


# --------------------------------------------------------- What callers see


def test_health_answers_without_a_credential(stack):
    answer = stack.call("GET", "/api/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_an_unknown_token_and_an_unknown_task_are_not_found(stack):
    for answer in (
        stack.call("POST", "/api/webhooks/agents/nothing-here", data=b"not even JSON"),
        stack.call("GET", "/api/task_status", params={"task_id": str(uuid.uuid4())}),
    ):
        assert (answer.status_code, answer.json()["success"]) == (404, False), answer.text


def test_a_method_that_is_not_allowed_is_refused_with_those_that_are(agents, stack):
    url = agents.create("answers")["webhook_url"]
    for answer in (requests.delete(url, timeout=30), requests.head(url, timeout=30)):
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]


def test_the_agents_api_needs_the_admin_token(stack):
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        for method, path in (("GET", "/api/agents"), ("POST", "/api/agents"), ("GET", "/api/agents/any"),
                             ("GET", "/api/agent_webhook?id=any")):
            assert stack.call(method, path, headers=headers).status_code == 401, (method, path)


def test_a_model_key_goes_to_the_secret_store_and_to_the_model_and_nowhere_else(agents, stack, model):
    marker, key = a_marker(), f"sk-{uuid.uuid4().hex}"
    agent = agents.create("answers", model={
        "provider": "openai", "base_url": model.base_url, "name": "answers", "api_key": key,
    })
    assert key not in json.dumps(agent)
    assert key not in stack.manage("GET", f"/api/agents/{agent['agent_id']}").text
    table = stack.aws("dynamodb").scan(TableName=stack.outputs["AgentsTable"])
    assert key not in str(table["Items"])
    names = [secret["Name"] for secret in stack.aws("secretsmanager").list_secrets()["SecretList"]]
    assert any(name.startswith(f"{stack.outputs['stack']}/provider/") for name in names)

    assert stack.wait_for_end(agents.trigger(agent, {"marker": marker}))["status"] == "SUCCESS"
    (call,) = model.calls_about(marker)
    assert call["authorization"] == f"Bearer {key}"


def test_a_url_brought_along_from_another_system_works_and_can_be_shown_again(agents, stack):
    token = uuid.uuid4().hex * 2
    agent = agents.create("answers", webhook_token=token)
    assert agent["webhook_url"].rpartition("/")[2].lower() == token
    shown = stack.manage("GET", "/api/agent_webhook", params={"id": agent["agent_id"]})
    assert shown.json()["webhook_url"] == agent["webhook_url"]
    assert stack.wait_for_end(agents.trigger(agent, {}))["status"] == "SUCCESS"


def test_the_webhook_url_can_be_shown_again_and_its_token_is_not_stored(agents, stack):
    agent = agents.create("answers")
    shown = stack.manage("GET", "/api/agent_webhook", params={"id": agent["agent_id"]})
    assert shown.json() == {"success": True, "webhook_url": agent["webhook_url"]}
    token = agent["webhook_url"].rpartition("/")[2]
    assert token not in str(stack.aws("dynamodb").scan(TableName=stack.outputs["AgentsTable"])["Items"])


def test_a_stored_secret_reaches_the_model_and_cannot_be_deleted_under_its_agent(agents, stack, model):
    value, marker = a_marker(), a_marker()
    redaction.secret("stored secret", value)
    assert stack.manage("PUT", "/api/secrets/team/openai", json={"value": value}).status_code == 204
    agent = agents.create("answers")
    patch = {"model": {"api_key": {"secret": "team/openai"}}}
    assert stack.manage("PATCH", f"/api/agents/{agent['agent_id']}", json=patch).status_code == 200
    assert stack.wait_for_end(agents.trigger(agent, {"order": marker}))["status"] == "SUCCESS"
    assert [call["authorization"] for call in model.calls_about(marker)] == [f"Bearer {value}"]

    listed = stack.manage("GET", "/api/secrets").json()
    assert {"name": "team/openai", "agents": [agent["agent_id"]]} in listed["secrets"]
    refused = stack.manage("DELETE", "/api/secrets/team/openai")
    assert (refused.status_code, refused.json()["code"]) == (409, "secret_in_use")
    assert stack.manage("DELETE", f"/api/agents/{agent['agent_id']}").status_code == 204
    assert stack.manage("DELETE", "/api/secrets/team/openai").status_code == 204
    stored = [secret["Name"] for secret in stack.aws("secretsmanager").list_secrets()["SecretList"]]
    assert f"{stack.outputs['stack']}/provider/team/openai" not in stored


def test_the_agent_function_tests_a_model_for_the_console_with_a_stored_secret(stack, model):
    value = a_marker()
    redaction.secret("stored secret", value)
    assert stack.manage("PUT", "/api/secrets/trial", json={"value": value}).status_code == 204
    tried = {"base_url": model.base_url, "name": "answers", "api_key": {"secret": "trial"}}
    trial = stack.manage("POST", "/api/models/test", json={"model": tried}).json()
    assert trial["ok"], trial
    assert [call["authorization"] for call in model.requests if call["authorization"] == f"Bearer {value}"]
    trial = stack.manage("POST", "/api/models/test", json={"model": {**tried, "name": "refuses"}}).json()
    assert not trial["ok"] and "HTTP 400" in trial["error"]["message"], trial
    assert stack.manage("DELETE", "/api/secrets/trial").status_code == 204


# ------------------------------------------------------------ Log and metrics


def test_the_lines_of_a_task_bear_its_id_and_the_last_one_is_its_metrics(agents, stack):
    agent = agents.create("busy-once")
    payload = {"order": a_marker()}
    task_id = agents.trigger(agent, payload)
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    end = stack.wait_for_metrics(task_id)

    (accepted,) = stack.lines_of_task("webhook", task_id)
    assert (accepted["message"], accepted["agent_id"]) == ("trigger accepted", agent["agent_id"])
    lines = stack.lines_of_task("agent", task_id)
    assert [(line["message"], line["attempt"]) for line in lines] == [
        ("attempt started", 1), ("model provider returned an error", 1), ("model failed", 1),
        ("task released after a transient error", 1), ("attempt started", 2), ("model replied", 2), ("task ended", 2)]
    assert {line["agent_id"] for line in lines} == {agent["agent_id"]}
    # The agent function's two invocations, and the webhook's.
    assert len({line["request_id"] for line in [accepted, *lines]}) == 3

    assert end == lines[-1]
    assert {name: end[name] for name in ("stack", "outcome", "tasks", "input_tokens", "output_tokens")} == {
        "stack": stack.outputs["stack"], "outcome": "success", "tasks": 1, "input_tokens": 11, "output_tokens": 4}
    assert 0 <= end["queue_ms"] < end["total_ms"]
    # The model takes half a second, and the pause before the second attempt one.
    assert 500 <= end["run_ms"] and end["run_ms"] + 1000 <= end["total_ms"] < 60_000
    assert abs(end["_aws"]["Timestamp"] / 1000 - time.time()) < 300
    for directive in end["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "AgentWebhooks"
        for name in [name for names in directive["Dimensions"] for name in names]:
            assert isinstance(end[name], str), name
        for metric in directive["Metrics"]:
            assert isinstance(end[metric["Name"]], int), metric
    assert payload["order"] not in json.dumps([accepted, *lines])
    print(f"bytes: trigger accepted {size(accepted)}, attempt started {size(lines[0])}, task ended {size(end)}")


def test_a_run_is_traced_before_its_invocation_ends_and_its_payload_is_in_no_trace(agents, stack, collector):
    payload = {"order": a_marker()}
    task_id = agents.trigger(agents.create("answers"), payload)
    assert stack.wait_for_end(task_id)["status"] == "SUCCESS"
    wait_until("its trace", lambda: [body for _, body in collector.exports if task_id.encode() in body])
    assert {path for path, _ in collector.exports} == {"/v1/traces"}
    (trace,) = [body for _, body in collector.exports if task_id.encode() in body]
    for said in ("invoke_agent test-answers", "chat answers", "gen_ai.usage.input_tokens", stack.outputs["stack"]):
        assert said.encode() in trace, said
    everything = b"".join(body for _, body in collector.exports)
    for unsaid in (payload["order"], "Answer the order.", "All is well."):
        assert unsaid.encode() not in everything, unsaid


def test_what_alarms_and_dashboard_watch_is_what_the_agent_function_reports(agents, stack):
    end = stack.wait_for_metrics(agents.trigger(agents.create("answers"), {}))
    reported = {(metric["Name"], frozenset(dimensions))
            for directive in end["_aws"]["CloudWatchMetrics"]
            for dimensions in directive["Dimensions"] for metric in directive["Metrics"]}
    watched = [*metrics_of_the_dashboard(), *(metric for alarm in ALARMS.values() for metric in metrics_of(alarm))]
    ours = {(name, frozenset(dimensions)) for namespace, name, dimensions in watched if namespace == "AgentWebhooks"}
    assert ours
    assert ours - reported == set()


def test_the_dashboard_is_deployed_and_shows_this_stack(stack):
    cloudwatch = stack.aws("cloudwatch")
    body = json.loads(cloudwatch.get_dashboard(DashboardName=f"{stack.outputs['stack']}-{stack.outputs['region']}")["DashboardBody"])
    text = json.dumps(body)
    assert "${" not in text.replace("${PROP('Dim.outcome')}", "")
    for resource in ("AgentFunction", "HttpApi"):
        assert f'"{stack.resources[resource]}"' in text
    for queue in ("Queue", "DeadLetterQueue"):
        assert f'"{stack.outputs[queue].rpartition("/")[2]}"' in text
    # The emulator knows no alarms over an expression.
    alarms = {alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert alarms == {f"{stack.outputs['stack']}-{name}" for name, alarm in ALARMS.items() if "Metrics" not in alarm}


def test_a_task_that_is_lost_is_counted_as_such_with_its_agent(agents, stack):
    agent = agents.create("answers")
    with stack.pause_queue():
        task_id = agents.trigger(agent, {})
        stack.aws("sqs").send_message(QueueUrl=stack.outputs["DeadLetterQueue"], MessageBody=task_id,
                                      MessageGroupId=agent["agent_id"])
        end = stack.wait_for_metrics(task_id)
    assert (end["level"], end["outcome"], end["agent_id"]) == ("ERROR", "worker_lost", agent["agent_id"])
    assert "queue_ms" not in end and "run_ms" not in end
    assert [metric["Name"] for metric in end["_aws"]["CloudWatchMetrics"][1]["Metrics"]] == ["total_ms"]


def test_the_runbook_finds_a_task_in_the_table(agents, stack):
    agent = agents.create("answers")
    task_id = agents.trigger(agent, {})
    stack.wait_for_end(task_id)
    (command,) = re.findall(r"```sh\n(ID=.*?)```", RUNBOOK, re.S)
    item = json.loads(stack.shell(command, TASK=task_id, TASKS=stack.outputs["TasksTable"]))["Item"]
    assert (item["status"]["S"], item["agent_id"]["S"]) == ("SUCCESS", agent["agent_id"])


def size(line):
    return len(json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode())


# -------------------------------------------------------------- Permissions

FUNCTIONS = ("webhook", "agent", "task-status", "console")


def everything(stack):
    """Each resource of the stack with the actions a function might try on it."""
    arn = f"{stack.outputs['region']}:{stack.account}"
    tables = ["GetItem", "PutItem", "UpdateItem", "DeleteItem", "Scan", "Query", "BatchGetItem", "BatchWriteItem",
              "ConditionCheckItem", "PartiQLSelect", "DescribeTable", "CreateBackup", "ExportTableToPointInTime",
              "DeleteTable", "UpdateTable", "UpdateTimeToLive", "PutResourcePolicy"]
    queues = ["SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes",
              "PurgeQueue", "SetQueueAttributes", "AddPermission", "DeleteQueue"]
    secrets = ["GetSecretValue", "BatchGetSecretValue", "CreateSecret", "PutSecretValue", "DeleteSecret", "UpdateSecret",
               "DescribeSecret", "RestoreSecret", "PutResourcePolicy", "ReplicateSecretToRegions"]
    provider = f"arn:aws:secretsmanager:{arn}:secret:{stack.outputs['stack']}/provider/"
    resources = {
        "tasks": (f"arn:aws:dynamodb:{arn}:table/{stack.outputs['TasksTable']}", "dynamodb", tables),
        "list of tasks": (f"arn:aws:dynamodb:{arn}:table/{stack.outputs['TasksTable']}/index/listed", "dynamodb", ["Query", "Scan"]),
        "agents": (f"arn:aws:dynamodb:{arn}:table/{stack.outputs['AgentsTable']}", "dynamodb", tables),
        "documents": (f"arn:aws:dynamodb:{arn}:table/{stack.outputs['DocumentsTable']}", "dynamodb", tables),
        "queue": (f"arn:aws:sqs:{arn}:{stack.outputs['Queue'].rpartition('/')[2]}", "sqs", queues),
        "dead letters": (f"arn:aws:sqs:{arn}:{stack.outputs['DeadLetterQueue'].rpartition('/')[2]}", "sqs", queues),
        "model key": (f"{provider}agents/x/model-api-key-abcdef", "secretsmanager", secrets),
        "default model key": (f"{provider}openai-abcdef", "secretsmanager", secrets),
        "imported token": (f"{provider}agents/x/webhook-token-abcdef", "secretsmanager", secrets),
        "another secret": (f"arn:aws:secretsmanager:{arn}:secret:another-abcdef", "secretsmanager", secrets),
    }
    for secret in stack.aws("secretsmanager").list_secrets()["SecretList"]:
        for name in ("AdminToken", "SigningSecret"):
            if f"-{name}-" in secret["Name"]:
                resources[name] = (secret["ARN"], "secretsmanager", secrets)
    for function in FUNCTIONS:
        resources[f"{function} log"] = (
            f"arn:aws:logs:{arn}:log-group:/aws/lambda/{stack.outputs['stack']}/{function}:log-stream:x", "logs",
            ["CreateLogStream", "PutLogEvents", "GetLogEvents", "FilterLogEvents", "DeleteLogStream", "DeleteLogGroup"])
    # Ways out of a role: other roles, other functions, the account.
    for name, identity in stack.resources.items():
        if name.endswith("Function"):
            resources[name] = (f"arn:aws:lambda:{arn}:function:{identity}", "lambda",
                               ["InvokeFunction", "GetFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration"])
        if name.endswith("Role"):
            resources[name] = (f"arn:aws:iam::{stack.account}:role/{identity}", "iam",
                               ["PassRole", "PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy"])
            resources[f"{name} itself"] = (f"arn:aws:iam::{stack.account}:role/{identity}", "sts", ["AssumeRole"])
    resources["every table"] = ("*", "dynamodb", ["ListTables", "CreateTable"])
    resources["every queue"] = ("*", "sqs", ["ListQueues", "CreateQueue"])
    resources["every secret"] = ("*", "secretsmanager", ["ListSecrets", "GetSecretValue"])
    resources["every log"] = ("*", "logs", ["CreateLogGroup", "DescribeLogGroups"])
    return resources


CONSUME = {"ReceiveMessage", "DeleteMessage", "GetQueueAttributes", "ChangeMessageVisibility"}
WRITE_SECRET = {"CreateSecret", "PutSecretValue", "DeleteSecret"}
NEEDED = {
    "WebhookRole": {
        "agents": {"GetItem"}, "tasks": {"PutItem", "UpdateItem"}, "queue": {"SendMessage"},
        "webhook log": {"CreateLogStream", "PutLogEvents"},
    },
    "AgentRole": {
        "agents": {"GetItem", "UpdateItem"}, "documents": {"GetItem"}, "tasks": {"GetItem", "PutItem", "UpdateItem"},
        "queue": CONSUME | {"SendMessage"}, "dead letters": CONSUME, "model key": {"GetSecretValue"}, "default model key": {"GetSecretValue"},
        "agent log": {"CreateLogStream", "PutLogEvents"},
    },
    "TaskStatusRole": {
        "tasks": {"GetItem"},
        "task-status log": {"CreateLogStream", "PutLogEvents"},
    },
    "ConsoleRole": {
        "agents": {"GetItem", "PutItem", "DeleteItem", "Scan"}, "documents": {"PutItem", "DeleteItem"},
        "tasks": {"GetItem", "BatchGetItem"}, "list of tasks": {"Query"},
        "AdminToken": {"GetSecretValue"}, "SigningSecret": {"GetSecretValue"},
        "model key": WRITE_SECRET, "default model key": WRITE_SECRET, "imported token": WRITE_SECRET | {"GetSecretValue"},
        "console log": {"CreateLogStream", "PutLogEvents"}, "AgentFunction": {"InvokeFunction"},
    },
}


@pytest.mark.parametrize("role", NEEDED)
def test_each_role_may_do_what_its_function_needs_and_nothing_else(role, stack):
    iam = stack.aws("iam")
    role_arn = f"arn:aws:iam::{stack.account}:role/{stack.resources[role]}"
    for name, (arn, service, actions) in everything(stack).items():
        answer = iam.simulate_principal_policy(
            PolicySourceArn=role_arn, ActionNames=[f"{service}:{action}" for action in actions], ResourceArns=[arn])
        allowed = {
            result["EvalActionName"].partition(":")[2]
            for result in answer["EvaluationResults"] if result["EvalDecision"] == "allowed"
        }
        assert allowed == NEEDED[role].get(name, set()), f"{role} on {name}"


def get_secret(name):
    return lambda aws, stack: aws.get_secret_value(SecretId=stack.resources.get(name, name))


def provider_secret(stack, name):
    """A secret that is really there, so that nothing but the refusal can keep it back."""
    full_name = f"{stack.outputs['stack']}/provider/{name}"
    secrets = stack.aws("secretsmanager")
    try:
        secrets.create_secret(Name=full_name, SecretString="a-provider-secret")
    except secrets.exceptions.ResourceExistsException:
        pass
    return full_name


def item(stack, table, **more):
    return {"TableName": stack.outputs[table], "Key": {"id": {"S": "x"}}, **more}


@pytest.mark.parametrize("role, service, what, call", [
    # The webhook function is what strangers reach: it writes tasks, and reads none.
    ("WebhookRole", "dynamodb", "read a task", lambda aws, stack: aws.get_item(**item(stack, "TasksTable"))),
    ("WebhookRole", "dynamodb", "list the tasks", lambda aws, stack: aws.scan(TableName=stack.outputs["TasksTable"])),
    ("WebhookRole", "dynamodb", "delete a task", lambda aws, stack: aws.delete_item(**item(stack, "TasksTable"))),
    ("WebhookRole", "dynamodb", "list the agents", lambda aws, stack: aws.scan(TableName=stack.outputs["AgentsTable"])),
    ("WebhookRole", "dynamodb", "make a token", lambda aws, stack: aws.put_item(
        TableName=stack.outputs["AgentsTable"], Item={"id": {"S": "token#x"}})),
    ("WebhookRole", "sqs", "take a message", lambda aws, stack: aws.receive_message(QueueUrl=stack.outputs["Queue"])),
    ("WebhookRole", "secretsmanager", "read the signing secret", get_secret("SigningSecret")),
    # The agent function talks to models: it reads their keys, and no URL or token.
    ("AgentRole", "dynamodb", "list the agents", lambda aws, stack: aws.scan(TableName=stack.outputs["AgentsTable"])),
    ("AgentRole", "dynamodb", "change an agent", lambda aws, stack: aws.put_item(
        TableName=stack.outputs["AgentsTable"], Item={"id": {"S": "agent#x"}})),
    ("AgentRole", "dynamodb", "change a document", lambda aws, stack: aws.put_item(
        TableName=stack.outputs["DocumentsTable"], Item={"id": {"S": "x"}})),
    ("AgentRole", "dynamodb", "list the tasks", lambda aws, stack: aws.scan(TableName=stack.outputs["TasksTable"])),
    ("AgentRole", "dynamodb", "delete a task", lambda aws, stack: aws.delete_item(**item(stack, "TasksTable"))),
    ("AgentRole", "sqs", "send a dead letter", lambda aws, stack: aws.send_message(
        QueueUrl=stack.outputs["DeadLetterQueue"], MessageBody="x")),
    ("AgentRole", "secretsmanager", "read the admin token", get_secret("AdminToken")),
    ("AgentRole", "secretsmanager", "read the signing secret", get_secret("SigningSecret")),
    ("AgentRole", "secretsmanager", "read an imported token", lambda aws, stack: aws.get_secret_value(
        SecretId=provider_secret(stack, "agents/x/webhook-token"))),
    ("AgentRole", "secretsmanager", "replace a model's key", lambda aws, stack: aws.put_secret_value(
        SecretId=provider_secret(stack, "agents/x/model-api-key-x"), SecretString="x")),
    # The task-status function reads one task by its id.
    ("TaskStatusRole", "dynamodb", "list the tasks", lambda aws, stack: aws.scan(TableName=stack.outputs["TasksTable"])),
    ("TaskStatusRole", "dynamodb", "delete a task", lambda aws, stack: aws.delete_item(**item(stack, "TasksTable"))),
    ("TaskStatusRole", "dynamodb", "read an agent", lambda aws, stack: aws.get_item(**item(stack, "AgentsTable"))),
    ("TaskStatusRole", "sqs", "send a message", lambda aws, stack: aws.send_message(
        QueueUrl=stack.outputs["Queue"], MessageBody="x")),
    ("TaskStatusRole", "secretsmanager", "read the admin token", get_secret("AdminToken")),
    # The console writes models' keys and cannot read them back; it shows tasks and changes none.
    ("ConsoleRole", "dynamodb", "change a task", lambda aws, stack: aws.update_item(**item(stack, "TasksTable"))),
    ("ConsoleRole", "dynamodb", "make a task", lambda aws, stack: aws.put_item(
        TableName=stack.outputs["TasksTable"], Item={"id": {"S": "x"}})),
    ("ConsoleRole", "dynamodb", "scan the tasks", lambda aws, stack: aws.scan(TableName=stack.outputs["TasksTable"])),
    ("ConsoleRole", "dynamodb", "read a document", lambda aws, stack: aws.get_item(**item(stack, "DocumentsTable"))),
    ("ConsoleRole", "dynamodb", "drop the agents", lambda aws, stack: aws.delete_table(TableName=stack.outputs["AgentsTable"])),
    ("ConsoleRole", "sqs", "send a message", lambda aws, stack: aws.send_message(
        QueueUrl=stack.outputs["Queue"], MessageBody="x")),
    ("ConsoleRole", "secretsmanager", "make another secret", lambda aws, stack: aws.create_secret(
        Name="another", SecretString="x")),
    ("ConsoleRole", "secretsmanager", "read a model's key", lambda aws, stack: aws.get_secret_value(
        SecretId=provider_secret(stack, "agents/x/model-api-key-x"))),
    ("ConsoleRole", "secretsmanager", "read the default model's key", lambda aws, stack: aws.get_secret_value(
        SecretId=provider_secret(stack, "openai"))),
    ("ConsoleRole", "secretsmanager", "replace the signing secret", lambda aws, stack: aws.put_secret_value(
        SecretId=stack.resources["SigningSecret"], SecretString="x")),
], ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "")
def test_a_call_a_role_does_not_need_is_refused(role, service, what, call, stack):
    credentials = stack.aws("sts").assume_role(
        RoleArn=f"arn:aws:iam::{stack.account}:role/{stack.resources[role]}", RoleSessionName="test")["Credentials"]
    aws = stack.aws(service, credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
    with pytest.raises(ClientError) as refusal:
        call(aws, stack)
    assert "AccessDenied" in refusal.value.response["Error"]["Code"], f"{role} may {what}"


def over_tls(aws):
    """The emulator takes a request for one over TLS if a proxy says so."""
    aws.meta.events.register("before-sign", lambda request, **_: request.headers.add_header("X-Forwarded-Proto", "https"))
    return aws


@pytest.mark.parametrize("name", ["QueueNeedsTls", "DeadLetterQueueNeedsTls"])
def test_the_policy_of_a_queue_refuses_everyone_without_tls_and_no_one_with_it(stack, name):
    """On a queue of its own, because the emulator and its functions have no TLS."""
    plain, secure = stack.aws("sqs"), over_tls(stack.aws("sqs"))
    queue = plain.create_queue(QueueName="needs-tls")["QueueUrl"]
    arn = plain.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = of_type("AWS::SQS::QueuePolicy")[name]
    (statement,) = policy["PolicyDocument"]["Statement"]
    document = {**policy["PolicyDocument"], "Statement": [{**statement, "Resource": arn}]}
    plain.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(document)})

    for call in (lambda aws: aws.send_message(QueueUrl=queue, MessageBody="x"),
                 lambda aws: aws.receive_message(QueueUrl=queue),
                 lambda aws: aws.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})):
        with pytest.raises(ClientError) as refusal:
            call(plain)
        assert "AccessDenied" in refusal.value.response["Error"]["Code"]
        call(secure)
    # The last call removed the policy, so that no caller is locked out.
    plain.send_message(QueueUrl=queue, MessageBody="x")
    plain.delete_queue(QueueUrl=queue)
