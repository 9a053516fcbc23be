"""Every line of every function, as Lambda's JSON log format wants it."""

import json
import re
from datetime import datetime

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
