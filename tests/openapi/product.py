"""The product, started on a folder of its own, and what a caller does with it."""

import json
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BINARY = ROOT / "target/debug/agent-webhooks"
ADMIN_TOKEN = "openapi-admin-token"
PATIENCE = 30


class Product:
    def __init__(self, folder):
        self.log_file = folder / "log"
        command = [BINARY, "serve", "--listen", "127.0.0.1:0", "--data-dir", folder / "data", "--log-format", "json"]
        environment = {"AGENT_WEBHOOKS_ADMIN_TOKEN": ADMIN_TOKEN}
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        line = next(line for line in self.process.stdout if line.startswith("listening on "))
        self.url = line.split()[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)

    def log(self):
        return self.log_file.read_text().splitlines()

    def ask(self, method, path, body=None, content_type="application/json", **headers):
        """The status, the headers and the JSON of an answer."""
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}", "Content-Type": content_type} | headers
        url = path if path.startswith("http") else self.url + path
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, answer.headers, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as refusal:
            return refusal.code, refusal.headers, json.loads(refusal.read() or "null")

    def furnished(self):
        """An agent with a document and an ended task, and a secret and a session; what they are called."""
        agent = self.ask("POST", "/api/agents", {"name": "order-triage", "sources": [{"title": "Returns", "text": "Free for 30 days."}]})[2]
        agent_id = agent["agent_id"]
        document = self.ask("POST", f"/api/agents/{agent_id}/sources?source=returns.txt", "Returns are free.", "text/plain")[2]
        self.ask("PUT", "/api/secrets/team/openai", {"value": "a-key"})
        task_id = self.ask("POST", agent["webhook_url"], {"question": "returns"})[2]["task_id"]
        self.ended(task_id)
        cookie = self.ask("POST", "/api/session", {"admin_token": ADMIN_TOKEN})[1]["Set-Cookie"].split(";")[0]
        return {"agent": agent_id, "token": agent["webhook_url"].rsplit("/", 1)[1], "document": document["id"],
                "secret": "team/openai", "task": task_id, "cookie": cookie}

    def ended(self, task_id):
        """How a task stands, once it has ended."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            _, headers, status = self.ask("GET", f"/api/task_status?task_id={task_id}")
            if status["status"] in ("SUCCESS", "FAILURE"):
                return status
            # As the answer asks, at a tenth of its pace, because no other caller waits.
            time.sleep(int(headers["Retry-After"]) / 10)
        raise TimeoutError(f"task {task_id} did not end in {PATIENCE} s")
