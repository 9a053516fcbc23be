//! The AWS calls of documents, and what remains after their deletion.

use reqwest::Response;
use serde_json::{Value, json};

use super::ZEBRA;
use crate::support::functions::{Functions, SMALL_ADMIN_TOKEN, functions};
use crate::support::{FakeModel, accepted, client, redaction};

async fn upload(functions: &Functions, source: &str, text: &str) -> Response {
    redaction::payload(text.as_bytes());
    let url = format!(
        "{}/api/agents/{}/sources?source={source}",
        functions.url, functions.agent
    );
    let request = client()
        .post(url)
        .bearer_auth(SMALL_ADMIN_TOKEN)
        .header("content-type", "text/markdown");
    request.body(text.to_owned()).send().await.unwrap()
}

/// The ids of all items in the documents table.
async fn parts(functions: &Functions) -> Vec<String> {
    let scanned = functions
        .wire
        .call_dynamodb("Scan", json!({ "TableName": "documents" }))
        .await;
    scanned["Items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["id"]["S"].as_str().unwrap().into())
        .collect()
}

async fn run(functions: &Functions) -> Value {
    let task = accepted(functions.trigger(None).await).await;
    functions.wire.calls();
    assert!(functions.deliver(&[&task], false).await.is_empty());
    functions.status(&task).await.json().await.unwrap()
}

#[tokio::test]
async fn a_document_costs_a_run_nothing_once_it_is_in_memory() {
    let functions = functions(&FakeModel::saying("x").await).await;
    functions.wire.calls();
    assert_eq!(upload(&functions, "rules.md", ZEBRA).await.status(), 201);
    let upload_calls = functions.wire.calls();
    // The last two calls write its entry in the audit log.
    let expected = [
        "GetItem",
        "TransactWriteItems",
        "PutItem",
        "TransactWriteItems",
        "GetItem",
        "PutItem",
    ];
    assert_eq!(upload_calls, expected);
    run(&functions).await;
    let first = functions.wire.calls();
    assert_eq!(
        first,
        ["GetItem", "UpdateItem", "GetItem", "UpdateItem", "GetItem"]
            .map(String::from)
            .as_slice()
    );
    run(&functions).await;
    let later = functions.wire.calls();
    println!(
        "AWS calls: upload {}, first run {}, run {}",
        upload_calls.len(),
        first.len() - 1,
        later.len() - 1
    );
    assert_eq!(
        later,
        ["UpdateItem", "UpdateItem", "GetItem"],
        "claim, finish, and our own look at the status"
    );
}

#[tokio::test]
async fn no_item_remains_of_a_document_that_was_replaced_or_deleted_also_with_its_agent() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let noise = |seed: u64| {
        let mut state = seed;
        let mut next = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            format!("w{:x} ", state >> 20)
        };
        (0..60_000).map(|_| next()).collect::<String>()
    };
    let large: Value = upload(&functions, "large.md", &noise(1))
        .await
        .json()
        .await
        .unwrap();
    let many = parts(&functions).await;
    assert!(many.len() > 1, "{many:?}");
    assert_eq!(upload(&functions, "large.md", ZEBRA).await.status(), 200);
    let one = parts(&functions).await;
    assert_eq!(one.len(), 1);
    assert!(!many.contains(&one[0]), "a name is never used twice");

    assert_eq!(
        upload(&functions, "other.md", &noise(2)).await.status(),
        201
    );
    let base = format!("{}/api/agents/{}", functions.url, functions.agent);
    let delete = async |path: String| {
        client()
            .delete(path)
            .bearer_auth(SMALL_ADMIN_TOKEN)
            .send()
            .await
            .unwrap()
    };
    let deleted = delete(format!("{base}/sources/{}", large["id"].as_str().unwrap())).await;
    assert_eq!(deleted.status(), 204);
    assert!(!parts(&functions).await.contains(&one[0]));
    assert_eq!(delete(base).await.status(), 204);
    assert_eq!(parts(&functions).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_run_with_a_cached_agent_answers_from_the_current_documents() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    assert_eq!(
        upload(
            &functions,
            "rules.md",
            "iban DE89370400440532013000 is blocked"
        )
        .await
        .status(),
        201
    );
    // The agent function caches the agent for ten seconds, but not its document.
    functions
        .runner
        .agents
        .get_cached(functions.agent)
        .await
        .unwrap();
    let newer = "iban DE89370400440532013000 is allowed";
    assert_eq!(upload(&functions, "rules.md", newer).await.status(), 200);
    assert_eq!(run(&functions).await["status"], "SUCCESS");
    assert!(
        model.asked()[0].system().contains(newer),
        "{}",
        model.asked()[0].system()
    );
}
