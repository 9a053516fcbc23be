//! A queue message: its body, and a message about a task that does not exist.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use domain::{AgentId, ModelConfig, Provider, TaskId, TaskKey};
use fuzz::{AGENT, Dynamo, NOW, block_on};
use libfuzzer_sys::fuzz_target;
use runner::{
    AccessTokens, Delivery, Models, PrivateHosts, RunGate, RunSettings, Runner, Sources,
    parse_message_body, run_batch,
};
use store::{Agents, Clock, Documents, MemoryQueue, Queue, Secrets, Tasks};
use subprocess::Subprocesses;

const HOUR: Duration = Duration::from_secs(3600);

static MODELS: LazyLock<Models> = LazyLock::new(|| Models::new(PrivateHosts::none()).unwrap());

/// The task's agent is asked for, then the agent, then the task is claimed.
const MOST_CALLS: usize = 3;

fuzz_target!(|body: &str| {
    let parsed = parse_message_body("message", body);
    assert!(parsed.is_none_or(|task| task.to_string().eq_ignore_ascii_case(body)));
    let task = parsed.unwrap_or_else(|| task_from(body.as_bytes()));
    for (agent, dead_lettered) in [
        (None, false),
        (Some(AGENT), false),
        (None, true),
        (Some(AGENT), true),
    ] {
        let dynamo = Dynamo::holding(None);
        let again = block_on(run(&dynamo, task, agent, dead_lettered));
        assert!(again.is_empty(), "a message for no task comes again");
        assert!(
            (1..=MOST_CALLS).contains(&dynamo.calls()),
            "{} calls for {task}",
            dynamo.calls()
        );
    }
});

fn task_from(bytes: &[u8]) -> TaskId {
    let mut entropy = [0; 10];
    entropy
        .iter_mut()
        .zip(bytes)
        .for_each(|(to, from)| *to = *from);
    TaskId::new(NOW, TaskKey::random(entropy))
}

async fn run(
    dynamo: &Dynamo,
    task: TaskId,
    agent: Option<AgentId>,
    dead_lettered: bool,
) -> Vec<String> {
    let delivery = Delivery {
        message_id: "message".to_owned(),
        receipt: "receipt".to_owned(),
        task,
        agent,
        receives: u32::MAX,
        dead_lettered,
    };
    let queue = Arc::new(Queue::Memory(Arc::new(MemoryQueue::new(HOUR, 3))));
    run_batch(
        &Arc::new(runner(dynamo)),
        &queue,
        vec![delivery],
        NOW.plus(HOUR),
    )
    .await
}

fn runner(dynamo: &Dynamo) -> Runner {
    let aws = dynamo.aws();
    let agents = Arc::new(Agents::new(&aws, "agents", Duration::ZERO));
    Runner {
        // Its agents have plain prompts.
        subprocesses: Subprocesses::new("unused".into(), 1),
        tasks: Tasks::new(&aws, "tasks"),
        sources: Arc::new(Sources::new(
            Arc::clone(&agents),
            Documents::new(&aws, "documents"),
        )),
        agents,
        secrets: Arc::new(Secrets::file("never-read")),
        models: MODELS.clone(),
        access_tokens: AccessTokens::default(),
        gate: RunGate::default(),
        settings: RunSettings {
            max_attempts: 5,
            log_server_errors: false,
            retention: HOUR,
            default_model: ModelConfig {
                provider: Provider::Extractive,
                base_url: None,
                name: None,
                api_key: None,
                price: None,
            },
        },
        clock: Clock::new(|| NOW),
    }
}
