"""The real SAM CLI, run as docs/deploy.md says: in a terminal, prompt by prompt."""

import dataclasses
import json
import os
import pty
import re
import select
import signal
import textwrap
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / ".tools" / "venv" / "bin"
# A prompt of SAM CLI ends its line with the default, if there is one, and a colon.
PROMPT = re.compile(r"^\t(?P<question>[^\t:\[]+?)(?: \[[^\]]*\])?: $")
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
# Only a prompt is followed by silence, and silence alone shows that it is complete.
QUIET_SECONDS = 0.01


def documented(heading, language, index=0, document="deploy.md"):
    """Returns a code block of a section of a document, by default the first of its language in docs/deploy.md."""
    _, section = (ROOT / "docs" / document).read_text().split(f"# {heading}\n", 1)
    section = section.split("\n## ", 1)[0]
    blocks = re.findall(rf"^ *```{language}\n(.*?)^ *```$", section, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(blocks[index])


def environment_of_sam(folder, endpoint):
    """Returns the environment of SAM CLI: the pinned tools, and another endpoint than that of AWS."""
    settings = folder / "sam"
    settings.mkdir(exist_ok=True)
    # SAM CLI has just looked for a newer release, and does not ask PyPI.
    now = time.time()
    (settings / "metadata.json").write_text(json.dumps({"lastVersionCheck": now}))
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CARGO", "SAM_"))},
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "SAM_CLI_TELEMETRY": "0",
        "SAM_CLI_POLL_DELAY": "0.2",
        "__SAM_CLI_APP_DIR": str(settings),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_PAGER": "",
    }


@dataclasses.dataclass
class Dialogue:
    """What a command printed, what it asked, and how it ended."""

    text: str = ""
    questions: list = dataclasses.field(default_factory=list)
    # The question that it asked again, at which we gave up.
    repeated: str | None = None
    code: int | None = None


def run_in_terminal(command, folder, environment, answers, timeout=120):
    """Answers each prompt of the command with what `answers` holds for it, or with Enter."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], [str(word) for word in command], environment)
    dialogue = Dialogue()
    deadline = time.monotonic() + timeout
    try:
        for line in lines_before_a_prompt(terminal, deadline):
            dialogue.text += line
            asked = PROMPT.match(line)
            if not asked:
                continue
            question = asked["question"].removeprefix("Parameter ")
            if question in dialogue.questions:
                dialogue.repeated = question
                break
            dialogue.questions.append(question)
            os.write(terminal, answers.get(question, "").encode() + b"\n")
    finally:
        if dialogue.repeated or time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        dialogue.code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(terminal)
    return dialogue


def lines_before_a_prompt(terminal, deadline):
    """Yields each complete line, and each incomplete one that looks like a prompt, without colours."""
    line = b""
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], QUIET_SECONDS)[0]:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                # How Linux reports that the other side is closed.
                data = b""
            if not data:
                break
            *complete, line = (line + data).split(b"\n")
            for text in complete:
                yield plain(text) + "\n"
        elif PROMPT.match(plain(line)):
            yield plain(line)
            line = b""
    yield plain(line)


def plain(data):
    return ESCAPES.sub("", data.decode(errors="replace")).rstrip("\r")
