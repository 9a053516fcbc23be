//! What every trigger, run and poll does by itself, between its calls.

use std::error::Error;
use std::hint::black_box;

use domain::{
    Agent, AgentId, Answer, Definition, Ended, IdempotencyKey, Moment, Outcome, Passage, Payload,
    Provider, Salt, TaskId, TaskKey, TokenHash, Usage, WebhookToken,
};
use runner::{SecretScrubber, parse_reply};

/// One of them.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn Fn()>,
}

const NOW: Moment = Moment::from_millis(1_795_867_200_000);
const AGENT: AgentId = AgentId::random([7; 16]);
const PLAIN_DEFINITION: &str = r#"{
    "name": "order-triage",
    "prompt": "You triage orders. Order {{ payload.order.id }}: {% if payload.order.lines %}{{ payload.order.lines | tojson }}{% endif %}"
}"#;
const DEFINITION: &str = r#"{
    "name": "order-triage",
    "prompt": "You triage orders. Order {{ payload.order.id }}: {% for line in payload.order.lines %}{{ line.sku }} {% endfor %}"
}"#;

pub(crate) fn all() -> Result<Vec<Operation>, Box<dyn Error>> {
    let mut operations = payload_operations();
    operations.extend(token_and_key_operations()?);
    operations.extend(task_id_operations());
    operations.extend(prompt_operations()?);
    operations.extend(reply_operations()?);
    Ok(operations)
}

fn small_payload() -> Vec<u8> {
    br#"{"order":{"id":70113,"lines":[{"sku":"A-48213","quantity":2,"price":"19.90"}]}}"#.to_vec()
}

fn task_id() -> TaskId {
    TaskId::new(NOW, TaskKey::random([3; 10]))
}

fn payload_operations() -> Vec<Operation> {
    let small = small_payload();
    let large = format!(r#"{{"lines":[{}0]}}"#, "1.50,".repeat(800)).into_bytes();
    let form = b"order=70113&tag=a&tag=b&note=please+check%21".to_vec();
    vec![
        operation("payload of 80 bytes", move || {
            Payload::from_json(&small).is_ok()
        }),
        operation("payload of 4 KB", move || {
            Payload::from_json(&large).is_ok()
        }),
        operation("payload of a form", move || Payload::from_form(&form)),
    ]
}

fn token_and_key_operations() -> Result<Vec<Operation>, Box<dyn Error>> {
    let token = WebhookToken::derive(b"the-signing-secret", AGENT, 1);
    let text = token.expose().to_owned();
    let stored = TokenHash::from_stored(token.hash().as_str().to_owned());
    let key = IdempotencyKey::parse([b"order-70113".as_slice()])?.ok_or("no key")?;
    let salt = Salt::new([9; 32]);
    Ok(vec![
        operation("token, its hash compared", move || {
            WebhookToken::parse(&text).map(|token| stored.eq(&token.hash()))
        }),
        operation("idempotency key", || {
            IdempotencyKey::parse([b"order-70113".as_slice()]).is_ok()
        }),
        operation("task key of an idempotency key", move || {
            TaskKey::derived(&salt, &key)
        }),
    ])
}

fn task_id_operations() -> Vec<Operation> {
    let id = task_id();
    let (id_text, id_hex) = (id.to_string(), id.key().as_hex());
    vec![
        operation("task id made", || {
            TaskId::new(black_box(NOW), TaskKey::random(black_box([3; 10])))
        }),
        operation("task id written, and its key", move || {
            (id.to_string(), id.key().as_hex())
        }),
        operation("task id read, and its key", move || {
            (TaskId::parse(&id_text), TaskKey::from_hex(&id_hex))
        }),
    ]
}

fn prompt_operations() -> Result<Vec<Operation>, Box<dyn Error>> {
    let id = task_id();
    let agent = Agent::new(AGENT, Definition::from_json(DEFINITION.as_bytes())?)?;
    let plain_agent = Agent::new(AGENT, Definition::from_json(PLAIN_DEFINITION.as_bytes())?)?;
    let payload = Payload::from_json(&small_payload())?;
    let plain_payload = payload.clone();
    Ok(vec![
        operation("prompt", move || {
            agent.prompt(&payload, id, NOW).render().is_ok()
        }),
        operation("plain prompt, and that it is", move || {
            let prompt = plain_agent.prompt(&plain_payload, id, NOW);
            (prompt.is_plain(), prompt.render().is_ok())
        }),
    ])
}

fn reply_operations() -> Result<Vec<Operation>, Box<dyn Error>> {
    let reply = completion();
    let reply_text = String::from_utf8(reply.clone())?;
    let scrubber = SecretScrubber::new([
        "sk-proj-4f2a9c17d05e",
        "Bearer 9e8d7c6b5a",
        "crm+key/1234567890==",
    ]);
    let ended = answered();
    let record = serde_json::to_vec(&ended)?;
    Ok(vec![
        operation("reply of a model, 2 KB", move || {
            parse_reply(Provider::Openai, &reply).is_ok()
        }),
        operation("secrets removed from 2 KB", move || {
            scrubber.scrub(&reply_text).len()
        }),
        operation("end written", move || serde_json::to_vec(&ended).is_ok()),
        operation("end read", move || {
            serde_json::from_slice::<Ended>(&record).is_ok()
        }),
    ])
}

fn operation<T>(name: &'static str, run: impl Fn() -> T + 'static) -> Operation {
    Operation {
        name,
        run: Box::new(move || drop(black_box(run()))),
    }
}

fn completion() -> Vec<u8> {
    let content = "The order can be returned until Thursday. ".repeat(45);
    format!(
        r#"{{"id":"chatcmpl-9","object":"chat.completion","created":1795867200,"model":"m","choices":[{{"index":0,
        "message":{{"role":"assistant","content":"{content}","refusal":null,"annotations":[]}},"logprobs":null,
        "finish_reason":"stop"}}],"usage":{{"prompt_tokens":812,"completion_tokens":405,"total_tokens":1217}}}}"#
    )
    .into_bytes()
}

fn answered() -> Ended {
    let passage = Passage {
        title: "Returns policy".to_owned(),
        text: "Goods can be returned within 30 days.".to_owned(),
        source: "returns.md".to_owned(),
    };
    let answer = "The order can be returned until Thursday. ".repeat(10);
    Ended {
        outcome: Outcome::Success(Answer {
            answer,
            sources: vec![passage],
            ..Answer::default()
        }),
        usage: Some(Usage {
            model: "any-model".to_owned(),
            turns: 1,
            input_tokens: 120,
            output_tokens: 60,
        }),
    }
}
