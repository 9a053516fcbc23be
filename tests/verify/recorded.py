"""The recorded DocsGPT cases (crates/local/tests/api/contract): requests to send, and answers to compare. Pure."""

import base64
import json
from pathlib import Path

CASES = Path(__file__).resolve().parents[2] / "crates" / "local" / "tests" / "api" / "contract" / "docsgpt-1.1.0.jsonl"
# API Gateway answers these itself, in its own form, for the reason given.
GATEWAY = {
    "method_trace": ({400, 403, 404, 405, 501}, "an HTTP API does not support TRACE"),
    "post_50MB": ({413, 0}, "a request is over API Gateway's 10 MB; it may close the connection (0)"),
    "post_invalid_utf8": ({200, 400}, "API Gateway may replace bytes that are not UTF-8 by U+FFFD"),
    "token_nul": ({400, 404}, "API Gateway may refuse %00"),
    "status_unicode_id": ({400, 404}, "API Gateway may refuse %00"),
}


def load():
    return [json.loads(line) for line in CASES.read_text().splitlines()]


def task_id_in(path):
    """The recorded task id that a path asks for."""
    task_id = path.partition("task_id=")[2]
    return task_id if len(task_id) == 36 else None


def path_of(case, token, other_token, task_ids):
    path = case["request"]["path"]
    recorded = task_id_in(path)
    ours = task_ids.get(recorded.lower()) if recorded else None
    if ours:
        path = path.replace(recorded, ours.upper() if recorded != recorded.lower() else ours)
    spellings = {"{token_lower}": token.lower(), "{token_upper}": token.upper(),
                 "{token_percent}": f"%{ord(token[0]):02X}{token[1:]}", "{token}": token, "{other_token}": other_token}
    for placeholder, spelling in spellings.items():
        path = path.replace(placeholder, spelling)
    return path


def body_of(request):
    if request.get("body") is not None:
        return request["body"].encode()
    if request.get("body_base64") is not None:
        return base64.b64decode(request["body_base64"])
    if request.get("body_repeat"):
        opening, times, closing = request["body_repeat"]
        return (opening * times + closing * times).encode()
    if request.get("body_fill"):
        fill = request["body_fill"]
        inner = fill["bytes"] - len(fill["prefix"]) - len(fill["suffix"])
        return (fill["prefix"] + fill["fill"] * inner + fill["suffix"]).encode()
    return None


def headers_of(request):
    """As UTF-8, which is what the recorded client sent."""
    return [(name, value.encode()) for name, value in request["headers"].items()]


def compare(case, status, headers, body, task_ids):
    """What differs from the contract, one sentence each. Remembers the task ids of accepted triggers."""
    if case["case"] in GATEWAY and status in GATEWAY[case["case"]][0]:
        return []
    if status not in case["expect"]:
        return [f"status {status}, expected {' or '.join(map(str, case['expect']))}: {body[:120]!r}"]
    if case["request"]["method"] == "OPTIONS":
        return [] if headers.get("access-control-allow-origin") == "*" else ["no Access-Control-Allow-Origin: *"]
    if case["request"]["method"] == "HEAD":
        return []
    problems = [] if status != 405 or "allow" in headers else ["405 without Allow"]
    ours, recorded = parse(body), parse(case["recorded"].get("body"))
    if not isinstance(ours, dict):
        return [*problems, f"the body is not a JSON object: {body[:120]!r}"]
    if status >= 400:
        return problems + compare_error(ours, recorded, status == case["recorded"]["status"])
    return problems + compare_success(case, ours, recorded, task_ids)


def compare_error(ours, recorded, has_same_status):
    problems = []
    if ours.get("success") is not False or len(ours.get("message") or "") <= 5 or not isinstance(ours.get("code"), str):
        problems.append(f"not an error with success, message and code: {ours}")
    if has_same_status and isinstance(recorded, dict) and recorded.get("success") is False:
        if not (ours.get("message") or "").startswith(recorded["message"]):
            problems.append(f"the message {ours.get('message')!r} does not begin with {recorded['message']!r}")
    return problems


def compare_success(case, ours, recorded, task_ids):
    if not isinstance(recorded, dict):
        return []
    differs = "differs_because" in case
    problems = [f"{field} is {ours.get(field)!r}, recorded {recorded[field]!r}" for field in ("success", "status", "result")
                if not differs and field in recorded and recorded[field] is not None and ours.get(field) != recorded[field]]
    theirs, task_id = recorded.get("task_id"), ours.get("task_id")
    if theirs and task_id:
        earlier = task_ids.setdefault(theirs, task_id)
        if earlier != task_id:
            problems.append(f"a repeat returned {task_id}, the first trigger {earlier}")
        elif not differs and sum(known == task_id for known in task_ids.values()) > 1:
            problems.append("a new task has the id of an earlier one")
    return problems


def parse(text):
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None
