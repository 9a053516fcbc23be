"""Everything that was sent, answered, seen, run and killed, in the order it was noted."""

import json
import threading
import time


class Stalled(Exception):
    """Nothing goes on any more."""


class History:
    """Events are plain dictionaries: `kind`, `at` (seconds since the start), and what the kind has."""

    def __init__(self):
        self.events = []
        self._began = time.monotonic()
        self._changed = threading.Condition()
        self._accepted = set()

    def now(self):
        return round(time.monotonic() - self._began, 6)

    def note(self, kind, **fields):
        with self._changed:
            self.events.append({"kind": kind, "at": self.now(), **fields})
            if kind == "answered" and fields.get("task_id"):
                self._accepted.add(fields["task_id"])
                self._changed.notify_all()

    @property
    def accepted(self):
        return len(self._accepted)

    def wait_for_accepted(self, count, over, patience):
        """Until so many tasks were accepted, or `over()` says that no more will be."""
        with self._changed:
            while len(self._accepted) < count and not over():
                before = len(self._accepted)
                self._changed.wait_for(lambda: len(self._accepted) > before or over(), timeout=patience)
                if len(self._accepted) == before and not over():
                    raise Stalled(f"no task was accepted for {patience} s")

    def wake(self):
        """Something that an `over()` looks at has changed."""
        with self._changed:
            self._changed.notify_all()

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")
