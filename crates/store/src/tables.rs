//! Creates the tables in the embedded engine like `template.yaml` does on AWS.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, CreateGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate,
    KeySchemaElement, KeyType, Projection, ProjectionType, ScalarAttributeType, TableDescription,
    TimeToLiveSpecification,
};

use crate::StoreError;
use crate::aws::Aws;
use crate::error::StoreAttempt;
use crate::item::{EXPIRES_AT, ID};
use crate::tasks::TASKS_INDEX;
use crate::tasks::attributes::{FAILED, LISTED, TASK_ID};

/// Creates each table that does not exist yet, with its TTL attribute.
pub async fn create_tables(aws: &Aws, names: &[&str]) -> Result<(), StoreError> {
    let db = aws.dynamodb();
    let existing = db.list_tables().send().await.attempt("list the tables")?;
    for name in names {
        if existing.table_names().iter().any(|table| table == name) {
            continue;
        }
        db.create_table()
            .table_name(*name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(text(ID).attempt("build the key schema")?)
            .key_schema(key(ID, KeyType::Hash).attempt("build the key schema")?)
            .send()
            .await
            .attempt("create a table")?;
        let ttl = TimeToLiveSpecification::builder()
            .attribute_name(EXPIRES_AT)
            .enabled(true)
            .build()
            .attempt("build the TTL setting")?;
        db.update_time_to_live()
            .table_name(*name)
            .time_to_live_specification(ttl)
            .send()
            .await
            .attempt("set the TTL attribute")?;
    }
    Ok(())
}

/// Adds the index to a tasks table without one, from an earlier release. The engine does
/// this atomically.
pub async fn index_tasks(aws: &Aws, table: &str) -> Result<(), StoreError> {
    let db = aws.dynamodb_without_timeouts();
    let described = db
        .describe_table()
        .table_name(table)
        .send()
        .await
        .attempt("describe the tasks table")?;
    let has_index = described.table().is_some_and(|table| {
        table
            .global_secondary_indexes()
            .iter()
            .any(|index| index.index_name() == Some(TASKS_INDEX))
    });
    if has_index {
        return Ok(());
    }
    let tasks = described
        .table()
        .and_then(TableDescription::item_count)
        .unwrap_or_default();
    if tasks > 0 {
        tracing::info!(tasks, "creating the index of the tasks table");
    }
    db.update_table()
        .table_name(table)
        .attribute_definitions(text(LISTED).attempt("prepare the index")?)
        .attribute_definitions(text(TASK_ID).attempt("prepare the index")?)
        .global_secondary_index_updates(index().attempt("prepare the index")?)
        .send()
        .await
        .attempt("create the index of the tasks table")?;
    Ok(())
}

fn index() -> Result<GlobalSecondaryIndexUpdate, BuildError> {
    let projection = Projection::builder()
        .projection_type(ProjectionType::Include)
        .non_key_attributes(FAILED)
        .build();
    let create = CreateGlobalSecondaryIndexAction::builder()
        .index_name(TASKS_INDEX)
        .key_schema(key(LISTED, KeyType::Hash)?)
        .key_schema(key(TASK_ID, KeyType::Range)?)
        .projection(projection)
        .build()?;
    Ok(GlobalSecondaryIndexUpdate::builder().create(create).build())
}

fn text(name: &str) -> Result<AttributeDefinition, BuildError> {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(ScalarAttributeType::S)
        .build()
}

fn key(name: &str, key_type: KeyType) -> Result<KeySchemaElement, BuildError> {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(key_type)
        .build()
}
