"""A model server with the OpenAI chat completions API and the responses that a test scripts."""

import http.server
import itertools
import json
import threading
import time
from dataclasses import dataclass, field

LONGEST_HOLD_SECONDS = 60


@dataclass
class ModelTurn:
    """One response of the model."""

    text: str | None = None
    calls: list = field(default_factory=list)
    status: int = 200
    tokens: tuple = (11, 4)
    held: threading.Event | None = None


def says(text, tokens=(11, 4)):
    """Answers. `tokens` are the input and output tokens."""
    return ModelTurn(text=text, tokens=tokens)


def calls(*functions, text=None):
    """Calls tools, each with its name and arguments: calls(("search_sources", {"query": "x"}))."""
    return ModelTurn(text=text, calls=list(functions))


def refuses(status, message="not today"):
    """Returns an error: 400 is permanent, 429 and 5xx are retried."""
    return ModelTurn(status=status, text=message)


def waits(turn):
    """Delays the turn until the test calls `.held.set()` on it."""
    turn.held = threading.Event()
    return turn


class Model:
    """Every script has its own model name, so tests do not interfere."""

    def __init__(self):
        self.requests = []
        self._scripts = {}
        self._turns = []
        self._names = itertools.count(1)
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.base_url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def playing(self, *turns, **settings):
        """The `model` of an agent. It repeats these turns in order."""
        name = f"scripted-{next(self._names)}"
        self._scripts[name] = itertools.cycle(turns)
        self._turns += turns
        return {"provider": "openai", "base_url": self.base_url, "name": name, **settings}

    def close(self):
        for turn in self._turns:
            if turn.held:
                turn.held.set()
        self._server.shutdown()
        self._server.server_close()

    def _next_turn(self, body):
        with self._lock:
            self.requests.append(body)
            return next(self._scripts[body["model"]])

    def _handler(self):
        model = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                turn = model._next_turn(body)
                if turn.held:
                    turn.held.wait(LONGEST_HOLD_SECONDS)
                self._respond(turn, body)

            def _respond(self, turn, body):
                reply = completion(turn, body["model"]) if turn.status == 200 else {"error": {"message": turn.text}}
                data = json.dumps(reply).encode()
                self.send_response(turn.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        return Handler


def completion(turn, name):
    message = {"role": "assistant", "content": turn.text}
    if turn.calls:
        message["tool_calls"] = [
            {"id": f"call-{number}", "type": "function", "function": {"name": function, "arguments": json.dumps(arguments)}}
            for number, (function, arguments) in enumerate(turn.calls)
        ]
    input_tokens, output_tokens = turn.tokens
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": name,
        "choices": [{"index": 0, "finish_reason": "tool_calls" if turn.calls else "stop", "message": message}],
        "usage": {"prompt_tokens": input_tokens, "completion_tokens": output_tokens, "total_tokens": input_tokens + output_tokens},
    }
