"""What the tests share: one deployed stack, one fake model, and a client for both."""

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import boto3
import pytest
import redaction
import requests

from fake_server import FakeServer
from running import BUILD, admin_token, kill_runners

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = ROOT / "tests" / "emulator"
STATE = ROOT / ".emulator" / "tests"
# What is read from template.yaml is read in one place.
sys.path.append(str(ROOT / "tests"))
# Short enough that a killed runner's task ends within the patience of a test.
PARAMETERS = {
    "AgentTimeoutSeconds": "10",
    "MaxAttempts": "2",
    "AgentCacheSeconds": "1",
    "AllowedPrivateHosts": "127.0.0.1",
}
PATIENCE_SECONDS = 90
ANSWER = "All is well."
SEARCH = {"id": "call-1", "type": "function",
          "function": {"name": "search_sources", "arguments": '{"query": "returned"}'}}


@pytest.fixture(scope="session")
def collector():
    collector = Collector()
    yield collector
    collector.server.close()


@pytest.fixture(scope="session")
def stack(collector):
    stack = Stack(start_emulator(STATE, {**PARAMETERS, "OtlpEndpoint": collector.url}))
    redaction.begin()
    redaction.secret("admin token", stack.admin_token)
    redaction.secret("signing secret", stack.signing_secret())
    yield stack
    redaction.keep_logs(stack.aws("logs"))
    stop_emulator(STATE)


def start_emulator(state, parameters, *options):
    """The outputs of the stack, deployed to an emulator of its own."""
    stop_emulator(state)
    binaries = os.environ.get("AGENT_WEBHOOKS_BINARIES", BUILD)
    words = [word for name, value in parameters.items() for word in ("--parameter", f"{name}={value}")]
    up = subprocess.run([EMULATOR / "up", "--state", state, "--binaries", binaries, *words, *options],
                        check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(up.stdout)


def stop_emulator(state):
    subprocess.run([EMULATOR / "down", "--state", state], check=True)


@pytest.fixture(scope="session")
def model(stack):
    fake = FakeModel(stack)
    yield fake
    fake.close()


@pytest.fixture(scope="session")
def agents(stack, model):
    return Agents(stack, model)


class Stack:
    """The deployed stack: its outputs, its HTTP API, and AWS as the root user sees it."""

    def __init__(self, outputs):
        self.outputs = outputs
        self.base_url = outputs["base_url"]
        self.emulator_pid = outputs["pid"]
        self.account = "000000000000"
        self.admin_token = admin_token(outputs)
        self.resources = {
            resource["LogicalResourceId"]: resource["PhysicalResourceId"]
            for resource in self.aws("cloudformation").describe_stack_resources(StackName=outputs["stack"])["StackResources"]
        }

    def aws(self, service, key="test", secret="test", token=None):
        return boto3.client(service, endpoint_url=self.outputs["endpoint"], region_name=self.outputs["region"],
                            aws_access_key_id=key, aws_secret_access_key=secret, aws_session_token=token)

    def shell(self, command, **variables):
        """What a command prints that an operator types."""
        environment = {
            "PATH": f"{ROOT / '.tools/venv/bin'}:{os.environ['PATH']}",
            "AWS_ENDPOINT_URL": self.outputs["endpoint"],
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": self.outputs["region"],
            **variables,
        }
        done = subprocess.run(["bash", "-c", command], env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    def signing_secret(self):
        secrets = self.aws("secretsmanager")
        return secrets.get_secret_value(SecretId=self.resources["SigningSecret"])["SecretString"]

    def call(self, method, path, **options):
        return requests.request(method, f"{self.base_url}{path}", timeout=30, **options)

    def manage(self, method, path, **options):
        return self.call(method, path, headers={"Authorization": f"Bearer {self.admin_token}"}, **options)

    def status(self, task_id):
        return self.call("GET", "/api/task_status", params={"task_id": task_id})

    def wait_for_end(self, task_id):
        return wait_until(f"task {task_id} to end", lambda: self._ended(task_id))

    def _ended(self, task_id):
        answer = self.status(task_id)
        assert answer.status_code == 200, answer.text
        return answer.json() if answer.json()["status"] in ("SUCCESS", "FAILURE") else None

    def wait_for_empty(self, queue):
        wait_until(f"{queue} to be empty", lambda: self._messages(queue) == 0)

    def _messages(self, queue):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.aws("sqs").get_queue_attributes(QueueUrl=self.outputs[queue], AttributeNames=names)["Attributes"]
        return sum(int(attributes[name]) for name in names)

    def lines_of_task(self, function, task_id):
        """What a function logged about a task, in order: the lines that bear its id."""
        pages = self.aws("logs").get_paginator("filter_log_events").paginate(
            logGroupName=f"/aws/lambda/{self.outputs['stack']}/{function}", filterPattern=f'"{task_id}"')
        messages = [event["message"] for page in pages for event in page["events"]]
        return [line for line in map(json.loads, messages) if line.get("task_id") == task_id]

    def wait_for_metrics(self, task_id):
        """The one line that reports the metrics of a task, once the emulator has it."""
        def found():
            return [line for line in self.lines_of_task("agent", task_id) if "_aws" in line]
        (line,) = wait_until(f"metrics of {task_id}", found)
        return line

    def pause_queue(self):
        return PausedMapping(self.aws("lambda"), self.resources["QueueToAgent"])

    def kill_runners(self):
        kill_runners(self.emulator_pid)


class PausedMapping:
    """Keeps the queue from its function, so that several tasks meet in one batch."""

    def __init__(self, aws_lambda, mapping):
        self.aws_lambda = aws_lambda
        self.mapping = mapping

    def __enter__(self):
        self.aws_lambda.update_event_source_mapping(UUID=self.mapping, Enabled=False)
        # A poll that had begun may still take messages.
        time.sleep(1)

    def __exit__(self, *_):
        self.aws_lambda.update_event_source_mapping(UUID=self.mapping, Enabled=True)


class Agents:
    """Makes agents whose model behaves as asked, and triggers them."""

    def __init__(self, stack, model):
        self.stack = stack
        self.model = model

    def create(self, behaviour, **fields):
        agent = {
            "name": f"test-{behaviour}",
            "prompt": "Answer the order.",
            "model": {"provider": "openai", "base_url": self.model.base_url, "name": behaviour},
            **fields,
        }
        answer = self.stack.manage("POST", "/api/agents", json=agent)
        assert answer.status_code == 201, answer.text
        redaction.definition(agent)
        redaction.webhook(answer.json()["webhook_url"])
        return answer.json()

    def trigger(self, agent, payload=None, key=None, **options):
        headers = {"Idempotency-Key": key} if key else {}
        redaction.secret("idempotency key", key or "")
        if payload is not None:
            options["json"] = payload
        answer = requests.post(agent["webhook_url"], headers=headers, timeout=30, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["task_id"]


class Collector:
    """Keeps what is exported to it, protobuf as it came."""

    def __init__(self):
        self.exports = []
        self.server = FakeServer(self.accept)
        self.url = self.server.url

    def accept(self, path, _headers, body):
        self.exports.append((path, body))
        return 200, b""


class FakeModel:
    """An OpenAI-compatible server that records its requests and behaves as the model's name says."""

    def __init__(self, stack):
        self.stack = stack
        self.requests = []
        self.running = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = FakeServer(self.respond)
        self.base_url = f"{self.server.url}/v1"

    def close(self):
        self.closing.set()
        self.server.close()

    def respond(self, path, headers, body):
        status, answer = self.answer(path, headers, body.decode())
        return status, json.dumps(answer).encode()

    def answer(self, path, headers, body):
        request = {"path": path, "authorization": headers.get("Authorization"), "text": body, "body": json.loads(body)}
        redaction.payload(request["body"]["messages"][-1]["content"])
        if request["authorization"]:
            redaction.secret("API key", request["authorization"].removeprefix("Bearer "))
        redaction.secret("answer", ANSWER)
        with self.lock:
            earlier = sum(earlier["text"] == body for earlier in self.requests)
            self.requests.append(request)
            self.running += 1
            self.most_at_once = max(self.most_at_once, self.running)
        try:
            return self.behave(request["body"], earlier)
        finally:
            with self.lock:
                self.running -= 1

    def behave(self, body, earlier):
        behaviour = body["model"]
        if behaviour == "refuses":
            return 400, {"error": {"message": "no such model", "type": "invalid_request_error"}}
        if behaviour == "busy-once" and earlier == 0:
            return 429, {"error": {"message": "slow down", "type": "rate_limit_error"}}
        if behaviour == "broken-once" and earlier == 0:
            return 500, {"error": {"message": "oops", "type": "server_error"}}
        if behaviour == "kills-its-runner":
            self.stack.kill_runners()
        if behaviour == "slow":
            self.closing.wait(30)
        if behaviour == "searches-then-kills-its-runner-once":
            if body["messages"][-1]["role"] != "tool":
                return 200, completion(behaviour, {"content": None, "tool_calls": [SEARCH]}, "tool_calls")
            if earlier == 0:
                self.stack.kill_runners()
        # Long enough that calls of one batch overlap.
        self.closing.wait(0.5)
        return 200, completion(behaviour, {"content": ANSWER}, "stop")

    def calls_about(self, marker):
        return [request for request in self.requests if marker in request["text"]]

    def user_message_about(self, marker):
        (request,) = self.calls_about(marker)
        return [message["content"] for message in request["body"]["messages"] if message["role"] == "user"][-1]


def completion(model, message, finish_reason):
    return {
        "id": f"chatcmpl-{uuid.uuid4()}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "finish_reason": finish_reason, "message": {"role": "assistant", **message}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15},
    }


def wait_until(what, probe):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        result = probe()
        if result:
            return result
        time.sleep(0.25)
    raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what} without success; see {STATE / 'ministack.log'}")
