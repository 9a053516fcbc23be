"""The scripted model server: a Lambda function on AWS, a server of this process for an emulator.

Both run the code in model.yaml. A payload scripts the reply with its field `verify`:

| field | effect |
| --- | --- |
| `marker` | names the call in the model's log |
| `sleep` | seconds before the reply |
| `until` with `wait` | replies at this Unix time |
| `status` | replies with this error; with `until` only before that time |
| `answer`, `fill` | the answer (default: the user message), and how many characters to append |
| `key` | replies 401 unless the API key is this one |
"""

import http.server
import json
import secrets
import threading

from verify.helper_stack import HelperStack, inline_code
from verify.target import Unusable, wait_until


class LambdaModel:
    """The helper stack model.yaml."""

    def __init__(self, target, name):
        self.target = target
        # The URL is public. Its secret path keeps other callers out.
        self.path = secrets.token_hex(16)
        self.helper = HelperStack(target, name, "model.yaml", {"Path": self.path})

    def start(self):
        outputs = self.helper.create().outputs
        self.base_url = f"{outputs['Url'].rstrip('/')}/{self.path}/v1"
        # A new function URL can refuse requests for some seconds.
        if not wait_until(90, self._answers, pause=2):
            raise Unusable("The model's function URL does not answer. An organisation's policy may forbid public function URLs.")

    def _answers(self):
        question = {"model": "echo", "messages": [{"role": "user", "content": "1"}]}
        return self.target.http.post(f"{self.base_url}/chat/completions", json=question, timeout=40).status_code == 200

    def calls(self, since):
        """Log lines of the model's calls since a Unix time. They arrive some seconds late."""
        return self.target.log_lines(self.helper.outputs["LogGroup"], since, '"verify_call"')

    def stop(self):
        self.helper.delete()


class LocalModel:
    """The same code behind a loopback port."""

    def __init__(self):
        self.path = "verify"
        self._lines = []
        self._code = {"print": self._lines.append}
        exec(compile(inline_code("model.yaml"), "model.yaml", "exec"), self._code)
        self._code["PATH"] = self.path
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                model.serve(self)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/{self.path}/v1"

    def start(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def serve(self, request):
        body = request.rfile.read(int(request.headers["Content-Length"])).decode()
        headers = {name.lower(): value for name, value in request.headers.items()}
        reply = self._code["handler"]({"rawPath": request.path, "headers": headers, "body": body}, None)
        data = reply["body"].encode()
        try:
            request.send_response(reply["statusCode"])
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
        except OSError:
            # The worker was stopped.
            request.close_connection = True

    def calls(self, since):
        return [line for line in map(json.loads, list(self._lines)) if line["at"] >= since]

    def stop(self):
        self._server.shutdown()


def wait_for_runs(model, since, markers, patience):
    """How often the model was called for each marker. Waits for the log until every marker has a call."""
    runs = {}

    def look():
        runs.clear()
        runs.update(runs_of(model.calls(since)))
        return set(markers) <= runs.keys()

    wait_until(patience, look, pause=3)
    return runs


def runs_of(calls):
    """How often the model was called for each marker."""
    counts = {}
    for call in calls:
        if call["phase"] == "began":
            counts[call["verify_call"]] = counts.get(call["verify_call"], 0) + 1
    return counts


def most_at_once(calls, markers):
    """The largest number of calls for these markers that were in progress at one time."""
    changes = [(call["at"], 1 if call["phase"] == "began" else -1) for call in calls if call["verify_call"] in markers]
    most = running = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most
