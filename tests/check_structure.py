#!/usr/bin/env python3
"""Fail when an arrow between our crates points the wrong way, modules import each other in a circle, or a secret may show.

The rules are those of docs/contributing/architecture.md: functions and local -> api,
runner -> store -> domain; `domain` decides and touches nothing; only `store` uses DynamoDB. And
SECURITY.md's: no `unsafe` of ours, secrets are compared in constant time, and
print themselves nowhere.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from import_circles import circles_of_console, circles_of_crate

ROOT = Path(__file__).resolve().parents[1]

MAY_DEPEND_ON = {
    "domain": set(),
    "sdk-http": set(),
    "store": {"sdk-http", "domain"},
    "sources": {"domain"},
    "subprocess": {"domain", "sources"},
    "runner": {"sdk-http", "domain", "sources", "store", "subprocess"},
    "api": {"domain", "sources", "store", "subprocess"},
    "logs": {"domain", "store"},
    "traces": {"store"},
    "pages": {"api"},
    "gateway": {"api"},
}
# The functions and the local server join those above, and never each other.
OUTERMOST = set(MAY_DEPEND_ON)
# The model of the protocol is not part of the product: only tests depend on it.
MAY_DEPEND_ON["protocol"] = {"domain"}

# What these functions, whose callers wait, must not reach: it is there for runs.
QUICK = {"webhook", "task-status"}
NOT_FOR_THE_QUICK = re.compile(r"(runner|traces|reqwest|opentelemetry.*|tracing-opentelemetry|prost)$")

# Crates that do I/O, by name or by the beginning of it.
IO_CRATES = re.compile(r"(tokio|mio|socket2|hyper|reqwest|axum|tower|aws|rusqlite|libsqlite3|dynoxide|lambda|rustls|h2)([-_].*)?$")
# What decides needs no clock, file, socket or await.
IO_IN_DOMAIN = re.compile(r"\basync\s+(fn|move)\b|\.await\b|\bstd::(fs|net|env|process)\b|\b(SystemTime|Instant)::now\b|\bnow_utc\b")

VENDOR_NAMES = re.compile(r"\bAttributeValue\b|\baws_sdk_\w+")
# The embedded engine's HTTP connector answers the SDK's own requests, and the
# functions are measured against bare calls.
MAY_NAME_VENDOR = {
    Path("crates/local/src/serve/engine/mod.rs"),
    Path("benches/limits/src/bin/limit-status.rs"), Path("benches/limits/src/bin/limit-trigger.rs"),
    # The engine's own type of the same name.
    Path("benches/bench/src/scale/fill.rs"),
}

LONGEST_MAIN = 60

# Values whose holder can do something; a comparison that stops at the first wrong
# byte would let them be guessed byte by byte.
SECRET_NAME = r"(?:\w*_)?(?:token|secret|api_key|password|salt|signature)"
COMPARED_SECRET = re.compile(rf"\b(?:{SECRET_NAME}|expose\(\))(?:\.\w+\(\))*\s*[=!]=|[=!]=\s*&?\*?(?:\w+\.)*{SECRET_NAME}\b")
SECRET_TYPE = re.compile(r"struct (?:WebhookToken|TokenHash|Salt)\b")
# A text under such a name in a struct that prints itself.
SECRET_TEXT = re.compile(rf"^\s*(?:pub(?:\(\w+\))? )?({SECRET_NAME}): (?:Option<|Arc<|Vec<)*(?:String|str|u8)\b")
# The names of secrets, not secrets.
MAY_BE_PRINTED = {"SecretName.secret", "StoredHeader.secret", "ClientAssertion.secret", "TokenRefusal.secret", "OAuthFailure.secret", "ToolError.secret"}


def main():
    members = workspace_members()
    problems = [
        *wrong_edges(members), *import_circles(members), *io_below_domain(), *slow_below_the_quick(), *io_in_domain(members), *vendor_names_outside_store(members),
        *long_mains(), *unsafe_allowed(members), *secrets_compared(members), *secrets_printed(members), *unlocked_tools(),
    ]
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


def import_circles(members):
    circles = [circle for member in members for circle in circles_of_crate(Path(member["manifest_path"]).parent / "src")]
    for circle in circles + circles_of_console(ROOT / "web" / "src"):
        yield f"modules import each other in a circle: {', '.join(str(Path(file).relative_to(ROOT)) for file in circle)}"


def workspace_members():
    """Every crate of the workspace, wherever it lies."""
    return json.loads(run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))["packages"]


def folder(member):
    return Path(member["manifest_path"]).parent


def wrong_edges(members):
    ours = {package["name"] for package in members}
    for package in members:
        allowed = MAY_DEPEND_ON.get(package["name"], OUTERMOST)
        for dependency in package["dependencies"]:
            name = dependency["name"]
            if dependency["kind"] != "dev" and name in ours - allowed:
                yield f"{package['name']} depends on {name}; it may depend on: {', '.join(sorted(allowed)) or 'none of ours'}"


def io_below_domain():
    tree = run("cargo", "tree", "--locked", "--package", "domain", "--edges", "normal", "--prefix", "none", "--format", "{lib}")
    for name in sorted(set(tree.split())):
        if IO_CRATES.match(name):
            yield f"domain reaches the I/O crate {name}; see: cargo tree -p domain -i {name}"


def slow_below_the_quick():
    for function in sorted(QUICK):
        tree = run("cargo", "tree", "--locked", "--package", function, "--edges", "normal", "--prefix", "none", "--format", "{p}")
        for name in sorted({line.split()[0] for line in tree.splitlines() if line}):
            if NOT_FOR_THE_QUICK.match(name):
                yield f"{function} reaches {name}; see: cargo tree -p {function} -i {name}"


def io_in_domain(members):
    yield from lines_matching(members, IO_IN_DOMAIN, "domain does no I/O", lambda path: path.is_relative_to("crates/domain/src"))


def vendor_names_outside_store(members):
    yield from lines_matching(
        members, VENDOR_NAMES, "only crates/store names the SDK's types",
        lambda path: not path.is_relative_to("crates/store") and path not in MAY_NAME_VENDOR)


def lines_matching(members, pattern, rule, concerned):
    for file in sorted(file for member in members for file in folder(member).glob("**/*.rs")):
        path = file.relative_to(ROOT)
        if concerned(path):
            for number, line in enumerate(file.read_text().splitlines(), start=1):
                if pattern.search(line) and not line.lstrip().startswith("//"):
                    yield f"{path}:{number}: {rule}: {line.strip()}"


def long_mains():
    for file in sorted(ROOT.glob("functions/*/src/main.rs")):
        length = len(file.read_text().splitlines())
        if length > LONGEST_MAIN:
            yield f"{file.relative_to(ROOT)} has {length} lines; a function's main has at most {LONGEST_MAIN}"


def unsafe_allowed(members):
    if not re.search(r'^unsafe_code = "forbid"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE):
        yield 'Cargo.toml: [workspace.lints.rust] must say unsafe_code = "forbid"'
    for manifest in sorted(Path(member["manifest_path"]) for member in members):
        if not re.search(r"^\[lints\]\nworkspace = true$", manifest.read_text(), re.MULTILINE):
            yield f"{manifest.relative_to(ROOT)}: [lints] must say workspace = true"


def secrets_compared(members):
    for path, number, line, _ in product_lines(members):
        if COMPARED_SECRET.search(line):
            yield f"{path}:{number}: secrets are compared by domain::is_secret or ct_eq: {line.strip()}"


def secrets_printed(members):
    name, derives = "", ""
    for path, number, line, before in product_lines(members):
        if found := re.search(r"\b(?:struct|enum) (\w+)", line):
            name, derives = found[1], before if before.startswith("#[derive(") else ""
        if SECRET_TYPE.search(line) and re.search(r"\b(Debug|PartialEq|Display)\b", derives):
            yield f"{path}:{number}: {name} is secret: it may derive neither Debug nor PartialEq"
        field = SECRET_TEXT.match(line)
        if field and "Debug" in derives and f"{name}.{field[1]}" not in MAY_BE_PRINTED:
            yield f"{path}:{number}: {name} derives Debug and would print its {field[1]}"


def unlocked_tools():
    wanted = re.findall(r"^[\w.-]+==\S+", (ROOT / "tests/requirements.txt").read_text(), re.MULTILINE)
    locked = re.findall(r"^([\w.-]+==\S+)(?: ;.*)? \\\n +--hash=sha256:", (ROOT / "tests/requirements.lock").read_text(), re.MULTILINE)
    for tool in sorted({name.lower() for name in wanted} - set(locked)):
        yield f"tests/requirements.lock lacks {tool} or its hash; its first lines say how it is made"


def product_lines(members):
    """Each line of our own code, without comments and tests, and the attribute before it."""
    for file in sorted(file for member in members for file in folder(member).glob("src/**/*.rs")):
        attribute = ""
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.startswith("#[cfg(test)]"):
                break
            if not line.lstrip().startswith("//"):
                yield file.relative_to(ROOT), number, line, attribute
                attribute = line.strip() if line.lstrip().startswith("#[derive(") else attribute if line.lstrip().startswith("#[") else ""


def run(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
