//! Other callers while one caller attacks the real server's HTTP front end.

#![expect(
    clippy::print_stdout,
    reason = "the figures of a test are part of its output"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use crate::support::others::{MIB, Site};
use crate::support::{Agent, accepted, client};

/// More than the server's 1,024.
const CONNECTIONS: usize = 1100;
const ATTACK: Duration = Duration::from_secs(4);
const BUDGET: u64 = 256 * MIB;
const ATTACKER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ANOTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Sends these bytes from one address, and then one byte every `pause`.
async fn drip(site: &Site, at_once: Vec<u8>, pause: Duration) -> JoinHandle<()> {
    let mut stream = connect(site, ATTACKER).await;
    // The server may have refused the connection by then.
    let _ = stream.write_all(&at_once).await;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(pause).await;
            if stream.write_all(b"1").await.is_err() {
                // The connection stays open until the attack ends.
                std::future::pending::<()>().await;
            }
        }
    })
}

async fn connect(site: &Site, from: Ipv4Addr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.into(), 0)).unwrap();
    socket
        .connect(site.url.trim_start_matches("http://").parse().unwrap())
        .await
        .unwrap()
}

/// `CONNECTIONS` connections of one address that send `bytes` and stay open.
async fn crowd(site: &Site, bytes: &str) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for n in 0..CONNECTIONS {
        if n % 25 == 0 {
            // Opening connections is not the attack, and slows the whole machine.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut stream = connect(site, ATTACKER).await;
        let _ = stream.write_all(bytes.as_bytes()).await;
        streams.push(stream);
    }
    streams
}

fn post(path: &str, headers: &str, body: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}")
}

fn path(site: &Site, agent: &Agent) -> String {
    agent.url.replace(&site.url, "")
}

/// The first letter of the token as an escape.
fn escaped(path: &str) -> String {
    let (before, token) = path.rsplit_once('/').unwrap();
    format!("{before}/%{:02x}{}", token.as_bytes()[0], &token[1..])
}

async fn attacked_agent(site: &Site) -> Agent {
    site.agent(json!({ "name": "attacked", "model": site.quiet_model() }))
        .await
}

/// Triggers `agent` with 200 KB from this address, and asserts that it is accepted.
async fn trigger_large(agent: &Agent, from: Ipv4Addr, is_chunked: bool) -> Duration {
    let caller = reqwest::Client::builder()
        .no_proxy()
        .local_address(IpAddr::from(from))
        .build()
        .unwrap();
    let json = format!("[\"{}\"]", "x".repeat(200_000));
    let body = match is_chunked {
        true => reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>(json)])),
        false => json.into(),
    };
    let started = Instant::now();
    accepted(caller.post(&agent.url).body(body).send().await.unwrap()).await;
    started.elapsed()
}

/// Asserts that `attack` affects no others, at the attacker's address or at another.
async fn assert_unharmed(site: Site, attack: impl AsyncFn(&Site) -> Vec<TcpStream>) {
    for from in [ATTACKER, ANOTHER] {
        let watch = site.watch_from(from.into());
        let held = attack(&site).await;
        tokio::time::sleep(ATTACK).await;
        println!("from {from}:");
        watch.finish().await;
        drop(held);
    }
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_attack_others_are_unaffected() {
    assert_unharmed(Site::start().await, async |_| Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_chunked_bodies_to_two_spellings_of_a_webhook_block_no_large_trigger() {
    let site = Site::start().await;
    let (agent, other) = (attacked_agent(&site).await, attacked_agent(&site).await);
    let watch = site.watch();
    let path = path(&site, &agent);
    for n in 0..16 {
        let path = if n % 2 == 0 {
            path.clone()
        } else {
            escaped(&path)
        };
        let begin = post(&path, "Transfer-Encoding: chunked\r\n", "100000\r\n[");
        drip(&site, begin.into_bytes(), Duration::from_secs(1)).await;
    }
    for from in [ATTACKER, ANOTHER] {
        for (agent, is_chunked) in [
            (&agent, false),
            (&agent, true),
            (&other, false),
            (&other, true),
        ] {
            let took = trigger_large(agent, from, is_chunked).await;
            println!("a large trigger took {took:?}");
        }
    }
    tokio::time::sleep(ATTACK).await;
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_that_become_slow_lose_their_permit_to_others() {
    let site = Site::start().await;
    let agents = [attacked_agent(&site).await, attacked_agent(&site).await];
    let other = attacked_agent(&site).await;
    let watch = site.watch();
    let begun = "1".repeat(100_000);
    for agent in &agents {
        for path in [path(&site, agent), escaped(&path(&site, agent))] {
            for headers in [
                "Content-Length: 900000\r\n",
                "Transfer-Encoding: chunked\r\n",
            ] {
                let chunk = if headers.starts_with('T') {
                    "100000\r\n"
                } else {
                    ""
                };
                let bytes = post(&path, headers, &format!("{chunk}{begun}"));
                for _ in 0..4 {
                    drip(
                        &site,
                        bytes.clone().into_bytes(),
                        Duration::from_millis(200),
                    )
                    .await;
                }
            }
        }
    }
    // Sixteen slow bodies for each of two webhooks. Eight of them have a permit.
    let started = Instant::now();
    for from in [ANOTHER, ATTACKER] {
        for agent in [&other, &agents[0]] {
            let took = trigger_large(agent, from, false).await;
            println!("a large trigger took {took:?}");
        }
    }
    assert!(
        started.elapsed() < Duration::from_secs(12),
        "{:?}",
        started.elapsed()
    );
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_of_one_address_delay_no_other_caller() {
    assert_unharmed(Site::start().await, async |site| crowd(site, "").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_with_incomplete_headers_delay_no_other_caller() {
    assert_unharmed(Site::start().await, async |site| {
        crowd(site, "GET /api/health HTTP/1.1\r\nHost: x\r\nX: y\r\n").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_idle_connections_delay_no_other_caller() {
    assert_unharmed(Site::start().await, async |site| {
        crowd(site, "GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n").await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_with_incomplete_bodies_delay_no_other_caller() {
    let site = Site::start().await;
    let agent = attacked_agent(&site).await;
    let begin = post(&path(&site, &agent), "Content-Length: 1000\r\n", "[1,");
    assert_unharmed(site, async |site| crowd(site, &begin).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_for_many_unknown_webhooks_delay_no_other_caller() {
    assert_unharmed(Site::start().await, async |site| {
        let mut streams = Vec::new();
        for n in 0..200 {
            let mut stream = connect(site, ATTACKER).await;
            let path = format!("/api/webhooks/agents/{n:040x}");
            let begin = post(&path, "Content-Length: 1000000\r\n", &"1".repeat(70_000));
            let _ = stream.write_all(begin.as_bytes()).await;
            streams.push(stream);
        }
        streams
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_connects_repeatedly_delays_no_other_caller() {
    let site = Site::start().await;
    let watch = site.watch();
    let started = Instant::now();
    let mut streams = Vec::new();
    while started.elapsed() < ATTACK {
        // A thousand per second. Each is open for about a second.
        streams.extend(join_all((0..20).map(|_| connect(&site, ATTACKER))).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
        if streams.len() > 2 * CONNECTIONS {
            streams.drain(..CONNECTIONS);
        }
    }
    watch.finish().await;
    site.assert_memory_below(BUDGET);
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_do_not_read_large_responses_lose_their_permit_to_others() {
    let site = Site::start().await;
    let text: &'static str = "0123456789abcdef".repeat(160 * 1024).leak();
    let model = crate::support::FakeModel::saying(text).await;
    let wordy = json!({ "name": "wordy", "model": { "base_url": model.url, "name": "m" } });
    let agent = site.agent(wordy).await;
    let task = accepted(client().post(&agent.url).body("{}").send().await.unwrap()).await;
    assert_eq!(
        site.ended(&task, Duration::from_secs(20)).await["status"],
        "SUCCESS"
    );

    let watch = site.watch();
    let ask = format!("GET /api/task_status?task_id={task} HTTP/1.1\r\nHost: x\r\n\r\n");
    let mut unread = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket
            .connect(site.url.trim_start_matches("http://").parse().unwrap())
            .await
            .unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        stream.readable().await.unwrap();
        unread.push(stream);
    }
    let answer = site.ended(&task, Duration::from_secs(5)).await;
    assert_eq!(
        answer["result"]["result"]["answer"].as_str().unwrap().len(),
        text.len()
    );
    tokio::time::sleep(ATTACK).await;
    watch.finish().await;
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_closes_its_side_after_sending_gets_its_response() {
    let site = Site::start().await;
    let agent = attacked_agent(&site).await;
    let watch = site.watch();
    let large = format!("[\"{}\"]", "x".repeat(300_000));
    for body in ["{}", &large] {
        for n in 0..20 {
            let length = format!("Content-Length: {}\r\n", body.len());
            let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            let request = match n % 2 {
                0 => post(&path(&site, &agent), &length, body),
                _ => post(
                    &path(&site, &agent),
                    "Transfer-Encoding: chunked\r\n",
                    &chunked,
                ),
            };
            let mut stream = connect(&site, ATTACKER).await;
            stream.write_all(request.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut heard = String::new();
            stream.read_to_string(&mut heard).await.unwrap();
            assert!(heard.starts_with("HTTP/1.1 200 "), "{heard:?}");
            assert!(heard.contains("\"task_id\""), "{heard}");
        }
    }
    watch.finish().await;
    site.assert_stops_in_time().await;
}
