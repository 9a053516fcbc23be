//! The address of the caller.

use api::admin::Caller;
use axum::extract::Request;
use lambda_http::RequestExt as _;
use lambda_http::request::RequestContext;

/// Adds the caller's address, which API Gateway passes in the request context.
pub(crate) fn with_caller(mut request: Request) -> Request {
    if let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref()
        && let Some(Ok(address)) = context.http.source_ip.as_deref().map(str::parse)
    {
        request.extensions_mut().insert(Caller(address));
    }
    request
}
