"""The deployed stack on the emulator, whose runners are killed, and sometimes all its functions."""

import json
import subprocess
import sys
import time
from pathlib import Path

from checker import Limits
from ended import end_lines

ROOT = Path(__file__).resolve().parents[2]
EMULATOR = ROOT / "tests" / "emulator"
sys.path.insert(0, str(EMULATOR))

from running import admin_token, kill_functions, kill_runners  # noqa: E402

MAX_ATTEMPTS = 9
PARAMETERS = {
    # A killed runner's task waits until this is over.
    "AgentTimeoutSeconds": "10",
    "MaxAttempts": str(MAX_ATTEMPTS),
    "AllowedPrivateHosts": "127.0.0.1",
}


class DeployedStack:
    # The gateway answers 502 for a function that was killed before it could.
    limits = Limits(MAX_ATTEMPTS, may_answer=frozenset({200, 502, 503}))

    def __init__(self, folder, binaries, history):
        self.folder = folder
        self.binaries = binaries
        self.history = history
        self.base_url = self.admin_token = self.pid = None

    def start(self, _births):
        parameters = [word for name, value in PARAMETERS.items() for word in ("--parameter", f"{name}={value}")]
        up = subprocess.run([EMULATOR / "up", "--state", self.folder, "--binaries", self.binaries, *parameters],
                            check=True, stdout=subprocess.PIPE, text=True)
        outputs = json.loads(up.stdout)
        self.base_url, self.pid = outputs["base_url"], outputs["pid"]
        self.admin_token = admin_token(outputs)

    def disturb(self, kill):
        self._kill(kill, "under load")
        for seconds in kill.during_start:
            time.sleep(seconds)
            self._kill(kill, "shortly after")

    def close(self):
        subprocess.run([EMULATOR / "down", "--state", self.folder], check=True)

    def end_lines(self):
        return end_lines(self.folder / "ministack.log")

    def _kill(self, kill, when):
        kill_them = kill_functions if kill.everything else kill_runners
        self.history.note("killed", pids=kill_them(self.pid), when=when)
