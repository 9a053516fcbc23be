//! What is measured: three programs that do the least, and the four functions.

use serde_json::Value;

use super::aws::Aws;
use super::records::Records;
use crate::Failure;
use crate::lambda::{http_event, queue_event};

const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:123456789012:queue";
const PAYLOAD: &str = r#"{"order":1042,"text":"Where is my parcel?"}"#;

/// One binary and what it is asked.
pub(super) struct Subject {
    pub(super) binary: &'static str,
    pub(super) what: &'static str,
    /// Which does the least of the same kind.
    pub(super) limit: Option<&'static str>,
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) event: Value,
    /// Whether an answer is what it should be.
    pub(super) check: fn(&Value) -> Result<(), Failure>,
}

/// What the records drew for themselves.
pub(super) struct Drawn {
    webhook: String,
    task: String,
    agent: String,
}

impl Drawn {
    pub(super) fn of(records: &Records) -> Self {
        Self {
            webhook: format!("/api/webhooks/agents/{}", records.token.expose()),
            task: records.task_id.to_string(),
            agent: records.agent_id.to_string(),
        }
    }
}

pub(super) fn all(aws: &Aws, drawn: &Drawn) -> Vec<Subject> {
    let trigger = || http_event("POST", &drawn.webhook, "", Some(PAYLOAD));
    let status = || {
        http_event(
            "GET",
            "/api/task_status",
            &format!("task_id={}", drawn.task),
            None,
        )
    };
    let subject = |binary, what, limit, event| Subject {
        binary,
        what,
        limit,
        environment: environment(aws),
        event,
        check: is_ok,
    };
    vec![
        subject("limit-hello", "hello world", None, trigger()),
        subject(
            "limit-trigger",
            "a bare put and a bare send",
            None,
            trigger(),
        ),
        subject("webhook", "a trigger", Some("limit-trigger"), trigger()),
        subject("limit-status", "a bare read", None, status()),
        subject("task-status", "a status", Some("limit-status"), status()),
        Subject {
            check: all_ended,
            ..subject(
                "agent",
                "a batch of one task, no model",
                None,
                queue_event(&drawn.task, &drawn.agent, QUEUE_ARN),
            )
        },
        subject(
            "console",
            "its first page",
            None,
            http_event("GET", "/console/", "", None),
        ),
    ]
}

fn environment(aws: &Aws) -> Vec<(&'static str, String)> {
    let texts = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        (
            "AWS_SECRET_ACCESS_KEY",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        ),
        ("AWS_ENDPOINT_URL", &aws.dynamodb),
        ("AWS_ENDPOINT_URL_DYNAMODB", &aws.dynamodb),
        ("AWS_ENDPOINT_URL_SQS", &aws.sqs),
        (
            "AGENT_WEBHOOKS_TASKS_TABLE",
            "agent-webhooks-TasksTable-1ABCDEFGHIJKL",
        ),
        (
            "AGENT_WEBHOOKS_AGENTS_TABLE",
            "agent-webhooks-AgentsTable-1ABCDEFGHIJKL",
        ),
        (
            "AGENT_WEBHOOKS_DOCUMENTS_TABLE",
            "agent-webhooks-DocumentsTable-1ABCDEFGHIJKL",
        ),
        (
            "AGENT_WEBHOOKS_QUEUE_URL",
            "https://sqs.us-east-1.amazonaws.com/123456789012/queue",
        ),
        (
            "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_URL",
            "https://sqs.us-east-1.amazonaws.com/123456789012/dead",
        ),
        (
            "AGENT_WEBHOOKS_DEAD_LETTER_QUEUE_ARN",
            "arn:aws:sqs:us-east-1:123456789012:dead",
        ),
        ("AGENT_WEBHOOKS_AGENT_FUNCTION", "agent"),
        ("AGENT_WEBHOOKS_SECRETS_PREFIX", "agent-webhooks/provider/"),
        ("AGENT_WEBHOOKS_ADMIN_TOKEN_SECRET", "admin"),
        ("AGENT_WEBHOOKS_SIGNING_SECRET", "signing"),
        (
            "AGENT_WEBHOOKS_PUBLIC_URL",
            "https://abcdefghij.execute-api.us-east-1.amazonaws.com",
        ),
        ("AGENT_WEBHOOKS_MODEL_PROVIDER", "extractive"),
    ];
    let mut all: Vec<_> = texts
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    // As long as Lambda's.
    all.push(("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjE".repeat(40)));
    all.push(("SSL_CERT_FILE", aws.certificates.display().to_string()));
    all
}

fn is_ok(answer: &Value) -> Result<(), Failure> {
    match answer["statusCode"] == 200 {
        true => Ok(()),
        false => Err(format!("it answered {answer}").into()),
    }
}

fn all_ended(answer: &Value) -> Result<(), Failure> {
    match answer["batchItemFailures"]
        .as_array()
        .is_some_and(Vec::is_empty)
    {
        true => Ok(()),
        false => Err(format!("not every task of the batch ended: {answer}").into()),
    }
}
