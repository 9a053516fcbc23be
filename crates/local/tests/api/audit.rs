//! The audit log: a change or a refused attempt leaves a log line and an entry.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use reqwest::header::COOKIE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use store::aws::Aws;
use store::{AuditStream, create_tables};
use tower::ServiceExt as _;

use crate::support::functions::{Process, SMALL_ADMIN_TOKEN, functions};
use crate::support::others::Site;
use crate::support::wire::Wire;
use crate::support::{
    ADMIN_TOKEN, Agent, FakeModel, Time, World, client, redaction, refused, string,
};

const RETENTION: Duration = Duration::from_secs(90 * 24 * 3600);
/// Entries per minute for the attempts of one address. One more counts the omitted attempts.
const STORED_EACH: usize = 3;
const CHANGES: [&str; 10] = [
    "agent_created",
    "agent_updated",
    "agent_disabled",
    "agent_enabled",
    "webhook_rotated",
    "secret_put",
    "document_added",
    "document_deleted",
    "secret_deleted",
    "agent_deleted",
];
const OMITTED: &str = "attempts_omitted";

impl World {
    /// A page of the audit log.
    async fn audit_page(&self, query: &str) -> Value {
        let answer = self
            .manage(Method::GET, &format!("/api/audit{query}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        answer.json().await.unwrap()
    }

    /// Up to 100 entries, oldest first.
    async fn audit(&self) -> Vec<Value> {
        let page = self.audit_page("?limit=100").await;
        assert_eq!(page["next_cursor"], Value::Null, "more than a page");
        page["entries"]
            .as_array()
            .unwrap()
            .iter()
            .rev()
            .cloned()
            .collect()
    }

    async fn change(&self, method: Method, path: &str, body: Value) -> StatusCode {
        self.manage(method, path)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
    }
}

/// The lines of this process's log that belong to an entry.
fn lines_of(entry: &Value) -> Vec<Value> {
    let id = entry["id"].as_str().unwrap();
    let log = redaction::logged_text();
    let lines = log.lines().filter(|line| line.contains(id));
    lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .collect()
}

/// There is exactly one line. It has the fields of the entry, as in docs/operations/audit.md.
fn assert_logged_once(entry: &Value) {
    let lines = lines_of(entry);
    let [line] = &lines[..] else {
        panic!("{} lines for {entry}: {lines:?}", lines.len())
    };
    for field in [
        "event",
        "actor",
        "session_id",
        "address",
        "agent_id",
        "secret_name",
        "source_id",
        "bytes",
        "passages",
        "overlap_seconds",
        "attempts",
        "addresses",
    ] {
        assert_eq!(line[field], entry[field], "{field} of {line}");
    }
    let fields: Vec<&str> = line["fields"]
        .as_str()
        .map(|fields| fields.split(',').collect())
        .unwrap_or_default();
    assert_eq!(
        json!(fields),
        entry.get("fields").cloned().unwrap_or(json!([])),
        "{line}"
    );
    let changes = line["changes"]
        .as_str()
        .map(|changes| serde_json::from_str::<Value>(changes).unwrap());
    assert_eq!(changes.as_ref(), entry.get("changes"), "{line}");
    let is_refusal = entry["attempts"].is_number();
    assert_eq!(line["level"], if is_refusal { "WARN" } else { "INFO" });
    assert!(
        line["timestamp"].is_string() && line["message"].is_string(),
        "{line}"
    );
}

fn events(entries: &[Value]) -> Vec<&str> {
    entries
        .iter()
        .map(|entry| entry["event"].as_str().unwrap())
        .collect()
}

async fn upload(world: &World, agent: &Agent, text: &'static str) -> String {
    let upload = world.manage(
        Method::POST,
        &format!("/api/agents/{}/sources?title=Returns", agent.id),
    );
    let answer = upload
        .header("content-type", "text/plain")
        .body(text)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201);
    string(&answer.json::<Value>().await.unwrap()["id"])
}

/// One change of every kind, in the order of [`CHANGES`]. Returns the ids of the agent and
/// of its document.
async fn change_everything(world: &World) -> (String, String) {
    let model = |url: &str, key: &str| json!({ "base_url": url, "name": "m", "api_key": key });
    let definition = json!({
        "name": "audited", "prompt": "prompt-audit-secret", "webhook_token": "token-audit-secret",
        "model": model("http://127.0.0.1:1/path-audit-secret", "key-1-audit-secret"),
    });
    let agent = world.agent_as(definition).await;
    let path = format!("/api/agents/{}", agent.id);
    let model = model(
        "http://127.0.0.1:2/other-audit-secret",
        "key-2-audit-secret",
    );
    let moved = json!({ "prompt": "other-audit-secret", "model": model });
    assert_eq!(world.change(Method::PATCH, &path, moved).await, 200);
    for enabled in [false, true] {
        assert_eq!(
            world
                .change(Method::PATCH, &path, json!({ "enabled": enabled }))
                .await,
            200
        );
    }
    let rotate = format!("{path}/webhook/rotate");
    assert_eq!(
        world
            .change(Method::POST, &rotate, json!({ "overlap_seconds": 60 }))
            .await,
        200
    );
    let secret = json!({ "value": "kept-audit-secret" });
    assert_eq!(
        world
            .change(Method::PUT, "/api/secrets/team/shop", secret)
            .await,
        204
    );
    let source = upload(world, &agent, "Document text, audit-secret.").await;
    for path in [
        &format!("{path}/sources/{source}"),
        "/api/secrets/team/shop",
        &path,
    ] {
        assert_eq!(world.change(Method::DELETE, path, json!({})).await, 204);
    }
    (agent.id, source)
}

#[tokio::test]
async fn every_change_leaves_exactly_one_entry_and_one_log_line_and_no_secret_value() {
    let world = World::start().await;
    let (agent, source) = change_everything(&world).await;
    let entries = world.audit().await;
    assert_eq!(events(&entries), CHANGES);
    for entry in &entries {
        assert_logged_once(entry);
        assert_eq!(
            (&entry["actor"], &entry["address"]),
            (&json!("admin_token"), &json!("127.0.0.1")),
            "{entry}"
        );
        if !entry["event"].as_str().unwrap().starts_with("secret") {
            assert_eq!(entry["agent_id"], agent.as_str());
            assert_eq!(entry["agent_name"], "audited");
        }
    }
    let [_, updated, disabled, _, rotated, put, added, ..] = &entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        updated["fields"],
        json!(["model.api_key", "model.base_url", "prompt"])
    );
    let moved = json!([{ "field": "model.base_url", "old": "http://127.0.0.1:1", "new": "http://127.0.0.1:2" }]);
    assert_eq!(
        updated["changes"], moved,
        "the new address of the model is visible"
    );
    assert_eq!(
        disabled["changes"],
        json!([{ "field": "enabled", "old": "true", "new": "false" }])
    );
    assert_eq!(rotated["overlap_seconds"], 60);
    assert_eq!(put["secret_name"], "team/shop");
    assert_eq!(
        (&added["source_id"], &added["title"]),
        (&json!(source), &json!("Returns"))
    );
    let text = format!(
        "{entries:?}{:?}",
        entries.iter().map(lines_of).collect::<Vec<_>>()
    );
    assert!(!text.contains("audit-secret"), "{text}");
}

#[tokio::test]
async fn a_refused_change_and_a_read_leave_no_entry() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let path = format!("/api/agents/{}", agent.id);
    assert_eq!(
        world
            .change(
                Method::PATCH,
                &path,
                json!({ "limits": { "max_turns": 0 } })
            )
            .await,
        400
    );
    assert_eq!(
        world
            .change(Method::DELETE, &format!("{path}/sources/none"), json!({}))
            .await,
        404
    );
    assert_eq!(
        world
            .change(Method::PUT, "/api/secrets/s", json!({ "value": "" }))
            .await,
        400
    );
    for read in [
        "/api/agents",
        &path,
        "/api/secrets",
        "/api/tasks",
        "/api/audit",
    ] {
        assert_eq!(
            world
                .manage(Method::GET, read)
                .send()
                .await
                .unwrap()
                .status(),
            200
        );
    }
    assert_eq!(events(&world.audit().await), ["agent_created"]);
}

#[tokio::test]
async fn a_console_session_has_a_public_id_from_its_sign_in_to_its_sign_out() {
    let world = World::start().await;
    let session = format!("{}/api/session", world.url);
    let sign_in = world
        .http
        .post(&session)
        .json(&json!({ "admin_token": ADMIN_TOKEN }));
    let response = sign_in.send().await.unwrap();
    let cookie = response.headers()["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let sealed = cookie.split_once('=').unwrap().1;
    redaction::secret("session", sealed);
    let request = world
        .http
        .post(format!("{}/api/agents", world.url))
        .header(COOKIE, &cookie);
    let created = request
        .header("x-console", "1")
        .json(&json!({ "name": "a" }))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let sign_out = || world.http.delete(&session);
    assert_eq!(
        sign_out()
            .header(COOKIE, &cookie)
            .send()
            .await
            .unwrap()
            .status(),
        204
    );
    // Without a session, a sign-out has no effect.
    assert_eq!(sign_out().send().await.unwrap().status(), 204);

    let entries = world.audit().await;
    assert_eq!(
        events(&entries),
        ["signed_in", "agent_created", "signed_out"]
    );
    let ids: BTreeSet<&str> = entries
        .iter()
        .map(|entry| entry["session_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 1, "one session: {ids:?}");
    assert!(
        !sealed.contains(ids.first().unwrap()),
        "the cookie does not contain the id"
    );
    for entry in &entries {
        assert_eq!(entry["actor"], "session");
        assert_logged_once(entry);
    }
}

#[tokio::test]
async fn a_wrong_token_leaves_an_entry_wherever_it_was_sent() {
    let world = World::start().await;
    let sign_in = world.http.post(format!("{}/api/session", world.url));
    let sign_in = sign_in
        .json(&json!({ "admin_token": "wrong-audit-guess" }))
        .send()
        .await
        .unwrap();
    refused(sign_in, 401).await;
    let manage = world
        .http
        .get(format!("{}/api/agents", world.url))
        .bearer_auth("wrong-audit-guess");
    refused(manage.send().await.unwrap(), 401).await;
    let entries = world.audit().await;
    assert_eq!(events(&entries), ["sign_in_failed", "token_rejected"]);
    for entry in &entries {
        assert_eq!(
            (&entry["actor"], &entry["attempts"]),
            (&json!("unauthenticated"), &json!(1))
        );
        assert_eq!(entry["address"], "127.0.0.1");
        assert_logged_once(entry);
        assert!(!entry.to_string().contains("audit-guess"));
    }
}

#[tokio::test]
async fn a_flood_of_wrong_tokens_leaves_a_bounded_number_of_entries_that_count_every_attempt() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "before" })).await;
    // At the beginning of a minute, so that the flood is within one minute.
    let millis = world.time.clock().now().millis() % 60_000;
    world.time.forward(Duration::from_millis(60_000 - millis));
    const ATTEMPTS: u64 = 400;
    let guess = |n: u64| {
        world
            .http
            .get(format!("{}/api/agents", world.url))
            .bearer_auth(format!("guess-{n}"))
            .send()
    };
    for batch in 0..ATTEMPTS / 40 {
        let answers = join_all((0..40).map(|n| guess(batch * 40 + n))).await;
        assert!(
            answers
                .into_iter()
                .all(|answer| [401, 429].contains(&answer.unwrap().status().as_u16()))
        );
    }
    let during = world.audit().await;
    assert_eq!(during.len(), 1 + STORED_EACH, "{during:?}");
    world.time.forward(Duration::from_secs(60));
    let entries = world.audit().await;
    assert_eq!(
        entries.len(),
        1 + STORED_EACH + 1,
        "three, and one that counts the others: {entries:?}"
    );
    let sum = entries.last().unwrap();
    assert_eq!(
        (&sum["event"], &sum["addresses"]),
        (&json!(OMITTED), &json!(1))
    );
    assert_eq!(
        (&sum["attempts"], &sum["address"]),
        (&json!(ATTEMPTS - 3), &json!("127.0.0.1"))
    );
    assert_eq!(
        entries[0]["agent_name"], "before",
        "no change was pushed out"
    );
    // Once only.
    world.time.forward(Duration::from_secs(60));
    assert_eq!(world.audit().await.len(), entries.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_tokens_delays_no_other_caller() {
    let site = Site::start().await;
    let watch = site.watch_from([127, 0, 0, 2].into());
    let callers: Vec<_> = (0..4)
        .map(|n| tokio::spawn(guess_for_4_seconds(site.url.clone(), n)))
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    watch.finish().await;
    let page = site
        .manage(Method::GET, "/api/audit?limit=100")
        .send()
        .await
        .unwrap();
    let page: Value = page.json().await.unwrap();
    let entries = page["entries"].as_array().unwrap();
    let refusals = entries
        .iter()
        .filter(|entry| entry["attempts"].is_number())
        .count();
    // The flood may span two minutes.
    assert!(
        (STORED_EACH..=2 * (STORED_EACH + 1)).contains(&refusals),
        "{refusals} entries"
    );
    site.assert_stops_in_time().await;
}

/// 10 wrong tokens a second.
async fn guess_for_4_seconds(url: String, caller: u32) {
    let http = client();
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for n in 0..40 {
        ticks.tick().await;
        let token = format!("guess-{caller}-{n}");
        let request = match n % 2 {
            0 => http
                .post(format!("{url}/api/session"))
                .json(&json!({ "admin_token": token })),
            _ => http.get(format!("{url}/api/agents")).bearer_auth(token),
        };
        let status = request.send().await.unwrap().status();
        assert!([401, 429].contains(&status.as_u16()), "{status}");
    }
}

#[tokio::test]
async fn pages_contain_every_entry_once_and_newest_first() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let path = format!("/api/agents/{}", agent.id);
    // More than two full stored pages of 50 entries each.
    for turns in 0..119 {
        let change = json!({ "limits": { "max_turns": 1 + turns % 2 } });
        assert_eq!(world.change(Method::PATCH, &path, change).await, 200);
        if turns % 60 == 0 {
            let wrong = world
                .http
                .get(format!("{}/api/agents", world.url))
                .bearer_auth("wrong");
            refused(wrong.send().await.unwrap(), 401).await;
        }
    }
    for limit in [7, 50, 100] {
        let (mut seen, mut query) = (Vec::new(), format!("?limit={limit}"));
        loop {
            let page = world.audit_page(&query).await;
            let entries = page["entries"].as_array().unwrap().clone();
            assert!(entries.len() <= limit && !entries.is_empty());
            seen.extend(entries);
            let Some(cursor) = page["next_cursor"].as_str() else {
                break;
            };
            query = format!("?limit={limit}&cursor={cursor}");
        }
        let ids: BTreeSet<&str> = seen
            .iter()
            .map(|entry| entry["id"].as_str().unwrap())
            .collect();
        assert_eq!(
            (seen.len(), ids.len()),
            (122, 122),
            "with {limit} on a page"
        );
        let times: Vec<&str> = seen
            .iter()
            .map(|entry| entry["at"].as_str().unwrap())
            .collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older));
        assert_eq!(events(&seen).last(), Some(&"agent_created"));
    }
}

#[tokio::test]
async fn an_unknown_or_malformed_page_is_refused() {
    let world = World::start().await;
    world.agent_as(json!({})).await;
    for query in [
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "cursor=1.2",
        "other=1",
    ] {
        let answer = world
            .manage(Method::GET, &format!("/api/audit?{query}"))
            .send()
            .await
            .unwrap();
        assert_eq!(refused(answer, 400).await.1, "invalid_request", "{query}");
    }
    let answer = world
        .http
        .get(format!("{}/api/audit", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(refused(answer, 401).await.1, "unauthorized");
    let page = world.audit_page("?cursor=0.0_0.0").await;
    assert_eq!(page, json!({ "entries": [], "next_cursor": null }));
}

#[tokio::test]
async fn an_entry_is_stored_for_90_days_and_survives_a_restart() {
    let world = World::start().await;
    world.agent_as(json!({ "name": "first" })).await;
    let world = world.restart().await;
    assert_eq!(events(&world.audit().await), ["agent_created"]);
    world.time.forward(RETENTION - Duration::from_secs(60));
    assert_eq!(events(&world.audit().await), ["agent_created"]);
    world.agent_as(json!({ "name": "second" })).await;
    world.time.forward(Duration::from_secs(120));
    let entries = world.audit().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["agent_name"], "second");
    world.time.forward(RETENTION);
    assert!(world.audit().await.is_empty());
}

#[tokio::test]
async fn concurrent_changes_leave_an_entry_each() {
    let world = World::start().await;
    let change = |n: usize| {
        world.change(
            Method::PUT,
            format!("/api/secrets/s{n}").leak(),
            json!({ "value": "v" }),
        )
    };
    assert!(
        join_all((0..20).map(change))
            .await
            .iter()
            .all(|status| *status == 204)
    );
    let names: BTreeSet<String> = world
        .audit()
        .await
        .iter()
        .map(|entry| string(&entry["secret_name"]))
        .collect();
    assert_eq!(names.len(), 20);
}

#[tokio::test]
async fn a_change_is_made_and_logged_if_its_entry_cannot_be_stored() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let manage = |method, path: String| {
        client()
            .request(method, format!("{}{path}", functions.url))
            .bearer_auth(SMALL_ADMIN_TOKEN)
    };
    let path = format!("/api/agents/{}", functions.agent);
    // The agent itself is written by another operation.
    functions.wire.refuse("PutItem", 0);
    let disable = manage(Method::PATCH, path.clone()).json(&json!({ "enabled": false }));
    assert_eq!(disable.send().await.unwrap().status(), 200);
    functions.wire.stop_refusing();
    let agent: Value = manage(Method::GET, path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(agent["enabled"], false);
    let log = redaction::logged_text();
    let about = |message: &str| {
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["message"] == message)
            .collect::<Vec<_>>()
    };
    let disabled = about("agent disabled");
    let logged = disabled
        .iter()
        .find(|line| line["agent_id"] == functions.agent.to_string().as_str());
    let id = logged.expect("the change is logged")["audit_id"].clone();
    let lost = about("audit entry not stored");
    assert!(
        lost.iter()
            .any(|line| line["audit_id"] == id && line["level"] == "ERROR"),
        "{lost:?}"
    );
    let page: Value = manage(Method::GET, "/api/audit".to_owned())
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        events(page["entries"].as_array().unwrap()),
        ["agent_created"]
    );
}

/// Two console functions on one table, as Lambda may run them.
async fn two_functions() -> [Process; 2] {
    let time = Time::default();
    let wire = Wire::new(time.clone());
    create_tables(
        &Aws::embedded(wire.clone()),
        &["tasks", "agents", "documents"],
    )
    .await
    .unwrap();
    redaction::record_log();
    [wire.for_new_process(), wire].map(|wire| {
        Process::start(
            wire,
            &time.clock(),
            "http://functions.invalid",
            5,
            "http://model.invalid",
        )
    })
}

fn put_secret(function: &Process, name: &str) -> impl Future<Output = StatusCode> + use<> {
    let request = axum::http::Request::put(format!("/api/secrets/{name}"));
    let request = request.header("authorization", format!("Bearer {SMALL_ADMIN_TOKEN}"));
    let request = request
        .body(axum::body::Body::from(r#"{"value":"v"}"#))
        .unwrap();
    let answer = function.app.clone().oneshot(request);
    async { answer.await.unwrap().status() }
}

/// The names of all secrets, and of those with an entry.
async fn secrets_and_entries(function: &Process) -> (BTreeSet<String>, BTreeSet<String>) {
    let names = function
        .management
        .agents
        .secret_names()
        .await
        .unwrap()
        .into_iter()
        .collect();
    let (agents, now) = (&function.management.agents, function.management.clock.now());
    let entries = agents
        .audit_entries(AuditStream::Changes, None, 100, now)
        .await
        .unwrap();
    (
        names,
        entries
            .into_iter()
            .filter_map(|(_, entry)| entry.secret_name)
            .collect(),
    )
}

#[tokio::test]
async fn concurrent_changes_by_several_functions_leave_an_entry_each() {
    let functions = two_functions().await;
    let changes = (0..24).map(|n| put_secret(&functions[n % 2], &format!("s{n}")));
    assert!(join_all(changes).await.iter().all(|status| *status == 204));
    let (names, entries) = secrets_and_entries(&functions[0]).await;
    assert_eq!((names.len(), names), (24, entries));
}

/// A closed connection or a time limit drops the request.
#[tokio::test]
async fn a_change_whose_request_is_dropped_leaves_an_entry() {
    let [function, _] = two_functions().await;
    for n in 0..60 {
        // Each at another time: before, during and after the change.
        let patience = Duration::from_micros(150 * n);
        let _ = tokio::time::timeout(patience, put_secret(&function, &format!("s{n}"))).await;
    }
    let mut seen = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = secrets_and_entries(&function).await;
        if now == seen {
            break;
        }
        seen = now;
    }
    assert!(!seen.0.is_empty(), "some change was made");
    assert_eq!(seen.0, seen.1, "every change has its entry");
}
