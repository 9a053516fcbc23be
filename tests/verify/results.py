"""What a check reports."""

import dataclasses
import enum


class Status(enum.StrEnum):
    PASS = "PASS"
    FAIL = "FAIL"
    NOT_ANSWERABLE = "NOT ANSWERABLE HERE"
    SKIPPED = "SKIPPED"


@dataclasses.dataclass
class Result:
    """One row of the report's table."""

    # The name that --only takes.
    check: str
    # The property or the question.
    subject: str
    status: Status
    # One sentence: what was found, or why the question was not answered.
    finding: str
    evidence: list[str] = dataclasses.field(default_factory=list)
    # Measured values with their unit in the name.
    figures: dict[str, float] = dataclasses.field(default_factory=dict)


def judge(check, subject, problems, finding, evidence=(), figures=None):
    """FAIL with the problems, or PASS with the finding."""
    problems = list(problems)
    status = Status.FAIL if problems else Status.PASS
    if problems:
        finding = problems[0] if len(problems) == 1 else f"{problems[0]} (and {len(problems) - 1} more)"
    return Result(check, subject, status, finding, [*problems, *evidence], figures or {})


def not_answerable(check, subject, reason, evidence=(), figures=None):
    return Result(check, subject, Status.NOT_ANSWERABLE, reason, list(evidence), figures or {})


def only_on_aws(result, is_emulator):
    """An emulator cannot confirm how AWS behaves. It can still show a defect of the product."""
    if is_emulator and result.status is Status.PASS:
        result.status = Status.NOT_ANSWERABLE
        result.finding = f"Only AWS can confirm this. The emulator showed: {result.finding}"
    return result
