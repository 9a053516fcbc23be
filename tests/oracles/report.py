"""Collects the cases of an oracle, and prints the table."""

import contextlib
import sys
import time


class Report:
    def __init__(self, oracle):
        self.oracle, self.passed, self.failed, self.notes = oracle, 0, [], []
        self.started = time.monotonic()

    @contextlib.contextmanager
    def case(self, title):
        """Counts one case. Its block calls `expect`, or raises."""
        self.title, before = title, len(self.failed)
        try:
            yield
        except Exception as error:  # noqa: BLE001: a case that breaks must not hide the others
            self.fail(f"{type(error).__name__}: {error}")
        if len(self.failed) == before:
            self.passed += 1

    def expect(self, is_right, otherwise):
        if not is_right:
            self.fail(otherwise)

    def fail(self, why):
        self.failed.append((self.title, why))
        print(f"  FAILED {self.oracle}: {self.title}\n         {why}", flush=True)

    def note(self, text):
        """A figure that is neither right nor wrong."""
        self.notes.append(text)
        print(f"  {self.oracle}: {text}", flush=True)

    def row(self):
        seconds = time.monotonic() - self.started
        return f"{self.oracle:<16} {self.passed:>5} passed {len(self.failed):>4} failed {seconds:>6.0f} s"


def finish(reports, rows):
    print("\n" + "\n".join(rows))
    sys.exit(1 if any(report.failed for report in reports) else 0)
