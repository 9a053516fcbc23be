"""Check 6, HTTP: how API Gateway hands requests over. Asked of the probe's API, and then of the product."""

import json
import time

from verify.parallel import in_parallel
from verify.results import Result, Status, judge, not_answerable, only_on_aws
from verify.target import wait_until

CHECK = "gateway"
MIB = 1024 * 1024
JSON = ("Content-Type", "application/json")


def run(context):
    target = context.target
    if context.probe:
        yield only_on_aws(raw_paths(context.probe), target.is_emulator)
        yield only_on_aws(duplicate_headers(context.probe), target.is_emulator)
        yield only_on_aws(methods(context.probe), target.is_emulator)
        yield only_on_aws(throttled(context), target.is_emulator)
    yield product_paths(context)
    yield product_duplicate_keys(context)
    yield product_methods(context)
    if context.probe:
        yield only_on_aws(event_size(context), target.is_emulator)
    yield only_on_aws(largest_body(context), target.is_emulator)
    yield flooded_route(context)


# ------------------------------------------------------------ Paths

# Path as sent. The part after /x/ is what the gateway may decode.
PATHS = {"slash": "/x/a%2Fb", "dots": "/x/..%2Fy", "number sign": "/x/a%23b", "question mark": "/x/a%3Fb=1",
         "backslash": "/x/a%5Cb", "percent": "/x/a%252Fb", "newline": "/x/a%0Ab", "UTF-8": "/x/%C3%A9"}


def raw_paths(probe):
    seen = {}
    for name, path in PATHS.items():
        answer = probe.request("GET", path)
        seen[name] = answer.json()["rawPath"] if answer.status == 200 else f"status {answer.status}"
    decoded = sorted(name for name, path in PATHS.items() if seen[name] not in (path, f"status {seen[name][-3:]}"))
    finding = f"rawPath arrives decoded for: {', '.join(decoded)}" if decoded else "rawPath arrives as sent"
    return Result(CHECK, "Is rawPath decoded?", Status.PASS, finding,
                  [f"{name}: sent {PATHS[name]}, rawPath {path!r}" for name, path in seen.items()])


def product_paths(context):
    """An encoded slash or number sign must not lead to another route or payload.

    An encoded question mark is recorded only: API Gateway cuts the path there, so the function cannot see it.
    """
    target = context.target
    agent = context.agents.create("paths", context.model)
    session = target.send_raw("POST", "/api/agents/..%2Fsession", [JSON], b'{"admin_token":"wrong"}')
    problems = [f"POST /api/agents/..%2Fsession: {problem}" for problem in judge_disguise(session.status, session.json())]
    disguised = [("%23?order=1", None), ("%2F..%2F..%2Fhealth", None), ("%5C", None)]
    evidence = [f"/api/agents/..%2Fsession: {session.status} {session.excerpt()}"]
    cut = target.send_raw("GET", agent.path + "%3Forder=1", [], None)
    evidence.append(f"webhook URL followed by %3Forder=1: {cut.status} {cut.excerpt()}")
    for suffix, body in disguised:
        answer = target.send_raw("GET", agent.path + suffix, [], body)
        evidence.append(f"webhook URL followed by {suffix}: {answer.status} {answer.excerpt()}")
        if answer.status == 200:
            problems.append(f"the webhook URL followed by {suffix} was answered 200")
        elif answer.status >= 500:
            problems.append(f"the webhook URL followed by {suffix} was answered {answer.status}")
    return judge(CHECK, "Encoded separators in the product's paths", problems, "every disguised path is refused with 4xx", evidence)


def judge_disguise(status, body):
    """401 or 400 of the session route would mean that its throttle can be passed by."""
    code = body.get("code") if isinstance(body, dict) else None
    message = str(body.get("message", "")) if isinstance(body, dict) else ""
    if status < 400 or status >= 500:
        return [f"status {status}"]
    # Without a credential every path below /api/agents is 401 `unauthorized`. A sign-in names the token.
    if "admin token is" in message.lower() or "admin_token" in message:
        return [f"the sign-in answered it: {code} {message}"]
    return []


# ------------------------------------------------------------ Headers


def duplicate_headers(probe):
    answer = probe.request("GET", "/x", [("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    bytes_answer = probe.request("GET", "/x", [("Idempotency-Key", b"a\xff\xe9")])
    seen = answer.json()["headers"].get("idempotency-key") if answer.status == 200 else f"status {answer.status}"
    invalid = bytes_answer.json()["headers"].get("idempotency-key") if bytes_answer.status == 200 else f"status {bytes_answer.status}"
    return Result(CHECK, "How do duplicate headers arrive?", Status.PASS, f"`Idempotency-Key: a` and `Idempotency-Key: b` arrive as {seen!r}",
                  [f"a value that is not UTF-8 (61 ff e9) arrives as {invalid!r}"])


def product_duplicate_keys(context):
    """Two keys on one trigger: refused, or at least one task."""
    agent = context.agents.create("duplicate-keys", context.model)
    twice = [JSON, ("Idempotency-Key", "verify-a"), ("Idempotency-Key", "verify-b")]
    answers = [context.target.send_raw("POST", agent.path, twice, b"1") for _ in range(2)]
    alone = context.target.send_raw("POST", agent.path, [JSON, ("Idempotency-Key", "verify-a")], b"1")
    statuses = [answer.status for answer in answers]
    task_ids = [(answer.json() or {}).get("task_id") for answer in answers]
    problems = []
    if set(statuses) == {200}:
        if len(set(task_ids)) > 1:
            problems.append("the same two keys made two tasks")
        finding = "two keys are taken as one key, the same each time"
        if (alone.json() or {}).get("task_id") == task_ids[0]:
            finding = "of two keys the first one counts"
    else:
        finding = f"two keys are answered {statuses[0]}"
        if set(statuses) != {400}:
            problems.append(f"two keys were answered {statuses}")
    return judge(CHECK, "Two Idempotency-Key headers on one trigger", problems, finding, [answers[0].excerpt()])


# ------------------------------------------------------------ Methods


def methods(probe):
    seen = {}
    for method in ("GET", "HEAD", "OPTIONS", "POST"):
        answer = probe.request(method, "/only-get")
        seen[method] = f"status {answer.status}" if method == "HEAD" else (answer.json() or {}).get("routeKey", f"status {answer.status}")
    return Result(CHECK, "Which route takes HEAD and OPTIONS of a GET route?", Status.PASS,
                  f"OPTIONS goes to {seen['OPTIONS']}, POST to {seen['POST']}, HEAD has {seen['HEAD']}",
                  [f"{method} /only-get: {route}" for method, route in seen.items()])


def product_methods(context):
    target = context.target
    agent = context.agents.create("methods", context.model)
    before = target.manage("GET", "/api/tasks", params={"agent_id": agent.agent_id}).json().get("tasks", [])
    problems, evidence = [], []
    for path, expected in ((agent.path, {"HEAD": {200, 405}, "OPTIONS": {200, 204}}),
                           ("/api/task_status?task_id=x", {"HEAD": {404}, "OPTIONS": {200, 204}}),
                           ("/api/health", {"HEAD": {200}, "OPTIONS": {200, 204}}),
                           ("/console/", {"HEAD": {200}})):
        for method, statuses in expected.items():
            answer = target.send_raw(method, path, [("Origin", "https://example.com"), ("Access-Control-Request-Method", "GET")])
            name = "the webhook" if path == agent.path else path
            if target.is_emulators_own(answer):
                evidence.append(f"{method} {name}: the emulator answered itself")
                continue
            evidence.append(f"{method} {name}: {answer.status}")
            if answer.status not in statuses:
                problems.append(f"{method} {name} was answered {answer.status}, expected {' or '.join(map(str, sorted(statuses)))}")
    time.sleep(2)
    after = target.manage("GET", "/api/tasks", params={"agent_id": agent.agent_id}).json().get("tasks", [])
    if len(after) != len(before):
        problems.append("HEAD or OPTIONS triggered the agent")
    return judge(CHECK, "HEAD and OPTIONS of the product", problems, "both reach the function of their path, and neither triggers an agent", evidence)


# ------------------------------------------------------------ A throttled function


def throttled(context):
    """The probe's function, so that the product stays reachable."""
    subject, probe, aws = "Which status does a throttled function give?", context.probe, context.target.aws("lambda")
    aws.put_function_concurrency(FunctionName=probe.function, ReservedConcurrentExecutions=0)
    try:
        answer = wait_until(60, lambda: (a := probe.request("GET", "/x")).status != 200 and a)
    finally:
        aws.delete_function_concurrency(FunctionName=probe.function)
    if not answer:
        return not_answerable(CHECK, subject, "The function still answered 60 s after its concurrency was set to 0")
    wait_until(60, lambda: probe.request("GET", "/x").status == 200)
    problems = [] if answer.status in (429, 500, 502, 503, 504) else [f"callers do not retry a {answer.status}"]
    retry = answer.headers.get("retry-after")
    return judge(CHECK, subject, problems, f"{answer.status} with {answer.excerpt()!r} and {'Retry-After ' + retry if retry else 'no Retry-After'}")


# ------------------------------------------------------------ A route over its limit

FLOOD = 400
# Metrics are complete after some minutes.
METRIC_SECONDS = 300


def flooded_route(context):
    """A flood of pages gets 429, other routes answer, and API Gateway's metric counts what reached no function."""
    subject, target = "Does a flood of pages leave other routes alone?", context.target
    since = time.time()
    statuses = in_parallel(lambda _: target.send_raw("GET", "/verify-flood").status, range(FLOOD))
    others = [target.send_raw("GET", path).status for path in ("/api/health", "/api/agents")]
    refused = statuses.count(429)
    if target.is_emulator:
        return not_answerable(CHECK, subject, "The emulator does not throttle")
    context.defer(since + METRIC_SECONDS, lambda: counted(target, since, refused))
    return judge(CHECK, subject, judge_flood(refused, others), f"{refused} of {FLOOD} pages were answered 429, other routes as always")


def judge_flood(refused, others):
    problems = [] if refused else [f"none of {FLOOD} requests at once was answered 429"]
    # Without a token, management is 401.
    return problems + ([] if others == [200, 401] else [f"meanwhile health and management were answered {others}"])


def counted(target, since, refused):
    """The alarm ApiThrottles subtracts invocations from requests."""
    until = since + METRIC_SECONDS
    requests = target.metric("AWS/ApiGateway", "Count", {"ApiId": target.resources["HttpApi"]}, since - 60, until) or 0
    invocations = sum(target.metric("AWS/Lambda", "Invocations", {"FunctionName": target.resources[function]}, since - 60, until) or 0
                      for function in ("WebhookFunction", "TaskStatusFunction", "ConsoleFunction"))
    return judge_count(requests, invocations, refused)


def judge_count(requests, invocations, refused):
    problems = []
    if requests - invocations < 0.8 * refused:
        problems = [f"{refused} requests were throttled, but Count exceeds the invocations by {requests - invocations:.0f} only: "
                    "the alarm ApiThrottles does not see them"]
    return judge(CHECK, "Are requests that API Gateway throttles in its metric Count?", problems,
                 f"yes: {requests:.0f} requests, {invocations:.0f} invocations, {refused} throttled")


# ------------------------------------------------------------ Sizes


def event_size(context):
    """The largest bodies that the gateway hands to a function. The limit of 6 MB counts the whole event, escaped."""
    largest, refused = {}, {}
    for name, unit in {"plain text": b"a", "text to be escaped": b'"'}.items():
        status = {}

        def passes(size, unit=unit, status=status):
            status["last"] = context.probe.request("POST", "/x", [("Content-Type", "text/plain")], unit * size).status
            if status["last"] != 200:
                status["refused"] = status["last"]
            return status["last"] == 200

        largest[name] = largest_that(passes, MIB, 11 * MIB, context.choose(MIB // 8, 5 * MIB))
        refused[name] = status.get("refused")
    return Result(CHECK, "How large may a body be?", Status.PASS,
                  "; ".join(f"{name}: {size / MIB:.2f} MiB pass, {above(refused[name])}" for name, size in largest.items()),
                  [], {f"largest body of {name} (bytes)": size for name, size in largest.items()})


def above(status):
    return "no larger one was refused" if status is None else f"larger ones are answered {status or 'by a closed connection'}"


def largest_that(passes, low, high, step):
    """The largest size up to `step` exact for which `passes`; 0 if not even `low` does."""
    if not passes(low):
        return 0
    while high - low > step:
        middle = (low + high) // 2
        if passes(middle):
            low = middle
        else:
            high = middle
    return low


def largest_body(context):
    """A body of exactly MaxBodyBytes, in which every character needs an escape in the event."""
    limit = int(context.target.parameters.get("MaxBodyBytes", MIB))
    agent = context.agents.create("largest", context.model, enabled=True)
    # In JSON each \" is two bytes, and four in the event.
    body = json.dumps('"' * ((limit - 2) // 2)).encode()
    answer = context.target.send_raw("POST", agent.path, [JSON], body + b" " * (limit - len(body)))
    over = context.target.send_raw("POST", agent.path, [JSON], body + b" " * (limit + 1 - len(body)))
    problems = [] if answer.status == 200 else [f"a body of MaxBodyBytes ({limit}) was answered {answer.status}: {answer.excerpt()}"]
    if over.status != 413 or not isinstance(over.json(), dict) or over.json().get("code") != "payload_too_large":
        problems.append(f"one byte more was answered {over.status}: {over.excerpt()}")
    return judge(CHECK, "A body of MaxBodyBytes that doubles when escaped", problems, f"{limit} bytes are accepted, one more is 413 payload_too_large")
