//! A task that ends its worker ends the attempts of other tasks once, and not again. These
//! tests end the worker themselves, because no payload is known that does it.

use std::collections::BTreeSet;
use std::pin::pin;
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Handle, Runtime};
use tokio::task::block_in_place;

use crate::kill::{Killable, agent, ended, serve};
use crate::support::functions::{Functions, functions_of};
use crate::support::sqs::{LIVE, Received};
use crate::support::{FakeModel, Reply, accepted, client};

/// Long enough for runs that start together to overlap.
const RUN: Duration = Duration::from_millis(300);
const INVOCATION: Duration = Duration::from_secs(900);
/// A run may take 240 s. This is long enough only if it starts immediately.
const SHORT_INVOCATION: Duration = Duration::from_secs(243);
const WORKER_LOST: &str = "worker_lost";

/// The runs that were in progress together, by their payloads.
#[derive(Clone, Default)]
struct Runs(Arc<Mutex<Meetings>>);

#[derive(Default)]
struct Meetings {
    in_progress: Vec<String>,
    all: Vec<(String, BTreeSet<String>)>,
}

impl Runs {
    /// Replies after `RUN`.
    fn reply(&self, payload: &str) -> Reply {
        self.reply_after(payload, RUN)
    }

    fn reply_after(&self, payload: &str, duration: Duration) -> Reply {
        self.begin(payload);
        block_in_place(|| Handle::current().block_on(tokio::time::sleep(duration)));
        self.0
            .lock()
            .unwrap()
            .in_progress
            .retain(|other| other != payload);
        Reply::Text("x")
    }

    fn begin(&self, payload: &str) {
        let mut meetings = self.0.lock().unwrap();
        let others: BTreeSet<String> = meetings.in_progress.iter().cloned().collect();
        for other in &others {
            let met = meetings
                .all
                .iter_mut()
                .rev()
                .find(|(run, _)| run == other)
                .unwrap();
            met.1.insert(payload.to_owned());
        }
        meetings.in_progress.push(payload.to_owned());
        meetings.all.push((payload.to_owned(), others));
    }

    /// The payloads of all runs, in the order in which they began.
    fn order(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap()
            .all
            .iter()
            .map(|(run, _)| run.clone())
            .collect()
    }

    /// For each run of this payload, the runs that overlapped with it.
    fn met_by(&self, payload: &str) -> Vec<BTreeSet<String>> {
        let meetings = self.0.lock().unwrap();
        meetings
            .all
            .iter()
            .filter(|(run, _)| run == payload)
            .map(|(_, met)| met.clone())
            .collect()
    }
}

async fn trigger(url: &str, path: &str, payload: u64) -> String {
    let request = client()
        .post(format!("{url}{path}"))
        .body(payload.to_string());
    accepted(request.send().await.unwrap()).await
}

fn serve_with_attempts(folder: &TempDir, max_attempts: u32) -> Command {
    let mut command = serve(folder.path());
    command.env("AGENT_WEBHOOKS_MAX_ATTEMPTS", max_attempts.to_string());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_lost_their_worker_run_alone_after_the_restart_and_new_tasks_run_as_well() {
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start_with(&mut serve(folder.path()));
    let runs = Runs::default();
    let seen = runs.clone();
    let model = FakeModel::start(move |call, asked| match call {
        0..3 => Reply::Never,
        _ => seen.reply(asked.user()),
    })
    .await;
    let mut lost = Vec::new();
    for payload in 1..=3 {
        let path = agent(&server.url, &model).await;
        lost.push(trigger(&server.url, &path, payload).await);
    }
    let path = agent(&server.url, &model).await;
    model.asked_at_least(3).await;
    server.kill();

    let restarted = Killable::start_with(&mut serve(folder.path()));
    let mut new = Vec::new();
    for payload in 10..16 {
        new.push(trigger(&restarted.url, &path, payload).await);
    }
    for (tasks, attempt) in [(&lost, 2), (&new, 1)] {
        for task in tasks {
            let ended = ended(&restarted.url, task).await;
            assert_eq!(
                (&ended["status"], &ended["attempt"]),
                (&json!("SUCCESS"), &json!(attempt)),
                "{ended}"
            );
        }
    }
    for payload in 1..=3 {
        assert_eq!(
            runs.met_by(&payload.to_string()),
            [BTreeSet::new()],
            "task {payload} ran beside others"
        );
    }
    // Afterwards, tasks run concurrently again.
    assert!((10..16).any(|payload| !runs.met_by(&payload.to_string())[0].is_empty()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_always_ends_its_worker_ends_attempts_of_others_once() {
    const KILLER: u64 = 1;
    const MAX_ATTEMPTS: u32 = 3;
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start_with(&mut serve_with_attempts(&folder, MAX_ATTEMPTS));
    let runs = Runs::default();
    let (seen, killer) = (runs.clone(), KILLER.to_string());
    let model = FakeModel::start(move |call, asked| match asked.user() {
        payload if payload == killer => Reply::Never,
        payload if call < 2 => {
            seen.begin(payload);
            Reply::Never
        }
        payload => seen.reply(payload),
    })
    .await;
    let killed_by = |model: &FakeModel| {
        model
            .asked()
            .iter()
            .filter(|asked| asked.user() == "1")
            .count()
    };
    let (mut others, mut new) = (Vec::new(), Vec::new());
    for payload in 2..=3 {
        let path = agent(&server.url, &model).await;
        others.push(trigger(&server.url, &path, payload).await);
    }
    model.asked_at_least(2).await;
    let path = agent(&server.url, &model).await;
    let killers_path = agent(&server.url, &model).await;
    let killer = trigger(&server.url, &killers_path, KILLER).await;
    for attempt in 1..=MAX_ATTEMPTS {
        while killed_by(&model) < attempt as usize {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        server.kill();
        server = Killable::start_with(&mut serve_with_attempts(&folder, MAX_ATTEMPTS));
        new.push(trigger(&server.url, &path, 10 + u64::from(attempt)).await);
    }
    let end = ended(&server.url, &killer).await;
    assert_eq!(
        (&end["error"]["type"], &end["attempt"]),
        (&json!(WORKER_LOST), &json!(MAX_ATTEMPTS)),
        "{end}"
    );
    for (tasks, attempt) in [(&others, 2), (&new, 1)] {
        for task in tasks {
            let ended = ended(&server.url, task).await;
            assert_eq!(
                (&ended["status"], &ended["attempt"]),
                (&json!("SUCCESS"), &json!(attempt)),
                "{ended}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_stops_in_time_while_tasks_wait_for_a_task_that_runs_alone() {
    let folder = TempDir::new().unwrap();
    let mut server = Killable::start_with(&mut serve(folder.path()));
    let model = FakeModel::start(|_, _| Reply::Never).await;
    let path = agent(&server.url, &model).await;
    trigger(&server.url, &path, 1).await;
    model.asked_at_least(1).await;
    server.kill();
    let mut restarted = Killable::start_with(&mut serve(folder.path()));
    model.asked_at_least(2).await;
    trigger(&restarted.url, &path, 2).await;
    // It has been received and waits.
    tokio::time::sleep(RUN).await;
    let asked_to_stop = Instant::now();
    kill_process(Pid::from_child(&restarted.process), Signal::TERM).unwrap();
    let process = &mut restarted.process;
    let status = block_in_place(|| process.wait().unwrap());
    assert!(status.success() && asked_to_stop.elapsed() < Duration::from_secs(13));
    assert_eq!(
        model.asked().len(),
        2,
        "a run was started only to be interrupted"
    );
}

/// Four tasks and the batch of their messages. The worker of the first two died.
async fn lose_two_of_four(
    functions: &Functions,
    model: &FakeModel,
) -> (Vec<String>, Vec<Received>) {
    let mut tasks = Vec::new();
    for _ in 0..2 {
        tasks.push(accepted(functions.trigger(None).await).await);
    }
    {
        let mut invocation = pin!(functions.receive_and_run(INVOCATION));
        tokio::select! {
            _ = &mut invocation => panic!("the model never answers"),
            () = model.asked_at_least(2) => {}
        }
    }
    functions.time.forward(INVOCATION + Duration::from_secs(10));
    for _ in 0..2 {
        tasks.push(accepted(functions.trigger(None).await).await);
    }
    let batch = functions.wire.sqs.receive(LIVE, 10);
    assert_eq!(
        batch
            .iter()
            .map(|message| &message.body)
            .collect::<Vec<_>>(),
        tasks.iter().collect::<Vec<_>>()
    );
    (tasks, batch)
}

/// Runs these messages in an invocation that is killed at its `call`th call to the model.
async fn lose_at_call(functions: &Functions, model: &FakeModel, batch: &[Received], call: usize) {
    let mut invocation = pin!(functions.run_received(batch, INVOCATION));
    tokio::select! {
        () = &mut invocation => panic!("the model never answers"),
        () = model.asked_at_least(call) => {}
    }
}

/// Runs every batch to the end, and returns how many there were.
async fn run_all(functions: &Functions) -> usize {
    let mut batches = 0;
    loop {
        let pause = functions.until_next_message();
        assert!(
            pause <= Duration::from_secs(15),
            "a task is put off for {pause:?}"
        );
        functions.time.forward(pause);
        if functions.receive_and_run(INVOCATION).await == 0 {
            return batches;
        }
        batches += 1;
    }
}

async fn assert_ended(functions: &Functions, tasks: &[String], attempts: &[u64]) {
    for (task, attempt) in tasks.iter().zip(attempts) {
        let status: Value = functions.status(task).await.json().await.unwrap();
        assert_eq!(
            (&status["status"], &status["attempt"]),
            (&json!("SUCCESS"), &json!(attempt)),
            "{status}"
        );
    }
}

/// The prompt contains the task's id. As on Lambda, there is one thread. The model has separate ones.
async fn functions_and_model(runs: &Runs) -> (Functions, FakeModel) {
    functions_and_model_with(runs, |_| Some(RUN)).await
}

/// After the first two calls, a call to the model takes this long, or never ends.
async fn functions_and_model_with(
    runs: &Runs,
    duration: impl Fn(usize) -> Option<Duration> + Send + Sync + 'static,
) -> (Functions, FakeModel) {
    static MODELS: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
    let seen = runs.clone();
    let model = FakeModel::start(move |call, asked| match duration(call) {
        Some(duration) if call >= 2 => seen.reply_after(asked.system(), duration),
        _ => Reply::Never,
    });
    let model = MODELS.spawn(model).await.unwrap();
    let functions = functions_of(&model, json!({ "prompt": "{{ task_id }}" })).await;
    (functions, model)
}

#[tokio::test]
async fn in_a_batch_a_task_that_lost_its_worker_runs_after_the_others_and_a_second_one_is_redelivered()
 {
    let runs = Runs::default();
    let (functions, model) = functions_and_model(&runs).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions.run_received(&batch, INVOCATION).await;
    let order = runs.order();
    assert_eq!(
        order.len(),
        3,
        "the second one does not run, because the rest of the invocation is too short"
    );
    assert!(tasks[..2].contains(&order[2]), "the others run first");
    assert_eq!(run_all(&functions).await, 1);
    assert_ended(&functions, &tasks, &[2, 2, 1, 1]).await;
    for lost in &tasks[..2] {
        assert_eq!(runs.met_by(lost), [BTreeSet::new()], "it ran beside others");
    }
    assert_eq!(
        runs.met_by(&tasks[2]),
        [BTreeSet::from([tasks[3].clone()])],
        "others run side by side"
    );
}

#[tokio::test]
async fn a_task_that_must_run_alone_is_redelivered_when_the_invocation_has_too_little_time_left() {
    let runs = Runs::default();
    let (functions, model) = functions_and_model(&runs).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions.run_received(&batch, SHORT_INVOCATION).await;
    assert_ended(&functions, &tasks[2..], &[1, 1]).await;
    let pause = functions.until_next_message();
    assert!((1..=15).contains(&pause.as_secs()), "{pause:?}");
    for lost in &tasks[..2] {
        assert_eq!(runs.met_by(lost).len(), 0, "it was not put off");
        let status: Value = functions.status(lost).await.json().await.unwrap();
        assert_eq!(
            (&status["status"], &status["attempt"]),
            (&json!("PENDING"), &json!(1)),
            "{status}"
        );
    }
    run_all(&functions).await;
    assert_ended(&functions, &tasks, &[2, 2, 1, 1]).await;
    for lost in &tasks[..2] {
        assert_eq!(runs.met_by(lost), [BTreeSet::new()], "it ran beside others");
    }
}

/// Sets the receive count of a message that was redelivered many times.
fn received_ten_times(mut batch: Vec<Received>) -> Vec<Received> {
    batch.iter_mut().for_each(|message| message.receives = 10);
    batch
}

/// Otherwise it would never run, because others are always in its batch.
#[tokio::test]
async fn a_task_that_must_run_alone_runs_before_its_batch_at_every_tenth_receive() {
    let runs = Runs::default();
    let (functions, model) = functions_and_model(&runs).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions
        .run_received(&received_ten_times(batch), SHORT_INVOCATION)
        .await;
    assert_eq!(
        runs.order().len(),
        3,
        "one runs first, and the second one is redelivered"
    );
    assert_eq!(runs.order()[0], tasks[0]);
    assert_eq!(
        runs.met_by(&tasks[0]),
        [BTreeSet::new()],
        "it ran beside others"
    );
    assert_ended(&functions, &tasks[2..], &[1, 1]).await;
    assert_ended(&functions, &tasks[..1], &[2]).await;
}

#[tokio::test]
async fn the_others_of_a_batch_are_redelivered_if_the_first_task_runs_for_long() {
    const LONG_RUN: Duration = Duration::from_secs(3);
    let runs = Runs::default();
    let duration = |call| Some(if call == 2 { LONG_RUN } else { RUN });
    let (functions, model) = functions_and_model_with(&runs, duration).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions
        .run_received(&received_ten_times(batch), SHORT_INVOCATION)
        .await;
    assert_eq!(runs.order(), tasks[..1]);
    let pause = functions.until_next_message();
    assert!((1..=15).contains(&pause.as_secs()), "{pause:?}");
    run_all(&functions).await;
    assert_ended(&functions, &tasks, &[2, 2, 1, 1]).await;
}

#[tokio::test]
async fn the_task_of_a_dead_letter_ends_while_another_one_runs_alone() {
    let (functions, model) = functions_and_model(&Runs::default()).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    let dead_letter = async {
        model.asked_at_least(3).await;
        functions.deliver(&[&tasks[1]], true).await;
        let running: Value = functions.status(&tasks[0]).await.json().await.unwrap();
        assert_eq!(
            running["status"], "STARTED",
            "the dead letter waited: {running}"
        );
        let ended: Value = functions.status(&tasks[1]).await.json().await.unwrap();
        assert_eq!(ended["error"]["type"], WORKER_LOST, "{ended}");
    };
    tokio::join!(functions.run_received(&batch[..1], INVOCATION), dead_letter);
}

#[tokio::test]
async fn the_time_of_an_earlier_wait_does_not_count_for_a_later_one() {
    let runs = Runs::default();
    // The fifth call is the second attempt of a task that lost its worker.
    let (functions, model) =
        functions_and_model_with(&runs, |call| (call != 4).then_some(RUN)).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions.run_received(&batch, SHORT_INVOCATION).await;
    functions.time.forward(Duration::from_secs(15));
    let again = functions.wire.sqs.receive(LIVE, 1);
    lose_at_call(&functions, &model, &again, 5).await;
    functions.time.forward(Duration::from_secs(24 * 3600));
    functions.trigger(None).await;
    functions
        .run_received(&functions.wire.sqs.receive(LIVE, 10), SHORT_INVOCATION)
        .await;
    let waits: Value = functions.status(&again[0].body).await.json().await.unwrap();
    assert_eq!(
        (&waits["status"], &waits["attempt"]),
        (&json!("PENDING"), &json!(2)),
        "{waits}"
    );
    assert!(tasks.contains(&again[0].body));
}

#[tokio::test]
async fn a_task_that_cannot_run_alone_for_a_day_ends_as_worker_lost() {
    let (functions, model) = functions_and_model(&Runs::default()).await;
    let (tasks, batch) = lose_two_of_four(&functions, &model).await;
    functions.run_received(&batch, SHORT_INVOCATION).await;
    functions.time.forward(Duration::from_secs(24 * 3600));
    // Other tasks are in the batch again.
    for _ in 0..2 {
        functions.trigger(None).await;
    }
    functions.receive_and_run(SHORT_INVOCATION).await;
    for task in &tasks[..2] {
        let ended: Value = functions.status(task).await.json().await.unwrap();
        assert_eq!(
            (&ended["error"]["type"], &ended["attempt"]),
            (&json!(WORKER_LOST), &json!(1)),
            "{ended}"
        );
        let says = "The task lost its worker and waited 24 hours to run again alone";
        assert_eq!(ended["error"]["message"], says, "{ended}");
    }
}
