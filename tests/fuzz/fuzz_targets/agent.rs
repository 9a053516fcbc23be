//! An agent's definition, as the management API is sent it.
#![no_main]

use domain::{Agent, AgentDraft, check_template};
use fuzz::AGENT;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(draft) = AgentDraft::from_json(json) else { return };
    let Ok((agent, token)) = Agent::new(AGENT, draft) else { return };
    let draft = agent.draft();
    assert!((1..=128).contains(&draft.name.chars().count()) && draft.name.trim() == draft.name);
    assert!(draft.prompt.as_deref().is_none_or(|prompt| check_template(prompt).is_ok()));
    assert!((1..=840).contains(&draft.limits.timeout_seconds));
    assert!(draft.webhook_token.is_none());
    assert!(token.is_none_or(|token| token.expose().len() >= 16));

    // As it is stored, it reads back as the same agent.
    let stored = serde_json::to_vec(draft).unwrap();
    let (again, _) = Agent::new(AGENT, AgentDraft::from_json(&stored).unwrap()).unwrap();
    assert_eq!(again, agent);
});
