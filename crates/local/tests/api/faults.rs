//! Every AWS call of a task's life, failing in every way, one at a time. A sane
//! caller retries with its key, the queue redelivers, and at the end there is one
//! task with one id that ended once, in SUCCESS.
//!
//! A call added to a flow is covered without a new line here: the calls are
//! counted, not named.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::functions::{Functions, functions};
use crate::support::wire::Fault;
use crate::support::{FakeModel, Reply, accepted};

/// The SDK tries a call this often: fewer faults in a row are its to mend.
const SDK_TRIES: usize = 3;
/// More than a task has calls, so that every one is reached.
const MOST_CALLS: usize = 16;
/// Longer than any lease here.
const LEASE: Duration = Duration::from_secs(70);

#[derive(Clone, Copy, Debug)]
struct Scenario {
    fault: Fault,
    before: usize,
    times: usize,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_call_fails_and_however_a_task_has_one_id_and_ends_once() {
    let kinds = [
        (Fault::Unreachable, 1),
        (Fault::Unreachable, SDK_TRIES),
        (Fault::Failed, 1),
        (Fault::Failed, SDK_TRIES),
        (Fault::Throttled, 1),
        (Fault::Throttled, SDK_TRIES),
        (Fault::AnswerLost, 1),
        (Fault::AnswerLost, SDK_TRIES),
        (Fault::DiedBefore, 1),
        (Fault::DiedAfter, 1),
    ];
    let scenarios = kinds
        .into_iter()
        .flat_map(|(fault, times)| (0..MOST_CALLS).map(move |before| Scenario { fault, before, times }));
    let reached: Vec<bool> = stream::iter(scenarios).map(live).buffer_unordered(24).collect().await;
    let explored = reached.iter().filter(|reached| **reached).count();
    assert!(explored >= 10 * kinds.len(), "only {explored} cases reached a call");
    println!("{explored} cases explored: each call of a task's life, failing in {} ways", kinds.len());
}

/// One task's life under one fault. Whether the fault was reached.
async fn live(scenario: Scenario) -> bool {
    // The first answer of the model is a passing fault, so that a release is part of the life.
    let model =
        FakeModel::start(|call, _| if call == 0 { Reply::Status(503, vec![]) } else { Reply::Text("x") })
            .await;
    let functions = functions(&model).await;
    functions.wire.arm(scenario.fault, scenario.before, scenario.times);

    let task = trigger(&functions, scenario).await;
    run_to_its_end(&functions, &task, scenario).await;
    let first = poll(&functions, &task, scenario).await;
    let reached = functions.wire.disarm();

    assert_eq!(first["status"], "SUCCESS", "{scenario:?}: {first}");
    let attempts = first["attempt"].as_u64().unwrap();
    let asked = model.asked().len() as u64;
    assert!((2..=attempts).contains(&asked), "{scenario:?}: {asked} runs in {attempts} attempts");
    assert_eq!(trigger(&functions, scenario).await, task, "{scenario:?}: another id");
    assert!(functions.deliver(&[&task], false).await.is_empty(), "{scenario:?}");
    assert!(functions.deliver(&[&task], true).await.is_empty(), "{scenario:?}");
    assert_eq!(poll(&functions, &task, scenario).await, first, "{scenario:?}: the end changed");
    assert_eq!(model.asked().len() as u64, asked, "{scenario:?}: it ran again");
    reached
}

/// As a sane caller does: with a key, until it is answered 200.
async fn trigger(functions: &Functions, scenario: Scenario) -> String {
    for _ in 0..5 {
        let answered = tokio::select! {
            response = functions.trigger(Some("k")) => Some(response),
            () = functions.wire.death() => None,
        };
        match answered {
            Some(response) if response.status() == StatusCode::OK => return accepted(response).await,
            Some(response) => {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{scenario:?}");
                let body: Value = response.json().await.unwrap();
                assert_eq!(body["code"], json!("unavailable"), "{scenario:?}: {body}");
            }
            None => {}
        }
    }
    panic!("{scenario:?}: never accepted")
}

/// As the queue does: hands the message out until it is done with.
async fn run_to_its_end(functions: &Functions, task: &str, scenario: Scenario) {
    let bodies = [task];
    for _ in 0..10 {
        let done = tokio::select! {
            again = functions.deliver(&bodies, false) => again.is_empty(),
            () = functions.wire.death() => false,
        };
        if done {
            return;
        }
        functions.time.forward(LEASE);
    }
    panic!("{scenario:?}: never done")
}

async fn poll(functions: &Functions, task: &str, scenario: Scenario) -> Value {
    for _ in 0..5 {
        let answered = tokio::select! {
            response = functions.status(task) => Some(response),
            () = functions.wire.death() => None,
        };
        match answered {
            Some(response) if response.status() == StatusCode::OK => return response.json().await.unwrap(),
            Some(response) => {
                assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{scenario:?}");
            }
            None => {}
        }
    }
    panic!("{scenario:?}: never answered")
}
