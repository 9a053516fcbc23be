"""Comparison with the recorded contract."""

from verify import recorded
from verify.checks.contract import expectations, judge_ended, judge_payload, judge_status

TOKEN = "abc-token"


def a_case(name="post_ok", method="POST", expect=(200,), recorded_status=200, recorded_body='{"success":true,"task_id":"r1"}', **more):
    return {"case": name, "request": {"method": method, "path": "/x", "headers": {}}, "expect": list(expect),
            "recorded": {"status": recorded_status, "body": recorded_body}, **more}


def test_every_recorded_case_makes_a_request():
    for case in recorded.load():
        path = recorded.path_of(case, TOKEN, "other", {})
        assert "{" not in path and path.startswith("/"), case["case"]
        recorded.headers_of(case["request"])
        recorded.body_of(case["request"])


def test_placeholders_and_earlier_task_ids_are_replaced():
    by_spelling = {c["case"]: c for c in recorded.load()}
    assert recorded.path_of(by_spelling["token_upper_case"], TOKEN, "o", {}).endswith("/ABC-TOKEN")
    earlier = {"87a4f901-fb7b-4f82-b886-271fd599aea6": "ours"}
    assert recorded.path_of(by_spelling["status_SUCCESS"], TOKEN, "o", earlier).endswith("task_id=ours")
    assert recorded.path_of(by_spelling["status_SUCCESS_upper_id"], TOKEN, "o", earlier).endswith("task_id=OURS")


def test_bodies_are_repeated_and_filled():
    assert recorded.body_of({"body_repeat": ["[", 2, "]"]}) == b"[[]]"
    assert recorded.body_of({"body_fill": {"prefix": '"', "fill": "a", "suffix": '"', "bytes": 5}}) == b'"aaa"'


def test_a_repeat_with_another_id_is_a_problem():
    ids = {}
    assert recorded.compare(a_case(), 200, {}, '{"success":true,"task_id":"a"}', ids) == []
    (problem,) = recorded.compare(a_case(), 200, {}, '{"success":true,"task_id":"b"}', ids)
    assert "a repeat returned b" in problem


def test_a_new_task_with_an_earlier_id_is_a_problem():
    ids = {"r0": "a"}
    assert recorded.compare(a_case(), 200, {}, '{"success":true,"task_id":"a"}', ids) == ["a new task has the id of an earlier one"]


def test_a_wrong_status_a_missing_allow_and_a_bare_error_are_problems():
    assert "status 500" in recorded.compare(a_case(), 500, {}, "{}", {})[0]
    error = '{"success":false,"message":"Method not allowed","code":"method_not_allowed"}'
    assert recorded.compare(a_case(expect=[405]), 405, {}, error, {}) == ["405 without Allow"]
    assert recorded.compare(a_case(expect=[404]), 404, {}, '{"message":"Not Found"}', {}) != []


def test_a_message_must_begin_as_the_recorded_one():
    case = a_case(expect=[404], recorded_status=404, recorded_body='{"message":"Agent not found","success":false}')
    good = '{"success":false,"message":"Agent not found","code":"agent_not_found"}'
    assert recorded.compare(case, 404, {}, good, {}) == []
    assert recorded.compare(case, 404, {}, good.replace("Agent not found", "No such agent"), {}) != []


def test_the_gateway_may_answer_some_cases_itself():
    assert recorded.compare(a_case("post_50MB", expect=[413]), 413, {}, '{"message":"Request Entity Too Large"}', {}) == []


def test_expected_statuses_are_checked_with_their_form():
    error = {"success": False, "message": "No", "code": "no"}
    assert judge_status("POST", 400, {}, error, {400}) == []
    assert judge_status("POST", 400, {}, {"message": "No"}, {400}) != []
    assert judge_status("PUT", 405, {}, error, {405}) == ["405 without Allow"]
    cors = {"access-control-allow-origin": "*", "access-control-allow-methods": "GET,POST"}
    assert judge_status("OPTIONS", 204, cors, None, {200, 204}) == []
    assert judge_status("OPTIONS", 204, {}, None, {200, 204}) != []
    assert judge_status("HEAD", 405, {"allow": "POST"}, None, {200, 405}) == []


def test_the_body_over_the_limit_is_one_byte_over_it():
    (case,) = [case for case in expectations("/w", 100) if case[0] == "body one byte over the limit"]
    assert len(case[4]) == 101


def test_payloads_are_compared_as_text_or_as_json():
    end = {"status": "SUCCESS", "result": {"result": {"answer": '{"a":1.50}'}}}
    assert judge_payload(end, '{"a":1.50}') == []
    assert judge_payload(end, {"a": 1.5}) == []
    assert judge_payload(end, '{"a":1.5}') != []
    assert judge_payload({"status": "FAILURE", "error": {"type": "model_error"}}, "x") != []


def test_an_ended_status_must_not_change():
    end = {name: None for name in ("result", "task_id", "agent_id", "attempt", "created_at", "started_at", "finished_at", "error", "usage")}
    end["status"] = "SUCCESS"
    assert judge_ended(end, 200, dict(end)) == []
    assert judge_ended(end, 200, {**end, "attempt": 2}) != []
    assert judge_ended(end, 404, {}) != []
