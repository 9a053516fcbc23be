"""The two processes of a run: the model's server and the product."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ADMIN_TOKEN = "of-this-run-alone"
START_SECONDS = 60


@contextlib.contextmanager
def server(llama, model, alias, folder):
    """llama-server on a free port; its URL once it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [llama, "-m", model, "--alias", alias, "--host", "127.0.0.1", "--port", str(port), "-c", "8192",
               "-t", str(os.cpu_count()), "-np", "1", "--temp", "0", "--seed", "1", "--jinja",
               "--chat-template-file", HERE / "chat_template.jinja"]
    with started(command, folder / "llama-server.log", LD_LIBRARY_PATH=str(llama.parent)) as process:
        url = f"http://127.0.0.1:{port}"
        wait_until(process, lambda: answers(f"{url}/health"), "llama-server does not answer")
        yield f"{url}/v1"


class Product:
    """`agent-webhooks serve` on a folder of its own, and its callers."""

    def __init__(self, binary, folder):
        self.command = [binary, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "data", "--log-format", "json"]
        self.output, self.log = folder / "product.out", folder / "product.log"
        self.running = contextlib.ExitStack()

    def __enter__(self):
        process = self.running.enter_context(started(
            self.command, self.log, self.output, AGENT_WEBHOOKS_ADMIN_TOKEN=ADMIN_TOKEN))
        wait_until(process, lambda: re.search(r"listening on (\S+)", self.output.read_text()), "the product does not start")
        self.url = re.search(r"listening on (\S+)", self.output.read_text())[1]
        return self

    def __exit__(self, *error):
        self.running.__exit__(*error)

    def manage(self, method, path, body=None):
        return call(method, f"{self.url}{path}", body, {"Authorization": f"Bearer {ADMIN_TOKEN}"})

    def post(self, webhook_url, payload):
        return call("POST", webhook_url, payload, {})

    def get(self, path):
        return call("GET", f"{self.url}{path}", None, {})


@contextlib.contextmanager
def started(command, log, output=None, **environment):
    """A process that ends with the block."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_WEBHOOKS_", "OTEL_"))}
    with log.open("wb") as errors, (output or Path(os.devnull)).open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=errors, env={**ours, **environment})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(process, probe, otherwise):
    deadline = time.monotonic() + START_SECONDS
    while not probe():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(otherwise)
        time.sleep(0.1)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def call(method, url, body, headers):
    """One HTTP call; its answer as JSON."""
    data = None if body is None else json.dumps(body).encode()
    headers = {**headers, "Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as refusal:
        sys.exit(f"{method} {url} was answered {refusal.code}: {refusal.read().decode()}")
