"""The agents of a run, its triggers, and their ends."""

import dataclasses
import time
import uuid

from verify.parallel import in_parallel
from verify.target import TERMINAL, Unusable

PREFIX = "verify-"
# Answers that a caller is asked to retry.
RETRYABLE = (429, 500, 502, 503, 504)


@dataclasses.dataclass(frozen=True)
class Agent:
    agent_id: str
    webhook_url: str
    path: str


@dataclasses.dataclass
class Trigger:
    """An accepted trigger."""

    marker: str
    task_id: str
    is_replay: bool
    milliseconds: float
    # Statuses before the accepted one.
    refusals: list[int]
    sent_at: float = 0.0


class Agents:
    def __init__(self, target, run):
        self.target = target
        self.run = run
        self.created = []
        self.secrets = []
        self.counter = 0

    def create(self, name, server=None, behaviour="echo", **fields):
        """`server` is the scripted model; `behaviour` its model's name. Fields of the definition replace or extend that."""
        definition = {"name": f"{PREFIX}{self.run}-{name}", "prompt": "Answer the payload.", **fields}
        if server:
            definition["model"] = {"provider": "openai", "base_url": server.base_url, "name": behaviour,
                                   **fields.get("model", {})}
        answer = self.target.manage("POST", "/api/agents", json=definition)
        if answer.status_code != 201:
            raise Unusable(f"POST /api/agents returned {answer.status_code}: {answer.text[:300]}")
        created = answer.json()
        self.created.append(created["agent_id"])
        return self.agent(created)

    def agent(self, shown):
        url = shown["webhook_url"]
        return Agent(shown["agent_id"], url, "/api/webhooks/" + url.partition("/api/webhooks/")[2])

    def delete(self, agent_id):
        answer = self.target.manage("DELETE", f"/api/agents/{agent_id}")
        if answer.status_code in (204, 404) and agent_id in self.created:
            self.created.remove(agent_id)
        return answer.status_code

    def delete_all(self):
        """Ids of agents that could not be deleted."""
        for agent_id in list(self.created):
            self.delete(agent_id)
        return list(self.created)

    def marker(self):
        self.counter += 1
        return f"{PREFIX}{self.run}-{self.counter}-{uuid.uuid4().hex[:8]}"

    def trigger(self, agent, script=None, key=None, patience=60):
        """Triggers until accepted. Retries what a caller should retry, with the same key."""
        script = {"marker": self.marker(), **(script or {})}
        headers = {"Idempotency-Key": key} if key else {}
        refusals, began = [], time.monotonic()
        while True:
            sent, sent_at = time.monotonic(), time.time()
            answer = self.target.http.post(agent.webhook_url, json={"verify": script}, headers=headers, timeout=40)
            if answer.status_code == 200:
                return Trigger(script["marker"], answer.json()["task_id"], answer.headers.get("Idempotent-Replayed") == "true",
                               1000 * (time.monotonic() - sent), refusals, sent_at)
            refusals.append(answer.status_code)
            if answer.status_code not in RETRYABLE or time.monotonic() - began > patience:
                raise AssertionError(f"A trigger was answered {refusals}, the last one with: {answer.text[:200]}")
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), 5))


def wait_for_ends(target, task_ids, patience, pause=1.0):
    """The last status of each task, by id. Returns when all have ended or the patience is over."""
    bodies, deadline = {}, time.monotonic() + patience
    waiting = list(dict.fromkeys(task_ids))
    while waiting:
        for task_id, answer in zip(waiting, in_parallel(target.status, waiting, threads=8)):
            if answer.status_code == 200:
                bodies[task_id] = answer.json()
            elif answer.status_code not in RETRYABLE:
                bodies[task_id] = {"status": f"HTTP {answer.status_code}", "error": None, "attempt": None}
        waiting = [task_id for task_id in waiting if bodies.get(task_id, {}).get("status") not in TERMINAL]
        if time.monotonic() > deadline:
            break
        if waiting:
            time.sleep(pause)
    return bodies


def end_lines(target, since, task_ids, patience):
    """The log lines that record an end, by task. Waits until every task has one, or the patience is over."""
    group, wanted = target.log_group("AgentFunction"), set(task_ids)
    deadline = time.monotonic() + patience
    while True:
        lines = {}
        for line in target.log_lines(group, since, '"total_ms"'):
            if line.get("task_id") in wanted and "outcome" in line:
                lines.setdefault(line["task_id"], []).append(line)
        if lines.keys() == wanted or time.monotonic() > deadline:
            return lines
        time.sleep(2)
