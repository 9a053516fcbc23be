//! Servers that do not accept a part of the request. The texts are modelled on those of real
//! servers.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, says, search, searcher, wants};
use crate::support::formats::Format;
use crate::support::{Agent, FakeModel, Reply, World};

/// A server that answers requests with a certain part with an error status.
struct Refusal {
    format: Format,
    status: u16,
    body: Value,
    /// The definition whose requests have the part.
    definition: Value,
    /// Whether a request has the part.
    has_part: fn(&Value) -> bool,
    answer: &'static str,
}

const ANSWER_IN_SCHEMA: &str = r#"{"total":7}"#;

fn schema() -> Value {
    json!({ "type": "object", "properties": { "total": { "type": "integer" } },
        "required": ["total"], "additionalProperties": false })
}

fn openai(body: Value, definition: Value, has_part: fn(&Value) -> bool) -> Refusal {
    Refusal {
        format: Format::OPENAI,
        status: 400,
        body,
        answer: answer_for(&definition),
        definition,
        has_part,
    }
}

fn answer_for(definition: &Value) -> &'static str {
    match definition["output_schema"].is_null() {
        true => "Done.",
        false => ANSWER_IN_SCHEMA,
    }
}

fn has_max_tokens(body: &Value) -> bool {
    body.get("max_tokens").is_some()
}

fn has_schema(body: &Value) -> bool {
    body.get("response_format").is_some()
}

fn has_schema_and_tools(body: &Value) -> bool {
    has_schema(body) && body.get("tools").is_some()
}

fn has_system(body: &Value) -> bool {
    body["messages"][0]["role"] == "system" || body.get("system").is_some()
}

fn error(message: &str) -> Value {
    json!({ "error": { "message": message, "type": "invalid_request_error", "param": null, "code": null } })
}

fn with_schema() -> Value {
    json!({ "output_schema": schema() })
}

fn with_schema_and_tools() -> Value {
    let mut definition = searcher();
    definition["output_schema"] = schema();
    definition
}

fn limits() -> Vec<Refusal> {
    let azure = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
    let bodies = [
        json!({ "error": { "message": azure, "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter" } }),
        json!({ "detail": [{ "type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted" }] }),
        error("Unrecognized request argument supplied: max_tokens"),
        error("this model requires max_completion_tokens"),
    ];
    bodies
        .map(|body| openai(body, json!({}), has_max_tokens))
        .into()
}

fn schemas() -> Vec<Refusal> {
    let alone = [
        error("This response_format type is unavailable now"),
        error(
            "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        ),
        json!({ "object": "error", "message": "guided decoding is disabled", "type": "BadRequestError", "code": 400 }),
        error("Failed to initialize samplers: failed to parse grammar"),
    ];
    let with_tools = [
        error("json mode cannot be combined with tool/function calling"),
        json!([{ "error": { "code": 400, "status": "INVALID_ARGUMENT",
            "message": "Function calling with a response mime type: 'application/json' is unsupported" } }]),
        error("Cannot use custom grammar constraints with tools."),
    ];
    let alone = alone.map(|body| openai(body, with_schema(), has_schema));
    let with_tools =
        with_tools.map(|body| openai(body, with_schema_and_tools(), has_schema_and_tools));
    let message = "output_config.format: Extra inputs are not permitted";
    let anthropic = Refusal {
        format: Format::ANTHROPIC,
        status: 400,
        body: json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } }),
        definition: with_schema(),
        has_part: |body| body.get("output_config").is_some(),
        answer: ANSWER_IN_SCHEMA,
    };
    alone
        .into_iter()
        .chain(with_tools)
        .chain([anthropic])
        .collect()
}

fn system_messages() -> Vec<Refusal> {
    let texts = [
        (400, "System role not supported"),
        (500, "Jinja Exception: System role not supported"),
        (
            400,
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        ),
        (
            400,
            "Developer instruction is not enabled for models/gemma-3-27b-it",
        ),
        (
            400,
            "Conversation roles must alternate user/assistant/user/assistant/...",
        ),
    ];
    let openai = texts.map(|(status, text)| Refusal {
        status,
        ..openai(error(text), json!({}), has_system)
    });
    let message = "This model doesn't support system messages. Try again without system messages.";
    let bedrock = Refusal {
        format: Format::BEDROCK,
        status: 400,
        body: json!({ "message": message }),
        definition: json!({}),
        has_part: has_system,
        answer: "Done.",
    };
    openai.into_iter().chain([bedrock]).collect()
}

#[tokio::test]
async fn a_request_is_sent_once_more_without_what_its_server_does_not_accept() {
    for refusal in limits()
        .into_iter()
        .chain(schemas())
        .chain(system_messages())
    {
        let Refusal {
            format,
            status,
            body,
            definition,
            has_part,
            answer,
        } = refusal;
        let shown = body.to_string();
        let model = FakeModel::start(move |_, asked| match has_part(&asked.body) {
            true => Reply::Refusal(status, body.clone()),
            false => Reply::Text(answer),
        })
        .await;
        let bedrock = crate::support::functions::bedrock(&model.origin);
        let world = World::start_with(|settings| settings.bedrock = bedrock).await;
        let mut definition = definition;
        definition["model"] = format.model(&model.origin);
        let agent = world.agent_as(definition).await;
        let ended = world.run(&agent, super::PAYLOAD).await;
        assert_eq!(
            (&ended["status"], &ended["attempt"]),
            (&json!("SUCCESS"), &json!(1)),
            "{shown}: {ended}"
        );
        let asked = model.asked();
        assert_eq!(asked.len(), 2, "{shown}");
        assert!(
            has_part(&asked[0].body) && !has_part(&asked[1].body),
            "{shown}"
        );
        assert!(asked[1].body.to_string().contains("4711"), "{shown}");
        // Later runs send no request that is refused.
        let ended = world.run(&agent, super::PAYLOAD).await;
        assert_eq!(ended["status"], "SUCCESS", "{shown}: {ended}");
        assert_eq!(model.asked().len(), 3, "{shown}");
    }
}

#[tokio::test]
async fn what_a_server_does_not_enforce_is_requested_in_the_prompt_instead() {
    let site = Site::open(Format::OPENAI, |call| match call {
        0 => Reply::Refusal(400, error("This response_format type is unavailable now")),
        1 => Reply::Refusal(400, error("System role not supported")),
        _ => Reply::Text(ANSWER_IN_SCHEMA),
    })
    .await;
    let definition = json!({ "prompt": "Add up.", "output_schema": schema() });
    let ended = site.run(definition).await;
    // The second refusal costs an attempt, because a call is repeated once at most.
    assert_eq!(
        (&ended["status"], &ended["attempt"]),
        (&json!("SUCCESS"), &json!(2)),
        "{ended}"
    );
    assert_eq!(
        ended["result"]["result"]["answer"], ANSWER_IN_SCHEMA,
        "{ended}"
    );
    let user = &site.body(2)["messages"][0];
    assert_eq!(user["role"], "user");
    let text = user["content"].as_str().unwrap();
    assert!(
        text.starts_with("Add up.") && text.ends_with(super::PAYLOAD),
        "{text}"
    );
    assert!(text.contains(r#""required":["total"]"#), "{text}");
}

#[tokio::test]
async fn a_model_without_tools_fails_a_task_that_has_some() {
    for (status, text) in [
        (
            400,
            "registry.ollama.ai/library/gemma:2b does not support tools",
        ),
        (
            400,
            "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set",
        ),
        (400, "`tool calling` is not supported with this model"),
        (500, "This model doesn't support tool use."),
        (500, "tools param requires --jinja flag"),
        (404, "No endpoints found that support tool use."),
    ] {
        for site in Site::each(move |_| Reply::Refusal(status, error(text))).await {
            let ended = site.run(searcher()).await;
            let message = ended["result"].as_str().unwrap();
            assert!(
                message.contains("does not accept tools"),
                "{text}: {message}"
            );
            assert_eq!(ended["error"]["retryable"], false, "{ended}");
            assert_eq!(site.model.asked().len(), 1, "{text}");
        }
    }
}

#[tokio::test]
async fn a_message_with_calls_has_a_text_if_its_server_wants_one() {
    let detail = json!([{ "type": "string_type", "loc": ["body", "messages", 2, "content"],
        "msg": "Input should be a valid string", "input": null }]);
    let model = FakeModel::start(move |_, asked| {
        let messages = asked.body["messages"].as_array().unwrap();
        match messages
            .iter()
            .find(|message| message["role"] == "assistant")
        {
            None => Reply::Says(wants([search("a", "no such word anywhere")])),
            Some(message) if message["content"].is_null() => {
                Reply::Refusal(422, json!({ "detail": detail }))
            }
            Some(_) => Reply::Text("Done."),
        }
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, searcher()).await;
    for requests in [3, 5] {
        let ended = world.run(&agent, "{}").await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        assert_eq!(model.asked().len(), requests, "{ended}");
    }
}

#[tokio::test]
async fn other_refusals_are_not_mistaken_for_these() {
    for text in [
        "'max_tokens' is too large: 4096. This model's maximum context length is 2048 tokens.",
        "Invalid schema for function 'search_sources': None is not of type 'object'.",
        "Failed to call a function. Please adjust your prompt.",
        "The system is overloaded",
        "The system encountered an unexpected error during processing. Try your request again.",
        "API key not valid.",
    ] {
        let site = Site::open(Format::OPENAI, move |_| Reply::Refusal(400, error(text))).await;
        let ended = site.run(searcher()).await;
        assert_eq!(ended["status"], "FAILURE", "{text}: {ended}");
        assert_eq!(site.model.asked().len(), 1, "{text}");
    }
}

#[tokio::test]
async fn no_message_is_empty() {
    let script = |call| match call {
        0 => Reply::Says(wants([search("a", "no such word anywhere")])),
        1 => Reply::Says(says("Seven.")),
        _ => Reply::Text(ANSWER_IN_SCHEMA),
    };
    for site in Site::each(script).await {
        let ended = site.run(with_schema_and_tools()).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
        let format = site.format;
        for message in site.body(2)["messages"].as_array().unwrap() {
            let written = message.to_string();
            for empty in [
                r#""content":"""#,
                r#""content":" ""#,
                r#""content":[]"#,
                r#""text":"""#,
                r#""text":" ""#,
            ] {
                assert!(!written.contains(empty), "{format:?}: {written}");
            }
        }
    }
}

/// The text was about something else, so the next run sends the whole request again.
#[tokio::test]
async fn a_part_is_not_remembered_if_the_request_without_it_fails_for_good() {
    let site = Site::open(Format::OPENAI, |call| match call {
        0 | 2 => Reply::Refusal(400, error("response_format: this model is not deployed")),
        _ => Reply::Refusal(404, error("This model is not deployed")),
    })
    .await;
    let agent = site.agent(with_schema()).await;
    for requests in [2, 4] {
        let ended = site.world.run(&agent, super::PAYLOAD).await;
        assert_eq!(ended["status"], "FAILURE", "{ended}");
        assert_eq!(site.model.asked().len(), requests);
        assert!(has_schema(&site.body(requests - 2)) && !has_schema(&site.body(requests - 1)));
    }
}

/// Provider, base URL, and the path and query that are called.
const BASE_URLS: [(&str, &str, &str, Option<&str>); 7] = [
    (
        "openai",
        "/azure/gpt-4o?api-version=2024-10-21",
        "/azure/gpt-4o/chat/completions",
        Some("api-version=2024-10-21"),
    ),
    (
        "openai",
        "/azure/gpt-4o/chat/completions?api-version=2024-10-21",
        "/azure/gpt-4o/chat/completions",
        Some("api-version=2024-10-21"),
    ),
    (
        "openai",
        "/v1/chat/completions/",
        "/v1/chat/completions",
        None,
    ),
    (
        "openai",
        "/my-chat/completions",
        "/my-chat/completions/chat/completions",
        None,
    ),
    ("openai", "/v1?", "/v1/chat/completions", None),
    (
        "anthropic",
        "/proxy/v1?team=a",
        "/proxy/v1/messages",
        Some("team=a"),
    ),
    (
        "anthropic",
        "/proxy/v1/messages",
        "/proxy/v1/messages",
        None,
    ),
];

#[tokio::test]
async fn the_path_of_a_request_is_added_once_and_before_the_query() {
    let version = Some("api-version=2024-10-21");
    for (provider, base_url, path, query) in BASE_URLS {
        let model = FakeModel::saying("Here.").await;
        let world = World::start().await;
        let base_url = format!("{}{base_url}", model.origin);
        let definition = json!({ "name": "a", "model": {
            "provider": provider, "base_url": base_url, "name": "m", "api_key": "secret-key" } });
        let ended = world.run(&world.agent_as(definition).await, "{}").await;
        assert_eq!(
            ended["result"]["result"]["answer"], "Here.",
            "{base_url}: {ended}"
        );
        let asked = &model.asked()[0];
        assert_eq!(
            (asked.path.as_str(), asked.query.as_deref()),
            (path, query),
            "{base_url}"
        );
        // Azure takes a bearer token only from Entra ID.
        let key = match (provider, query) {
            ("anthropic", _) => asked.headers["x-api-key"].clone(),
            (_, Some(_)) => asked.headers["api-key"].clone(),
            _ => asked.headers["authorization"].clone(),
        };
        assert!(key.to_str().unwrap().ends_with("secret-key"), "{base_url}");
        assert_eq!(
            asked.headers.contains_key("api-key"),
            query == version,
            "{base_url}"
        );
    }
}

#[tokio::test]
async fn what_a_server_refuses_is_stored_with_the_agent_and_shown() {
    let model = FakeModel::start(|_, asked| match has_max_tokens(&asked.body) {
        true => Reply::Refusal(400, error("this model requires max_completion_tokens")),
        false => Reply::Text(ANSWER_IN_SCHEMA),
    })
    .await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let refused = async |world: &World| {
        let shown = world.manage(Method::GET, &format!("/api/agents/{}", agent.id));
        let shown: Value = shown.send().await.unwrap().json().await.unwrap();
        shown["model_refuses"].clone()
    };
    assert_eq!(refused(&world).await, Value::Null);
    world.run(&agent, "{}").await;
    assert_eq!(
        (refused(&world).await, model.asked().len()),
        (json!(["max_tokens"]), 2)
    );
    let earlier = world.url.clone();
    let world = world.restart().await;
    let agent = Agent {
        id: agent.id.clone(),
        url: agent.url.replace(&earlier, &world.url),
    };
    world.run(&agent, "{}").await;
    assert_eq!(
        (refused(&world).await, model.asked().len()),
        (json!(["max_tokens"]), 3)
    );
    // What was refused may depend on the schema, so it is learned again.
    let change = world.manage(Method::PATCH, &format!("/api/agents/{}", agent.id));
    let changed = change.json(&json!({ "output_schema": schema() })).send();
    assert_eq!(changed.await.unwrap().status(), 200);
    assert_eq!(refused(&world).await, Value::Null);
    world.run(&agent, "{}").await;
    assert_eq!(
        (refused(&world).await, model.asked().len()),
        (json!(["max_tokens"]), 5)
    );
}

/// Gemini refuses the next turn without its signature.
#[tokio::test]
async fn fields_that_a_server_adds_to_a_call_go_back_to_it() {
    let signature = json!({ "google": { "thought_signature": "c2ln" } });
    let call = json!({ "id": "", "type": "function", "index": 0, "extra_content": signature,
        "function": { "name": "search_sources", "arguments": "{\"query\":\"returns\"}", "note": 7 } });
    let first = json!({ "choices": [{ "message": { "content": null, "tool_calls": [call] } }] });
    let site = Site::open(Format::OPENAI, move |call| match call {
        0 => Reply::Json(first.clone()),
        _ => Reply::Text("Within 30 days."),
    })
    .await;
    let ended = site.run(searcher()).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    let messages = &site.body(1)["messages"];
    let (call, result) = (&messages[2]["tool_calls"][0], &messages[3]);
    assert_eq!(call["extra_content"], signature, "{call}");
    assert_eq!(call["function"]["note"], 7, "{call}");
    assert!(call.get("index").is_none(), "{call}");
    assert_eq!(result["tool_call_id"], call["id"], "{messages}");
    assert_ne!(call["id"], "", "{messages}");
}
