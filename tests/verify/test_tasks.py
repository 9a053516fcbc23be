"""Judgement of triggers, ends, waits, drills and counts."""

import json

import pytest

from verify.agents import Trigger
from verify.checks import burst, calls, drills, figures, idempotency, logs, slots
from verify.model import most_at_once, runs_of
from verify.results import Status

SUCCESS = {"status": "SUCCESS", "error": None, "attempt": 1}


def a_trigger(task_id="t", marker="m", is_replay=False, refusals=()):
    return Trigger(marker, task_id, is_replay, 10.0, list(refusals))


def a_failure(kind, attempt=1):
    return {"status": "FAILURE", "error": {"type": kind}, "attempt": attempt}


def test_one_key_is_one_id_and_one_new_answer():
    new, replay = a_trigger(), a_trigger(is_replay=True)
    assert idempotency.judge_triggers([new, replay, replay]) == []
    assert idempotency.judge_triggers([new, a_trigger(task_id="u", is_replay=True)]) != []
    assert idempotency.judge_triggers([new, new]) != []
    assert idempotency.judge_triggers([replay, replay]) != []
    assert idempotency.judge_triggers([a_trigger(is_replay=True, refusals=[503]), replay]) == []


def test_one_key_is_one_run():
    assert idempotency.judge_runs({"t": SUCCESS}, {"t": [{}]}, 1) == []
    assert idempotency.judge_runs({"t": SUCCESS}, {"t": [{}]}, 2) != []
    assert idempotency.judge_runs({"t": SUCCESS}, {"t": [{}, {}]}, 1) != []
    assert idempotency.judge_runs({"t": SUCCESS}, {}, 1) != []


def test_a_burst_has_one_end_and_one_call_for_each_trigger():
    triggers = [a_trigger("a", "m1"), a_trigger("b", "m2")]
    ends, lines, runs = {"a": SUCCESS, "b": SUCCESS}, {"a": [{}], "b": [{}]}, {"m1": 1, "m2": 1}
    assert burst.judge_burst(triggers, ends, lines, runs) == []
    assert burst.judge_burst(triggers, {"a": SUCCESS}, lines, runs) == ["b is never seen: None"]
    assert burst.judge_burst(triggers, {**ends, "b": {"status": "STARTED", "attempt": 1}}, lines, runs) != []
    assert burst.judge_burst(triggers, ends, {"a": [{}], "b": [{}, {}]}, runs) == ["b has 2 recorded ends in the log"]
    assert burst.judge_burst(triggers, ends, lines, {"m1": 1}) == ["b called the model 0 times in one attempt"]
    assert burst.judge_burst([a_trigger("a", "m1"), a_trigger("a", "m1")], {"a": SUCCESS}, lines, runs) != []


def test_waiting_tasks_answer_the_question_only_after_sixteen_looks():
    ends, lines = {"a": SUCCESS}, {"a": [{}]}
    assert slots.judge_slots(1, ends, lines, {"a": 17}, 1).status is Status.PASS
    assert slots.judge_slots(1, ends, lines, {"a": 16}, 1).status is Status.NOT_ANSWERABLE
    assert slots.judge_slots(1, ends, lines, {"a": 17}, 2).status is Status.FAIL
    assert slots.judge_slots(1, {"a": a_failure("timeout")}, lines, {"a": 17}, 1).status is Status.FAIL


def test_looks_are_lines_with_a_pause_and_without_an_attempt():
    lines = [{"task_id": "a", "retry_in_ms": 5}, {"task_id": "a", "retry_in_ms": 5, "attempt": 1}, {"task_id": "b", "retry_in_ms": 5}]
    assert slots.looks_of(lines, {"a": SUCCESS}) == {"a": 1}


def test_model_calls_are_counted_by_marker_and_by_overlap():
    lines = [{"verify_call": "m", "phase": "began", "at": 1}, {"verify_call": "m", "phase": "ended", "at": 3},
             {"verify_call": "n", "phase": "began", "at": 2}, {"verify_call": "n", "phase": "ended", "at": 4}]
    assert runs_of(lines) == {"m": 1, "n": 1}
    assert most_at_once(lines, {"m", "n"}) == 2
    assert most_at_once(lines, {"m"}) == 1


def test_a_drill_wants_the_expected_end_within_the_attempts():
    assert drills.judge_bounded({"a": a_failure("worker_lost", 5)}, ("worker_lost",), 5) == []
    assert drills.judge_bounded({"a": a_failure("worker_lost", 6)}, ("worker_lost",), 5) != []
    assert drills.judge_bounded({"a": SUCCESS}, ("worker_lost",), 5) != []
    assert drills.judge_bounded({"a": {"status": "STARTED"}}, ("worker_lost",), 5) == ["a is still STARTED"]


def test_crashes_are_found_in_lambdas_own_lines():
    events = [{"message": '{"type":"platform.report","record":{"status":"error","errorType":"Runtime.OutOfMemory"}}'},
              {"message": '{"type":"platform.report","record":{"status":"success"}}'}, {"message": '{"message":"signal: killed"}'}]
    assert len(drills.crashes(events)) == 1


@pytest.mark.parametrize("values, percent, expected", [([1], 50, 1), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 201), 99, 198)])
def test_percentiles(values, percent, expected):
    assert figures.percentile(values, percent) == expected


def test_report_lines_are_read_in_both_forms():
    text = ("REPORT RequestId: r\tDuration: 12.5 ms\tBilled Duration: 95 ms\tMemory Size: 256 MB\tMax Memory Used: 30 MB\tInit Duration: 81.2 ms\t")
    assert figures.report_of({"message": text}) == {"init_ms": 81.2, "duration_ms": 12.5, "billed_ms": 95.0, "memory_mb": 30.0}
    line = {"type": "platform.report", "record": {"metrics": {"durationMs": 1.5, "billedDurationMs": 2, "maxMemoryUsedMB": 30}}}
    assert figures.report_of({"message": json.dumps(line)}) == {"init_ms": None, "duration_ms": 1.5, "billed_ms": 2, "memory_mb": 30}
    assert figures.report_of({"message": '{"message":"task ended"}'}) is None
    assert figures.billed_ms([{"message": text}, {"message": json.dumps(line)}, {"message": "x"}]) == 97


SMALL = {"webhook PutItem": {"calls": 1, "write_units": 1, "index_units": 1}, "webhook SendMessage": {"calls": 1},
         "agent UpdateItem": {"calls": 2, "write_units": 2}, "agent log line: task ended": {"calls": 1, "bytes": 770}}
PRICES = {name: {"dollars": 1.0, "per": 1_000_000} for name in (
    "dynamodb_write", "dynamodb_read", "sqs_request", "sqs_fair", "lambda_request", "lambda_gb_second")}


def sums(**more):
    return {"tasks table, write units": 300.0, "index, write units": 100.0, "sent": 100.0, "received": 100.0, "deleted": 100.0,
            "webhook, invocations": 100.0, "agent, invocations": 12.0, **more}


def test_documented_counts_are_those_of_one_small_task():
    assert calls.documented(SMALL)["tasks table, write units"] == 3
    assert calls.documented(SMALL)["index, write units"] == 1
    assert calls.documented(SMALL)["sent"] == 1


def test_counts_beyond_the_tolerance_are_findings():
    assert calls.judge_counts(sums(), 100, SMALL, PRICES).status is Status.PASS
    assert calls.judge_counts(sums(**{"tasks table, write units": 329.0}), 100, SMALL, PRICES).status is Status.PASS
    assert calls.judge_counts(sums(**{"tasks table, write units": 400.0}), 100, SMALL, PRICES).status is Status.FAIL
    assert calls.judge_counts(sums(**{"index, write units": 0.0}), 100, SMALL, PRICES).status is Status.FAIL
    assert calls.judge_counts(sums(sent=200.0), 100, SMALL, PRICES).status is Status.FAIL


def test_dollars_add_writes_messages_and_requests():
    # 400 write units, 100 sends with a group, 24 receives and deletes, 112 invocations.
    assert calls.dollars(sums(), PRICES) == pytest.approx((400 + 100 + 24 + 100 + 112) / 1_000_000)


def an_event(level, message="x", at=1000.0, timestamp="1970-01-01T00:16:40.000Z"):
    line = {"level": level, "message": message, **({"timestamp": timestamp} if timestamp else {})}
    return {"timestamp": at * 1000, "message": json.dumps(line)}


def test_log_lines_need_their_level_and_a_timestamp_of_their_time():
    assert logs.judge_events([an_event("INFO"), an_event("WARN")])[0] == []
    assert "no line has the level WARN" in logs.judge_events([an_event("INFO")])[0][0]
    assert "no RFC 3339 timestamp" in logs.judge_events([an_event("INFO", timestamp=None), an_event("WARN")])[0][0]
    assert "differ by" in logs.judge_events([an_event("INFO", at=1100.0), an_event("WARN")])[0][0]
