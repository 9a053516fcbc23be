//! Documents that try to exhaust their parser.

use std::time::Instant;

use serde_json::json;

use super::{best_passage, upload, uploaded};
use crate::support::pdf::{bomb, endless, many_objects_in_one};
use crate::support::{World, refused};

#[tokio::test]
async fn a_hostile_pdf_ends_only_its_own_parser() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    let mut hostile = endless();
    hostile.extend([bomb(1024 * 1024 * 1024), many_objects_in_one()]);
    for (number, file) in hostile.iter().enumerate() {
        assert!(file.len() < 4 * 1024 * 1024, "{number}");
        let started = Instant::now();
        let response = upload(&world, &agent, "?source=bad.pdf", "application/pdf", file).await;
        println!(
            "hostile PDF {number}, {} bytes: {} after {:?}",
            file.len(),
            response.status(),
            started.elapsed()
        );
        assert_eq!(refused(response, 422).await.1, "unreadable_document");
    }
    uploaded(
        &world,
        &agent,
        "",
        "text/plain",
        b"The zebra is fed at noon.",
    )
    .await;
    assert_eq!(
        best_passage(&world, &agent, "zebra").await["text"],
        "The zebra is fed at noon."
    );
}

#[tokio::test]
async fn a_hostile_page_takes_no_more_than_its_length() {
    let world = World::start().await;
    let agent = world.agent_as(json!({})).await;
    for unit in [
        "<div>",
        "<b><p>",
        "<table><tr>",
        "<nav>",
        "<svg><style>",
        "&amp",
        "<a href='",
        "<!--",
    ] {
        let page = format!("zebra {}", unit.repeat(2_000_000 / unit.len()));
        uploaded(
            &world,
            &agent,
            "?source=bad.html",
            "text/html",
            page.as_bytes(),
        )
        .await;
        assert_eq!(
            best_passage(&world, &agent, "zebra").await["source"],
            "bad.html",
            "{unit}"
        );
    }
}
