//! A fake model provider with faults by plan: it can close the connection, cut off a
//! response, never respond, and end its caller's process. It uses bare sockets, because
//! HTTP servers cannot do this to their responses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{Moment, TaskId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::world::Machine;
use crate::support::Time;
use crate::support::formats::{Format, Says};
use crate::support::model::completion;
use crate::support::plan::Fault;
use crate::support::wire::Wire;

/// What the server does at a task's n-th run (from 0) if the plan has no fault.
pub(crate) type Script = fn(usize) -> Act;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Answer,
    /// Long enough for two runners to meet.
    AnswerSlowly,
    Busy,
    /// Does not accept a part of the request.
    Refuse,
    /// The caller's process dies.
    Kill,
    /// Calls a tool, with other arguments each time, and answers after the call.
    UseTool,
}

/// One call of the tool.
#[derive(Clone, Debug)]
pub(crate) struct ToolCall {
    /// Begins with the task's id.
    pub(crate) key: String,
    pub(crate) arguments: Value,
}

/// One request to the model.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From the prompt, which is the task's id and the time.
    pub(crate) task: String,
    pub(crate) payload: String,
    pub(crate) authorization: Option<String>,
    /// How many turns of the model this run had before.
    pub(crate) turn: usize,
    /// The attempt in the task's record at that time. `held`: whether its lease was valid.
    pub(crate) attempt: u64,
    pub(crate) held: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) act: Act,
    /// The complete answer, if it was sent to the caller.
    pub(crate) answer: Option<String>,
}

#[derive(Clone)]
pub(crate) struct Provider(Arc<Shared>);

struct Shared {
    origin: String,
    script: Script,
    /// Whether its callers wait for a few seconds only.
    impatient: bool,
    wire: Wire,
    time: Time,
    callers: [Arc<Machine>; 2],
    runs: Mutex<Vec<Run>>,
    tool_calls: Mutex<Vec<ToolCall>>,
}

enum Reply {
    Text(String),
    WantsTool(String),
    Cut(String),
    Status(u16, &'static str),
    Refusal(&'static str),
    Close,
    Never,
}

impl Provider {
    pub(crate) async fn start(
        script: Script,
        impatient: bool,
        wire: &Wire,
        time: &Time,
        callers: [Arc<Machine>; 2],
        listener: TcpListener,
    ) -> Self {
        let origin = origin(&listener);
        let (wire, time) = (wire.clone(), time.clone());
        let (runs, tool_calls) = (Mutex::default(), Mutex::default());
        let shared = Shared {
            origin,
            script,
            impatient,
            wire,
            time,
            callers,
            runs,
            tool_calls,
        };
        let provider = Self(Arc::new(shared));
        let served = provider.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        provider
    }

    pub(crate) fn origin(&self) -> &str {
        &self.0.origin
    }

    pub(crate) fn runs(&self) -> Vec<Run> {
        self.0.runs.lock().unwrap().clone()
    }

    pub(crate) fn tool_calls(&self) -> Vec<ToolCall> {
        self.0.tool_calls.lock().unwrap().clone()
    }

    /// The definition of the tool that the model calls.
    pub(crate) fn tool(&self) -> Value {
        let parameters = json!({ "properties": { "asked_for_by": {} } });
        let operation =
            json!({ "name": "act", "method": "POST", "path": "/tool", "parameters": parameters });
        json!({
            "type": "http", "name": "acts", "base_url": format!("{}/v1", self.origin()), "timeout_seconds": 1, "operations": [operation],
        })
    }

    /// Serves one request per connection.
    async fn serve(self, mut stream: TcpStream) {
        let Some((headers, body)) = read_request(&mut stream).await else {
            return;
        };
        let (format, reply) = match headers.starts_with("POST /v1/tool") {
            true => (Format::OPENAI, self.call_tool(&headers, body)),
            false => {
                let format = Format::from_path(headers.split(' ').nth(1).unwrap_or_default());
                (format, self.reply(format, &headers, &body).await)
            }
        };
        let (status, header, content, sent) = match reply {
            Reply::Close => return,
            Reply::Never => {
                // Until the caller gives up.
                let _ = stream.read(&mut [0]).await;
                return;
            }
            Reply::Status(status, header) => (status, header, String::new(), 0),
            Reply::Refusal(text) => (400, "", text.to_owned(), text.len()),
            Reply::Text(text) => {
                let content = chat(format, text);
                let sent = content.len();
                (200, "", content, sent)
            }
            Reply::WantsTool(arguments) => {
                let content = wants_tool(&arguments);
                let sent = content.len();
                (200, "", content, sent)
            }
            Reply::Cut(text) => {
                let content = chat(format, text);
                let sent = content.len() / 2;
                (200, "", content, sent)
            }
        };
        let length = content.len();
        let headers = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n{header}\r\n"
        );
        // The caller may have closed the connection.
        let _ = stream.write_all(headers.as_bytes()).await;
        let _ = stream.write_all(&content.as_bytes()[..sent]).await;
    }

    async fn reply(&self, format: Format, headers: &str, body: &Value) -> Reply {
        let prompt = format.system(body);
        let (task, asked_at) = prompt
            .split_once(' ')
            .expect("the prompt is the task's id and the time");
        let (task, asked_at) = (task.to_owned(), asked_at.to_owned());
        let (attempt, held) = self.held(&task).await;
        if !self
            .0
            .callers
            .iter()
            .any(|machine| machine.lives_since(&asked_at))
        {
            // It was in transit when its process died.
            return Reply::Close;
        }
        let (_, fault) = self.0.wire.plan.next("model");
        let (number, act, answer) = self.note(Run {
            payload: format.user(body).to_owned(),
            turn: format
                .messages(body)
                .iter()
                .filter(|said| said["role"] == format.roles().0)
                .count(),
            authorization: header(headers, "authorization"),
            task,
            attempt,
            held,
            fault,
            act: Act::Answer,
            answer: None,
        });
        let reply = match fault {
            Some(fault) => self.strike(fault, answer),
            None => self.act(act, answer).await,
        };
        if let Reply::Text(text) = &reply {
            self.0.runs.lock().unwrap()[number].answer = Some(text.clone());
        }
        reply
    }

    fn call_tool(&self, headers: &str, arguments: Value) -> Reply {
        let key = header(headers, "idempotency-key").expect("a call has a key");
        let (_, fault) = self.0.wire.plan.next("tool");
        self.0
            .tool_calls
            .lock()
            .unwrap()
            .push(ToolCall { key, arguments });
        match fault {
            Some(Fault::Stalled | Fault::Late) => Reply::Never,
            Some(fault) => self.strike(fault, "done".to_owned()),
            None => Reply::Text("done".to_owned()),
        }
    }

    /// The attempt in the task's record, and whether its lease is valid.
    async fn held(&self, task: &str) -> (u64, bool) {
        let key = TaskId::parse(task).expect("a task's id").key().as_hex();
        let get =
            json!({ "TableName": "tasks", "Key": { "id": { "S": key } }, "ConsistentRead": true });
        let item = &self.0.wire.call_dynamodb("GetItem", get).await["Item"];
        let number = |name: &str| {
            item[name]["N"]
                .as_str()
                .and_then(|digits| digits.parse().ok())
        };
        let lease = Moment::from_millis(number("lease_until").unwrap_or_default());
        let held = item["status"]["S"] == "STARTED" && self.0.time.clock().now() < lease;
        (number("attempt").unwrap_or_default(), held)
    }

    /// Records the run. Returns its number, its action by the script and its answer.
    fn note(&self, mut run: Run) -> (usize, Act, String) {
        let mut runs = self.0.runs.lock().unwrap();
        let nth = runs
            .iter()
            .filter(|earlier| earlier.task == run.task)
            .count();
        run.act = match (self.0.script)(nth) {
            Act::UseTool if run.turn > 0 => Act::Answer,
            act => act,
        };
        let (act, answer) = (
            run.act,
            format!("run {nth} of {}: {}", run.task, run.payload),
        );
        runs.push(run);
        (runs.len() - 1, act, answer)
    }

    async fn act(&self, act: Act, answer: String) -> Reply {
        match act {
            Act::Answer => Reply::Text(answer),
            Act::AnswerSlowly => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Reply::Text(answer)
            }
            Act::Busy => Reply::Status(503, ""),
            Act::Refuse => Reply::Refusal("this model requires max_completion_tokens"),
            Act::Kill => self.kill(),
            Act::UseTool => Reply::WantsTool(json!({ "asked_for_by": answer }).to_string()),
        }
    }

    fn strike(&self, fault: Fault, answer: String) -> Reply {
        match fault {
            Fault::Unreachable | Fault::Ghost(_) => Reply::Close,
            Fault::Failed => Reply::Status(500, ""),
            Fault::Throttled => Reply::Status(429, ""),
            Fault::Overloaded => Reply::Status(429, "retry-after: 3\r\n"),
            Fault::AnswerLost => Reply::Cut(answer),
            Fault::Stalled | Fault::Late if self.0.impatient => Reply::Never,
            Fault::Stalled | Fault::Late => Reply::Close,
            Fault::DiedBefore | Fault::DiedAfter | Fault::DiedInFlight(_) => self.kill(),
        }
    }

    fn kill(&self) -> Reply {
        for machine in &self.0.callers {
            machine.kill();
        }
        Reply::Never
    }
}

/// The base URL of a listener.
pub(crate) fn origin(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

fn chat(format: Format, text: String) -> String {
    format
        .reply(&Says {
            text: text.into(),
            ..Says::default()
        })
        .to_string()
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Value)> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let headers = String::from_utf8(bytes[..end].to_vec()).ok()?;
            let length: usize = header(&headers, "content-length")?.parse().ok()?;
            if let Some(body) = bytes.get(end + 4..end + 4 + length) {
                return Some((headers, serde_json::from_slice(body).ok()?));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn header(headers: &str, name: &str) -> Option<String> {
    headers
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.to_owned())
}

fn wants_tool(arguments: &str) -> String {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "act", "arguments": arguments } });
    completion(
        json!({ "role": "assistant", "content": null, "tool_calls": [call] }),
        "tool_calls",
    )
    .to_string()
}
