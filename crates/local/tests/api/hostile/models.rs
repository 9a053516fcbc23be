//! Hostile model providers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::{Site, bomb};
use crate::support::FakeModel;

/// Responds to every call with `headers` and then `piece`, `times` times.
async fn model(headers: String, piece: Vec<u8>, times: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = [0; 64 * 1024];
            let _ = stream.read(&mut asked).await;
            let _ = stream.write_all(headers.as_bytes()).await;
            for _ in 0..times {
                if stream.write_all(&piece).await.is_err() {
                    break;
                }
            }
        }
    });
    url
}

async fn ended(site: &Site, url: String) -> Value {
    let definition = json!({
        "name": "ill-served", "limits": { "timeout_seconds": 5 },
        "model": { "base_url": url, "name": "m" },
    });
    let agent = site.world.agent_as(definition).await;
    site.world.run(&agent, "1").await
}

#[tokio::test]
async fn a_compressed_response_is_not_decompressed() {
    let site = Site::open().await;
    let bomb = bomb(64 * 1024 * 1024);
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let length = bomb.len();
        let headers = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {length}\r\n\
             Content-Type: application/json\r\n\r\n"
        );
        let ended = ended(&site, model(headers, bomb.clone(), 1).await).await;
        assert_eq!(ended["error"]["type"], "model_error", "{ended}");
        assert_eq!(ended["attempt"], 1, "{ended}");
    }
    // The request does not accept compression either.
    let polite = FakeModel::saying("x").await;
    site.world
        .run(
            &site.world.agent(&polite, json!({ "name": "polite" })).await,
            "1",
        )
        .await;
    assert!(!polite.asked()[0].headers.contains_key("accept-encoding"));
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn an_endless_response_ends_at_8_mib_and_its_task_fails() {
    let site = Site::open().await;
    for framing in [
        "Transfer-Encoding: chunked",
        "Content-Length: 1000000000000",
    ] {
        let piece = format!("10000\r\n{}\r\n", " ".repeat(0x1_0000)).into_bytes();
        let headers = format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n");
        let started = Instant::now();
        let ended = ended(&site, model(headers, piece, usize::MAX).await).await;
        assert_eq!(
            ended["result"], "The model provider returned more than 8 MiB",
            "{ended}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn endless_headers_end_the_call_and_its_task() {
    let site = Site::open().await;
    let headers = "HTTP/1.1 200 OK\r\n".to_owned();
    let ended = ended(
        &site,
        model(headers, b"X: y\r\n".to_vec(), usize::MAX).await,
    )
    .await;
    assert_eq!(ended["status"], "FAILURE", "{ended}");
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn a_response_of_very_deep_json_fails_only_its_own_task() {
    let site = Site::open().await;
    let body = format!("{{\"choices\":{}", "[".repeat(100_000));
    let headers = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let ended = ended(&site, model(headers, body.into_bytes(), 1).await).await;
    assert_eq!(ended["error"]["type"], "model_error", "{ended}");
    site.closes_unharmed(0).await;
}
