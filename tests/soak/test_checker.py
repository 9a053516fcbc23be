"""The checker finds each kind of violation in a history that has it, and none in one that has not."""

import pytest

from checker import RULES, Facts, Limits, check, figures

LIMITS = Limits(max_attempts=9, may_answer=frozenset({200, 503}))
TASK, OTHER = "task-1", "task-2"
ANSWER = "answer to soak-1, run 1: 00"


def trigger(at, task_id=TASK, scope=("agent", "key"), marker="soak-1", repeat=False, replayed=False, number=0):
    noted = {"request": f"{marker}/{at}", "scope": list(scope) if scope else None, "marker": marker, "repeat": repeat,
             "retry": number > 0}
    return [{"kind": "sent", "at": at, **noted},
            {"kind": "answered", "at": at, "status": 200, "task_id": task_id, "replayed": replayed, **noted}]


def body(status, attempt=1, answer=ANSWER, error=None, task_id=TASK):
    return {
        "status": status, "task_id": task_id, "agent_id": "agent", "attempt": attempt, "created_at": "then",
        "started_at": "a little later" if attempt else None, "error": error,
        "result": {"status": "success", "result": {"answer": answer}} if status == "SUCCESS" else None,
    }


def seen(at, status, code=200, task_id=TASK, **fields):
    return {"kind": "seen", "at": at, "task_id": task_id, "status": code,
            "body": body(status, task_id=task_id, **fields)}


def run(at, number=1, status=200, answer=ANSWER, marker="soak-1"):
    return [{"kind": "run", "at": at, "marker": marker, "run": number},
            {"kind": "run_answered", "at": at, "marker": marker, "run": number, "status": status, "answer": answer}]


def ended(at, task_id=TASK, outcome="success"):
    return {"kind": "ended", "at": at, "task_id": task_id, "outcome": outcome}


def killed(at):
    return {"kind": "killed", "at": at, "pids": [1], "when": "under load"}


LOST_WORKER = {"type": "worker_lost", "message": "", "retryable": True}

# A trigger, its repeat, a run that a kill broke off, and the run that answered.
SOUND = [
    *trigger(1), seen(2, "PENDING", attempt=0), *run(3)[:1], seen(4, "STARTED"), killed(5), seen(6, "PENDING"),
    *run(7, number=2), seen(8, "SUCCESS", attempt=2), ended(8),
    *trigger(9, marker="soak-1.late", repeat=True, replayed=True), seen(10, "SUCCESS", attempt=2),
]


def rules(events):
    return {rule for rule, _ in check(events, LIMITS)}


def without(kind, **fields):
    return [event for event in SOUND
            if event["kind"] != kind or any(event.get(name) != value for name, value in fields.items())]


def test_a_sound_history_has_no_violation():
    assert rules(SOUND) == set()


def test_a_task_that_its_killed_runners_used_up_does_not_violate_the_rules():
    end = [seen(2, "FAILURE", attempt=9, error=LOST_WORKER), ended(2, outcome="worker_lost")]
    assert rules([*trigger(1), *end]) == set()


def test_a_transient_error_of_the_model_explains_a_second_run():
    events = [*trigger(1), *run(2, status=503), *run(3, number=2), seen(4, "SUCCESS", attempt=2), ended(4)]
    assert rules(events) == set()


def test_two_tasks_without_a_key_are_allowed():
    events = []
    for task_id, marker in ((TASK, "soak-1.0"), (OTHER, "soak-2.0")):
        events += [*trigger(1, task_id=task_id, scope=None, marker=marker), *run(2, marker=marker),
                   seen(3, "SUCCESS", task_id=task_id), ended(3, task_id=task_id)]
    assert rules(events) == set()


def test_a_runner_killed_while_its_task_ended_may_have_had_no_time_for_its_line():
    events = [*trigger(1), *run(2), seen(3, "STARTED"), killed(4), seen(5, "SUCCESS")]
    assert rules(events) == set()


VIOLATIONS = {
    "a task that never ended": ("lost", [*trigger(1), *run(2), seen(3, "STARTED")]),
    "a task that was never seen": ("lost", trigger(1)),
    "a task whose status is not found": ("lost", [*SOUND, seen(11, "SUCCESS", code=404, attempt=2)]),
    "an end that became another": ("ended twice", [*SOUND, seen(11, "FAILURE", attempt=2, error=LOST_WORKER)]),
    "an end whose answer changed": ("ended twice", [*SOUND, seen(11, "SUCCESS", attempt=2, answer="another")]),
    "an end that was taken back": ("ended twice", [*SOUND, seen(11, "STARTED", attempt=3)]),
    "an end that two runners recorded": ("ended twice", [*SOUND, ended(11)]),
    "a run after the end": ("ended twice", [*SOUND, *run(11, number=3)]),
    "a key with two tasks": ("several ids for one key", [*SOUND, *trigger(11, task_id=OTHER)]),
    "a task with two keys": ("one id for several triggers", [*SOUND, *trigger(11, scope=("agent", "other"))]),
    "a task of two triggers without a key": (
        "one id for several triggers",
        [*trigger(1, scope=None, marker="soak-1.0"), *trigger(2, scope=None, marker="soak-2.0")]),
    "a key that was new twice": ("several first answers", [*SOUND, *trigger(11)]),
    "a replay without a key": ("several first answers", trigger(1, scope=None, replayed=True)),
    "an answer that should not be": (
        "unwelcome answer", [*SOUND, {"kind": "answered", "at": 11, "status": 500, "request": "x"}]),
    "a trigger that was never taken": ("never taken", [*SOUND, *trigger(11, marker="soak-3")[:1]]),
    "a task with two bodies": ("one id for several triggers", [*SOUND, *trigger(11, marker="soak-3", replayed=True)]),
    "an attempt that was uncounted": ("went backwards", [*trigger(1), seen(2, "STARTED", attempt=2), seen(3, "PENDING")]),
    "a status that there is not": ("went backwards", [*trigger(1), seen(2, "RETRY")]),
    "more runs than attempts": ("more runs than attempts", [*SOUND, *run(7.5, number=3)]),
    "a run while another goes on": ("run without a reason", without("killed")),
    "a run after an answer": (
        "run without a reason", [*trigger(1), *run(2), *run(3, number=2), seen(4, "SUCCESS", attempt=2)]),
    "the body of a repeat that was run": ("repeat was run", [*SOUND, *run(10, marker="soak-1.late")]),
    "too many attempts": ("more attempts than allowed", [*trigger(1), seen(2, "STARTED", attempt=10)]),
    "an answer of another run's": (
        "not the model's answer", [*trigger(1), *run(2), seen(3, "SUCCESS", answer="answer to soak-2, run 1: 00")]),
    "a success without a run": ("not the model's answer", [*trigger(1), seen(2, "SUCCESS")]),
    "a success of a run that failed": (
        "not the model's answer", [*trigger(1), *run(2, status=503), seen(3, "SUCCESS")]),
    "a failure that nothing explains": (
        "failed without a reason", [*trigger(1), seen(2, "FAILURE", attempt=2, error={"type": "internal"})]),
    "a worker given up too early": (
        "failed without a reason", [*trigger(1), seen(2, "FAILURE", attempt=2, error=LOST_WORKER)]),
    "an end without a line, long after the kill": ("end not logged", without("ended")),
    "an end without a line, long before the kill": (
        "end not logged", [*trigger(1), *run(2), seen(3, "SUCCESS"), killed(5)]),
    "an end that the log calls another": ("logged otherwise", [*without("ended"), ended(8, outcome="internal")]),
    "a server that died": ("died", [*SOUND, {"kind": "died", "at": 11, "text": "it ended by itself"}]),
}


@pytest.mark.parametrize("rule, events", VIOLATIONS.values(), ids=VIOLATIONS)
def test_the_checker_finds(rule, events):
    assert rule in rules(events)


@pytest.mark.parametrize("name, rule", RULES, ids=[rule.__name__ for _, rule in RULES])
def test_a_history_above_breaks_each_rule(name, rule):
    broken = [events for expected, events in VIOLATIONS.values() if expected == name]
    assert any(list(rule(Facts(events), LIMITS)) for events in broken)


def test_the_figures_count_what_happened():
    counted = figures(SOUND, [("lost", ""), ("ended twice", ""), ("never taken", "")])
    expected = {
        "tasks": 1, "triggers sent": 2, "answered 200": 2, "answered otherwise": 0, "unanswered": 0, "retries": 0,
        "replays": 1, "kills": 1, "processes killed": 1, "starts": 0, "runs": 2, "re-runs": 1, "transient errors": 0,
        "attempts": 2, "SUCCESS": 1, "worker_lost": 0, "ends logged": 1, "lost": 1, "ended twice": 1, "other violations": 1,
    }
    assert counted == expected
