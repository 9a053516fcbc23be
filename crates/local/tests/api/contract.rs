//! Every recorded case of the DocsGPT contract gets the response that the contract requires.

use std::collections::HashMap;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::{FakeModel, Reply, World, redaction};

const CASES: &str = include_str!("contract/docsgpt-1.1.0.jsonl");
const TOKEN: &str = "abcdef01-2345-4678-9abc-def012345678";
const OTHER_TOKEN: &str = "bbcdef01-2345-4678-9abc-def012345678";

#[derive(Deserialize)]
struct Case {
    case: String,
    request: Recorded,
    recorded: Answer,
    expect: Vec<u16>,
    differs_because: Option<String>,
}

#[derive(Deserialize)]
struct Recorded {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    body_repeat: Option<(String, usize, String)>,
    body_fill: Option<Fill>,
}

#[derive(Deserialize)]
struct Fill {
    prefix: String,
    fill: String,
    suffix: String,
    bytes: usize,
}

#[derive(Deserialize)]
struct Answer {
    status: u16,
    body: Option<String>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_case_gets_the_response_of_the_contract() {
    let model = FakeModel::start(|_, asked| match asked.user().contains("never") {
        true => Reply::Never,
        false => Reply::Text("Fixed answer from the fake LLM."),
    })
    .await;
    let world = World::start_with(|settings| settings.concurrency = 1).await;
    let agent = world.agent(&model, json!({ "webhook_token": TOKEN })).await;
    world
        .agent(&model, json!({ "webhook_token": OTHER_TOKEN }))
        .await;
    let mut ids: HashMap<String, String> = HashMap::new();
    let cases: Vec<Case> = CASES
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for case in &cases {
        if case.case == "status_PENDING_queued" {
            // The only run slot is in use, so the next task waits.
            let blocking = world.trigger(&agent, r#""never""#).await;
            world.until(&blocking, |status| status == "STARTED").await;
            ids.insert(
                id_in(&case.request.path).unwrap(),
                world.trigger(&agent, "1").await,
            );
        }
        let response = replay(&world, case, &ids).await;
        check(case, response, &mut ids).await;
    }
    println!(
        "{} recorded cases answered as the contract says",
        cases.len()
    );
}

async fn replay(world: &World, case: &Case, ids: &HashMap<String, String>) -> Response {
    let mut path = case.request.path.clone();
    if let Some(recorded) = id_in(&path)
        && let Some(ours) = ids.get(&recorded.to_lowercase())
    {
        if case.case.starts_with("status_SUCCESS") {
            world.ended(ours).await;
        }
        let ours = if recorded.chars().any(char::is_uppercase) {
            ours.to_uppercase()
        } else {
            ours.clone()
        };
        path = path.replace(&recorded, &ours);
    }
    let percent = format!("%{:02X}{}", TOKEN.as_bytes()[0], &TOKEN[1..]);
    for (placeholder, token) in [
        ("{token_lower}", TOKEN.to_lowercase()),
        ("{token_upper}", TOKEN.to_uppercase()),
        ("{token_percent}", percent),
        ("{token}", TOKEN.to_owned()),
        ("{other_token}", OTHER_TOKEN.to_owned()),
    ] {
        path = path.replace(placeholder, &token);
    }
    let method = Method::from_bytes(case.request.method.as_bytes()).unwrap();
    let mut request = world.http.request(method, format!("{}{path}", world.url));
    for (name, value) in &case.request.headers {
        if name.eq_ignore_ascii_case("idempotency-key") {
            redaction::secret("idempotency key", value);
        }
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        request = request.header(name.parse::<HeaderName>().unwrap(), value);
    }
    if let Some(body) = body(&case.request) {
        redaction::payload(&body);
        request = request.body(body);
    }
    request
        .send()
        .await
        .unwrap_or_else(|error| panic!("{}: {error:?}", case.case))
}

fn body(request: &Recorded) -> Option<Vec<u8>> {
    let repeated = |(open, times, close): &(String, usize, String)| {
        format!("{}{}", open.repeat(*times), close.repeat(*times)).into_bytes()
    };
    let filled = |fill: &Fill| {
        let inner = fill.bytes - fill.prefix.len() - fill.suffix.len();
        format!("{}{}{}", fill.prefix, fill.fill.repeat(inner), fill.suffix).into_bytes()
    };
    let text = request.body.as_ref().map(|text| text.clone().into_bytes());
    text.or(request.body_base64.as_deref().map(base64))
        .or(request.body_repeat.as_ref().map(repeated))
        .or(request.body_fill.as_ref().map(filled))
}

async fn check(case: &Case, response: Response, ids: &mut HashMap<String, String>) {
    let name = &case.case;
    let status = response.status().as_u16();
    let without_body = case.request.method == "HEAD";
    let headers = response.headers().clone();
    let text = response.text().await.unwrap();
    assert!(case.expect.contains(&status), "{name}: {status} {text}");
    if status == 405 {
        assert!(headers.contains_key("allow"), "{name}: no Allow header");
    }
    if case.request.method == "OPTIONS" {
        assert_eq!(headers["access-control-allow-origin"], "*", "{name}");
        return;
    }
    if without_body {
        return;
    }
    let ours: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{name}: {text}"));
    let recorded: Option<Value> = case
        .recorded
        .body
        .as_deref()
        .and_then(|body| serde_json::from_str(body).ok());
    if status >= 400 {
        assert_eq!(ours["success"], false, "{name}: {text}");
        assert!(
            ours["message"]
                .as_str()
                .is_some_and(|message| message.len() > 5),
            "{name}: {text}"
        );
        assert!(ours["code"].is_string(), "{name}: {text}");
        if let Some(theirs) = recorded
            .filter(|recorded| recorded["success"] == false && status == case.recorded.status)
        {
            let (ours, theirs) = (
                ours["message"].as_str().unwrap(),
                theirs["message"].as_str().unwrap(),
            );
            assert!(ours.starts_with(theirs), "{name}: {ours} is not {theirs}");
        }
    } else if let Some(recorded) = recorded {
        check_success(case, &ours, &recorded, ids);
    }
}

fn check_success(case: &Case, ours: &Value, recorded: &Value, ids: &mut HashMap<String, String>) {
    let name = &case.case;
    for field in ["success", "status", "result"] {
        if recorded.get(field).is_some() && case.differs_because.is_none() {
            assert_eq!(ours[field], recorded[field], "{name}: {field}");
        }
    }
    let (Some(theirs), Some(id)) = (recorded["task_id"].as_str(), ours["task_id"].as_str()) else {
        return;
    };
    let earlier = ids.insert(theirs.to_owned(), id.to_owned());
    if let Some(earlier) = earlier {
        assert_eq!(earlier, id, "{name}: a repeat got another id");
    } else if case.differs_because.is_none() {
        let same = ids.iter().filter(|(_, ours)| *ours == id).count();
        assert_eq!(same, 1, "{name}: a new task got an old id");
    }
}

fn id_in(path: &str) -> Option<String> {
    let (_, id) = path.split_once("task_id=")?;
    (id.len() == 36).then(|| id.to_owned())
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for digit in text.bytes().filter(|digit| *digit != b'=') {
        let value = DIGITS.iter().position(|known| *known == digit).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}
