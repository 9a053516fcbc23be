"""Other people's servers, as published: Datasette with its MCP server, and Chroma
with the OpenAPI document that it serves itself (both Apache-2.0)."""

import hashlib
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".tools/real-tools"
LOCK = Path(__file__).with_name("requirements.lock")
SECONDS_TO_START = 30


def install():
    """Only files whose hashes are listed, and no code of theirs runs while installing."""
    wanted = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    installed = FOLDER / "installed"
    if installed.exists() and installed.read_text() == wanted:
        return
    venv.create(FOLDER, with_pip=True, clear=True)
    subprocess.run([FOLDER / "bin/pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                    "--require-hashes", "--only-binary", ":all:", "--requirement", LOCK], check=True)
    installed.write_text(wanted)


class Served:
    """A server process on loopback, until `close`. It is ready when the path `ready` answers; without one, when it
    accepts connections."""

    def __init__(self, command, ready, log, environment=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        with open(log, "wb") as output:
            command = [str(part).replace("PORT", str(self.port)) for part in command]
            if environment is not None:
                environment = {name: str(value).replace("PORT", str(self.port)) for name, value in environment.items()}
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        self._wait(ready, log)

    def _wait(self, ready, log):
        deadline = time.monotonic() + SECONDS_TO_START
        while self.process.poll() is None and time.monotonic() < deadline:
            try:
                if ready is None:
                    socket.create_connection(("127.0.0.1", self.port), 1).close()
                else:
                    fetch(self.url + ready)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        self.close()
        raise SystemExit(f"{self.url} does not answer:\n{Path(log).read_text()[-4000:]}")

    def close(self):
        self.process.terminate()
        self.process.wait()


def datasette(folder):
    database = folder / "shop.db"
    with sqlite3.connect(database) as shop:
        shop.execute("create table orders (id integer primary key, state text)")
        shop.execute("insert into orders values (7, 'shipped on Monday'), (8, 'waiting for paper')")
    return Served([FOLDER / "bin/datasette", "serve", database, "--host", "127.0.0.1", "--port", "PORT"],
                  "/-/versions.json", folder / "datasette.log")


def chroma(folder):
    start = f"import chromadb_rust_bindings as b; b.cli(['chroma', 'run', '--path', '{folder}/chroma', '--host', '127.0.0.1', '--port', 'PORT'])"
    return Served([FOLDER / "bin/python", "-c", start], "/api/v2/heartbeat", folder / "chroma.log")


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
