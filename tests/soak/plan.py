"""What a soak will do: drawn from its seed alone, before anything runs.

Each caller, the kills and the model draw from streams of their own, so no choice
depends on what happened, in what order, or how long it took.
"""

import dataclasses
import random

AGENTS = 3
KEYED = 0.7
BY_GET = 0.25
LARGE = 0.03
HANGS_UP = 0.04
REPEATED_AT_ONCE = 0.12
REPEATED_LATE = 0.15
REPEATED_AFTER_ALL = 0.1
SHARED_KEY = 0.05
SLOW = 0.12
# Beyond the 8 KiB that the product keeps in the task's own item.
LARGE_BYTES = 12_000


@dataclasses.dataclass(frozen=True)
class Intent:
    """One thing a caller wants done once, and how often and how it says so."""

    caller: int
    number: int
    agent: int
    key: str | None
    marker: str
    method: str
    pause: float
    filler: str = ""
    # Of the first request: sent, then the connection closed without reading.
    hangs_up: bool = False
    # Further triggers with the same key and body at the same moment.
    at_once: int = 0
    # Seconds after its answer at which the key comes again, with another body.
    late: float | None = None
    # Once more after every task has ended.
    after_all: bool = False


@dataclasses.dataclass(frozen=True)
class Kill:
    """A kill, `delay` seconds after so many tasks were accepted."""

    accepted: int
    delay: float
    # The restart is killed too, so many seconds into its start, for each entry.
    during_start: tuple[float, ...] = ()
    # Where there are several functions: all of them, not only the runners.
    everything: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
    seed: int
    callers: tuple[tuple[Intent, ...], ...]
    kills: tuple[Kill, ...]
    # The very first starts, on an empty folder, killed this many seconds in.
    births: tuple[float, ...]

    @property
    def tasks(self):
        return sum(len(intents) for intents in self.callers)


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """What the model does at one run."""

    seconds: float
    status: int = 200
    retry_after: int | None = None
    answer: str = ""


def draw(seed, tasks, kills, callers, rate, longest_start=0.15):
    """`rate` is triggers a second, of all callers together, when nothing is down."""
    pause = callers / rate
    shares = [len(range(caller, tasks, callers)) for caller in range(callers)]
    return Plan(
        seed=seed,
        callers=tuple(_caller(seed, caller, share, pause) for caller, share in enumerate(shares)),
        kills=_kills(random.Random(f"{seed}/kills"), kills, tasks, longest_start),
        births=tuple(random.Random(f"{seed}/births").uniform(0, longest_start) for _ in range(2)),
    )


def _caller(seed, caller, share, pause):
    rng = random.Random(f"{seed}/caller/{caller}")
    intents = []
    for number in range(share):
        # The same key under another agent is another task.
        if intents and _has_own_key(seed, intents[-1]) and rng.random() < SHARED_KEY:
            key, agent = intents[-1].key, (intents[-1].agent + 1) % AGENTS
        else:
            key, agent = _key(rng, seed, caller, number), rng.randrange(AGENTS)
        intents.append(_intent(rng, seed, caller, number, agent, key, pause))
    return tuple(intents)


def _key(rng, seed, caller, number):
    return _own_key(seed, caller, number) if rng.random() < KEYED else None


def _own_key(seed, caller, number):
    return f"key-{seed}-{caller}-{number}-ü"


def _has_own_key(seed, intent):
    return intent.key == _own_key(seed, intent.caller, intent.number)


def _intent(rng, seed, caller, number, agent, key, pause):
    method = "GET" if rng.random() < BY_GET else "POST"
    large = rng.random() < LARGE and method == "POST"
    return Intent(
        caller, number, agent, key,
        marker=f"soak-{seed}-{caller}-{number}",
        method=method,
        pause=rng.uniform(0, 2 * pause),
        filler=rng.randbytes(LARGE_BYTES // 2).hex() if large else "",
        hangs_up=rng.random() < HANGS_UP,
        at_once=rng.randint(1, 3) if key and rng.random() < REPEATED_AT_ONCE else 0,
        late=rng.uniform(0, 5) if key and rng.random() < REPEATED_LATE else None,
        after_all=bool(key) and rng.random() < REPEATED_AFTER_ALL,
    )


def _kills(rng, kills, tasks, longest_start):
    # Spread over the whole load, each anywhere within its part.
    points = [int((number + rng.random()) * tasks / (kills + 0.5)) for number in range(kills)]
    return tuple(
        Kill(
            accepted=point,
            delay=rng.uniform(0, 0.3),
            during_start=tuple(rng.uniform(0, longest_start) for _ in range(rng.choice((0, 0, 0, 1, 2)))),
            everything=rng.random() < 0.5,
        )
        for point in points
    )


def behaviour(seed, marker, run, slow=SLOW):
    """Of the model at this run of the task with this marker, counted from 1; `slow` is the share of slow ones."""
    rng = random.Random(f"{seed}/model/{marker}/{run}")
    # Only early runs, so that no task runs out of attempts because of its model.
    fault = rng.random() if run <= 2 else 1.0
    if fault < 0.03:
        return Behaviour(rng.uniform(0, 0.2), status=429, retry_after=rng.choice((None, 1, 2)))
    if fault < 0.06:
        return Behaviour(rng.uniform(0, 0.2), status=503)
    seconds = rng.uniform(0.5, 2.0) if rng.random() < slow else rng.uniform(0, 0.15)
    # Identifies the run and its task, so that no other run can have written it.
    answer = f"answer to {marker}, run {run}: {rng.randbytes(8).hex()}"
    filler = rng.randbytes(LARGE_BYTES // 2).hex() if rng.random() < LARGE else ""
    return Behaviour(seconds, answer=answer + filler)
