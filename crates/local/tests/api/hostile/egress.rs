//! Agents that try to reach the services that run their process. The real command runs
//! as Lambda starts it. Every private host is allowed except these services.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kill::{Killable, serve};
use crate::support::{ADMIN_TOKEN, FakeApi, FakeModel, accepted, client, redaction, string};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_runtime_api_and_credentials_are_out_of_reach_though_all_private_hosts_are_allowed() {
    let runtime_api = FakeApi::saying(json!({ "reached": true })).await;
    let model = FakeModel::saying("Done.").await;
    let (folder, port) = (
        TempDir::new().unwrap(),
        runtime_api.host.rsplit(':').next().unwrap(),
    );
    let mut command = serve(folder.path());
    command.env("AWS_LAMBDA_RUNTIME_API", &runtime_api.host);
    command
        .env("AGENT_WEBHOOKS_ALLOWED_PRIVATE_HOSTS", "*")
        .stderr(Stdio::piped());
    let mut server = Killable::start_with(&mut command);
    let log = server.process.stderr.take().unwrap();
    for host in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        "169.254.169.254".to_owned(),
        "169.254.170.2".to_owned(),
        "[fd00:ec2::254]".to_owned(),
    ] {
        let ended = run(&server.url, &format!("http://{host}/2018-06-01/runtime")).await;
        assert_eq!(ended["error"]["type"], "invalid_agent", "{host}: {ended}");
        assert_eq!(
            ended["result"], "The address of the agent's model is not allowed here",
            "{host}"
        );
    }
    assert!(runtime_api.calls().is_empty());
    // Another service on the same machine.
    assert_eq!(run(&server.url, &model.url).await["status"], "SUCCESS");
    server.kill();
    let refusals = BufReader::new(log).lines().map_while(Result::ok);
    assert_eq!(
        refusals
            .filter(|line| line.contains("it cannot be allowed"))
            .count(),
        7
    );
}

/// Runs an agent whose model is at this address.
async fn run(url: &str, base_url: &str) -> Value {
    let definition = json!({ "name": "a", "model": { "base_url": base_url, "name": "m" } });
    let create = client()
        .post(format!("{url}/api/agents"))
        .bearer_auth(ADMIN_TOKEN)
        .json(&definition);
    let agent: Value = create.send().await.unwrap().json().await.unwrap();
    redaction::webhook(&string(&agent["webhook_url"]));
    let task = accepted(
        client()
            .get(string(&agent["webhook_url"]))
            .send()
            .await
            .unwrap(),
    )
    .await;
    for _ in 0..500 {
        let status = client()
            .get(format!("{url}/api/task_status?task_id={task}"))
            .send()
            .await
            .unwrap();
        let status: Value = status.json().await.unwrap();
        if status["finished_at"].is_string() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{base_url}: {task} does not end")
}
