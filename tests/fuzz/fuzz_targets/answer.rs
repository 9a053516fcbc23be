//! The body of a model server's 200, read as each provider's, and what the run
//! makes of it.
#![no_main]

use domain::{Ended, Limits, ModelReply, Outcome, Provider, Rules, Run, Step};
use libfuzzer_sys::fuzz_target;

const MOST_RESULT: usize = 4 * 1024 * 1024;

fuzz_target!(|body: &[u8]| {
    for provider in Provider::ALL {
        if let Ok(reply) = runner::parse_reply(provider, body) {
            run(reply);
        }
    }
});

fn run(reply: ModelReply) {
    let mut run = Run::new(Vec::new());
    let limits = Limits::default();
    run.model_replied(
        reply.clone(),
        Rules {
            limits: &limits,
            has_tools: false,
            schema: None,
        },
    );
    let Step::Done(ended) = run.next() else {
        panic!("the run goes on")
    };
    assert_eq!(ended.usage.as_ref().map(|usage| usage.turns), Some(1));
    if let Outcome::Success(answer) = &ended.outcome {
        assert!(
            !answer.answer.trim().is_empty(),
            "SUCCESS without an answer"
        );
        assert_eq!(answer.answer, reply.text);
        assert!(reply.calls.is_empty());
        assert!(serde_json::to_vec(answer).unwrap().len() <= MOST_RESULT);
    }
    let stored = serde_json::to_vec(&ended).unwrap();
    assert_eq!(serde_json::from_slice::<Ended>(&stored).unwrap(), ended);
}
