//! Operations of an HTTP API.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use domain::agent::tools::{ArgumentError, CheckedOperation, HttpTool, Operation, ToolRequest};
use domain::{ExactValue, MAX_JSON_VALUES, ToolSpec};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::call::{Arguments, CallError, ToolOutput, describe_tool, not_an_object, not_parsed};
use super::credentials::ToolCredentials;
use super::failed::{address_refused, connection_failed};
use super::headers::{ToolHeaders, sensitive_header};
use super::oauth::{AccessToken, OAuthFailure, TokenSource};
use super::{ToolContext, response};
use crate::egress::on_connection_threads;
use crate::memory::RunMemory;

/// The API of one tool.
pub(super) struct HttpServer<'a> {
    context: ToolContext<'a>,
    tool: &'a HttpTool,
    /// Replaced when the server refuses them and their secrets have been replaced in the store.
    headers: Mutex<Arc<ToolHeaders>>,
    tokens: Option<TokenSource>,
}

pub(super) struct HttpOperation<'a> {
    server: Arc<HttpServer<'a>>,
    operation: &'a Operation,
    /// Built at the first call.
    checked: OnceLock<Result<Arc<CheckedOperation>, ArgumentError>>,
}

impl<'a> HttpServer<'a> {
    pub(super) fn new(
        context: ToolContext<'a>,
        tool: &'a HttpTool,
        credentials: ToolCredentials,
    ) -> Arc<Self> {
        Arc::new(Self {
            context,
            tool,
            headers: Mutex::new(Arc::new(credentials.headers)),
            tokens: credentials.tokens,
        })
    }

    /// The access token for a call.
    async fn token(&self) -> Result<Option<AccessToken>, CallError> {
        match &self.tokens {
            Some(tokens) => tokens.token().await.map(Some).map_err(no_token),
            None => Ok(None),
        }
    }

    /// What to send after these were refused. `None` if there is nothing else to send.
    async fn renewed(
        &self,
        headers: &Arc<ToolHeaders>,
        token: Option<&AccessToken>,
    ) -> Result<Option<ToolHeaders>, CallError> {
        let replaced = headers.renewed(self.context, &self.tool.headers).await;
        let token = match (&self.tokens, token) {
            (Some(tokens), Some(refused)) => Some(tokens.renew(refused).await.map_err(no_token)?),
            _ => None,
        };
        if replaced.is_none() && token.is_none() {
            return Ok(None);
        }
        let headers = replaced.map_or_else(|| Arc::clone(headers), Arc::new);
        let with_token = headers.with_token(token.as_ref());
        *self.headers.lock().unwrap_or_else(PoisonError::into_inner) = headers;
        Ok(Some(with_token))
    }

    fn headers(&self) -> Arc<ToolHeaders> {
        Arc::clone(&self.headers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn operations(self: &Arc<Self>) -> impl Iterator<Item = HttpOperation<'a>> {
        self.tool.operations.iter().map(|operation| HttpOperation {
            server: Arc::clone(self),
            operation,
            checked: OnceLock::new(),
        })
    }
}

impl HttpOperation<'_> {
    /// The description for the model.
    pub(super) fn spec(&self) -> ToolSpec {
        let Operation {
            name,
            description,
            approval,
            ..
        } = self.operation;
        let description = describe_tool(description, *approval);
        ToolSpec {
            name: name.clone(),
            description,
            parameters: self.operation.schema(),
        }
    }

    pub(super) const fn needs_approval(&self) -> bool {
        self.operation.approval
    }

    /// Makes one call. The model decides whether to call again after a failure.
    pub(super) async fn call(
        &self,
        arguments: Arguments,
        key: &str,
    ) -> Result<ToolOutput, CallError> {
        let tool = self.server.tool;
        let request = self.build_request(arguments).await?;
        let server = request.url.origin().ascii_serialization();
        let response = tokio::time::timeout(tool.timeout(), self.exchange(&request, key)).await;
        let response = response.unwrap_or_else(|_| {
            tracing::warn!(server, "tool server did not answer in time");
            Err(CallError(format!(
                "The server did not answer within {} seconds.",
                tool.timeout_seconds
            )))
        });
        response.map(|content| ToolOutput {
            content,
            ..ToolOutput::default()
        })
    }

    async fn build_request(&self, arguments: Arguments) -> Result<ToolRequest, CallError> {
        let checked = self
            .checked()
            .await?
            .map_err(|wrong| CallError(wrong.to_string()))?;
        let (cost, base_url) = (
            checked.cost(arguments.text.len()),
            self.server.tool.base_url.clone(),
        );
        let request = move || {
            let parsed = ExactValue::parse_object(&arguments.text, MAX_JSON_VALUES);
            let (_, arguments) = parsed.map_err(not_an_object)?;
            checked
                .request(&base_url, arguments)
                .map_err(|wrong| CallError(wrong.to_string()))
        };
        let request = RunMemory::current().off_workers(cost, request).await;
        request.map_err(|error| not_parsed(&error))?
    }

    async fn checked(&self) -> Result<Result<Arc<CheckedOperation>, ArgumentError>, CallError> {
        if let Some(checked) = self.checked.get() {
            return Ok(checked.clone());
        }
        let operation = self.operation.clone();
        let build = move || operation.checked().map(Arc::new);
        let built = RunMemory::current()
            .off_workers(self.operation.compilation_cost(), build)
            .await;
        let built = built.map_err(|error| not_parsed(&error))?;
        Ok(self.checked.get_or_init(|| built).clone())
    }

    /// Retries a call with status 401 if its credentials have been replaced since they were
    /// read, or with another access token. Such a call had no effect.
    async fn exchange(&self, request: &ToolRequest, key: &str) -> Result<String, CallError> {
        let HttpServer { context, tool, .. } = &*self.server;
        let (headers, token) = (self.server.headers(), self.server.token().await?);
        let sent = headers.with_token(token.as_ref());
        let mut response = self.send(request, key, &sent).await?;
        if response.status() == StatusCode::UNAUTHORIZED
            && let Some(renewed) = self.server.renewed(&headers, token.as_ref()).await?
        {
            response = self.send(request, key, &renewed).await?;
        }
        response::read_tool_response(
            response,
            tool.max_response_bytes,
            context.run_secrets.scrubber(),
        )
        .await
    }

    async fn send(
        &self,
        request: &ToolRequest,
        key: &str,
        sent: &ToolHeaders,
    ) -> Result<Response, CallError> {
        let client = self.server.context.egress.client_for(&request.url);
        let client = client.map_err(|refused| address_refused(&refused))?;
        let mut headers = sent.map.clone();
        for (name, value) in request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
        {
            let (name, value) = sensitive_header(name, value)
                .ok_or_else(|| CallError(format!("`{name}` cannot be sent.")))?;
            // The model cannot override a header of the agent's owner.
            if !sent.map.contains_key(&name) {
                headers.insert(name, value);
            }
        }
        if let Ok(key) = HeaderValue::from_str(key) {
            headers.insert(HeaderName::from_static("idempotency-key"), key);
        }
        // A compressed response could be many times larger than it seems.
        headers
            .entry(ACCEPT_ENCODING)
            .or_insert(HeaderValue::from_static("identity"));
        if let Some(body) = &request.body
            && let Ok(content_type) = HeaderValue::from_str(&body.content_type)
        {
            headers.entry(CONTENT_TYPE).or_insert(content_type);
        }
        let method = Method::from_bytes(request.method.as_str().as_bytes()).unwrap_or_default();
        let mut call = client.request(method, request.url.clone()).headers(headers);
        if let Some(body) = &request.body {
            call = call.body(body.text.clone());
        }
        on_connection_threads(RunMemory::current().agent(), call.send())
            .await
            .map_err(connection_failed)
    }
}

fn no_token(failure: OAuthFailure) -> CallError {
    CallError(failure.call_text())
}
