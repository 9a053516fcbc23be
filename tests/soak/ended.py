"""The lines a runner logs when it has ended a task (crates/runner/src/log.rs)."""

import json
import re

# The emulator puts a function's lines among its own.
LINE = re.compile(r'\{"(?:timestamp|level)":.*"message":"task ended".*\}')


def end_lines(log):
    """One event for each: which task, and how."""
    with log.open(errors="replace") as file:
        for text in file:
            found = LINE.search(text)
            try:
                line = json.loads(found.group()) if found else None
            except ValueError:
                # Killed in the middle of it.
                continue
            if line:
                yield {"task_id": line["task_id"], "outcome": line["outcome"]}
