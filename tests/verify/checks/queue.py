"""Check 6, SQS and Lambda: what a batch contains, deferral, and the lineage of recursive loop detection.

Asked of the probe's queue, whose function may loop: the stack's own queue stays as it is.
"""

import time

from verify.probe import lineage, receives
from verify.results import Result, Status, judge, not_answerable, only_on_aws
from verify.target import wait_until

CHECK = "queue"
# Lambda stops a chain after about 16 invocations.
HOPS = 24
DEFERRED = 8


def run(context):
    emulated = context.target.is_emulator
    yield only_on_aws(message_group(context), emulated)
    yield only_on_aws(deferral(context), emulated)
    yield only_on_aws(lineage_of_dead_letters(context), emulated)
    yield only_on_aws(lineage_of_batches(context), emulated)


def wait_for(context, since, is_complete, patience):
    """The probe's batches, as soon as they are complete. Its log arrives some seconds late."""
    seen = []

    def look():
        seen[:] = context.probe.batches(since)
        return is_complete(seen)

    wait_until(patience, look, pause=2)
    return seen


# ------------------------------------------------------------ MessageGroupId


def message_group(context):
    subject, since = "Does the Lambda record of a standard queue have MessageGroupId?", time.time() - 2
    context.probe.send({"do": "look"}, group="verify-group")
    batches = wait_for(context, since, lambda batches: receives(batches, "look"), context.choose(90, 20))
    found = receives(batches, "look")
    if not found:
        return not_answerable(CHECK, subject, "The probe's log shows no batch with the message")
    attributes = found[0][1]["attributes"]
    group = attributes.get("MessageGroupId")
    problems = [] if group in (None, "verify-group") else [f"MessageGroupId is {group!r}, sent was verify-group"]
    # The product reads the task's owner from the table when the record has none: one more read per look for a slot.
    return judge(CHECK, subject, problems, f"yes: {group}" if group else "no: the agent function reads the task's owner from the table instead",
                 [f"attributes: {sorted(attributes)}"])


# ------------------------------------------------------------ Deferral


def deferral(context):
    """ChangeMessageVisibility, and the message in the batch's failures: which one counts?"""
    subject, since = "Does ChangeMessageVisibility hold for a message reported as failed?", time.time() - 2
    for number in range(5):
        context.probe.send({"do": "defer", "seconds": DEFERRED, "number": number})
    batches = wait_for(context, since, lambda batches: len(receives(batches, "defer")) >= 10, context.choose(120, 40))
    pauses = pauses_of(receives(batches, "defer"))
    if len(pauses) < 5:
        return not_answerable(CHECK, subject, f"The probe's log shows {len(pauses)} of 5 messages a second time")
    return judge(CHECK, subject, judge_pauses(pauses), f"yes: after a deferral of {DEFERRED} s the messages came back after {min(pauses):.1f} to {max(pauses):.1f} s",
                 ["the queue's own visibility timeout is 30 s"], {"deferral of 8 s, longest (s)": round(max(pauses), 1)})


def pauses_of(found):
    """Seconds between the first and the second receive of each message."""
    times = {}
    for at, record in found:
        times.setdefault(record["id"], []).append(at)
    return sorted(at[1] - at[0] for at in times.values() if len(at) > 1)


def judge_pauses(pauses):
    early = [pause for pause in pauses if pause < DEFERRED - 1]
    # A batch waits for its window and the poller.
    late = [pause for pause in pauses if pause > 25]
    problems = [f"{len(early)} messages came back after {min(early):.1f} s, before their time"] if early else []
    if late:
        problems.append(f"{len(late)} messages came back after {max(late):.1f} s: the queue's visibility timeout counted")
    return problems


# ------------------------------------------------------------ Lineage


def lineage_of_dead_letters(context):
    """Four hops, then three failures: does the dead letter carry the hops of its message?"""
    subject, since = "Do dead letters keep the lineage of loop detection?", time.time() - 2
    context.probe.send({"do": "hop", "hop": 1, "hops": 4, "then": "fail"})
    batches = wait_for(context, since, lambda batches: any(record["dead"] for _, record in receives(batches, "hop")), context.choose(240, 60))
    return judge_dead_letters(subject, batches)


def judge_dead_letters(subject, batches):
    live = [batch for batch in batches if any(r["body"]["do"] == "hop" and not r["dead"] for r in batch["verify_batch"])]
    dead = [batch for batch in batches if any(r["body"]["do"] == "hop" and r["dead"] for r in batch["verify_batch"])]
    evidence = [f"{'dead letter' if batch in dead else 'hop'}: {batch['trace']}" for batch in [*live, *dead]]
    if not dead:
        return not_answerable(CHECK, subject, "No dead letter reached the probe", evidence)
    before = max((lineage(batch["trace"]) or 0 for batch in live), default=0)
    after = lineage(dead[0]["trace"])
    if not before:
        return not_answerable(CHECK, subject, "The trace headers carry no lineage", evidence)
    is_unchanged = after is not None and after >= before
    finding = (f"yes: {before} hops before, {after} in the dead letter. A chain that was stopped could not be ended through this queue"
               if is_unchanged else f"no: {before} hops before, {after or 0} in the dead letter")
    return Result(CHECK, subject, Status.PASS, finding, evidence)


def lineage_of_batches(context):
    """A chain of hops beside messages of other origin: is a batch stopped with its longest chain?"""
    subject, since = "Does a batch share the lineage of its messages?", time.time() - 2
    context.probe.send({"do": "hop", "hop": 1, "hops": HOPS})
    innocent = context.choose(90, 10)
    for number in range(innocent):
        context.probe.send({"do": "innocent", "number": number})
        time.sleep(0.5)
    began = time.time()
    batches = wait_for(context, since, lambda batches: time.time() > began + context.choose(90, 5)
                       and len(receives(batches, "innocent")) >= innocent, context.choose(180, 30))
    result = judge_batches(subject, batches, innocent)
    context.defer(time.time() + 240, lambda: only_on_aws(dropped_probe(context, since), context.target.is_emulator))
    return result


def judge_batches(subject, batches, innocent):
    hops = [record["body"]["hop"] for _, record in receives(batches, "hop")]
    # A lost innocent message was never received from the live queue.
    run = {record["body"]["number"] for _, record in receives(batches, "innocent") if not record["dead"]}
    lost = innocent - len(run)
    mixed = [batch for batch in batches if {r["body"]["do"] for r in batch["verify_batch"]} == {"hop", "innocent"}]
    evidence = [f"the chain ran up to hop {max(hops, default=0)} of {HOPS}", f"batches with both kinds: {len(mixed)}",
                *(f"mixed batch: {batch['trace']} with records of lineage "
                  f"{[lineage(r['attributes'].get('AWSTraceHeader')) for r in batch['verify_batch']]}" for batch in mixed[:8])]
    if max(hops, default=0) >= HOPS:
        return not_answerable(CHECK, subject, f"The chain was not stopped: all {HOPS} hops ran", evidence)
    if not mixed:
        return not_answerable(CHECK, subject, "No batch had messages of both kinds", evidence)
    finding = (f"yes: the chain was stopped after hop {max(hops)}, and {lost} messages of other origin were not run with it" if lost else
               f"no message of other origin was lost; the chain was stopped after hop {max(hops, default=0)}")
    return Result(CHECK, subject, Status.PASS, finding, evidence)


def dropped_probe(context, since):
    count = context.target.metric("AWS/Lambda", "RecursiveInvocationsDropped", {"FunctionName": context.probe.function}, since - 60, time.time() + 60)
    return Result(CHECK, "RecursiveInvocationsDropped of the probe", Status.PASS, f"{count or 0:.0f} for one chain of {HOPS} hops")
