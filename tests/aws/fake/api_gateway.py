"""An API Gateway HTTP API in front of the functions: routes, events of payload format 2.0, limits.

Sources:
- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (the event and the response)
- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html (which route matches)
- https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html (10,240 bytes, 10 MB, 30 s)
- https://github.com/hotsock/voker/blob/main/vokerhttp/testdata/ingress-paths.json (captured on AWS: `rawPath`)
- https://github.com/hotsock/voker/blob/main/vokerhttp/testdata/apigwv2-request.json (captured on AWS: a whole event)
- https://github.com/ministackorg/ministack/pull/766 (measured on AWS: which bodies are base64)
- https://github.com/aws/aws-lambda-dotnet/tree/master/Tools/LambdaTestTool-v2 (AWS's own emulator, compared with AWS by its
  tests: 413 and 500)
"""

import base64
import json
import re
import threading
import time
import urllib.parse
import uuid

from .lambda_service import EventTooLarge, FunctionError, Throttled
from .template import ACCOUNT
from .wire import Response, Server

MOST_HEAD_BYTES = 10_240
MOST_BODY_BYTES = 10 * 1024 * 1024
API_ID = "abcdefghij"
DOMAIN = f"{API_ID}.execute-api.us-east-1.amazonaws.com"
TEXT_TYPES = ("application/json", "application/xml", "application/javascript")
BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Refused(Exception):
    """API Gateway answers itself. Its messages are not the product's."""

    def __init__(self, status, message):
        super().__init__(status, message)
        self.response = Response(status, json.dumps({"message": message}).encode())


def decoded_path(path):
    """`rawPath` as captured: decoded, cut at a `?` that appears, and decoded again.

    A `%` that is left without two digits after it is refused: so is every name with `%25`
    in it. A second source has `%25` as the one escape that stays (MiniStack 1.5.33,
    `decode_http_api_path`); tests run with both rules.
    """
    once = urllib.parse.unquote_to_bytes(refused_if_broken(path)).split(b"?")[0]
    return urllib.parse.unquote_to_bytes(refused_if_broken(once)).decode(errors="replace")


def path_that_keeps_percent_signs(path):
    parts = refused_if_broken(path).split(b"%25")
    return "%25".join(urllib.parse.unquote_to_bytes(part).decode(errors="replace") for part in parts)


def refused_if_broken(path):
    path = path if isinstance(path, bytes) else path.encode("latin-1")
    if BROKEN_ESCAPE.search(path):
        raise Refused(400, "Bad Request")
    return path


class Route:
    def __init__(self, key, function, limit):
        self.key, self.function = key, function
        self.method, _, self.path = key.partition(" ")
        pattern = "/".join(self._pattern(part) for part in self.path.split("/"))
        self.pattern = re.compile(pattern, re.DOTALL)
        self.is_greedy = "+}" in self.path
        self.bucket = Bucket(**limit)

    def _pattern(self, part):
        if part.startswith("{"):
            return ".+" if part.endswith("+}") else "[^/]+"
        return re.escape(part)


class Bucket:
    """The token bucket of a route's throttling."""

    def __init__(self, rate, burst):
        self.rate, self.burst, self.lock = rate, burst, threading.Lock()
        self.refill()

    def refill(self):
        self.tokens, self.filled_at = self.burst, time.monotonic()

    def take(self):
        with self.lock:
            now = time.monotonic()
            self.tokens = min(self.burst, self.tokens + (now - self.filled_at) * self.rate)
            self.filled_at = now
            if self.tokens < 1:
                return False
            self.tokens -= 1
            return True


class ApiGateway:
    def __init__(self, lambda_service):
        self.lambda_service = lambda_service
        self.routes = []
        self.decode_path = decoded_path
        # Its status for a throttled function is not documented for HTTP APIs.
        self.throttled_status = 503
        self.timeout = 30
        self.events = []
        self.server = Server(self.answer)

    def route(self, method, path):
        """The most specific match: a full match, then a path variable, then a greedy one, then $default.

        An explicit method goes before ANY, and matches nothing else.
        """
        matching = [route for route in self.routes if route.key != "$default" and route.pattern.fullmatch(path)
                    and route.method in (method, "ANY")]
        best = min(matching, key=lambda route: (route.is_greedy, "{" in route.path, route.method == "ANY"), default=None)
        return best or next(route for route in self.routes if route.key == "$default")

    def answer(self, request):
        try:
            return self._answer(request)
        except Refused as refusal:
            return refusal.response

    def _answer(self, request):
        if request.head_bytes > MOST_HEAD_BYTES:
            raise Refused(431, "Request Header Fields Too Large")
        if len(request.body) > MOST_BODY_BYTES:
            raise Refused(413, "Request Entity Too Large")
        target, _, query = request.target.partition("?")
        path = self.decode_path(target)
        route = self.route(request.method, path)
        if not route.bucket.take():
            raise Refused(429, "Too Many Requests")
        event = self.event(request, route, path, query)
        return to_response(self._invoke(route.function, event))

    def _invoke(self, function, event):
        """The function's answer, within 30 seconds; the function goes on without its caller."""
        outcome = []

        def invoke():
            try:
                trace_id = event["headers"]["x-amzn-trace-id"]
                outcome.append(self.lambda_service.invoke(function, json.dumps(event, ensure_ascii=False).encode(), trace_id))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=invoke, daemon=True)
        thread.start()
        thread.join(self.timeout)
        match outcome:
            case []:
                raise Refused(503, "Service Unavailable")
            case [EventTooLarge()]:
                raise Refused(413, "Request Entity Too Large")
            case [Throttled()]:
                raise Refused(self.throttled_status, "Service Unavailable")
            case [FunctionError()]:
                raise Refused(500, "Internal Server Error")
            case [Exception() as error]:
                raise error
            case [response]:
                return response

    def event(self, request, route, path, query):
        headers, cookies = {}, []
        for name, value in request.headers:
            name, value = name.lower(), value.encode("latin-1").decode(errors="replace")
            if name == "cookie":
                cookies += [cookie.strip() for cookie in value.split(";")]
            elif name not in ("connection", "transfer-encoding"):
                headers[name] = f"{headers[name]},{value}" if name in headers else value
        headers.setdefault("content-length", str(len(request.body)))
        headers |= {"x-amzn-trace-id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}", "x-forwarded-for": "203.0.113.7",
                    "x-forwarded-port": "443", "x-forwarded-proto": "https"}
        event = {
            "version": "2.0", "routeKey": route.key, "rawPath": path, "rawQueryString": query, "headers": headers,
            "requestContext": {
                "accountId": ACCOUNT, "apiId": API_ID, "domainName": DOMAIN, "domainPrefix": API_ID,
                "http": {"method": request.method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7",
                         "userAgent": headers.get("user-agent", "")},
                "requestId": "ATfSmjLgPHcESJw=", "routeKey": route.key, "stage": "$default",
                "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()), "timeEpoch": int(time.time() * 1000),
            },
            "isBase64Encoded": False,
        }
        if cookies:
            event["cookies"] = cookies
        if query:
            pairs = {}
            for name, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
                pairs.setdefault(name, []).append(value)
            event["queryStringParameters"] = {name: ",".join(values) for name, values in pairs.items()}
        if request.body:
            content_type = headers.get("content-type", "").split(";")[0].strip().lower()
            is_text = content_type.startswith("text/") or content_type in TEXT_TYPES
            event["body"] = request.body.decode(errors="replace") if is_text else base64.b64encode(request.body).decode()
            event["isBase64Encoded"] = not is_text
        self.events.append((route.function, route.key, path))
        return event


def to_response(payload):
    """What a caller gets for what a function returned, in payload format 2.0."""
    answer = json.loads(payload)
    headers = [(name.lower(), str(value)) for name, value in (answer.get("headers") or {}).items()]
    headers += [("set-cookie", cookie) for cookie in answer.get("cookies") or []]
    body = answer.get("body") or ""
    body = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    return Response(answer["statusCode"], body, [header for header in headers if header[0] != "content-length"])
