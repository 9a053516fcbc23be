"""The product: the local server, or a deployed stack; and a client of its API."""

import os
import subprocess
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target" / "debug" / "agent-webhooks"
READY = "listening on "
PATIENCE_SECONDS = 30


class Product:
    """A server process with its own data folder. `close` ends it."""

    def __init__(self, folder, **environment):
        if not BINARY.exists():
            raise SystemExit(f"{BINARY} is missing; build it with: cargo build --workspace --bin=agent-webhooks")
        self.data = folder / "data"
        self.log = folder / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", self.data, "--log-format", "json"],
                env={"PATH": os.environ["PATH"], **environment}, stdout=subprocess.PIPE, stderr=log, text=True)
        self.url = self.api_url = self._url()
        self.admin_token = (self.data / "admin-token").read_text().strip()

    def _url(self):
        for line in self.process.stdout:
            if line.startswith(READY):
                return line.removeprefix(READY).strip()
        raise SystemExit(f"the server did not start:\n{self.log.read_text()}")

    def close(self):
        self.process.terminate()
        self.process.wait(timeout=PATIENCE_SECONDS)


class Deployed:
    """A deployed stack: its URL for browsers, the URL of its API, and its admin token."""

    def __init__(self, url, api_url, admin_token):
        self.url = url
        self.api_url = api_url
        self.admin_token = admin_token

    def close(self):
        """Does nothing: the caller that deployed the stack deletes it."""


class Api:
    """A client of the API with the admin token."""

    def __init__(self, url, admin_token):
        self.url = url
        self.admin_token = admin_token
        self.session = requests.Session()

    def call(self, method, path, **options):
        """Calls without a credential, and returns every response."""
        return self.session.request(method, self.url + path, timeout=PATIENCE_SECONDS, **options)

    def manage(self, method, path, **options):
        """Calls the management API, and returns the JSON of its response. Fails if it is an error."""
        headers = {"Authorization": f"Bearer {self.admin_token}", **options.pop("headers", {})}
        answer = self.call(method, path, headers=headers, **options)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def create(self, **agent):
        """Creates an agent, and returns it with its `agent_id` and `webhook_url`."""
        return self.manage("POST", "/api/agents", json={"name": "agent", **agent})

    def add_source(self, agent, title, text):
        path = f"/api/agents/{agent['agent_id']}/sources"
        return self.manage("POST", path, params={"title": title}, data=text.encode(),
                           headers={"Content-Type": "text/plain"})

    def trigger(self, agent, payload, key=None):
        """Triggers the agent, and returns the task id."""
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.session.post(agent["webhook_url"], json=payload, headers=headers, timeout=PATIENCE_SECONDS)
        assert answer.ok, answer.text
        return answer.json()["task_id"]

    def status(self, task_id):
        return self.call("GET", "/api/task_status", params={"task_id": task_id})

    def wait_for_end(self, task_id, patience=PATIENCE_SECONDS):
        """Polls at the interval of `Retry-After`, and returns the final status."""
        deadline = time.monotonic() + patience
        while True:
            answer = self.status(task_id)
            assert answer.ok, answer.text
            if answer.json()["status"] in ("SUCCESS", "FAILURE"):
                return answer.json()
            assert time.monotonic() < deadline, f"task {task_id} did not end within {patience} s: {answer.text}"
            time.sleep(float(answer.headers["Retry-After"]))

    def run(self, agent, payload, key=None):
        """Triggers the agent, waits for the end of the task, and returns the final status."""
        return self.wait_for_end(self.trigger(agent, payload, key))
