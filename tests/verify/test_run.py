"""Settings are restored, the report says everything, and the helpers' code does what its table says."""

import json
import time

import pytest

from verify import cli, report
from verify.checks.documents import pdf
from verify.checks.privileges import judge_decisions
from verify.helper_stack import inline_code
from verify.model import LocalModel
from verify.results import Result, Status, judge, only_on_aws
from verify.settings import TemporarySettings, cli_options, describe


def test_changes_are_restored_in_reverse_order_and_the_journal_goes(tmp_path):
    journal, order = tmp_path / "to-restore.sh", []
    settings = TemporarySettings(journal, lambda _: None)
    settings.change("first", lambda: order.append("+1"), lambda: order.append("-1"), "restore first")
    settings.change("second", lambda: order.append("+2"), lambda: order.append("-2"), "restore second")
    assert journal.read_text().splitlines()[2:] == ["# second", "restore second", "# first", "restore first"]
    settings.restore()
    assert order == ["+1", "+2", "-2", "-1"]
    assert not journal.exists()


def test_a_change_that_fails_halfway_is_restored_too(tmp_path):
    order, settings = [], TemporarySettings(tmp_path / "to-restore.sh", lambda _: None)

    def apply():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), settings.scope():
        settings.change("first", apply, lambda: order.append("-1"), "restore first")
    assert order == ["-1"]


def test_a_failed_restoration_is_reported_and_does_not_stop_the_others(tmp_path):
    said, order = [], []
    settings = TemporarySettings(tmp_path / "to-restore.sh", said.append)

    def fail():
        raise OSError("no network")

    settings.change("first", lambda: None, lambda: order.append("-1"), "restore first")
    settings.change("second", lambda: None, fail, "restore second")
    settings.restore()
    assert order == ["-1"]
    assert [change.command for change in settings.failures] == ["restore second"]
    assert "restore second" in (tmp_path / "to-restore.sh").read_text()
    assert any("NOT RESTORED" in line for line in said)


def test_the_options_of_a_command_line_are_spelled_for_the_aws_command():
    assert cli_options({"Timeout": 900, "MemorySize": 512, "LoggingConfig": {"LogFormat": "JSON"}}) == [
        "--timeout", "900", "--memory-size", "512", "--logging-config", "LogFormat=JSON"]


def test_a_result_fails_with_its_first_problem():
    assert judge("c", "s", [], "good").status is Status.PASS
    failed = judge("c", "s", ["bad", "worse"], "good")
    assert (failed.status, failed.finding) == (Status.FAIL, "bad (and 1 more)")


def test_an_emulator_cannot_confirm_but_can_fail():
    assert only_on_aws(judge("c", "s", [], "good"), True).status is Status.NOT_ANSWERABLE
    assert only_on_aws(judge("c", "s", [], "good"), False).status is Status.PASS
    assert only_on_aws(judge("c", "s", ["bad"], "good"), True).status is Status.FAIL


def test_the_report_has_every_result_and_no_markup_of_others():
    results = [Result("burst", "A | B", Status.PASS, "fine", ["`code`"], {"ms": 12.0}),
               Result("queue", "Q?", Status.NOT_ANSWERABLE, "no | AWS")]
    text = report.as_markdown({"stack": "s", "Template parameters": {"A": "1"}}, results, ["aws x"])
    assert "| burst | A \\| B | PASS | fine |" in text
    assert "1 PASS, 1 NOT ANSWERABLE HERE." in text
    assert "- **queue: Q?** no | AWS" in text
    assert "- `'code'`" in text
    assert "aws x" in text
    assert json.loads(report.as_json({}, results, []))["results"][0]["status"] == "PASS"


def test_every_check_has_a_name_of_its_own_and_an_estimate():
    assert len({check.name for check in cli.CHECKS}) == len(cli.CHECKS)
    assert all(check.seconds > 0 for check in cli.CHECKS)


def ask(model, payload, name="echo", authorization=None):
    body = json.dumps({"model": name, "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": payload}]})
    headers = {"authorization": authorization} if authorization else {}
    reply = model._code["handler"]({"rawPath": "/verify/v1/chat/completions", "headers": headers, "body": body}, None)
    return reply["statusCode"], json.loads(reply["body"])


def answer_of(reply):
    return reply[1]["choices"][0]["message"]["content"]


def test_the_model_does_as_it_is_scripted():
    model = LocalModel()
    assert answer_of(ask(model, '{"a":1.50}')) == '{"a":1.50}'
    assert answer_of(ask(model, "1", "fixed")) == "Fixed answer from the fake LLM."
    assert answer_of(ask(model, '{"verify":{"answer":"x","fill":3}}')) == "xxxx"
    assert ask(model, "1", "status-503")[0] == 503
    assert ask(model, '{"verify":{"status":500,"until":%f}}' % (time.time() + 60))[0] == 500
    assert ask(model, '{"verify":{"status":500,"until":1}}')[0] == 200
    assert ask(model, '{"verify":{"key":"k"}}')[0] == 401
    assert ask(model, '{"verify":{"key":"k"}}', authorization="Bearer k")[0] == 200
    began = time.monotonic()
    ask(model, "1", "sleep-0.2")
    assert time.monotonic() - began >= 0.2
    marked = [line for line in model.calls(0) if line["phase"] == "began"]
    assert len(marked) == 9


def test_the_model_refuses_another_path():
    model = LocalModel()
    assert model._code["handler"]({"rawPath": "/v1/chat/completions", "body": "{}"}, None)["statusCode"] == 404


def test_inline_code_fits_the_smallest_documented_limit():
    for template in ("model.yaml", "probe.yaml"):
        code = inline_code(template)
        compile(code, template, "exec")
        assert len(code) < 4096, template


def test_decisions_that_differ_are_named():
    decisions = [(("WebhookRole", "dynamodb:Scan", "arn:aws:x:table/t", None, False), True),
                 (("WebhookRole", "dynamodb:PutItem", "arn:aws:x:table/t", None, True), False)]
    assert judge_decisions(decisions) == ["WebhookRole may dynamodb:Scan on table/t", "WebhookRole may not dynamodb:PutItem on table/t"]


def test_a_pdf_has_its_pages_at_the_offsets_it_names():
    document = pdf([["one"], ["two"]])
    start = int(document.split(b"startxref\n")[1].split()[0])
    assert document[start:start + 4] == b"xref"
    for number, line in enumerate(document[start:].split(b"\n")[3:10], 1):
        assert document[int(line[:10]):].startswith(f"{number} 0 obj".encode())


def test_only_what_differs_is_described():
    old, new = {"LogFormat": "JSON", "SystemLogLevel": "WARN"}, {"LogFormat": "JSON", "SystemLogLevel": "INFO"}
    assert describe({"Timeout": 5, "LoggingConfig": new}, {"Timeout": 900, "LoggingConfig": old}) == "Timeout=5, SystemLogLevel=INFO"
