//! A function as Lambda runs it: the release binary under a runtime API of ours
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>), so that the
//! figures are the binary's alone.

use std::fs;
use std::io::{Error, ErrorKind};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde_json::{Value, json};

use crate::Failure;
use crate::cpu;
use crate::http::{Request, Served};

/// No function takes this long; one that died answers never.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of a function.
pub(crate) struct Function {
    child: Child,
    pub(crate) spawned: Instant,
    listener: TcpListener,
    connection: Option<Served<TcpStream>>,
    waits: bool,
}

/// What a function answered, and how soon.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) body: Value,
    /// From when it had the event.
    pub(crate) took: Duration,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Of all its threads, those that have ended too.
    pub(crate) cpu: Duration,
    pub(crate) peak_bytes: u64,
    pub(crate) page_faults: u64,
}

impl Function {
    /// Starts the binary with this environment, what Lambda itself sets excepted.
    pub(crate) fn spawn<'a>(
        binary: &Path,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, Failure> {
        Self::spawn_logging(binary, environment, Stdio::null())
    }

    /// The same, with a place for what it logs.
    pub(crate) fn spawn_logging<'a>(
        binary: &Path,
        environment: impl IntoIterator<Item = (&'a str, &'a str)>,
        log: Stdio,
    ) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE))?;
        let mut command = Command::new(binary);
        command
            .env_clear()
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log);
        command.env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string());
        command
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
        command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256");
        command
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench");
        let spawned = Instant::now();
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
        Ok(Self {
            child,
            spawned,
            listener,
            connection: None,
            waits: false,
        })
    }

    /// Waits until it asks for an event, if it does not yet.
    pub(crate) fn ready(&mut self) -> Result<(), Failure> {
        if !self.waits {
            let asked = self.request()?;
            if !asked.path.ends_with("/invocation/next") {
                return Err(format!("asked for an event, it said {}", said(&asked)).into());
            }
            self.waits = true;
        }
        Ok(())
    }

    /// Hands it an event, and waits for the answer.
    pub(crate) fn invoke(&mut self, event: &Value) -> Result<Answer, Failure> {
        self.ready()?;
        self.waits = false;
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH)? + PATIENCE;
        let headers = format!(
            "lambda-runtime-aws-request-id: 11111111-1111-4111-8111-111111111111\r\n\
             lambda-runtime-deadline-ms: {}\r\n\
             lambda-runtime-invoked-function-arn: arn:aws:lambda:us-east-1:123456789012:function:bench\r\n\
             content-type: application/json\r\n",
            deadline.as_millis()
        );
        let event = event.to_string();
        let began = Instant::now();
        self.answer("200 OK", &headers, event.as_bytes())?;
        let answered = self.request()?;
        let took = began.elapsed();
        if !answered.path.ends_with("/response") {
            return Err(format!("handed an event, it said {}", said(&answered)).into());
        }
        Ok(Answer {
            body: serde_json::from_slice(&answered.body)?,
            took,
        })
    }

    /// Reports that its answer has arrived, after which it asks for the next event.
    /// Apart from [`Self::invoke`], so that between the two it can be looked at.
    pub(crate) fn accept(&mut self) -> Result<(), Failure> {
        self.answer(
            "202 Accepted",
            "content-type: application/json\r\n",
            b"{\"status\":\"OK\"}",
        )
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage, Failure> {
        let folder = format!("/proc/{}", self.child.id());
        let cpu = cpu::of(&self.child)?;
        let status = fs::read_to_string(format!("{folder}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: u64 = peak
            .unwrap_or_default()
            .trim()
            .trim_end_matches(" kB")
            .parse()?;
        // After the command's name, which may hold spaces: state, ppid, pgrp, session,
        // tty, tpgid, flags, minor faults.
        let stat = fs::read_to_string(format!("{folder}/stat"))?;
        let fields = stat
            .rsplit_once(')')
            .map(|(_, fields)| fields)
            .unwrap_or_default();
        let page_faults = fields.split_whitespace().nth(7).map_or(Ok(0), str::parse)?;
        Ok(Usage {
            cpu,
            peak_bytes: kib * 1024,
            page_faults,
        })
    }

    fn request(&mut self) -> Result<Request, Failure> {
        loop {
            let connection = match &mut self.connection {
                Some(connection) => connection,
                None => {
                    let (stream, _) = self.listener.accept().map_err(|error| self.ended(error))?;
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(PATIENCE))?;
                    self.connection.insert(Served::new(stream))
                }
            };
            match connection.request()? {
                Some(request) => return Ok(request),
                None => self.connection = None,
            }
        }
    }

    fn answer(&mut self, status: &str, headers: &str, body: &[u8]) -> Result<(), Failure> {
        let connection = self
            .connection
            .as_mut()
            .ok_or("the function has not asked")?;
        connection.answer(status, headers, body)
    }

    fn ended(&self, error: Error) -> Failure {
        match error.kind() {
            ErrorKind::WouldBlock => {
                format!("process {} asked for no event", self.child.id()).into()
            }
            _ => error.into(),
        }
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and need not.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(request: &Request) -> String {
    format!(
        "{} {}: {}",
        request.method,
        request.path,
        String::from_utf8_lossy(&request.body)
    )
}

/// A request as API Gateway hands it on
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
/// payload format 2.0).
pub(crate) fn http_event(method: &str, path: &str, query: &str, body: Option<&str>) -> Value {
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {
            "accept": "*/*",
            "content-length": body.map_or(0, str::len).to_string(),
            "content-type": "application/json",
            "host": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "user-agent": "curl/8.11.1",
            "x-amzn-trace-id": "Root=1-67a1b2c3-0123456789abcdef01234567",
            "x-forwarded-for": "203.0.113.7",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "abcdefghij",
            "domainName": "abcdefghij.execute-api.us-east-1.amazonaws.com",
            "domainPrefix": "abcdefghij",
            "http": {
                "method": method,
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.11.1",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "$default",
            "stage": "$default",
            "time": "28/Nov/2026:12:00:00 +0000",
            "timeEpoch": 1_795_867_200_000_u64,
        },
        "isBase64Encoded": false,
    });
    if let (Some(body), Some(fields)) = (body, event.as_object_mut()) {
        fields.insert("body".to_owned(), body.into());
    }
    event
}

/// A batch of one task as the event source mapping hands it on.
pub(crate) fn queue_event(task: &str, agent: &str, queue_arn: &str) -> Value {
    json!({ "Records": [{
        "messageId": "22222222-2222-4222-8222-222222222222",
        "receiptHandle": "AQEBzbVv",
        "body": task,
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1795867200000",
            "SenderId": "AROAEXAMPLE",
            "ApproximateFirstReceiveTimestamp": "1795867200001",
            "MessageGroupId": agent,
        },
        "messageAttributes": {},
        "md5OfBody": "",
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": "us-east-1",
    }] })
}
