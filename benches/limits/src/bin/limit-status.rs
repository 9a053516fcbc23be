//! Reads one item.

use aws_sdk_dynamodb::types::AttributeValue;
use lambda_http::{Body, Error, Request, Response, service_fn};
use store::aws::{Aws, AwsSettings};
use store::env::Env;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let db = &Aws::new(AwsSettings::from_env(&Env::process())?).dynamodb();
    lambda_http::run(service_fn(async |_: Request| {
        let key = AttributeValue::S("79090909890909090909".to_owned());
        let found = db
            .get_item()
            .table_name("tasks")
            .key("id", key)
            .consistent_read(true)
            .send()
            .await?;
        let found = format!("{}", found.item.is_some());
        Ok::<_, Error>(Response::builder().body(Body::from(found))?)
    }))
    .await
}
