"""What AWS requires of template.yaml, after the SAM transform.

Each test names the row of the review of the deployment on AWS that it belongs to (R: at
run time, D: at deployment and in operation) and its source. AGENT_WEBHOOKS_TEMPLATE and
AGENT_WEBHOOKS_RUNBOOK name other files to check, such as those of an earlier release.
"""

import copy
import itertools
import json
import os
import re
from pathlib import Path

import pytest
from samcli.yamlhelper import yaml_parse

# The transform asks boto3 for the region, in order to know the partition.
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

from samtranslator.translator.transform import transform  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
TEXT = Path(os.environ.get("AGENT_WEBHOOKS_TEMPLATE", ROOT / "template.yaml")).read_text()
RUNBOOK = Path(os.environ.get("AGENT_WEBHOOKS_RUNBOOK", ROOT / "docs" / "operations" / "runbook.md")).read_text()
SOURCE = yaml_parse(TEXT)
PARAMETERS = SOURCE["Parameters"]


class NoManagedPolicies:
    """The transform loads AWS managed policies from IAM. The template uses none."""

    def load(self):
        return {}


def transformed():
    template = copy.deepcopy(SOURCE)
    # `sam package` replaces the local folder by the uploaded package.
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/package.zip"
    return json.loads(json.dumps(transform(template, {}, NoManagedPolicies())))


TEMPLATE = transformed()
RESOURCES = TEMPLATE["Resources"]

REFERENCE = re.compile(r"\$\{([^!}]+)\}")


class Stack:
    """The transformed template with its parameters filled in, as CloudFormation does."""

    def __init__(self, partition="aws", region="us-east-1", **parameters):
        unknown = set(parameters) - set(PARAMETERS)
        assert not unknown, f"the template has no parameter {unknown}"
        defaults = {name: parameter["Default"] for name, parameter in PARAMETERS.items()}
        self.parameters = {**defaults, **parameters}
        self.pseudo = {"AWS::Partition": partition, "AWS::Region": region, "AWS::AccountId": "123456789012",
                       "AWS::StackName": "stack", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": None}
        self.resources = {name: resource for name, resource in RESOURCES.items() if self.is_created(resource)}

    def is_created(self, item):
        return self.holds(item["Condition"]) if "Condition" in item else True

    def holds(self, name):
        return self.value(TEMPLATE["Conditions"][name])

    def properties(self, name):
        return self.value(self.resources[name].get("Properties", {}))

    def of_type(self, kind):
        return {name: self.properties(name) for name, resource in self.resources.items() if resource["Type"] == kind}

    def output(self, name):
        return self.value(TEMPLATE["Outputs"][name]["Value"])

    def refused_by(self):
        """The rules whose assertions fail."""
        return {name for name, rule in TEMPLATE["Rules"].items()
                if self.value(rule.get("RuleCondition", True))
                and not all(self.value(assertion["Assert"]) for assertion in rule["Assertions"])}

    def reference(self, name):
        if name in self.pseudo:
            return self.pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        assert name.partition(".")[0] in self.resources, f"{name} refers to a resource that the stack does not create"
        return f"<{name}>"

    def value(self, node):
        if isinstance(node, list):
            return [item for item in map(self.value, node) if item is not None]
        if not isinstance(node, dict):
            return node
        if len(node) != 1 or not (next(iter(node)).startswith("Fn::") or next(iter(node)) in ("Ref", "Condition")):
            return {key: self.value(item) for key, item in node.items()}
        ((function, argument),) = node.items()
        return getattr(self, function.removeprefix("Fn::").lower() + "_")(argument)

    def ref_(self, name):
        return self.reference(name)

    def condition_(self, name):
        return self.holds(name) if isinstance(name, str) else {"Condition": self.value(name)}

    def getatt_(self, argument):
        return self.reference(argument if isinstance(argument, str) else ".".join(argument))

    def if_(self, argument):
        condition, then, otherwise = argument
        return self.value(then if self.holds(condition) else otherwise)

    def sub_(self, argument):
        text, names = (argument, {}) if isinstance(argument, str) else argument
        names = {name: self.value(value) for name, value in names.items()}
        return REFERENCE.sub(lambda match: str(names.get(match[1]) or self.reference(match[1])), text)

    def join_(self, argument):
        separator, items = argument
        items = self.value(items)
        return separator.join([items] if isinstance(items, str) else items)

    def findinmap_(self, argument):
        table, first, second = self.value(argument)
        return TEMPLATE["Mappings"][table][first][second]

    def equals_(self, argument):
        one, other = map(self.value, argument)
        return str(one) == str(other)

    def eachmemberequals_(self, argument):
        members, value = map(self.value, argument)
        return all(member == value for member in ([members] if isinstance(members, str) else members))

    def not_(self, argument):
        return not self.value(argument[0])

    def and_(self, argument):
        return all(map(self.value, argument))

    def or_(self, argument):
        return any(map(self.value, argument))


def of_type(kind):
    return {name: resource for name, resource in RESOURCES.items() if resource["Type"] == kind}


def statements_of(role):
    for policy in RESOURCES[role]["Properties"]["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            # An optional statement stands in Fn::If.
            yield statement.get("Fn::If", [None, statement])[1]


def role_of(function):
    return RESOURCES[function]["Properties"]["Role"]["Fn::GetAtt"][0]


def consumers():
    """Each event source mapping as (function, queue, mapping)."""
    for mapping in of_type("AWS::Lambda::EventSourceMapping").values():
        properties = mapping["Properties"]
        yield properties["FunctionName"]["Ref"], properties["EventSourceArn"]["Fn::GetAtt"][0], properties


def queue_with_dead_letters():
    (queue,) = [queue["Properties"] for queue in of_type("AWS::SQS::Queue").values() if "RedrivePolicy" in queue["Properties"]]
    return queue


def section_of(heading):
    return RUNBOOK.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def metric_stats(alarm):
    """Each metric of an alarm, as (id, namespace, name, statistic)."""
    if "Metrics" not in alarm:
        return [(None, alarm["Namespace"], alarm["MetricName"], alarm.get("Statistic", alarm.get("ExtendedStatistic")))]
    return [(entry["Id"], entry["MetricStat"]["Metric"]["Namespace"], entry["MetricStat"]["Metric"]["MetricName"],
             entry["MetricStat"]["Stat"]) for entry in alarm["Metrics"] if "MetricStat" in entry]


def expression_of(alarm):
    (expression,) = [entry["Expression"] for entry in alarm["Metrics"] if "Expression" in entry]
    return expression


ALARMS = Stack().of_type("AWS::CloudWatch::Alarm")


# ---------------------------------------------------------------- At run time


def test_a_function_that_receives_from_a_queue_and_sends_to_it_allows_recursion():
    """R1. Lambda stops a chain from a function to its own queue after about 16 invocations.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    SAM passes the property through: samtranslator/model/sam_resources.py:204 (1.113.0).
    """
    recursive = set()
    for function, queue, _ in consumers():
        for statement in statements_of(role_of(function)):
            actions, resources = json.dumps(statement["Action"]), json.dumps(statement["Resource"])
            if "sqs:SendMessage" in actions and json.dumps({"Fn::GetAtt": [queue, "Arn"]}) in resources:
                recursive.add(function)
    assert recursive == {"AgentFunction"}
    settings = {name: function["Properties"].get("RecursiveLoop") for name, function in of_type("AWS::Lambda::Function").items()}
    assert {name for name, setting in settings.items() if setting == "Allow"} == recursive


def test_an_alarm_reports_invocations_that_lambda_drops_as_recursive():
    """R1. The metric counts the invocations that recursive loop detection stopped.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    watching = {name for name, alarm in ALARMS.items()
                if ("AWS/Lambda", "RecursiveInvocationsDropped", "Sum") in [metric[1:] for metric in metric_stats(alarm)]}
    assert watching == {"RecursionDrops"}
    alarm = ALARMS["RecursionDrops"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("GreaterThanThreshold", 0)
    assert "--recursive-loop Allow" in section_of("RecursionDrops")


def test_agent_invocations_leave_room_for_callers_in_an_account_with_ten_executions():
    """R2. New accounts have reduced concurrency quotas, and Lambda may reserve none there.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (reduced quotas)
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html (100 stay unreserved)
    https://github.com/aws-samples/one-observability-demo/issues/278 (a quota of 10)
    """
    stack = Stack()
    invocations = sum(int(mapping["ScalingConfig"]["MaximumConcurrency"])
                      for mapping in stack.of_type("AWS::Lambda::EventSourceMapping").values())
    assert invocations <= 7
    assert "ReservedConcurrentExecutions" not in {
        name for function in stack.of_type("AWS::Lambda::Function").values() for name, value in function.items() if value}
    for text in (PARAMETERS["MaximumConcurrency"]["Description"], section_of("AgentThrottles")):
        assert "get-account-settings" in text
    assert "100" in PARAMETERS["ReservedConcurrency"]["Description"]


def test_an_hour_of_throttling_does_not_make_dead_letters():
    """R3. Each message that a throttled mapping returns counts as a receive.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html
    """
    queue = queue_with_dead_letters()
    receives, timeout = queue["RedrivePolicy"]["maxReceiveCount"], PARAMETERS["AgentTimeoutSeconds"]
    assert queue["VisibilityTimeout"] == {"Ref": "AgentTimeoutSeconds"}
    assert receives * timeout["MinValue"] > 3600
    # SQS allows 1,000 at most, and a message must become a dead letter before it expires.
    assert receives <= 1000
    assert receives * timeout["MaxValue"] < queue["MessageRetentionPeriod"]


def test_the_worker_counts_receives_as_the_queue_does():
    """R1, R3. It replaces a message before the queue makes it a dead letter, and rarely enough for Lambda.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-recursion.html
    """
    source = (ROOT / "crates/runner/src/batch.rs").read_text()
    worker = {name: int(value) for name, value in re.findall(r"const (\w+): u32 = (\d+);", source)}
    assert worker["MAX_RECEIVES"] == queue_with_dead_letters()["RedrivePolicy"]["maxReceiveCount"]
    assert worker["RECEIVES_BEFORE_RESEND"] < worker["MAX_RECEIVES"]
    # A task waits for a run slot for a day, and is received every 8 s on average.
    assert 24 * 3600 / (8 * worker["RECEIVES_BEFORE_RESEND"]) < 16


def test_a_message_is_hidden_for_at_least_one_invocation():
    """R3. Lambda refuses a mapping whose queue has a shorter visibility timeout than the function's timeout.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """
    for seconds in (PARAMETERS["AgentTimeoutSeconds"]["MinValue"], PARAMETERS["AgentTimeoutSeconds"]["MaxValue"]):
        stack = Stack(AgentTimeoutSeconds=seconds)
        for function, queue, mapping in consumers():
            assert stack.properties(queue)["VisibilityTimeout"] >= stack.properties(function)["Timeout"]
            assert mapping.get("MaximumBatchingWindowInSeconds", 0) == 0


def test_all_methods_of_a_path_reach_the_same_function():
    """R4. A route with a method matches only that method; the others match ANY, or $default.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    """
    routes = {route["RouteKey"]: route["Target"] for route in Stack().of_type("AWS::ApiGatewayV2::Route").values()}
    for key, target in routes.items():
        method, _, path = key.partition(" ")
        if path and method != "ANY":
            assert routes.get(f"ANY {path}", routes["$default"]) == target, key


def test_the_body_parameter_states_the_event_size_that_text_can_exceed():
    """R9. The 6,291,456 bytes of a request to Lambda are the whole event, in which text is escaped.

    https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html (invocation payload)
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html (event)
    """
    limit, most = 6_291_456, PARAMETERS["MaxBodyBytes"]["MaxValue"]

    def event(body, **fields):
        headers = {"x-padding": "x" * 10_240}
        return len(json.dumps({"version": "2.0", "headers": headers, "requestContext": {}, "body": body, **fields}))

    assert event("A" * -(-most // 3 * 4), isBase64Encoded=True) <= limit
    assert event("a" * most, isBase64Encoded=False) <= limit
    assert event('"' * int(2.9 * 2**20), isBase64Encoded=False) <= limit < event('"' * most, isBase64Encoded=False)
    for words in ("6,291,456 bytes", "twice", "2.9 MiB"):
        assert words in PARAMETERS["MaxBodyBytes"]["Description"]


def test_the_runbook_replaces_warm_instances_after_a_key_change():
    """R11. A warm instance does not read a changed secret; a changed configuration needs new instances.

    https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionConfiguration.html
    """
    section = section_of("Leaked secrets")
    # A changed description alone replaces no instance in MiniStack, and AWS does not promise that it does.
    assert re.search(r"aws lambda update-function-configuration --function-name \$1 [^&]*--environment", section)
    assert "aws lambda wait function-updated-v2 --function-name $1" in section
    replaced = {leak.partition("\n")[0]: set(re.findall(r"^ *replace_instances (.+)$", leak, re.M))
                for leak in section.split("### A leaked ")[1:]}
    console, agent = {"$(resource ConsoleFunction)"}, {"$AGENT"}
    # Each function finds an agent's webhook token in the agents table.
    assert replaced == {"admin token": console, "signing secret": console, "webhook URL": set(), "model key": agent}


@pytest.mark.parametrize("leak", ["admin token", "signing secret", "webhook URL", "model key"])
def test_the_runbook_for_a_leak_has_every_part(leak):
    """A6. tests/emulator/test_leaks.py carries the commands out."""
    section = section_of("Leaked secrets").partition(f"### A leaked {leak}\n")[2].partition("\n### ")[0]
    assert [part for part in ("**Detect**", "**Replace**", "**Verify**", "**Consequences**") if part not in section] == []


# --------------------------------------------- At deployment and in operation


def test_no_parameter_is_noecho():
    """D1. `sam deploy --guided` asks for such a parameter without a default, and repeats on Enter.

    samcli/commands/deploy/guided_context.py:297-302 (1.167.0)
    """
    assert [name for name, parameter in PARAMETERS.items() if parameter.get("NoEcho")] == []


def test_the_headers_of_the_collector_are_in_a_secret_that_the_agent_function_may_read():
    """D1. Everyone who may read a function's configuration can read its variables.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    stack = Stack(OtlpHeadersSecret="collector")
    variables = stack.properties("AgentFunction")["Environment"]["Variables"]
    assert variables["AGENT_WEBHOOKS_OTLP_HEADERS_SECRET"] == "collector"
    assert [name for name in variables if name.startswith("OTEL_EXPORTER") and "HEADERS" in name] == []
    readable = [stack.value(statement["Resource"]) for statement in statements_of("AgentRole")
                if statement["Effect"] == "Allow" and statement["Action"] == "secretsmanager:GetSecretValue"]
    assert readable == [f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{variables['AGENT_WEBHOOKS_SECRETS_PREFIX']}*"]


def test_a_failed_first_deployment_can_delete_its_tables():
    """D3. A rollback of a creation deletes new resources, and DynamoDB refuses to delete protected tables.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html
    """
    tables = Stack().of_type("AWS::DynamoDB::Table")
    assert {name for name, table in tables.items() if table["DeletionProtectionEnabled"] != "false"} == set()
    assert {RESOURCES[name]["DeletionPolicy"] for name in tables} <= {"Delete", "RetainExceptOnCreate"}
    protected = Stack(DeletionProtection="true").of_type("AWS::DynamoDB::Table")
    assert {table["DeletionProtectionEnabled"] for table in protected.values()} == {"true"}


def test_integrations_routes_and_the_stage_are_changed_one_after_another():
    """D4. API Gateway answers ConflictException to two changes of one API at a time.

    https://github.com/brefphp/bref/issues/868 (CloudFormation)
    https://github.com/hashicorp/terraform-provider-aws/issues/40575 (deletion of routes)
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-dependson.html
    """
    def needs(name):
        depends = RESOURCES[name].get("DependsOn", [])
        text = json.dumps(RESOURCES[name].get("Properties", {}))
        words = {*([depends] if isinstance(depends, str) else depends), *re.findall(r'"Ref": "(\w+)"', text),
                 *re.findall(r'"Fn::GetAtt": \["(\w+)"', text), *(word.partition(".")[0] for word in REFERENCE.findall(text))}
        return words & set(RESOURCES)

    def all_needs(name):
        direct = needs(name)
        return direct.union(*map(all_needs, direct))

    changes = [name for kind in ("Integration", "Route", "Stage") for name in of_type(f"AWS::ApiGatewayV2::{kind}")]
    unordered = [(one, other) for one, other in itertools.combinations(changes, 2)
                 if one not in all_needs(other) and other not in all_needs(one)]
    assert unordered == []
    (stage,) = of_type("AWS::ApiGatewayV2::Stage")
    # RouteSettings names a route, and an automatic deployment should find all of them.
    assert set(changes) - {stage} <= all_needs(stage)


def test_a_route_of_its_own_is_for_another_function_or_another_limit():
    """D4. Fewer routes are fewer changes that can conflict; $default sends the rest to the console.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    """
    stack = Stack()
    routes = {route["RouteKey"]: route["Target"] for route in stack.of_type("AWS::ApiGatewayV2::Route").values()}
    (stage,) = stack.of_type("AWS::ApiGatewayV2::Stage").values()
    same = {key for key, target in routes.items() if key != "$default" and target == routes["$default"]}
    # The management API has the limit of the pages, and a bucket of its own.
    limits = stage["RouteSettings"]
    assert {key for key in same if limits[key] == limits["$default"]} == {"ANY /api/{proxy+}"}


def test_each_permission_covers_the_arn_of_a_route():
    """D4. The ARN of the route $default is `api-id/*/$default`, whatever the path of the request.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/arn-format-reference.html
    https://github.com/aws/aws-cdk aws-apigatewayv2-integrations/lib/http/lambda.ts (the route's path, braces included)
    """
    stack = Stack()
    integrations = {f"integrations/<{name}>": integration["IntegrationUri"].removesuffix(".Arn>") + ">"
                    for name, integration in stack.of_type("AWS::ApiGatewayV2::Integration").items()}
    wanted = set()
    for route in stack.of_type("AWS::ApiGatewayV2::Route").values():
        method, _, path = route["RouteKey"].partition(" ")
        # `*` in place of a greedy variable would also cover the routes of other functions.
        path = re.sub(r"\{\w+\}", "*", path)
        pattern = f"{method.replace('ANY', '*')}{path}"
        wanted.add((integrations[route["Target"]], f"arn:aws:execute-api:us-east-1:123456789012:<HttpApi>/*/{pattern}"))
    permissions = stack.of_type("AWS::Lambda::Permission").values()
    assert {(permission["FunctionName"], permission["SourceArn"]) for permission in permissions} == wanted


def test_the_parameter_says_that_deletion_protection_is_of_the_tables_only():
    """D5. A stack deletion removes other resources before it fails at a protected table.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/using-cfn-protect-stacks.html
    """
    description = PARAMETERS["DeletionProtection"]["Description"]
    assert "tables only" in description and "termination protection" in description
    assert "update-termination-protection" in section_of("Deploying and deleting")


EXISTING = {
    "ExistingAgentsTable": "old-agents",
    "ExistingDocumentsTable": "old-documents",
    "ExistingSigningSecret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:SigningSecret-abc-AbCdEf",
}
RETAINED = {"AgentsTable", "DocumentsTable", "SigningSecret"}


def test_a_stack_uses_existing_tables_and_signing_secret_everywhere_and_creates_none():
    """D6. What a deleted stack retains can be attached to another stack.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/conditions-section-structure.html
    """
    stack = Stack(**EXISTING)
    assert stack.refused_by() == set()
    assert RETAINED & set(stack.resources) == set()
    # No reference to what is not created: Stack.reference fails at one.
    everything = {name: stack.properties(name) for name in stack.resources}
    outputs = {name: stack.output(name) for name, output in TEMPLATE["Outputs"].items() if stack.is_created(output)}
    assert [outputs[name] for name in ("AgentsTable", "DocumentsTable", "SigningSecret")] == list(EXISTING.values())

    variables = [variable for function in stack.of_type("AWS::Lambda::Function").values()
                 for variable in function["Environment"]["Variables"].items()]
    assert {value for name, value in variables if name == "AGENT_WEBHOOKS_AGENTS_TABLE"} == {"old-agents"}
    assert {value for name, value in variables if name == "AGENT_WEBHOOKS_DOCUMENTS_TABLE"} == {"old-documents"}
    assert {value for name, value in variables if name == "AGENT_WEBHOOKS_SIGNING_SECRET"} == {EXISTING["ExistingSigningSecret"]}
    table = "arn:aws:dynamodb:us-east-1:123456789012:table/"
    for role in ("WebhookRole", "AgentRole", "ConsoleRole"):
        assert f'"{table}old-agents"' in json.dumps(everything[role]), role
    for role in ("AgentRole", "ConsoleRole"):
        assert f'"{table}old-documents"' in json.dumps(everything[role]), role
    assert f'"{EXISTING["ExistingSigningSecret"]}"' in json.dumps(everything["ConsoleRole"])


def test_a_stack_creates_its_tables_and_signing_secret_by_default():
    """D6. Without existing tables, every reference has a resource in the stack.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/conditions-section-structure.html
    """
    stack = Stack()
    assert stack.refused_by() == set()
    assert RETAINED <= set(stack.resources)
    for name in stack.resources:
        stack.properties(name)
    assert [stack.output(name) for name in sorted(RETAINED)] == ["<AgentsTable>", "<DocumentsTable>", "<SigningSecret.Id>"]


@pytest.mark.parametrize("given", [names for count in (1, 2) for names in itertools.combinations(sorted(EXISTING), count)])
def test_existing_tables_and_signing_secret_must_be_set_together(given):
    """D6. Webhook tokens are derived from the signing secret, and agents refer to documents.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/rules-section-structure.html
    """
    assert Stack(**{name: EXISTING[name] for name in given}).refused_by() == {"ExistingStorageIsComplete"}


def test_setting_the_existing_tables_on_their_own_stack_deletes_nothing():
    """D6. RetainExceptOnCreate is Retain for all operations but the one that created the resource.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    """
    before, after = Stack(), Stack(**EXISTING)
    removed = set(before.resources) - set(after.resources)
    assert removed == RETAINED
    assert {RESOURCES[name]["DeletionPolicy"] for name in removed} == {"RetainExceptOnCreate"}
    assert set(after.resources) - set(before.resources) == set()


@pytest.mark.parametrize(("parameter", "good", "bad"), [
    ("ExistingAgentsTable", "agent-webhooks-AgentsTable-1ABC", "arn:aws:dynamodb:us-east-1:123456789012:table/x"),
    ("ExistingDocumentsTable", "a.b_c-D", "x/y"),
    # Without its last six characters, an ARN names no secret in a policy.
    ("ExistingSigningSecret", EXISTING["ExistingSigningSecret"], "SigningSecret-abc"),
])
def test_an_existing_resource_is_named_in_the_form_that_policies_need(parameter, good, bad):
    """D6. A table by its name, a secret by its complete ARN.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
    https://docs.aws.amazon.com/secretsmanager/latest/userguide/troubleshoot.html (ARN_secretnamehyphen)
    """
    pattern = re.compile(PARAMETERS[parameter]["AllowedPattern"])
    assert pattern.fullmatch("") and pattern.fullmatch(good) and not pattern.fullmatch(bad)


def test_an_alarm_over_dynamodb_metrics_has_a_value_in_every_period():
    """D7. Alarms on AWS/DynamoDB may ignore missing data, and then stay on.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html (TreatMissingData)
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (missing values are 0)
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html
    """
    dynamodb = {name for name, alarm in ALARMS.items() if "AWS/DynamoDB" in [metric[1] for metric in metric_stats(alarm)]}
    assert dynamodb
    for name in dynamodb:
        alarm = ALARMS[name]
        always = [metric for metric in metric_stats(alarm) if metric[1] != "AWS/DynamoDB"]
        # SQS reports this one while the queue is active, and Lambda's polling keeps it active.
        assert [(namespace, metric) for _, namespace, metric, _ in always] == [("AWS/SQS", "ApproximateNumberOfMessagesVisible")], name
        assert f"0 * {always[0][0]}" in expression_of(alarm), name


def test_an_alarm_with_fill_needs_fewer_data_points_than_it_looks_at():
    """D8. While data is late, FILL puts its value into the newest point; AWS suggests M out of N.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html (FILL)
    """
    filled = {name: alarm for name, alarm in ALARMS.items() if "FILL(" in json.dumps(alarm)}
    assert filled
    pinned = [name for name, alarm in filled.items()
              if alarm.get("DatapointsToAlarm", alarm["EvaluationPeriods"]) >= alarm["EvaluationPeriods"]]
    assert pinned == []


def test_the_rate_of_server_errors_is_their_sum_by_the_sum_of_requests():
    """D8. For HTTP APIs, 5xx and Count are numbers; only REST APIs document the average as the rate.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-metrics-and-dimensions.html (REST)
    """
    metrics = {metric: statistic for _, namespace, metric, statistic in metric_stats(ALARMS["ApiErrors"])}
    assert metrics == {"5xx": "Sum", "Count": "Sum"}
    ids = {metric: identifier for identifier, _, metric, _ in metric_stats(ALARMS["ApiErrors"])}
    assert expression_of(ALARMS["ApiErrors"]) == f"{ids['5xx']} / {ids['Count']}"


def test_an_administrator_subscribes_to_models_and_the_agent_function_does_not():
    """D9. The first call of a third-party model starts a subscription, which needs rights in AWS Marketplace.

    https://docs.aws.amazon.com/bedrock/latest/userguide/model-access.html
    """
    assert "aws-marketplace" not in json.dumps(RESOURCES)
    for text in (PARAMETERS["BedrockModels"]["Description"], section_of("ModelErrors")):
        assert "Marketplace" in text and "administrator" in text


@pytest.mark.parametrize(("partition", "region", "host"), [
    ("aws", "us-east-1", "console.aws.amazon.com"),
    ("aws-cn", "cn-north-1", "console.amazonaws.cn"),
    ("aws-us-gov", "us-gov-west-1", "console.amazonaws-us-gov.com"),
    ("aws-eusc", "eusc-de-east-1", "console.amazonaws-eusc.eu"),
])
def test_the_dashboard_url_uses_the_console_host_of_the_partition(partition, region, host):
    """D11. Each partition has its own console.

    https://docs.aws.amazon.com/general/latest/gr/mgmt-console.html
    https://docs.amazonaws.cn/en_us/AmazonCloudWatch/latest/monitoring/using-metric-math.html
    https://docs.aws.amazon.com/govcloud-us/latest/UserGuide/configure-account.html
    https://cambelo.com/posts/aws-european-sovereign-cloud-technical-guide
    """
    url = Stack(partition, region).output("DashboardUrl")
    assert url == f"https://{host}/cloudwatch/home?region={region}#dashboards/dashboard/<Dashboard>"


# ------------------------------------------------------- Found by the second reading

# Types whose names are shared by all regions of an account.
GLOBAL_NAMES = {"AWS::CloudWatch::Dashboard": "DashboardName", "AWS::IAM::Role": "RoleName", "AWS::S3::Bucket": "BucketName"}


def test_a_name_that_is_global_in_the_account_contains_the_region():
    """S2. Dashboards are global: a stack of the same name in a second region would fail.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-cloudwatch-dashboard.html
    """
    named = {name: resource["Properties"][GLOBAL_NAMES[resource["Type"]]] for name, resource in RESOURCES.items()
             if GLOBAL_NAMES.get(resource["Type"]) in resource.get("Properties", {})}
    assert named == {"Dashboard": {"Fn::Sub": "${AWS::StackName}-${AWS::Region}"}}


# Variables without which the functions of a release do not start.
REQUIRED_BY_RELEASE = {
    "0.1.0": {
        "WebhookFunction": {"TASKS_TABLE", "AGENTS_TABLE", "QUEUE_URL"},
        "AgentFunction": {"TASKS_TABLE", "AGENTS_TABLE", "SECRETS_PREFIX", "QUEUE_URL", "DEAD_LETTER_QUEUE_URL", "DEAD_LETTER_QUEUE_ARN"},
        "TaskStatusFunction": {"TASKS_TABLE"},
        "ConsoleFunction": {"AGENTS_TABLE", "ADMIN_TOKEN_SECRET", "SIGNING_SECRET", "SECRETS_PREFIX", "PUBLIC_URL"},
    },
}


@pytest.mark.parametrize("release", REQUIRED_BY_RELEASE)
def test_functions_of_the_last_release_start_with_the_variables_of_this_one(release):
    """S3. CloudFormation updates the configuration of a function before its code, so old code runs with new variables.

    https://github.com/aws/aws-cdk/issues/33587
    """
    for function, required in REQUIRED_BY_RELEASE[release].items():
        variables = RESOURCES[function]["Properties"]["Environment"]["Variables"]
        missing = {name for name in required if not variables.get(f"AGENT_WEBHOOKS_{name}")}
        assert not missing, f"{function}: {missing}"


# ------------------------------------------------------- Found by an attack

# How long a function works for one request, in seconds, cold starts aside. docs/contributing/benchmarks.md: task status 7 ms, webhook 18 ms.
SECONDS_PER_POLL = 0.007
SECONDS_PER_REQUEST = 0.01
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html: of all APIs of an account, in the regions with the
# lowest quota.
ACCOUNT_RATE, ACCOUNT_BURST = 2_500, 1_250


def limits_of(stack):
    """Rate and burst of each route."""
    (stage,) = stack.of_type("AWS::ApiGatewayV2::Stage").values()
    routes = [route["RouteKey"] for route in stack.of_type("AWS::ApiGatewayV2::Route").values()]
    settings = {key: {**stage["DefaultRouteSettings"], **stage["RouteSettings"].get(key, {})} for key in routes}
    assert set(stage["RouteSettings"]) <= set(routes), "API Gateway refuses settings of a route that does not exist"
    return {key: (limit["ThrottlingRateLimit"], limit["ThrottlingBurstLimit"]) for key, limit in settings.items()}


WEBHOOKS = "ANY /api/webhooks/agents/{token}"
POLLS = "ANY /api/task_status"


def test_floods_of_all_other_routes_leave_concurrency_for_webhooks_in_a_new_account():
    """A1. All functions share the account's concurrency, and anyone may send requests to every route.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html (route-level throttling)
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html (concurrency is rate times duration)
    """
    stack = Stack()
    agents = sum(int(mapping["ScalingConfig"]["MaximumConcurrency"])
                 for mapping in stack.of_type("AWS::Lambda::EventSourceMapping").values())
    limits = limits_of(stack)
    flooded = sum(rate * (SECONDS_PER_POLL if key == POLLS else SECONDS_PER_REQUEST)
                  for key, (rate, _) in limits.items() if key != WEBHOOKS)
    # Two executions at most, of the three that agents leave.
    assert flooded < 10 - agents - 1, limits


def test_a_flood_of_pages_does_not_lock_administrators_out():
    """A1. A bucket belongs to a route: what `/` uses up is not missing at the management API.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
    """
    assert {"$default", "ANY /api/{proxy+}", "POST /api/session"} <= set(limits_of(Stack()))


def test_all_routes_at_their_limits_stay_within_the_quota_of_the_account():
    """A1. The account's throttle is shared by all APIs of the region, and applies after those of the routes.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
    """
    limits = limits_of(Stack()).values()
    assert sum(rate for rate, _ in limits) <= ACCOUNT_RATE
    # All bursts at once, from the account's bucket and what it refills meanwhile.
    within_seconds = 0.016
    assert sum(burst for _, burst in limits) <= ACCOUNT_BURST + within_seconds * ACCOUNT_RATE


def test_the_throttle_of_webhooks_follows_its_parameters_and_no_other_does():
    """A1. An operator with more traffic or a larger quota raises it."""
    limits = limits_of(Stack(ThrottleRate=1, ThrottleBurst=2))
    assert limits == {WEBHOOKS: (1, 2), POLLS: (200, 200), "ANY /api/{proxy+}": (20, 30), "$default": (20, 30),
                      "ANY /api/health": (10, 20), "POST /api/session": (5, 10)}


def test_route_settings_are_literal_numbers():
    """A1. RouteSettings is JSON to CloudFormation: a parameter, also one of type Number, would arrive there as text.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigatewayv2-stage.html (Type: Json)
    """
    settings = RESOURCES["HttpApiStage"]["Properties"]["RouteSettings"]
    values = [value for limit in settings.values() for value in limit.values()]
    assert [value for value in values if type(value) is not int] == []
    assert {tuple(limit) for limit in settings.values()} == {("ThrottlingRateLimit", "ThrottlingBurstLimit")}


def test_webhooks_alone_have_the_default_limit():
    """A1. A new route without a limit of its own would get the high limit of webhooks. The same page."""
    routes = {route["RouteKey"] for route in Stack().of_type("AWS::ApiGatewayV2::Route").values()}
    assert routes - set(RESOURCES["HttpApiStage"]["Properties"]["RouteSettings"]) == {WEBHOOKS}


RESERVATIONS = {"AgentFunction": "ReservedConcurrency", "WebhookFunction": "WebhookReservedConcurrency",
                "ConsoleFunction": "ConsoleReservedConcurrency"}


@pytest.mark.parametrize(("function", "parameter"), RESERVATIONS.items())
def test_concurrency_is_reserved_by_parameter_and_never_by_default(function, parameter):
    """A1. A reservation guarantees and limits. A new account can reserve none, and its deployment would fail.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html (100 stay unreserved)
    """
    assert "ReservedConcurrentExecutions" not in {
        name for name, value in Stack().properties(function).items() if value is not None}
    reserved = {name: Stack(**{parameter: 7}).properties(name).get("ReservedConcurrentExecutions")
                for name in Stack().of_type("AWS::Lambda::Function")}
    assert {name: value for name, value in reserved.items() if value} == {function: 7}
    assert PARAMETERS[parameter]["Default"] == 0 and "100" in PARAMETERS[parameter]["Description"]
    deployment = (ROOT / "docs" / "deploy.md").read_text()
    assert f"`{parameter}`" in deployment.partition("## Reserve concurrency\n")[2].partition("\n## ")[0]


def test_the_api_has_its_own_address_unless_a_domain_replaces_it():
    """A2. Without it, callers cannot bypass the domain; a proxy that forwards to it still needs it.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-disable-default-endpoint.html
    """
    assert Stack().properties("HttpApi")["DisableExecuteApiEndpoint"] == "false"
    assert Stack(PublicUrl="https://hooks.example.com").properties("HttpApi")["DisableExecuteApiEndpoint"] == "false"
    disabled = Stack(PublicUrl="https://hooks.example.com", DisableExecuteApiEndpoint="true")
    assert disabled.refused_by() == set()
    assert disabled.properties("HttpApi")["DisableExecuteApiEndpoint"] == "true"
    assert "execute-api" not in json.dumps([disabled.output(name) for name in ("ApiUrl", "ConsoleUrl")])
    # The setting takes effect with a deployment of the stage.
    assert disabled.properties("HttpApiStage")["AutoDeploy"] is True


def test_the_address_is_not_disabled_without_a_domain():
    """A2. Callers could reach nothing. The same page."""
    assert Stack(DisableExecuteApiEndpoint="true").refused_by() == {"DisablingTheEndpointNeedsADomain"}


def test_every_queue_refuses_requests_without_tls():
    """A5. SQS answers plain HTTP too.

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-security-best-practices.html
    """
    stack = Stack()
    refused = []
    for policy in stack.of_type("AWS::SQS::QueuePolicy").values():
        (statement,) = policy["PolicyDocument"]["Statement"]
        assert statement == {
            "Sid": "NeedsTls", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": statement["Resource"],
            # Not BoolIfExists: a request of which SQS does not know it is not refused.
            "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
        refused += [name[1:-1] for name in policy["Queues"]]
    # Two policies of one queue would replace each other.
    assert sorted(refused) == sorted(stack.of_type("AWS::SQS::Queue"))


def test_a_queue_policy_covers_exactly_its_own_queue():
    """A5. SQS refuses a policy with another resource than its queue: "Each policy must cover only a single queue".

    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-creating-custom-policies.html
    """
    for policy in Stack().of_type("AWS::SQS::QueuePolicy").values():
        (queue,) = policy["Queues"]
        resources = [statement["Resource"] for statement in policy["PolicyDocument"]["Statement"]]
        assert resources == [f"<{queue[1:-1]}.Arn>"] * len(resources)


def test_no_queue_policy_allows_anything():
    """A5. Only the roles say who may use a queue."""
    effects = {statement["Effect"] for policy in Stack().of_type("AWS::SQS::QueuePolicy").values()
               for statement in policy["PolicyDocument"]["Statement"]}
    assert effects == {"Deny"}


def test_an_alarm_counts_requests_that_reach_no_function():
    """A3. API Gateway answers 429 itself, and an HTTP API has no metric of that: 4xx also has the functions' 404s.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-metrics.html
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html (throttled requests do not count as invocations)
    """
    alarm = ALARMS["ApiThrottles"]
    invoked = {entry["MetricStat"]["Metric"]["Dimensions"][0]["Value"] for entry in alarm["Metrics"]
               if entry.get("MetricStat", {}).get("Metric", {}).get("MetricName") == "Invocations"}
    behind_the_api = {permission["FunctionName"] for permission in Stack().of_type("AWS::Lambda::Permission").values()}
    assert invoked == behind_the_api
    assert ("AWS/ApiGateway", "Count", "Sum") in [metric[1:] for metric in metric_stats(alarm)]


def test_an_alarm_counts_wrong_admin_tokens_and_costs_nothing_without_them():
    """A3. https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html

    A metric without a default value and without dimensions exists only where a line matches.
    tests/aws/test_logs.py applies the pattern to the lines of the real function.
    """
    stack = Stack()
    (counted,) = stack.of_type("AWS::Logs::MetricFilter").values()
    assert counted["LogGroupName"] == "<ConsoleLogs>"
    ((transformation),) = counted["MetricTransformations"]
    assert {"DefaultValue", "Dimensions"} & set(transformation) == set()
    alarm = ALARMS["FailedSignIns"]
    assert (alarm["Namespace"], alarm["MetricName"]) == (transformation["MetricNamespace"], transformation["MetricName"])
    assert alarm["Namespace"] == "AgentWebhooks/stack", "two stacks of an account are counted apart"
    assert not stack.of_type("AWS::Logs::MetricFilter").keys() & Stack(Monitoring="false").resources.keys()


# Values of the functions' variables that are names of secrets, not secrets.
NAMES_OF_SECRETS = {"AGENT_WEBHOOKS_SECRETS_PREFIX", "AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET", "AGENT_WEBHOOKS_SIGNING_SECRET",
                    "AGENT_WEBHOOKS_MODEL_API_KEY_SECRET", "AGENT_WEBHOOKS_OTLP_HEADERS_SECRET"}


def test_no_variable_of_a_function_holds_a_secret():
    """A4. Everyone who may read a function's configuration can read its variables.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    suspicious = re.compile(r"KEY|TOKEN|SECRET|HEADERS|PASSWORD|CREDENTIAL")
    functions = Stack().of_type("AWS::Lambda::Function")
    found = {name for function in functions.values() for name in function["Environment"]["Variables"]
             if suspicious.search(name)}
    assert found == NAMES_OF_SECRETS
    assert "resolve:secretsmanager" not in TEXT and "resolve:ssm-secure" not in TEXT


@pytest.mark.parametrize(("parameter", "good", "bad"), [
    ("OtlpEndpoint", ["", "http://127.0.0.1:4318", "https://otlp.example.com/v1/x", "https://[::1]:4318"],
     ["https://user:key@otlp.example.com", "https://otlp.example.com/?api-key=x", "https://otlp.example.com#x", "https://"]),
    ("ModelBaseUrl", ["", "https://api.openai.com/v1", "https://x.openai.azure.com/openai/v1/", "http://127.0.0.1:8000"],
     ["https://user:key@api.example.com/v1", "https://key@api.example.com", "https://",
      "https://api.example.com/v1?key=x", "https://api.example.com?key=x", "https://api.example.com/v1#key", "https://api.example.com#key"]),
])
def test_an_address_with_credentials_is_refused_before_it_is_in_the_environment(parameter, good, bad):
    """A4. The same page."""
    pattern = re.compile(PARAMETERS[parameter]["AllowedPattern"])
    assert [url for url in good if not pattern.fullmatch(url)] == []
    assert [url for url in bad if pattern.fullmatch(url)] == []


@pytest.mark.parametrize(("hosts", "is_allowed"), [
    ("", True), ("*", True), ("10.0.0.7", True), ("model.internal:11434, [::1]:8080", True),
    ("10.0.0.0/8", False), ("*.internal", False), ("https://model.internal", False), ("a,,b", False), ("user@model", False),
])
def test_private_hosts_with_which_the_agent_function_would_not_start_are_refused_by_the_deployment(hosts, is_allowed):
    """Otherwise an update succeeds, and the functions fail at their next cold start."""
    pattern = re.compile(PARAMETERS["AllowedPrivateHosts"]["AllowedPattern"])
    assert bool(pattern.fullmatch(hosts)) == is_allowed
