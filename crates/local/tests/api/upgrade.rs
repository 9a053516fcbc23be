//! Records of other versions. Tasks of an earlier release are read and run to their end.
//! Records of a later release are not touched.

use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use domain::{Moment, TaskId};
use local::serve::Engine;
use reqwest::Method;
use serde_json::{Value, json};
use store::aws::Aws;
use store::{Clock, create_tables, index_tasks};
use tempfile::TempDir;

use crate::support::functions::functions;
use crate::support::{FakeModel, Reply, World, accepted, refused, string};

/// Ten minutes after the kill of the earlier release, by its clock.
const RESTARTED_AT: Moment = Moment::from_millis(4_070_909_400_000);

/// The responses of the earlier release.
fn earlier_responses() -> Value {
    serde_json::from_str(include_str!("upgrade/0.1.0/responses.json")).unwrap()
}

async fn upgraded() -> World {
    let folder = TempDir::new().unwrap();
    let left = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/upgrade/0.1.0");
    fs::create_dir(folder.path().join("data")).unwrap();
    for file in ["tables.sqlite", "secrets.json", "signing-secret"] {
        fs::copy(left.join(file), folder.path().join("data").join(file)).unwrap();
    }
    let started = std::time::Instant::now();
    let clock = Clock::new(move || RESTARTED_AT.plus(started.elapsed()));
    World::start_in(folder, |settings| settings.clock = clock).await
}

fn task(earlier: &Value, name: &str) -> String {
    string(&earlier["tasks"][name])
}

/// The path of a webhook URL, on this server.
fn here(world: &World, webhook: &Value) -> String {
    string(webhook).replace("http://agents.example", &world.url)
}

fn agent<'a>(earlier: &'a Value, name: &str) -> &'a Value {
    earlier["agents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|agent| agent["name"] == name)
        .unwrap()
}

#[tokio::test]
async fn agents_urls_and_ended_tasks_of_an_earlier_release_are_as_it_returned_them() {
    let (world, earlier) = (upgraded().await, earlier_responses());
    for agent in earlier["agents"].as_array().unwrap() {
        let path = format!("/api/agents/{}", agent["agent_id"].as_str().unwrap());
        let shown: Value = world
            .manage(Method::GET, &path)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let mut expected = agent.clone();
        expected["webhook_url"] = json!(here(&world, &agent["webhook_url"]));
        assert_eq!(shown, expected);
    }
    for (name, ended) in earlier["ended"].as_object().unwrap() {
        assert_eq!(&world.status(&task(&earlier, name)).await, ended);
    }
    let old_url = world
        .http
        .post(here(&world, &earlier["rotated_away_url"]))
        .body("{}");
    accepted(old_url.send().await.unwrap()).await;
    let disabled = world
        .http
        .post(here(&world, &agent(&earlier, "disabled")["webhook_url"]))
        .body("{}");
    refused(disabled.send().await.unwrap(), 404).await;
}

#[tokio::test]
async fn idempotency_keys_of_an_earlier_release_still_return_their_tasks() {
    let (world, earlier) = (upgraded().await, earlier_responses());
    for (agent_name, key, name) in [
        ("answers", "order-7", "success"),
        ("long", "big", "spilled"),
        ("silent", "in-flight", "started"),
    ] {
        let url = here(&world, &agent(&earlier, agent_name)["webhook_url"]);
        let repeat = world
            .http
            .post(url)
            .header("idempotency-key", key)
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(repeat.headers()["idempotent-replayed"], "true");
        assert_eq!(accepted(repeat).await, task(&earlier, name));
    }
}

#[tokio::test]
async fn tasks_that_an_earlier_release_had_accepted_are_run_to_their_end() {
    let earlier = earlier_responses();
    let model = FakeModel::saying("Done by the later release.").await;
    let world = upgraded().await;
    // Their model is unreachable, which is a transient error. The later release gets the new address.
    for name in ["answers", "silent", "busy"] {
        let path = format!("/api/agents/{}", string(&agent(&earlier, name)["agent_id"]));
        let patch = json!({ "model": { "base_url": model.url } });
        let patched = world
            .manage(Method::PATCH, &path)
            .json(&patch)
            .send()
            .await
            .unwrap();
        assert_eq!(patched.status(), 200);
    }
    for name in ["started", "released", "pending"] {
        let ended = world.ended(&task(&earlier, name)).await;
        assert_eq!(ended["status"], "SUCCESS", "{name}: {ended}");
        assert_eq!(
            ended["result"]["result"]["answer"],
            "Done by the later release."
        );
    }
    let story = world.manage(
        Method::GET,
        &format!("/api/tasks/{}", task(&earlier, "started")),
    );
    let story: Value = story.send().await.unwrap().json().await.unwrap();
    let events: Vec<&Value> = story["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(
        events[..4],
        ["created", "claimed", "released", "claimed"],
        "{story}"
    );
    assert_eq!(events.last(), Some(&&json!("finished")), "{story}");
    assert_eq!(story["events"][2]["error_type"], "worker_lost");
    let spilled = model
        .asked()
        .iter()
        .filter(|asked| asked.user().len() > 30_000)
        .count();
    assert_eq!(spilled, 1, "the payload in separate items arrived complete");
}

#[tokio::test]
async fn a_record_of_a_later_release_is_not_touched_until_that_release_is_back() {
    let model = FakeModel::start(|_, _| Reply::Text("x")).await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(Some("k")).await).await;
    let key = TaskId::parse(&task).unwrap().key().as_hex();
    let of_version = |version: &str| {
        json!({
            "TableName": "tasks", "Key": { "id": { "S": key } },
            "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": { ":v": { "N": version } },
        })
    };
    call(&functions.wire.engine, "UpdateItem", of_version("99")).await;

    assert_eq!(
        functions.deliver(&[&task], false).await,
        ["message-0"],
        "its message comes again"
    );
    assert_eq!(
        functions.wire.calls().last().map(String::as_str),
        Some("ChangeMessageVisibility")
    );
    assert_eq!(
        functions.deliver(&[&task], true).await,
        ["message-0"],
        "as a dead letter it is not ended either"
    );
    assert_eq!(
        refused(functions.status(&task).await, 503).await.1,
        "unavailable"
    );
    assert_eq!(
        refused(functions.trigger(Some("k")).await, 503).await.1,
        "unavailable"
    );
    assert!(model.asked().is_empty());

    call(&functions.wire.engine, "UpdateItem", of_version("1")).await;
    functions.time.forward(Duration::from_secs(3600));
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let status: Value = functions.status(&task).await.json().await.unwrap();
    assert_eq!(
        (&status["status"], &status["attempt"]),
        (&json!("SUCCESS"), &json!(1))
    );
}

/// A DynamoDB call directly to the engine.
async fn call(engine: &Engine, operation: &str, request: Value) -> Value {
    let mut http = HttpRequest::new(SdkBody::from(request.to_string()));
    http.headers_mut()
        .insert("x-amz-target", format!("DynamoDB_20120810.{operation}"));
    let response = engine.call(http).await.unwrap();
    let body: Value = serde_json::from_slice(response.body().bytes().unwrap()).unwrap();
    assert_eq!(response.status().as_u16(), 200, "{body}");
    body
}

/// An engine that takes ten minutes to create an index.
#[derive(Clone, Debug)]
struct FullEngine(Engine);

impl HttpClient for FullEngine {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for FullEngine {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap();
        let takes = if target.ends_with(".UpdateTable") {
            600
        } else {
            0
        };
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move {
            tokio::time::sleep(Duration::from_secs(takes)).await;
            answer.await
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_until_the_tasks_of_an_earlier_release_are_indexed() {
    let engine = FullEngine(Engine::in_memory().unwrap());
    create_tables(&Aws::embedded(engine.0.clone()), &["tasks"])
        .await
        .unwrap();
    index_tasks(&Aws::embedded(engine.clone()), "tasks")
        .await
        .unwrap();
    let table = call(&engine.0, "DescribeTable", json!({ "TableName": "tasks" })).await;
    assert_eq!(
        table["Table"]["GlobalSecondaryIndexes"][0]["IndexStatus"], "ACTIVE",
        "{table}"
    );
}
