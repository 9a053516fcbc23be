"""A model's server that follows a script: what it wants called, turn by turn, and
an answer made of nothing but the results of its tools."""

import http.server
import json
import threading


class Model:
    """`turns`: for each turn but the last the calls it makes, as (tool, arguments),
    or a function from the results so far to them; for the last, from that to the answer."""

    def __init__(self, turns):
        self.turns, self.offered = turns, None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def reply(self, asked):
        self.offered = [tool["function"]["name"] for tool in asked.get("tools", [])]
        results = [message["content"] for message in asked["messages"] if message["role"] == "tool"]
        number = sum(message["role"] == "assistant" for message in asked["messages"])
        turn = self.turns[number]
        said = turn(results) if callable(turn) else turn
        if isinstance(said, str):
            return completion({"role": "assistant", "content": said}, "stop")
        calls = [{"id": f"call-{number}-{place}", "type": "function",
                  "function": {"name": name, "arguments": json.dumps(arguments)}}
                 for place, (name, arguments) in enumerate(said)]
        return completion({"role": "assistant", "content": None, "tool_calls": calls}, "tool_calls")


def completion(message, finish_reason):
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "scripted",
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}


def handler(model):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            data = json.dumps(model.reply(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Its requests are not news."""

    return Handler
