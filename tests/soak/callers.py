"""The callers: each does what its plan says, and retries as a sane client does."""

import heapq
import itertools
import json
import random
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from http_call import NO_ANSWER, call, hang_up

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0


class Callers:
    def __init__(self, plan, webhook_urls, history, watch, patience):
        self.plan = plan
        self.webhook_urls = webhook_urls
        self.history = history
        self.watch = watch
        self.patience = patience
        self.stopping = threading.Event()
        self.pool = ThreadPoolExecutor(len(plan.callers), thread_name_prefix="caller")
        self.copies = ThreadPoolExecutor(64, thread_name_prefix="copy")
        self.at_work = []
        self.begun = []
        self.abandoned = False

    def start(self):
        self.at_work = [self.pool.submit(self._work, intents) for intents in self.plan.callers]
        for work in self.at_work:
            work.add_done_callback(lambda _: self.history.wake())

    def are_done(self):
        return all(work.done() for work in self.at_work)

    def stop(self):
        """Begin nothing new; what was begun is seen through."""
        self.stopping.set()

    def abandon(self):
        """No server is left to call."""
        self.abandoned = True
        self.stopping.set()

    def join(self):
        for work in self.at_work:
            work.result()

    def repeat_after_all(self):
        """The keys that the plan says come again when everything has ended."""
        again = [intent for intent in self.begun if intent.after_all]
        for done in [self.copies.submit(self._trigger, intent, "after_all") for intent in again]:
            done.result()

    def _work(self, intents):
        later = []
        for intent in intents:
            if self.stopping.wait(intent.pause):
                break
            self._first(intent)
            if intent.late is not None:
                heapq.heappush(later, (time.monotonic() + intent.late, intent.number, intent))
            while later and later[0][0] <= time.monotonic():
                self._trigger(heapq.heappop(later)[2], "late")
        while later:
            due, _, intent = heapq.heappop(later)
            self.stopping.wait(max(0, due - time.monotonic()))
            self._trigger(intent, "late")

    def _first(self, intent):
        self.begun.append(intent)
        copies = [self.copies.submit(self._trigger, intent, "at_once") for _ in range(intent.at_once)]
        self._trigger(intent, "first")
        for copy in copies:
            copy.result()

    def _trigger(self, intent, why):
        """Until it is answered, or patience ends: same key, same body, with back-off and Retry-After."""
        # Of its own, so that the number of retries changes nothing in the plan.
        jitter = random.Random(f"{self.plan.seed}/jitter/{intent.marker}/{why}")
        deadline = time.monotonic() + self.patience
        for number in itertools.count():
            request = Request(intent, why, number)
            wanted = self._attempt(request)
            if wanted is None or self.abandoned or time.monotonic() > deadline:
                return
            pause = jitter.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(number, 6)))
            time.sleep(max(pause, wanted))

    def _attempt(self, request):
        """None when it is settled; else the seconds that the next attempt was asked to wait."""
        noted = request.noted()
        url = self.webhook_urls[request.intent.agent]
        self.history.note("sent", **noted)
        try:
            if request.hangs_up:
                hang_up(*request.http(url))
                self.history.note("unanswered", why="hung up", **noted)
                return 0
            answer = call(*request.http(url))
        except NO_ANSWER as error:
            self.history.note("unanswered", why=repr(error), **noted)
            return 0
        if answer.status == 200:
            task_id = answer.json()["task_id"]
            replayed = answer.headers.get("Idempotent-Replayed") == "true"
            self.history.note("answered", status=200, task_id=task_id, replayed=replayed, **noted)
            self.watch.add(task_id)
            return None
        self.history.note("answered", status=answer.status, text=answer.body.decode(errors="replace")[:300], **noted)
        return float(answer.headers.get("Retry-After", 0)) if answer.status in (429, 500, 502, 503, 504) else None


class Request:
    """One attempt at a trigger."""

    def __init__(self, intent, why, number):
        self.intent = intent
        self.why = why
        self.number = number
        self.hangs_up = intent.hangs_up and why == "first" and number == 0

    @property
    def is_repeat(self):
        """Sent when its key is known to have a task: its own body must never be run."""
        return self.why in ("late", "after_all")

    @property
    def marker(self):
        if self.is_repeat:
            return f"{self.intent.marker}.{self.why}"
        # Without a key each attempt may become a task of its own.
        return self.intent.marker if self.intent.key else f"{self.intent.marker}.{self.number}"

    def noted(self):
        scope = [self.intent.agent, self.intent.key] if self.intent.key else None
        return {"request": f"{self.intent.marker}/{self.why}/{self.number}", "scope": scope, "marker": self.marker,
                "repeat": self.is_repeat, "retry": self.number > 0, "why_sent": self.why}

    def http(self, url):
        payload = {"marker": self.marker, "filler": self.intent.filler}
        headers = {"Idempotency-Key": self.intent.key.encode()} if self.intent.key else {}
        method = self.intent.method
        if self.is_repeat:
            method = {"GET": "POST", "POST": "GET"}[method]
        if method == "GET":
            return method, f"{url}?{urllib.parse.urlencode({'marker': self.marker})}", None, headers
        return method, url, json.dumps(payload), {**headers, "Content-Type": "application/json"}
