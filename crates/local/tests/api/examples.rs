//! The agents of `examples/`, unchanged, with a fake model and a fake API.

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde_json::{Value, json};

use crate::support::api::FakeApi;
use crate::support::model::completion;
use crate::support::{Agent, FakeModel, Reply, World, accepted};

/// A definition of `examples/` whose API is at `api`.
fn example(name: &str, api: Option<&FakeApi>) -> Value {
    let file = format!("{}/../../examples/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let mut definition: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    if let Some(api) = api {
        definition["tools"][0]["base_url"] = json!(api.url());
    }
    definition
}

async fn store_secret(world: &World, secret: &str, value: &str) {
    crate::support::redaction::secret("tool secret", value);
    let put = world.manage(reqwest::Method::PUT, &format!("/api/secrets/{secret}"));
    assert_eq!(
        put.json(&json!({ "value": value }))
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
}

fn wants(calls: &[(&str, Value)]) -> Reply {
    let texts: Vec<(&str, String)> = calls
        .iter()
        .map(|(name, arguments)| (*name, arguments.to_string()))
        .collect();
    let calls: Vec<(&str, &str)> = texts
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    crate::turns::wants(&calls)
}

fn says(text: impl Into<Value>) -> Reply {
    Reply::Json(completion(
        json!({ "role": "assistant", "content": text.into() }),
        "stop",
    ))
}

fn calls(ended: &Value) -> Vec<(&str, &str)> {
    let calls = ended["result"]["result"]["tool_calls"]
        .as_array()
        .unwrap()
        .iter();
    calls
        .map(|call| {
            (
                call["tool_name"].as_str().unwrap(),
                call["status"].as_str().unwrap(),
            )
        })
        .collect()
}

/// Answers the calls of the GitHub API for the issue acme/shop#12.
async fn github_api() -> FakeApi {
    FakeApi::start(|_, call| match call.path.split('?').next().unwrap() {
        "/repos/acme/shop/labels" => {
            axum::Json(json!([{ "name": "bug" }, { "name": "duplicate" }])).into_response()
        }
        "/search/issues" => {
            axum::Json(json!({ "items": [{ "number": 7, "title": "Crash" }] })).into_response()
        }
        "/repos/acme/shop/issues/12/labels" => axum::Json(json!([])).into_response(),
        "/repos/acme/shop/issues/12/comments" => {
            (StatusCode::CREATED, axum::Json(json!({ "id": 1 }))).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    })
    .await
}

/// Searches for duplicates of the issue, then labels it and comments on it.
async fn triage_model() -> FakeModel {
    FakeModel::start(|turn, _| match turn {
        0 => wants(&[
            ("list_labels", json!({ "owner": "acme", "repo": "shop" })),
            ("search_issues", json!({ "q": "repo:acme/shop is:issue crash checkout" })),
        ]),
        1 => wants(&[
            (
                "add_labels",
                json!({ "owner": "acme", "repo": "shop", "issue_number": 12, "labels": ["duplicate"] }),
            ),
            (
                "add_comment",
                json!({ "owner": "acme", "repo": "shop", "issue_number": 12, "body": "See #7." }),
            ),
        ]),
        _ => says("I marked it as a duplicate of #7."),
    })
    .await
}

#[tokio::test]
async fn github_issue_triage_labels_a_new_issue_and_points_to_its_duplicate() {
    let (api, model) = (github_api().await, triage_model().await);
    let world = World::start().await;
    store_secret(&world, "github-token", "github-token-of-the-example").await;
    let agent = world
        .agent(&model, example("github-issue-triage", Some(&api)))
        .await;
    let payload = json!({
        "action": "opened",
        "issue": { "number": 12, "title": "Crash at checkout", "body": "It crashes." },
        "repository": { "full_name": "acme/shop", "name": "shop", "owner": { "login": "acme" } },
    });
    let task = world.trigger(&agent, &payload.to_string()).await;
    let ended = world.ended(&task).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    let all = [
        ("list_labels", "ok"),
        ("search_issues", "ok"),
        ("add_labels", "ok"),
        ("add_comment", "ok"),
    ];
    assert_eq!(calls(&ended), all, "{ended}");
    assert!(
        model.asked()[0].system().contains("issue #12"),
        "{}",
        model.asked()[0].system()
    );

    let heard = api.calls();
    let searched = heard
        .iter()
        .find(|call| call.path.starts_with("/search/issues"))
        .unwrap();
    assert!(
        searched.path.contains("per_page=5") && searched.path.contains("crash"),
        "{}",
        searched.path
    );
    let labelled = heard
        .iter()
        .find(|call| call.path == "/repos/acme/shop/issues/12/labels")
        .unwrap();
    assert_eq!(
        (labelled.method.as_str(), &labelled.body),
        ("POST", &json!({ "labels": ["duplicate"] }))
    );
    assert_eq!(
        labelled.header("authorization"),
        "Bearer github-token-of-the-example"
    );
    assert_eq!(labelled.header("x-github-api-version"), "2022-11-28");
    assert_eq!(labelled.key(), format!("{task}:2:1"));
}

#[tokio::test]
async fn order_intake_creates_one_order_from_a_form_and_answers_in_its_schema() {
    let api = FakeApi::start(|_, call| match call.method.as_str() {
        "POST" => (StatusCode::CREATED, axum::Json(json!({ "id": "o-88" }))).into_response(),
        _ => {
            axum::Json(json!([{ "sku": "TEA-1", "name": "Green tea", "stock": 9 }])).into_response()
        }
    })
    .await;
    let lines = json!([{ "sku": "TEA-1", "quantity": 2 }]);
    let answer =
        json!({ "order_id": "o-88", "lines": lines, "message": "Two packets are on their way." });
    let reply = answer.clone();
    let model = FakeModel::start(move |turn, _| match turn {
        0 => wants(&[("find_products", json!({ "search": "green tea" }))]),
        1 => {
            let customer = json!({ "name": "Ada", "email": "ada@example.com" });
            wants(&[(
                "create_order",
                json!({ "customer": customer, "lines": [{ "sku": "TEA-1", "quantity": 2 }] }),
            )])
        }
        // Does not match the output schema yet.
        2 => says("Your order is o-88."),
        _ => says(reply.to_string()),
    })
    .await;
    let world = World::start().await;
    store_secret(&world, "shop-token", "shop-token-of-the-example").await;
    let agent = world
        .agent(&model, example("order-intake", Some(&api)))
        .await;
    let form = "name=Ada&email=ada%40example.com&order=two+packets+of+green+tea";
    let sent = form_post(&world, &agent, form).await;
    let ended = world.ended(&sent).await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
    let result = ended["result"]["result"]["answer"].as_str().unwrap();
    assert_eq!(serde_json::from_str::<Value>(result).unwrap(), answer);
    assert_eq!(
        calls(&ended),
        [("find_products", "ok"), ("create_order", "ok")]
    );
    let heard = api.calls();
    assert_eq!(heard[0].path, "/products?search=green+tea");
    assert_eq!(heard[1].body["lines"], lines);
    // The user clicks a second time.
    assert_eq!(form_post(&world, &agent, form).await, sent);
    assert_eq!(api.calls().len(), 2);
}

async fn form_post(world: &World, agent: &Agent, form: &str) -> String {
    crate::support::redaction::payload(form.as_bytes());
    let request = world
        .http
        .post(&agent.url)
        .header("content-type", "application/x-www-form-urlencoded");
    accepted(
        request
            .header("idempotency-key", "page-4711")
            .body(form.to_owned())
            .send()
            .await
            .unwrap(),
    )
    .await
}

#[tokio::test]
async fn document_qa_answers_from_its_documents_with_a_model_and_without() {
    let model = FakeModel::start(|turn, _| match turn {
        0 => wants(&[(
            "search_sources",
            json!({ "query": "returned days delivery" }),
        )]),
        _ => says("Within 30 days of delivery (Returns)."),
    })
    .await;
    let world = World::start().await;
    let question = r#"{"question":"Until when can goods be returned?"}"#;
    let ended = world
        .run(
            &world.agent(&model, example("document-qa", None)).await,
            question,
        )
        .await;
    let result = &ended["result"]["result"];
    assert_eq!(
        result["answer"], "Within 30 days of delivery (Returns).",
        "{ended}"
    );
    assert_eq!(result["sources"][0]["title"], "Returns");
    let messages = &model.asked()[1].body["messages"];
    assert!(
        messages.as_array().unwrap().last().unwrap()["content"]
            .as_str()
            .unwrap()
            .contains("30 days of delivery")
    );

    let plain = world
        .run(
            &world.agent_as(example("document-qa", None)).await,
            question,
        )
        .await;
    assert!(
        plain["result"]["result"]["answer"]
            .as_str()
            .unwrap()
            .contains("within 30 days"),
        "{plain}"
    );
}
