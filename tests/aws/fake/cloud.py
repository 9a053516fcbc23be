"""One AWS account with the template deployed in it."""

import http.client
import json
import os
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from .api_gateway import ApiGateway, Route, decoded_path
from .connections import Proxy
from .dynamodb import DynamoDb
from .event_source import EventSourceMapping
from .lambda_service import LambdaService
from .model import Model
from .secrets_manager import SecretsManager
from .sqs import Clock, Queue, Sqs
from .template import Stack, generated_secret, transformed
from .wire import Response, Server

ROOT = Path(__file__).resolve().parents[3]
BINARIES = Path(os.environ.get("AGENT_WEBHOOKS_BINARIES", ROOT / "target" / "debug"))
TEMPLATE = Path(os.environ.get("AGENT_WEBHOOKS_TEMPLATE", ROOT / "template.yaml"))
ENDED = ("SUCCESS", "FAILURE")


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)


class Cloud:
    def __init__(self, folder):
        self.template, self.binaries = transformed(TEMPLATE.read_text())
        self.lambda_service = LambdaService(folder)
        self.gateway = ApiGateway(self.lambda_service)
        self.clock = Clock()
        self.sqs = Sqs(self.clock)
        self.secrets = SecretsManager()
        self.model = Model()
        # Accepts traces and discards them.
        self.collector = Server(lambda _: Response(200, b"", [("content-type", "application/x-protobuf")]))
        self.dynamodb = DynamoDb(folder)
        self.proxies = {name: Proxy(port) for name, port in {
            "dynamodb": self.dynamodb.port, "sqs": self.sqs.server.port, "secrets": self.secrets.server.port,
            "model": self.model.server.port, "collector": self.collector.port}.items()}
        self.model_url = f"{self.proxies['model'].url}/v1"
        self.parameters = None
        self.stack = None
        self._create_resources()
        self.deploy()

    def _create_resources(self):
        stack = self._stack({})
        self.dynamodb.wait_until_ready()
        for name, properties in stack.of_type("AWS::DynamoDB::Table").items():
            self.dynamodb.create_table(stack.physical_name(name), properties)
        for name, properties in stack.of_type("AWS::SecretsManager::Secret").items():
            self.secrets.create(stack.physical_name(name), stack.arn(name), generated_secret(properties))
        self.admin_token = self.secrets.find(stack.arn("AdminToken")).value

    def _stack(self, parameters):
        return Stack(self.template, self.binaries, parameters, self.gateway.server.url)

    def deploy(self, **parameters):
        """What `sam deploy --parameter-overrides` does. Tables and secrets stay; the rest is new."""
        parameters = {"AllowedPrivateHosts": "127.0.0.1", **parameters}
        if parameters == self.parameters:
            return
        self.lambda_service.end_instances()
        self.parameters, self.stack = parameters, self._stack(parameters)
        self._create_functions()
        self._create_queues()
        self._create_routes()

    def _create_functions(self):
        environment = {"AWS_ENDPOINT_URL": self.proxies["secrets"].url,
                       "AWS_ENDPOINT_URL_DYNAMODB": self.proxies["dynamodb"].url,
                       "AWS_ENDPOINT_URL_SQS": self.proxies["sqs"].url}
        for name, properties in self.stack.of_type("AWS::Lambda::Function").items():
            binary = BINARIES / self.binaries[name]
            assert binary.exists(), f"{binary} is missing; build it with: cargo build --bin {binary.name}"
            self.lambda_service.create(name, properties=properties, binary=binary, arn=self.stack.arn(name), environment=environment,
                                       log_group=str(properties["LoggingConfig"]["LogGroup"]))

    def _create_queues(self):
        queues = {name: Queue(name, self.stack.arn(name), self.stack.resolve({"Ref": name}), properties, self.clock)
                  for name, properties in self.stack.of_type("AWS::SQS::Queue").items()}
        self.queue, self.dead_letters = queues["Queue"], queues["DeadLetterQueue"]
        self.sqs.create(queues.values())
        by_arn = {queue.arn: queue for queue in queues.values()}
        functions = {self.stack.physical_name(name): function for name, function in self.lambda_service.functions.items()}
        mappings = self.stack.of_type("AWS::Lambda::EventSourceMapping").values()
        self.mappings = {by_arn[properties["EventSourceArn"]].name: EventSourceMapping(
            self.lambda_service, functions[properties["FunctionName"]], by_arn[properties["EventSourceArn"]], properties)
            for properties in mappings}
        self.mapping, self.dead_letter_mapping = self.mappings["Queue"], self.mappings["DeadLetterQueue"]

    def _create_routes(self):
        (stage,) = self.stack.of_type("AWS::ApiGatewayV2::Stage").values()
        integrations = self.stack.of_type("AWS::ApiGatewayV2::Integration")
        functions = {function.arn: name for name, function in self.lambda_service.functions.items()}
        routes = []
        for properties in self.stack.of_type("AWS::ApiGatewayV2::Route").values():
            integration = integrations[properties["Target"].removeprefix("integrations/")]
            settings = stage["RouteSettings"].get(properties["RouteKey"], stage["DefaultRouteSettings"])
            limit = {"rate": settings["ThrottlingRateLimit"], "burst": settings["ThrottlingBurstLimit"]}
            routes.append(Route(properties["RouteKey"], functions[integration["IntegrationUri"]], limit))
        self.gateway.routes = routes

    def reset(self):
        """Back to how every test finds it."""
        self.model.released.set()
        self.lambda_service.account_concurrency = 1000
        self.gateway.decode_path = decoded_path
        self.secrets.visible_after = self.secrets.deletion_takes = 0
        self.model.accepted_keys = None
        self.deploy()
        for route in self.gateway.routes:
            route.bucket.refill()
        for queue in (self.queue, self.dead_letters):
            queue.messages.clear()
        for mapping in self.mappings.values():
            mapping.names_groups = True

    def close(self):
        self.model.released.set()
        self.lambda_service.end_instances()
        self.dynamodb.close()

    # ------------------------------------------------------------ As a caller

    def call(self, method, target, body=None, headers=()):
        """One request, byte for byte: nothing is normalised, and headers may repeat."""
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.server.port, timeout=60)
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        names = {name.lower() for name, _ in headers}
        # The target as it is, though http.client wants to check it.
        connection._validate_path = lambda _: None
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
            if "content-type" not in names:
                connection.putheader("Content-Type", "application/json")
        connection.endheaders(body)
        response = connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        connection.close()
        return answer

    def manage(self, method, target, body=None):
        return self.call(method, target, body, [("Authorization", f"Bearer {self.admin_token}")])

    def create_agent(self, model="answers", **fields):
        configuration = {"provider": "openai", "base_url": self.model_url, "name": model}
        configuration |= fields.pop("model_fields", {})
        agent = {"name": f"test-{model}", "prompt": "Answer the order.", "model": configuration, **fields}
        answer = self.manage("POST", "/api/agents", agent)
        assert answer.status == 201, answer.body
        return answer.json()

    def trigger(self, agent, payload=None, headers=()):
        answer = self.call("POST", self.webhook_path(agent), payload or {"marker": uuid.uuid4().hex}, headers)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json()["task_id"]

    def webhook_path(self, agent):
        return agent["webhook_url"].removeprefix(self.gateway.server.url)

    def status(self, task_id):
        answer = self.call("GET", f"/api/task_status?task_id={task_id}")
        assert answer.status == 200, answer.body
        return answer.json()

    def task(self, task_id):
        """All there is to say of a task, its events included."""
        return self.manage("GET", f"/api/tasks/{task_id}").json()

    def run_until_ended(self, task_id, seconds=30):
        """Delivers messages, hidden ones early, until the task has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            outcomes = [mapping.deliver(early=True) for mapping in self.mappings.values()]
            status = self.status(task_id)
            if status["status"] in ENDED:
                return status
            if outcomes == [None, None]:
                raise AssertionError(f"no message is left, and the task is {status['status']}")
            # Pauses between attempts are stored in the task's record, by the functions' clock.
            time.sleep(0.05)
        raise AssertionError(f"task {task_id} did not end: {self.task(task_id)}")

    def lines_of(self, function):
        return [line for name, _, line in self.lambda_service.log_lines if name == function]
