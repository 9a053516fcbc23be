//! The error responses of every operation, made from the same error types as the real
//! responses.

mod response;
mod shared;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use domain::agent::SecretError;
use domain::agent::tools::OpenApiError;
use domain::{AgentError, CatalogueError, ErrorType, KeyError, PayloadError, TrialError};
use sources::ReadError;
use store::StoreError;
use utoipa::Modify;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{OpenApi, PathItem, Ref, SecurityRequirement};

use crate::Problem;
use crate::admin::{AuthError, session};
use crate::agents::preview::PreviewError;
use crate::agents::{ManageError, SourceError};
use crate::query::QueryError;
use crate::task_status::StatusError;
use crate::trials::TrialProblem;
use crate::webhook::{BodyError, TriggerError};
use response::response;
use shared::CommonResponse;

pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut OpenApi) {
        for item in document.paths.paths.values_mut() {
            add_errors_to_path(item);
        }
        let components = document.components.get_or_insert_default();
        for shared in CommonResponse::ALL {
            components.responses.insert(
                shared.name().to_owned(),
                response(&shared.problems()).into(),
            );
        }
    }
}

fn add_errors_to_path(item: &mut PathItem) {
    let (reads, changes) = (
        [&mut item.get],
        [
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ],
    );
    for operation in reads.into_iter().flatten() {
        add_errors(operation, false);
    }
    for operation in changes.into_iter().flatten() {
        add_errors(operation, true);
    }
}

fn add_errors(operation: &mut Operation, changes: bool) {
    // `security(())` means that no authentication is needed. OpenAPI writes that as `[]`.
    if operation
        .security
        .as_ref()
        .is_some_and(|ways| ways.contains(&SecurityRequirement::default()))
    {
        operation.security = Some(Vec::new());
    }
    let mut by_status: BTreeMap<StatusCode, Vec<Problem>> = BTreeMap::new();
    for problem in own_errors(operation.operation_id.as_deref().unwrap_or_default()) {
        by_status.entry(problem.status).or_default().push(problem);
    }
    for (status, problems) in by_status {
        operation
            .responses
            .responses
            .insert(status.as_str().to_owned(), response(&problems).into());
    }
    let shared: Vec<CommonResponse> = CommonResponse::ALL
        .into_iter()
        .filter(|shared| shared.applies_to(operation, changes))
        .collect();
    for shared in shared {
        let reference = Ref::from_response_name(shared.name());
        operation
            .responses
            .responses
            .entry(shared.status().to_owned())
            .or_insert(reference.into());
    }
}

/// The errors of one operation, without those that it shares with others.
fn own_errors(operation: &str) -> Vec<Problem> {
    use ManageError::{Conflict, NoId, NotFound, Overlap, SecretNotFound, TokenTaken};
    let invalid = || ManageError::Invalid(AgentError::Name).into();
    let too_large = || ManageError::Body(StatusCode::PAYLOAD_TOO_LARGE).into();
    let secret = |error: SecretError| ManageError::Secret(error).into();
    match operation {
        "trigger_agent" => trigger_errors().into_iter().chain(body_errors()).collect(),
        "trigger_agent_by_url" => trigger_errors(),
        "get_task_status" => vec![StatusError::NoId.into(), StatusError::NotFound.into()],
        "create_agent" => vec![invalid(), TokenTaken.into(), too_large()],
        "get_agent" | "list_documents" => vec![NotFound.into()],
        "update_agent" => update_errors(),
        "list_audit_entries" | "list_tasks" => {
            vec![malformed_parameter("limit", "a whole number from 1 to 100")]
        }
        "get_task" => vec![StatusError::NotFound.into()],
        "get_stats" => vec![malformed_parameter("hours", "a whole number from 1 to 336")],
        "preview_prompt" => vec![
            PreviewError::Payload(PayloadError::Null).into(),
            PreviewError::Agent(AgentError::PromptTooLong).into(),
            too_large(),
        ],
        "test_model" | "inspect_tool" | "call_tool" => trial_errors(operation),
        "delete_agent" => vec![NotFound.into(), Conflict.into()],
        "get_agent_webhook" => vec![NoId.into(), NotFound.into()],
        "rotate_webhook" => vec![
            Overlap.into(),
            NotFound.into(),
            Conflict.into(),
            too_large(),
        ],
        "upload_document" => upload_errors(),
        "delete_document" => vec![
            NotFound.into(),
            SourceError::NotFound.into(),
            Conflict.into(),
        ],
        "put_secret" => vec![
            secret(SecretError::Name),
            secret(SecretError::Value),
            StoreError::BeingDeleted.into(),
            too_large(),
        ],
        "delete_secret" => vec![
            secret(SecretError::Name),
            SecretNotFound.into(),
            ManageError::SecretInUse("order-triage".into()).into(),
        ],
        "sign_in" => vec![
            session::sign_in_body_error(),
            AuthError::WrongToken.into(),
            AuthError::TooManyGuesses { seconds: 42 }.into(),
        ],
        "get_session" => vec![
            AuthError::NoCredentials.into(),
            AuthError::SessionExpired.into(),
        ],
        _ => Vec::new(),
    }
}

fn trial_errors(operation: &str) -> Vec<Problem> {
    let refused = TrialError::new(ErrorType::ToolError, "The server could not be reached.");
    let mut errors: Vec<Problem> = vec![
        TrialProblem::NotAnObject.into(),
        ManageError::Invalid(AgentError::Name).into(),
        ManageError::Body(StatusCode::PAYLOAD_TOO_LARGE).into(),
    ];
    match operation {
        "test_model" => errors.push(ManageError::NotFound.into()),
        "inspect_tool" => errors.extend([
            TrialProblem::Document(OpenApiError::Swagger.into()).into(),
            TrialProblem::Server(refused).into(),
        ]),
        _ => {}
    }
    errors
}

fn malformed_parameter(name: &'static str, wanted: &'static str) -> Problem {
    QueryError::Malformed { name, wanted }.into()
}

fn update_errors() -> Vec<Problem> {
    let invalid = ManageError::Invalid(AgentError::Name);
    let too_large = ManageError::Body(StatusCode::PAYLOAD_TOO_LARGE);
    let own = [
        ManageError::NotAnObject,
        ManageError::TokenFixed,
        ManageError::NotFound,
        ManageError::Conflict,
    ];
    let errors = [invalid, too_large].into_iter().chain(own);
    errors.map(Problem::from).collect()
}

fn trigger_errors() -> Vec<Problem> {
    let rate_limited = TriggerError::RateExceeded {
        retry_after: Duration::from_secs(42),
    };
    [
        TriggerError::UnknownAgent,
        KeyError::TooLong.into(),
        KeyError::Several.into(),
        rate_limited,
    ]
    .into_iter()
    .map(Problem::from)
    .collect()
}

fn body_errors() -> Vec<Problem> {
    [
        PayloadError::Null.into(),
        BodyError::Incomplete,
        BodyError::TooLarge { limit: 1024 * 1024 },
        BodyError::MediaType("text/plain".to_owned()),
        BodyError::Encoded,
    ]
    .map(Problem::from)
    .into()
}

fn upload_errors() -> Vec<Problem> {
    [
        SourceError::UnknownParameter("titel".to_owned()),
        CatalogueError::TooManyDocuments.into(),
        SourceError::TooLarge,
        SourceError::MediaType("image/png".to_owned()),
        SourceError::Encoded,
        ReadError::NoText.into(),
        CatalogueError::TooLate.into(),
    ]
    .map(Problem::from)
    .into_iter()
    .chain([ManageError::NotFound.into()])
    .collect()
}
