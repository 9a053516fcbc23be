"""Check 1: the API keeps its contract. Recorded DocsGPT cases, status codes, and reads right after writes."""

import gzip
import json
import time
import uuid

from verify import recorded
from verify.agents import wait_for_ends
from verify.results import judge
from verify.target import TERMINAL, wait_until

CHECK = "contract"


def run(context):
    yield from recorded_cases(context)
    yield from status_codes(context)
    yield from payloads(context)
    yield read_after_write(context)
    yield cache_delay(context)


# ------------------------------------------------------------ Recorded cases


def recorded_cases(context):
    target = context.target
    # Letters first: the cases spell the first character in upper case and percent-encoded.
    token, other_token = (f"abc{uuid.uuid4()}" for _ in range(2))
    context.agents.create("contract", context.model, "fixed", webhook_token=token)
    context.agents.create("contract-other", context.model, "fixed", webhook_token=other_token)
    task_ids, problems, emulated, sent = {}, [], [], 0
    for case in recorded.load():
        if case["case"] == "status_PENDING_queued":
            task_ids[recorded.task_id_in(case["request"]["path"])] = a_waiting_task(context)
        path = recorded.path_of(case, token, other_token, task_ids)
        if case["case"].startswith("status_SUCCESS"):
            wait_for_ends(target, [task_ids[recorded.task_id_in(case["request"]["path"]).lower()]], 60)
        answer = target.send_raw(case["request"]["method"], path, recorded.headers_of(case["request"]), recorded.body_of(case["request"]))
        if target.is_emulators_own(answer):
            emulated.append(f"{case['case']}: the emulator answered itself")
            continue
        sent += 1
        text = answer.body.decode(errors="replace")
        problems += [f"{case['case']}: {problem}" for problem in recorded.compare(case, answer.status, answer.headers, text, task_ids)]
    yield judge(CHECK, "Recorded DocsGPT cases", problems, f"{sent} of {sent} recorded cases are answered as recorded",
                [*emulated, *(f"{name}: any of {sorted(statuses)} is accepted, because {why}" for name, (statuses, why) in recorded.GATEWAY.items())])


def a_waiting_task(context):
    """A task that stays PENDING, because its agent's only run slot is taken."""
    agent = context.agents.create("contract-busy", context.model, "echo", limits={"max_concurrent_runs": 1, "timeout_seconds": 60})
    blocking = context.agents.trigger(agent, {"sleep": context.choose(20, 4)}).task_id
    wait_until(30, lambda: context.target.status(blocking).json()["status"] == "STARTED", pause=0.2)
    return context.agents.trigger(agent).task_id


# ------------------------------------------------------------ Status codes of INTERFACE.md, sections 1 and 2

JSON = ("Content-Type", "application/json")


def expectations(webhook, limit):
    """Name, method, path, headers, body, accepted statuses. Of two statuses for HEAD, the second is an earlier version's."""
    unknown = "/api/webhooks/agents/verify-unknown-token"
    deep = b"[" * 500 + b"]" * 500
    return [
        ("POST JSON", "POST", webhook, [JSON], b'{"a":1}', {200}),
        ("POST form", "POST", webhook, [("Content-Type", "application/x-www-form-urlencoded")], b"a=1&a=2", {200}),
        ("POST without content type", "POST", webhook, [], b'{"a":1}', {200}),
        ("POST vendor JSON", "POST", webhook, [("Content-Type", "application/vnd.x+json; charset=utf-8")], b"1", {200}),
        ("GET", "GET", f"{webhook}?a=1", [], None, {200}),
        ("unknown token, body not JSON", "POST", unknown, [JSON], b"{", {404}),
        ("body not JSON", "POST", webhook, [JSON], b"{", {400}),
        ("body null", "POST", webhook, [JSON], b"null", {400}),
        ("body empty", "POST", webhook, [JSON], b"", {400}),
        # API Gateway may replace bytes that are not UTF-8 by U+FFFD before the function sees them.
        ("body not UTF-8", "POST", webhook, [JSON], b'"\xff"', {400, 200}),
        ("body nests too deep", "POST", webhook, [JSON], deep, {400}),
        ("key of 257 characters", "POST", webhook, [JSON, ("Idempotency-Key", "k" * 257)], b"1", {400}),
        ("key of 256 characters", "POST", webhook, [JSON, ("Idempotency-Key", "k" * 256)], b"1", {200}),
        ("body one byte over the limit", "POST", webhook, [JSON], b'"' + b"a" * (limit - 1) + b'"', {413}),
        ("content type image/png", "POST", webhook, [("Content-Type", "image/png")], b"1", {415}),
        ("method PUT", "PUT", webhook, [JSON], b"1", {405}),
        ("method DELETE", "DELETE", webhook, [], None, {405}),
        ("HEAD", "HEAD", webhook, [], None, {200, 405}),
        ("HEAD, unknown token", "HEAD", unknown, [], None, {404, 405}),
        ("OPTIONS", "OPTIONS", webhook, [("Origin", "https://example.com"), ("Access-Control-Request-Method", "POST")], None, {200, 204}),
        ("status without id", "GET", "/api/task_status", [], None, {400}),
        ("status of an unknown id", "GET", f"/api/task_status?task_id={uuid.uuid4()}", [], None, {404}),
        ("status of a malformed id", "GET", "/api/task_status?task_id=x", [], None, {404}),
        ("status by POST", "POST", "/api/task_status", [JSON], b"{}", {405}),
        ("health", "GET", "/api/health", [], None, {200}),
        ("agents without a credential", "GET", "/api/agents", [], None, {401}),
        ("agents with a wrong credential", "GET", "/api/agents/verify", [("Authorization", "Bearer wrong")], None, {401}),
        ("no such page", "GET", "/api/verify-nothing-here", [], None, {404}),
    ]


def status_codes(context):
    target = context.target
    agent = context.agents.create("statuses", context.model)
    limit = int(target.parameters.get("MaxBodyBytes", 1048576))
    problems, evidence = [], []
    for name, method, path, headers, body, accepted in expectations(agent.path, limit):
        answer = target.send_raw(method, path, headers, body)
        if target.is_emulators_own(answer):
            evidence.append(f"{name}: the emulator answered itself")
            continue
        problems += [f"{name}: {problem}" for problem in judge_status(method, answer.status, answer.headers, answer.json(), accepted)]
        if name in ("HEAD", "body not UTF-8"):
            evidence.append(f"{name}: {answer.status}")
    yield judge(CHECK, "Status codes and error bodies", problems, "every case of the interface has its status code and form", evidence)


def judge_status(method, status, headers, body, accepted):
    if status not in accepted:
        return [f"status {status}, expected {' or '.join(map(str, sorted(accepted)))}"]
    problems = []
    if status == 405 and "allow" not in headers:
        problems.append("405 without Allow")
    if method == "OPTIONS":
        allowed = (headers.get("access-control-allow-methods") or "").upper()
        if headers.get("access-control-allow-origin") != "*" or "POST" not in allowed:
            problems.append("the CORS headers do not allow POST from any origin")
    elif method != "HEAD" and status >= 400:
        if not isinstance(body, dict) or body.get("success") is not False or not body.get("message") or not body.get("code"):
            problems.append(f"not an error with success, message and code: {body}")
    return problems


# ------------------------------------------------------------ Payloads reach the model as sent


def payload_cases():
    """Name, method, content type, body or query, and the user message that the model must get."""
    return [
        ("digits and key order", "POST", "application/json", b'{"z":1.50,"a":123456789012345678901234567890}',
         '{"z":1.50,"a":123456789012345678901234567890}'),
        ("byte-order mark", "POST", "application/json", b'\xef\xbb\xbf{"a":1}', '{"a":1}'),
        ("any UTF-8", "POST", "application/json", '"é日\U0001f600"'.encode(), '"é日\U0001f600"'),
        ("query", "GET", None, "a=1&b=x+y%2Fz&a=2", {"a": ["1", "2"], "b": "x y/z"}),
        ("no query", "GET", None, "", {}),
        ("form", "POST", "application/x-www-form-urlencoded", b"a=1&b=%C3%A9&a=2", {"a": ["1", "2"], "b": "é"}),
    ]


def payloads(context):
    target, problems, sent = context.target, [], []
    agent = context.agents.create("payloads", context.model)
    for name, method, content_type, body, expected in payload_cases():
        headers = [("Content-Type", content_type)] if content_type else []
        path = f"{agent.path}?{body}" if method == "GET" else agent.path
        answer = target.send_raw(method, path, headers, None if method == "GET" else body)
        if answer.status == 200:
            sent.append((name, answer.json()["task_id"], expected))
        else:
            problems.append(f"{name}: status {answer.status}: {answer.excerpt()}")
    ends = wait_for_ends(target, [task_id for _, task_id, _ in sent], 90)
    for name, task_id, expected in sent:
        problems += [f"{name}: {problem}" for problem in judge_payload(ends.get(task_id, {}), expected)]
    yield judge(CHECK, "Payloads reach the model as sent", problems,
                f"{len(sent)} payloads arrived with their digits, order and encoding")


def judge_payload(end, expected):
    if end.get("status") != "SUCCESS":
        return [f"the task is {end.get('status')}: {end.get('error')}"]
    answer = end["result"]["result"]["answer"]
    is_same = answer == expected if isinstance(expected, str) else recorded.parse(answer) == expected
    return [] if is_same else [f"the model got {answer!r}, expected {expected!r}"]


# ------------------------------------------------------------ Consistency


def read_after_write(context):
    """Reads right after the trigger see the task; an ended status does not change."""
    target, rounds, problems = context.target, context.choose(100, 15), []
    agent = context.agents.create("reads", context.model)
    task_ids = []
    for _ in range(rounds):
        task_id = context.agents.trigger(agent).task_id
        first = target.status(task_id)
        task_ids.append(task_id)
        if first.status_code != 200:
            problems.append(f"{task_id}: the first poll after the trigger returned {first.status_code}")
        elif first.json()["status"] not in TERMINAL and "Retry-After" not in first.headers:
            problems.append(f"{task_id}: {first.json()['status']} without Retry-After")
    ends = wait_for_ends(target, task_ids, 120)
    time.sleep(1)
    for task_id, end in ends.items():
        again = target.status(task_id.upper())
        problems += [f"{task_id}: {problem}" for problem in judge_ended(end, again.status_code, again.json() if again.ok else {})]
    return judge(CHECK, "Reads right after writes, and final statuses", problems,
                 f"{rounds} of {rounds} first polls found the task, and no ended status changed")


FIELDS = {"status", "result", "task_id", "agent_id", "attempt", "created_at", "started_at", "finished_at", "error", "usage"}


def judge_ended(end, status, again):
    if end["status"] != "SUCCESS":
        return [f"ended {end['status']}: {end.get('error')}"]
    problems = [f"the status has no field {field}" for field in sorted(FIELDS - end.keys())]
    if status != 200 or again != end:
        problems.append(f"the ended status changed: {json.dumps(end)[:200]} and then {status} {json.dumps(again)[:200]}")
    return problems


def cache_delay(context):
    """Disabling and deleting take effect within AgentCacheSeconds."""
    target = context.target
    seconds = int(target.parameters.get("AgentCacheSeconds", 10))
    agent = context.agents.create("disabled", context.model)
    context.agents.trigger(agent)
    target.manage("PATCH", f"/api/agents/{agent.agent_id}", json={"enabled": False})
    began = time.monotonic()
    is_refused = wait_until(seconds + 20, lambda: target.call("POST", agent.path, json={}).status_code == 404, pause=0.5)
    took = time.monotonic() - began
    problems = [] if is_refused else ["a disabled agent still takes triggers"]
    if is_refused and took > seconds + 5:
        problems.append(f"a disabled agent took triggers for {took:.1f} s, AgentCacheSeconds is {seconds}")
    # Compressed answers of management calls pass the gateway unharmed.
    packed = target.manage("GET", f"/api/agents/{agent.agent_id}", headers={"Accept-Encoding": "gzip"}, stream=True)
    raw = packed.raw.read()
    if packed.headers.get("Content-Encoding") == "gzip" and json.loads(gzip.decompress(raw)).get("agent_id") != agent.agent_id:
        problems.append("a compressed answer cannot be read")
    return judge(CHECK, "A disabled agent is refused", problems, f"404 after {took:.1f} s; AgentCacheSeconds is {seconds}")
