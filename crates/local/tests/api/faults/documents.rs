//! Uploads, searches and deletions whose calls fail, and the invariants of the
//! documents table at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use aws_smithy_types::base64;
use axum::http::Method;
use flate2::read::DeflateDecoder;
use serde_json::{Value, json};

use super::world::{Answer, World};
use crate::support::Agent;
use crate::support::functions::SMALL_ADMIN_TOKEN;

const TRIES: usize = 12;
const OLD: &str = "Each order is triaged within a day.";
const NEW: &str = "Each order is triaged within an hour.";

pub(super) async fn upload(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    put(world, &agent, "rules.txt", OLD).await;
    let task = world
        .trigger(&agent.url, None, r#"{"about":"order triage"}"#)
        .await;
    world.drain().await;
    answers_from(world, &task, &[OLD]).await;
}

pub(super) async fn replace(world: &World) {
    let agent = world.agent(json!({})).await;
    put(world, &agent, "rules.txt", OLD).await;
    let first = world
        .trigger(&agent.url, None, r#"{"about":"order triage"}"#)
        .await;
    world.drain().await;
    answers_from(world, &first, &[OLD]).await;
    world.faults_from_here();
    put(world, &agent, "rules.txt", NEW).await;
    let second = world
        .trigger(&agent.url, None, r#"{"about":"order triage"}"#)
        .await;
    // The runner may cache the agent, and read its old document, for ten seconds.
    world.drain().await;
    answers_from(world, &second, &[OLD, NEW]).await;
}

pub(super) async fn two(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    tokio::join!(
        put(world, &agent, "one.txt", "One order."),
        put(world, &agent, "two.txt", "Two orders.")
    );
    assert_eq!(listed(world, &agent).await, ["one.txt", "two.txt"]);
}

pub(super) async fn delete(world: &World) {
    let agent = world.agent(json!({})).await;
    let document = put(world, &agent, "rules.txt", OLD).await;
    put(world, &agent, "other.txt", "Another order.").await;
    world.faults_from_here();
    let path = format!(
        "/api/agents/{}/sources/{}",
        agent.id,
        document["id"].as_str().unwrap()
    );
    let deleted = world.manage(Method::DELETE, &path, &json!({})).await;
    let unclear = world.seen.lock().unwrap().unclear;
    assert!(
        deleted.status == 204 || deleted.status == 404 && unclear,
        "{deleted:?}"
    );
    assert_eq!(listed(world, &agent).await, ["other.txt"]);
}

pub(super) async fn delete_agent(world: &World) {
    let agent = world.agent(json!({})).await;
    put(world, &agent, "rules.txt", OLD).await;
    put(world, &agent, "other.txt", "Another order.").await;
    world.faults_from_here();
    let deleted = world
        .manage(
            Method::DELETE,
            &format!("/api/agents/{}", agent.id),
            &json!({}),
        )
        .await;
    let unclear = world.seen.lock().unwrap().unclear;
    assert!(
        deleted.status == 204 || deleted.status == 404 && unclear,
        "{deleted:?}"
    );
    assert!(
        world.items("documents").await.is_empty(),
        "its documents are gone"
    );
}

/// Uploads as an administrator does: repeats the upload until it is accepted.
async fn put(world: &World, agent: &Agent, source: &str, text: &str) -> Value {
    let headers = [
        ("authorization", format!("Bearer {SMALL_ADMIN_TOKEN}")),
        ("content-type", "text/plain".to_owned()),
    ];
    let path = format!("/api/agents/{}/sources?source={source}", agent.id);
    for _ in 0..TRIES {
        match world.send(Method::POST, &path, &headers, text).await {
            Some(Answer {
                status: 200 | 201,
                body,
            }) => return body,
            Some(answer) if answer.status == 503 || answer.status == 409 => {}
            None => {}
            Some(answer) => panic!("an upload: {answer:?}"),
        }
        world.seen.lock().unwrap().unclear = true;
    }
    panic!("an upload was never accepted")
}

async fn listed(world: &World, agent: &Agent) -> Vec<String> {
    let path = format!("/api/agents/{}/sources", agent.id);
    let all = world.manage(Method::GET, &path, &json!({})).await.body;
    let name = |document: &Value| document["source"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = all["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(name)
        .collect();
    names.sort();
    names
}

/// A successful run lists its source. A failed run is not checked.
async fn answers_from(world: &World, task: &str, texts: &[&str]) {
    let status = world.status(task).await.unwrap();
    if status["status"] == "SUCCESS" {
        let sources = status["result"]["result"]["sources"].as_array().unwrap();
        let text = sources
            .first()
            .and_then(|passage| passage["text"].as_str())
            .unwrap_or_default();
        assert!(sources.len() == 1 && texts.contains(&text), "{status}");
    }
}

/// Every document part of a record is stored, and every stored part is in a record.
pub(super) async fn are_whole(world: &World) {
    let there: BTreeSet<String> = world.items("documents").await.iter().map(id_of).collect();
    let (mut listed, mut named) = (BTreeMap::new(), BTreeSet::new());
    for agent in world
        .items("agents")
        .await
        .iter()
        .filter(|item| item.get("catalogue").is_some())
    {
        let (owner, catalogue) = (agent["agent_id"]["S"].as_str().unwrap(), catalogue(agent));
        for document in catalogue["documents"].as_array().unwrap() {
            listed.extend(
                parts(owner, &document["content"]).map(|part| (part, document["source"].clone())),
            );
        }
        for leftover in catalogue["leftovers"].as_array().into_iter().flatten() {
            named.extend(parts(owner, &leftover["content"]));
        }
    }
    for (part, source) in &listed {
        assert!(
            there.contains(part),
            "{source} has lost {part} of {there:?}"
        );
    }
    // A request that arrives after the end may store parts that no agent has.
    if !world.wire.plan.has_ghosts() {
        named.extend(listed.into_keys());
        assert!(
            there.is_subset(&named),
            "documents without an agent: {there:?} of {named:?}"
        );
    }
}

fn id_of(item: &Value) -> String {
    item["id"]["S"].as_str().unwrap().to_owned()
}

fn parts(owner: &str, content: &Value) -> impl Iterator<Item = String> {
    let (owner, name) = (
        owner.to_owned(),
        content["name"].as_str().unwrap().to_owned(),
    );
    (0..content["parts"].as_u64().unwrap()).map(move |part| format!("{owner}#{name}.{part}"))
}

/// The list of an agent's documents in its record.
fn catalogue(agent: &Value) -> Value {
    let packed = base64::decode(agent["catalogue"]["B"].as_str().unwrap()).unwrap();
    let mut json = packed[1..].to_vec();
    if packed[0] == 1 {
        json.clear();
        DeflateDecoder::new(&packed[1..])
            .read_to_end(&mut json)
            .unwrap();
    }
    serde_json::from_slice(&json).unwrap()
}
