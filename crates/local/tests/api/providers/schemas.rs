//! Answers that must match a schema.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Site, says, search, searcher, wants};
use crate::support::formats::{Format, INPUT_TOKENS};
use crate::support::{FakeModel, Reply, World, refused};

/// A schema that every provider accepts unchanged.
fn closed() -> Value {
    json!({
        "type": "object",
        "properties": { "days": { "type": "integer" } },
        "required": ["days"],
        "additionalProperties": false,
    })
}

fn with_schema(schema: &Value) -> Value {
    json!({ "prompt": "Answer.", "output_schema": schema })
}

#[tokio::test]
async fn the_schema_reaches_the_model_and_the_answer_is_the_json_alone() {
    for site in Site::each(|_| Reply::Text("```json\n{\"days\": 30}\n```")).await {
        let ended = site.run(with_schema(&closed())).await;
        assert_eq!(ended["status"], "SUCCESS", "{:?}: {ended}", site.format);
        assert_eq!(ended["result"]["result"]["answer"], r#"{"days": 30}"#);
        let body = site.body(0);
        let system = site.format.system(&body);
        match site.format.enforced(&closed()) {
            Some((field, value)) => {
                assert_eq!((body.pointer(field), system), (Some(&value), "Answer."))
            }
            None => {
                assert!(system.starts_with("Answer.\n\n"), "{system}");
                assert!(system.ends_with(&closed().to_string()), "{system}");
            }
        }
    }
}

/// Anthropic refuses schemas that it cannot enforce.
#[tokio::test]
async fn a_schema_that_a_server_cannot_enforce_is_described_in_the_prompt() {
    let part = |name: &str, value: Value| {
        let mut schema = closed();
        schema["properties"]["days"][name] = value;
        schema
    };
    let open = json!({ "type": "object", "properties": { "days": { "type": "integer" } } });
    for schema in [
        part("minimum", json!(1)),
        part("pattern", json!("^a$")),
        open,
    ] {
        for site in Site::each(|_| Reply::Text(r#"{"days":30}"#)).await {
            let ended = site.run(with_schema(&schema)).await;
            assert_eq!(ended["status"], "SUCCESS", "{:?}: {ended}", site.format);
            let body = site.body(0);
            let fields = Format::ALL.map(|format| format.enforced(&schema).map(|(field, _)| field));
            let is_enforced = fields
                .into_iter()
                .flatten()
                .any(|field| body.pointer(field).is_some());
            let is_in_words = site.format.system(&body).ends_with(&schema.to_string());
            let expected = site.format.enforces_every_schema();
            assert_eq!(
                (is_enforced, is_in_words),
                (expected, !expected),
                "{:?}: {schema}",
                site.format
            );
        }
    }
}

#[tokio::test]
async fn a_model_gets_the_schema_violations_and_answers_again() {
    let script = |call| {
        Reply::Says(match call {
            0 => wants([search("c1", "returned")]),
            1 => says("Within thirty days."),
            2 => says(r#"{"days":"thirty"}"#),
            _ => says(r#"{"days":30}"#),
        })
    };
    for site in Site::each(script).await {
        let mut definition = searcher();
        definition["output_schema"] = closed();
        let ended = site.run(definition).await;
        assert_eq!(
            ended["result"]["result"]["answer"], r#"{"days":30}"#,
            "{:?}: {ended}",
            site.format
        );
        assert_eq!(
            (&ended["usage"]["turns"], &ended["attempt"]),
            (&json!(4), &json!(1))
        );
        assert_eq!(ended["usage"]["input_tokens"], 4 * INPUT_TOKENS);
        let body = site.body(3);
        let talk = site.format.messages(&body);
        let roles: Vec<&str> = talk
            .iter()
            .map(|message| message["role"].as_str().unwrap())
            .collect();
        let (model, results) = site.format.roles();
        assert_eq!(
            roles,
            ["user", model, results, model, "user", model, "user"]
        );
        assert!(
            talk[3].to_string().contains("Within thirty days."),
            "{}",
            talk[3]
        );
        assert!(
            site.format
                .text_of(&talk[4])
                .contains("It must contain only JSON"),
            "{}",
            talk[4]
        );
        let correction = site.format.text_of(&talk[6]);
        assert!(
            correction.contains("at /days") && correction.ends_with(&closed().to_string()),
            "{correction}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_never_matches_is_a_model_error_after_two_corrections_and_its_tokens_are_counted()
 {
    for site in Site::each(|_| Reply::Text("I cannot count.")).await {
        let ended = site.run(with_schema(&closed())).await;
        assert_eq!(
            ended["error"]["type"], "model_error",
            "{:?}: {ended}",
            site.format
        );
        assert_eq!(
            ended["result"],
            "The model's answer does not match the agent's output_schema after 2 corrections: it is not valid JSON"
        );
        assert_eq!(ended["error"]["retryable"], true);
        assert_eq!(ended["usage"]["turns"], 3, "{ended}");
        assert_eq!(site.model.asked().len(), 3);
    }
}

#[tokio::test]
async fn corrections_count_towards_the_agents_limits() {
    for site in Site::each(|_| Reply::Text("I cannot count.")).await {
        let mut definition = with_schema(&closed());
        definition["limits"] = json!({ "max_turns": 2 });
        let ended = site.run(definition).await;
        assert_eq!(
            ended["error"]["type"], "model_error",
            "{:?}: {ended}",
            site.format
        );
        assert_eq!(ended["usage"]["turns"], 2, "{ended}");
    }
}

#[tokio::test]
async fn an_invalid_schema_is_refused_and_a_valid_one_can_be_removed() {
    let (world, model) = (World::start().await, FakeModel::saying("In words.").await);
    for (schema, says) in [
        (
            json!("x"),
            "`output_schema` is not valid: it must be a JSON object",
        ),
        (json!({ "type": "objekt" }), "`output_schema` is not valid"),
        (
            json!({ "$ref": "http://127.0.0.1:1/" }),
            "`$ref` must point into the schema itself",
        ),
        (json!({ "$ref": "#" }), "it refers to itself"),
    ] {
        let definition = json!({ "name": "a", "output_schema": schema });
        let made = world
            .manage(Method::POST, "/api/agents")
            .json(&definition)
            .send()
            .await
            .unwrap();
        let (message, code) = refused(made, 400).await;
        assert_eq!(code, "invalid_agent");
        assert!(message.contains(says), "{message}");
    }
    let quoting =
        json!({ "name": "a", "output_schema": closed(), "model": { "provider": "extractive" } });
    let made = world
        .manage(Method::POST, "/api/agents")
        .json(&quoting)
        .send()
        .await
        .unwrap();
    assert!(
        refused(made, 400)
            .await
            .0
            .contains("`output_schema` needs a model")
    );

    let agent = world.agent(&model, with_schema(&closed())).await;
    let path = format!("/api/agents/{}", agent.id);
    let shown: Value = world
        .manage(Method::GET, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(shown["output_schema"], closed());
    world
        .manage(Method::PATCH, &path)
        .json(&json!({ "output_schema": null }))
        .send()
        .await
        .unwrap();
    assert_eq!(
        world.run(&agent, "{}").await["result"]["result"]["answer"],
        "In words."
    );
}

#[tokio::test]
async fn a_schema_needs_a_model_which_can_be_the_deployments() {
    let world = World::start().await;
    let agent = world.agent_as(with_schema(&closed())).await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    assert_eq!(
        ended["result"],
        "The agent has an output_schema and no model to follow it"
    );
}
