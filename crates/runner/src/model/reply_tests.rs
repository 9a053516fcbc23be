//! Forms of replies that are usable although they differ from the documented ones.

use domain::{Fault, ModelReply, Provider, StopReason};
use serde_json::{Value, json};

use super::parse_reply;

fn read(provider: Provider, body: &str) -> ModelReply {
    parse_reply(provider, body.as_bytes()).unwrap_or_else(|fault| panic!("{body}: {fault:?}"))
}

fn openai(message: &Value) -> ModelReply {
    let body = json!({ "choices": [{ "message": message, "finish_reason": "stop" }] });
    read(Provider::Openai, &body.to_string())
}

fn text_and_thought(reply: &ModelReply) -> (&str, &str, StopReason) {
    (&reply.text, &reply.thought, reply.stop)
}

#[test]
fn content_may_be_parts() {
    let text = |text: &str| json!({ "type": "text", "text": text });
    for (content, answer, thought) in [
        (json!([text("hello")]), "hello", ""),
        (json!([text("a"), text("b")]), "ab", ""),
        (
            json!([{ "type": "thinking", "thinking": [text("plan")] }, text("a")]),
            "a",
            "plan",
        ),
        (
            json!([{ "type": "thinking", "thinking": "plan", "signature": "s" }, text("a")]),
            "a",
            "plan",
        ),
        (
            json!([{ "type": "reasoning", "text": "plan" }, text("a")]),
            "a",
            "plan",
        ),
        (
            json!([text("a"), { "type": "reference", "reference_ids": [1] }, text("b")]),
            "ab",
            "",
        ),
        (
            json!([{ "type": "image_url", "image_url": { "url": "u" } }, text("a")]),
            "a",
            "",
        ),
        (
            json!([{ "type": "output_text", "text": "a" }, null, "b", { "text": { "value": "c" } }]),
            "abc",
            "",
        ),
        (json!(text("a")), "a", ""),
        (json!(42), "42", ""),
        (json!("<think>plan</think>a"), "a", "plan"),
        (json!([text("<think>pl"), text("an</think>a")]), "a", "plan"),
    ] {
        let reply = openai(&json!({ "role": "assistant", "content": content }));
        assert_eq!(
            text_and_thought(&reply),
            (answer, thought, StopReason::Stop),
            "{content}"
        );
    }
}

#[test]
fn calls_may_have_other_forms() {
    let function = json!({ "name": "ping", "arguments": "{}" });
    for (call, id, arguments) in [
        (json!({ "id": 7, "function": function }), "7", "{}"),
        (json!({ "id": null, "function": function }), "", "{}"),
        (json!({ "function": function }), "", "{}"),
        (
            json!({ "id": "c", "function": { "name": "ping", "arguments": { "a": 1 } } }),
            "c",
            "{\"a\":1}",
        ),
        (
            json!({ "id": "c", "function": { "name": "ping", "arguments": "" } }),
            "c",
            "",
        ),
        (
            json!({ "id": "c", "function": { "name": "ping", "arguments": null } }),
            "c",
            "",
        ),
        (
            json!({ "id": "c", "function": { "name": "ping" } }),
            "c",
            "",
        ),
        (
            json!({ "id": "c", "type": "function", "name": "ping", "arguments": "{}" }),
            "c",
            "{}",
        ),
    ] {
        for content in [json!(null), json!([]), json!("")] {
            let message = json!({ "content": content, "tool_calls": [null, call] });
            let reply = openai(&message);
            assert_eq!(reply.stop, StopReason::Stop, "{message}");
            assert_eq!(reply.calls.len(), 1, "{message}");
            let call = &reply.calls[0];
            assert_eq!(
                (
                    call.id.as_str(),
                    call.name.as_str(),
                    call.arguments.as_str()
                ),
                (id, "ping", arguments),
                "{message}"
            );
        }
    }
}

#[test]
fn calls_may_be_in_other_places_or_absent() {
    let function = json!({ "name": "ping", "arguments": "{}" });
    let call = |message: Value| openai(&message).calls;
    assert_eq!(call(json!({ "function_call": function }))[0].name, "ping");
    assert_eq!(
        call(json!({ "tool_calls": { "function": function } }))[0].name,
        "ping"
    );
    for absent in [
        json!(null),
        json!([]),
        json!(""),
        json!([{ "function": { "name": "" } }]),
    ] {
        let message = json!({ "content": "a", "tool_calls": absent, "function_call": null });
        assert_eq!(
            text_and_thought(&openai(&message)),
            ("a", "", StopReason::Stop),
            "{message}"
        );
    }
    let nameless = openai(&json!({ "tool_calls": [{ "function": { "arguments": "{\"a\":1}" } }] }));
    assert_eq!(nameless.stop, StopReason::Broken);
}

#[test]
fn usage_of_any_type_does_not_cost_the_reply() {
    for (usage, input, output) in [
        ("null", 0, 0),
        ("[]", 0, 0),
        ("\"none\"", 0, 0),
        (r#"{"IN":null,"OUT":null}"#, 0, 0),
        (r#"{"IN":5.0,"OUT":2.6}"#, 5, 3),
        (r#"{"IN":"5","OUT":"x"}"#, 5, 0),
        (r#"{"IN":-5,"OUT":1e300}"#, 0, 0),
        (r#"{"IN":123456789012345678901234567890,"OUT":3}"#, 0, 3),
        (r#"{"IN":5,"IN":6,"OUT":{}}"#, 6, 0),
    ] {
        let message = r#"{"content":"a"}"#;
        let of = |names: [&str; 2]| usage.replace("IN", names[0]).replace("OUT", names[1]);
        let tokens = of(["prompt_tokens", "completion_tokens"]);
        let blocks = of(["input_tokens", "output_tokens"]);
        let converse = of(["inputTokens", "outputTokens"]);
        for (provider, body) in [
            (
                Provider::Openai,
                format!(r#"{{"choices":[{{"message":{message}}}],"usage":{tokens}}}"#),
            ),
            (
                Provider::Anthropic,
                format!(r#"{{"content":[{{"type":"text","text":"a"}}],"usage":{blocks}}}"#),
            ),
            (
                Provider::Bedrock,
                format!(
                    r#"{{"output":{{"message":{{"content":[{{"text":"a"}}]}}}},"usage":{converse}}}"#
                ),
            ),
        ] {
            let reply = read(provider, &body);
            assert_eq!(
                (reply.text.as_str(), reply.input_tokens, reply.output_tokens),
                ("a", input, output),
                "{body}"
            );
        }
    }
}

#[test]
fn small_differences_do_not_cost_the_reply() {
    for body in [
        "\u{feff}{\"choices\":[{\"message\":{\"content\":\"a\"}}]}".to_owned(),
        "\n\n  {\"choices\":[{\"message\":{\"content\":\"a\"}}]}\n".to_owned(),
        r#"{"model":7,"choices":[null,{"message":{"content":"a","role":null}}]}"#.to_owned(),
        r#"{"choices":[{"index":null,"finish_reason":null,"message":{"content":"a"}}]}"#.to_owned(),
        r#"{"choices":[{"finish_reason":7,"message":{"content":"a","refusal":""}}]}"#.to_owned(),
        r#"{"choices":[{"finish_reason":"eos","message":{"content":"a","refusal":false}}]}"#
            .to_owned(),
        r#"{"choices":[{"message":{"content":"x","content":"a"}}],"error":null}"#.to_owned(),
        r#"{"choices":[{"text":"a"}]}"#.to_owned(),
        r#"{"choices":[{"delta":{"content":"a"}}]}"#.to_owned(),
    ] {
        let reply = read(Provider::Openai, &body);
        assert_eq!(
            text_and_thought(&reply),
            ("a", "", StopReason::Stop),
            "{body}"
        );
    }
    let half = r#"{"choices":[{"message":{"content":"a\ud83d","reasoning":{"text":"plan"}}}]}"#;
    let reply = read(Provider::Openai, half);
    assert_eq!(
        text_and_thought(&reply),
        ("a\u{fffd}", "plan", StopReason::Stop)
    );
    let latin = b"{\"choices\":[{\"message\":{\"content\":\"a\xe9\"}}]}";
    assert_eq!(
        parse_reply(Provider::Openai, latin).unwrap().text,
        "a\u{fffd}"
    );
    for body in [
        r#"{"choices":[],"id":"x"}"#,
        r#"{"choices":null,"id":"x"}"#,
        r#"{"choices":[{"message":null}]}"#,
    ] {
        assert_eq!(
            read(Provider::Openai, body).stop,
            StopReason::Broken,
            "{body}"
        );
    }
}

#[test]
fn messages_of_anthropic_are_read_as_tolerantly() {
    for body in [
        r#"{"content":"a"}"#,
        r#"{"content":[{"type":"text","text":"a\ud83d"}],"model":null,"usage":null}"#,
        r#"{"content":[{"type":"text","text":null},null,{"type":"zz"},{"type":"text","text":"a"}]}"#,
        r#"{"content":[{"text":"a"}],"stop_reason":null}"#,
    ] {
        let reply = read(Provider::Anthropic, body);
        assert_eq!(
            (reply.text.trim_end_matches('\u{fffd}'), reply.stop),
            ("a", StopReason::Stop),
            "{body}"
        );
    }
    let call = read(
        Provider::Anthropic,
        r#"{"content":[{"type":"tool_use","id":7,"name":"t","input":"{\"a\":1}"}]}"#,
    );
    assert_eq!(
        (call.calls[0].id.as_str(), call.calls[0].arguments.as_str()),
        ("7", "{\"a\":1}")
    );
    let no_id = read(
        Provider::Anthropic,
        r#"{"content":[{"type":"tool_use","name":"t"}]}"#,
    );
    assert_eq!(
        (
            no_id.calls[0].id.as_str(),
            no_id.calls[0].arguments.as_str()
        ),
        ("", "")
    );
    assert_eq!(
        read(Provider::Anthropic, r#"{"type":"message","content":null}"#).text,
        ""
    );
}

#[test]
fn converse_is_read_as_tolerantly() {
    let converse = |blocks: &str| {
        read(
            Provider::Bedrock,
            &format!(r#"{{"output":{{"message":{{"content":{blocks}}}}}}}"#),
        )
    };
    for blocks in [
        r#"[{"text":"a"},{"image":{}},null]"#,
        r#"[{"citationsContent":{"content":[{"text":"a"}],"citations":[]}}]"#,
        r#"[{"text":null},{"text":"<thinking>plan</thinking>\na"}]"#,
    ] {
        let reply = converse(blocks);
        assert_eq!(
            (reply.text.as_str(), reply.stop),
            ("a", StopReason::Stop),
            "{blocks}"
        );
    }
    let call = converse(r#"[{"toolUse":{"toolUseId":7,"name":"t","input":null}}]"#);
    assert_eq!(
        (call.calls[0].id.as_str(), call.calls[0].arguments.as_str()),
        ("7", "")
    );
    assert_eq!(
        read(
            Provider::Bedrock,
            r#"{"stopReason":"end_turn","output":{"message":null}}"#
        )
        .text,
        ""
    );
}

/// Asserts that this reply is an error with this text.
fn assert_fault(provider: Provider, body: &str, is_transient: bool, says: &str) {
    let fault = parse_reply(provider, body.as_bytes()).unwrap_err();
    let (failure, transient) = match fault {
        Fault::Transient { failure, .. } => (failure, true),
        Fault::Permanent(failure) => (failure, false),
    };
    assert_eq!(transient, is_transient, "{body}");
    assert!(
        failure.message.contains(says),
        "{body}: {}",
        failure.message
    );
}

#[test]
fn an_error_with_200_is_an_error_by_its_code() {
    for (body, is_transient, says) in [
        (
            r#"{"error":{"message":"m","code":429}}"#,
            true,
            "HTTP 200 with error 429",
        ),
        (
            r#"{"choices":null,"error":{"code":"rate_limit_exceeded"}}"#,
            true,
            "with an error (rate_limit_exceeded)",
        ),
        (
            r#"{"choices":[],"error":{"code":502}}"#,
            true,
            "with error 502",
        ),
        (
            r#"{"choices":[{"finish_reason":"error","error":{"code":502},"message":{"content":""}}]}"#,
            true,
            "with error 502",
        ),
        (
            r#"{"error":{"code":"model_not_found"}}"#,
            false,
            "(model_not_found): check",
        ),
        (
            r#"[{"error":{"code":503,"status":"UNAVAILABLE"}}]"#,
            true,
            "with error 503 (UNAVAILABLE)",
        ),
        (
            r#"{"object":"error","code":500,"type":"InternalServerError"}"#,
            true,
            "(InternalServerError)",
        ),
        (r#"{"hello":1}"#, false, "unexpected response"),
        (
            r#"{"id":"x","choices":null,"base_resp":{"status_code":1008,"status_msg":"m"}}"#,
            false,
            "with an error (1008)",
        ),
    ] {
        assert_fault(Provider::Openai, body, is_transient, says);
    }
}

#[test]
fn errors_of_other_protocols_with_200_are_errors_by_their_codes() {
    for (provider, body, is_transient, says) in [
        (
            Provider::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            true,
            "(overloaded_error)",
        ),
        (
            Provider::Anthropic,
            r#"{"type":"error","error":{"type":"invalid_request_error"}}"#,
            false,
            "(invalid_request_error)",
        ),
        (
            Provider::Bedrock,
            r#"{"__type":"ThrottlingException","message":"m"}"#,
            true,
            "(ThrottlingException)",
        ),
        (
            Provider::Bedrock,
            r#"{"message":"no access"}"#,
            false,
            "with an error",
        ),
    ] {
        assert_fault(provider, body, is_transient, says);
    }
}

#[test]
fn a_stop_reason_of_another_protocol_counts() {
    for (reason, stop) in [
        ("MAX_TOKENS", StopReason::Length),
        ("SAFETY", StopReason::Filtered),
        (
            "function_call_filter: MALFORMED_FUNCTION_CALL",
            StopReason::Broken,
        ),
        ("network_error", StopReason::Broken),
        ("tool_use", StopReason::Stop),
    ] {
        let choice = json!({ "message": { "content": "a" }, "finish_reason": reason });
        let body = json!({ "choices": [choice] }).to_string();
        assert_eq!(read(Provider::Openai, &body).stop, stop, "{reason}");
        let body = json!({ "content": "a", "stop_reason": reason }).to_string();
        assert_eq!(read(Provider::Anthropic, &body).stop, stop, "{reason}");
    }
}
