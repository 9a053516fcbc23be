"""Replies and errors built with the response types of the official clients, and what a task must then say. Prints for
each protocol the replies of conversations, and the cases, as JSON. Fails if a library knows a stop reason or a kind of
error that this file does not."""

import base64
import json
import typing

import anthropic.types as a
import boto3
import openai.types.chat as o
from botocore.validate import ParamValidator
from openai.types.chat import chat_completion_message_function_tool_call as call_types
from openai.types.chat.chat_completion import Choice
from openai.types.completion_usage import CompletionUsage
from openai.types.shared import ErrorObject

from official_cases import (ANSWER, BROKEN, MESSAGE, MODEL, ORDER, REFUND, TRUNCATED, WITHHELD, called, case, complete,
                            failed, stopped)


class Anthropic:
    USAGE = a.Usage(input_tokens=11, output_tokens=7, cache_creation_input_tokens=100, cache_read_input_tokens=1000,
                    cache_creation=a.CacheCreation(ephemeral_1h_input_tokens=0, ephemeral_5m_input_tokens=100), service_tier="standard")
    DIRECT = {"type": "direct"}
    STOPS = {"end_turn": "fine", "stop_sequence": "fine", "max_tokens": TRUNCATED, "model_context_window_exceeded": TRUNCATED,
             "refusal": WITHHELD, "pause_turn": BROKEN, "tool_use": None}
    # By https://docs.claude.com/en/api/errors
    ERRORS = {"invalid_request_error": (400, False), "authentication_error": (401, False), "billing_error": (402, False),
              "permission_error": (403, False), "not_found_error": (404, False), "rate_limit_error": (429, True),
              "api_error": (500, True), "timeout_error": (504, True), "overloaded_error": (529, True)}

    def message(self, *content, stop="end_turn", **more):
        return a.Message(id="msg_1", type="message", role="assistant", model=MODEL, content=content, stop_reason=stop,
                         usage=self.USAGE, **more).model_dump_json(exclude_unset=True)

    def last(self):
        return self.message(self.text("done"))

    def whole(self, *content, stop="end_turn"):
        """With every field that the type has."""
        return a.Message(id="msg_1", type="message", role="assistant", model=MODEL, content=content, stop_reason=stop,
                         usage=self.USAGE).model_dump_json()

    def text(self, text, **more):
        return a.TextBlock(type="text", text=text, **more)

    def call(self, number, name, arguments):
        return a.ToolUseBlock(type="tool_use", id=f"toolu_{number}", name=name, input=arguments, caller=self.DIRECT)

    def calls(self):
        return [self.call(1, *ORDER), self.call(2, *REFUND)]

    def talks(self):
        thinking = [a.ThinkingBlock(type="thinking", thinking="Look it up.", signature="c2ln"),
                    a.RedactedThinkingBlock(type="redacted_thinking", data="cmVk")]
        return {title: [self.message(*before, self.text("I look."), *self.calls(), stop="tool_use"),
                        self.message(self.text('{"state": 5}')), self.message(self.text(ANSWER))]
                for title, before in {"": [], ", with thinking": thinking}.items()}

    def cases(self):
        complete(typing.get_args(a.StopReason), self.STOPS)
        cited = self.text("two", citations=[a.CitationCharLocation(
            type="char_location", cited_text="t", document_index=0, end_char_index=1, start_char_index=0)])
        thinking = a.ThinkingBlock(type="thinking", thinking="Let me see.", signature="c2ln")
        redacted = a.RedactedThinkingBlock(type="redacted_thinking", data="cmVk")
        used = a.ServerToolUseBlock(type="server_tool_use", id="srvtoolu_1", name="web_search", input={"query": "x"}, caller=self.DIRECT)
        found = a.WebSearchToolResultBlock(type="web_search_tool_result", tool_use_id="srvtoolu_1", caller=self.DIRECT, content=[
            a.WebSearchResultBlock(type="web_search_result", encrypted_content="x", title="A page", url="https://example.com", page_age=None)])
        upload = a.ContainerUploadBlock(type="container_upload", file_id="file_1")
        yield case("a text", self.whole(self.text("Grüße 🙂")), answer="Grüße 🙂", usage=[1111, 7], thought="")
        yield case("several texts", self.whole(self.text("one, "), cited, self.text(", three")), answer="one, two, three")
        yield case("thinking", self.whole(thinking, redacted, self.text("fine")), answer="fine", thought="Let me see.")
        yield case("only thinking", self.whole(thinking), error={"type": "empty_answer", "retryable": False})
        yield case("no content", self.whole(), error={"type": "empty_answer", "retryable": False})
        yield case("tools of the server", self.whole(used, found, upload, self.text("fine")), answer="fine", calls=[])
        yield called("calls", self.whole(thinking, self.text("I look."), *self.calls(), stop="tool_use"), ORDER, REFUND,
                     thought="Let me see.")
        yield called("a call without arguments", self.whole(self.call(1, "list_shops", {}), stop="tool_use"), ("list_shops", {}))
        for reason, end in self.STOPS.items():
            details = {"stop_details": a.RefusalStopDetails(type="refusal", category="cyber", explanation="No.")} if reason == "refusal" else {}
            if end:
                yield stopped(reason, self.message(self.text("fine"), stop=reason, **details), end)
        yield from self.errors()

    def errors(self):
        kinds = {typing.get_args(kind.model_fields["type"].annotation)[0]: kind for kind in error_kinds()}
        complete(kinds, self.ERRORS)
        for name, (status, retryable) in self.ERRORS.items():
            body = a.ErrorResponse(type="error", request_id="req_011CSHoE", error=kinds[name](type=name, message=MESSAGE)).model_dump_json()
            yield failed(name, status, body, retryable, code=name, request_id="req_011CSHoE")
        body = a.ErrorResponse(type="error", error=kinds["overloaded_error"](type="overloaded_error", message="Overloaded")).model_dump_json()
        yield case("overloaded_error with status 200", body, retried=True)


def error_kinds():
    annotation = a.ErrorObject
    while typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    return typing.get_args(annotation)


class OpenAi:
    STOPS = {"stop": "fine", "length": TRUNCATED, "content_filter": WITHHELD, "tool_calls": None, "function_call": None}

    def message(self, finish="stop", **message):
        message = o.ChatCompletionMessage(role="assistant", **message)
        usage = CompletionUsage(prompt_tokens=11, completion_tokens=7, total_tokens=18,
                                completion_tokens_details={"reasoning_tokens": 3}, prompt_tokens_details={"cached_tokens": 4})
        return o.ChatCompletion(id="chatcmpl-1", object="chat.completion", created=1, model=MODEL, usage=usage, choices=[
            Choice(index=0, finish_reason=finish, message=message)])

    def last(self):
        return self.message(content="done").model_dump_json()

    def call(self, number, name, arguments, **more):
        function = call_types.Function(name=name, arguments=json.dumps(arguments, ensure_ascii=False))
        return call_types.ChatCompletionMessageFunctionToolCall(id=f"call_{number}", type="function", function=function, **more)

    def calls(self):
        return [self.call(1, *ORDER), self.call(2, *REFUND)]

    def talks(self):
        signed = [self.call(1, *ORDER, extra_content={"google": {"thought_signature": "c2ln"}}), self.call(2, *REFUND)]
        answers = [self.message(content=text).model_dump_json() for text in ('{"state": 5}', ANSWER)]
        # As the API sends them: OpenAI with a null content and without the fields of other kinds of messages.
        first = {"": self.message("tool_calls", content=None, refusal=None, annotations=[], tool_calls=self.calls()),
                 ", with a text": self.message("tool_calls", content="I look.", refusal=None, tool_calls=self.calls()),
                 ", with signatures of Gemini": self.message("tool_calls", tool_calls=signed)}
        return {title: [reply.model_dump_json(exclude_unset=True), *answers] for title, reply in first.items()}

    def cases(self):
        complete(typing.get_args(Choice.model_fields["finish_reason"].annotation), self.STOPS)
        noted = [{"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "title": "t", "url": "https://example.com"}}]
        yield case("a text", self.message(content="Grüße 🙂").model_dump_json(), answer="Grüße 🙂", usage=[11, 7], thought="")
        yield case("a text with annotations", self.message(content="fine", annotations=noted).model_dump_json(), answer="fine")
        yield case("reasoning", self.message(content="fine", reasoning_content="Let me see.").model_dump_json(), answer="fine", thought="Let me see.")
        yield case("a refusal", self.message(content=None, refusal="I cannot help.").model_dump_json(), error={"type": WITHHELD, "retryable": False})
        yield case("no content", self.message(content=None).model_dump_json(), error={"type": "empty_answer", "retryable": False})
        yield called("calls", self.message("tool_calls", content=None, tool_calls=self.calls()).model_dump_json(), ORDER, REFUND)
        yield called("calls beside a text", self.message("tool_calls", content="I look.", tool_calls=self.calls()).model_dump_json(), ORDER, REFUND)
        yield called("a call without arguments", self.message("tool_calls", tool_calls=[self.call(1, "list_shops", {})]).model_dump_json(), ("list_shops", {}))
        function = {"name": ORDER[0], "arguments": json.dumps(ORDER[1])}
        yield called("stop reason function_call", self.message("function_call", function_call=function).model_dump_json(), ORDER)
        # Of a named `tool_choice`.
        yield called("calls with the stop reason stop", self.message("stop", tool_calls=self.calls()).model_dump_json(), ORDER, REFUND)
        for reason, end in self.STOPS.items():
            if end:
                yield stopped(reason, self.message(reason, content="fine").model_dump_json(), end)
        errors = [
            # By https://platform.openai.com/docs/guides/error-codes
            (400, False, "context_length_exceeded", "invalid_request_error", "messages"),
            (400, False, "invalid_value", "invalid_request_error", "messages[1].role"),
            (401, False, "invalid_api_key", "invalid_request_error", None),
            (403, False, "unsupported_country_region_territory", "request_forbidden", None),
            (404, False, "model_not_found", "invalid_request_error", None),
            (422, False, None, "invalid_request_error", None),
            (429, True, "rate_limit_exceeded", "tokens", None),
            (500, True, None, "server_error", None),
            (503, True, "slow_down", "server_error", None),
        ]
        for status, retryable, code, kind, param in errors:
            body = json.dumps({"error": ErrorObject(code=code, message=MESSAGE, param=param, type=kind).model_dump(exclude={"misalignment"})})
            detail = {"code": code or kind, **({"parameter": param} if param else {})}
            yield failed(f"{status} {code or kind}", status, body, retryable, **detail)
        # Gemini's, in a list.
        for status, retryable, code in ((400, False, "INVALID_ARGUMENT"), (429, True, "RESOURCE_EXHAUSTED"), (503, True, "UNAVAILABLE")):
            body = json.dumps([{"error": {"code": status, "message": MESSAGE, "status": code}}])
            yield failed(f"{status} {code} of Gemini", status, body, retryable, code=code)


class Converse:
    """The service model of botocore has the shapes. Blobs are base64 in JSON, as the API sends them."""

    USAGE = {"inputTokens": 11, "outputTokens": 7, "totalTokens": 1118, "cacheReadInputTokens": 1000, "cacheWriteInputTokens": 100}
    STOPS = {"end_turn": "fine", "stop_sequence": "fine", "max_tokens": TRUNCATED, "model_context_window_exceeded": TRUNCATED,
             "guardrail_intervened": WITHHELD, "content_filtered": WITHHELD, "malformed_model_output": BROKEN,
             "malformed_tool_use": BROKEN, "tool_use": None}
    RETRYABLE = {"ThrottlingException", "ModelTimeoutException", "InternalServerException", "ServiceUnavailableException",
                 "ModelNotReadyException", "ModelErrorException"}
    FINAL = {"AccessDeniedException", "ResourceNotFoundException", "ValidationException"}

    REASONING = {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}}
    REDACTED = {"reasoningContent": {"redactedContent": b"hidden"}}

    def __init__(self):
        client = boto3.client("bedrock-runtime", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
        self.operation = client.meta.service_model.operation_model("Converse")

    def message(self, *content, stop="end_turn"):
        reply = {"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": stop, "usage": self.USAGE,
                 "metrics": {"latencyMs": 5}}
        report = ParamValidator().validate(reply, self.operation.output_shape)
        if report.has_errors():
            raise SystemExit(report.generate_report())
        return json.dumps(reply, default=lambda blob: base64.b64encode(blob).decode())

    def last(self):
        return self.message({"text": "done"})

    def call(self, number, name, arguments):
        return {"toolUse": {"toolUseId": f"tooluse_{number}", "name": name, "input": arguments}}

    def calls(self):
        return [self.call(1, *ORDER), self.call(2, *REFUND)]

    def talks(self):
        answer = self.message({"text": ANSWER})
        return {title: [self.message(*before, {"text": "I look."}, *self.calls(), stop="tool_use"), answer]
                for title, before in {"": [], ", with reasoning": [self.REASONING, self.REDACTED]}.items()}

    def cases(self):
        complete(self.operation.output_shape.members["stopReason"].enum, self.STOPS)
        cited = {"citationsContent": {"content": [{"text": "two"}], "citations": [
            {"title": "t", "sourceContent": [{"text": "x"}], "location": {"documentChar": {"documentIndex": 0, "start": 0, "end": 1}}}]}}
        image = {"image": {"format": "png", "source": {"bytes": b"png"}}}
        used = {"toolUse": {"toolUseId": "tooluse_9", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}}
        found = {"toolResult": {"toolUseId": "tooluse_9", "content": [{"json": {"page": "x"}}], "status": "success", "type": "nova_grounding_result"}}
        yield case("a text", self.message({"text": "Grüße 🙂"}), answer="Grüße 🙂", usage=[1111, 7], thought="")
        yield case("several texts", self.message({"text": "one, "}, cited, {"text": ", three"}), answer="one, two, three")
        yield case("reasoning", self.message(self.REASONING, self.REDACTED, {"text": "fine"}), answer="fine", thought="Let me see.")
        yield case("only reasoning", self.message(self.REASONING), error={"type": "empty_answer", "retryable": False})
        yield case("no content", self.message(), error={"type": "empty_answer", "retryable": False})
        yield case("an image", self.message(image, {"text": "fine"}), answer="fine")
        yield case("tools of the server", self.message(used, found, {"text": "fine"}), answer="fine", calls=[])
        yield called("calls", self.message(self.REASONING, {"text": "I look."}, *self.calls(), stop="tool_use"), ORDER, REFUND,
                     thought="Let me see.")
        yield called("a call without arguments", self.message(self.call(1, "list_shops", {}), stop="tool_use"), ("list_shops", {}))
        for reason, end in self.STOPS.items():
            if end:
                yield stopped(reason, self.message({"text": "fine"}, stop=reason), end)
        complete([shape.name for shape in self.operation.error_shapes], self.RETRYABLE | self.FINAL)
        for shape in self.operation.error_shapes:
            status = shape.metadata["error"]["httpStatusCode"]
            fields = {"message": MESSAGE, "originalStatusCode": 503, "resourceName": "x", "originalMessage": MESSAGE}
            body = json.dumps({name: value for name, value in fields.items() if name in shape.members})
            found = failed(f"{status} {shape.name}", status, body, shape.name in self.RETRYABLE, code=shape.name,
                           request_id="0b5c3e1a-5d0c-4c6e-9f7b-2f6f3b1f8a55")
            found["headers"] |= {"x-amzn-errortype": f"{shape.name}:http://internal.amazon.com/coral/com.amazon.bedrock/",
                                 "x-amzn-requestid": "0b5c3e1a-5d0c-4c6e-9f7b-2f6f3b1f8a55"}
            yield found


def main():
    protocols = {"anthropic": Anthropic(), "openai": OpenAi(), "bedrock": Converse()}
    print(json.dumps({name: {"talks": {title: [json.loads(reply) for reply in replies] for title, replies in protocol.talks().items()},
                             "cases": list(protocol.cases()), "last": json.loads(protocol.last())} for name, protocol in protocols.items()}))


if __name__ == "__main__":
    main()
