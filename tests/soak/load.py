"""Runs a plan against a deployment, from the first start to the last look at every task."""

import dataclasses
import json
import math
import time

from callers import Callers
from history import Stalled
from http_call import call
from local import ServerDied
from model import Model
from plan import AGENTS, SLOW, Kill
from watch import Watch


@dataclasses.dataclass(frozen=True)
class Pace:
    """How patient, and how pressing."""

    watchers: int
    # Between two polls of one watcher.
    poll_pause: float
    # Seconds without any progress after which we stop waiting.
    patience: float
    # Seconds left at the end for runs that should not come.
    settle: float


def run(plan, target, history, pace, trouble, slow=SLOW):
    """Everything that happens is in the history afterwards; `trouble` is made while the callers are at work."""
    model = Model(plan.seed, history, slow)
    try:
        target.start(plan.births)
        load(plan, target, history, pace, trouble, model)
    except (ServerDied, Stalled) as death:
        history.note("died", text=str(death))
    finally:
        target.close()
        model.close()
    for line in target.end_lines():
        history.note("ended", **line)


def load(plan, target, history, pace, trouble, model):
    watch = Watch(target.base_url, history, pace.watchers, pace.poll_pause)
    callers = Callers(plan, create_agents(target, model), history, watch, pace.patience)
    watch.start()
    callers.start()
    try:
        trouble(callers)
        finish(callers, watch, target, history, pace)
    except BaseException:
        callers.abandon()
        watch.stop()
        raise


def kills(plan, target, history, pace):
    """The trouble of a soak."""
    def make(callers):
        for kill in plan.kills:
            history.wait_for_accepted(kill.accepted, callers.are_done, pace.patience)
            time.sleep(kill.delay)
            target.disturb(kill)
    return make


def finish(callers, watch, target, history, pace):
    """See everything to its end, repeat some keys, kill once more, and look at every task again."""
    history.wait_for_accepted(math.inf, callers.are_done, pace.patience)
    callers.join()
    watch.wait_until_all_ended(pace.patience)
    callers.repeat_after_all()
    target.disturb(Kill(accepted=0, delay=0))
    time.sleep(pace.settle)
    watch.confirm(pace.patience)


def create_agents(target, model):
    """Their webhook URLs."""
    return [create_agent(target, model, number) for number in range(AGENTS)]


def create_agent(target, model, number):
    definition = {"name": f"soak-{number}", "prompt": "Answer the order.",
                  "model": {"provider": "openai", "base_url": model.base_url, "name": "soak"}}
    headers = {"Authorization": f"Bearer {target.admin_token}", "Content-Type": "application/json"}
    answer = call("POST", f"{target.base_url}/api/agents", json.dumps(definition), headers)
    if answer.status != 201:
        raise RuntimeError(f"the agent was not made: {answer.status} {answer.body[:300]}")
    return answer.json()["webhook_url"]
