//! The tables as `template.yaml` makes them on AWS, for an empty embedded engine.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TimeToLiveSpecification,
};

use crate::StoreError;
use crate::aws::Aws;
use crate::error::Attempt;

/// Makes each table that does not exist yet, with its TTL attribute.
pub async fn create_tables(aws: &Aws, names: &[&str]) -> Result<(), StoreError> {
    let db = aws.dynamodb();
    let existing = db.list_tables().send().await.attempt("list the tables")?;
    for name in names {
        if existing.table_names().iter().any(|table| table == name) {
            continue;
        }
        let id = AttributeDefinition::builder()
            .attribute_name("id")
            .attribute_type(ScalarAttributeType::S)
            .build()
            .attempt("describe the key")?;
        let key = KeySchemaElement::builder()
            .attribute_name("id")
            .key_type(KeyType::Hash)
            .build()
            .attempt("describe the key")?;
        db.create_table()
            .table_name(*name)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(id)
            .key_schema(key)
            .send()
            .await
            .attempt("create a table")?;
        let ttl = TimeToLiveSpecification::builder()
            .attribute_name("expires_at")
            .enabled(true)
            .build()
            .attempt("describe the TTL attribute")?;
        db.update_time_to_live()
            .table_name(*name)
            .time_to_live_specification(ttl)
            .send()
            .await
            .attempt("set the TTL attribute")?;
    }
    Ok(())
}
