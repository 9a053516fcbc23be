"""Rules of template.yaml that neither the linters nor the emulator check.

What AWS itself requires of the template is in tests/aws/test_template_rules.py.
"""

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


def test_every_parameter_has_a_description():
    assert [name for name, parameter in TEMPLATE["Parameters"].items() if not parameter.get("Description")] == []


def test_the_outputs_are_the_documented_ones_with_descriptions():
    assert set(TEMPLATE["Outputs"]) == {"ApiUrl", "ConsoleUrl", "AdminTokenCommand", "TasksTable", "AgentsTable", "DocumentsTable",
                                        "SigningSecret", "Queue", "DeadLetterQueue", "DashboardUrl"}
    assert [name for name, output in TEMPLATE["Outputs"].items() if not output.get("Description")] == []


@pytest.mark.parametrize("table", ["TasksTable", "AgentsTable"])
def test_tables_are_on_demand_backed_up_can_be_protected_and_expire_items(table):
    wanted = {
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "TimeToLiveSpecification": {"AttributeName": "expires_at", "Enabled": True},
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "DeletionProtectionEnabled": {"Ref": "DeletionProtection"},
    }
    assert {name: properties(table).get(name) for name in wanted} == wanted


def test_the_index_of_tasks_projects_only_what_changes_at_a_failure():
    # Each change of a projected attribute costs one more write unit per task.
    assert properties("TasksTable")["GlobalSecondaryIndexes"] == [{
        "IndexName": "listed",
        "KeySchema": [{"AttributeName": "listed", "KeyType": "HASH"}, {"AttributeName": "task_id", "KeyType": "RANGE"}],
        "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["failed"]},
    }]


def test_documents_do_not_expire_and_are_stored_like_agents():
    wanted = {name: value for name, value in properties("AgentsTable").items() if name != "TimeToLiveSpecification"}
    assert properties("DocumentsTable") == wanted


def test_agents_documents_and_the_signing_secret_outlive_the_stack():
    for name in ("AgentsTable", "DocumentsTable", "SigningSecret"):
        assert TEMPLATE["Resources"][name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert TEMPLATE["Resources"][name]["UpdateReplacePolicy"] == "Retain"


def test_no_release_regenerates_the_secrets():
    # https://github.com/aws-cloudformation/cloudformation-coverage-roadmap/issues/2210
    for name in ("SigningSecret", "AdminToken"):
        assert properties(name)["GenerateSecretString"] == {"PasswordLength": 43, "ExcludePunctuation": True}


@pytest.mark.parametrize("queue", ["Queue", "DeadLetterQueue"])
def test_queues_are_encrypted_store_messages_for_14_days_and_hide_them_for_one_invocation(queue):
    assert properties(queue)["SqsManagedSseEnabled"] is True
    assert properties(queue)["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert properties(queue)["VisibilityTimeout"] == properties("AgentFunction")["Timeout"] == {"Ref": "AgentTimeoutSeconds"}
    assert "FifoQueue" not in properties(queue)


def test_a_task_runs_out_of_attempts_before_its_message_runs_out_of_receives():
    # A lost worker costs two receives: one finds that its lease is not over.
    most = 2 * TEMPLATE["Parameters"]["MaxAttempts"]["MaxValue"]
    assert properties("Queue")["RedrivePolicy"]["maxReceiveCount"] > most


def test_functions_that_answer_callers_outlast_their_own_retries_and_not_api_gateway():
    for name in ("WebhookFunction", "TaskStatusFunction", "ConsoleFunction"):
        # Three calls in sequence, 8 s each at most; API Gateway waits 30 s.
        assert 24 < properties(name)["Timeout"] < 30


def test_both_queues_invoke_the_agent_function_with_partial_batch_responses():
    mappings = of_type("AWS::Lambda::EventSourceMapping")
    assert {mapping["EventSourceArn"]["Fn::GetAtt"][0] for mapping in mappings.values()} == {"Queue", "DeadLetterQueue"}
    for mapping in mappings.values():
        assert mapping["FunctionName"] == {"Ref": "AgentFunction"}
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["BatchSize"] == 10
        assert "MaximumConcurrency" in mapping["ScalingConfig"]


def test_the_stage_throttles_webhooks_by_parameter_and_every_other_route_by_number():
    assert properties("HttpApiStage")["DefaultRouteSettings"] == {
        "ThrottlingRateLimit": {"Ref": "ThrottleRate"}, "ThrottlingBurstLimit": {"Ref": "ThrottleBurst"}}
    assert properties("HttpApiStage")["RouteSettings"] == {
        "$default": {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 30},
        "ANY /api/{proxy+}": {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 30},
        "ANY /api/task_status": {"ThrottlingRateLimit": 200, "ThrottlingBurstLimit": 200},
        "ANY /api/health": {"ThrottlingRateLimit": 10, "ThrottlingBurstLimit": 20},
        "POST /api/session": {"ThrottlingRateLimit": 5, "ThrottlingBurstLimit": 10},
    }


def test_no_access_log_contains_webhook_tokens():
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


def test_no_role_allows_a_wildcard_action_or_every_resource():
    for name, role in of_type("AWS::IAM::Role").items():
        assert "ManagedPolicyArns" not in role, name
        for policy in role["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                _, statement, _ = statement.get("Fn::If", (None, statement, None))
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                assert not any("*" in action for action in actions), name
                assert statement["Resource"] != "*", name


def test_only_the_agent_function_may_call_bedrock_and_only_the_models_named():
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


def test_the_default_model_can_be_of_every_provider_with_the_fields_it_needs():
    """The table of providers is in crates/domain/src/agent/model.rs."""
    providers = json.loads((ROOT / "web/src/definition/providers.json").read_text())
    assert TEMPLATE["Parameters"]["ModelProvider"]["AllowedValues"] == ["", *(provider["name"] for provider in providers)]

    def in_rule(rule):
        return set(re.findall(r'"ModelProvider"}, "(\w+)"', json.dumps(TEMPLATE["Rules"][rule]["RuleCondition"])))

    needs_server = {provider["name"] for provider in providers if provider["base_url"]["rule"] == "required"}
    needs_model = {provider["name"] for provider in providers if provider["model_name"]["rule"] == "required"}
    assert in_rule("OpenaiNeedsAServer") == needs_server
    # Of a provider with a server, the rule AServerNeedsAModel checks the model.
    assert in_rule("AnthropicAndBedrockNeedAModel") == needs_model - needs_server
    assert in_rule("BedrockNeedsAPermission") == {
        provider["name"] for provider in providers if provider["api_key"] == "refused"}


def test_the_webhook_function_may_update_counters_and_no_task():
    """The emulator does not check the keys of a call, so it would allow any."""
    statements = properties("WebhookRole")["Policies"][0]["PolicyDocument"]["Statement"]
    updates = [statement for statement in statements if "dynamodb:UpdateItem" in statement["Action"]]
    assert [(update["Action"], update["Condition"]) for update in updates] == [
        ("dynamodb:UpdateItem", {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["rate#*"]}}),
    ]


def test_the_console_writes_agents_secrets_and_reads_only_imported_tokens():
    statements = properties("ConsoleRole")["Policies"][0]["PolicyDocument"]["Statement"]
    secrets = {json.dumps(statement["Action"]): statement["Resource"] for statement in statements
               if "secretsmanager:" in json.dumps(statement["Action"])}
    below = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:${AWS::StackName}/provider/"
    assert secrets == {
        '"secretsmanager:GetSecretValue"': [
            {"Fn::GetAtt": ["AdminToken", "Id"]},
            {"Fn::If": ["CreatesStorage", {"Fn::GetAtt": ["SigningSecret", "Id"]}, {"Ref": "ExistingSigningSecret"}]},
            {"Fn::Sub": f"{below}agents/*/webhook-token*"}],
        '["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue", "secretsmanager:DeleteSecret"]': {
            "Fn::Sub": f"{below}*"},
    }


def test_the_routes_are_these_and_the_console_serves_the_rest():
    routes = {route["RouteKey"]: route["Target"] for route in of_type("AWS::ApiGatewayV2::Route").values()}
    target = {stem: {"Fn::Sub": f"integrations/${{{stem}Integration}}"} for stem in ("Webhook", "TaskStatus", "Console")}
    assert routes == {
        "ANY /api/webhooks/agents/{token}": target["Webhook"],
        "ANY /api/task_status": target["TaskStatus"],
        "ANY /api/health": target["TaskStatus"],
        "ANY /api/{proxy+}": target["Console"],
        "POST /api/session": target["Console"],
        "$default": target["Console"],
    }


def test_api_gateway_may_call_a_function_by_its_own_routes_only():
    """The emulator allows every call."""
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


def test_the_console_has_the_path_of_its_output():
    assert TEMPLATE["Outputs"]["ConsoleUrl"]["Value"]["Fn::Sub"][0] == "${Base}/console/"


# ---------------------------------------------------------------- Monitoring

ALARMS = of_type("AWS::CloudWatch::Alarm")
RUNBOOK = (ROOT / "docs" / "operations" / "runbook.md").read_text()
# Sections of the runbook that are not about an alarm.
GENERAL = {"Looking around", "Leaked secrets", "Deploying and deleting", "What monitoring costs"}
# The form of each dimension's value in template.yaml.
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
        return [(alarm["Namespace"], alarm["MetricName"], {d["Name"]: d["Value"] for d in alarm.get("Dimensions", [])})]
    metrics = [entry["MetricStat"]["Metric"] for entry in alarm["Metrics"] if "MetricStat" in entry]
    return [(m["Namespace"], m["MetricName"], {d["Name"]: d["Value"] for d in m["Dimensions"]}) for m in metrics]


# Metrics that CloudWatch counts in log lines.
NAMESPACE_OF_FILTERS = {"Fn::Sub": "AgentWebhooks/${AWS::StackName}"}


def counted_by_filters():
    return {transformation["MetricName"] for metric_filter in of_type("AWS::Logs::MetricFilter").values()
            for transformation in metric_filter["MetricTransformations"]
            if transformation["MetricNamespace"] == NAMESPACE_OF_FILTERS}


def widgets():
    """The dashboard's widgets, with placeholders for CloudFormation's references."""
    return json.loads(re.sub(r"\$\{([^}]*)\}", r"<\1>", properties("Dashboard")["DashboardBody"]["Fn::Sub"]))["widgets"]


def metrics_of_the_dashboard():
    for widget in widgets():
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], str):
                namespace, name, *rest = [part for part in metric if isinstance(part, str)]
                yield namespace, name, dict(zip(rest[::2], rest[1::2]))


def metrics_of_the_code():
    """The dimensions of each metric, as in crates/logs/src/metrics.rs."""
    source = (ROOT / "crates" / "logs" / "src" / "metrics.rs").read_text()
    tables = re.findall(r"const BY_(\w+): [^=]*= &\[(.*?)\];", source, re.S)
    metrics = {name: {word.lower() for word in dimensions.split("_AND_")}
               for dimensions, table in tables for name in re.findall(r'\("(\w+)", "', table)}
    assert len(metrics) == 6, metrics
    return metrics


def outcomes_of_the_code():
    source = (ROOT / "crates" / "domain" / "src" / "outcome.rs").read_text()
    return {"success", *re.findall(r'Self::\w+ => "(\w+)"', source)}


def test_alarms_and_sections_of_the_runbook_match():
    assert set(re.findall(r"^## (.+)$", RUNBOOK, re.M)) - GENERAL == set(ALARMS)
    for name, alarm in ALARMS.items():
        assert alarm["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}
        assert alarm["AlarmDescription"].endswith(f"Runbook: docs/operations/runbook.md#{name.lower()}")
        section = RUNBOOK.partition(f"## {name}\n")[2].partition("\n## ")[0]
        parts = ("**It means**", "**Callers see**", "**Look**", "**Do**", "**It is over**")
        assert [part for part in parts if part not in section] == [], name


# Words of a CloudWatch Logs Insights query that are not fields of our log lines: its
# language, its own fields, aliases, and fields of Lambda's log lines.
INSIGHTS = {"fields", "filter", "sort", "desc", "limit", "stats", "by", "as", "and", "or", "in", "like", "count", "max", "pct",
            "sum", "bin", "h",
            "timestamp", "log", "n", "longest", "p99",
            "type", "platform", "record", "requestId", "errorType", "metrics", "maxMemoryUsedMB", "durationMs"}


def test_the_runbook_queries_messages_and_fields_that_the_code_writes():
    files = [file for crate in ("api", "runner") for file in sorted(ROOT.glob(f"crates/{crate}/src/**/*.rs"))]
    sources = "".join(file.read_text() for file in files)
    table = re.findall(r"^//! \| (`.*?) \|", (ROOT / "crates" / "logs" / "src" / "lib.rs").read_text(), re.M)
    fields = set(re.findall(r"`(\w+)`", " ".join(table)))
    fields |= set(re.findall(r"^ +(\w+) = (?:entry|joined|changes_text)", (ROOT / "crates/api/src/audit.rs").read_text(), re.M))
    events = set(re.findall(r'Self::\w+ => "(\w+)"', (ROOT / "crates/domain/src/audit/mod.rs").read_text()))
    queries = re.findall(r'insights "([^"]*)"', RUNBOOK)
    assert len(queries) > 10 and len(fields) > 10
    for query in queries:
        for message in re.findall(r"message = '([^']*)'", query):
            assert f'"{message}"' in sources
        for part in re.findall(r"message like '([^']*)'", query):
            assert re.search(rf'tracing::\w+!\([^;]*"[^"\n]*{part}[^"\n]*"', sources), part
        for outcomes in re.findall(r"outcome (?:!=|in) (\[.*?\]|'\w+')", query):
            assert set(re.findall(r"\w+", outcomes)) <= outcomes_of_the_code(), query
        for named in re.findall(r"event in (\[.*?\])", query):
            assert set(re.findall(r"\w+", named)) <= events, query
        words = set(re.findall(r"[A-Za-z]\w*", re.sub(r"'[^']*'", "", query)))
        assert words - INSIGHTS - fields == set(), query


def test_every_link_within_the_runbook_has_a_target():
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.M)}
    assert [link for link in re.findall(r"\]\(#([^)]+)\)", RUNBOOK) if link not in anchors] == []


def test_an_alarm_is_off_without_data_and_notifies_only_if_an_address_is_given():
    actions = {"Fn::If": ["IsMailed", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    for name, alarm in ALARMS.items():
        assert TEMPLATE["Resources"][name]["Condition"] == "IsWatched"
        assert alarm["TreatMissingData"] == "notBreaching"
        assert alarm["AlarmActions"] == alarm["OKActions"] == actions, name
    assert properties("AlarmSubscription") == {"TopicArn": {"Ref": "AlarmTopic"}, "Protocol": "email",
                                               "Endpoint": {"Ref": "AlarmEmail"}}


def test_every_alarm_watches_a_resource_of_this_stack():
    for name, alarm in ALARMS.items():
        for namespace, metric, dimensions in metrics_of(alarm):
            if namespace == NAMESPACE_OF_FILTERS:
                # Without dimensions: the stack is in the namespace.
                assert (dimensions, metric in counted_by_filters()) == ({}, True), name
                continue
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


def test_alarms_have_the_thresholds_that_the_runbook_states():
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
        "LostTasks": (300, 1, 2, over, 0),
        "ModelErrors": (300, 3, 4, at_least, 50),
        "AgentErrors": (300, 2, 3, over, 0),
        "AgentThrottles": (300, 2, 3, over, 0),
        "RecursionDrops": (300, 1, 1, over, 0),
        "AgentNearTimeout": (900, 1, 1, at_least, 90),
        "ApiErrors": (300, 2, 3, over, 0.05),
        "ApiThrottles": (300, 2, 3, over, 100),
        "FailedSignIns": (300, 1, 1, over, 20),
        "TableThrottles": (300, 2, 3, over, 0),
    }
    # Half an hour is longer than any run after one lost worker.
    assert ALARMS["OldTasks"]["Threshold"] >= 2 * TEMPLATE["Parameters"]["AgentTimeoutSeconds"]["MaxValue"]


def test_an_expression_uses_every_metric_of_its_alarm():
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


def test_the_runbook_states_how_many_alarm_metrics_are_paid():
    watched = sum(len(metrics_of(alarm)) for alarm in ALARMS.values())
    assert f"{watched} alarm metrics" in RUNBOOK
    assert f"over {watched} metrics" in (ROOT / "template.yaml").read_text()
    assert len(of_type("AWS::CloudWatch::Dashboard")) == 1


def test_our_metrics_have_the_names_and_dimensions_of_the_code():
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


def test_the_dashboard_shows_every_alarm_and_only_this_stack():
    (shown,) = [widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm"]
    assert {arn.rpartition("-")[2] for arn in shown} == set(ALARMS)
    for namespace, name, dimensions in metrics_of_the_dashboard():
        for dimension, value in dimensions.items():
            resource = value.strip("<>").partition(".")[0]
            assert resource == "AWS::StackName" if namespace == "AgentWebhooks" else (
                TEMPLATE["Resources"][resource]["Type"] == DIMENSIONS[dimension][0]), name


def test_the_agent_function_sends_metrics_if_monitoring_is_on():
    variables = properties("AgentFunction")["Environment"]["Variables"]
    assert variables["AGENT_WEBHOOKS_METRICS_STACK"] == {"Fn::If": ["IsWatched", {"Ref": "AWS::StackName"}, ""]}
