"""A model server: supports OpenAI chat completions, and records every run."""

import http.server
import json
import re
import threading
import time

from plan import behaviour

MARKER = re.compile(r"soak-[\w.-]+")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # A restarted server begins all its runs at once.
    request_queue_size = 1024

    def handle_error(self, request, client_address):
        """The runner was killed in mid-request: that is what this is about."""


class Model:
    def __init__(self, seed, history, slow):
        self.seed = seed
        self.slow = slow
        self.history = history
        self.runs = {}
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), self._handler())
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def _handler(self):
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                marker, run, behaves = model.begin(body)
                time.sleep(behaves.seconds)
                model.history.note("run_answered", marker=marker, run=run, status=behaves.status, answer=behaves.answer)
                self._answer(behaves)

            def _answer(self, behaves):
                data = json.dumps(completion(behaves)).encode()
                self.send_response(behaves.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if behaves.retry_after is not None:
                    self.send_header("Retry-After", str(behaves.retry_after))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler

    def begin(self, body):
        users = [message["content"] for message in body["messages"] if message["role"] == "user"]
        marker = MARKER.search(users[-1]).group()
        with self.lock:
            run = self.runs[marker] = self.runs.get(marker, 0) + 1
        self.history.note("run", marker=marker, run=run)
        return marker, run, behaviour(self.seed, marker, run, self.slow)


def completion(behaves):
    if behaves.status != 200:
        return {"error": {"message": "not now", "type": "server_error"}}
    return {
        "id": "chatcmpl-soak",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": "soak",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": behaves.answer}}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15},
    }
