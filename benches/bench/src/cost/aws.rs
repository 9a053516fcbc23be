//! AWS for the functions, at the wire: DynamoDB by the embedded engine, asked with
//! every call what the call consumes; SQS and Secrets Manager as far as the product
//! calls them. Every call is written down.
//!
//! The engine computes capacity by the rules of AWS, index writes included
//! (`actions/index_capacity.rs` of dynoxide, captured against the service).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use dynoxide::types::{Item, item_size, write_capacity_units};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::counts::Count;
use crate::Failure;

/// The services, served on loopback.
pub(crate) struct Aws {
    /// For `AWS_ENDPOINT_URL`.
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    database: Database,
    state: Mutex<Recorded>,
}

#[derive(Default)]
struct Recorded {
    calls: Vec<(String, Count)>,
    sent: Vec<Message>,
    secrets: BTreeMap<String, Value>,
}

/// A message on its way to a runner.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) body: String,
    pub(crate) group: String,
}

type Answered = (u16, Value);

impl Aws {
    pub(crate) async fn serve() -> Result<Self, Failure> {
        let database = Database::memory().map_err(|error| error.to_string())?;
        let shared = Arc::new(Shared {
            database,
            state: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self { url, shared })
    }

    /// A secret as the stack makes it.
    pub(crate) fn keep_secret(&self, name: &str, value: &str) {
        self.shared
            .recorded()
            .secrets
            .insert(name.to_owned(), value.into());
    }

    /// The calls since the last look: what was called, and what it consumed.
    pub(crate) fn calls(&self) -> Vec<(String, Count)> {
        std::mem::take(&mut self.shared.recorded().calls)
    }

    /// The messages sent since the last look.
    pub(crate) fn sent(&self) -> Vec<Message> {
        std::mem::take(&mut self.shared.recorded().sent)
    }
}

impl Shared {
    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default();
    let (service, operation) = target.split_once('.').unwrap_or_default();
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (status, answer) = match service {
        "AmazonSQS" => shared.recorded().sqs(operation, &request),
        "secretsmanager" => shared.recorded().secrets_manager(operation, &request),
        _ => shared.dynamodb(operation, request),
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, answer.to_string()).into_response()
}

impl Shared {
    fn dynamodb(&self, operation: &str, mut request: Value) -> Answered {
        // Tables are not asked for what they consume.
        if let (Some(fields), true) = (
            request.as_object_mut(),
            operation.contains("Item") || operation == "Query",
        ) {
            fields.insert("ReturnConsumedCapacity".to_owned(), "INDEXES".into());
        }
        let (status, mut answer) = call(&self.database, operation, request);
        let consumption = answer
            .as_object_mut()
            .and_then(|answer| answer.remove("ConsumedCapacity"));
        let count = match consumption {
            Some(consumption) => consumed(operation, &consumption),
            None => consumed_by_refusal(&answer),
        };
        self.recorded().calls.push((operation.to_owned(), count));
        (status, answer)
    }
}

fn call(database: &Database, operation: &str, request: Value) -> Answered {
    match operation {
        "PutItem" => handed(request, |request| database.put_item(request)),
        "GetItem" => handed(request, |request| database.get_item(request)),
        "UpdateItem" => handed(request, |request| database.update_item(request)),
        "DeleteItem" => handed(request, |request| database.delete_item(request)),
        "TransactWriteItems" => handed(request, |request| database.transact_write_items(request)),
        "BatchGetItem" => handed(request, |request| database.batch_get_item(request)),
        "Query" => handed(request, |request| database.query(request)),
        "ListTables" => handed(request, |request| database.list_tables(request)),
        "CreateTable" => handed(request, |request| database.create_table(request)),
        "DescribeTable" => handed(request, |request| database.describe_table(request)),
        "UpdateTable" => handed(request, |request| database.update_table(request)),
        "UpdateTimeToLive" => handed(request, |request| database.update_time_to_live(request)),
        other => refused(&DynoxideError::ValidationException(format!(
            "{other} is not counted here"
        ))),
    }
}

fn handed<Q: DeserializeOwned, A: Serialize>(
    request: Value,
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> Answered {
    let read = serde_json::from_value(request);
    let read = read.map_err(|error| DynoxideError::SerializationException(error.to_string()));
    let written = read
        .and_then(operation)
        .map(|answer| serde_json::to_value(answer));
    match written {
        Ok(Ok(answer)) => (200, answer),
        Ok(Err(error)) => refused(&DynoxideError::InternalServerError(error.to_string())),
        Err(error) => refused(&error),
    }
}

fn refused(error: &DynoxideError) -> Answered {
    (
        error.status_code(),
        serde_json::from_str(&error.to_json()).unwrap_or_default(),
    )
}

/// What DynamoDB says a call consumed: of one table, or of each of several.
fn consumed(operation: &str, consumption: &Value) -> Count {
    let tables = consumption
        .as_array()
        .map_or(std::slice::from_ref(consumption), Vec::as_slice);
    let units = |of: &Value| {
        of.get("CapacityUnits")
            .and_then(Value::as_f64)
            .unwrap_or_default()
    };
    let table: f64 = tables
        .iter()
        .filter_map(|table| table.get("Table"))
        .map(units)
        .sum();
    let indexes = tables
        .iter()
        .filter_map(|table| table.get("GlobalSecondaryIndexes")?.as_object());
    let index: f64 = indexes
        .flat_map(|indexes| indexes.values())
        .map(units)
        .sum();
    match operation {
        "GetItem" | "BatchGetItem" | "Query" => Count {
            read_units: table + index,
            ..Count::ONE
        },
        _ => Count {
            write_units: table,
            index_units: index,
            ..Count::ONE
        },
    }
}

/// A write whose condition does not hold consumes what the item it met would have
/// ("Capacity unit consumption for write operations", `DynamoDB` Developer Guide).
fn consumed_by_refusal(answer: &Value) -> Count {
    if !text(answer, "__type").ends_with("ConditionalCheckFailedException") {
        return Count::ONE;
    }
    let met = answer.get("Item").cloned().unwrap_or_default();
    let met: Item = serde_json::from_value(met).unwrap_or_default();
    Count {
        write_units: write_capacity_units(item_size(&met)),
        ..Count::ONE
    }
}

impl Recorded {
    fn sqs(&mut self, operation: &str, request: &Value) -> Answered {
        self.calls.push((operation.to_owned(), Count::ONE));
        match operation {
            "SendMessage" => {
                self.sent.push(Message {
                    body: text(request, "MessageBody"),
                    group: text(request, "MessageGroupId"),
                });
                (
                    200,
                    json!({ "MessageId": format!("message-{}", self.sent.len()), "MD5OfMessageBody": "" }),
                )
            }
            "ChangeMessageVisibility" => (200, json!({})),
            other => (
                400,
                json!({ "__type": "InvalidAction", "message": format!("{other} is not counted here") }),
            ),
        }
    }

    fn secrets_manager(&mut self, operation: &str, request: &Value) -> Answered {
        self.calls.push((operation.to_owned(), Count::ONE));
        // One call names it so, the others so.
        let name = text(request, "Name") + &text(request, "SecretId");
        match operation {
            "GetSecretValue" => match self.secrets.get(&name) {
                Some(value) => (200, json!({ "Name": name, "SecretString": value })),
                None => (
                    400,
                    json!({ "__type": "ResourceNotFoundException", "message": name }),
                ),
            },
            "CreateSecret" | "PutSecretValue" => {
                self.secrets
                    .insert(name.clone(), text(request, "SecretString").into());
                (200, json!({ "Name": name }))
            }
            other => (
                400,
                json!({ "__type": "InvalidAction", "message": format!("{other} is not counted here") }),
            ),
        }
    }
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
