//! Checks the invariants of docs/contributing/architecture.md at the end of a scenario:
//! in the tables, the queue, the responses to callers and the runs that the model saw.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::Method;
use domain::Moment;
use serde_json::{Value, json};

use super::documents;
use super::flows::Flow;
use super::provider::{Act, Run};
use super::world::{TaskSeen, World, millis};
use crate::support::plan::Fault;
use crate::support::string;

/// Longer than the leases, pauses and attempts of two faults together.
const LONGEST_LIFE: Duration = Duration::from_secs(3600);

/// `ends` is the state of the tasks when the queue was empty, `later` the state after
/// every message was redelivered and every delayed request arrived.
pub(crate) async fn all(world: &World, flow: &Flow, ends: &[TaskSeen], later: &[TaskSeen]) {
    assert_eq!(world.wire.sqs.next_visible(), None, "the queue is empty");
    for end in ends.iter().filter(|end| end.has_ended()) {
        assert!(
            later.contains(end),
            "an end changed: {end:?}\nlater {later:?}"
        );
    }
    for task in later {
        match task.has_ended() {
            true => ended_truly(world, flow, task),
            false => was_never_promised(world, task),
        }
    }
    if let [task] = later {
        no_attempt_was_wasted(world, flow, task);
    }
    a_key_of_a_tool_call_stands_for_one_call(world);
    accepted_tasks_exist_and_have_one_id_a_key(world, later);
    a_reported_end_is_final(world, later);
    agents_are_whole(world).await;
    audit_entries_are_unique(world).await;
    documents::are_whole(world).await;
}

fn ended_truly(world: &World, flow: &Flow, task: &TaskSeen) {
    let runs: Vec<Run> = world
        .provider
        .runs()
        .into_iter()
        .filter(|run| run.task == task.id)
        .collect();
    let seen = || format!("{}\nruns {runs:?}", task.status);
    let attempts = task.status["attempt"].as_u64().unwrap();
    assert!(
        attempts <= u64::from(flow.max_attempts),
        "too many attempts: {}",
        seen()
    );
    // After a refusal the model is asked once more in the same attempt.
    let asked: BTreeSet<(u64, usize, bool)> = runs
        .iter()
        .map(|run| (run.attempt, run.turn, run.act == Act::Refuse))
        .collect();
    assert_eq!(asked.len(), runs.len(), "an attempt ran twice: {}", seen());
    let by_attempt: BTreeSet<u64> = runs.iter().map(|run| run.attempt).collect();
    assert!(
        by_attempt.last().is_none_or(|last| *last <= attempts),
        "a run without an attempt: {}",
        seen()
    );
    assert!(
        runs.iter().all(|run| run.held),
        "a run that did not hold its task: {}",
        seen()
    );
    let paid = runs.iter().filter(|run| run.answer.is_some()).count();
    assert!(
        paid <= 1 + world.wire.plan.faults(),
        "the model was asked again without a reason: {}",
        seen()
    );
    assert!(
        runs.iter().all(|run| is_its_payload(world, task, run)),
        "another payload ran: {}",
        seen()
    );
    assert!(
        lived_for(task) <= LONGEST_LIFE,
        "it took {:?}: {}",
        lived_for(task),
        seen()
    );
    match task.status["status"] == "SUCCESS" {
        true => assert!(
            is_an_answer_given(task, &runs),
            "the model did not give this answer: {}",
            seen()
        ),
        false => {
            assert!(
                is_a_true_failure(world, flow, task, &runs),
                "this failure has no cause: {}",
                seen()
            )
        }
    }
}

/// A fault that the SDK's retry handles costs no attempt. Checked only in flows of
/// sequential calls, where it is known which call the SDK retried.
fn no_attempt_was_wasted(world: &World, flow: &Flow, task: &TaskSeen) {
    let agent_gone = task.status["error"]["type"] == "invalid_agent";
    if world.wire.plan.was_retried_by_the_sdk()
        && (flow.model)(0) != Act::AnswerSlowly
        && !agent_gone
    {
        let runs = world.provider.runs();
        let status = &task.status;
        let attempts: BTreeSet<u64> = runs.iter().map(|run| run.attempt).collect();
        assert_eq!(
            status["attempt"],
            attempts.len(),
            "an attempt was wasted: {status}\nruns {runs:?}"
        );
    }
}

/// A worker that repeats a call sends the same arguments, so that the server can detect
/// it. It cannot get them from the model, which asks for something else each time.
fn a_key_of_a_tool_call_stands_for_one_call(world: &World) {
    let mut by_key = BTreeMap::new();
    for call in world.provider.tool_calls() {
        let first = by_key
            .entry(call.key.clone())
            .or_insert_with(|| call.arguments.clone());
        assert_eq!(
            *first, call.arguments,
            "two calls under the key {}",
            call.key
        );
    }
}

/// The payload must be that of the first trigger, not of a repeat of the key.
fn is_its_payload(world: &World, task: &TaskSeen, run: &Run) -> bool {
    let seen = world.seen.lock().unwrap();
    match seen
        .accepted
        .iter()
        .find(|accepted| accepted.task == task.id)
    {
        Some(accepted) => accepted.payload == run.payload,
        None => seen.payloads.contains(&run.payload),
    }
}

fn lived_for(task: &TaskSeen) -> Duration {
    let moment = |name: &str| millis(&task.item[name]).unwrap();
    moment("finished_at").since(moment("created_at"))
}

fn is_an_answer_given(task: &TaskSeen, runs: &[Run]) -> bool {
    let answer = task.status["result"]["result"]["answer"].as_str();
    answer.is_some() && runs.iter().any(|run| run.answer.as_deref() == answer)
}

fn is_a_true_failure(world: &World, flow: &Flow, task: &TaskSeen, runs: &[Run]) -> bool {
    let kind = task.status["error"]["type"].as_str().unwrap();
    let killed = |run: &Run| run.act == Act::Kill || run.fault.is_some_and(is_death);
    let never_answered = |run: &Run| matches!(run.fault, Some(Fault::Stalled | Fault::Late));
    let refused = |run: &Run| run.fault.is_some() || run.act == Act::Busy;
    match kind {
        "timeout" => {
            // A slow secret store leaves the model no time.
            runs.iter().any(never_answered) || world.has_short_limit() && world.wire.plan.stalls()
        }
        // Or its runner died before it could call the model.
        "worker_lost" => {
            flow.ends.contains(&kind) && (runs.iter().any(killed) || world.wire.plan.faults() > 0)
        }
        // No attempt is left, or no time for another one.
        "model_error" => {
            let out_of_attempts = task.status["attempt"] == flow.max_attempts;
            runs.last().is_some_and(refused) && (out_of_attempts || world.has_short_limit())
        }
        _ => flow.ends.contains(&kind),
    }
}

fn is_death(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::DiedBefore | Fault::DiedAfter | Fault::DiedInFlight(_)
    )
}

/// A task that has not ended was never accepted or queued: its caller got an error,
/// retried, and got another id.
fn was_never_promised(world: &World, task: &TaskSeen) {
    let seen = world.seen.lock().unwrap();
    assert!(
        !seen
            .accepted
            .iter()
            .any(|accepted| accepted.task == task.id),
        "accepted, and never ended: {task:?}"
    );
    assert!(
        !world.wire.sqs.was_sent(&task.id),
        "sent, and never ended: {task:?}"
    );
}

fn accepted_tasks_exist_and_have_one_id_a_key(world: &World, tasks: &[TaskSeen]) {
    let seen = world.seen.lock().unwrap();
    let mut by_key = BTreeMap::new();
    for accepted in &seen.accepted {
        assert!(
            tasks.iter().any(|task| task.id == accepted.task),
            "lost: {accepted:?}"
        );
        if let Some(key) = &accepted.key {
            let first = by_key.entry(key).or_insert(&accepted.task);
            assert_eq!(*first, &accepted.task, "two ids of the key {key}");
        }
    }
}

/// An end that a caller saw is the end that is stored.
fn a_reported_end_is_final(world: &World, tasks: &[TaskSeen]) {
    for (id, reported) in &world.seen.lock().unwrap().statuses {
        let stands = tasks.iter().find(|task| task.id == *id);
        if reported["status"] == "SUCCESS" || reported["status"] == "FAILURE" {
            assert_eq!(
                stands.map(|task| &task.status),
                Some(reported),
                "a reported end changed"
            );
        }
    }
}

/// The audit log can be read, and a lost response did not store an entry twice.
async fn audit_entries_are_unique(world: &World) {
    let page = world
        .manage(Method::GET, "/api/audit?limit=100", &json!({}))
        .await
        .body;
    let entries = page["entries"].as_array().unwrap();
    let ids: BTreeSet<String> = entries.iter().map(|entry| string(&entry["id"])).collect();
    assert_eq!(ids.len(), entries.len(), "an entry twice: {entries:?}");
}

/// Every agent has its tokens and secrets; every token and secret has its agent.
async fn agents_are_whole(world: &World) {
    let now = world.time.clock().now();
    let items = world.items("agents").await;
    let named = |prefix: &'static str| {
        items
            .iter()
            .filter(move |item| id_of(item).starts_with(prefix))
    };
    let mut wanted: BTreeMap<String, (String, Option<Moment>)> = BTreeMap::new();
    for agent in named("agent#") {
        let owner = attribute(agent, "agent_id");
        wanted.insert(attribute(agent, "hash"), (owner.clone(), None));
        for previous in agent["previous"]["L"].as_array().unwrap() {
            let until = millis(&previous["M"]["until"]);
            wanted.insert(attribute(&previous["M"], "hash"), (owner.clone(), until));
        }
    }
    for token in named("token#") {
        let (owner, until) = (attribute(token, "agent_id"), millis(&token["until"]));
        let expired = until.is_some_and(|until| until <= now);
        let entry = wanted.remove(&attribute(token, "hash"));
        assert!(
            expired || entry == Some((owner, until)),
            "a token without an agent: {token}\n{entry:?}"
        );
    }
    assert!(wanted.is_empty(), "agents without their tokens: {wanted:?}");
    secrets_are_whole(world).await;
}

async fn secrets_are_whole(world: &World) {
    let unclear = world.seen.lock().unwrap().unclear;
    let listed = world
        .manage(Method::GET, "/api/agents", &json!({}))
        .await
        .body;
    let mut wanted = BTreeSet::new();
    for agent in listed["agents"].as_array().unwrap() {
        wanted.extend(
            agent["model"]["api_key"]["secret"]
                .as_str()
                .map(|name| format!("test/{name}")),
        );
    }
    let named: BTreeSet<String> = world
        .items("agents")
        .await
        .iter()
        .filter(|item| id_of(item).starts_with("secret#"))
        .map(|item| format!("test/{}", attribute(item, "name")))
        .collect();
    for agent in world
        .items("agents")
        .await
        .iter()
        .filter(|item| item["imported"]["BOOL"] == true)
    {
        wanted.insert(format!(
            "test/agents/{}/webhook-token",
            attribute(agent, "agent_id")
        ));
    }
    let stored: BTreeSet<String> = world.wire.secrets.names().into_iter().collect();
    assert!(
        wanted.is_subset(&stored),
        "missing secrets: {wanted:?} of {stored:?}"
    );
    // After a change with an unclear outcome, secrets may remain.
    let own = |name: &&String| !named.contains(*name);
    assert!(
        unclear || wanted.iter().filter(own).eq(stored.iter().filter(own)),
        "secrets without an agent: {stored:?}"
    );
    let foreign = stored
        .iter()
        .filter(|name| !name.starts_with("test/agents/"));
    for name in foreign {
        assert!(
            named.contains(name),
            "stored without its name record: {name} of {named:?}"
        );
    }
}

fn id_of(item: &Value) -> &str {
    item["id"]["S"].as_str().unwrap()
}

fn attribute(item: &Value, name: &str) -> String {
    item[name]["S"].as_str().unwrap().to_owned()
}
