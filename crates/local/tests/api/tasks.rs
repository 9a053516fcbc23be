//! The list of tasks, and one task with all its fields.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::{Isolation, Moment, TaskId};
use futures::{StreamExt as _, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::functions::{SMALL_ADMIN_TOKEN, functions};
use crate::support::{Agent, FakeModel, Reply, World, accepted, client, refused, string};

async fn get(world: &World, path: &str) -> Value {
    let response = world.manage(Method::GET, path).send().await.unwrap();
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    body
}

async fn ids(world: &World, query: &str) -> Vec<String> {
    let page = get(world, &format!("/api/tasks{query}")).await;
    page["tasks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|task| string(&task["task_id"]))
        .collect()
}

/// All tasks on the pages of this query, in their order.
async fn all_pages(world: &World, query: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(world, &format!("/api/tasks?{query}{cursor}")).await;
        seen.extend(
            page["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| string(&task["task_id"])),
        );
        assert_eq!(
            page["next_cursor"].is_null(),
            page["looked_back_to"].is_null(),
            "{page}"
        );
        let Some(next) = page["next_cursor"].as_str() else {
            return seen;
        };
        cursor = format!("&cursor={next}");
    }
}

fn newest_first(tasks: impl IntoIterator<Item = String>) -> Vec<String> {
    let sorted: BTreeSet<String> = tasks.into_iter().collect();
    sorted.into_iter().rev().collect()
}

/// Answers or fails, depending on the payload.
async fn moody_model() -> FakeModel {
    FakeModel::start(|_, asked| match asked.user().contains("fail") {
        true => Reply::Status(400, vec![]),
        false => Reply::Text("done"),
    })
    .await
}

async fn trigger_all(world: &World, agent: &Agent, payload: &str, times: usize) -> Vec<String> {
    let triggers = (0..times).map(|_| world.trigger(agent, payload));
    stream::iter(triggers).buffered(16).collect().await
}

#[tokio::test]
async fn a_listed_task_has_the_fields_of_its_status_and_its_duration() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let (good, bad) = (
        world.run(&agent, "{}").await,
        world.run(&agent, r#"{"a":"fail"}"#).await,
    );
    let page = get(&world, "/api/tasks").await;
    let tasks = page["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2);
    for (listed, status) in tasks.iter().zip([&bad, &good]) {
        for field in [
            "task_id",
            "agent_id",
            "status",
            "attempt",
            "created_at",
            "started_at",
            "finished_at",
        ] {
            assert_eq!(listed[field], status[field], "{field}");
        }
        for field in ["error", "usage"] {
            assert_eq!(listed[field], status[field], "{field}");
        }
        assert!(
            listed["wait_ms"].is_u64() && listed["run_ms"].is_u64(),
            "{listed}"
        );
        assert!(listed["expires_at"].as_str() > listed["finished_at"].as_str());
        assert_eq!(listed.as_object().unwrap().len(), 12, "{listed}");
    }
    assert_eq!(
        (&page["next_cursor"], &page["looked_back_to"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn pages_contain_every_task_once_and_newest_first_also_within_one_millisecond() {
    let model = moody_model().await;
    let world = World::start_with(|settings| {
        // The clock stands still half of the time, so many tasks have the same time.
        let clock = settings.clock.clone();
        settings.clock = store::Clock::new(move || {
            let now = clock.now().millis();
            domain::Moment::from_millis(now - now % 400)
        });
    })
    .await;
    let agents = [
        world.agent(&model, json!({})).await,
        world.agent(&model, json!({})).await,
    ];
    let mut made = Vec::new();
    for agent in &agents {
        made.extend(trigger_all(&world, agent, "{}", 60).await);
    }
    for task in &made {
        world.ended(task).await;
    }
    for limit in [1, 7, 100] {
        assert_eq!(
            all_pages(&world, &format!("limit={limit}")).await,
            newest_first(made.clone()),
            "{limit}"
        );
    }
    assert_eq!(ids(&world, "").await.len(), 25);
    let of_one = all_pages(&world, &format!("limit=7&agent_id={}", agents[0].id)).await;
    assert_eq!(of_one, newest_first(made[..60].to_vec()));
}

#[tokio::test]
async fn pages_read_while_tasks_are_created_miss_no_earlier_task_and_repeat_none() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let before = trigger_all(&world, &agent, "{}", 50).await;
    let come_in = async {
        for _ in 0..30 {
            world.trigger(&agent, "{}").await;
        }
    };
    let (seen, ()) = tokio::join!(all_pages(&world, "limit=3"), come_in);
    assert_eq!(newest_first(seen.clone()), seen, "once, and in order");
    assert!(before.iter().all(|task| seen.contains(task)));
}

#[tokio::test]
async fn tasks_are_found_by_status_and_agent() {
    let model = FakeModel::start(|_, asked| match asked.user() {
        text if text.contains("fail") => Reply::Status(400, vec![]),
        text if text.contains("hang") => Reply::Never,
        _ => Reply::Text("done"),
    })
    .await;
    let world = World::start_with(|settings| settings.concurrency = 4).await;
    let (one, other) = (
        world.agent(&model, json!({})).await,
        world.agent(&model, json!({})).await,
    );
    let good = trigger_all(&world, &one, "{}", 30).await;
    let bad = trigger_all(&world, &other, r#"{"a":"fail"}"#, 3).await;
    for task in good.iter().chain(&bad) {
        world.ended(task).await;
    }
    let stuck = trigger_all(&world, &one, r#"{"a":"hang"}"#, 4).await;
    model.asked_at_least(37).await;
    let waiting = vec![world.trigger(&one, "{}").await];
    for (status, expected) in [
        ("FAILURE", &bad),
        ("SUCCESS", &good),
        ("STARTED", &stuck),
        ("PENDING", &waiting),
    ] {
        assert_eq!(
            all_pages(&world, &format!("status={status}&limit=2")).await,
            newest_first(expected.clone())
        );
    }
    let of = async |agent: &Agent, status: &str| {
        all_pages(&world, &format!("agent_id={}&status={status}", agent.id))
            .await
            .len()
    };
    assert_eq!(
        (of(&one, "FAILURE").await, of(&other, "FAILURE").await),
        (0, 3)
    );
    assert_eq!(
        (of(&one, "SUCCESS").await, of(&other, "SUCCESS").await),
        (30, 0)
    );
}

#[tokio::test]
async fn a_search_for_a_rare_status_is_bounded_and_can_be_continued() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let failed = string(&world.run(&agent, r#"{"a":"fail"}"#).await["task_id"]);
    let rest = world.agent(&model, json!({ "name": "rest" })).await;
    let many = trigger_all(&world, &rest, "{}", 1000).await;
    for task in &many {
        world.ended(task).await;
    }
    assert_eq!(
        ids(&world, "?status=FAILURE").await,
        std::slice::from_ref(&failed),
        "the index has it"
    );
    let none = get(&world, "/api/tasks?status=PENDING").await;
    assert_eq!(
        (&none["tasks"], none["next_cursor"].is_string()),
        (&json!([]), true),
        "{none}"
    );
    assert_eq!(
        all_pages(&world, "status=PENDING").await,
        Vec::<String>::new()
    );
    assert_eq!(
        all_pages(&world, "limit=100").await,
        newest_first([many, vec![failed]].concat())
    );
}

#[tokio::test]
async fn an_expired_task_is_neither_listed_nor_shown() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let old: Vec<Value> = vec![
        world.run(&agent, "{}").await,
        world.run(&agent, r#"{"a":"fail"}"#).await,
    ];
    world.time.forward(Duration::from_secs(24 * 3600 + 1));
    let new = string(&world.run(&agent, "{}").await["task_id"]);
    assert_eq!(all_pages(&world, "limit=1").await, [new]);
    assert_eq!(
        all_pages(&world, "status=FAILURE").await,
        Vec::<String>::new()
    );
    let path = format!("/api/tasks/{}", string(&old[0]["task_id"]));
    let gone = world.manage(Method::GET, &path).send().await.unwrap();
    assert_eq!(refused(gone, 404).await.1, "task_not_found");
}

#[tokio::test]
async fn tasks_of_a_deleted_agent_are_found_by_its_id_and_their_own() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let task = string(&world.run(&agent, "{}").await["task_id"]);
    let deleted = world
        .manage(Method::DELETE, &format!("/api/agents/{}", agent.id))
        .send()
        .await
        .unwrap();
    assert_eq!(deleted.status(), 204);
    assert_eq!(ids(&world, "").await, Vec::<String>::new());
    assert_eq!(
        ids(&world, &format!("?agent_id={}", agent.id)).await,
        std::slice::from_ref(&task)
    );
    assert_eq!(
        get(&world, &format!("/api/tasks/{task}")).await["status"],
        "SUCCESS"
    );
}

#[tokio::test]
async fn a_key_used_again_after_24_hours_has_only_its_new_task_listed() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let keyed = async || {
        let response = world
            .post(&agent, "{}")
            .header("idempotency-key", "order-7")
            .send()
            .await
            .unwrap();
        let task = accepted(response).await;
        world.ended(&task).await;
        task
    };
    let first = keyed().await;
    world.time.forward(Duration::from_secs(24 * 3600));
    let second = keyed().await;
    assert_ne!(first, second);
    assert_eq!(ids(&world, "").await, [second]);
}

#[tokio::test]
async fn an_invalid_parameter_is_refused_by_name() {
    let world = World::start().await;
    for (query, named) in [
        ("sort=asc", "`sort`"),
        ("limit=0", "`limit`"),
        ("limit=101", "`limit`"),
        ("limit=many", "`limit`"),
        ("status=DONE", "`status`"),
        ("status=success", "`status`"),
        ("agent_id=7", "`agent_id`"),
        ("cursor=MTIz", "`cursor`"),
        ("cursor=3f2504e0-4f89-41d3-9a0c-0305e82c3301", "`cursor`"),
        ("limit=1&limit=2", "`limit`"),
    ] {
        let response = world
            .manage(Method::GET, &format!("/api/tasks?{query}"))
            .send()
            .await
            .unwrap();
        let (message, code) = refused(response, 400).await;
        assert_eq!(code, "invalid_request");
        assert!(message.contains(named), "{query}: {message}");
    }
    assert_eq!(
        ids(&world, "?status=&agent_id=&cursor=").await,
        Vec::<String>::new(),
        "empty parameters"
    );
    let stranger = world
        .http
        .get(format!("{}/api/tasks", world.url))
        .send()
        .await
        .unwrap();
    assert_eq!(refused(stranger, 401).await.1, "unauthorized");
}

#[tokio::test]
async fn a_shown_task_has_its_unchanged_payload_and_all_of_its_status() {
    let (world, model) = (World::start().await, moody_model().await);
    let agent = world.agent(&model, json!({})).await;
    let payload = "{\"big\":12345678901234567890.50, \"z\":1,\n \"a\":[1e400,\"\\u00e9\"]}";
    let status = world.run(&agent, payload).await;
    let path = format!("/api/tasks/{}", string(&status["task_id"]));
    let text = world
        .manage(Method::GET, &path)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(text.contains(payload), "{text}");
    let shown: serde_json::Map<String, Value> =
        serde_json::from_str(&text.replace(payload, "{}")).unwrap();
    for (field, value) in status.as_object().unwrap() {
        assert_eq!(&shown[field], value, "{field}");
    }
    assert_eq!(shown["payload_bytes"], payload.len());
    assert_eq!(shown["payload_omitted"], false);
    assert_eq!(shown["waits_until"], Value::Null);
    let events: Vec<&Value> = shown["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["type"])
        .collect();
    assert_eq!(events, ["created", "claimed", "finished"]);
    for unknown in ["018f3f3e-0000-7abc-8def-0123456789ab", "x", "%ff"] {
        let response = world
            .manage(Method::GET, &format!("/api/tasks/{unknown}"))
            .send()
            .await
            .unwrap();
        assert_eq!(refused(response, 404).await.1, "task_not_found");
    }
}

/// The events of a task, without their times.
fn story(shown: &Value) -> Vec<String> {
    let describe = |event: &Value| {
        let attempt = event["attempt"]
            .as_u64()
            .map_or_else(String::new, |attempt| format!(" {attempt}"));
        let error = event["error_type"]
            .as_str()
            .map_or_else(String::new, |error| format!(": {error}"));
        format!("{}{attempt}{error}", event["type"].as_str().unwrap())
    };
    let events = shown["events"].as_array().unwrap();
    assert!(
        events
            .windows(2)
            .all(|pair| pair[0]["at"].as_str() <= pair[1]["at"].as_str()),
        "{shown}"
    );
    events.iter().map(describe).collect()
}

#[tokio::test]
async fn a_run_with_a_transient_error_has_events_for_it_and_for_the_retry() {
    let model = FakeModel::start(|call, _| match call {
        0 => Reply::Status(503, vec![("retry-after", "7")]),
        _ => Reply::Text("x"),
    })
    .await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    let show = async || -> Value {
        let url = format!("{}/api/tasks/{task}", functions.url);
        let response = client()
            .get(url)
            .bearer_auth(SMALL_ADMIN_TOKEN)
            .send()
            .await
            .unwrap();
        response.json().await.unwrap()
    };
    assert_eq!(functions.deliver(&[&task], false).await, ["message-0"]);
    let released = show().await;
    assert_eq!(
        story(&released),
        ["created", "claimed 1", "released 1: model_error"]
    );
    let event = &released["events"][2];
    assert!(
        event["message"].as_str().unwrap().contains("503"),
        "{event}"
    );
    let (at, resumes_at) = (string(&event["at"]), string(&event["resumes_at"]));
    assert_eq!(seconds_between(&at, &resumes_at), 7, "{event}");
    assert_eq!(
        (&released["status"], &released["finished_at"]),
        (&json!("PENDING"), &Value::Null)
    );

    functions.time.forward(Duration::from_secs(7));
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let ended = show().await;
    let expected = [
        "created",
        "claimed 1",
        "released 1: model_error",
        "claimed 2",
        "finished 2",
    ];
    assert_eq!(story(&ended), expected);
    assert_eq!(ended["events"][4]["at"], ended["finished_at"]);
    assert_eq!(ended["attempt"], 2);
}

fn seconds_between(from: &str, to: &str) -> u64 {
    let of_day = |time: &str| {
        let parts: Vec<u64> = time[11..19]
            .split(':')
            .map(|part| part.parse().unwrap())
            .collect();
        parts[0] * 3600 + parts[1] * 60 + parts[2]
    };
    (of_day(to) + 24 * 3600 - of_day(from)) % (24 * 3600)
}

#[tokio::test]
async fn interrupted_runs_have_events_and_their_number_is_bounded() {
    let model = FakeModel::saying("x").await;
    let functions = functions(&model).await;
    let task = accepted(functions.trigger(None).await).await;
    let (tasks, id) = (&functions.runner.tasks, TaskId::parse(&task).unwrap());
    let now = functions.runner.clock.now();
    let until = now.plus(Duration::from_secs(60));
    for _ in 0..60 {
        let claim = tasks
            .claim(id, now, until, 1, Isolation::Shared)
            .await
            .unwrap();
        assert!(matches!(claim, store::Claim::Granted(_)));
        let held = tasks
            .unfinished_tasks()
            .await
            .unwrap()
            .tasks
            .remove(0)
            .unwrap();
        tasks.give_back(&held, now).await.unwrap();
    }
    assert!(functions.deliver(&[&task], false).await.is_empty());
    let shown = tasks.show(id).await.unwrap().unwrap();
    assert_eq!(
        (shown.task.attempt, shown.events.len()),
        (1, 2 + domain::MAX_EVENTS + 1)
    );
    let last: Vec<Option<u32>> = shown
        .events
        .iter()
        .skip(1)
        .map(|event| event.attempt)
        .collect();
    assert!(last.iter().all(|attempt| *attempt == Some(1)), "{last:?}");
}

#[tokio::test]
async fn a_payload_that_does_not_fit_into_the_response_is_omitted_and_reported_as_omitted() {
    let model = FakeModel::saying(String::leak("x".repeat(3_500_000))).await;
    let world = World::start_with(|settings| settings.max_body_bytes = 4 * 1024 * 1024).await;
    let agent = world.agent(&model, json!({})).await;
    let payload = format!("\"{}\"", "x".repeat(3_000_000));
    let ended = world.run(&agent, &payload).await;
    let shown = get(&world, &format!("/api/tasks/{}", string(&ended["task_id"]))).await;
    assert!(shown["payload"].is_null() && shown["payload_omitted"] == true);
    assert_eq!(shown["payload_bytes"], payload.len());
    assert!(shown["status"] == "SUCCESS" && shown["result"] == ended["result"]);
    let listed = get(&world, "/api/tasks").await;
    assert_eq!(
        listed["tasks"][0]["usage"], ended["usage"],
        "without reading the result"
    );
    assert!(ended["usage"].is_object());
}

/// On AWS, the index is updated a little later than its table. The embedded one is not.
#[tokio::test]
async fn a_task_that_replaces_the_last_one_of_its_key_is_read_once_while_the_index_has_both() {
    let functions = functions(&FakeModel::saying("x").await).await;
    let id = TaskId::parse(&accepted(functions.trigger(Some("k")).await).await).unwrap();
    let replaced = TaskId::new(Moment::from_millis(1), id.key());
    let briefs = functions
        .runner
        .tasks
        .briefs(&[id, replaced])
        .await
        .unwrap();
    assert_eq!(
        briefs
            .into_iter()
            .map(|brief| brief.unwrap().id)
            .collect::<Vec<_>>(),
        [id]
    );
}

#[tokio::test]
async fn a_model_name_of_a_megabyte_does_not_stop_a_task_from_ending() {
    // Text that does not compress.
    let mut seed = 1_u32;
    let mut letter = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + u8::try_from(seed >> 24).unwrap() % 26)
    };
    let name: String = (0..1_000_000).map(|_| letter()).collect();
    let reply = json!({ "model": name, "choices": [{ "message": { "content": name }, "finish_reason": "stop" }] });
    let model = FakeModel::start(move |_, _| Reply::Json(reply.clone())).await;
    let world = World::start().await;
    let agent = world.agent(&model, json!({})).await;
    let status = world.run(&agent, "{}").await;
    assert_eq!(
        (&status["status"], string(&status["usage"]["model"]).len()),
        (&json!("SUCCESS"), 256)
    );
    let page = get(&world, "/api/tasks").await;
    assert!(
        page.to_string().len() < 2000,
        "a list of one task is {} long",
        page.to_string().len()
    );
}
