//! The flows whose calls fail. Each is a sequence of actions of callers. The faults
//! begin at `faults_from_here`.

use std::sync::LazyLock;
use std::time::Duration;

use axum::http::Method;
use futures::future::{BoxFuture, join_all};
use serde_json::{Value, json};

use super::documents;
use super::provider::{Act, Script};
use super::world::World;
use crate::support::formats::Format;
use crate::support::{Agent, string};

/// Receives of a message while the function is throttled. That is half an hour of them, and
/// more than the 25 after which the first release took a message for a dead letter.
const THROTTLED_RECEIVES: usize = 30;

#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    pub(crate) life: for<'w> fn(&'w World) -> BoxFuture<'w, ()>,
    pub(crate) model: Script,
    pub(crate) format: Format,
    pub(crate) max_attempts: u32,
    pub(crate) max_receives: u32,
    /// The error types with which a task may end.
    pub(crate) ends: &'static [&'static str],
}

/// A model that always answers, and the limits of template.yaml.
const PLAIN: Flow = Flow {
    name: "",
    life: |_| Box::pin(async {}),
    model: |_| Act::Answer,
    format: Format::OPENAI,
    max_attempts: 5,
    max_receives: runner::MAX_RECEIVES,
    ends: &[],
};

const fn busy_at_first(run: usize) -> Act {
    if run == 0 { Act::Busy } else { Act::Answer }
}

const fn refusing_at_first(run: usize) -> Act {
    if run == 0 { Act::Refuse } else { Act::Answer }
}

const fn deadly_at_first(run: usize) -> Act {
    if run == 0 { Act::Kill } else { Act::Answer }
}

/// All flows. Each provider has a run, OpenAI in [`OWN_FLOWS`].
pub(crate) static FLOWS: LazyLock<Vec<Flow>> = LazyLock::new(|| {
    let others = Format::ALL
        .into_iter()
        .filter(|format| *format != Format::OPENAI);
    let others = others.map(|format| Flow {
        name: format!("run with {}", format.provider()).leak(),
        life: |world| Box::pin(run(world)),
        format,
        ..PLAIN
    });
    others.chain(OWN_FLOWS.iter().copied()).collect()
});

const OWN_FLOWS: &[Flow] = &[
    Flow {
        name: "trigger",
        life: |world| Box::pin(trigger(world)),
        ..PLAIN
    },
    Flow {
        name: "trigger with a key",
        life: |world| Box::pin(keyed(world)),
        ..PLAIN
    },
    Flow {
        name: "three at once with one key",
        life: |world| Box::pin(concurrent(world)),
        ..PLAIN
    },
    Flow {
        name: "repeat while started",
        life: |world| Box::pin(repeat_started(world)),
        model: deadly_at_first,
        ..PLAIN
    },
    Flow {
        name: "repeat after the end",
        life: |world| Box::pin(repeat_ended(world)),
        ..PLAIN
    },
    Flow {
        name: "status",
        life: |world| Box::pin(status(world)),
        ..PLAIN
    },
    Flow {
        name: "look at tasks",
        life: |world| Box::pin(look_at_tasks(world)),
        ..PLAIN
    },
    Flow {
        name: "run",
        life: |world| Box::pin(run(world)),
        ..PLAIN
    },
    Flow {
        name: "run with a tool",
        life: |world| Box::pin(use_tool(world)),
        model: |_| Act::UseTool,
        ..PLAIN
    },
    Flow {
        name: "run two at once",
        life: |world| Box::pin(batch(world)),
        ..PLAIN
    },
    Flow {
        name: "run delivered twice at once",
        life: |world| Box::pin(twins(world)),
        model: |_| Act::AnswerSlowly,
        ..PLAIN
    },
    Flow {
        name: "large payload and result",
        life: |world| Box::pin(large(world)),
        ..PLAIN
    },
    Flow {
        name: "run after throttling",
        life: |world| Box::pin(throttled(world)),
        ..PLAIN
    },
    Flow {
        name: "run two with one slot",
        life: |world| Box::pin(limited(world)),
        ..PLAIN
    },
    Flow {
        name: "wait for a slot with many receives",
        life: |world| Box::pin(limited_for_long(world)),
        ..PLAIN
    },
    Flow {
        name: "retry",
        life: |world| Box::pin(run(world)),
        model: busy_at_first,
        ..PLAIN
    },
    Flow {
        name: "ask again without what the server refuses",
        life: |world| Box::pin(run(world)),
        model: refusing_at_first,
        ..PLAIN
    },
    Flow {
        name: "lose two at once, which then run alone",
        life: |world| Box::pin(batch(world)),
        model: deadly_at_first,
        ends: &["worker_lost"],
        ..PLAIN
    },
    Flow {
        name: "lost at every attempt",
        life: |world| Box::pin(lost(world)),
        model: |_| Act::Kill,
        max_attempts: 2,
        ends: &["worker_lost"],
        ..PLAIN
    },
    Flow {
        name: "dead letter",
        life: |world| Box::pin(run(world)),
        model: |_| Act::Kill,
        max_receives: 1,
        ends: &["worker_lost"],
        ..PLAIN
    },
    Flow {
        name: "create an agent",
        life: |world| Box::pin(create(world)),
        ..PLAIN
    },
    Flow {
        name: "import a token",
        life: |world| Box::pin(import(world)),
        ..PLAIN
    },
    Flow {
        name: "update an agent",
        life: |world| Box::pin(update(world)),
        ..PLAIN
    },
    Flow {
        name: "rotate with an overlap",
        life: |world| Box::pin(rotate(world)),
        ..PLAIN
    },
    Flow {
        name: "store a secret",
        life: |world| Box::pin(store_secret(world)),
        ..PLAIN
    },
    Flow {
        name: "replace and delete a secret",
        life: |world| Box::pin(delete_secret(world)),
        ..PLAIN
    },
    Flow {
        name: "delete an agent with a task",
        life: |world| Box::pin(delete(world)),
        ends: &["invalid_agent"],
        ..PLAIN
    },
    Flow {
        name: "upload a document and run",
        life: |world| Box::pin(documents::upload(world)),
        ..PLAIN
    },
    Flow {
        name: "replace a document",
        life: |world| Box::pin(documents::replace(world)),
        ..PLAIN
    },
    Flow {
        name: "two uploads at once",
        life: |world| Box::pin(documents::two(world)),
        ..PLAIN
    },
    Flow {
        name: "delete a document",
        life: |world| Box::pin(documents::delete(world)),
        ..PLAIN
    },
    Flow {
        name: "delete an agent with documents",
        life: |world| Box::pin(documents::delete_agent(world)),
        ..PLAIN
    },
];

async fn trigger(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
}

async fn keyed(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    world.trigger(&agent.url, Some("k"), r#"{"order":1}"#).await;
    world.trigger(&agent.url, Some("k"), r#"{"order":2}"#).await;
}

async fn concurrent(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    join_all((0..3).map(|_| world.trigger(&agent.url, Some("k"), r#"{"order":1}"#))).await;
}

async fn repeat_started(world: &World) {
    let agent = world.agent(json!({})).await;
    let task = world.trigger(&agent.url, Some("k"), r#"{"order":1}"#).await;
    world.run_one_batch().await;
    assert_eq!(world.status(&task).await.unwrap()["status"], "STARTED");
    world.faults_from_here();
    world.trigger(&agent.url, Some("k"), r#"{"order":2}"#).await;
    world.drain().await;
}

async fn repeat_ended(world: &World) {
    let agent = world.agent(json!({})).await;
    world.trigger(&agent.url, Some("k"), r#"{"order":1}"#).await;
    world.drain().await;
    world.faults_from_here();
    world.trigger(&agent.url, Some("k"), r#"{"order":2}"#).await;
}

async fn status(world: &World) {
    let agent = world.agent(json!({})).await;
    let ended = world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.drain().await;
    let pending = world.trigger(&agent.url, None, r#"{"order":2}"#).await;
    world.faults_from_here();
    assert_eq!(world.status(&ended).await.unwrap()["status"], "SUCCESS");
    assert_eq!(world.status(&pending).await.unwrap()["status"], "PENDING");
    assert_eq!(
        world.status("018f3f3e-0000-7abc-8def-0123456789ab").await,
        None
    );
}

async fn look_at_tasks(world: &World) {
    let agent = world.agent(json!({})).await;
    let ended = world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.drain().await;
    let pending = world.trigger(&agent.url, None, r#"{"order":2}"#).await;
    world.faults_from_here();
    let get = async |path: &str| {
        let answer = world.manage(Method::GET, path, &json!({})).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    };
    let listed = get("/api/tasks").await;
    assert_eq!(listed["tasks"][0]["task_id"], json!(pending), "{listed}");
    assert_eq!(listed["tasks"][1]["task_id"], json!(ended), "{listed}");
    assert_eq!(
        get("/api/tasks?status=SUCCESS").await["tasks"][0],
        listed["tasks"][1]
    );
    let shown = get(&format!("/api/tasks/{ended}")).await;
    assert_eq!(
        (&shown["status"], &shown["payload"]),
        (&json!("SUCCESS"), &json!({ "order": 1 }))
    );
    let figures = get("/api/stats").await;
    let expected = json!({ "PENDING": 1, "STARTED": 0, "SUCCESS": 1, "FAILURE": 0 });
    assert_eq!(figures["by_status"], expected, "{figures}");
}

async fn run(world: &World) {
    let agent = world.agent(json!({})).await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.faults_from_here();
    world.drain().await;
}

async fn use_tool(world: &World) {
    let agent = world
        .agent(json!({ "tools": [world.provider.tool()] }))
        .await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.faults_from_here();
    world.drain().await;
}

async fn lost(world: &World) {
    let agent = world.agent(json!({})).await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.run_one_batch().await;
    world.faults_from_here();
    world.drain().await;
}

async fn batch(world: &World) {
    let agent = world.agent(json!({})).await;
    for order in 0..2 {
        world
            .trigger(&agent.url, None, &json!({ "order": order }).to_string())
            .await;
    }
    world.faults_from_here();
    world.drain().await;
}

async fn limited(world: &World) {
    let limits = json!({ "max_concurrent_runs": 1, "triggers_per_minute": 60 });
    let agent = world.agent(json!({ "limits": limits })).await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.faults_from_here();
    world.trigger(&agent.url, None, r#"{"order":2}"#).await;
    world.drain().await;
}

/// The messages were received so often that the next wait replaces them.
async fn limited_for_long(world: &World) {
    let agent = world
        .agent(json!({ "limits": { "max_concurrent_runs": 1 } }))
        .await;
    for order in 0..2 {
        world
            .trigger(&agent.url, None, &json!({ "order": order }).to_string())
            .await;
    }
    world.wire.sqs.wear_out(runner::RECEIVES_BEFORE_RESEND - 1);
    world.faults_from_here();
    world.drain().await;
}

/// Lambda throttles the function for so long that its message was received more often
/// than a small `maxReceiveCount` allows.
async fn throttled(world: &World) {
    let agent = world.agent(json!({})).await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    for _ in 0..THROTTLED_RECEIVES {
        world.throttle_one_batch();
    }
    world.faults_from_here();
    world.drain().await;
}

async fn twins(world: &World) {
    let agent = world.agent(json!({})).await;
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.faults_from_here();
    world.drain_with_twins().await;
}

async fn large(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    world
        .trigger(
            &agent.url,
            Some("k"),
            &json!({ "order": noise(12_000) }).to_string(),
        )
        .await;
    world.drain().await;
}

async fn create(world: &World) {
    world.faults_from_here();
    let agent = world.agent(json!({ "model": { "api_key": "sk-1" } })).await;
    run_with_key(world, &agent, "Bearer sk-1").await;
}

async fn import(world: &World) {
    world.faults_from_here();
    let token = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let definition = world.definition(json!({ "webhook_token": token }));
    let made = world.manage(Method::POST, "/api/agents", &definition).await;
    let url = match made.status {
        201 => string(&made.body["webhook_url"]),
        // The first request created it, and its response was lost.
        _ => {
            assert_eq!(made.body["code"], "token_taken", "{}", made.body);
            assert!(
                world.seen.lock().unwrap().unclear,
                "the token is taken without a reason"
            );
            let listed = world
                .manage(Method::GET, "/api/agents", &json!({}))
                .await
                .body;
            string(&listed["agents"][0]["webhook_url"])
        }
    };
    assert!(url.ends_with(token), "{url}");
    world.trigger(&url, None, r#"{"order":1}"#).await;
}

async fn update(world: &World) {
    let agent = world.agent(json!({ "model": { "api_key": "sk-1" } })).await;
    world.faults_from_here();
    let path = format!("/api/agents/{}", agent.id);
    let patch = json!({ "name": "renamed", "model": { "api_key": "sk-2" } });
    let updated = world.manage(Method::PATCH, &path, &patch).await;
    assert_eq!(
        (updated.status, &updated.body["name"]),
        (200, &json!("renamed"))
    );
    run_with_key(world, &agent, "Bearer sk-2").await;
}

async fn rotate(world: &World) {
    let agent = world.agent(json!({})).await;
    world.faults_from_here();
    let path = format!("/api/agents/{}/webhook/rotate", agent.id);
    let rotated = world
        .manage(Method::POST, &path, &json!({ "overlap_seconds": 60 }))
        .await;
    let url = string(&rotated.body["webhook_url"]);
    world.trigger(&agent.url, Some("k"), r#"{"order":1}"#).await;
    world.trigger(&url, Some("k"), r#"{"order":1}"#).await;
    world.time.forward(Duration::from_secs(90));
    let old = agent.url.rsplit_once("/api").unwrap().1;
    if let Some(answer) = world
        .send(Method::POST, &format!("/api{old}"), &[], "{}")
        .await
    {
        assert!(answer.status == 404 || answer.status == 503, "{answer:?}");
    }
    world.trigger(&url, Some("k2"), r#"{"order":2}"#).await;
}

async fn delete(world: &World) {
    let agent = world.agent(json!({ "model": { "api_key": "sk-1" } })).await;
    world.trigger(&agent.url, Some("k"), r#"{"order":1}"#).await;
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
    world.drain().await;
    let items = world.items("agents").await;
    let is_audit = |item: &Value| string(&item["id"]["S"]).starts_with("audit#");
    assert!(
        items.iter().all(is_audit),
        "the agent and its token are gone"
    );
}

async fn store_secret(world: &World) {
    world.faults_from_here();
    put_secret(world, "sk-1").await;
    let agent = world
        .agent(json!({ "model": { "api_key": { "secret": "crm" } } }))
        .await;
    run_with_key(world, &agent, "Bearer sk-1").await;
}

async fn delete_secret(world: &World) {
    put_secret(world, "sk-1").await;
    let agent = world
        .agent(json!({ "model": { "api_key": { "secret": "crm" } } }))
        .await;
    world.faults_from_here();
    put_secret(world, "sk-2").await;
    run_with_key(world, &agent, "Bearer sk-2").await;
    let refused = world
        .manage(Method::DELETE, "/api/secrets/crm", &json!({}))
        .await;
    assert_eq!(refused.body["code"], "secret_in_use", "{refused:?}");
    world
        .manage(
            Method::DELETE,
            &format!("/api/agents/{}", agent.id),
            &json!({}),
        )
        .await;
    let deleted = world
        .manage(Method::DELETE, "/api/secrets/crm", &json!({}))
        .await;
    let unclear = world.seen.lock().unwrap().unclear;
    assert!(
        deleted.status == 204 || deleted.status == 404 && unclear,
        "{deleted:?}"
    );
}

async fn put_secret(world: &World, value: &str) {
    let stored = world
        .manage(Method::PUT, "/api/secrets/crm", &json!({ "value": value }))
        .await;
    assert_eq!(stored.status, 204, "{}", stored.body);
}

async fn run_with_key(world: &World, agent: &Agent, authorization: &str) {
    world.trigger(&agent.url, None, r#"{"order":1}"#).await;
    world.drain().await;
    let runs = world.provider.runs();
    assert!(
        runs.iter()
            .all(|run| run.authorization.as_deref() == Some(authorization)),
        "{runs:?}"
    );
}

/// Text that does not compress.
fn noise(characters: usize) -> Value {
    let mut state = 88_172_645_463_325_252_u64;
    let text: String = (0..characters)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'0' + u8::try_from(state % 64).unwrap())
        })
        .collect();
    json!(text)
}
