//! Previews: a prompt, rendered with a sample payload.

use std::pin::pin;

use futures::future::{Either, join_all, select};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::{FakeModel, World, refused, string};

async fn preview(world: &World, body: &str) -> Response {
    world
        .manage(Method::POST, "/api/prompt_preview")
        .body(body.to_owned())
        .send()
        .await
        .unwrap()
}

async fn rendered(world: &World, body: Value) -> String {
    let response = preview(world, &body.to_string()).await;
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, 200, "{body}");
    string(&body["system"])
}

#[tokio::test]
async fn a_preview_is_what_a_run_sends_to_the_model() {
    let (world, model) = (World::start().await, FakeModel::saying("x").await);
    let prompt = "{{ agent.name }}: {% for i in payload.items %}[{{ i.n }}]{% endfor %} {{ payload | tojson }}";
    let payload = json!({ "items": [{ "n": 1.50 }, { "n": "<b>" }] });
    let agent = world
        .agent(&model, json!({ "name": "sorter", "prompt": prompt }))
        .await;
    world.run(&agent, &payload.to_string()).await;
    let shown = rendered(
        &world,
        json!({ "prompt": prompt, "payload": payload, "name": "sorter" }),
    )
    .await;
    assert_eq!(shown, model.asked()[0].system());

    let unprompted = world.agent(&model, json!({ "name": "plain" })).await;
    world.run(&unprompted, "1").await;
    for no_prompt in [
        json!({ "payload": 1, "name": "plain" }),
        json!({ "prompt": null, "payload": 1, "name": "plain" }),
    ] {
        assert_eq!(rendered(&world, no_prompt).await, model.asked()[1].system());
    }
}

#[tokio::test]
async fn the_digits_of_a_payload_are_unchanged_in_a_preview_and_it_has_a_task_and_a_time() {
    let world = World::start().await;
    let body = r#"{"prompt":"{{ payload.n }} {{ task_id }} {{ now }}","payload":{"n":12345678901234567890.10}}"#;
    let shown: Value = preview(&world, body).await.json().await.unwrap();
    let shown = string(&shown["system"]);
    let words: Vec<&str> = shown.split(' ').collect();
    assert_eq!(
        (words[0], words[1].len(), words[2].len()),
        ("12345678901234567890.10", 36, 24),
        "{shown}"
    );
}

#[tokio::test]
async fn a_prompt_that_cannot_be_rendered_is_refused_with_the_line_of_the_error() {
    let world = World::start().await;
    for (body, code, detail) in [
        (
            json!({ "prompt": "a\nb {% if %}", "payload": {} }),
            "invalid_prompt",
            "(in prompt:2)",
        ),
        (
            json!({ "prompt": "a\n{{ payload + 1 }}", "payload": {} }),
            "invalid_prompt",
            "(in prompt:2)",
        ),
        (
            json!({ "prompt": "{{ payload | nonsense }}", "payload": {} }),
            "invalid_prompt",
            "nonsense",
        ),
        (
            json!({ "prompt": "x", "payload": null }),
            "invalid_request",
            "null",
        ),
        (json!({ "prompt": "x" }), "invalid_request", "payload"),
        (
            json!({ "payload": 1, "promt": "x" }),
            "invalid_request",
            "promt",
        ),
        (
            json!({ "payload": 1, "name": "n".repeat(129) }),
            "invalid_request",
            "name",
        ),
        (json!([null, 1]), "invalid_request", "object"),
    ] {
        let (message, given) = refused(preview(&world, &body.to_string()).await, 400).await;
        assert_eq!(given, code, "{body}: {message}");
        assert!(message.contains(detail), "{body}: {message}");
    }
    assert_eq!(
        refused(preview(&world, "{").await, 400).await.1,
        "invalid_request"
    );
    let deep = format!("{{\"payload\":{}{}}}", "[".repeat(200), "]".repeat(200));
    assert_eq!(
        refused(preview(&world, &deep).await, 400).await.1,
        "invalid_request"
    );
    let stranger = world
        .http
        .post(format!("{}/api/prompt_preview", world.url))
        .body("{}")
        .send()
        .await
        .unwrap();
    assert_eq!(refused(stranger, 401).await.1, "unauthorized");
}

#[tokio::test]
async fn others_are_answered_while_prompts_are_rendered() {
    let world = World::start().await;
    let slow = "{% for i in range(100) %}{% set sorted = payload | sort %}{% endfor %}done";
    let body =
        json!({ "prompt": slow, "payload": (0..5000).rev().collect::<Vec<_>>() }).to_string();
    let mut previews = pin!(join_all((0..4).map(|_| preview(&world, &body))));
    let mut others = 0;
    let answers = loop {
        let health = pin!(world.http.get(format!("{}/api/health", world.url)).send());
        match select(previews.as_mut(), health).await {
            Either::Left((answers, _)) => break answers,
            Either::Right((health, _)) => assert_eq!(health.unwrap().status(), 200),
        }
        others += 1;
    };
    for answer in answers {
        refused(answer, 400).await;
    }
    // Each preview used up its time limit. Between two previews, one or two calls are served.
    assert!(others > 20, "{others} answered meanwhile");
}
