//! Puts one item as a task is put, and sends one message.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use lambda_http::{Body, Error, Request, Response, service_fn};
use store::aws::{Aws, AwsSettings};
use store::env::Env;

const TASK: &str = "019ac9b2-1c00-7909-8909-090909090909";
const AGENT: &str = "07070707-0707-4707-8707-070707070707";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let env = Env::process();
    let aws = Aws::new(AwsSettings::from_env(&env)?);
    let (db, queue) = &(aws.dynamodb(), aws.sqs());
    let queue_url = &env.required("AGENT_WEBHOOKS_QUEUE_URL")?;
    lambda_http::run(service_fn(async |request: Request| {
        put(db, request.body().as_ref()).await?;
        queue
            .send_message()
            .queue_url(queue_url)
            .message_body(TASK)
            .message_group_id(AGENT)
            .send()
            .await?;
        Ok::<_, Error>(Response::builder().body(Body::from(TASK))?)
    }))
    .await
}

async fn put(db: &aws_sdk_dynamodb::Client, payload: &[u8]) -> Result<(), Error> {
    let text = |value: &str| AttributeValue::S(value.to_owned());
    let number = |value: &str| AttributeValue::N(value.to_owned());
    db.put_item()
        .table_name("tasks")
        .item("id", text("79090909890909090909"))
        .item("v", number("1"))
        .item("agent_id", text(AGENT))
        .item("listed", text(AGENT))
        .item("task_id", text(TASK))
        .item("status", text("PENDING"))
        .item("attempt", number("0"))
        .item("spent_ms", number("0"))
        .item("created_at", number("1795867200000"))
        .item("expires_at", number("1797163200"))
        .item("payload", AttributeValue::B(Blob::new(payload)))
        .condition_expression(
            "attribute_not_exists(id) OR (created_at <= :window AND #status IN (:success, :failure))",
        )
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":window", number("1795780800000"))
        .expression_attribute_values(":success", text("SUCCESS"))
        .expression_attribute_values(":failure", text("FAILURE"))
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .send()
        .await?;
    Ok(())
}
