//! Prompts that multiply a payload, and their effect on other agents.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::others::{MIB, Site};
use crate::support::{Agent, client, string};

/// Limit for the server's own process. Prompts are rendered in child processes.
const MEMORY: u64 = 200 * MIB;
/// Longer than all queued renderings together take.
const PATIENCE: Duration = Duration::from_secs(60);

/// 383 KB. Testing `m` for truth used to collect all its keys.
fn many_rows_and_keys() -> String {
    let keys: Vec<String> = (0..40_000).map(|n| format!("\"k{n}\":0")).collect();
    format!(
        r#"{{"rows":[{}0],"m":{{{}}}}}"#,
        "1,".repeat(14_000),
        keys.join(",")
    )
}

/// 0.9 MB. Each of 60,000 items uses the fallback.
fn many_items_and_a_long_text() -> String {
    format!(
        r#"{{"items":[{}0],"fallback":"{}"}}"#,
        "0,".repeat(60_000),
        "x".repeat(700_000)
    )
}

/// The engine counts characters without using fuel.
const ENDLESS: &str =
    "{% for a in payload.items %}{% if payload.fallback[600000] %}{% endif %}{% endfor %}";

/// Without limits, each would take minutes or gigabytes.
const MULTIPLYING: [&str; 12] = [
    "{{ 'Notes: ' ~ payload.items|map(attribute='note', default=payload.fallback) }}",
    "{{ payload.items|map(attribute='note', default=payload.fallback)|string }}",
    "{{ payload.items|map(attribute='note', default=payload.fallback)|upper }}",
    "{{ payload.items|map(attribute='note', default=payload.fallback)|join|length }}",
    "{{ payload.items|map(attribute='note', default=payload.fallback)|list|pprint }}",
    "{{ payload.items|map(attribute='note', default=payload.fallback)|batch(2)|string }}",
    "{{ '%s'|format(payload.items|map(attribute='note', default=payload.fallback)) }}",
    "{{ (payload.fallback * 1000000)|length }}",
    "{{ payload.fallback|replace('x', payload.fallback)|length }}",
    "{% for a in payload.items %}{% if payload.fallback[600000] in payload.items|string %}x{% endif %}{% endfor %}",
    ENDLESS,
    "{% for a in payload.items %}{% for b in payload.items %}{{ payload.fallback|trim|length }}{% endfor %}{% endfor %}",
];

async fn agent(site: &Site, prompt: &str, timeout_seconds: u32) -> Agent {
    let definition = json!({
        "name": "multiplier", "prompt": prompt, "model": site.quiet_model(),
        "limits": { "timeout_seconds": timeout_seconds },
    });
    site.agent(definition).await
}

async fn trigger(agent: &Agent, payload: &str) -> String {
    let response = client()
        .post(&agent.url)
        .body(payload.to_owned())
        .send()
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    string(&answer["task_id"])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_reads_many_keys_many_times_delays_no_other_agent() {
    let site = Site::start().await;
    let prompt = "{% for r in payload.rows %}{% if payload.m %}x{% endif %}{% endfor %}";
    let agent = agent(&site, prompt, 60).await;
    let watch = site.watch();
    let payload = many_rows_and_keys();
    let tasks = join_all((0..4).map(|_| trigger(&agent, &payload))).await;
    for task in &tasks {
        let ended = site.ended(task, PATIENCE).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
    }
    watch.finish().await;
    site.assert_memory_below(MEMORY);
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prompt_that_multiplies_its_payload_fails_its_own_task() {
    let site = Site::start().await;
    let payload = many_items_and_a_long_text();
    let watch = site.watch();
    let runs = MULTIPLYING.map(|prompt| {
        let (site, payload) = (&site, &payload);
        async move {
            let agent = agent(site, prompt, 120).await;
            let ended = site.ended(&trigger(&agent, payload).await, PATIENCE).await;
            assert_eq!(ended["error"]["type"], "invalid_agent", "{prompt}: {ended}");
            assert_eq!(ended["error"]["retryable"], false, "{prompt}: {ended}");
        }
    });
    join_all(runs).await;
    watch.finish().await;
    site.assert_memory_below(MEMORY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_and_sigterm_end_a_prompt_that_is_being_rendered() {
    let site = Site::start().await;
    let payload = many_items_and_a_long_text();
    let limited = agent(&site, ENDLESS, 1).await;
    let watch = site.watch();
    let started = Instant::now();
    let ended = site
        .ended(&trigger(&limited, &payload).await, PATIENCE)
        .await;
    assert_eq!(ended["error"]["type"], "timeout", "{ended}");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
    watch.finish().await;
    let unlimited = agent(&site, ENDLESS, 120).await;
    join_all((0..4).map(|_| trigger(&unlimited, &payload))).await;
    site.assert_stops_in_time().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_that_multiplies_its_payload_is_refused_and_delays_no_other_agent() {
    let site = Site::start().await;
    let payload: Value = serde_json::from_str(&many_items_and_a_long_text()).unwrap();
    let watch = site.watch();
    for prompt in MULTIPLYING.into_iter().step_by(3) {
        let body = json!({ "prompt": prompt, "payload": payload });
        let response = site
            .manage(reqwest::Method::POST, "/api/prompt_preview")
            .json(&body)
            .send()
            .await
            .unwrap();
        let (status, refusal): (_, Value) = (response.status(), response.json().await.unwrap());
        assert_eq!(status, 400, "{prompt}: {refusal}");
        assert_eq!(refusal["code"], "invalid_prompt", "{prompt}");
    }
    watch.finish().await;
    site.assert_memory_below(MEMORY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_with_very_many_attributes_is_refused_and_delays_no_other_agent() {
    let site = Site::start().await;
    let agent = agent(&site, "Answer.", 60).await;
    let attributes: String = (0..200_000).map(|n| format!(" a{n}")).collect();
    let upload = |source: &str, kind: &'static str, body: String| {
        let path = format!("/api/agents/{}/sources?source={source}", agent.id);
        site.manage(reqwest::Method::POST, &path)
            .header("Content-Type", kind)
            .body(body)
            .send()
    };
    let watch = site.watch();
    let pages = (0..2).map(|n| {
        upload(
            if n == 0 { "a.html" } else { "b.html" },
            "text/html",
            format!("<p{attributes}>zebra"),
        )
    });
    let started = Instant::now();
    let (refused, accepted) = tokio::join!(join_all(pages), async {
        let accepted = upload(
            "c.txt",
            "text/plain",
            "The zebra is fed at noon.".to_owned(),
        )
        .await
        .unwrap();
        (accepted.status(), started.elapsed())
    });
    for page in refused {
        let page = page.unwrap();
        assert_eq!(page.status(), 422);
        let refusal: Value = page.json().await.unwrap();
        assert_eq!(refusal["code"], "unreadable_document", "{refusal}");
    }
    assert_eq!(accepted.0, 201);
    // Two uploads are parsed at a time, each for at most 2 seconds of processor time.
    assert!(accepted.1 < Duration::from_secs(6), "{:?}", accepted.1);
    watch.finish().await;
    site.assert_memory_below(MEMORY);
}

/// A prompt waits for prompts of the same agent before it waits for those of other agents.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_prompts_take_long_does_not_delay_the_prompts_of_others() {
    let site = Site::start().await;
    let payload = many_items_and_a_long_text();
    let attacker = agent(&site, ENDLESS, 120).await;
    join_all((0..16).map(|_| trigger(&attacker, &payload))).await;
    let other = agent(&site, "{% for x in payload.l %}{{ x }}{% endfor %}", 10).await;
    let ended = site
        .ended(&trigger(&other, r#"{"l":[1,2]}"#).await, PATIENCE)
        .await;
    assert_eq!(ended["status"], "SUCCESS", "{ended}");
}

/// A signal to the server's process group, such as Ctrl-C or a service's stop, is not an error
/// of the prompt. Its task continues at the next start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_all_processes_fails_no_task_whose_prompt_is_being_rendered() {
    let site = Site::start().await;
    let payload = many_items_and_a_long_text();
    let agent = agent(&site, ENDLESS, 120).await;
    let task = trigger(&agent, &payload).await;
    let child = site.child_process().await;
    rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
    let ended = site.ended(&task, PATIENCE).await;
    // The second attempt exceeds the prompt's time limit.
    assert_eq!(ended["error"]["type"], "invalid_agent", "{ended}");
    assert_eq!(ended["attempt"], 2, "{ended}");
}

/// As parsed values, the payload takes 45 times the memory of its text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_prompt_over_very_many_values_takes_no_memory_of_the_server() {
    let site = Site::start().await;
    let payload = format!("[{}[]]", "[],".repeat(340_000));
    let agent = agent(&site, "{{ payload[0] }}", 120).await;
    let watch = site.watch();
    let tasks = join_all((0..16).map(|_| trigger(&agent, &payload))).await;
    for task in &tasks {
        let ended = site.ended(task, PATIENCE).await;
        assert_eq!(ended["status"], "SUCCESS", "{ended}");
    }
    watch.finish().await;
    site.assert_memory_below(MEMORY);
}
