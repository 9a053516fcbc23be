#!/usr/bin/env python3
"""Fail when a line that the product logged in the last test run contains a secret.

The tests leave in target/redaction what the product logged (*.log) and what they
handed it or got from it that no log may hold (*.secrets: webhook tokens, keys,
prompts, payloads …), one JSON object a line: crates/local/tests/api/support/redaction.rs
and tests/emulator/redaction.py. Every secret is looked for in every line, upper
or lower case. A finding names the line and the kind of secret, not the secret.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "target" / "redaction"
# Shorter texts are words that may occur anywhere.
SHORTEST = 8
# Where lines come from, and how many there are at least: fewer means that the
# product's log was not recorded, so that the search would find nothing.
LOGS = {"in-process": 1000, "spawned": 100, "deployed": 50}
EVERY_KIND = {"admin token", "signing secret", "webhook token", "idempotency key", "API key", "prompt", "payload", "answer",
              "stored secret"}
TOOL_KINDS = {"tool secret", "tool call", "tool argument", "tool result"}
KINDS = {"in-process": EVERY_KIND | TOOL_KINDS, "deployed": EVERY_KIND}
MOST_SHOWN = 50


def main():
    kinds, missing = secrets()
    missing += too_few_lines()
    matches = matching_lines(kinds) if kinds else []
    for problem in missing + [finding(match, kinds) for match in matches[:MOST_SHOWN]]:
        print(problem)
    if len(matches) > MOST_SHOWN:
        print(f"… and {len(matches) - MOST_SHOWN} more")
    sys.exit(1 if missing or matches else 0)


def secrets():
    """Each text to look for with its kind, and what kinds are missing."""
    kinds, missing, count = {}, [], Counter()
    for source, wanted in KINDS.items():
        found = Counter()
        for file in FOLDER.glob(f"{source}*.secrets"):
            for line in set(file.read_text().splitlines()):
                secret = json.loads(line)
                for text in texts(secret["value"]):
                    kinds.setdefault(text.lower(), secret["kind"])
                    found[secret["kind"]] += 1
        missing += [f"{source}: the tests named no {kind}" for kind in sorted(wanted - set(found))]
        count += found
    print(f"secrets: {len(kinds)} ({', '.join(f'{kind} {n}' for kind, n in sorted(count.items()))})")
    return kinds, missing


def texts(value):
    """The parts that no escaping of quotes, backslashes and line ends can change."""
    parts = [part.strip() for part in re.split(r'["\\\x00-\x1f]+', value)]
    return [part for part in parts if len(part) >= SHORTEST]


def too_few_lines():
    missing = []
    for source, least in LOGS.items():
        files = list(FOLDER.glob(f"{source}*.log"))
        lines = sum(file.read_bytes().count(b"\n") for file in files)
        print(f"{source}: {lines} lines logged")
        if lines < least:
            missing.append(f"{source}: at least {least} lines are expected; run first: ./test unit hostile deployed")
    return missing


def matching_lines(kinds):
    """Each line that holds a secret, as `file:number:line`."""
    patterns = FOLDER / "patterns"
    patterns.write_text("".join(f"{text}\n" for text in kinds))
    logs = sorted(FOLDER.glob("*.log"))
    found = subprocess.run(["grep", "--fixed-strings", "--ignore-case", "--line-number", "--with-filename", "--text",
                            "--file", patterns, *logs], env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
                           stdout=subprocess.PIPE, check=False)
    patterns.unlink()
    if found.returncode > 1:
        sys.exit("grep failed")
    # Not `splitlines`, which also splits at U+2028 and other characters that a line may hold.
    return found.stdout.decode(errors="replace").split("\n")[:-1]


def finding(match, kinds):
    """Where the line is, what it holds, and the line without that."""
    file, number, line = match.split(":", 2)
    shown = line.lower()
    held = [text for text in kinds if text in shown]
    # The longest first, because a secret may contain another one.
    for text in sorted(held, key=len, reverse=True):
        shown = shown.replace(text, f"<{kinds[text]}>")
    return f"{file}:{number} holds {' and '.join(sorted({kinds[text] for text in held}))}: {shown[:300]}"


if __name__ == "__main__":
    main()
