//! Callers, each of whom asks again as soon as it has its answer.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::LocalSet;

use super::wire::{Connection, message};
use crate::Failure;
use crate::summary::Samples;

/// When the callers stop.
#[derive(Clone, Copy)]
pub(crate) enum Until {
    /// After so many requests of all of them.
    Sent(u64),
    /// After this long.
    Over(Duration),
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) seconds: f64,
    /// Of each request, in milliseconds.
    pub(crate) times: Samples,
    answers: Vec<Vec<u8>>,
}

impl Load {
    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// The ids of the tasks that were triggered.
    pub(crate) fn tasks(&self) -> Result<Vec<String>, Failure> {
        let id = |answer: &Vec<u8>| -> Result<String, Failure> {
            let answer: Value = serde_json::from_slice(answer)?;
            Ok(answer
                .get("task_id")
                .and_then(Value::as_str)
                .ok_or("an answer without a task")?
                .to_owned())
        };
        self.answers.iter().map(id).collect()
    }
}

/// Sends what `request` makes of 0, 1, 2 … over this many connections.
pub(crate) async fn load(
    address: SocketAddr,
    connections: usize,
    until: Until,
    request: impl Fn(u64) -> Vec<u8> + 'static,
) -> Result<Load, Failure> {
    let (next, request) = (Rc::new(Cell::new(0)), Rc::new(request));
    let mut open = Vec::with_capacity(connections);
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let callers = LocalSet::new();
    let found = Rc::new(RefCell::new(Load::default()));
    let began = Instant::now();
    let mut calls = Vec::with_capacity(connections);
    for mut connection in open {
        let (next, request, found) = (Rc::clone(&next), Rc::clone(&request), Rc::clone(&found));
        calls.push(callers.spawn_local(async move {
            while let Some(number) = draw(&next, until, began) {
                let question = request(number);
                let asked = Instant::now();
                let answer = connection.ask(&question).await?;
                let millis = asked.elapsed().as_secs_f64() * 1000.0;
                if answer.status != 200 {
                    let body = String::from_utf8_lossy(answer.body);
                    return Err(Failure::from(format!("answered {}: {body}", answer.status)));
                }
                let mut found = found.borrow_mut();
                found.times.push(millis);
                found.answers.push(answer.body.to_vec());
            }
            Ok(())
        }));
    }
    callers.await;
    let seconds = began.elapsed().as_secs_f64();
    for call in calls {
        call.await??;
    }
    Ok(Load {
        seconds,
        ..found.take()
    })
}

fn draw(next: &Cell<u64>, until: Until, began: Instant) -> Option<u64> {
    let number = next.get();
    let goes_on = match until {
        Until::Sent(all) => number < all,
        Until::Over(time) => began.elapsed() < time,
    };
    next.set(number + 1);
    goes_on.then_some(number)
}

/// A trigger with a small payload.
pub(crate) fn trigger(path: &str, key: Option<&str>, number: u64) -> Vec<u8> {
    let headers = key
        .map(|key| format!("idempotency-key: {key}\r\n"))
        .unwrap_or_default();
    let body = format!(r#"{{"order":{{"id":{number},"total":"12.50","items":["one","two"]}}}}"#);
    message(&format!("POST {path} HTTP/1.1"), &headers, &body)
}

/// A poll.
pub(crate) fn status(task: &str) -> Vec<u8> {
    format!("GET /api/task_status?task_id={task} HTTP/1.1\r\nhost: bench\r\n\r\n").into_bytes()
}

/// Asks until the task has ended. Fails if it ended in any other way than SUCCESS.
pub(crate) async fn succeeded(connection: &mut Connection, task: &str) -> Result<(), Failure> {
    let question = status(task);
    loop {
        let answer = connection.ask(&question).await?;
        let found: Value = serde_json::from_slice(answer.body)?;
        match found.get("status").and_then(Value::as_str) {
            Some("SUCCESS") => return Ok(()),
            Some("PENDING" | "STARTED") => {}
            _ => return Err(format!("answered {}: {found}", answer.status).into()),
        }
    }
}
