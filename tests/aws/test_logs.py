"""Every line of every function, as Lambda's JSON log format wants it."""

import json
import re
from datetime import datetime

from test_run_slots import wait_until

# "The valid log level values" of the JSON format.
LEVELS = {"TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"}
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


def test_every_line_has_the_timestamp_and_the_level_that_lambda_filters_by(cloud):
    """R8. https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html: without a valid timestamp
    Lambda assigns INFO. Runs last, over the lines of all tests."""
    agent = cloud.create_agent()
    assert cloud.run_until_ended(cloud.trigger(agent))["status"] == "SUCCESS"
    cloud.call("GET", "/api/task_status?task_id=none")
    lines = [(function, json.loads(line)) for function, stream, line in cloud.lambda_service.log_lines if stream == "stdout"]
    assert {function for function, _ in lines} >= {"WebhookFunction", "AgentFunction", "ConsoleFunction"}
    wrong = [(function, line) for function, line in lines if not is_valid(line)]
    assert wrong == []
    assert any("_aws" in line for _, line in lines), "the lines with metrics are among them"


def test_nothing_is_written_beside_the_log(cloud):
    """R8. Lambda takes a line that is not JSON for one without a level: a panic, for example."""
    assert [line for _, stream, line in cloud.lambda_service.log_lines if stream == "stderr"] == []


def is_valid(line):
    timestamp = line.get("timestamp")
    if line.get("level") not in LEVELS or not isinstance(timestamp, str) or not RFC3339.fullmatch(timestamp):
        return False
    datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    return True


def test_every_wrong_admin_token_is_counted_by_the_metric_of_the_alarm(cloud):
    """A3. https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html"""
    (counted,) = cloud.stack.of_type("AWS::Logs::MetricFilter").values()
    ((transformation),) = counted["MetricTransformations"]
    assert counted["LogGroupName"] == cloud.lambda_service.functions["ConsoleFunction"].environment["AWS_LAMBDA_LOG_GROUP_NAME"]
    # An instance counts wrong tokens by address, and earlier tests sent some.
    cloud.lambda_service.end_instances()
    first = len(cloud.lambda_service.log_lines)
    wrong = [cloud.call("POST", "/api/session", {"admin_token": "wrong"}) for _ in range(3)]
    wrong += [cloud.call("GET", "/api/agents", None, [("Authorization", f"Bearer wrong-{number}")]) for number in range(4)]
    assert {answer.status for answer in wrong} == {401}
    # Neither the right token nor a request without one is a guess.
    assert cloud.manage("GET", "/api/agents").status == 200
    assert cloud.call("POST", "/api/session", {"admin_token": cloud.admin_token}).status == 204
    assert cloud.call("GET", "/api/agents").status == 401

    def count():
        lines = [json.loads(line) for function, stream, line in cloud.lambda_service.log_lines[first:]
                 if (function, stream) == ("ConsoleFunction", "stdout")]
        return sum(line[transformation["MetricValue"].removeprefix("$.")] for line in lines if matches(counted["FilterPattern"], line))

    wait_until(lambda: count() >= len(wrong))
    assert count() == len(wrong)


def matches(pattern, line):
    """Whether a line of JSON matches a pattern of the form `{ ($.field = "value") || … }`."""
    terms = re.fullmatch(r"\{ (.*) \}", pattern)[1].split(" || ")
    return any(line.get(field) == value for field, value in (re.fullmatch(r'\(\$\.(\w+) = "([^"]*)"\)', term).groups() for term in terms))
