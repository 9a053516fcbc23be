//! The AWS calls of each operation, and what happens when one of them fails.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{functions, functions_at};
use crate::support::{FakeModel, Reply, Time, accepted, client, refused};

#[tokio::test]
async fn a_trigger_costs_two_calls_a_poll_one_and_a_run_two() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    let cold = functions.wire.calls();
    assert_eq!(
        cold,
        ["GetItem", "PutItem", "SendMessage"],
        "the agent is read once"
    );
    accepted(functions.trigger(None).await).await;
    let plain = functions.wire.calls();
    assert_eq!(plain, ["PutItem", "SendMessage"]);
    let keyed_task = accepted(functions.trigger(Some("k")).await).await;
    let keyed = functions.wire.calls();
    assert_eq!(keyed, ["PutItem", "SendMessage"]);

    assert!(functions.deliver(&[&task], false).await.is_empty());
    let first_run = functions.wire.calls();
    assert_eq!(
        first_run,
        ["GetItem", "UpdateItem", "UpdateItem"],
        "agent, claim, finish"
    );
    assert!(functions.deliver(&[&keyed_task], false).await.is_empty());
    let run = functions.wire.calls();
    assert_eq!(run, ["UpdateItem", "UpdateItem"]);

    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(status["status"], "SUCCESS");
    let poll = functions.wire.calls();
    assert_eq!(poll, ["GetItem"]);

    accepted(functions.trigger(Some("k")).await).await;
    let repeat = functions.wire.calls();
    assert_eq!(
        repeat,
        ["PutItem"],
        "the task has ended, so nothing is queued"
    );
    println!(
        "AWS calls: trigger {} (first of an agent {}), keyed {}, repeat {}, poll {}, run {} (first of an agent {})",
        plain.len(),
        cold.len(),
        keyed.len(),
        repeat.len(),
        poll.len(),
        run.len(),
        first_run.len()
    );
}

#[tokio::test]
async fn a_page_of_tasks_costs_a_query_for_each_list_and_one_batch_read_and_a_task_one_read() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    assert!(functions.deliver(&[&task], false).await.is_empty());
    functions.wire.calls();
    let cost = async |path: &str| {
        let request = client()
            .get(format!("{}{path}", functions.url))
            .bearer_auth("t");
        assert_eq!(request.send().await.unwrap().status(), 200, "{path}");
        functions.wire.calls()
    };
    let lists = ["Query"; 4];
    let of_one = format!("agent_id={}", functions.agent);
    assert_eq!(
        cost(&format!("/api/tasks?{of_one}")).await,
        [&lists[..], &["BatchGetItem"]].concat()
    );
    let of_all = [&["Scan"], &lists[..], &["BatchGetItem"]].concat();
    assert_eq!(cost("/api/tasks").await, of_all);
    assert_eq!(cost(&format!("/api/tasks/{task}")).await, ["GetItem"]);
    assert_eq!(cost("/api/stats").await, of_all);
    let price = cost(&format!("/api/stats?{of_one}")).await;
    assert_eq!(
        price,
        [&["GetItem"], &lists[..], &["BatchGetItem"]].concat(),
        "the agent's price is read"
    );
    assert_eq!(
        cost("/api/tasks?status=FAILURE").await,
        [&["Scan"], &lists[..]].concat(),
        "there is none"
    );
}

#[tokio::test]
async fn a_batch_returns_only_messages_to_redeliver() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Status(503, vec![])
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let functions = functions(&model).await;
    let transient = accepted(functions.trigger(None).await).await;
    assert_eq!(functions.deliver(&[&transient], false).await, ["message-0"]);
    // A second copy of the message does not shorten the pause.
    assert_eq!(functions.deliver(&[&transient], false).await, ["message-0"]);
    assert_eq!(model.asked().len(), 1);
    functions.time.forward(Duration::from_secs(1));
    let good = accepted(functions.trigger(None).await).await;
    let ended = good.clone();
    let again = functions
        .deliver(&["not a task id", &good, &transient], false)
        .await;
    assert!(again.is_empty(), "{again:?}");
    // Redelivered after its task has ended.
    assert!(
        functions
            .deliver(&[&ended, "018f3f3e-0000-7abc-8def-0123456789ab"], false)
            .await
            .is_empty()
    );
    assert_eq!(model.asked().len(), 3);
}

#[tokio::test]
async fn a_task_under_a_live_lease_is_not_run_until_the_lease_ends() {
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let functions = Arc::new(functions(&model).await);
    let task = accepted(functions.trigger(None).await).await;
    let (holder, held) = (Arc::clone(&functions), task.clone());
    let first = tokio::spawn(async move { holder.deliver(&[&held], false).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    functions.wire.calls();
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    assert_eq!(
        functions.wire.calls(),
        ["UpdateItem", "ChangeMessageVisibility"]
    );
    assert_eq!(
        functions.deliver(&[&task], true).await,
        ["message-0"],
        "the dead-letter queue waits as well"
    );
    first.abort();
}

#[tokio::test]
async fn a_dead_letter_ends_its_task_as_worker_lost() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    assert!(functions.deliver(&[&task], true).await.is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["error"]["type"]),
        (&json!("FAILURE"), &json!("worker_lost"))
    );
    assert!(
        functions.deliver(&[&task], false).await.is_empty(),
        "it ends only once"
    );
    assert!(model.asked().is_empty());
}

#[tokio::test]
async fn a_trigger_that_cannot_be_stored_or_queued_is_a_503_and_retrying_with_its_key_is_safe() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    for operation in ["PutItem", "SendMessage"] {
        functions.wire.refuse(operation, 0);
        let response = functions.trigger(Some(operation)).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let body: Value = response.json().await.unwrap();
        assert_eq!(
            (&body["success"], &body["code"]),
            (&json!(false), &json!("unavailable"))
        );
        assert_eq!(body["reference"].as_str().map(str::len), Some(16));
        assert!(!body.to_string().contains("broken"), "{body}");
        functions.wire.stop_refusing();
        functions.wire.calls();
        let task = accepted(functions.trigger(Some(operation)).await).await;
        assert!(functions.wire.calls().contains(&"SendMessage".to_owned()));
        assert!(functions.deliver(&[&task], false).await.is_empty());
        let status: Value = functions.status(&task).await.json().await.unwrap();
        assert_eq!(status["status"], "SUCCESS");
    }
    functions.wire.refuse("GetItem", 0);
    let status = functions
        .status("018f3f3e-0000-7abc-8def-0123456789ab")
        .await;
    assert_eq!(refused(status, 503).await.1, "unavailable");
}

#[tokio::test]
async fn a_result_that_cannot_be_recorded_is_retried_until_it_is() {
    let model = FakeModel::saying("x").await;
    let functions = Arc::new(functions(&model).await);
    let task = accepted(functions.trigger(None).await).await;
    // The claim succeeds. Recording the end fails for a while.
    functions.wire.refuse("UpdateItem", 1);
    let (runner, ran) = (Arc::clone(&functions), task.clone());
    let run = tokio::spawn(async move { runner.deliver(&[&ran], false).await });
    while functions
        .wire
        .calls()
        .iter()
        .filter(|call| *call == "UpdateItem")
        .count()
        < 1
        || model.asked().is_empty()
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    functions.wire.stop_refusing();
    assert!(run.await.unwrap().is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(status["status"], "SUCCESS");
    assert_eq!(model.asked().len(), 1, "the model was asked once");
}

#[tokio::test]
async fn an_expired_token_that_another_agent_imported_belongs_to_that_agent() {
    let model = FakeModel::saying("x").await;
    let functions = functions_at(&model, Time::long_ago()).await;
    let call = async |method: Method, path: &str, body: Value| {
        let request = client()
            .request(method, format!("{}/api/agents{path}", functions.url))
            .bearer_auth("t");
        let response = request.json(&body).send().await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        response.json::<Value>().await.unwrap_or_default()
    };
    let definition =
        json!({ "name": "a", "webhook_token": "3f2504e0-4f89-41d3-9a0c-0305e82c3301" });
    let first = call(Method::POST, "", definition.clone()).await;
    let path = format!("/{}", first["agent_id"].as_str().unwrap());
    call(
        Method::POST,
        &format!("{path}/webhook/rotate"),
        json!({ "overlap_seconds": 1 }),
    )
    .await;
    functions.time.forward(Duration::from_secs(2));
    functions.wire.engine.sweep().await;

    let second = call(Method::POST, "", definition).await;
    let trigger = async || {
        functions.time.forward(Duration::from_secs(1));
        let url = second["webhook_url"].as_str().unwrap();
        accepted(client().post(url).body("{}").send().await.unwrap()).await
    };
    call(Method::PATCH, &path, json!({ "name": "renamed" })).await;
    trigger().await;
    call(Method::DELETE, &path, json!({})).await;
    let status: Value = functions
        .status(&trigger().await)
        .await
        .json()
        .await
        .unwrap();
    assert_eq!(status["agent_id"], second["agent_id"]);
}
