"""The Lambda service: concurrency, limits, recursive-loop detection.

Sources:
- https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (6 MB, account concurrency)
- https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html (reserved concurrency)
- https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html (16 invocations, Terminate by default)
- https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader (`Lineage`)
"""

import hashlib
import re
import secrets
import subprocess
import threading
import time
from pathlib import Path

from .instance import FunctionError, Instance
from .template import REGION

MOST_EVENT_BYTES = 6_291_456
# "If your function is invoked approximately 16 times in the same chain of requests, then
# Lambda automatically stops the next function invocation in that request chain."
MOST_INVOCATIONS_IN_A_CHAIN = 16


class EventTooLarge(Exception):
    """RequestEntityTooLargeException."""


class Throttled(Exception):
    """TooManyRequestsException: the account or the function has no free concurrency."""


class RecursiveInvocation(Exception):
    """RecursiveInvocationException: the chain of requests is too long."""


class Function:
    def __init__(self, name, properties, binary, arn, log_group, environment, frozen_clock):
        self.name = name
        self.binary = binary
        self.arn = arn
        self.frozen_clock = frozen_clock
        # Whether a freeze stops the monotonic clock. It was seen to; AWS does not document it.
        self.stops_clock = True
        self.timeout = int(properties["Timeout"])
        self.reserved_concurrency = properties.get("ReservedConcurrentExecutions")
        # Terminate is the default of PutFunctionRecursionConfig.
        self.allows_recursion = properties.get("RecursiveLoop", "Terminate") == "Allow"
        variables = {name: str(value) for name, value in properties["Environment"]["Variables"].items()}
        self.environment = {
            **variables, **environment,
            "AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "ASIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "example",
            "AWS_LAMBDA_FUNCTION_NAME": arn.rpartition(":")[2], "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(properties["MemorySize"]),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand", "AWS_LAMBDA_LOG_FORMAT": "JSON",
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group, "_HANDLER": "bootstrap", "TZ": ":UTC", "LANG": "en_US.UTF-8",
            "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "PATH": "/usr/local/bin:/usr/bin:/bin",
        }
        # The name of the function in a lineage.
        self.lineage_id = hashlib.sha256(arn.encode()).hexdigest()[:8]
        self.idle = []
        self.running = 0

    def lineage(self, trace_id):
        """How often this function was invoked in the chain of requests that the header names."""
        entries = dict(re.findall(r"([0-9a-f]{8}):(\d+)", (trace_id or "").partition("Lineage=")[2]))
        return int(entries.get(self.lineage_id, 0))

    def continued(self, trace_id):
        """The header of the next invocation in the chain: one more of this function."""
        root = re.search(r"Root=[^;]+", trace_id or "")
        root = root[0] if root else f"Root=1-{int(time.time()):08x}-{secrets.token_hex(12)}"
        entries = dict(re.findall(r"([0-9a-f]{8}):(\d+)", (trace_id or "").partition("Lineage=")[2]))
        entries[self.lineage_id] = self.lineage(trace_id) + 1
        lineage = "|".join(f"{name}:{count}" for name, count in entries.items())
        return f"{root};Parent={secrets.token_hex(8)};Sampled=0;Lineage={lineage}"


class LambdaService:
    def __init__(self, folder):
        self.folder = folder
        self.functions = {}
        self.account_concurrency = 1000
        self.recursive_invocations_dropped = 0
        # Of every invocation, the function's name and its trace header.
        self.invocations = []
        self.log_lines = []
        self.instances = []
        self.lock = threading.Lock()
        self.frozen_clock = folder / "frozen_clock.so"
        source = Path(__file__).with_name("frozen_clock.c")
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.frozen_clock, source], check=True)

    def create(self, name, **configuration):
        self.functions[name] = Function(name, frozen_clock=self.frozen_clock, **configuration)

    def log(self, function, stream, line):
        self.log_lines.append((function, stream, line))

    def invoke(self, name, event, trace_id=None):
        """One synchronous invocation: what the function returned."""
        function = self.functions[name]
        if len(event) > MOST_EVENT_BYTES:
            raise EventTooLarge
        with self.lock:
            if function.lineage(trace_id) >= MOST_INVOCATIONS_IN_A_CHAIN and not function.allows_recursion:
                self.recursive_invocations_dropped += 1
                raise RecursiveInvocation
            if function.running >= self.available_to(function):
                raise Throttled
            function.running += 1
            instance = function.idle.pop() if function.idle else None
            trace_id = function.continued(trace_id)
            self.invocations.append((name, trace_id))
        try:
            instance = instance or self._start(function)
            response = instance.invoke(event, trace_id)
        finally:
            with self.lock:
                function.running -= 1
        with self.lock:
            function.idle.append(instance)
        return response

    def available_to(self, function):
        """What is reserved for a function, or what the others leave of what is reserved for none."""
        if function.reserved_concurrency is not None:
            return function.reserved_concurrency
        reserved = sum(other.reserved_concurrency or 0 for other in self.functions.values())
        running = sum(other.running for other in self.functions.values()
                      if other is not function and other.reserved_concurrency is None)
        return self.account_concurrency - reserved - running

    def _start(self, function):
        instance = Instance(function, self.folder, self.log)
        self.instances.append(instance)
        return instance

    def end_instances(self):
        """What a deployment does: the next invocation is a cold start. No invocation may be running."""
        with self.lock:
            for function in self.functions.values():
                function.idle = []
            ended, self.instances = self.instances, []
        for instance in ended:
            instance.kill()


__all__ = ["EventTooLarge", "FunctionError", "LambdaService", "RecursiveInvocation", "Throttled"]
