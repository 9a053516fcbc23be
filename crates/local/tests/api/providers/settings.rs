//! Which providers an agent may use, and what the deployment must provide.

use reqwest::Method;
use serde_json::{Value, json};

use super::Site;
use crate::support::formats::Format;
use crate::support::functions::functions_of;
use crate::support::{FakeModel, Reply, World, refused};

#[tokio::test]
async fn a_model_that_its_provider_cannot_use_is_refused_with_what_to_change() {
    let world = World::start().await;
    for (model, says) in [
        (
            json!({ "provider": "anthropic" }),
            "`model.name` is required for the provider `anthropic`",
        ),
        (
            json!({ "provider": "bedrock" }),
            "`model.name` is required for the provider `bedrock`",
        ),
        (
            json!({ "provider": "anthropic", "name": "m", "base_url": "ftp://h" }),
            "`model.base_url` must be an absolute http or https URL",
        ),
        (
            json!({ "provider": "bedrock", "name": "m", "base_url": "http://h" }),
            "`model.base_url` is not supported for the provider `bedrock`",
        ),
        (
            json!({ "provider": "bedrock", "name": "m", "api_key": "k" }),
            "`model.api_key` is not supported for the provider `bedrock`",
        ),
        (
            json!({ "provider": "oracle", "name": "m" }),
            "unknown variant `oracle`",
        ),
    ] {
        let definition = json!({ "name": "a", "model": model });
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
}

#[tokio::test]
async fn anthropic_is_called_at_its_own_address_unless_base_url_is_set() {
    let model = FakeModel::saying("Here.").await;
    let world = World::start_with(|settings| settings.runs.max_attempts = 1).await;
    // With the version in the path, as for other providers.
    let definition = json!({
        "model": { "provider": "anthropic", "name": "m", "base_url": format!("{}/v1/", model.origin) },
    });
    let agent = world.agent_as(definition).await;
    assert_eq!(world.run(&agent, "{}").await["status"], "SUCCESS");
    assert_eq!(model.asked()[0].path, "/v1/messages");
}

#[tokio::test]
async fn bedrock_needs_the_deployments_region_and_credentials() {
    let world = World::start().await;
    let agent = world
        .agent_as(json!({ "model": Format::BEDROCK.model("") }))
        .await;
    let ended = world.run(&agent, "{}").await;
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    assert!(
        ended["result"].as_str().unwrap().contains("AWS_REGION"),
        "{ended}"
    );
}

#[tokio::test]
async fn the_functions_run_an_agent_of_every_provider() {
    for format in Format::ALL {
        let model = FakeModel::saying("From the function.").await;
        let functions = functions_of(&model, json!({ "model": format.model(&model.origin) })).await;
        let triggered: Value = functions.trigger(None).await.json().await.unwrap();
        let task = triggered["task_id"].as_str().unwrap();
        assert!(
            functions.deliver(&[task], false).await.is_empty(),
            "{format:?}"
        );
        let status: Value = functions.status(task).await.json().await.unwrap();
        assert_eq!(
            status["result"]["result"]["answer"], "From the function.",
            "{format:?}: {status}"
        );
        assert_eq!(model.asked()[0].format(), format);
    }
}

#[tokio::test]
async fn a_servers_error_code_is_reported_and_its_message_is_not() {
    let reply = |_| {
        let error = json!({ "type": "invalid_request_error", "message": "your zebra is too long" });
        Reply::Refusal(400, json!({ "type": "error", "error": error }))
    };
    for site in Site::each(reply).await {
        let ended = site.run(json!({})).await;
        assert_eq!(
            ended["result"], "The model provider returned HTTP 400 (invalid_request_error)",
            "{:?}",
            site.format
        );
    }
}
