"""Asks how tasks stand, over and over, and notes every change it sees."""

import collections
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from history import Stalled
from http_call import NO_ANSWER, call

TERMINAL = ("SUCCESS", "FAILURE")


class Watch:
    """Each task is asked for by one thread only, so that what it saw has an order."""

    def __init__(self, base_url, history, threads, pause):
        self.base_url = base_url
        self.history = history
        self.pause = pause
        self.shards = [Shard(self) for _ in range(threads)]
        self.stopping = threading.Event()

    def start(self):
        for shard in self.shards:
            shard.thread.start()

    def stop(self):
        self.stopping.set()
        for shard in self.shards:
            if shard.thread.is_alive():
                shard.thread.join()

    def add(self, task_id):
        self.shards[int(task_id[-4:], 16) % len(self.shards)].add(task_id)

    def wait_until_all_ended(self, patience):
        """Gives up, for the checker to say so, when nothing has ended for so long."""
        open_before, since = None, time.monotonic()
        while time.monotonic() - since < patience:
            still_open = sum(len(shard.open) for shard in self.shards)
            if not still_open:
                return
            if still_open != open_before:
                open_before, since = still_open, time.monotonic()
            time.sleep(0.1)

    def confirm(self, patience):
        """Ask once more for every task that has ended."""
        self.stop()
        with ThreadPoolExecutor(len(self.shards)) as pool:
            for done in [pool.submit(shard.confirm, patience) for shard in self.shards]:
                done.result()


class Shard:
    def __init__(self, watch):
        self.watch = watch
        self.lock = threading.Lock()
        self.open = {}
        self.ended = collections.deque()
        self.last = {}
        self.thread = threading.Thread(target=self._run, daemon=True)

    def add(self, task_id):
        with self.lock:
            if task_id not in self.last:
                self.last[task_id] = None
                self.open[task_id] = True

    def _run(self):
        while not self.watch.stopping.is_set():
            with self.lock:
                tasks = list(self.open)
            # Among those that go on, one that has ended: it must not change any more.
            if self.ended:
                tasks.append(self.ended[0])
                self.ended.rotate(-1)
            for task_id in tasks:
                self.ask(task_id)
                if self.watch.stopping.wait(self.watch.pause):
                    return
            self.watch.stopping.wait(self.watch.pause)

    def confirm(self, patience):
        deadline = time.monotonic() + patience
        for task_id in list(self.ended):
            while not self.ask(task_id):
                if time.monotonic() > deadline:
                    raise Stalled(f"the status of {task_id} could not be asked for any more")
                time.sleep(self.watch.pause)

    def ask(self, task_id):
        """Whether there was an answer."""
        try:
            answer = call("GET", f"{self.watch.base_url}/api/task_status?task_id={task_id}")
        except NO_ANSWER:
            return False
        if answer.status >= 500 or answer.status == 429:
            return False
        self._note(task_id, answer.status, answer.json())
        return True

    def _note(self, task_id, status, body):
        if (status, body) == self.last[task_id]:
            return
        self.last[task_id] = (status, body)
        self.watch.history.note("seen", task_id=task_id, status=status, body=body)
        if task_id in self.open and (body.get("status") in TERMINAL or status != 200):
            self.ended.append(task_id)
            with self.lock:
                del self.open[task_id]
