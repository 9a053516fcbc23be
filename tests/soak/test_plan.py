"""The seed fixes the plan, and the plan holds everything that a soak is to try."""

from plan import behaviour, draw

OPTIONS = {"tasks": 2000, "kills": 20, "callers": 8, "rate": 50}


def intents(plan):
    return [intent for caller in plan.callers for intent in caller]


def test_the_same_seed_draws_the_same_plan_and_another_seed_another():
    assert draw(7, **OPTIONS) == draw(7, **OPTIONS)
    assert draw(7, **OPTIONS) != draw(8, **OPTIONS)


def test_the_model_behaves_by_seed_task_and_run_alone():
    assert behaviour(7, "soak-7-0-1", 1) == behaviour(7, "soak-7-0-1", 1)
    runs = [behaviour(7, f"soak-7-0-{number}", run) for number in range(500) for run in (1, 2)]
    answers = [run.answer for run in runs if run.status == 200]
    assert len(set(answers)) == len(answers), "every run has an answer of its own"


def test_a_plan_holds_every_kind_of_trigger():
    drawn = intents(draw(10287, **OPTIONS))
    assert len(drawn) == OPTIONS["tasks"]
    assert {bool(intent.key) for intent in drawn} == {True, False}
    assert {intent.method for intent in drawn} == {"GET", "POST"}
    for kind in ("filler", "hangs_up", "at_once", "late", "after_all"):
        assert 0 < sum(bool(getattr(intent, kind)) for intent in drawn) < len(drawn), kind
    keys = [intent.key for intent in drawn if intent.key]
    scopes = {(intent.agent, intent.key) for intent in drawn if intent.key}
    assert len(scopes) == len(keys) > len(set(keys)), "some keys are two agents'"


def test_only_triggers_with_a_key_are_repeated():
    assert not [i for i in intents(draw(7, **OPTIONS)) if not i.key and (i.at_once or i.late or i.after_all)]


def test_kills_are_spread_over_the_load_and_some_hit_a_start():
    kills = draw(7, **OPTIONS).kills
    points = [kill.accepted for kill in kills]
    assert len(points) == OPTIONS["kills"]
    assert points == sorted(points) and points[-1] < OPTIONS["tasks"]
    assert {bool(kill.during_start) for kill in kills} == {True, False}
    assert {kill.everything for kill in kills} == {True, False}


def test_no_task_can_run_out_of_attempts_because_of_its_model():
    assert {behaviour(7, f"soak-7-0-{number}", 3).status for number in range(1000)} == {200}
