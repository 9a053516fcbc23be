"""The official clients of Anthropic, OpenAI and Amazon Bedrock. Each line of standard input asks for something, as JSON:
`["send", protocol, conversation]` has the conversation with its server, and `["check", protocol, request]` checks a request
that another client sent. Each answer is a line with a list of errors."""

import functools
import json
import sys
import urllib.parse

import anthropic
import boto3
import openai
import pydantic
from anthropic.types import message_create_params
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.validate import ParamValidator
from openai.types.chat import completion_create_params

# As in official_clients.py.
ACCESS_KEY, SECRET_KEY, TOKEN, REGION = "AKIAORACLE", "oracle-secret-access-key", "oracle-session-token", "eu-central-1"


def bedrock(url="http://127.0.0.1:1"):
    return boto3.client("bedrock-runtime", endpoint_url=url, region_name=REGION, aws_access_key_id=ACCESS_KEY,
                        aws_secret_access_key=SECRET_KEY, aws_session_token=TOKEN,
                        config=Config(retries={"total_max_attempts": 1}))


def send_anthropic(talk):
    client = anthropic.Anthropic(api_key=talk["key"], base_url=talk["url"], max_retries=0)
    tools = [{"name": tool["name"], "description": tool["description"], "input_schema": tool["parameters"]} for tool in talk["tools"]]
    messages = [{"role": "user", "content": talk["payload"]}]
    for following in talk["following"]:
        reply = client.messages.create(
            model=talk["model"], max_tokens=talk["limit"], system=talk["system"], messages=messages, tools=tools,
            output_config={"format": {"type": "json_schema", "schema": talk["schema"]}})
        messages.append({"role": "assistant", "content": reply.content})
        calls = [block for block in reply.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": content, **({"is_error": True} if is_error else {})}
                   for call, (content, is_error) in zip(calls, following.get("results", []))]
        messages.append({"role": "user", "content": following.get("text") or results})


def send_openai(talk):
    if "api-version=" in talk["url"]:
        url, version = talk["url"].split("?api-version=")
        client = openai.AzureOpenAI(azure_endpoint=url.split("/openai/")[0], api_version=version, api_key=talk["key"], max_retries=0)
    else:
        client = openai.OpenAI(api_key=talk["key"], base_url=talk["url"], max_retries=0)
    tools = [{"type": "function", "function": tool} for tool in talk["tools"]]
    messages = [{"role": "system", "content": talk["system"]}, {"role": "user", "content": talk["payload"]}]
    for following in talk["following"]:
        reply = client.chat.completions.create(
            model=talk["model"], max_tokens=talk["limit"], messages=messages, tools=tools,
            response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": talk["schema"]}})
        message = reply.choices[0].message
        messages.append(message)
        for call, (content, _) in zip(message.tool_calls or [], following.get("results", [])):
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        if "text" in following:
            messages.append({"role": "user", "content": following["text"]})


def send_bedrock(talk):
    client = bedrock(talk["url"])
    tools = [{"toolSpec": {"name": tool["name"], "description": tool["description"], "inputSchema": {"json": tool["parameters"]}}}
             for tool in talk["tools"]]
    messages = [{"role": "user", "content": [{"text": talk["payload"]}]}]
    for following in talk["following"]:
        reply = client.converse(modelId=talk["model"], system=[{"text": talk["system"]}], messages=messages,
                                inferenceConfig={"maxTokens": talk["limit"]}, toolConfig={"tools": tools})
        message = reply["output"]["message"]
        messages.append(message)
        calls = [block["toolUse"] for block in message["content"] if "toolUse" in block]
        messages.append({"role": "user", "content": [
            {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": content}], **({"status": "error"} if is_error else {})}}
            for call, (content, is_error) in zip(calls, following.get("results", []))]})


def check_anthropic(request):
    return typed(message_create_params.MessageCreateParamsNonStreaming, "anthropic.types", request["body"])


def check_openai(request):
    # Google's field, with the signature of a thought, is not in OpenAI's types.
    for message in request["body"]["messages"]:
        for call in message.get("tool_calls", []):
            call.pop("extra_content", None)
    return typed(completion_create_params.CompletionCreateParamsNonStreaming, "openai.types", request["body"])


def check_bedrock(request):
    """Against the service model, which knows all fields, and the signature of the request against our own."""
    shape = bedrock().meta.service_model.operation_model("Converse").input_shape
    model = urllib.parse.unquote(request["path"].split("/")[2])
    report = ParamValidator().validate({"modelId": model, **request["body"]}, shape)
    return ([report.generate_report()] if report.has_errors() else []) + signature(request)


def signature(request):
    _, _, parts = request["headers"]["authorization"].partition(" ")
    parts = dict(part.strip().split("=", 1) for part in parts.split(","))
    date = request["headers"]["x-amz-date"]
    signer = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY, TOKEN), "bedrock", REGION)
    signed = AWSRequest(method="POST", url=request["url"], data=request["raw"].encode(), headers={
        name: request["headers"][name] for name in parts["SignedHeaders"].split(";")})
    signed.context["timestamp"] = date
    right = signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed)
    return [] if right == parts["Signature"] else [f"the signature is {parts['Signature']}, and botocore's is {right}"]


def typed(kind, package, body):
    """The errors of a value by a type of the library, in which every field must be known."""
    try:
        consume(adapter(kind, package).validate_python(body))
        return []
    except pydantic.ValidationError as error:
        return [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]


@functools.cache
def adapter(kind, package):
    for name, module in list(sys.modules.items()):
        if name.startswith(package):
            for known in vars(module).values():
                if isinstance(known, type) and hasattr(known, "__total__"):
                    known.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    return pydantic.TypeAdapter(kind)


def consume(value):
    """An `Iterable` of a type is validated while it is read."""
    if isinstance(value, dict):
        for each in value.values():
            consume(each)
    elif not isinstance(value, (str, int, float, type(None))):
        for each in value:
            consume(each)


SEND = {"anthropic": send_anthropic, "openai": send_openai, "bedrock": send_bedrock}
CHECK = {"anthropic": check_anthropic, "openai": check_openai, "bedrock": check_bedrock}


def main():
    for line in sys.stdin:
        action, protocol, asked = json.loads(line)
        try:
            errors = {"send": SEND, "check": CHECK}[action][protocol](asked) or []
        except Exception as error:  # noqa: BLE001: it is the answer
            errors = [f"{type(error).__name__}: {error}"]
        print(json.dumps(errors), flush=True)


main()
