//! More concurrent requests than the server can handle.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::join_all;
use local::serve::Settings;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

use super::{Site, listen};
use crate::support::{accepted, refused, string};

/// One request at a time. The queue is longer than what the unrelated caller sends within its time limit.
fn narrow(settings: &mut Settings) {
    settings.http.max_requests = 1;
    settings.http.max_requests_per_route = 1;
    settings.http.max_waiting_per_route = 8;
}

async fn triggers(site: &Site, number: usize) -> Vec<Response> {
    let sending = (0..number).map(|n| site.world.post(&site.agent, &n.to_string()).send());
    join_all(sending)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect()
}

async fn stored_tasks(site: &Site) -> Vec<String> {
    let (mut tasks, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/tasks?agent_id={}&limit=100{cursor}", site.agent.id);
        let response = site.world.manage(Method::GET, &path).send().await.unwrap();
        let page: Value = response.json().await.unwrap();
        tasks.extend(
            page["tasks"]
                .as_array()
                .unwrap()
                .iter()
                .map(|task| string(&task["task_id"])),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            return tasks;
        };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_caller_gets_retry_after_and_every_accepted_task_ends() {
    let site = Site::open_with(narrow).await;
    let mut tasks = Vec::new();
    let mut turned_away = 0;
    for response in triggers(&site, 200).await {
        if response.status() == 200 {
            tasks.push(accepted(response).await);
        } else {
            let rest: u64 = response.headers()["retry-after"]
                .to_str()
                .unwrap()
                .parse()
                .unwrap();
            assert!((1..=5).contains(&rest), "{rest}");
            assert_eq!(refused(response, 503).await.1, "overloaded");
            turned_away += 1;
        }
    }
    assert!(
        turned_away > 0 && !tasks.is_empty(),
        "{turned_away} turned away"
    );
    for task in &tasks {
        assert_eq!(site.world.ended(task).await["status"], "SUCCESS");
    }
    site.closes_unharmed(tasks.len()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_agent_delays_neither_health_checks_nor_other_agents() {
    let site = Site::open_with(|settings| {
        narrow(settings);
        settings.http.max_requests = 2;
    })
    .await;
    let other = site
        .world
        .agent(&site.model, json!({ "name": "other" }))
        .await;
    let flooded = async {
        let answers = triggers(&site, 400).await;
        answers
            .iter()
            .filter(|response| response.status() == 200)
            .count()
    };
    let alone = async {
        for _ in 0..20 {
            let health = site
                .world
                .http
                .get(format!("{}/api/health", site.world.url))
                .send()
                .await
                .unwrap();
            assert_eq!(health.status(), 200);
            site.world.trigger(&other, "1").await;
        }
    };
    let (tasks, ()) = tokio::join!(flooded, alone);
    // No task remains in the queue: a task that is triggered after them is the last to run.
    site.world.run(&other, "1").await;
    site.world.run(&site.agent, "1").await;
    site.closes_unharmed(tasks + 22).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_task_is_queued_if_its_caller_disconnects_at_any_moment() {
    let site = Site::open().await;
    for n in 0..200 {
        let mut stream = site.connect().await;
        stream
            .write_all(site.post("Content-Length: 2\r\n", "{}").as_bytes())
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_micros(n * 20)).await;
    }
    site.world.run(&site.agent, "1").await;
    let tasks = stored_tasks(&site).await;
    for task in &tasks {
        site.world.ended(task).await;
    }
    site.closes_unharmed(tasks.len()).await;
}

#[tokio::test]
async fn a_request_whose_caller_resets_its_connection_while_it_waits_is_not_run() {
    let site = Site::open_unwatched_with(narrow).await;
    // Its body holds the only permit.
    let body = "1".repeat(100_000);
    let large = site.post(
        &format!("Connection: close\r\nContent-Length: {}\r\n", body.len()),
        &body,
    );
    let (begun, rest) = large.split_at(large.len() - 1);
    let mut working = site.connect().await;
    working.write_all(begun.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut waiting = site.connect().await;
    waiting
        .write_all(site.post("Content-Length: 2\r\n", "{}").as_bytes())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    waiting.set_zero_linger().unwrap();
    drop(waiting);
    tokio::time::sleep(Duration::from_millis(50)).await;
    working.write_all(rest.as_bytes()).await.unwrap();
    assert_eq!(listen(&mut working).await.status(), 200);
    site.closes_unharmed(1).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_close_earlier_ones() {
    let site = Site::open_unwatched_with(|settings| {
        settings.http.max_connections = 4;
        settings.http.header_timeout = Duration::from_secs(60);
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(site.connect().await);
    }
    let latest = idle.split_off(16);
    for stream in &mut idle {
        listen(stream).await;
    }
    let open = latest.iter().filter(|stream| is_open(stream)).count();
    assert_eq!(open, 4, "the latest connections stay");
    // The client of these tests may only notice now that its idle connection was closed, too.
    let _ = site
        .world
        .http
        .get(format!("{}/api/health", site.world.url))
        .send()
        .await;
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn when_connections_are_scarce_each_gets_one_response() {
    let site = Site::open_unwatched_with(|settings| settings.http.max_connections = 4).await;
    let health = "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = site.connect().await;
        stream.write_all(health.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    let closed = join_all(
        streams
            .iter_mut()
            .map(|stream| tokio::time::timeout(Duration::from_secs(2), listen(stream))),
    );
    let closed = closed.await.into_iter().filter(Result::is_ok).count();
    assert!(closed >= 1, "no connection was closed");
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn large_responses_arrive_complete_and_are_sent_a_few_at_a_time() {
    let site = Site::open_with(|settings| {
        settings.http.max_large_transfers = 1;
        settings.http.permit_timeout = Duration::from_millis(300);
        settings.http.idle_timeout = Duration::from_secs(5);
    })
    .await;
    let text: &'static str = "0123456789abcdef".repeat(220 * 1024).leak();
    let model = crate::support::FakeModel::saying(text).await;
    let agent = site.world.agent(&model, json!({ "name": "wordy" })).await;
    let task = site.world.trigger(&agent, "1").await;
    let ended = site.world.ended(&task).await;
    assert_eq!(
        ended["result"]["result"]["answer"].as_str().unwrap().len(),
        text.len()
    );

    let ask = format!(
        "GET /api/task_status?task_id={task} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    );
    let mut unread = narrow_connection(&site).await;
    unread.write_all(ask.as_bytes()).await.unwrap();
    // The response is being sent once the first byte is here.
    unread.readable().await.unwrap();
    assert_eq!(site.hear(&ask).await.code(), "overloaded");
    let whole = listen(&mut unread).await;
    assert_eq!(whole.status(), 200);
    assert!(whole.0.len() > text.len() && whole.0.to_lowercase().contains("content-length: 36"));
    site.closes_unharmed(0).await;
}

#[tokio::test]
async fn the_limit_of_large_responses_applies_only_to_large_bodies_in_memory() {
    let site = Site::open_with(|settings| {
        settings.http.max_large_transfers = 0;
        settings.http.permit_timeout = Duration::from_millis(50);
    })
    .await;
    for _ in 0..3 {
        site.world
            .agent(&site.model, json!({ "prompt": "Be brief. ".repeat(3000) }))
            .await;
    }
    for (encoding, status) in [("identity", 503), ("gzip", 200)] {
        let list = site
            .world
            .manage(Method::GET, "/api/agents")
            .header("accept-encoding", encoding);
        assert_eq!(list.send().await.unwrap().status(), status, "{encoding}");
        let page = site
            .world
            .http
            .get(format!("{}{}", site.world.url, largest_page(&site).await));
        let page = page
            .header("accept-encoding", encoding)
            .send()
            .await
            .unwrap();
        assert_eq!(page.status(), 200);
        assert!(page.bytes().await.unwrap().len() > 128 * 1024);
    }
}

#[tokio::test]
async fn slow_readers_of_pages_delay_no_response() {
    let site = Site::open_with(|settings| {
        settings.http.max_large_transfers = 1;
        settings.http.permit_timeout = Duration::from_millis(100);
    })
    .await;
    for _ in 0..3 {
        site.world
            .agent(&site.model, json!({ "prompt": "Be brief. ".repeat(3000) }))
            .await;
    }
    let page = largest_page(&site).await;
    let mut readers = Vec::new();
    for n in 0..24 {
        let encoding = if n % 2 == 0 { "gzip" } else { "identity" };
        let ask = format!("GET {page} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {encoding}\r\n\r\n");
        let mut reader = narrow_connection(&site).await;
        // More pages than the buffers of the connection can hold.
        reader.write_all(ask.repeat(20).as_bytes()).await.unwrap();
        readers.push(reader);
    }
    for reader in &readers {
        reader.readable().await.unwrap();
    }
    for _ in 0..10 {
        let list = site
            .world
            .manage(Method::GET, "/api/agents")
            .send()
            .await
            .unwrap();
        assert_eq!(list.status(), 200);
        assert!(list.bytes().await.unwrap().len() > 64 * 1024);
    }
}

/// Whether the server has not closed the connection.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// A script of more than a megabyte, which needs no authentication.
async fn largest_page(site: &Site) -> String {
    let docs = site
        .world
        .http
        .get(format!("{}/api/docs", site.world.url))
        .send()
        .await
        .unwrap();
    let docs = docs.text().await.unwrap();
    let is_largest =
        |part: &&str| part.starts_with("/api/docs/assets/swagger-ui-") && part.ends_with(".js");
    docs.split('"').find(is_largest).unwrap().to_owned()
}

/// A connection with a small receive buffer, so that the server cannot send a response at once.
async fn narrow_connection(site: &Site) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket
        .connect(
            site.world
                .url
                .trim_start_matches("http://")
                .parse()
                .unwrap(),
        )
        .await
        .unwrap()
}
