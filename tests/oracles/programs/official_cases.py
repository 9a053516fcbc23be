"""The cases of official_replies.py: a reply, and what the status of the task must then have."""

import json

MODEL = "model-that-answered"
ANSWER = '{"state": "sent", "items": [{"sku": "TS-38", "pairs": 2}]}'
ORDER = ("get_order", {"id": 7, "with": {"items": True, "fields": ["state", "sku"]}})
REFUND = ("refund", {"order": {"id": 7, "lines": [{"sku": "TS-38", "pairs": 2}]}, "reason": "zu groß"})
TRUNCATED, WITHHELD, BROKEN = "budget_exceeded", "model_error", "broken"
MESSAGE = "Your request of the order is not valid: secret words of the payload"


def case(title, reply, status=200, **expected):
    return {"title": title, "status": status, "body": json.loads(reply), "expected": expected}


def called(title, reply, *calls, **expected):
    """The calls are made, and the next reply ends the run."""
    return case(title, reply, calls=calls, **expected)


def stopped(reason, reply, end):
    """`end` is an answer, or how the task fails. After a broken reply, a new trigger may succeed."""
    if end == BROKEN:
        return case(f"stop reason {reason}", reply, error={"type": "model_error", "retryable": True})
    if end in (TRUNCATED, WITHHELD):
        return case(f"stop reason {reason}", reply, error={"type": end, "retryable": False})
    return case(f"stop reason {reason}", reply, answer=end)


def failed(title, status, reply, retryable, **detail):
    found = case(title, reply, status, error={"type": "model_error", "retryable": retryable, "detail": {"status": status, **detail}})
    found["headers"] = {"retry-after": "100"} if retryable else {}
    return found


def complete(known, listed):
    if set(known) != set(listed):
        raise SystemExit(f"the library has {sorted(set(known) ^ set(listed))}, which this file does not list, or the reverse")
