"""Judgement of what the probe saw."""

from verify.checks import gateway, queue, secrets
from verify.probe import lineage, receives
from verify.results import Status
from verify.target import is_throttled_by_gateway


def a_batch(at, *records, trace=None):
    return {"at": at, "trace": trace, "verify_batch": list(records)}


def a_record(identity, do, dead=False, trace=None, **body):
    return {"id": identity, "body": {"do": do, **body}, "attributes": {"AWSTraceHeader": trace} if trace else {}, "dead": dead}


def test_lineage_is_the_last_number():
    assert lineage("Root=1-5;Parent=a;Sampled=0;Lineage=1:ee9e7fe6:7") == 7
    assert lineage("Root=1-5;Lineage=ee9e7fe6:7|68fd508a:12") == 12
    assert lineage("Root=1-5;Parent=a;Sampled=0") is None
    assert lineage(None) is None


def test_pauses_are_between_the_first_two_receives():
    batches = [a_batch(1, a_record("m", "defer")), a_batch(9.5, a_record("m", "defer")), a_batch(2, a_record("n", "defer"))]
    assert queue.pauses_of(receives(batches, "defer")) == [8.5]


def test_a_deferral_that_is_too_short_is_a_problem():
    assert queue.judge_pauses([8.1, 9.4]) == []
    assert "before their time" in queue.judge_pauses([0.5, 8.1])[0]
    assert "visibility timeout" in queue.judge_pauses([8.1, 30.2])[0]


def test_dead_letters_keep_their_lineage_or_not():
    live = a_batch(1, a_record("m", "hop"), trace="Lineage=1:a:4")
    again = a_batch(9, a_record("m", "hop", dead=True), trace="Lineage=1:a:5")
    fresh = a_batch(9, a_record("m", "hop", dead=True), trace="Lineage=1:a:0")
    assert queue.judge_dead_letters("q", [live, again]).finding.startswith("yes: 4 hops before, 5")
    assert queue.judge_dead_letters("q", [live, fresh]).finding.startswith("no: 4 hops before, 0")
    assert queue.judge_dead_letters("q", [live]).status is Status.NOT_ANSWERABLE
    assert queue.judge_dead_letters("q", [a_batch(1, a_record("m", "hop")), again]).status is Status.NOT_ANSWERABLE


def test_innocent_messages_that_only_came_as_dead_letters_were_not_run():
    mixed = a_batch(1, a_record("m", "hop", hop=16), a_record("a", "innocent", number=0), trace="Lineage=1:a:16")
    other = a_batch(2, a_record("b", "innocent", dead=True, number=1))
    result = queue.judge_batches("q", [mixed, other], 2)
    assert result.finding.startswith("yes: the chain was stopped after hop 16, and 1 messages")
    assert queue.judge_batches("q", [mixed], 1).finding.startswith("no message of other origin was lost")
    whole = a_batch(1, a_record("m", "hop", hop=queue.HOPS), a_record("a", "innocent", number=0))
    assert queue.judge_batches("q", [whole], 1).status is Status.NOT_ANSWERABLE


def test_the_largest_size_that_passes_is_found():
    assert gateway.largest_that(lambda size: size <= 700, 100, 1000, 1) == 700
    assert gateway.largest_that(lambda size: False, 100, 1000, 1) == 0


def test_a_disguised_path_must_not_reach_the_sign_in():
    assert gateway.judge_disguise(401, {"code": "unauthorized", "message": "Send the admin token as `Authorization: Bearer <token>`"}) == []
    assert gateway.judge_disguise(404, None) == []
    assert gateway.judge_disguise(401, {"code": "unauthorized", "message": "The admin token is wrong"}) != []
    assert gateway.judge_disguise(502, None) != []


def test_secrets_that_come_late_are_measured():
    assert secrets.judge_reads([("a", 0.0, []), ("b", 1.26, ["ResourceNotFoundException"])]).figures == {"secret readable after, longest (s)": 1.3}
    assert secrets.judge_reads([("a", None, ["x"])]).status is Status.FAIL
    assert secrets.judge_deletions([(0.0, []), (2.0, ["InvalidRequestException"])]).status is Status.PASS
    assert secrets.judge_deletions([(None, ["InvalidRequestException"])]).status is Status.FAIL


def test_a_flood_must_be_refused_and_must_not_reach_other_routes():
    assert gateway.judge_flood(300, [200, 401]) == []
    assert "none of 400" in gateway.judge_flood(0, [200, 401])[0]
    assert "answered [429, 401]" in gateway.judge_flood(300, [429, 401])[0]


def test_throttled_requests_that_the_metric_does_not_count_are_a_problem():
    assert gateway.judge_count(1000, 690, 300).status is Status.PASS
    assert gateway.judge_count(700, 690, 300).status is Status.FAIL


def test_only_a_429_of_api_gateway_is_sent_again():
    assert is_throttled_by_gateway(429, '{"message":"Too Many Requests"}')
    assert not is_throttled_by_gateway(429, '{"success":false,"code":"rate_limited","message":"…"}')
    assert not is_throttled_by_gateway(503, '{"message":"Service Unavailable"}')
