//! What many operations refuse alike; the document has it once.

use std::fmt;

use utoipa::openapi::path::Operation;

use crate::Problem;
use crate::admin::AuthError;

#[derive(Clone, Copy)]
pub(super) enum Shared {
    Unauthorized,
    CrossOrigin,
    Guessing,
    MethodNotAllowed,
    RequestTimeout,
    Internal,
    Unavailable,
}

impl Shared {
    pub(super) const ALL: [Self; 7] = [
        Self::Unauthorized,
        Self::CrossOrigin,
        Self::Guessing,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Internal,
        Self::Unavailable,
    ];

    pub(super) fn is_of(self, operation: &Operation, changes: bool) -> bool {
        // Nothing is said where the document's own requirement holds: an admin's.
        let is_admins = operation.security.is_none();
        let is_health = operation.operation_id.as_deref() == Some("get_health");
        match self {
            Self::Unauthorized | Self::Guessing => is_admins,
            Self::CrossOrigin => is_admins && changes,
            Self::MethodNotAllowed => true,
            Self::RequestTimeout => operation.request_body.is_some(),
            Self::Internal | Self::Unavailable => !is_health,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unauthorized => "Unauthorized",
            Self::CrossOrigin => "CrossOrigin",
            Self::Guessing => "Guessing",
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
            Self::Guessing => "429",
            Self::MethodNotAllowed => "405",
            Self::RequestTimeout => "408",
            Self::Internal => "500",
            Self::Unavailable => "503",
        }
    }

    pub(super) fn problems(self) -> Vec<Problem> {
        match self {
            Self::Unauthorized => [AuthError::NoCredentials, AuthError::WrongToken, AuthError::SessionOver]
                .map(Problem::from)
                .into(),
            Self::CrossOrigin => vec![AuthError::CrossOrigin.into()],
            Self::Guessing => vec![AuthError::TooManyGuesses { seconds: 42 }.into()],
            Self::MethodNotAllowed => vec![Problem::method_not_allowed(Some("GET, POST"))],
            Self::RequestTimeout => vec![Problem::body_too_slow()],
            Self::Internal => vec![Problem::internal(fmt::Error)],
            Self::Unavailable => vec![Problem::unavailable(fmt::Error), Problem::overloaded(fmt::Error)],
        }
    }
}
