"""The server under test, its agents, and a model that makes the calls that the payload asks for."""

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/real-tools"))

import servers  # noqa: E402
from model import Model, completion  # noqa: E402

BINARY = ROOT / "target/debug/agent-webhooks"
FOLDER = ROOT / ".tools/oracles"
PYTHON = FOLDER / "venv/bin/python"
ADMIN_TOKEN = "oracles-admin-token"
# Some of these servers import for half a minute on a busy machine.
servers.SECONDS_TO_START = 180
SECONDS_TO_END = 120


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.status} {self.body.decode(errors='replace')[:400]}"


def request(method, url, body=None, headers=None, timeout=60):
    """One HTTP call. Returns errors too."""
    if body is not None and not isinstance(body, bytes):
        body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})}
    sent = urllib.request.Request(url, data=body, headers=headers or {}, method=method)
    try:
        with urllib.request.urlopen(sent, timeout=timeout) as response:
            return Response(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Response(error.code, error.headers, error.read())


class Product:
    def __init__(self, folder, environment=None, name="product"):
        self.log = folder / f"{name}.log"
        changed = {key: value for key, value in os.environ.items() if not key.startswith(("AGENT_WEBHOOKS_", "OTEL_"))}
        changed |= {"AGENT_WEBHOOKS_ADMIN_TOKEN": ADMIN_TOKEN, **(environment or {})}
        command = [BINARY, "serve", "--listen", "127.0.0.1:PORT", "--data-dir", folder / f"{name}-data", "--log-format", "json"]
        self.served = servers.Served(command, "/api/health", self.log, changed)
        self.url = self.served.url

    def close(self):
        self.served.close()

    def admin(self, method, path, body=None, headers=None):
        return request(method, self.url + path, body, {"Authorization": f"Bearer {ADMIN_TOKEN}", **(headers or {})})

    def create(self, definition):
        response = self.admin("POST", "/api/agents", definition)
        if response.status != 201:
            raise Refused(str(response))
        return response.json()

    def trigger(self, agent, payload):
        """The status of the task when it has ended."""
        accepted = request("POST", agent["webhook_url"], payload, {"Content-Type": "application/json"})
        if accepted.status != 200:
            raise Refused(str(accepted))
        deadline = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < deadline:
            status = request("GET", f"{self.url}/api/task_status?task_id={accepted.json()['task_id']}").json()
            if status["status"] in ("SUCCESS", "FAILURE"):
                return status
            time.sleep(0.05)
        raise Refused(f"the task has not ended: {status}")

    def command(self, *arguments):
        """The exit code, the standard output and the standard error of a client command."""
        environment = {**os.environ, "AGENT_WEBHOOKS_URL": self.url, "AGENT_WEBHOOKS_ADMIN_TOKEN": ADMIN_TOKEN}
        done = subprocess.run([str(part) for part in (BINARY, *arguments)], env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr


class Refused(Exception):
    """The product did not accept what the oracle asked of it."""


class Caller(Model):
    """Makes the calls `[[name, arguments], …]` of the payload, then answers with their results as a JSON list.
    Arguments that are a string are sent as they are, so that numbers keep their form."""

    def __init__(self):
        super().__init__([])
        self.tools = []

    def reply(self, asked):
        self.tools = asked.get("tools", [])
        messages = asked["messages"]
        results = [message["content"] for message in messages if message["role"] == "tool"]
        if results:
            return completion({"role": "assistant", "content": json.dumps(results)}, "stop")
        # The last one, because a system message can be the first message of the user.
        wanted = json.loads([message["content"] for message in messages if message["role"] == "user"][-1])
        calls = [{"id": f"call-{place}", "type": "function", "function": {
                  "name": name, "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments)}}
                 for place, (name, arguments) in enumerate(wanted)]
        if not calls:
            return completion({"role": "assistant", "content": "[]"}, "stop")
        return completion({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")

    def definition(self, name, **more):
        return {"name": name, "model": {"provider": "openai", "base_url": self.url, "name": "scripted"}, **more}

    def results(self, product, agent, calls):
        """For each call what the model got, and whether the product calls it ok or an error."""
        status = product.trigger(agent, calls)
        if status["status"] != "SUCCESS":
            raise Refused(json.dumps(status["error"]))
        made = status["result"]["result"]["tool_calls"]
        return list(zip(json.loads(status["result"]["result"]["answer"]), [call["status"] for call in made]))


class Recorder:
    """An HTTP API that answers every request with the same JSON, and keeps the requests."""

    def __init__(self, answer=b"{}"):
        requests = self.requests = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                requests.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body))
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_):
                """Its requests are not news."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
