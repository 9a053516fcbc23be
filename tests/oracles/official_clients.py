"""The official clients of Anthropic, OpenAI and Amazon Bedrock as the measure of our requests, and their types as the source
of the replies that we must understand."""

import http.server
import json
import os
import re
import subprocess
import threading

from product import HERE, PYTHON, Product

# As in programs/official_requests.py.
KEY, ACCESS_KEY, SECRET_KEY, TOKEN, REGION = "oracle-api-key", "AKIAORACLE", "oracle-secret-access-key", "oracle-session-token", "eu-central-1"
LIMIT = 777
ORDER_RESULT, REFUND_RESULT = '{"state": "sent"}', '{"error": "closed"}'
LINES = {"type": "array", "description": "At least one line.", "minItems": 1, "items": {
    "type": "object", "properties": {"sku": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]+$"}, "pairs": {"type": "integer", "minimum": 1}},
    "required": ["sku", "pairs"], "additionalProperties": False}}
OPERATIONS = [
    {"name": "get_order", "description": "An order by its number.", "path": "/shop/orders/{id}", "parameters": {
        "type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}, "with": {
            "type": "object", "properties": {"items": {"type": "boolean"}, "fields": {"type": "array", "items": {"enum": ["state", "sku"]}}}}}}},
    {"name": "refund", "description": "Pays back.", "method": "POST", "path": "/shop/refunds", "parameters": {
        "type": "object", "required": ["order"], "properties": {"reason": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "order": {
            "type": "object", "properties": {"id": {"type": "integer"}, "lines": LINES}, "required": ["id"]}}}},
    {"name": "list_shops", "description": "All shops.", "path": "/shop/shops", "parameters": {"type": "object", "properties": {}}},
]
SCHEMA = {"type": "object", "required": ["state"], "additionalProperties": False, "properties": {
    "state": {"type": "string", "enum": ["sent", "open"]}, "items": {"type": "array", "items": {
        "type": "object", "properties": {"sku": {"type": "string"}, "pairs": {"type": "integer"}}, "required": ["sku", "pairs"],
        "additionalProperties": False}}}}
PAYLOAD = {"shop": "Wien", "order": 7, "note": "Grüße \"x\"", "rate": 1.5}
PROMPT, SYSTEM = "You handle returns for {{ payload.shop }}.", "You handle returns for Wien."
PROFILE = f"arn:aws:bedrock:{REGION}:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
# For each server: its protocol, the model and the path of its base URL.
SERVERS = {
    "Anthropic": ("anthropic", "claude-opus-5", ""),
    "OpenAI": ("openai", "gpt-4o", "/v1"),
    "Gemini": ("openai", "gemini-2.5-flash", "/v1beta/openai/"),
    "Azure": ("openai", "gpt-4o", "/openai/deployments/gpt-4o?api-version=2024-10-21"),
    "Bedrock": ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", ""),
    "Bedrock, an inference profile": ("bedrock", PROFILE, ""),
}
HEADERS = {
    "anthropic": ["content-type", "anthropic-version", "x-api-key"],
    "openai": ["content-type", "authorization", "api-key"],
    "bedrock": ["content-type", "authorization", "x-amz-date", "x-amz-security-token"],
}
# The only differences that are right, by protocol: the path, what we send, what the library sends, and the reason.
ABSENT = "absent"
ALLOWED = {
    "anthropic": [
        ("messages[].content[].is_error", False, ABSENT, "false is the default"),
        ("messages[].content[].caller", ABSENT, {"type": "direct"}, "direct is the default"),
    ],
    "openai": [
        ("stream", False, ABSENT, "false is the default"),
        ("messages[].refusal", ABSENT, None, "null is the default"),
        ("messages[].annotations", ABSENT, [], "the request has no such field"),
        ("messages[].content", None, ABSENT, "null is the default beside calls"),
        ("messages[].function_call", ABSENT, None, "null is the default"),
        ("messages[].audio", ABSENT, None, "null is the default"),
        ("messages[].tool_calls", ABSENT, None, "null is the default"),
        ("messages[].annotations", ABSENT, None, "the request has no such field"),
    ],
    "bedrock": [],
}


def run(report, product, folder):
    replies = json.loads(subprocess.run([PYTHON, HERE / "programs/official_replies.py"], env=environment(), stdout=subprocess.PIPE, check=True).stdout)
    fake, library = Fake(), Library()
    product = Product(folder, {"AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
                               "AWS_SESSION_TOKEN": TOKEN, "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": fake.url}, "official")
    try:
        for server, (protocol, *_) in SERVERS.items():
            for title, bodies in replies[protocol]["talks"].items():
                conversation(report, product, fake, library, server, title, bodies)
        for protocol, name in {"anthropic": "Anthropic", "openai": "OpenAI", "bedrock": "Bedrock"}.items():
            for case in replies[protocol]["cases"]:
                with report.case(f"{name}, {case['title']}"):
                    reply(report, product, fake, name, case, replies[protocol]["last"])
    finally:
        product.close()
        library.close()
        fake.close()


class Library:
    """The official clients, in a process of their own."""

    def __init__(self):
        self.process = subprocess.Popen([PYTHON, HERE / "programs/official_requests.py"], env=environment(), text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, *asked):
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def environment():
    return {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "OPENAI_", "ANTHROPIC_"))}


def definition(fake, server, **more):
    protocol, name, path = SERVERS[server]
    model = {"provider": protocol, "name": name}
    if protocol != "bedrock":
        model |= {"base_url": fake.url + path, "api_key": KEY}
    return {"name": server, "model": model, "prompt": PROMPT, "tools": [
        {"type": "http", "name": "shop", "base_url": fake.url, "operations": OPERATIONS}], **more}


def conversation(report, product, fake, library, server, title, bodies):
    """By the product and by the library, with the same replies, and both recorded."""
    protocol, model, path = SERVERS[server]
    schema = {} if protocol == "bedrock" else {"output_schema": SCHEMA}
    agent = product.create(definition(fake, server, limits={"max_output_tokens": LIMIT}, **schema))
    fake.answer(bodies)
    status = product.trigger(agent, PAYLOAD)
    ours, title = fake.requests, f"{server}{title}"
    with report.case(f"{title}: the task"):
        calls = status["result"]["result"]["tool_calls"]
        results = [[call["result"], call["status"] != "ok"] for call in calls]
        report.expect(json.loads(status["result"]["result"]["answer"])["state"] == "sent", status)
        report.expect(results[0] == [ORDER_RESULT, False] and REFUND_RESULT in results[1][0] and results[1][1], results)
    # Arguments that an operation does not name are refused, and the schema that the model gets says so.
    tools = [{"name": tool["name"], "description": tool["description"], "parameters": {**tool["parameters"], "additionalProperties": False}}
             for tool in OPERATIONS]
    fake.answer(bodies)
    with report.case(f"{title}: the library has as many requests"):
        errors = library.ask("send", protocol, {
            "url": fake.url + path, "key": KEY, "model": model, "system": SYSTEM, "payload": json.dumps(PAYLOAD), "limit": LIMIT,
            "schema": SCHEMA, "tools": tools, "following": [{"results": results}, *[{"text": text} for text in corrections(ours)], {}]})
        report.expect(not errors and len(ours) == len(fake.requests), f"{errors}; we send {len(ours)}, the library {len(fake.requests)}")
    for turn, (our, their) in enumerate(zip(ours, fake.requests), 1):
        with report.case(f"{title}: request {turn}, by the library's types"):
            errors = library.ask("check", protocol, our)
            report.expect(not errors, errors)
        with report.case(f"{title}: request {turn}, path and headers"):
            for found in differences(envelope(protocol, our), envelope(protocol, their)):
                report.fail(shown(found))
        with report.case(f"{title}: request {turn}, body"):
            for found in differences(our["body"], their["body"]):
                report.expect(any(found == allowed[:3] for allowed in ALLOWED[protocol]), shown(found))


def corrections(ours):
    """What the product said about an answer that does not match the schema. The text is our own."""
    last = ours[-1]["body"]["messages"] if ours else []
    first = next((place for place, message in enumerate(last) if message["role"] == "assistant"), len(last))
    return [message["content"] for message in last[first:] if message["role"] == "user" and isinstance(message["content"], str)]


def envelope(protocol, request):
    headers = {name: request["headers"].get(name, ABSENT) for name in HEADERS[protocol]}
    headers["content-type"] = headers["content-type"].split(";")[0]
    if protocol == "anthropic" and headers["x-api-key"] == ABSENT:
        # The API accepts the key in both headers.
        headers["x-api-key"] = request["headers"]["authorization"].removeprefix("Bearer ")
    if protocol == "bedrock":
        headers["x-amz-date"] = re.sub(r"\d", "0", headers["x-amz-date"])
        # Without the date, the signature and the signed headers, which may be more or fewer.
        headers["authorization"] = re.sub(r"/\d{8}/|, ?Signature=.*|, ?SignedHeaders=[^,]*", "", headers["authorization"])
        signed = re.search("SignedHeaders=([^,]*)", request["headers"]["authorization"])[1].split(";")
        headers["signed"] = {name: name in signed for name in ("host", "x-amz-date", "x-amz-security-token")}
    return {"path": request["path"], "headers": headers}


def differences(ours, theirs, path=""):
    """Pairs of values that differ in their type, value or fields, each with its path."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in ours | theirs:
            inner = f"{path}.{name}" if path else name
            yield from differences(ours.get(name, ABSENT), theirs.get(name, ABSENT), inner)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for our, their in zip(ours, theirs):
            yield from differences(our, their, f"{path}[]")
    elif ours != theirs or type(ours) is not type(theirs):
        yield path, ours, theirs


def shown(found):
    path, ours, theirs = found
    return f"{path}: we send {json.dumps(ours, ensure_ascii=False)}, the library {json.dumps(theirs, ensure_ascii=False)}"


def reply(report, product, fake, server, case, last):
    """One reply, and what the task has then."""
    expected = case["expected"]
    bodies = [case, last] if expected.get("calls") or expected.get("retried") else [case]
    # Too short for the pause of 100 seconds that a transient error asks for, so the task ends with it.
    agent = product.create(definition(fake, server, limits={"timeout_seconds": 20}))
    fake.answer(bodies)
    status = product.trigger(agent, PAYLOAD)
    said = json.dumps(status, ensure_ascii=False)
    if "error" in expected:
        report.expect(status["status"] == "FAILURE" and differs(expected["error"], status["error"]) is None, said)
        report.expect("secret words" not in said, f"the task quotes the provider's text: {said}")
        return
    if status["status"] != "SUCCESS":
        return report.fail(said)
    result, usage = status["result"]["result"], status["usage"]
    report.expect(result["answer"] == expected.get("answer", "done"), said)
    report.expect(status["attempt"] == (2 if expected.get("retried") else 1), said)
    report.expect("thought" not in expected or result["thought"] == expected["thought"], said)
    report.expect("usage" not in expected or [usage["input_tokens"], usage["output_tokens"]] == expected["usage"], said)
    made = [[call["tool_name"], call["arguments"]] for call in result["tool_calls"]]
    report.expect("calls" not in expected or made == expected["calls"], said)


def differs(expected, found):
    for name, value in expected.items():
        other = found.get(name) if isinstance(found, dict) else None
        inner = differs(value, other) if isinstance(value, dict) else (None if value == other else name)
        if inner:
            return inner
    return None


class Fake:
    """A server of all protocols that answers with given replies, one after the other, and an API for the tools."""

    def __init__(self):
        self.requests, self.replies = [], []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                if self.path.startswith("/shop/"):
                    is_refund = self.path == "/shop/refunds"
                    return self.send(409 if is_refund else 200, {}, (REFUND_RESULT if is_refund else ORDER_RESULT).encode())
                fake.requests.append({"path": self.path, "url": fake.url + self.path, "raw": raw, "body": json.loads(raw),
                                      "headers": {name.lower(): value for name, value in self.headers.items()}})
                status, headers, body = fake.replies.pop(0) if fake.replies else (400, {}, {"error": "no more replies"})
                self.send(status, headers, json.dumps(body).encode())

            do_GET = do_POST

            def send(self, status, headers, data):
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                """Its requests are not news."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, replies):
        self.requests = []
        self.replies = [(200, {}, each) if "expected" not in each else (each["status"], each.get("headers", {}), each["body"]) for each in replies]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
