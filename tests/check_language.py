#!/usr/bin/env python3
"""Fail where a text does not follow the rules for plain language, or names a file or heading that does not exist.

    tests/check_language.py [FOLDER | FILE …]     without one: every file of the repository
    tests/check_language.py --count               how many findings there are for each rule

The words are looked for in everything that a person reads: comments, strings, names (of which `_` separates the words)
and documents. Each finding says what to write instead. CONTRIBUTING.md has the glossary.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# What not to write, and what to write instead.
WORDS = [
    (r"passing (?:fault|error|failure)s?", "transient error, retryable"),
    (r"what stays", "permanent error"),
    (r"anew", "again; rebuild, re-create"),
    (r"mend(?:s|ed|ing)?", "fix"),
    (r"reckon\w*", "calculate, estimate"),
    (r"tells?|told", "logs, reports, returns, notifies; sent to, sees"),
    (r"befell|befall\w*", "history, events"),
    (r"speaks?|spoken?|speaking", "supports HTTP/2; matches the schema"),
    (r"(?:is|are|was|were|be|being|goes|went) (?:away|not there)", "unavailable, unreachable, missing"),
    (r"(?<!webpki.)(?<!native.)roots", "CA certificates"),
    (r"bur(?:y|ies|ied|ying|ials?)", "end an abandoned task"),
    (r"under way", "in progress"),
    (r"(?:half|\d+ %) within", "p50, p90, p99"),
    (r"kept", "stored, saved; unchanged"),
    (r"(?:an?|its|their|whose|the|request|response|slow|late|large|long|incomplete) heads?(?! -|-|'s| of (?:the|main|a) )", "headers"),
    (r"by commas", "comma-separated"),
    (r"in vain", "without success"),
    (r"(?:own|its|their|a server's) words?(?: for it)?", "message, error code, response body"),
    (r"whoever|nobody|somebody|anybody|who asks|who answers", "the caller, the operator, the worker, no one of them"),
    (r"(?<!there )(?:is|are) no(?! (?:longer|more|less|such|other|need))", "is not a …, is not valid …"),
]
RULES = [(re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])", re.IGNORECASE), instead) for pattern, instead in WORDS]

# Texts of others, generated files, and inputs of tests.
SKIPPED = re.compile(
    r"(^|/)(dist|corpus|snapshots|testdata|advisories)/|\.(lock|svg|png|ico|pdf|snap|bin|gz|woff2)$|(^|/)(package-lock|openapi)\.json$"
    r"|^LICENSE$|requirements\.lock$|^tests/check_language\.py$"
)
# A method, a command or a term that one of the words is part of.
TERMS = re.compile(
    r"\bHEAD\b|\"kept\":|head-of-line|<head>|</head>|`head`|webpki_roots|roots/list|list_roots|ListRoots\w*"
)
CODE_PATH = re.compile(r"`((?:crates|functions|docs|web|examples|tests|benches)/[\w./-]*[\w-])(?::\d+)?`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def main():
    arguments = sys.argv[1:]
    counts = "--count" in arguments
    wanted = [Path(argument).resolve().relative_to(ROOT).as_posix() for argument in arguments if argument != "--count"]
    files = [file for file in tracked() if not wanted or any(f"{file}/".startswith(f"{name}/") for name in wanted)]
    findings = [finding for file in files for finding in check(file)]
    if counts:
        for rule, number in Counter(rule for _, rule, _ in findings).most_common():
            print(f"{number:5}  {rule}")
        print(f"{len(findings):5}  in all")
        return
    for place, _, text in findings:
        print(f"{place}: {text}")
    sys.exit(1 if findings else 0)


def tracked():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True,
                            stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return [file for file in listed if not SKIPPED.search(file) and (ROOT / file).is_file()]


def check(file):
    """Each finding as its place, its rule and its text."""
    try:
        text = (ROOT / file).read_text()
    except UnicodeDecodeError:
        return []
    findings = words(file, text)
    if file.endswith((".md", ".rs", ".py")):
        findings += missing_paths(file, text)
    if file.endswith(".md"):
        findings += broken_links(file, text)
    return findings


def words(file, text):
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        plain = TERMS.sub(" ", line).replace("_", " ")
        for rule, instead in RULES:
            found = rule.search(plain)
            if found:
                findings.append((f"{file}:{number}", rule.pattern, f"“{found[0]}”: {instead}"))
    return findings


def missing_paths(file, text):
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        for path in CODE_PATH.findall(line):
            if not (ROOT / path).exists() and not (ROOT / file).parent.joinpath(path).exists():
                findings.append((f"{file}:{number}", "path", f"`{path}` does not exist"))
    return findings


def broken_links(file, text):
    findings = []
    for number, line in enumerate(text.splitlines(), 1):
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            linked = ROOT / file if not path else ((ROOT / file).parent / path).resolve()
            if not linked.exists():
                findings.append((f"{file}:{number}", "link", f"`{path}` does not exist"))
            elif anchor and linked.suffix == ".md" and anchor not in anchors(linked):
                findings.append((f"{file}:{number}", "link", f"{linked.relative_to(ROOT)} has no heading `#{anchor}`"))
    return findings


def anchors(document):
    """As a forge makes them of headings."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)
    plain = [re.sub(r"[`*]|\[|\]\([^)]*\)", "", heading).strip().lower() for heading in HEADING.findall(text)]
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading)) for heading in plain}


if __name__ == "__main__":
    main()
