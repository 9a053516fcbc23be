"""The deployed stack: its outputs, its HTTP API, and AWS as the operator's credentials see it."""

import http.client
import json
import os
import random
import ssl
import threading
import time
import urllib.parse

import boto3
import botocore.config
import requests

from verify.settings import shell

TERMINAL = ("SUCCESS", "FAILURE")
# How long a call is sent again that a route's limit refuses: the checks run side by side.
SECONDS_THROTTLED = 30
# In place of a status: the server closed the connection without an answer.
CLOSED = 0
FUNCTIONS = {"WebhookFunction": "webhook", "AgentFunction": "agent", "TaskStatusFunction": "task-status",
             "ConsoleFunction": "console"}


class Unusable(Exception):
    """The stack cannot be verified. The text says why and what to do."""


class Target:
    def __init__(self, stack, region, profile=None, endpoint=None, emulator_pid=None):
        self.stack = stack
        self.endpoint = endpoint
        self.emulator_pid = emulator_pid
        self.profile = profile
        keys = {}
        if endpoint and not os.environ.get("AWS_ACCESS_KEY_ID"):
            # The root user of the emulator.
            keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        self._session = boto3.Session(profile_name=profile, region_name=region, **keys)
        self.region = self._session.region_name
        if not self.region:
            raise Unusable("No region. Give --region or set AWS_REGION.")
        self._clients = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        self._describe()

    @property
    def is_emulator(self):
        return self.endpoint is not None

    def _describe(self):
        cloudformation = self.aws("cloudformation")
        (described,) = cloudformation.describe_stacks(StackName=self.stack)["Stacks"]
        if not described["StackStatus"].endswith("_COMPLETE") or described["StackStatus"].startswith("DELETE"):
            raise Unusable(f"The stack {self.stack} is {described['StackStatus']}. Wait for the deployment, or repair it first.")
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in described["Outputs"]}
        self.parameters = {p["ParameterKey"]: p.get("ParameterValue", "") for p in described.get("Parameters", [])}
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.stack)
        self.resources = {resource["LogicalResourceId"]: resource["PhysicalResourceId"]
                          for page in pages for resource in page["StackResourceSummaries"]}
        self.base_url = self.outputs["ApiUrl"]
        caller = self.aws("sts").get_caller_identity()
        self.account, self.partition = caller["Account"], caller["Arn"].split(":")[1]
        secret = self.aws("secretsmanager").get_secret_value(SecretId=self.resources["AdminToken"])
        self.admin_token = secret["SecretString"]

    def aws(self, service):
        with self._lock:
            if service not in self._clients:
                config = botocore.config.Config(retries={"mode": "adaptive", "max_attempts": 8}, max_pool_connections=32,
                                                connect_timeout=10, read_timeout=60)
                self._clients[service] = self._session.client(service, endpoint_url=self.endpoint, config=config)
            return self._clients[service]

    def command(self, *words):
        """An `aws` command line for the operator."""
        options = ["--region", self.region]
        if self.profile:
            options += ["--profile", self.profile]
        if self.endpoint:
            options += ["--endpoint-url", self.endpoint]
        return shell(["aws", *words, *options])

    # ------------------------------------------------------------ HTTP

    @property
    def http(self):
        """A session of this thread, with warm connections."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = not self.is_emulator
        return self._local.session

    def call(self, method, path, **options):
        """The answer of a function. A call that API Gateway throttled is sent again: it reached none."""
        deadline = time.monotonic() + SECONDS_THROTTLED
        while True:
            answer = self.http.request(method, f"{self.base_url}{path}", timeout=40, **options)
            if not is_throttled_by_gateway(answer.status_code, answer.text) or time.monotonic() > deadline:
                return answer
            time.sleep(random.uniform(0.2, 1))

    def manage(self, method, path, **options):
        headers = {"Authorization": f"Bearer {self.admin_token}", **options.pop("headers", {})}
        return self.call(method, path, headers=headers, **options)

    def send_raw(self, method, path, headers=(), body=None, base_url=None):
        """Sends the path and the headers exactly as given. Returns status, headers and body."""
        return send_raw(base_url or self.base_url, method, path, headers, body)

    def is_emulators_own(self, answer):
        """The emulator answers every preflight itself. On AWS, ANY and $default take OPTIONS when the API has no CORS settings."""
        return self.is_emulator and answer.status == 403 and b"CORS not configured" in answer.body

    def status(self, task_id):
        return self.call("GET", "/api/task_status", params={"task_id": task_id})

    # ------------------------------------------------------------ Logs and metrics

    def log_group(self, function):
        configuration = self.aws("lambda").get_function_configuration(FunctionName=self.resources[function])
        return configuration.get("LoggingConfig", {}).get("LogGroup") or f"/aws/lambda/{self.stack}/{FUNCTIONS[function]}"

    def log_events(self, group, since, text=""):
        """Log events since a Unix time that contain a text. CloudWatch's own patterns match terms, not substrings."""
        pages = self.aws("logs").get_paginator("filter_log_events").paginate(logGroupName=group, startTime=int(since * 1000))
        return [event for page in pages for event in page["events"] if text in event["message"]]

    def log_lines(self, group, since, text=""):
        """The events that are JSON objects, parsed."""
        return [line for line in map(parsed, self.log_events(group, since, text)) if line is not None]

    def metric(self, namespace, name, dimensions, since, until, statistic="Sum"):
        """Sum or maximum of a metric over whole minutes; None if CloudWatch has no data points."""
        points = self.aws("cloudwatch").get_metric_statistics(
            Namespace=namespace, MetricName=name, Dimensions=[{"Name": n, "Value": v} for n, v in dimensions.items()],
            StartTime=since, EndTime=until, Period=60, Statistics=[statistic])["Datapoints"]
        values = [point[statistic] for point in points]
        if not values:
            return None
        return sum(values) if statistic == "Sum" else max(values)

    # ------------------------------------------------------------ Secrets and queues

    def secret_arn(self, resource):
        """A stack can use a signing secret that existed before it."""
        identity = self.resources.get(resource) or self.outputs[resource]
        return self.aws("secretsmanager").describe_secret(SecretId=identity)["ARN"]

    def messages(self, queue):
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"]
        attributes = self.aws("sqs").get_queue_attributes(QueueUrl=self.outputs[queue], AttributeNames=names)["Attributes"]
        return sum(int(attributes.get(name, 0)) for name in names)

    def wait_for_mapping(self, mapping):
        """A mapping changes its state in the background."""
        wait_until(120, lambda: self.aws("lambda").get_event_source_mapping(
            UUID=self.resources[mapping]).get("State", "Enabled") in ("Enabled", "Disabled"))


def is_throttled_by_gateway(status, text):
    """The product's own 429 has a code."""
    return status == 429 and '"code"' not in text


def send_raw(base_url, method, path, headers=(), body=None, timeout=40):
    """One request on a connection of its own. http.client neither normalises paths nor joins headers."""
    parts = urllib.parse.urlsplit(base_url)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.putrequest(method, f"{parts.path}{path}", skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        elif method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", "0")
        connection.endheaders()
        try:
            if body:
                connection.send(body)
        except OSError:
            # The server may answer and close before it has read a body that is too large.
            pass
        try:
            response = connection.getresponse()
        except (ConnectionError, http.client.HTTPException, ssl.SSLError) as error:
            return RawResponse(CLOSED, {}, repr(error).encode())
        return RawResponse(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


class RawResponse:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    def json(self):
        """None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def excerpt(self):
        return self.body[:200].decode(errors="replace")


def parsed(event):
    try:
        line = json.loads(event["message"])
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def wait_until(seconds, probe, pause=1.0):
    """The first true result of `probe`, or its last result when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        result = probe()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(pause)
