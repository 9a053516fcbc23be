"""Judges a complete history. Pure: events in, violations and figures out.

A violation is a pair of a rule's name and a sentence. The rules named `lost` and
`ended twice` are the two that everything is about; each of the others would be a
way to either, or to a lie.
"""

import collections
import dataclasses

TERMINAL = ("SUCCESS", "FAILURE")
# A run's request may reach the model a moment after its runner was killed, and
# be noted by a thread that had to wait for its turn.
MOMENT = 0.5


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the deployment under test allows."""

    max_attempts: int
    # Statuses that a trigger may be answered with.
    may_answer: frozenset[int]


class Facts:
    """The history, sorted by what it is about."""

    def __init__(self, events):
        self.of_kind = collections.defaultdict(list)
        for event in events:
            self.of_kind[event["kind"]].append(event)
        self.accepted = [event for event in self.of_kind["answered"] if event["status"] == 200]
        self.answers_of = group(self.accepted, lambda event: event["task_id"])
        self.seen_of = group(self.of_kind["seen"], lambda event: event["task_id"])
        self.runs_of = group(self.of_kind["run"], lambda event: event["marker"])
        self.run_answers_of = group(self.of_kind["run_answered"], lambda event: event["marker"])
        self.ends_of = group(self.of_kind["ended"], lambda event: event["task_id"])

    def markers(self, task_id):
        """Of the bodies that this task may run."""
        return {event["marker"] for event in self.answers_of[task_id] if not event["repeat"]}

    def runs(self, task_id):
        return [run for marker in self.markers(task_id) for run in self.runs_of[marker]]

    def end(self, task_id):
        """The first sight of the task's end."""
        return next((seen for seen in self.seen_of[task_id] if seen["body"].get("status") in TERMINAL), None)

    def end_began(self, task_id):
        """A time at which the task had not ended: of the last sight or run before its end."""
        end = self.end(task_id)["at"]
        return max((event["at"] for event in self.seen_of[task_id] + self.runs(task_id) if event["at"] < end), default=0)

    def killed_between(self, begin, end):
        kills = self.of_kind["killed"]
        return any(begin - MOMENT <= kill["at"] and kill.get("since", kill["at"]) <= end for kill in kills)


def group(events, by):
    groups = collections.defaultdict(list)
    for event in events:
        groups[by(event)].append(event)
    return groups


def check(events, limits):
    """All violations, as (rule, sentence)."""
    facts = Facts(events)
    return [(name, sentence) for name, rule in RULES for sentence in rule(facts, limits)]


def never_ended(facts, _):
    for task_id in facts.answers_of:
        if facts.end(task_id) is None:
            last = facts.seen_of[task_id][-1]["body"] if facts.seen_of[task_id] else "never seen"
            yield f"{task_id} was accepted and did not end: {last}"


def not_found(facts, _):
    for seen in facts.of_kind["seen"]:
        if seen["status"] != 200:
            yield f"{seen['task_id']} was accepted, and its status answers {seen['status']}: {seen['body']}"


def changed_after_its_end(facts, _):
    for task_id, all_seen in facts.seen_of.items():
        end = facts.end(task_id)
        for seen in all_seen[all_seen.index(end):] if end else []:
            if seen["body"] != end["body"]:
                yield f"{task_id} was {end['body']} and then {seen['body']}"


def ended_by_two_runners(facts, _):
    for task_id, ends in facts.ends_of.items():
        if len(ends) > 1:
            yield f"{task_id} was ended by {len(ends)} runners"


def run_after_its_end(facts, _):
    for task_id in facts.answers_of:
        end = facts.end(task_id)
        for run in facts.runs(task_id) if end else []:
            if run["at"] > end["at"] + MOMENT:
                yield f"{task_id} was run at {run['at']}, its end was seen at {end['at']}"


def several_ids_for_one_key(facts, _):
    keyed = [answer for answer in facts.accepted if answer["scope"]]
    for scope, answers in group(keyed, lambda answer: tuple(answer["scope"])).items():
        task_ids = {answer["task_id"] for answer in answers}
        if len(task_ids) > 1:
            yield f"{scope} was answered {sorted(task_ids)}"


def one_id_for_several_triggers(facts, _):
    for task_id, answers in facts.answers_of.items():
        triggers = {tuple(answer["scope"] or [answer["request"]]) for answer in answers}
        if len(triggers) > 1 or len(facts.markers(task_id)) > 1:
            yield f"{task_id} was answered to {sorted(map(str, triggers))} with {sorted(facts.markers(task_id))}"


def several_first_answers(facts, _):
    for task_id, answers in facts.answers_of.items():
        if sum(not answer["replayed"] for answer in answers) > 1:
            yield f"{task_id} was called new more than once"
        if any(answer["replayed"] and not answer["scope"] for answer in answers):
            yield f"{task_id} has no key and was called a replay"


def unwelcome_answers(facts, limits):
    for answer in facts.of_kind["answered"]:
        if answer["status"] not in limits.may_answer:
            yield f"{answer['request']} was answered {answer['status']}: {answer.get('text')}"


def never_taken(facts, _):
    """The last part of a request's name counts the attempts at it."""
    taken = {answer["request"].rpartition("/")[0] for answer in facts.accepted}
    for trigger in sorted({sent["request"].rpartition("/")[0] for sent in facts.of_kind["sent"]} - taken):
        yield f"{trigger} was never taken, however often it was tried"


def went_backwards(facts, _):
    """PENDING and STARTED may alternate; attempts only grow, and a reported end stays."""
    for task_id, all_seen in facts.seen_of.items():
        bodies = [seen["body"] for seen in all_seen if seen["status"] == 200]
        for before, after in zip(bodies, bodies[1:]):
            stays = [name for name in ("task_id", "agent_id", "created_at", "started_at") if before[name]]
            if after["attempt"] < before["attempt"] or any(after[name] != before[name] for name in stays):
                yield f"{task_id} was {before} and then {after}"
        for body in bodies:
            if body["status"] not in ("PENDING", "STARTED", *TERMINAL):
                yield f"{task_id} has a status that there is not: {body['status']}"


def more_runs_than_attempts(facts, _):
    for task_id in facts.answers_of:
        end, runs = facts.end(task_id), len(facts.runs(task_id))
        if end and runs > end["body"]["attempt"]:
            yield f"{task_id} was run {runs} times in {end['body']['attempt']} attempts"


def runs_without_a_reason(facts, _):
    """A run comes again only after a fault of the model's or a kill."""
    for marker, runs in facts.runs_of.items():
        faults = {answer["run"] for answer in facts.run_answers_of[marker] if answer["status"] != 200}
        for run, again in zip(runs, runs[1:]):
            if run["run"] not in faults and not facts.killed_between(run["at"], again["at"]):
                yield f"{marker} was run at {run['at']} and at {again['at']}, nothing between"


def runs_of_a_repeats_body(facts, _):
    repeats = {answer["marker"] for answer in facts.of_kind["sent"] if answer["repeat"]}
    for marker in repeats & facts.runs_of.keys():
        yield f"{marker} was sent under a key that had its task, and was run"


def more_attempts_than_allowed(facts, limits):
    for seen in facts.of_kind["seen"]:
        if seen["body"].get("attempt", 0) > limits.max_attempts:
            yield f"{seen['task_id']}: {seen['body']['attempt']} of {limits.max_attempts}"


def success_without_that_answer(facts, _):
    for task_id in facts.answers_of:
        end = facts.end(task_id)
        if end and end["body"]["status"] == "SUCCESS":
            given = [answer["answer"] for marker in facts.markers(task_id) for answer in facts.run_answers_of[marker]
                     if answer["status"] == 200]
            answered = end["body"]["result"]["result"]["answer"]
            if answered not in given:
                yield f"{task_id} answers {answered[:80]!r}, the model gave {[a[:80] for a in given]}"


def failed_without_a_reason(facts, limits):
    """The one failure that kills explain; the model's faults alone never use up all attempts."""
    for task_id in facts.answers_of:
        end = facts.end(task_id)
        if end and end["body"]["status"] == "FAILURE":
            error, attempt = end["body"]["error"], end["body"]["attempt"]
            if error["type"] != "worker_lost" or attempt != limits.max_attempts:
                yield f"{task_id} failed at attempt {attempt} of {limits.max_attempts}: {error}"


def ended_unlogged(facts, _):
    """Only a runner that was killed after its last write may have had no time for its line."""
    for task_id in facts.answers_of.keys() - facts.ends_of.keys():
        end = facts.end(task_id)
        if end and not facts.killed_between(facts.end_began(task_id), end["at"] + MOMENT):
            yield f"{task_id} ended between {facts.end_began(task_id)} and {end['at']}, and no line says so"


def logged_otherwise(facts, _):
    for task_id, lines in facts.ends_of.items():
        end = facts.end(task_id)
        for line in lines if end else []:
            if line["outcome"] != (end["body"]["error"] or {"type": "success"})["type"]:
                yield f"{task_id} was logged as {line['outcome']} and is {end['body']}"


def died(facts, _):
    for event in facts.of_kind["died"]:
        yield event["text"]


RULES = (
    ("died", died),
    ("lost", never_ended),
    ("lost", not_found),
    ("ended twice", changed_after_its_end),
    ("ended twice", ended_by_two_runners),
    ("ended twice", run_after_its_end),
    ("several ids for one key", several_ids_for_one_key),
    ("one id for several triggers", one_id_for_several_triggers),
    ("several first answers", several_first_answers),
    ("unwelcome answer", unwelcome_answers),
    ("never taken", never_taken),
    ("went backwards", went_backwards),
    ("more runs than attempts", more_runs_than_attempts),
    ("run without a reason", runs_without_a_reason),
    ("repeat was run", runs_of_a_repeats_body),
    ("more attempts than allowed", more_attempts_than_allowed),
    ("not the model's answer", success_without_that_answer),
    ("failed without a reason", failed_without_a_reason),
    ("end not logged", ended_unlogged),
    ("logged otherwise", logged_otherwise),
)


def figures(events, violations):
    """What happened, in numbers, by name and in reading order."""
    facts = Facts(events)
    ends = [facts.end(task_id) for task_id in facts.answers_of]
    bodies = [end["body"] for end in ends if end]
    runs = [len(facts.runs(task_id)) for task_id in facts.answers_of]
    kills, listening = facts.of_kind["killed"], facts.of_kind["listening"]
    broken = collections.Counter(rule for rule, _ in violations)
    return {
        "tasks": len(facts.answers_of),
        "triggers sent": len(facts.of_kind["sent"]),
        "answered 200": len(facts.accepted),
        "answered otherwise": len(facts.of_kind["answered"]) - len(facts.accepted),
        "unanswered": len(facts.of_kind["unanswered"]),
        "retries": sum(event["retry"] for event in facts.of_kind["sent"]),
        "replays": sum(event["replayed"] for event in facts.accepted),
        "kills": len(kills),
        "processes killed": sum(len(kill["pids"]) for kill in kills),
        "starts": len(listening),
        "runs": sum(runs),
        "re-runs": sum(count - 1 for count in runs if count),
        "transient errors": sum(event["status"] != 200 for event in facts.of_kind["run_answered"]),
        "attempts": sum(body["attempt"] for body in bodies),
        "SUCCESS": sum(body["status"] == "SUCCESS" for body in bodies),
        "worker_lost": sum((body["error"] or {}).get("type") == "worker_lost" for body in bodies),
        "ends logged": len(facts.ends_of.keys() & facts.answers_of.keys()),
        "lost": broken["lost"],
        "ended twice": broken["ended twice"],
        "other violations": sum(broken.values()) - broken["lost"] - broken["ended twice"],
    }
