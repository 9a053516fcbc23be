//! Documents of agents: upload, replacement, deletion, and answers from them.

mod aws;
mod command;
mod hostile;

use futures::future::join_all;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::support::pdf::{pdf, scanned};
use crate::support::{Agent, FakeModel, World, redaction, refused};

const ZEBRA: &str =
    "# Zoo\n\n## Feeding\n\nThe zebra is fed at noon.\n\n## Opening\n\nThe gates open at nine.";

/// Uploads a document. `query` can name it or be empty.
async fn upload(
    world: &World,
    agent: &Agent,
    query: &str,
    content_type: &str,
    bytes: &[u8],
) -> Response {
    redaction::payload(bytes);
    let path = format!("/api/agents/{}/sources{query}", agent.id);
    let request = world
        .manage(Method::POST, &path)
        .header("content-type", content_type);
    request.body(bytes.to_vec()).send().await.unwrap()
}

async fn uploaded(
    world: &World,
    agent: &Agent,
    query: &str,
    content_type: &str,
    bytes: &[u8],
) -> Value {
    let response = upload(world, agent, query, content_type, bytes).await;
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert!(
        matches!(status, StatusCode::CREATED | StatusCode::OK),
        "{status} {body}"
    );
    body
}

async fn listed(world: &World, agent: &Agent) -> Vec<Value> {
    let path = format!("/api/agents/{}/sources", agent.id);
    let answer: Value = world
        .manage(Method::GET, &path)
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    answer["sources"].as_array().unwrap().clone()
}

/// The best passage for a question to an agent without a model.
async fn best_passage(world: &World, agent: &Agent, question: &str) -> Value {
    let ended = world
        .run(agent, &json!({ "question": question }).to_string())
        .await;
    ended["result"]["result"]["sources"][0].clone()
}

#[tokio::test]
async fn a_document_of_every_format_is_accepted_and_named_in_answers() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let page =
        b"<title>The zoo</title><nav>Menu</nav><h1>Feeding</h1><p>The <b>zebra</b> is fed at noon.";
    let printed = pdf(&["Opening hours: nine to five.", "The zebra is fed at noon."]);
    for (content_type, bytes, title, text) in [
        (
            "text/plain",
            &b"The zebra is fed at noon."[..],
            "rules",
            "The zebra is fed at noon.",
        ),
        (
            "text/markdown",
            ZEBRA.as_bytes(),
            "Zoo",
            "# Zoo › Feeding\n\nThe zebra is fed at noon.",
        ),
        (
            "text/html; charset=utf-8",
            page,
            "The zoo",
            "# Feeding\n\nThe zebra is fed at noon.",
        ),
        (
            "application/pdf",
            &printed,
            "The zoo's rules",
            "# Page 2\n\nThe zebra is fed at noon.",
        ),
    ] {
        let document = uploaded(&world, &agent, "?source=rules", content_type, bytes).await;
        assert_eq!(
            (&document["title"], &document["source"]),
            (&json!(title), &json!("rules"))
        );
        assert_eq!(document["bytes"], bytes.len());
        assert!(document["passages"].as_u64().unwrap() > 0 && document["created_at"].is_string());
        let passage = json!({ "title": title, "text": text, "source": "rules" });
        assert_eq!(
            best_passage(&world, &agent, "When is the zebra fed?").await,
            passage,
            "{content_type}"
        );
        assert_eq!(listed(&world, &agent).await, [document]);
    }
}

#[tokio::test]
async fn a_model_gets_the_passages_of_documents_and_of_the_definition() {
    let model = FakeModel::saying("At noon.").await;
    let world = World::start().await;
    let texts = json!([{ "title": "Notes", "text": "The zebra prefers noon." }]);
    let agent = world.agent(&model, json!({ "sources": texts })).await;
    uploaded(
        &world,
        &agent,
        "?source=https://zoo.example/rules&title=Rules",
        "text/markdown",
        ZEBRA.as_bytes(),
    )
    .await;
    let ended = world
        .run(&agent, r#"{"question":"Is the zebra fed at noon?"}"#)
        .await;
    let system = model.asked()[0].system().to_owned();
    assert!(
        system.contains("## Rules\n# Zoo › Feeding\n\nThe zebra is fed at noon."),
        "{system}"
    );
    let sources = ended["result"]["result"]["sources"].as_array().unwrap();
    let named: Vec<&Value> = sources.iter().map(|passage| &passage["source"]).collect();
    assert_eq!(
        named,
        [&json!("https://zoo.example/rules"), &json!("Notes")]
    );
}

#[tokio::test]
async fn a_document_of_the_same_name_replaces_the_earlier_one_and_has_its_id() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let first = upload(
        &world,
        &agent,
        "?source=rules.md",
        "text/markdown",
        ZEBRA.as_bytes(),
    )
    .await;
    assert_eq!(first.status(), StatusCode::CREATED);
    let first: Value = first.json().await.unwrap();
    assert_eq!(best_passage(&world, &agent, "zebra").await["title"], "Zoo");
    let second = upload(
        &world,
        &agent,
        "?source=rules.md",
        "text/plain",
        b"The lion is fed at one.",
    )
    .await;
    assert_eq!(second.status(), StatusCode::OK);
    let second: Value = second.json().await.unwrap();
    assert_eq!(first["id"], second["id"]);
    assert_eq!(best_passage(&world, &agent, "zebra").await, Value::Null);
    assert_eq!(
        best_passage(&world, &agent, "lion").await["text"],
        "The lion is fed at one."
    );
    assert_eq!(listed(&world, &agent).await, [second]);
}

#[tokio::test]
async fn a_document_without_a_name_is_named_after_its_title_or_its_content() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    for (query, bytes, title, source) in [
        ("", "# Returns\n\nWithin 30 days.", "Returns", "Returns"),
        ("?title=Mine", "# Returns\n\nx", "Mine", "Mine"),
        ("", "Plain.", "document-02ba1837", "document-02ba1837"),
        ("", "Plain.", "document-02ba1837", "document-02ba1837"),
    ] {
        let document = uploaded(&world, &agent, query, "text/plain", bytes.as_bytes()).await;
        assert_eq!(
            (&document["title"], &document["source"]),
            (&json!(title), &json!(source))
        );
    }
    assert_eq!(listed(&world, &agent).await.len(), 3);
}

#[tokio::test]
async fn a_deleted_document_is_not_answered_from_and_deleting_it_again_is_404() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let document = uploaded(
        &world,
        &agent,
        "?source=rules.md",
        "text/markdown",
        ZEBRA.as_bytes(),
    )
    .await;
    let path = format!(
        "/api/agents/{}/sources/{}",
        agent.id,
        document["id"].as_str().unwrap()
    );
    let delete = async || world.manage(Method::DELETE, &path).send().await.unwrap();
    assert_eq!(delete().await.status(), StatusCode::NO_CONTENT);
    assert_eq!(listed(&world, &agent).await, Vec::<Value>::new());
    assert_eq!(
        world.run(&agent, r#""zebra""#).await["error"]["type"],
        "empty_answer"
    );
    assert_eq!(refused(delete().await, 404).await.1, "source_not_found");
}

#[tokio::test]
async fn documents_survive_a_restart_and_are_deleted_with_their_agent() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    uploaded(
        &world,
        &agent,
        "?source=rules.md",
        "text/markdown",
        ZEBRA.as_bytes(),
    )
    .await;
    let world = world.restart().await;
    let token = agent.url.rsplit('/').next().unwrap();
    let agent = Agent {
        id: agent.id.clone(),
        url: format!("{}/api/webhooks/agents/{token}", world.url),
    };
    assert_eq!(
        best_passage(&world, &agent, "zebra").await["source"],
        "rules.md"
    );
    let path = format!("/api/agents/{}", agent.id);
    assert_eq!(
        world
            .manage(Method::DELETE, &path)
            .send()
            .await
            .unwrap()
            .status(),
        StatusCode::NO_CONTENT
    );
    let gone = upload(&world, &agent, "", "text/plain", b"x").await;
    assert_eq!(refused(gone, 404).await.1, "agent_not_found");
}

#[tokio::test]
async fn documents_uploaded_concurrently_are_all_stored_and_an_update_of_the_agent_loses_none() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let uploads = (0..12).map(|n| {
        let (world, agent) = (&world, &agent);
        async move {
            let (query, text) = (
                format!("?source={n}.txt"),
                format!("Animal number{n} is fed at {n}."),
            );
            uploaded(world, agent, &query, "text/plain", text.as_bytes()).await
        }
    });
    join_all(uploads).await;
    let path = format!("/api/agents/{}", agent.id);
    let renamed = world
        .manage(Method::PATCH, &path)
        .json(&json!({ "name": "renamed" }))
        .send()
        .await
        .unwrap();
    assert_eq!(renamed.status(), 200);
    assert_eq!(listed(&world, &agent).await.len(), 12);
    for n in 0..12 {
        assert_eq!(
            best_passage(&world, &agent, &format!("number{n}")).await["source"],
            format!("{n}.txt")
        );
    }
}

/// Asserts that the response to an upload is this refusal.
async fn assert_upload_refused(response: Response, status: u16, code: &str, says: &str) {
    let (message, answered) = refused(response, status).await;
    assert_eq!(answered, code, "{message}");
    assert!(message.contains(says), "{message}");
}

#[tokio::test]
async fn an_upload_of_another_type_or_over_the_size_limit_is_refused() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let image = upload(&world, &agent, "", "image/png", b"x").await;
    assert_upload_refused(image, 415, "unsupported_media_type", "application/pdf").await;
    for source in ["", "?source=terms", "?source=terms.exe"] {
        let unknown = upload(&world, &agent, source, "application/octet-stream", b"x").await;
        assert_upload_refused(unknown, 415, "unsupported_media_type", ".docx").await;
    }
    let bytes = vec![b'a'; 4 * 1024 * 1024 + 1];
    let too_large = upload(&world, &agent, "", "text/plain", &bytes).await;
    assert_upload_refused(too_large, 413, "payload_too_large", "split it").await;
    let path = format!("/api/agents/{}/sources", agent.id);
    let encoded = world
        .manage(Method::POST, &path)
        .header("content-encoding", "gzip")
        .body("x");
    assert_eq!(
        refused(encoded.send().await.unwrap(), 415).await.1,
        "unsupported_encoding"
    );
    assert_eq!(listed(&world, &agent).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_format_of_a_file_without_a_content_type_is_that_of_its_extension() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    for (source, bytes, title) in [
        ("zoo.md", ZEBRA.as_bytes(), "Zoo"),
        (
            "https%3A%2F%2Fa.example%2Fzoo.HTML%3Fa%3Db.c",
            b"<title>Page</title><p>Zebra",
            "Page",
        ),
    ] {
        let query = format!("?source={source}");
        let document = uploaded(&world, &agent, &query, "application/octet-stream", bytes).await;
        assert_eq!(document["title"], title, "{document}");
    }
}

#[tokio::test]
async fn an_unreadable_document_is_refused_with_the_reason() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    for (content_type, bytes, says) in [
        ("text/plain", &b" \n "[..], "no text"),
        ("text/plain", b"\x81\x8d\x9d", "UTF-8"),
        ("application/pdf", b"%PDF-1.7 and no more", "PDF"),
        ("application/pdf", &scanned(), "OCR"),
    ] {
        let response = upload(&world, &agent, "", content_type, bytes).await;
        assert_upload_refused(response, 422, "unreadable_document", says).await;
    }
    assert_eq!(listed(&world, &agent).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_upload_with_an_invalid_parameter_is_refused_with_its_name() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    for (query, says) in [
        ("?tilte=x", "`title`"),
        (&format!("?source={}", "s".repeat(501)), "`source`"),
        (&format!("?title={}", "t".repeat(201)), "`title`"),
    ] {
        let response = upload(&world, &agent, query, "text/plain", b"x").await;
        assert_upload_refused(response, 400, "invalid_request", says).await;
    }
    assert_eq!(listed(&world, &agent).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_upload_without_the_admin_token_an_agent_or_post_is_refused() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let path = format!("/api/agents/{}/sources", agent.id);
    let without_token = world
        .http
        .post(format!("{}{path}", world.url))
        .body("x")
        .send()
        .await
        .unwrap();
    assert_eq!(refused(without_token, 401).await.1, "unauthorized");
    let unknown = Agent {
        id: "2dbd9bb7-d5c8-4995-abae-0ff9eebe67a1".into(),
        url: String::new(),
    };
    let response = upload(&world, &unknown, "", "text/plain", b"x").await;
    assert_eq!(refused(response, 404).await.1, "agent_not_found");
    let put = world.manage(Method::PUT, &path).send().await.unwrap();
    assert_eq!(refused(put, 405).await.1, "method_not_allowed");
    assert_eq!(listed(&world, &agent).await, Vec::<Value>::new());
}

#[tokio::test]
async fn an_upload_over_16_mib_of_text_per_agent_is_refused_with_the_limit() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let text = "A sentence about nothing in particular, and another one.\n\n".repeat(72_000);
    for n in 0..4 {
        uploaded(
            &world,
            &agent,
            &format!("?source={n}"),
            "text/plain",
            text.as_bytes(),
        )
        .await;
    }
    let refusal = refused(
        upload(&world, &agent, "?source=4", "text/plain", text.as_bytes()).await,
        400,
    )
    .await;
    assert_eq!(refusal.1, "sources_full");
    assert!(refusal.0.contains("16777216 bytes"), "{}", refusal.0);
    uploaded(
        &world,
        &agent,
        "?source=3",
        "text/plain",
        b"The zebra is fed at noon.",
    )
    .await;
    assert_eq!(best_passage(&world, &agent, "zebra").await["source"], "3");
}
