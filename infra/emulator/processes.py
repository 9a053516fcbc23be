"""The emulator's function processes: this emulator's, and no others."""

import os
import signal
from pathlib import Path


def kill_runners(emulator_pid):
    """kill -9 the agent function's processes; returns their ids."""
    killed = []
    for pid in descendants(emulator_pid):
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            # Only the agent function knows the dead-letter queue.
            if b"AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL=" in environment:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        except OSError:
            continue
    return killed


def descendants(pid):
    """Every process below this one, by the parent each names in /proc."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The command's name, in parentheses, may hold spaces.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            return found - {pid}
        found |= more
