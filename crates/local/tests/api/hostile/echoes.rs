//! Servers that send back the secrets that they receive, in every encoding that is decoded.

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use reqwest::Method;
use serde_json::{Value, json};

use crate::logs::Logging;
use crate::support::api::{Call, api_response};
use crate::support::collector::{Collector, attributes, spans};
use crate::support::model::{Asked, completion};
use crate::support::{ADMIN_TOKEN, FakeApi, FakeModel, Reply, accepted, client, redaction, string};

/// Contains every character that an encoding escapes.
const MODEL_KEY: &str = r#"sk-Echo+Model/4="a%5Cz\q&<k>'9"#;
const API_KEY: &str = "tool+Key/of=the_API";
/// Begins with the other one.
const MCP_KEY: &str = r"tool+Key/of=the_API\and%20of-the-MCP-server";
const SECRETS: [&str; 3] = [MODEL_KEY, API_KEY, MCP_KEY];
/// Parts of a secret of this length or longer must be removed.
const PART: usize = 8;

/// Every character of `text` as `form` writes it.
fn each(text: &str, form: impl Fn(u32) -> String) -> String {
    text.chars()
        .map(|character| form(u32::from(character)))
        .collect()
}

fn json_text(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].replace('/', "\\/")
}

fn url(text: &str) -> String {
    let escaped = |character: char| match character.is_ascii_alphanumeric() {
        true => character.to_string(),
        false => format!("%{:02x}", u32::from(character)),
    };
    text.chars().map(escaped).collect()
}

fn html(text: &str) -> String {
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&apos;")
}

/// The encodings of a secret that a server may send.
fn forms(secret: &str) -> String {
    let unicode = |text: &str| each(text, |code| format!("\\u{code:04X}"));
    let forms = [
        secret.to_owned(),
        secret.to_uppercase(),
        json_text(secret),
        json_text(&json_text(secret)),
        unicode(secret),
        json_text(&unicode(secret)),
        url(secret),
        url(secret).to_uppercase(),
        url(&url(secret)),
        each(secret, |code| format!("%{code:02X}")),
        html(secret),
        html(secret).to_uppercase(),
        each(secret, |code| format!("&#{code};")),
        each(secret, |code| format!("&#x{code:04x};")),
        json_text(&html(&url(secret))),
        url(&html(&json_text(secret))),
        html(&json_text(&json_text(secret))),
        // After text that looks like part of an escape.
        format!("\\{}", json_text(secret)),
        format!("%2{secret}&#3{secret}"),
    ];
    forms.join(" | ")
}

/// The text with one level of each escape decoded.
fn undone(text: &str) -> [String; 3] {
    [
        undo(text, "\\u", "", 4, "\\"),
        undo(text, "%", "", 2, ""),
        undo(&named(text), "&#x", ";", 0, ""),
    ]
}

fn named(text: &str) -> String {
    let text = text
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let text = text.replace("&amp;", "&");
    let mut parts = text.split("&#");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        match part
            .split_once(';')
            .and_then(|(number, rest)| Some((number.parse::<u8>().ok()?, rest)))
        {
            Some((code, rest)) => format!("{text}{}{rest}", char::from(code)),
            None => format!("{text}&#{part}"),
        }
    })
}

/// Decodes escapes of `start`, `digits` hexadecimal digits (0: any number) and `end`. A
/// character after `literal` is itself.
fn undo(text: &str, start: &str, end: &str, digits: usize, literal: &str) -> String {
    let mut undone = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let escape = rest.strip_prefix(start).and_then(|tail| {
            let length = if digits == 0 { tail.find(end)? } else { digits };
            let code = u8::from_str_radix(tail.get(..length)?.trim_start_matches('0'), 16).ok()?;
            Some((char::from(code), tail[length..].strip_prefix(end)?))
        });
        let itself = rest.strip_prefix(literal).filter(|_| !literal.is_empty());
        let itself = itself.and_then(|tail| Some((tail.chars().next()?, tail)));
        let itself = itself.map(|(literal, tail)| (literal, &tail[literal.len_utf8()..]));
        let (character, tail) = escape
            .or(itself)
            .unwrap_or_else(|| (character, &rest[character.len_utf8()..]));
        undone.push(character);
        rest = tail;
    }
    undone
}

/// Asserts that `text` contains no part of a secret, also after decoding three levels of escapes.
fn assert_hides(place: &str, text: &str) {
    let mut texts = vec![text.to_lowercase()];
    for _ in 0..3 {
        let more: Vec<String> = texts.iter().flat_map(|text| undone(text)).collect();
        texts.extend(more.into_iter().map(|text| text.to_lowercase()));
        texts.sort();
        texts.dedup();
    }
    for secret in SECRETS {
        let secret = secret.to_lowercase();
        for part in [&secret[..PART], &secret[secret.len() - PART..]] {
            let found = texts
                .iter()
                .find_map(|text| text.find(part).map(|at| (text, at)));
            assert!(found.is_none(), "{place} shows {part}: {found:?}");
        }
    }
}

fn call(id: &str, name: &str, arguments: &Value) -> Value {
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments.to_string() } })
}

fn wants(calls: Vec<Value>) -> Value {
    let echoed = forms(MODEL_KEY);
    let message = json!({ "role": "assistant", "content": echoed, "reasoning_content": echoed, "tool_calls": calls });
    let mut reply = completion(message, "tool_calls");
    reply["model"] = json!(format!("m-{MODEL_KEY}"));
    reply
}

/// A model that echoes its key in every field that is stored, and fails between two turns.
fn echo_to_model(number: usize, asked: &Asked) -> Reply {
    assert_eq!(
        asked.headers["authorization"],
        format!("Bearer {MODEL_KEY}")
    );
    let echoed = forms(MODEL_KEY);
    match number {
        0 => Reply::Json(wants(vec![
            call(MODEL_KEY, "note", &json!({ "text": echoed, MODEL_KEY: 1 })),
            call("b", MODEL_KEY, &json!({})),
            call("c", "note", &json!({ "text": "fail" })),
            call("d", "note", &json!({ "text": "type" })),
            call("e", "say", &json!({ "how": "text" })),
            call("f", "say", &json!({ "how": "structured" })),
            call("g", "say", &json!({ "how": "error" })),
            call("h", "say", &json!({ "how": "refusal" })),
            call("i", "say", &json!({ "how": "link" })),
        ])),
        1 => Reply::Json(wants(
            (0..32)
                .map(|cut| {
                    call(
                        &format!("c{cut}"),
                        "short_note",
                        &json!({ "text": "cut", "cut": cut }),
                    )
                })
                .collect(),
        )),
        // The run is stored and resumed.
        2 => Reply::Refusal(
            503,
            json!({ "error": { "code": MODEL_KEY, "message": MODEL_KEY } }),
        ),
        _ => {
            let message =
                json!({ "role": "assistant", "content": echoed, "reasoning_content": echoed });
            let mut reply = completion(message, "stop");
            reply["model"] = json!(MODEL_KEY);
            Reply::Json(reply)
        }
    }
}

fn echo_to_api(_: usize, call: &Call) -> Response {
    assert_eq!(call.header("x-api-key"), API_KEY);
    match call.body["text"].as_str() {
        // At most 100 bytes of it are returned.
        Some("cut") => {
            let cut = usize::try_from(call.body["cut"].as_u64().unwrap()).unwrap();
            api_response(
                200,
                "text/plain",
                format!("{}{API_KEY}{}", "x".repeat(100 - cut), "y".repeat(100)),
            )
        }
        Some("fail") => api_response(500, "text/plain", forms(API_KEY)),
        Some("type") => api_response(200, &format!("application/x-{API_KEY}"), "0"),
        _ => api_response(
            200,
            "application/json",
            json!({ "key": API_KEY, "forms": forms(API_KEY) }).to_string(),
        ),
    }
}

fn echo_to_mcp(_: usize, call: &Call) -> Response {
    assert_eq!(call.header("authorization"), format!("Token {MCP_KEY}"));
    let echoed = forms(MCP_KEY);
    let result = match (call.method.as_str(), call.body["method"].as_str()) {
        ("DELETE", _) => return api_response(200, "text/plain", ""),
        (_, Some("initialize")) => json!({
            "protocolVersion": "2025-11-25", "capabilities": { "tools": {} }, "instructions": echoed,
            "serverInfo": { "name": MCP_KEY, "version": "1" },
        }),
        (_, Some("tools/list")) => {
            let how = json!({ "type": "string", "description": echoed, "examples": [MCP_KEY] });
            let schema = json!({ "type": "object", "properties": { "how": how, MCP_KEY: { "const": echoed } } });
            json!({ "tools": [{ "name": "say", "description": format!("Says it. {echoed}"), "inputSchema": schema }] })
        }
        (_, Some("tools/call")) => match call.body["params"]["arguments"]["how"].as_str() {
            Some("structured") => {
                json!({ "content": [], "structuredContent": { "key": MCP_KEY, MCP_KEY: echoed } })
            }
            Some("error") => {
                json!({ "content": [{ "type": "text", "text": echoed }], "isError": true })
            }
            Some("link") => {
                let link = format!("https://a.example/{}{MCP_KEY}", "x".repeat(960));
                json!({ "content": [{ "type": "resource_link", "uri": link, "name": MCP_KEY }] })
            }
            Some("refusal") => {
                let error =
                    json!({ "code": -32000, "message": format!("{}{MCP_KEY}", "x".repeat(2030)) });
                return axum::Json(
                    json!({ "jsonrpc": "2.0", "id": call.body["id"], "error": error }),
                )
                .into_response();
            }
            _ => json!({ "content": [{ "type": "text", "text": echoed }] }),
        },
        _ if call.body["id"].is_null() => return api_response(202, "text/plain", ""),
        _ => {
            return api_response(
                400,
                "application/json",
                json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32600, "message": MCP_KEY } })
                    .to_string(),
            );
        }
    };
    axum::Json(json!({ "jsonrpc": "2.0", "id": call.body["id"], "result": result })).into_response()
}

async fn manage(server: &Logging, method: Method, path: &str, body: &Value) -> Value {
    let request = client()
        .request(method, format!("{}{path}", server.url))
        .bearer_auth(ADMIN_TOKEN);
    let response = request.json(body).send().await.unwrap();
    assert!(
        response.status().is_success(),
        "{path}: {}",
        response.text().await.unwrap()
    );
    serde_json::from_str(&response.text().await.unwrap()).unwrap_or_default()
}

fn definition(model: &FakeModel, api: &FakeApi, mcp: &FakeApi) -> Value {
    let parameters =
        json!({ "properties": { "text": { "type": "string" }, "cut": { "type": "integer" } } });
    let http = |tool: &str, operation: &str, most: usize| {
        json!({
            "type": "http", "name": tool, "base_url": api.url(), "max_response_bytes": most,
            "headers": { "X-Api-Key": { "secret": "api" } },
            "operations": [{
                "name": operation, "description": "Takes a note", "method": "POST", "path": "/notes",
                "parameters": parameters,
            }],
        })
    };
    json!({
        "name": "echoed",
        "model": { "base_url": model.url, "name": "m", "api_key": { "secret": "model" } },
        "tools": [
            http("notes", "note", 100_000),
            http("short-notes", "short_note", 100),
            {
                "type": "mcp", "name": "desk", "url": format!("{}/mcp", mcp.url()), "allow": ["say"],
                "headers": { "Authorization": { "secret": "mcp", "prefix": "Token " } },
            },
        ],
    })
}

async fn store_secrets(server: &Logging) {
    for (name, value) in [("model", MODEL_KEY), ("api", API_KEY), ("mcp", MCP_KEY)] {
        redaction::secret("echoed secret", value);
        let path = format!("/api/secrets/{name}");
        manage(server, Method::PUT, &path, &json!({ "value": value })).await;
    }
}

async fn trigger_agent(agent: &Value, payload: &'static str) -> String {
    let trigger = client().post(string(&agent["webhook_url"])).body(payload);
    accepted(trigger.send().await.unwrap()).await
}

async fn task_status(server: &Logging, task: &str) -> Value {
    let status = client().get(format!("{}/api/task_status?task_id={task}", server.url));
    status.send().await.unwrap().json().await.unwrap()
}

/// The responses that the console shows for a task and its agent.
async fn console_responses(server: &Logging, task: &str, agent: &Value) -> Value {
    let agent = format!("/api/agents/{}", string(&agent["agent_id"]));
    let task = format!("/api/tasks/{task}");
    let get = async |path: &str| manage(server, Method::GET, path, &Value::Null).await;
    json!([get(&task).await, get("/api/tasks").await, get(&agent).await])
}

/// The names and attributes of all spans, once the number of exported runs is the wanted one.
async fn exported_spans(collector: &Collector, wanted: impl Fn(usize) -> bool) -> Vec<Value> {
    let is_complete = |all: &[_]| {
        let spans = spans(all);
        let runs = spans.iter().filter(|span| span.parent_span_id.is_empty());
        wanted(runs.count())
    };
    spans(&collector.until(is_complete).await)
        .iter()
        .map(|span| json!([span.name, attributes(&span.attributes)]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_a_server_sends_back_in_any_encoding_leaves_the_run_nowhere() {
    let model = FakeModel::start(echo_to_model).await;
    let (api, mcp) = (
        FakeApi::start(echo_to_api).await,
        FakeApi::start(echo_to_mcp).await,
    );
    let collector = Collector::answering(StatusCode::OK).await;
    let mut server = Logging::start_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    store_secrets(&server).await;
    let definition = definition(&model, &api, &mcp);
    let agent = manage(&server, Method::POST, "/api/agents", &definition).await;
    let task = trigger_agent(&agent, r#"{"a":1}"#).await;
    let log = server.lines_until_the_end_of(&task);

    let status = task_status(&server, &task).await;
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("SUCCESS"), &json!(2)),
        "{status}"
    );
    let result = &status["result"]["result"];
    assert_eq!(result["tool_calls"].as_array().unwrap().len(), 9 + 32);
    let answer = string(&result["answer"]);
    assert_eq!(answer.matches("[secret]").count(), 20, "{answer}");
    let asked: Vec<Value> = model.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(asked.len(), 4);
    let notes: Vec<Value> = api
        .calls()
        .into_iter()
        .map(|call| json!([call.path, call.body]))
        .collect();
    let traced = exported_spans(&collector, |runs| runs > 0).await;
    let console = console_responses(&server, &task, &agent).await;
    for (place, json) in [
        ("the model is sent", json!(asked)),
        ("a tool is sent", json!(notes)),
        ("the status", status),
        ("the console", console),
        ("the log", json!(log)),
        ("the trace", json!(traced)),
    ] {
        assert_hides(place, &json.to_string());
        // Also the unescaped strings.
        assert_hides(place, &strings(&json));
    }
}

/// All strings of a JSON value, including its keys.
fn strings(json: &Value) -> String {
    match json {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(strings).collect::<Vec<_>>().join("\n"),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| format!("{key}\n{}", strings(value)))
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    }
}

/// A text that a model provider uses for its codes and names.
const WORD: &str = "word_of_the_payload";

/// A model that calls a tool, and fails in a different way in each of three runs.
fn send_word(number: usize, _: &Asked) -> Reply {
    let calls = || {
        completion(
            json!({ "role": "assistant", "tool_calls": [call(WORD, WORD, &json!({}))] }),
            "tool_calls",
        )
    };
    match number {
        0 => {
            let mut reply = calls();
            reply["model"] = json!(format!("m-{WORD}"));
            Reply::Json(reply)
        }
        1 => Reply::Refusal(400, json!({ "error": { "code": WORD, "type": WORD } })),
        2 => Reply::Refusal(
            400,
            json!({ "error": { "code": "context_length_exceeded" } }),
        ),
        _ => Reply::Json(calls()),
    }
}

/// Runs a new agent with each of these lists of tools, and returns the log lines of the runs.
async fn lines_of_runs(server: &mut Logging, model: &FakeModel, tools: [Value; 3]) -> Vec<Value> {
    let mut lines = Vec::new();
    for (number, tools) in tools.into_iter().enumerate() {
        let definition = json!({
            "name": format!("agent {number}"), "tools": tools, "model": { "base_url": model.url, "name": "m" },
            "sources": if number == 0 { json!([{ "title": "t", "text": "x" }]) } else { json!([]) },
        });
        let agent = manage(server, Method::POST, "/api/agents", &definition).await;
        let task = trigger_agent(&agent, "1").await;
        lines.extend(server.lines_until_the_end_of(&task));
    }
    lines
}

/// A model provider can put any text into its codes and names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_a_model_provider_are_in_neither_log_nor_traces() {
    let model = FakeModel::start(send_word).await;
    let collector = Collector::answering(StatusCode::OK).await;
    let mut server = Logging::start_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url)]);
    let tools = [json!([{ "type": "search_sources" }]), json!([]), json!([])];
    let lines = lines_of_runs(&mut server, &model, tools).await;
    let errors: Vec<&Value> = lines
        .iter()
        .filter(|line| line["message"] == "task ended")
        .map(|line| &line["error"])
        .collect();
    assert_eq!(
        errors,
        [
            "The model provider returned HTTP 400 (unlisted)",
            "The model provider returned HTTP 400 (context_length_exceeded)",
            "The model called a tool that this agent does not have",
        ]
    );
    let called = lines
        .iter()
        .find(|line| line["message"] == "tool called")
        .unwrap();
    assert_eq!(
        (&called["gen_ai.tool.call.id"], &called["gen_ai.tool.name"]),
        (&json!("1:1"), &json!("unknown"))
    );
    assert!(!json!(lines).to_string().contains("word_of"), "{lines:?}");
    for span in exported_spans(&collector, |runs| runs == 3).await {
        assert!(!span.to_string().contains("word_of"), "{span}");
    }
}
