//! The Amazon Bedrock Converse API
//! (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>).

use domain::{
    ChatMessage, ErrorType, Fault, ModelReply, Provider, StopReason, ToolCall, ToolResult,
    ToolSpec, json_fields,
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::StatusCode;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use store::{Bedrock, error_chain};

use super::call::or_nothing;
use super::content::{BlockKind, parse_blocks, parse_stop_reason, plain_text, without_blank_texts};
use super::endpoint::endpoint;
use super::foreign::{
    ReplyError, optional_fields, parse_arguments, parse_count, parse_echo, parse_id, parse_string,
};
use super::http::Request;
use super::{ModelCall, Models, Protocol, as_object, echoed_blocks};

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(super) const PROTOCOL: Protocol = Protocol {
    request,
    // Few models accept a schema for answers (`outputConfig`), and all others refuse the
    // request. So the schema goes into the system message, which works with every model.
    can_enforce: |_| false,
    parse_reply,
    error_codes: ERROR_CODES,
    advice,
};

/// The codes of Converse
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors>)
/// and the common errors of AWS
/// (<https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>).
const ERROR_CODES: &[&str] = &[
    "AccessDeniedException",
    "ConflictException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "IncompleteSignatureException",
    "InternalFailure",
    "InternalServerException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ModelErrorException",
    "ModelNotReadyException",
    "ModelTimeoutException",
    "OptInRequired",
    "RequestExpired",
    "ResourceNotFoundException",
    "ServiceQuotaExceededException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "UnrecognizedClientException",
    "ValidationException",
];

/// The provider authenticates by role, so an error is about access or the form of the model id,
/// never about an API key.
fn advice(status: StatusCode, code: &str) -> &'static str {
    match (status, code) {
        (
            _,
            "ExpiredTokenException"
            | "IncompleteSignatureException"
            | "InvalidSignatureException"
            | "MissingAuthenticationTokenException"
            | "UnrecognizedClientException",
        ) => ": check the AWS credentials of this deployment and its clock",
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
            ": check that the account has access to the model and that BedrockModels allows it"
        }
        (StatusCode::NOT_FOUND, _) | (StatusCode::BAD_REQUEST, "ValidationException") => {
            ": check the agent's model.name; some models need the id of an inference profile"
        }
        _ if status.is_redirection() => "; redirects are not followed",
        _ => "",
    }
}

fn request(models: &Models, model_call: &ModelCall<'_>) -> Result<Request, Fault> {
    let Some(bedrock) = models.bedrock.as_ref() else {
        return Err(Fault::permanent(
            ErrorType::InvalidAgent,
            "The provider `bedrock` needs AWS_REGION, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY \
             in the environment of this deployment",
        ));
    };
    let model = model_call.model.name.as_deref().unwrap_or_default();
    let model = utf8_percent_encode(model, RESERVED);
    let url = endpoint(bedrock.endpoint(), &format!("model/{model}/converse"))?;
    sign(bedrock, Request::json(url, &request_body(model_call)))
}

fn sign(bedrock: &Bedrock, mut request: Request) -> Result<Request, Fault> {
    let headers = request.headers.iter();
    let headers = headers.filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let signed = bedrock
        .sign(request.url.as_str(), headers, &request.body)
        .map_err(|error| {
            tracing::error!(error = error_chain(&error), "request to Bedrock not signed");
            Fault::permanent(
                ErrorType::Internal,
                "The request to Bedrock could not be signed",
            )
        })?;
    for (name, value) in signed {
        request = request.with_secret(name, &value)?;
    }
    Ok(request)
}

fn request_body(model_call: &ModelCall<'_>) -> Value {
    let mut messages =
        vec![json!({ "role": "user", "content": [{ "text": model_call.user_message() }] })];
    messages.extend(model_call.messages.iter().map(message_json));
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    if let Some(system) = model_call.system_message() {
        set("system", json!([{ "text": system }]));
    }
    set("messages", messages.into());
    set(
        "inferenceConfig",
        json!({ "maxTokens": model_call.max_output_tokens }),
    );
    if !model_call.tools.is_empty() {
        set(
            "toolConfig",
            json!({ "tools": model_call.tools.iter().map(tool_json).collect::<Vec<_>>() }),
        );
    }
    body.into()
}

fn tool_json(spec: &ToolSpec) -> Value {
    let ToolSpec {
        name,
        description,
        parameters,
    } = spec;
    json!({ "toolSpec": { "name": name, "description": description, "inputSchema": { "json": parameters } } })
}

fn message_json(message: &ChatMessage) -> Value {
    match message {
        ChatMessage::Model { text, calls, echo } => {
            let echoed = echoed_blocks(echo.as_ref(), Provider::Bedrock, calls, call_id);
            json!({ "role": "assistant", "content": echoed.unwrap_or_else(|| content_blocks(text, calls)) })
        }
        ChatMessage::Tools(results) => {
            json!({ "role": "user", "content": results.iter().map(tool_result_json).collect::<Vec<_>>() })
        }
        ChatMessage::Correction(text) => json!({ "role": "user", "content": [{ "text": text }] }),
    }
}

fn content_blocks(text: &str, calls: &[ToolCall]) -> Vec<Value> {
    let has_text = !text.trim().is_empty() || calls.is_empty();
    let text = has_text.then(|| json!({ "text": or_nothing(text) }));
    let call = |call: &ToolCall| {
        let ToolCall {
            id,
            name,
            arguments,
        } = call;
        json!({ "toolUse": { "toolUseId": id, "name": name, "input": as_object(arguments) } })
    };
    text.into_iter().chain(calls.iter().map(call)).collect()
}

fn call_id(block: &mut Value) -> Option<&mut Value> {
    let fields = block.get_mut("toolUse")?.as_object_mut()?;
    Some(fields.entry("toolUseId").or_insert(Value::Null))
}

/// Not every model accepts a status, so only failures have one.
fn tool_result_json(result: &ToolResult) -> Value {
    let text = or_nothing(&result.content);
    let mut json = json!({ "toolUseId": result.id, "content": [{ "text": text }] });
    if let (true, Some(fields)) = (result.is_error, json.as_object_mut()) {
        fields.insert("status".to_owned(), "error".into());
    }
    json!({ "toolResult": json })
}

/// The reply does not contain the name of the model.
fn parse_reply(body: &str) -> Result<ModelReply, ReplyError> {
    let [output, stop_reason, usage] = json_fields(body, ["output", "stopReason", "usage"])?.values;
    if output.is_none() && stop_reason.is_none() {
        return Err(ReplyError::NotAReply);
    }
    let names = [
        "inputTokens",
        // Not included in `inputTokens`.
        "cacheReadInputTokens",
        "cacheWriteInputTokens",
        "outputTokens",
    ];
    let [input, read, written, output_tokens] = optional_fields(usage, names).map(parse_count);
    let mut reply = ModelReply {
        stop: parse_stop_reason(parse_string(stop_reason).as_deref()),
        input_tokens: input.saturating_add(read).saturating_add(written),
        output_tokens,
        ..ModelReply::default()
    };
    let [message] = optional_fields(output, ["message"]);
    let [content] = optional_fields(message, ["content"]);
    let content = parse_blocks(content)?;
    let mut is_signed = false;
    for block in &content {
        is_signed |= add_converse_block(block, &mut reply)? == BlockKind::Signed;
    }
    // Reasoning must go back unchanged and in place, or the API refuses the next turn.
    if is_signed {
        let blocks = parse_echo(&without_blank_texts(&content))?;
        reply.echo = Some(json!({ Provider::Bedrock.as_str(): blocks }));
    }
    Ok(reply)
}

/// Each block has one of these fields, or one of a kind that is skipped.
fn add_converse_block(block: &RawValue, reply: &mut ModelReply) -> Result<BlockKind, ReplyError> {
    let [text, tool_use, reasoning, cited] = optional_fields(
        Some(block),
        ["text", "toolUse", "reasoningContent", "citationsContent"],
    );
    reply.text.push_str(&plain_text(text.or(cited), 0)?);
    if let Some(tool_use) = tool_use {
        let [id, name, input] = optional_fields(Some(tool_use), ["toolUseId", "name", "input"]);
        match parse_string(name) {
            Some(name) => reply.calls.push(ToolCall {
                id: parse_id(id),
                name,
                arguments: parse_arguments(input)?,
            }),
            None => reply.stop = StopReason::Broken,
        }
    }
    let Some(reasoning) = reasoning else {
        return Ok(BlockKind::Plain);
    };
    let [reasoning_text] = optional_fields(Some(reasoning), ["reasoningText"]);
    reply.thought.push_str(&plain_text(reasoning_text, 0)?);
    Ok(BlockKind::Signed)
}
