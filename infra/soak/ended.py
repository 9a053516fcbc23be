"""The lines a runner logs when it has ended a task."""

import json
import re

# The emulator puts a function's lines among its own.
LINE = re.compile(r'\{.*"task ended".*\}')


def end_lines(log):
    """One event for each: which task, how, and whether the write was refused as too late."""
    with log.open(errors="replace") as file:
        for text in file:
            found = LINE.search(text)
            try:
                line = json.loads(found.group()) if found else {}
            except ValueError:
                # Killed in the middle of it.
                continue
            if line.get("message") == "task ended":
                yield {"task_id": line["task_id"], "status": line["status"], "fenced": line.get("fenced", False)}
