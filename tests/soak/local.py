"""The local server: one process, killed and started again on its folder and port."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

from checker import Limits
from ended import end_lines

ADMIN_TOKEN = "soak-admin-token"


class ServerDied(Exception):
    """It ended without being killed."""


class LocalServer:
    # What a caller may be answered: a fault inside the server would be a 500.
    limits = Limits(max_attempts=9, may_answer=frozenset({200, 503}))

    def __init__(self, folder, binary, history):
        self.folder = folder
        self.binary = binary
        self.history = history
        self.port = unused_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.admin_token = ADMIN_TOKEN
        self.starts = 0
        self.process = None
        folder.mkdir(parents=True)

    def start(self, births):
        self._start(births)

    def disturb(self, kill):
        self._kill("under load")
        self._start(kill.during_start)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end_lines(self):
        for log in sorted(self.folder.glob("log-*.jsonl")):
            yield from end_lines(log)

    def _start(self, killed_after):
        for seconds in killed_after:
            self._spawn()
            time.sleep(seconds)
            self._kill("during its start")
        self._spawn()
        for line in self.process.stdout:
            if line.startswith("listening on "):
                self.history.note("listening", pid=self.process.pid)
                return
        raise ServerDied(f"it did not start; see {self._log()}")

    def _spawn(self):
        self.starts += 1
        environment = {"PATH": os.environ["PATH"], "AGENT_WEBHOOKS_ADMIN_TOKEN": ADMIN_TOKEN,
                       "AGENT_WEBHOOKS_MAX_ATTEMPTS": str(self.limits.max_attempts)}
        with self._log().open("w") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.folder / "data",
                 "--log-format", "json"],
                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)

    def _log(self):
        return self.folder / f"log-{self.starts:04}.jsonl"

    def _kill(self, when):
        code = self.process.poll()
        if code is not None:
            raise ServerDied(f"it ended by itself with code {code}; see {self._log()}")
        self.history.note("killed", pids=[self.process.pid], when=when)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


def unused_port():
    """A free port that the system hands to no connection of its own accord, while the server is down."""
    lowest_handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, lowest_handed_out)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
