//! What every operation refuses, and how that looks: made of the same errors, by
//! the same door, as the answers are.

mod response;
mod shared;

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use domain::agent::SecretError;
use domain::{AgentError, CatalogueError, KeyError, PayloadError};
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
use crate::webhook::{BodyError, TriggerError};
use response::response;
use shared::Shared;

pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut OpenApi) {
        for item in document.paths.paths.values_mut() {
            refuse_in(item);
        }
        let components = document.components.get_or_insert_default();
        for shared in Shared::ALL {
            components.responses.insert(shared.name().to_owned(), response(&shared.problems()).into());
        }
    }
}

fn refuse_in(item: &mut PathItem) {
    let (reads, changes) =
        ([&mut item.get], [&mut item.post, &mut item.put, &mut item.patch, &mut item.delete]);
    for operation in reads.into_iter().flatten() {
        refuse(operation, false);
    }
    for operation in changes.into_iter().flatten() {
        refuse(operation, true);
    }
}

fn refuse(operation: &mut Operation, changes: bool) {
    // What `security(())` means: not an empty way in, but that none is needed.
    if operation.security.as_ref().is_some_and(|ways| ways.contains(&SecurityRequirement::default())) {
        operation.security = Some(Vec::new());
    }
    let mut by_status: BTreeMap<StatusCode, Vec<Problem>> = BTreeMap::new();
    for problem in refused_by(operation.operation_id.as_deref().unwrap_or_default()) {
        by_status.entry(problem.status).or_default().push(problem);
    }
    for (status, problems) in by_status {
        operation.responses.responses.insert(status.as_str().to_owned(), response(&problems).into());
    }
    let shared: Vec<Shared> =
        Shared::ALL.into_iter().filter(|shared| shared.is_of(operation, changes)).collect();
    for shared in shared {
        let reference = Ref::from_response_name(shared.name());
        operation.responses.responses.entry(shared.status().to_owned()).or_insert(reference.into());
    }
}

/// What one operation refuses, by its id, beside what it shares with others.
fn refused_by(operation: &str) -> Vec<Problem> {
    use ManageError::{Conflict, NoId, NoSecret, NotAnObject, NotFound, Overlap, TokenFixed, TokenTaken};
    let invalid = || ManageError::Invalid(AgentError::Name).into();
    let too_large = || ManageError::Body(StatusCode::PAYLOAD_TOO_LARGE).into();
    let secret = |error: SecretError| ManageError::Secret(error).into();
    match operation {
        "trigger_agent" => [triggers(), bodies()].into_iter().flatten().collect(),
        "trigger_agent_by_url" => triggers(),
        "get_task_status" => vec![StatusError::NoId.into(), StatusError::NotFound.into()],
        "create_agent" => vec![invalid(), TokenTaken.into(), too_large()],
        "get_agent" | "list_documents" => vec![NotFound.into()],
        "update_agent" => [invalid(), too_large()]
            .into_iter()
            .chain([NotAnObject, TokenFixed, NotFound, Conflict].map(Problem::from))
            .collect(),
        "list_audit_entries" => vec![malformed("limit", "a whole number from 1 to 100")],
        "list_tasks" => vec![malformed("limit", "a whole number from 1 to 100")],
        "get_task" => vec![StatusError::NotFound.into()],
        "get_stats" => vec![malformed("hours", "a whole number from 1 to 336")],
        "preview_prompt" => vec![
            PreviewError::Payload(PayloadError::Null).into(),
            PreviewError::Agent(AgentError::PromptTooLong).into(),
            too_large(),
        ],
        "delete_agent" => vec![NotFound.into(), Conflict.into()],
        "get_agent_webhook" => vec![NoId.into(), NotFound.into()],
        "rotate_webhook" => vec![Overlap.into(), NotFound.into(), Conflict.into(), too_large()],
        "upload_document" => documents(),
        "delete_document" => vec![NotFound.into(), SourceError::NotFound.into(), Conflict.into()],
        "put_secret" => vec![
            secret(SecretError::Name),
            secret(SecretError::Value),
            StoreError::BeingDeleted.into(),
            too_large(),
        ],
        "delete_secret" => {
            vec![
                secret(SecretError::Name),
                NoSecret.into(),
                ManageError::SecretInUse("order-triage".into()).into(),
            ]
        }
        "sign_in" => {
            vec![
                session::unreadable(),
                AuthError::WrongToken.into(),
                AuthError::TooManyGuesses { seconds: 42 }.into(),
            ]
        }
        "get_session" => vec![AuthError::NoCredentials.into(), AuthError::SessionOver.into()],
        _ => Vec::new(),
    }
}

fn malformed(name: &'static str, wanted: &'static str) -> Problem {
    QueryError::Malformed { name, wanted }.into()
}

fn triggers() -> Vec<Problem> {
    let rest = TriggerError::RateExceeded { retry_after: Duration::from_secs(42) };
    [TriggerError::UnknownAgent, KeyError::TooLong.into(), KeyError::Several.into(), rest]
        .into_iter()
        .map(Problem::from)
        .collect()
}

fn bodies() -> Vec<Problem> {
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

fn documents() -> Vec<Problem> {
    [
        SourceError::Query("titel".to_owned()),
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
