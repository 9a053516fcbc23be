//! The real server, spawned.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::wire::{Connection, message};
use crate::Failure;
use crate::cpu;

const ADMIN_TOKEN: &str = "measured-admin-token-0123456789abcdef";

pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    /// From the spawn to "listening".
    pub(crate) listened_in: Duration,
    /// From the spawn until what an earlier process had left was queued.
    pub(crate) resumed_in: Duration,
    /// Open as long as the server says things.
    _said: BufReader<ChildStdout>,
}

/// One agent of it.
pub(crate) struct Agent {
    /// Of its webhook.
    pub(crate) path: String,
}

impl Server {
    /// Returns once it runs tasks. `concurrency` is how many runs it has at a time.
    pub(crate) fn start(binaries: &Path, data: &Path, concurrency: usize) -> Result<Self, Failure> {
        let began = Instant::now();
        let binary = binaries.join("agent-webhooks");
        let mut process = Command::new(&binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log-format",
                "json",
                "--data-dir",
            ])
            .arg(data)
            .env("AGENT_WEBHOOKS_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("AGENT_WEBHOOKS_CONCURRENCY", concurrency.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        let mut said = BufReader::new(process.stdout.take().ok_or("the server has no output")?);
        let mut line = String::new();
        let mut listens = None;
        while said.read_line(&mut line)? > 0 {
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                listens = Some((address.parse()?, began.elapsed()));
            }
            if line.starts_with("Manage agents")
                && let Some((address, listened_in)) = listens
            {
                let resumed_in = began.elapsed();
                return Ok(Self {
                    process,
                    address,
                    listened_in,
                    resumed_in,
                    _said: said,
                });
            }
            line.clear();
        }
        Err("the server ended before it ran tasks".into())
    }

    /// Makes an agent that asks this model.
    pub(crate) async fn agent(&self, model_url: &str) -> Result<Agent, Failure> {
        let definition =
            json!({ "name": "measured", "model": { "base_url": model_url, "name": "instant" } });
        let headers = format!("authorization: Bearer {ADMIN_TOKEN}\r\n");
        let request = message(
            "POST /api/agents HTTP/1.1",
            &headers,
            &definition.to_string(),
        );
        let mut connection = Connection::open(self.address).await?;
        let answer = connection.ask(&request).await?;
        let made: Value = serde_json::from_slice(answer.body)?;
        let text = |name: &str| made.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(url) = text("webhook_url") else {
            return Err(format!("no agent was made: {} {made}", answer.status).into());
        };
        Ok(Agent {
            path: url.replace(&format!("http://{}", self.address), ""),
        })
    }

    /// MiB resident now, and at most since the start.
    pub(crate) fn memory(&self) -> Result<(f64, f64), Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let mib = |name: &str| -> Result<f64, Failure> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .ok_or("no such line")?;
            let kib: f64 = line
                .trim_start_matches(':')
                .trim()
                .trim_end_matches(" kB")
                .parse()?;
            Ok(kib / 1024.0)
        };
        Ok((mib("VmRSS")?, mib("VmHWM")?))
    }

    /// Time on the cores so far.
    pub(crate) fn cpu(&self) -> Result<Duration, Failure> {
        cpu::of(&self.process)
    }

    /// Stops it as an operator would, and waits for its end.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
