"""One execution environment: the function's process, its Runtime API, its freezes.

Sources:
- https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html (paths and headers)
- https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html (freeze, time-out)
- https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html (environment)
"""

import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid

from .wire import Response, listen, read_request, response_bytes

# "The Init phase is limited to 10 seconds."
INIT_SECONDS = 10
# The synchronous response is limited to 6 MB (gettingstarted-limits.html). The error
# message of the Runtime API names 6291556 bytes.
MOST_RESPONSE_BYTES = 6_291_556


class FunctionError(Exception):
    """The function failed: it reported an error, ended or took too long."""


class Instance:
    def __init__(self, function, folder, log):
        self.function = function
        self.log = log
        self.listener, port = listen()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.streams = {}
        self.frozen_at = None
        self.clock = folder / f"{uuid.uuid4().hex}.clock"
        self.clock.write_bytes(struct.pack("q", 0))
        environment = {**function.environment, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
                       "AWS_LAMBDA_LOG_STREAM_NAME": f"2026/11/29/[$LATEST]{uuid.uuid4().hex}",
                       "LD_PRELOAD": str(function.frozen_clock), "FROZEN_CLOCK": str(self.clock)}
        # A group of its own: children are frozen with it.
        self.process = subprocess.Popen([function.binary], env=environment, stdin=subprocess.DEVNULL, cwd=folder,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        for name in ("stdout", "stderr"):
            threading.Thread(target=self._read_log, args=(name,), daemon=True).start()
        self.ended = os.pidfd_open(self.process.pid)
        self.selector.register(self.ended, selectors.EVENT_READ)
        self.waiting = None
        try:
            self._wait_for_next(time.monotonic() + INIT_SECONDS)
        except FunctionError:
            self.kill()
            raise
        self.freeze()

    def _read_log(self, name):
        with getattr(self.process, name) as stream:
            for line in stream:
                self.log(self.function.name, name, line.decode(errors="replace").rstrip("\n"))

    def invoke(self, event, trace_id):
        """Runs the function once and returns its response. A failed instance is not used again."""
        self.thaw()
        try:
            response = self._invoke(event, trace_id)
        except FunctionError:
            self.kill()
            raise
        self.freeze()
        return response

    def _invoke(self, event, trace_id):
        request_id = str(uuid.uuid4())
        deadline = time.monotonic() + self.function.timeout
        self._answer(self.waiting, Response(200, event, [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", request_id),
            ("lambda-runtime-deadline-ms", str(int((time.time() + self.function.timeout) * 1000))),
            ("lambda-runtime-invoked-function-arn", self.function.arn),
            ("lambda-runtime-trace-id", trace_id),
        ]))
        connection, request = self._request(deadline, "time-out")
        assert request.target.startswith(f"/2018-06-01/runtime/invocation/{request_id}/"), request.target
        if request.target.endswith("/error"):
            self._answer(connection, Response(202, b'{"status":"OK"}'))
            raise FunctionError(request.body.decode(errors="replace"))
        if len(request.body) > MOST_RESPONSE_BYTES:
            self._answer(connection, Response(413, json.dumps({"errorType": "Function.ResponseSizeTooLarge"}).encode()))
            raise FunctionError("the response is larger than 6 MB")
        self._answer(connection, Response(202, b'{"status":"OK"}'))
        # An invocation ends when the runtime asks for the next one, and only then does the freeze begin.
        self._wait_for_next(deadline)
        return request.body

    def _wait_for_next(self, deadline):
        self.waiting, request = self._request(deadline, "no request for an event")
        if not request.target.endswith("/runtime/invocation/next"):
            raise FunctionError(f"{request.target}: {request.body.decode(errors='replace')}")

    def _request(self, deadline, what):
        while True:
            ready = self.selector.select(max(0, deadline - time.monotonic()))
            if not ready:
                raise FunctionError(f"{self.function.name}: {what}")
            for key, _ in ready:
                if key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.streams[connection] = connection.makefile("rb")
                    self.selector.register(connection, selectors.EVENT_READ)
                elif key.fileobj == self.ended:
                    raise FunctionError(f"{self.function.name}: the process ended")
                elif request := read_request(self.streams[key.fileobj]):
                    return key.fileobj, request
                else:
                    self.selector.unregister(key.fileobj)
                    self.streams.pop(key.fileobj).close()
                    key.fileobj.close()

    def _answer(self, connection, response):
        try:
            connection.sendall(response_bytes(response))
        except OSError as error:
            raise FunctionError(f"{self.function.name}: the process ended") from error

    def freeze(self):
        os.killpg(self.process.pid, signal.SIGSTOP)
        self.frozen_at = time.monotonic_ns()

    def thaw(self):
        if self.frozen_at is None:
            return
        if self.function.stops_clock:
            (total,) = struct.unpack("q", self.clock.read_bytes())
            # In place: the process has mapped the file.
            with self.clock.open("r+b") as clock:
                clock.write(struct.pack("q", total + time.monotonic_ns() - self.frozen_at))
        self.frozen_at = None
        os.killpg(self.process.pid, signal.SIGCONT)

    def kill(self):
        if self.process.returncode is None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()
            self.selector.close()
            self.listener.close()
            for connection, stream in self.streams.items():
                stream.close()
                connection.close()
            os.close(self.ended)
