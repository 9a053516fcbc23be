"""What neither the linters nor the emulator see of template.yaml."""

from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

TEMPLATE = yaml_parse((Path(__file__).resolve().parents[1] / "template.yaml").read_text())
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
    assert set(TEMPLATE["Outputs"]) == {"ApiUrl", "ConsoleUrl", "AdminTokenCommand", "TasksTable", "AgentsTable",
                                        "Queue", "DeadLetterQueue"}


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


def test_what_webhook_urls_hang_on_outlives_the_stack():
    for name in ("AgentsTable", "SigningSecret"):
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
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                assert not any("*" in action for action in actions), name
                assert statement["Resource"] != "*", name


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
    }
