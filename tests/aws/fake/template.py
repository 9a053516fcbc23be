"""template.yaml as CloudFormation sees it: transformed by SAM, then resolved to the fake's addresses.

Sources: the SAM translator itself (samtranslator), and
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

import os
import re
import secrets
import string

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

REGION = "us-east-1"
ACCOUNT = "123456789012"
STACK = "agent-webhooks"
PSEUDO_PARAMETERS = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::StackName": STACK, "AWS::Partition": "aws",
                     "AWS::URLSuffix": "amazonaws.com", "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"}
NO_VALUE = object()


class NoPolicies:
    """The translator asks for AWS's managed policies. The template uses none."""

    def load(self):
        return {}


def transformed(text):
    """The template after `Transform: AWS::Serverless-2016-10-31`."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    template = yaml_parse(text)
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # As `sam package` leaves it. The translator refuses a local folder.
            resource["Properties"]["CodeUri"] = "s3://bucket/function.zip"
    template["Globals"]["Function"].pop("CodeUri", None)
    # Without its metadata, which names the binary, a function would be of no use here.
    binaries = {name: resource["Metadata"]["BuildProperties"]["Binary"]
                for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"}
    return transform(template, {}, NoPolicies()), binaries


class Stack:
    """The transformed template with its parameters, conditions and references resolved."""

    def __init__(self, template, binaries, parameters, api_url):
        self.template = template
        self.binaries = binaries
        self.api_url = api_url
        self.parameters = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
        unknown = parameters.keys() - self.parameters.keys()
        assert not unknown, f"template.yaml has no parameter {unknown}"
        self.parameters.update(parameters)

    def of_type(self, kind):
        """The logical name and the resolved properties of every resource of a type."""
        return {name: self.resolve(resource.get("Properties", {}))
                for name, resource in self.template["Resources"].items()
                if resource["Type"] == kind and self._exists(resource)}

    def _exists(self, resource):
        return "Condition" not in resource or self._condition(resource["Condition"])

    def physical_name(self, logical_name):
        return f"{STACK}-{logical_name}-0123456789AB"

    def arn(self, logical_name):
        name = self.physical_name(logical_name)
        service, resource = {
            "AWS::SQS::Queue": ("sqs", name),
            "AWS::DynamoDB::Table": ("dynamodb", f"table/{name}"),
            "AWS::Lambda::Function": ("lambda", f"function:{name}"),
            "AWS::SecretsManager::Secret": ("secretsmanager", f"secret:{name}-AbCdEf"),
        }.get(self._type(logical_name), ("other", name))
        return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"

    def _type(self, logical_name):
        return self.template["Resources"][logical_name]["Type"]

    def _ref(self, name):
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return PSEUDO_PARAMETERS[name]
        if name in self.parameters:
            value = self.parameters[name]
            is_list = self.template["Parameters"][name]["Type"] == "CommaDelimitedList"
            return value.split(",") if is_list else value
        return {
            "AWS::SQS::Queue": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.physical_name(name)}",
            "AWS::SecretsManager::Secret": self.arn(name),
            "AWS::ApiGatewayV2::Integration": name,
        }.get(self._type(name), self.physical_name(name))

    def _get_att(self, path):
        name, _, attribute = path.partition(".") if isinstance(path, str) else (path[0], ".", path[1])
        if attribute == "ApiEndpoint":
            return self.api_url
        if attribute.endswith("Name"):
            return self.physical_name(name)
        assert attribute in ("Arn", "Id"), f"GetAtt {path}"
        return self.arn(name)

    def _condition(self, name):
        return self.resolve(self.template["Conditions"][name])

    def resolve(self, value):
        if isinstance(value, list):
            return [item for item in map(self.resolve, value) if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in ("Ref", "Condition") and isinstance(argument, str):
                return self._ref(argument) if name == "Ref" else self._condition(argument)
            if name.startswith("Fn::"):
                return self._function(name.removeprefix("Fn::"), argument)
        resolved = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in resolved.items() if item is not NO_VALUE}

    def _function(self, name, argument):
        match name:
            case "GetAtt":
                return self._get_att(argument)
            case "Sub":
                return self._sub(argument)
            case "If":
                return self.resolve(argument[1 if self._condition(argument[0]) else 2])
            case "Equals":
                first, second = self.resolve(argument)
                return str(first) == str(second)
            case "Not":
                return not self.resolve(argument)[0]
            case "And":
                return all(self.resolve(argument))
            case "Or":
                return any(self.resolve(argument))
            case "Join":
                return argument[0].join(map(str, self.resolve(argument[1])))
            case "Select":
                return self.resolve(argument[1])[int(argument[0])]
            case "Split":
                return self.resolve(argument[1]).split(argument[0])
        raise NotImplementedError(f"Fn::{name} is not supported by the fake")

    def _sub(self, argument):
        text, own = (argument, {}) if isinstance(argument, str) else argument
        own = self.resolve(own)

        def replacement(match):
            name = match[1]
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return str(own[name])
            return str(self._get_att(name) if "." in name else self._ref(name))

        return re.sub(r"\$\{([^}]+)\}", replacement, text)


def generated_secret(properties):
    """What `GenerateSecretString` makes."""
    length = int(properties["GenerateSecretString"]["PasswordLength"])
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
