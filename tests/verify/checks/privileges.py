"""Check 9: what the functions' roles may do, by IAM's own simulation."""

from botocore.exceptions import ClientError

from verify.results import judge, not_answerable

CHECK = "privileges"
SUBJECT = "Least privilege"


def cases(target):
    """Role, action, resource, context keys, and whether it must be allowed."""
    arn = f"{target.region}:{target.account}"
    partition = target.partition
    tasks = f"arn:{partition}:dynamodb:{arn}:table/{target.outputs['TasksTable']}"
    agents = f"arn:{partition}:dynamodb:{arn}:table/{target.outputs['AgentsTable']}"
    documents = f"arn:{partition}:dynamodb:{arn}:table/{target.outputs['DocumentsTable']}"
    queue = f"arn:{partition}:sqs:{arn}:{target.outputs['Queue'].rpartition('/')[2]}"
    dead = f"arn:{partition}:sqs:{arn}:{target.outputs['DeadLetterQueue'].rpartition('/')[2]}"
    provider = f"arn:{partition}:secretsmanager:{arn}:secret:{target.stack}/provider"
    key, token = f"{provider}/agents/x/model-api-key-abcdef", f"{provider}/agents/x/webhook-token-abcdef"
    admin, signing = target.secret_arn("AdminToken"), target.secret_arn("SigningSecret")
    rate, task = {"dynamodb:LeadingKeys": "rate#x"}, {"dynamodb:LeadingKeys": "01a20a20631b7a23"}
    return [
        ("WebhookRole", "dynamodb:PutItem", tasks, None, True),
        ("WebhookRole", "dynamodb:UpdateItem", tasks, rate, True),
        ("WebhookRole", "dynamodb:UpdateItem", tasks, task, False),
        ("WebhookRole", "dynamodb:GetItem", tasks, None, False),
        ("WebhookRole", "dynamodb:Scan", agents, None, False),
        ("WebhookRole", "dynamodb:PutItem", agents, None, False),
        ("WebhookRole", "sqs:SendMessage", queue, None, True),
        ("WebhookRole", "sqs:ReceiveMessage", queue, None, False),
        ("WebhookRole", "secretsmanager:GetSecretValue", signing, None, False),
        ("WebhookRole", "secretsmanager:GetSecretValue", key, None, False),
        ("AgentRole", "secretsmanager:GetSecretValue", key, None, True),
        ("AgentRole", "secretsmanager:GetSecretValue", token, None, False),
        ("AgentRole", "secretsmanager:GetSecretValue", admin, None, False),
        ("AgentRole", "secretsmanager:PutSecretValue", key, None, False),
        ("AgentRole", "sqs:ChangeMessageVisibility", queue, None, True),
        ("AgentRole", "sqs:SendMessage", dead, None, False),
        ("AgentRole", "dynamodb:PutItem", agents, None, False),
        ("AgentRole", "dynamodb:DeleteItem", tasks, None, False),
        ("AgentRole", "dynamodb:Scan", tasks, None, False),
        ("TaskStatusRole", "dynamodb:GetItem", tasks, None, True),
        ("TaskStatusRole", "dynamodb:Query", f"{tasks}/index/listed", None, False),
        ("TaskStatusRole", "dynamodb:UpdateItem", tasks, None, False),
        ("TaskStatusRole", "sqs:SendMessage", queue, None, False),
        ("ConsoleRole", "secretsmanager:CreateSecret", key, None, True),
        ("ConsoleRole", "secretsmanager:GetSecretValue", key, None, False),
        ("ConsoleRole", "secretsmanager:GetSecretValue", f"{provider}/openai-abcdef", None, False),
        ("ConsoleRole", "secretsmanager:GetSecretValue", admin, None, True),
        ("ConsoleRole", "secretsmanager:PutSecretValue", signing, None, False),
        ("ConsoleRole", "dynamodb:UpdateItem", tasks, None, False),
        ("ConsoleRole", "dynamodb:GetItem", documents, None, False),
        ("ConsoleRole", "lambda:InvokeFunction", "*", None, False),
        ("ConsoleRole", "iam:PassRole", "*", None, False),
    ]


def run(context):
    checked = cases(context.target)
    yield decide(context, SUBJECT, [case for case in checked if not case[3]])
    subject = "The webhook function updates counters and no task"
    if context.target.is_emulator:
        yield not_answerable(CHECK, subject, "The emulator's simulation ignores condition keys such as dynamodb:LeadingKeys")
    else:
        yield decide(context, subject, [case for case in checked if case[3]])


def decide(context, subject, checked):
    try:
        decisions = [(case, simulate(context.target, *case[:4])) for case in checked]
    except ClientError as error:
        return not_answerable(CHECK, subject, f"iam:SimulatePrincipalPolicy failed: {error.response['Error']['Message']}")
    return judge(CHECK, subject, judge_decisions(decisions), f"{len(checked)} of {len(checked)} decisions are as intended",
                 [f"{role} {action} on {resource.rpartition(':')[2]}{f' with {keys}' if keys else ''}: {'allowed' if allowed else 'denied'}"
                  for (role, action, resource, keys, _), allowed in decisions])


def simulate(target, role, action, resource, keys):
    entries = [{"ContextKeyName": name, "ContextKeyValues": [value], "ContextKeyType": "stringList"} for name, value in (keys or {}).items()]
    answer = target.aws("iam").simulate_principal_policy(
        PolicySourceArn=role_arn(target, role), ActionNames=[action], ResourceArns=[resource],
        **({"ContextEntries": entries} if entries else {}))
    return answer["EvaluationResults"][0]["EvalDecision"] == "allowed"


def role_arn(target, role):
    return target.aws("iam").get_role(RoleName=target.resources[role])["Role"]["Arn"]


def judge_decisions(decisions):
    return [f"{role} {'may not' if wanted else 'may'} {action} on {resource.rpartition(':')[2]}"
            for (role, action, resource, _, wanted), allowed in decisions if allowed != wanted]
