//! Times: exact to the millisecond on one clock, and correct on functions whose clocks
//! are 5 s ahead or behind.

use std::sync::Arc;
use std::time::Duration;

use api::task_status::{self, Statuses};
use domain::{Moment, TaskId};
use reqwest::Method;
use runner::{AccessTokens, Delivery, Models, PrivateHosts, RunGate, Runner, run_batch};
use serde_json::{Value, json};
use store::Clock;

use crate::support::functions::{Functions, functions_at};
use crate::support::{FakeModel, Reply, Time, accepted, client, refused, string};

const SKEW: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(24 * 3600);
const INSTANT: Duration = Duration::from_millis(1);

fn ahead(time: &Time) -> Clock {
    let clock = time.clock();
    Clock::new(move || clock.now().plus(SKEW))
}

fn behind(time: &Time) -> Clock {
    let clock = time.clock();
    Clock::new(move || clock.now().minus(SKEW))
}

/// Another instance of the agent function, with its own clock.
fn runner_with(functions: &Functions, clock: Clock) -> Arc<Runner> {
    Arc::new(Runner {
        subprocesses: functions.runner.subprocesses.clone(),
        tasks: functions.runner.tasks.clone(),
        agents: Arc::clone(&functions.runner.agents),
        secrets: Arc::clone(&functions.runner.secrets),
        sources: Arc::clone(&functions.runner.sources),
        models: Models::new(PrivateHosts::any()).unwrap(),
        access_tokens: AccessTokens::default(),
        gate: RunGate::default(),
        settings: functions.runner.settings.clone(),
        clock,
    })
}

/// An invocation that may take a minute by its own clock. Returns whether the message is acknowledged.
async fn invoke(functions: &Functions, runner: &Arc<Runner>, task: &str) -> bool {
    let delivery = Delivery {
        message_id: "m".to_owned(),
        receipt: "r".to_owned(),
        task: TaskId::parse(task).unwrap(),
        agent: Some(functions.agent),
        receives: 1,
        dead_lettered: false,
    };
    let deadline = runner.clock.now().plus(Duration::from_secs(60));
    run_batch(runner, &functions.queue, vec![delivery], deadline)
        .await
        .is_empty()
}

async fn status(functions: &Functions, task: &str) -> Value {
    functions.status(task).await.json().await.unwrap()
}

#[tokio::test]
async fn a_lease_ends_after_its_runner_if_their_clocks_are_ten_seconds_apart() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Never
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let time = Time::long_ago();
    let functions = Arc::new(functions_at(&model, time.clone()).await);
    let (slow, fast) = (
        runner_with(&functions, behind(&time)),
        runner_with(&functions, ahead(&time)),
    );
    let task = accepted(functions.trigger(None).await).await;
    let (held_by, held) = (Arc::clone(&functions), task.clone());
    let first = tokio::spawn(async move { invoke(&held_by, &slow, &held).await });
    while model.asked().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The first invocation lives until its deadline, 60 s from its start.
    time.forward(Duration::from_secs(60) - INSTANT);
    assert!(
        !invoke(&functions, &fast, &task).await,
        "its runner may still be alive"
    );
    assert_eq!(model.asked().len(), 1);
    time.forward(INSTANT);
    assert!(invoke(&functions, &fast, &task).await);
    assert_eq!(status(&functions, &task).await["status"], "SUCCESS");
    first.abort();
}

#[tokio::test]
async fn the_times_of_a_task_are_in_order_if_clocks_differ() {
    let model = FakeModel::start(|call, _| {
        if call == 0 {
            Reply::Status(503, vec![])
        } else {
            Reply::Text("x")
        }
    })
    .await;
    let time = Time::long_ago();
    let functions = functions_at(&model, time.clone()).await;
    let (slow, fast) = (
        runner_with(&functions, behind(&time)),
        runner_with(&functions, ahead(&time)),
    );
    let order = |status: &Value| {
        let times = ["created_at", "started_at", "finished_at"].map(|name| string(&status[name]));
        assert!(times.is_sorted(), "{status}");
    };

    let by_a_slow_clock = accepted(functions.trigger(None).await).await;
    assert!(
        !invoke(&functions, &slow, &by_a_slow_clock).await,
        "a transient error"
    );
    time.forward(Duration::from_secs(1));
    assert!(invoke(&functions, &slow, &by_a_slow_clock).await);
    order(&status(&functions, &by_a_slow_clock).await);

    let begun_by_a_fast_clock = accepted(functions.trigger(None).await).await;
    assert!(invoke(&functions, &fast, &begun_by_a_fast_clock).await);
    order(&status(&functions, &begun_by_a_fast_clock).await);
}

#[tokio::test]
async fn a_key_returns_its_task_for_24_hours_to_the_millisecond() {
    let model = FakeModel::saying("x").await;
    let functions = functions_at(&model, Time::long_ago()).await;
    let first = accepted(functions.trigger(Some("k")).await).await;
    assert!(functions.deliver(&[&first], false).await.is_empty());
    functions.time.forward(DAY - INSTANT);
    assert_eq!(accepted(functions.trigger(Some("k")).await).await, first);
    functions.time.forward(INSTANT);
    assert_ne!(accepted(functions.trigger(Some("k")).await).await, first);
}

#[tokio::test]
async fn a_result_can_be_read_until_it_expires_by_the_clock_of_the_reader() {
    let model = FakeModel::saying("x").await;
    let time = Time::long_ago();
    let functions = functions_at(&model, time.clone()).await;
    let task = accepted(functions.trigger(None).await).await;
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let read = async |clock: Clock| {
        let tasks = functions.runner.tasks.clone();
        let url = serve(task_status::router(Statuses { tasks, clock })).await;
        client()
            .get(format!("{url}/api/task_status?task_id={task}"))
            .send()
            .await
            .unwrap()
    };
    time.forward(DAY - INSTANT);
    assert_eq!(read(time.clock()).await.status(), 200);
    refused(read(ahead(&time)).await, 404).await;
    time.forward(INSTANT);
    refused(read(time.clock()).await, 404).await;
    assert_eq!(
        read(behind(&time)).await.status(),
        200,
        "never for less than it should be"
    );
}

#[tokio::test]
async fn a_rotated_url_works_for_its_overlap_to_the_millisecond() {
    let model = FakeModel::saying("x").await;
    let functions = functions_at(&model, Time::long_ago()).await;
    let url = format!(
        "{}/api/agents/{}/webhook/rotate",
        functions.url, functions.agent
    );
    let rotate = client().request(Method::POST, url).bearer_auth("t");
    let rotated = rotate
        .json(&json!({ "overlap_seconds": 60 }))
        .send()
        .await
        .unwrap();
    let new = string(&rotated.json::<Value>().await.unwrap()["webhook_url"]);
    functions.time.forward(Duration::from_secs(60) - INSTANT);
    accepted(functions.trigger(None).await).await;
    functions.time.forward(INSTANT);
    refused(functions.trigger(None).await, 404).await;
    accepted(client().post(new).body("{}").send().await.unwrap()).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_ends_no_lease_and_loses_no_task() {
    let model = FakeModel::saying("x").await;
    let time = Time::long_ago();
    let functions = functions_at(&model, time.clone()).await;
    let task = accepted(functions.trigger(Some("k")).await).await;
    let hour_back = Clock::new(|| Moment::from_millis(0));
    let early = runner_with(&functions, hour_back);
    assert!(invoke(&functions, &early, &task).await);
    assert_eq!(accepted(functions.trigger(Some("k")).await).await, task);
    assert_eq!(status(&functions, &task).await["status"], "SUCCESS");
}

async fn serve(routes: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    url
}
