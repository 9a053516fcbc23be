"""A scripted OpenAI-compatible model server."""

import json
import threading
import time

from .wire import Response, Server

ANSWER = "All is well."


class Model:
    """Answers each request at once, unless the model's name asks for something else: "waits", "quotes-1000"."""

    def __init__(self):
        self.requests = []
        # The API keys that are accepted; None accepts all.
        self.accepted_keys = None
        # Requests for the model "waits" are answered when this is set.
        self.released = threading.Event()
        self.waiting = 0
        self.server = Server(self.answer)

    def answer(self, request):
        body = json.loads(request.body)
        key = (request.header("authorization") or "").removeprefix("Bearer ")
        self.requests.append({"key": key, "text": request.body.decode(), "model": body["model"]})
        if self.accepted_keys is not None and key not in self.accepted_keys:
            # https://platform.openai.com/docs/guides/error-codes/api-errors
            error = {"message": "Incorrect API key provided.", "type": "invalid_request_error", "code": "invalid_api_key"}
            return Response(401, json.dumps({"error": error}).encode())
        if body["model"] == "waits":
            self.waiting += 1
            self.released.wait(60)
            self.waiting -= 1
        kind, _, count = body["model"].partition("-")
        message = {"role": "assistant", "content": '"' * int(count) if kind == "quotes" else ANSWER}
        return Response(200, json.dumps({
            "id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15},
        }).encode())

    def requests_about(self, marker):
        return [request for request in self.requests if marker in request["text"]]
