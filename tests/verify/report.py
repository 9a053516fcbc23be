"""The report: Markdown for a person, JSON for a program."""

import collections
import dataclasses
import json

from verify.results import Status


ANSWERS = "A question is PASS when it was answered and the product copes with the answer.\n"


def as_json(about, results, unrestored):
    return json.dumps({"about": about, "results": [dataclasses.asdict(result) for result in results], "not_restored": unrestored},
                      indent=2, ensure_ascii=False) + "\n"


def as_markdown(about, results, unrestored):
    parts = [f"# Verification of the stack {about['stack']}\n", summary(results), ANSWERS, *restoration(unrestored),
             "## Checks\n", table(["check", "what", "result", "finding"], rows(results)),
             *unanswered(results), *figures(results), *evidence(results), *circumstances(about)]
    return "\n".join(parts)


def summary(results):
    counts = collections.Counter(result.status for result in results)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) + ".\n"


def rows(results):
    return [(result.check, result.subject, result.status, result.finding) for result in results]


def restoration(unrestored):
    if not unrestored:
        return []
    return ["## Not restored\n", "Run these commands:\n", "```sh", *unrestored, "```\n"]


def unanswered(results):
    found = [result for result in results if result.status is Status.NOT_ANSWERABLE]
    if not found:
        return []
    return ["## Questions without an answer here\n", *(f"- **{result.check}: {result.subject}** {result.finding}" for result in found), ""]


def figures(results):
    found = [(result.check, name, value) for result in results for name, value in result.figures.items()]
    return ["## Figures\n", table(["check", "figure", "value"], found)] if found else []


def evidence(results):
    parts = ["## Evidence\n"]
    for result in results:
        if result.evidence:
            parts += [f"### {result.check}: {result.subject}\n", *(f"- {code(line)}" for line in result.evidence), ""]
    return parts


def circumstances(about):
    values = [(name, value) for name, value in about.items() if not isinstance(value, dict)]
    parts = ["## Circumstances\n", table(["what", "value"], values)]
    for name, inner in about.items():
        if isinstance(inner, dict):
            parts += [f"### {name}\n", table(["name", "value"], inner.items())]
    return parts


def table(head, lines):
    lines = [[cell(value) for value in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines]) + "\n"


def cell(value):
    return str(value).replace("|", "\\|").replace("\n", " ") or " "


def code(text):
    """Evidence is quoted from answers and logs: it must not become markup."""
    return "`" + str(text).replace("`", "'").replace("\n", " ") + "`"
