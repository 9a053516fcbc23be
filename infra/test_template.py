"""What neither the linters nor the emulator see of template.yaml."""

import fnmatch
import json
import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = yaml_parse((ROOT / "template.yaml").read_text())
FUNCTIONS = {"WebhookFunction": "webhook", "AgentFunction": "agent", "TaskStatusFunction": "task-status",
             "ConsoleFunction": "console"}


def properties(name):
    return TEMPLATE["Resources"][name]["Properties"]


def of_type(kind):
    return {name: r["Properties"] for name, r in TEMPLATE["Resources"].items() if r["Type"] == kind}


def test_no_parameter_is_required():
    assert [name for name, parameter in TEMPLATE["Parameters"].items() if "Default" not in parameter] == []


def test_every_parameter_says_what_it_is_for():
    assert [name for name, parameter in TEMPLATE["Parameters"].items() if not parameter.get("Description")] == []


def test_the_outputs_are_those_promised():
    assert set(TEMPLATE["Outputs"]) == {"ApiUrl", "ConsoleUrl", "AdminTokenCommand", "TasksTable", "AgentsTable", "DocumentsTable",
                                        "Queue", "DeadLetterQueue", "DashboardUrl"}


@pytest.mark.parametrize("table", ["TasksTable", "AgentsTable"])
def test_tables_expire_items_are_backed_up_protected_and_paid_by_request(table):
    wanted = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "DeletionProtectionEnabled": {"Ref": "DeletionProtection"},
    }
    assert {name: properties(table).get(name) for name in wanted} == wanted


def test_the_index_of_tasks_holds_nothing_that_changes_but_at_a_failure():
    # Each change of what it holds is a write unit more per task.
    assert properties("TasksTable")["GlobalSecondaryIndexes"] == [{
        "IndexName": "listed",
        "KeySchema": [{"AttributeName": "listed", "KeyType": "HASH"}, {"AttributeName": "task_id", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["failed"]},
    }]


def test_documents_never_expire_and_are_kept_like_agents():
    wanted = {name: value for name, value in properties("AgentsTable").items() if name != "TimeToLiveSpecification"}
    assert properties("DocumentsTable") == wanted


def test_what_webhook_urls_hang_on_outlives_the_stack():
    for name in ("AgentsTable", "DocumentsTable", "SigningSecret"):
        assert TEMPLATE["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert TEMPLATE["Resources"][name]["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("queue", ["Queue", "DeadLetterQueue"])
def test_queues_are_encrypted_keep_messages_longest_and_wait_as_long_as_a_run(queue):
    assert properties(queue)["SqsManagedSseEnabled"] is True
    assert properties(queue)["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert properties(queue)["VisibilityTimeout"] == properties("AgentFunction")["Timeout"] == {"Ref": "AgentTimeoutSeconds"}
    assert "FifoQueue" not in properties(queue)


def test_a_task_runs_out_of_attempts_before_its_message_runs_out_of_receives():
    # A lost runner costs two receives: one finds its lease not yet over.
    most = 2 * TEMPLATE["Parameters"]["MaxAttempts"]["MaxValue"]
    assert properties("Queue")["RedrivePolicy"]["maxReceiveCount"] > most


def test_functions_that_answer_callers_outlive_their_own_retries_and_api_gateway_does_not_outwait_them():
    for name in ("WebhookFunction", "TaskStatusFunction", "ConsoleFunction"):
        # Three calls one after another, 8 s each at the most; API Gateway waits 30 s.
        assert 24 < properties(name)["Timeout"] < 30


def test_both_queues_feed_the_agent_function_and_take_partial_failures():
    mappings = of_type("AWS::Lambda::EventSourceMapping")
    assert {mapping["EventSourceArn"]["Fn::GetAtt"][0] for mapping in mappings.values()} == {"Queue", "DeadLetterQueue"}
    for mapping in mappings.values():
        assert mapping["FunctionName"] == {"Ref": "AgentFunction"}
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 10
        assert "MaximumConcurrency" in mapping["ScalingConfig"]


def test_the_stage_throttles():
    assert properties("HttpApiStage")["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": {"Ref": "ThrottleRate"}, "ThrottlingBurstLimit": {"Ref": "ThrottleBurst"},
    }


def test_no_access_log_tells_webhook_tokens():
    assert "AccessLogSettings" not in properties("HttpApiStage")


def test_every_function_is_built_from_its_binary_and_logs_to_its_own_group_with_a_role_of_its_own():
    functions = of_type("AWS::Serverless::Function")
    assert set(functions) == set(FUNCTIONS)
    for name, function in functions.items():
        stem = name.removesuffix("Function")
        metadata = TEMPLATE["Resources"][name]["Metadata"]
        assert metadata == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": FUNCTIONS[name]}}
        assert function["Role"] == {"Fn::GetAtt": [f"{stem}Role", "Arn"]}
        assert function["LoggingConfig"]["LogGroup"] == {"Ref": f"{stem}Logs"}
        assert properties(f"{stem}Logs")["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_no_role_holds_a_wildcard_action_or_every_resource():
    for name, role in of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, name
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                _, statement, _ = statement.get("Fn::If", (None, statement, None))
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                assert not any("*" in action for action in actions), name
                assert statement["Resource"] != "*", name


def test_no_function_may_ask_a_bedrock_model_that_is_not_named_and_the_agents_alone_those_that_are():
    assert TEMPLATE["Parameters"]["BedrockModels"]["Default"] == ""
    assert TEMPLATE["Conditions"]["HasBedrockModels"] == {
        "Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "BedrockModels"}]}, ""]}]}
    allowed = {"Effect": "Allow", "Action": "bedrock:InvokeModel", "Resource": {"Ref": "BedrockModels"}}
    about_bedrock = {
        name: [statement for policy in role["Policies"] for statement in policy["PolicyDocument"]["Statement"]
               if "bedrock" in json.dumps(statement)]
        for name, role in of_type("AWS::IAM::Role").items()
    }
    assert {name: found for name, found in about_bedrock.items() if found} == {
        "AgentRole": [{"Fn::If": ["HasBedrockModels", allowed, {"Ref": "AWS::NoValue"}]}]}


def test_the_default_model_may_be_any_provider_of_the_product():
    providers = re.findall(r'Self::\w+ => "(\w+)"', (ROOT / "crates/domain/src/agent/model.rs").read_text())
    assert TEMPLATE["Parameters"]["ModelProvider"]["AllowedValues"] == ["", *providers]


def test_the_webhook_function_may_change_counters_and_no_task():
    """The emulator does not know the keys of a call, so it would let any through."""
    statements = properties("WebhookRole")["Policies"][0]["PolicyDocument"]["Statement"]
    updates = [statement for statement in statements if "dynamodb:UpdateItem" in statement["Action"]]
    assert [(update["Action"], update["Condition"]) for update in updates] == [
        ("dynamodb:UpdateItem", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["rate#*"]}}),
    ]


def test_the_console_writes_the_secrets_of_agents_and_reads_back_none_but_imported_tokens():
    statements = properties("ConsoleRole")["Policies"][0]["PolicyDocument"]["Statement"]
    secrets = {json.dumps(statement["Action"]): statement["Resource"] for statement in statements
               if "secretsmanager:" in json.dumps(statement["Action"])}
    below = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${AWS::StackName}/provider/"
    assert secrets == {
        '"secretsmanager:GetSecretValue"': [{"Fn::GetAtt": ["AdminToken", "Id"]}, {"Fn::GetAtt": ["SigningSecret", "Id"]},
                                            {"Fn::Sub": f"{below}agents/*/webhook-token*"}],
        '["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret"]': {
            "Fn::Sub": f"{below}*"},
    }


def test_every_route_has_an_integration_and_is_explicit():
    routes = {route["RouteKey"]: route["Target"] for route in of_type("AWS::ApiGatewayV2::Route").values()}
    target = {stem: {"Fn::Sub": f"integrations/${{{stem}Integration}}"} for stem in ("Webhook", "TaskStatus", "Console")}
    assert routes == {
        "ANY /api/webhooks/agents/{token}": target["Webhook"],
        "ANY /api/task_status": target["TaskStatus"],
        "GET /api/health": target["TaskStatus"],
        "ANY /api/agents": target["Console"],
        "ANY /api/agents/{proxy+}": target["Console"],
        "ANY /api/agent_webhook": target["Console"],
        "ANY /api/secrets": target["Console"],
        "ANY /api/secrets/{proxy+}": target["Console"],
        "ANY /api/session": target["Console"],
        "POST /api/session": target["Console"],
        "ANY /api/tasks": target["Console"],
        "ANY /api/tasks/{proxy+}": target["Console"],
        "ANY /api/stats": target["Console"],
        "ANY /api/prompt_preview": target["Console"],
        "$default": target["Console"],
    }


def test_api_gateway_may_call_a_function_by_its_routes_and_no_others():
    """The emulator lets it call any."""
    functions = {"Webhook": "WebhookFunction", "TaskStatus": "TaskStatusFunction", "Console": "ConsoleFunction"}
    allowed = [(permission["FunctionName"]["Ref"], permission["SourceArn"]["Fn::Sub"].partition("${HttpApi}/*/")[2])
               for permission in of_type("AWS::Lambda::Permission").values()]
    used = set()
    for route in of_type("AWS::ApiGatewayV2::Route").values():
        function = functions[re.search(r"{(\w+)Integration}", route["Target"]["Fn::Sub"]).group(1)]
        called = route["RouteKey"].replace(" ", "")
        matching = [(name, pattern) for name, pattern in allowed if fnmatch.fnmatchcase(called, pattern)]
        assert [name for name, _ in matching] == [function], route["RouteKey"]
        used.update(matching)
    assert set(allowed) == used


def test_signing_in_alone_is_throttled_more_than_anything_else():
    (route,) = [name for name, route in of_type("AWS::ApiGatewayV2::Route").items() if route["RouteKey"] == "POST /api/session"]
    assert properties("HttpApiStage")["RouteSettings"] == {
        "POST /api/session": {"ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 10}}
    # CloudFormation refuses the settings of a route that it has not made yet.
    assert TEMPLATE["Resources"]["HttpApiStage"]["DependsOn"] == route


def test_the_console_is_where_the_output_says():
    assert TEMPLATE["Outputs"]["ConsoleUrl"]["Value"]["Fn::Sub"][0] == "${Base}/console/"


# ---------------------------------------------------------------- Monitoring

ALARMS = of_type("AWS::CloudWatch::Alarm")
RUNBOOK = (ROOT / "docs" / "RUNBOOK.md").read_text()
# Sections of the runbook that are about no alarm.
GENERAL = {"Looking around", "What watching costs"}
# What the name of a resource's dimension refers to, in template.yaml.
DIMENSIONS = {
    "QueueName": ("AWS::SQS::Queue", {"Fn::GetAtt": ["{}", "QueueName"]}),
    "FunctionName": ("AWS::Serverless::Function", {"Ref": "{}"}),
    "TableName": ("AWS::DynamoDB::Table", {"Ref": "{}"}),
    "ApiId": ("AWS::ApiGatewayV2::Api", {"Ref": "{}"}),
}
NAMESPACES = {"QueueName": "AWS/SQS", "FunctionName": "AWS/Lambda", "TableName": "AWS/DynamoDB", "ApiId": "AWS/ApiGateway"}


def metrics_of(alarm):
    """Each metric an alarm watches, as (namespace, name, dimensions)."""
    if "Metrics" not in alarm:
        return [(alarm["Namespace"], alarm["MetricName"], {d["Name"]: d["Value"] for d in alarm["Dimensions"]})]
    metrics = [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]
    return [(m["Namespace"], m["MetricName"], {d["Name"]: d["Value"] for d in m["Dimensions"]}) for m in metrics]


def widgets():
    """The dashboard's, with something in place of what CloudFormation fills in."""
    return json.loads(re.sub(r"\$\{([^}]*)\}", r"<\1>", properties("Dashboard")["DashboardBody"]["Fn::Sub"]))["widgets"]


def metrics_of_the_dashboard():
    for widget in widgets():
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], str):
                namespace, name, *rest = [part for part in metric if isinstance(part, str)]
                yield namespace, name, dict(zip(rest[::2], rest[1::2]))


def metrics_of_the_code():
    """Name to dimensions, as crates/logs/src/metrics.rs has them."""
    source = (ROOT / "crates" / "logs" / "src" / "metrics.rs").read_text()
    tables = re.findall(r"const BY_(\w+): [^=]*= &\[(.*?)\];", source, re.S)
    metrics = {name: {word.lower() for word in dimensions.split("_AND_")}
               for dimensions, table in tables for name in re.findall(r'\("(\w+)", "', table)}
    assert len(metrics) == 6, metrics
    return metrics


def outcomes_of_the_code():
    source = (ROOT / "crates" / "domain" / "src" / "outcome.rs").read_text()
    return {"success", *re.findall(r'Self::\w+ => "(\w+)"', source)}


def test_every_alarm_has_its_section_in_the_runbook_and_every_section_its_alarm():
    assert set(re.findall(r"^## (.+)$", RUNBOOK, re.M)) - GENERAL == set(ALARMS)
    for name, alarm in ALARMS.items():
        assert alarm["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}
        assert alarm["AlarmDescription"].endswith(f"Runbook: docs/RUNBOOK.md#{name.lower()}")
        section = RUNBOOK.partition(f"## {name}\n")[2].partition("\n## ")[0]
        parts = ("**It means**", "**Callers see**", "**Look**", "**Do**", "**It is over**")
        assert [part for part in parts if part not in section] == [], name


# The words of a CloudWatch Logs Insights query that are no fields of ours: its
# language, its own fields, names given within a query, and Lambda's own lines.
INSIGHTS = {"fields", "filter", "sort", "desc", "limit", "stats", "by", "as", "and", "or", "in", "like", "count", "max", "pct",
            "timestamp", "log", "n", "longest", "p99",
            "type", "platform", "record", "requestId", "errorType", "metrics", "maxMemoryUsedMB", "durationMs"}


def test_the_runbook_asks_the_log_for_what_the_code_writes():
    files = [file for crate in ("api", "runner") for file in sorted(ROOT.glob(f"crates/{crate}/src/**/*.rs"))]
    sources = "".join(file.read_text() for file in files)
    table = re.findall(r"^//! \| (`.*?) \|", (ROOT / "crates" / "logs" / "src" / "lib.rs").read_text(), re.M)
    fields = set(re.findall(r"`(\w+)`", " ".join(table)))
    queries = re.findall(r'insights "([^"]*)"', RUNBOOK)
    assert len(queries) > 10 and len(fields) > 10
    for query in queries:
        for message in re.findall(r"message = '([^']*)'", query):
            assert f'"{message}"' in sources
        for part in re.findall(r"message like '([^']*)'", query):
            assert re.search(rf'tracing::\w+!\([^;]*"[^"\n]*{part}[^"\n]*"', sources), part
        for outcomes in re.findall(r"outcome (?:!=|in) (\[.*?\]|'\w+')", query):
            assert set(re.findall(r"\w+", outcomes)) <= outcomes_of_the_code(), query
        words = set(re.findall(r"[A-Za-z]\w*", re.sub(r"'[^']*'", "", query)))
        assert words - INSIGHTS - fields == set(), query


def test_every_link_within_the_runbook_leads_somewhere():
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)}
    assert [link for link in re.findall(r"\]\(#([^)]+)\)", RUNBOOK) if link not in anchors] == []


def test_an_alarm_is_off_while_nothing_is_known_and_speaks_only_if_an_address_is_given():
    told = {"Fn::If": ["IsMailed", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in ALARMS.items():
        assert TEMPLATE["Resources"][name]["Condition"] == "IsWatched"
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"] == alarm["OKActions"] == told, name
    assert properties("AlarmSubscription") == {"TopicArn": {"Ref": "AlarmTopic"}, "Protocol": "email",
                                               "Endpoint": {"Ref": "AlarmEmail"}}


def test_every_alarm_watches_something_of_this_stack():
    for name, alarm in ALARMS.items():
        for namespace, metric, dimensions in metrics_of(alarm):
            if namespace == "AgentWebhooks":
                assert dimensions["stack"] == {"Ref": "AWS::StackName"}, name
                continue
            index = dimensions.pop("GlobalSecondaryIndexName", None)
            assert index in (None, properties("TasksTable")["GlobalSecondaryIndexes"][0]["IndexName"]), name
            ((dimension, value),) = dimensions.items()
            kind, form = DIMENSIONS[dimension]
            allowed = [json.loads(json.dumps(form).replace("{}", resource)) for resource in of_type(kind)]
            assert value in allowed, (name, metric)
            assert namespace == NAMESPACES[dimension], (name, metric)


def test_alarms_are_as_sharp_as_the_runbook_says():
    def rule(name):
        alarm = ALARMS[name]
        seconds = {entry["MetricStat"]["Period"] for entry in alarm.get("Metrics", []) if "MetricStat" in entry}
        (period,) = seconds or {alarm["Period"]}
        needed = alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"])
        return period, needed, alarm["EvaluationPeriods"], alarm["ComparisonOperator"], alarm["Threshold"]

    over, at_least = "GreaterThanThreshold", "GreaterThanOrEqualToThreshold"
    assert {name: rule(name) for name in ALARMS} == {
        "DeadLetters": (300, 3, 3, over, 0),
        "OldTasks": (300, 1, 1, over, 1800),
        "LostTasks": (300, 1, 1, over, 0),
        "ModelErrors": (300, 3, 3, at_least, 50),
        "AgentErrors": (300, 2, 3, over, 0),
        "AgentThrottles": (300, 2, 3, over, 0),
        "AgentNearTimeout": (900, 1, 1, at_least, 90),
        "ApiErrors": (300, 2, 3, over, 0.05),
        "TableThrottles": (300, 2, 3, over, 0),
    }
    # Half an hour is longer than any run with one lost runner before it.
    assert ALARMS["OldTasks"]["Threshold"] >= 2 * TEMPLATE["Parameters"]["AgentTimeoutSeconds"]["MaxValue"]


def test_an_expression_names_every_metric_that_stands_beside_it():
    for name, alarm in ALARMS.items():
        for entry in alarm.get("Metrics", []):
            expression = entry.get("Expression")
            if expression:
                text = expression["Fn::Sub"] if isinstance(expression, dict) else expression
                beside = {other["Id"] for other in alarm["Metrics"] if other is not entry}
                used = set(re.findall(r"\b[a-z]\w*\b", re.sub(r"\$\{\w+\}", "", text)))
                assert used == beside, name
        returned = [entry for entry in alarm.get("Metrics", []) if entry.get("ReturnData", True)]
        assert "Metrics" not in alarm or len(returned) == 1, name


def test_the_runbook_counts_what_is_paid_for():
    watched = sum(len(metrics_of(alarm)) for alarm in ALARMS.values())
    assert f"{watched} alarm metrics" in RUNBOOK
    assert f"over {watched} metrics" in (ROOT / "template.yaml").read_text()
    assert len(of_type("AWS::CloudWatch::Dashboard")) == 1


def test_metrics_of_ours_are_named_as_the_code_names_them():
    known, outcomes = metrics_of_the_code(), outcomes_of_the_code()
    watched = [metric for alarm in ALARMS.values() for metric in metrics_of(alarm)]
    ours = [metric for metric in [*watched, *metrics_of_the_dashboard()] if metric[0] == "AgentWebhooks"]
    assert ours
    for _, name, dimensions in ours:
        assert set(dimensions) == known[name], name
        assert dimensions.get("outcome", "success") in outcomes
    (search,) = re.findall(r"SEARCH\('([^']*)'", json.dumps(widgets()).replace('\\"', '"'))
    assert re.match(r"\{AgentWebhooks,stack,outcome\} MetricName=\"tasks\"", search)
    assert known["tasks"] == {"stack", "outcome"}


def test_the_dashboard_shows_every_alarm_and_is_of_this_stack():
    (shown,) = [widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm"]
    assert {arn.rpartition("-")[2] for arn in shown} == set(ALARMS)
    for namespace, name, dimensions in metrics_of_the_dashboard():
        for dimension, value in dimensions.items():
            resource = value.strip("<>").partition(".")[0]
            assert resource == "AWS::StackName" if namespace == "AgentWebhooks" else (
                TEMPLATE["Resources"][resource]["Type"] == DIMENSIONS[dimension][0]), name


def test_the_agent_function_sends_metrics_if_the_stack_is_watched():
    variables = properties("AgentFunction")["Environment"]["Variables"]
    assert variables["AGENT_WEBHOOKS_METRICS_STACK"] == {"Fn::If": ["IsWatched", {"Ref": "AWS::StackName"}, ""]}
