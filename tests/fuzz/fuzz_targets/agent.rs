//! An agent's definition, as the management API is sent it.
#![no_main]

use domain::{Agent, Definition, NewAgent, check_template};
use fuzz::AGENT;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|json: &[u8]| {
    let Ok(new) = NewAgent::from_json(json) else {
        return;
    };
    assert!(
        new.webhook_token
            .is_none_or(|token| token.expose().len() >= 16)
    );
    let Ok(agent) = Agent::new(AGENT, new.definition) else {
        return;
    };
    let definition = agent.definition();
    assert!(
        (1..=128).contains(&definition.name.chars().count())
            && definition.name.trim() == definition.name
    );
    assert!(
        definition
            .prompt
            .as_deref()
            .is_none_or(|prompt| check_template(prompt).is_ok())
    );
    assert!((1..=840).contains(&definition.limits.timeout_seconds));

    // As it is stored, it reads back as the same agent.
    let stored = serde_json::to_vec(definition).unwrap();
    let again = Agent::new(AGENT, Definition::from_json(&stored).unwrap()).unwrap();
    assert_eq!(again, agent);
});
