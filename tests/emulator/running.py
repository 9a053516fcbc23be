"""What can be done with a running emulator and its stack."""

import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What `sam build` builds, and `sam deploy` deploys.
BUILD = ROOT / ".aws-sam" / "build"


def function_binary(binaries, logical_id, name):
    """Returns the binary of a function in a folder of `sam build` or of cargo.

    SAM CLI names folders after the functions in the template, cargo names files
    after the binaries.
    """
    built = binaries / logical_id / "bootstrap"
    return built if built.exists() else binaries / name


def admin_token(outputs):
    """As the stack's output says that it is read."""
    environment = {
        "PATH": f"{ROOT / '.tools/venv/bin'}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": outputs["endpoint"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
    done = subprocess.run(outputs["AdminTokenCommand"], shell=True, env=environment, check=True,
                          stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def kill_runners(emulator_pid):
    """kill -9 the agent function's processes, this emulator's and no others; returns their ids."""
    # Only the agent function knows the dead-letter queue.
    return kill_functions(emulator_pid, that_know=b"AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL=")


def kill_functions(emulator_pid, that_know=b"AGENT_WEBHOOKS_"):
    """kill -9 the processes of the functions that have this in their environment; returns their ids."""
    killed = []
    for pid in descendants(emulator_pid):
        try:
            if that_know in Path(f"/proc/{pid}/environ").read_bytes():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        except OSError:
            # It is gone already.
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
