//! Errors that many operations share. The OpenAPI document has them once, as components.

use std::fmt;

use utoipa::openapi::path::Operation;

use crate::Problem;
use crate::admin::AuthError;

#[derive(Clone, Copy)]
pub(super) enum CommonResponse {
    Unauthorized,
    CrossOrigin,
    TooManyRequests,
    MethodNotAllowed,
    RequestTimeout,
    Internal,
    Unavailable,
}

impl CommonResponse {
    pub(super) const ALL: [Self; 7] = [
        Self::Unauthorized,
        Self::CrossOrigin,
        Self::TooManyRequests,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Internal,
        Self::Unavailable,
    ];

    pub(super) fn applies_to(self, operation: &Operation, changes: bool) -> bool {
        // An operation without its own requirement has the document's: admin authentication.
        let needs_admin = operation.security.is_none();
        let is_health = operation.operation_id.as_deref() == Some("get_health");
        match self {
            Self::Unauthorized | Self::TooManyRequests => needs_admin,
            Self::CrossOrigin => needs_admin && changes,
            Self::MethodNotAllowed => true,
            Self::RequestTimeout => operation.request_body.is_some(),
            Self::Internal | Self::Unavailable => !is_health,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::CrossOrigin => "CrossOrigin",
            Self::TooManyRequests => "TooManyRequests",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::RequestTimeout => "RequestTimeout",
            Self::Internal => "Internal",
            Self::Unavailable => "Unavailable",
        }
    }

    pub(super) const fn status(self) -> &'static str {
        match self {
            Self::Unauthorized => "401",
            Self::CrossOrigin => "403",
            Self::TooManyRequests => "429",
            Self::MethodNotAllowed => "405",
            Self::RequestTimeout => "408",
            Self::Internal => "500",
            Self::Unavailable => "503",
        }
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        match self {
            Self::Unauthorized => [
                AuthError::NoCredentials,
                AuthError::WrongToken,
                AuthError::SessionExpired,
            ]
            .map(Problem::from)
            .into(),
            Self::CrossOrigin => vec![AuthError::CrossOrigin.into()],
            Self::TooManyRequests => vec![AuthError::TooManyGuesses { seconds: 42 }.into()],
            Self::MethodNotAllowed => vec![Problem::method_not_allowed(Some("GET, POST"))],
            Self::RequestTimeout => vec![Problem::body_too_slow()],
            Self::Internal => vec![Problem::internal(fmt::Error)],
            Self::Unavailable => vec![
                Problem::unavailable(fmt::Error),
                Problem::overloaded(fmt::Error),
            ],
        }
    }
}
