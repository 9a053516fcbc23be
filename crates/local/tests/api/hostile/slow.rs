//! Slow callers.

use std::time::{Duration, Instant};

use local::serve::Settings;
use tokio::io::AsyncWriteExt as _;

use super::{Site, listen};

const HEAD: Duration = Duration::from_millis(400);
const PAUSE: Duration = Duration::from_millis(400);
const BODY: Duration = Duration::from_millis(1200);

fn impatient(settings: &mut Settings) {
    settings.http.header_timeout = HEAD;
    settings.http.idle_timeout = PAUSE;
    settings.http.body_timeout = BODY;
}

/// Sends `bytes` one by one, with a pause of `rest` after each, until the server closes the connection.
async fn drip(site: &Site, at_once: &str, bytes: &str, rest: Duration) -> (String, Duration) {
    let mut stream = site.connect().await;
    let started = Instant::now();
    stream.write_all(at_once.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut heard = Vec::new();
    let dripping = async {
        for byte in bytes.bytes().cycle() {
            if writing.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(rest).await;
        }
    };
    tokio::select! {
        () = dripping => {}
        _ = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut heard) => {}
    }
    (String::from_utf8(heard).unwrap(), started.elapsed())
}

#[tokio::test]
async fn headers_sent_byte_by_byte_end_their_connection_in_time_and_delay_no_other_caller() {
    let site = Site::open_with(impatient).await;
    let start = format!("GET {} HTTP/1.1\r\n", site.path);
    let dripping = async {
        let many = (0..50).map(|_| drip(&site, &start, "X: y\r\n", Duration::from_millis(30)));
        futures::future::join_all(many).await
    };
    let serving = async {
        for _ in 0..10 {
            site.world.run(&site.agent, "1").await;
        }
    };
    let (dripped, ()) = tokio::join!(dripping, serving);
    for (heard, took) in dripped {
        assert_eq!(heard, "");
        assert!(took > HEAD / 2 && took < HEAD * 10, "{took:?}");
    }
    site.closes_unharmed(10).await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time_also_after_a_response() {
    let site = Site::open_with(impatient).await;
    let mut idle = Vec::new();
    for n in 0..300 {
        let mut stream = site.connect().await;
        if n % 2 == 0 {
            stream
                .write_all(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
                .await
                .unwrap();
        }
        idle.push(stream);
    }
    site.world.run(&site.agent, "1").await;
    for stream in &mut idle {
        listen(stream).await;
    }
    site.closes_unharmed(1).await;
}

#[tokio::test]
async fn a_body_that_stops_gets_a_408() {
    let site = Site::open_with(impatient).await;
    for headers in [
        "Content-Length: 100\r\n",
        "Content-Length: 500000\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        let started = Instant::now();
        let heard = site.hear(site.post(headers, "5\r\n[1,2,")).await;
        assert_eq!(
            (heard.status(), heard.code().as_str()),
            (408, "request_timeout"),
            "{headers}"
        );
        assert!(started.elapsed() > PAUSE / 2 && started.elapsed() < BODY * 5);
        assert!(
            heard.0.to_lowercase().contains("connection: close"),
            "{}",
            heard.0
        );
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn a_body_sent_byte_by_byte_gets_a_408_at_the_time_limit() {
    let site = Site::open_with(impatient).await;
    for length in [1000, 500_000] {
        let start = site.post(&format!("Content-Length: {length}\r\n"), "");
        let (heard, took) = drip(&site, &start, "1", PAUSE / 8).await;
        assert!(heard.starts_with("HTTP/1.1 408 "), "{heard}");
        assert!(took > BODY / 2 && took < BODY * 5, "{took:?}");
    }
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn slow_bodies_do_not_block_others() {
    let site = Site::open_with(|settings| {
        settings.http.max_requests = 4;
        settings.http.max_requests_per_route = 4;
        settings.http.max_large_transfers = 2;
        settings.http.max_large_bodies_per_route = 2;
    })
    .await;
    let mut slow = Vec::new();
    for n in 0..40 {
        let length = if n % 2 == 0 { 1000 } else { 500_000 };
        let mut stream = site.connect().await;
        stream
            .write_all(
                site.post(&format!("Content-Length: {length}\r\n"), "[")
                    .as_bytes(),
            )
            .await
            .unwrap();
        slow.push(stream);
    }
    for _ in 0..10 {
        site.world.run(&site.agent, "1").await;
    }
    drop(slow);
    site.closes_unharmed(10).await;
}

#[tokio::test]
async fn an_unread_response_ends_its_connection() {
    let site = Site::open_with(impatient).await;
    let mut stream = site.connect().await;
    // More requests than the buffers of the connection have room for responses.
    let many = "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    let sending = async { while stream.write_all(many.as_bytes()).await.is_ok() {} };
    tokio::time::timeout(super::PATIENCE, sending)
        .await
        .expect("the server closes");
    site.closes_unharmed(0).await;
}
