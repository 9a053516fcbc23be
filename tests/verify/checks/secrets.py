"""Check 6, Secrets Manager: reads after creation, and names that are free after a forced deletion."""

import time
import uuid

from botocore.exceptions import ClientError

from verify.agents import wait_for_ends
from verify.results import judge, not_answerable, only_on_aws

CHECK = "secrets"


def run(context):
    emulated = context.target.is_emulator
    created = [create_and_read(context) for _ in range(context.choose(8, 2))]
    yield only_on_aws(judge_reads(created), emulated)
    yield only_on_aws(judge_deletions([delete_and_create(context, name) for name, _, _ in created]), emulated)
    yield only_on_aws(key_at_once(context), emulated)
    yield only_on_aws(name_used_again(context), emulated)


# ------------------------------------------------------------ The service itself


def create_and_read(context):
    """Name, seconds until the first read that succeeds, and the errors before it."""
    secrets, name = context.target.aws("secretsmanager"), f"{context.target.stack}/verify/{uuid.uuid4().hex}"
    secrets.create_secret(Name=name, SecretString="verify")
    context.agents.secrets.append(name)
    seconds, errors = time_until(lambda: secrets.get_secret_value(SecretId=name), 30)
    return name, seconds, errors


def delete_and_create(context, name):
    """Seconds until the name can be created again after a forced deletion, and the errors before."""
    secrets = context.target.aws("secretsmanager")
    secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    seconds, errors = time_until(lambda: secrets.create_secret(Name=name, SecretString="again"), 90)
    if seconds is not None:
        secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    context.agents.secrets.remove(name)
    return seconds, errors


def time_until(call, patience):
    errors, began = [], time.monotonic()
    while time.monotonic() - began < patience:
        try:
            call()
            return time.monotonic() - began, errors
        except ClientError as error:
            errors.append(error.response["Error"]["Code"])
            time.sleep(0.1)
    return None, errors


def judge_reads(created):
    late = [seconds for _, seconds, errors in created if errors and seconds is not None]
    never = [name for name, seconds, _ in created if seconds is None]
    kinds = sorted({code for _, _, errors in created for code in errors})
    finding = (f"{len(late)} of {len(created)} secrets could not be read at once; the longest took {max(late):.1f} s" if late else
               f"{len(created)} of {len(created)} secrets could be read at once")
    return judge(CHECK, "How long after its creation can a secret be read?", [f"{name} could not be read for 30 s" for name in never], finding,
                 [f"errors before the first read: {kinds or 'none'}"], {"secret readable after, longest (s)": round(max(late, default=0), 1)})


def judge_deletions(deletions):
    waited = [seconds for seconds, errors in deletions if errors and seconds is not None]
    kinds = sorted({code for _, errors in deletions for code in errors})
    problems = [f"a name was not free 90 s after its forced deletion: {errors[-1]}" for seconds, errors in deletions if seconds is None]
    finding = (f"{len(waited)} of {len(deletions)} names were not free at once; the longest took {max(waited):.1f} s" if waited else
               f"{len(deletions)} of {len(deletions)} names were free at once")
    return judge(CHECK, "How long after a forced deletion is a secret's name free?", problems, finding,
                 [f"errors meanwhile: {kinds or 'none'}"], {"secret name free after, longest (s)": round(max(waited, default=0), 1)})


# ------------------------------------------------------------ The product


def key_at_once(context):
    """Agents with a key of their own, triggered at once: the key must be found. Errors of the secret store are transient."""
    target, triggers = context.target, []
    for number in range(context.choose(6, 2)):
        key = f"sk-verify-{uuid.uuid4().hex}"
        agent = context.agents.create(f"key-{number}", context.model, model={"api_key": key})
        triggers.append(context.agents.trigger(agent, {"key": key}))
    ends = wait_for_ends(target, [trigger.task_id for trigger in triggers], 120)
    problems = [f"{task_id} ended {end['status']}: {end.get('error')}" for task_id, end in ends.items() if end["status"] != "SUCCESS"]
    return judge(CHECK, "Create an agent with an API key, trigger at once", problems,
                 f"{len(ends)} of {len(ends)} tasks found their key, attempts {sorted({end['attempt'] for end in ends.values()})}")


def name_used_again(context):
    """Set, delete, set again: each call's status. A caller must learn when to try again."""
    target, name = context.target, f"verify-{context.agents.run}"
    path, subject = f"/api/secrets/{name}", "Set a secret, delete it, set it again"
    context.agents.secrets.append(f"{target.stack}/provider/{name}")
    first = target.manage("PUT", path, json={"value": "one"})
    if first.status_code != 204:
        return not_answerable(CHECK, subject, f"The first PUT was answered {first.status_code}: {first.text[:200]}")
    key = "two"
    target.manage("DELETE", path)
    began, statuses = time.monotonic(), []
    while time.monotonic() - began < 60:
        answer = target.manage("PUT", path, json={"value": key})
        statuses.append(answer.status_code)
        if answer.status_code == 204:
            break
        time.sleep(1)
    took = time.monotonic() - began
    # A 409 that names the window is an answer that a person can act on; a 5xx is a defect.
    problems = [f"PUT after DELETE was answered {statuses}"] if statuses[-1] != 204 or any(status >= 500 for status in statuses) else []
    if not problems:
        agent = context.agents.create("key-again", context.model, model={"api_key": {"secret": name}})
        trigger = context.agents.trigger(agent, {"key": key})
        end = wait_for_ends(target, [trigger.task_id], 120)[trigger.task_id]
        if end["status"] != "SUCCESS":
            problems.append(f"a run with the new value ended {end['status']}: {end.get('error')}")
        context.agents.delete(agent.agent_id)
    target.manage("DELETE", path)
    context.agents.secrets.remove(f"{target.stack}/provider/{name}")
    return judge(CHECK, subject, problems, f"204 after {took:.1f} s, and a run uses the new value", [f"statuses of PUT: {statuses}"])
