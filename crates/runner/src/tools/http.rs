//! Operations of an HTTP API.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use domain::ToolSpec;
use domain::agent::{ArgumentError, CheckedOperation, HttpTool, Operation, ToolRequest};
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use store::error_chain;

use super::headers::{Headers, header};
use super::{Arguments, CallError, Found, answer, described, not_parsed};
use crate::Runner;
use crate::client::on_connection_threads;
use crate::egress::{Refused, refused_in};
use crate::memory::RunMemory;
use crate::scrub::RunSecrets;

/// An API with what goes to it.
pub(super) struct HttpServer<'a> {
    runner: &'a Runner,
    tool: &'a HttpTool,
    secrets: &'a RunSecrets,
    /// Replaced when the server refuses secrets that were replaced in the store.
    headers: Mutex<Arc<Headers>>,
}

/// One operation of it.
pub(super) struct HttpOperation<'a> {
    server: Arc<HttpServer<'a>>,
    operation: &'a Operation,
    /// Built at its first call.
    checked: OnceLock<Result<Arc<CheckedOperation>, ArgumentError>>,
}

impl<'a> HttpServer<'a> {
    /// With the headers that go to it.
    pub(super) fn new(
        runner: &'a Runner,
        tool: &'a HttpTool,
        secrets: &'a RunSecrets,
        headers: Headers,
    ) -> Arc<Self> {
        Arc::new(Self { runner, tool, secrets, headers: Mutex::new(Arc::new(headers)) })
    }

    fn headers(&self) -> Arc<Headers> {
        Arc::clone(&self.headers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What can be called of it.
    pub(super) fn operations(self: &Arc<Self>) -> impl Iterator<Item = HttpOperation<'a>> {
        self.tool.operations.iter().map(|operation| HttpOperation {
            server: Arc::clone(self),
            operation,
            checked: OnceLock::new(),
        })
    }
}

impl HttpOperation<'_> {
    /// As the model is told of it.
    pub(super) fn spec(&self) -> ToolSpec {
        let Operation { name, description, approval, .. } = self.operation;
        let description = described(description, *approval);
        ToolSpec { name: name.clone(), description, parameters: self.operation.schema() }
    }

    pub(super) const fn needs_approval(&self) -> bool {
        self.operation.approval
    }

    /// Calls it. Whether to call it again after a failure is for the model to decide.
    pub(super) async fn call(&self, arguments: Arguments, key: &str) -> Result<Found, CallError> {
        let tool = self.server.tool;
        let request = self.request(arguments).await?;
        let server = request.url.origin().ascii_serialization();
        let answered = tokio::time::timeout(tool.timeout(), self.exchange(&request, key)).await;
        let answered = answered.unwrap_or_else(|_| {
            tracing::warn!(server, "a tool's server did not answer in time");
            Err(CallError(format!("The server did not answer within {} seconds.", tool.timeout_seconds)))
        });
        answered.map(|content| Found { content, ..Found::default() })
    }

    async fn request(&self, arguments: Arguments) -> Result<ToolRequest, CallError> {
        let checked = self.checked.get_or_init(|| self.operation.checked().map(Arc::new)).clone();
        let checked = checked.map_err(|wrong| CallError(wrong.to_string()))?;
        let (cost, base_url) = (checked.cost(arguments.bytes), self.server.tool.base_url.clone());
        let request = move || checked.request(&base_url, &arguments.fields);
        let request = RunMemory::of_this_run().off_workers(cost, request).await;
        request.map_err(|error| not_parsed(&error))?.map_err(|wrong| CallError(wrong.to_string()))
    }

    /// A call that is refused for its credentials had no effect, so it is made again if
    /// they have been replaced since they were read.
    async fn exchange(&self, request: &ToolRequest, key: &str) -> Result<String, CallError> {
        let HttpServer { runner, tool, secrets, .. } = &*self.server;
        let headers = self.server.headers();
        let mut response = self.send(request, key, &headers).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(renewed) = headers.renewed(runner, &tool.headers, secrets).await
        {
            let renewed = Arc::new(renewed);
            *self.server.headers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&renewed);
            response = self.send(request, key, &renewed).await?;
        }
        answer::read(response, tool.max_response_bytes, secrets.scrubber()).await
    }

    async fn send(&self, request: &ToolRequest, key: &str, sent: &Headers) -> Result<Response, CallError> {
        let outgoing = self.server.runner.models.outgoing();
        outgoing.private_hosts().check(&request.url).map_err(|refused| not_allowed(&refused))?;
        let mut headers = sent.map.clone();
        for (name, value) in request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())) {
            let (name, value) =
                header(name, value).ok_or_else(|| CallError(format!("`{name}` cannot be sent.")))?;
            // What the owner sets is not the model's to say.
            if !sent.map.contains_key(&name) {
                headers.insert(name, value);
            }
        }
        if let Ok(key) = HeaderValue::from_str(key) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        let method = Method::from_bytes(request.method.as_str().as_bytes()).unwrap_or_default();
        let mut call = outgoing.get().request(method, request.url.clone()).headers(headers);
        if let Some(body) = &request.body {
            call = call.json(body);
        }
        on_connection_threads(RunMemory::of_this_run().agent(), call.send()).await.map_err(unreachable_server)
    }
}

/// The log names the address; the model, and who may read a task, need not learn it.
pub(super) fn not_allowed(refused: &Refused) -> CallError {
    tracing::error!(%refused, "call of a tool refused");
    CallError("The address of this tool is not allowed here.".to_owned())
}

/// Tells what broke, without addresses. The log's line has no path or query, which
/// hold arguments.
pub(super) fn unreachable_server(error: reqwest::Error) -> CallError {
    if let Some(refused) = refused_in(&error) {
        return not_allowed(refused);
    }
    let server = error.url().map(|url| url.origin().ascii_serialization());
    let is_connect = error.is_connect();
    tracing::warn!(server, error = error_chain(&error.without_url()), "call of a tool failed");
    CallError(match is_connect {
        true => "The server could not be reached.".to_owned(),
        false => "The connection to the server broke.".to_owned(),
    })
}
