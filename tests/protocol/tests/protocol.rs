//! The checks of `cargo run -p protocol`, within smaller bounds.

#![expect(clippy::panic, reason = "a test that panics has failed")]

use protocol::{Bounds, Config, Rule, Scenario, check};

#[test]
fn within_its_bounds_the_protocol_holds_in_every_state() {
    for scenario in [Scenario::Cloud, Scenario::LateRunners, Scenario::OneMachine] {
        let restarts = u8::from(scenario == Scenario::OneMachine);
        let bounds = Bounds {
            restarts,
            ..Bounds::SMALL
        };
        let verdict = check(Config::correct(scenario, bounds));
        assert!(verdict.holds(), "{scenario:?} within {bounds}: {verdict:?}");
    }
}

#[test]
#[ignore = "`./test protocol` does the same, and prints the counterexamples"]
fn without_each_rule_a_property_does_not_hold() {
    for (rule, scenario) in Rule::ALL {
        let verdict = check(Config::without(rule, scenario, rule.bounds(scenario)));
        assert!(
            verdict.counterexample.is_some(),
            "no counterexample without {rule:?}"
        );
    }
}

#[test]
fn without_fencing_a_late_runner_overwrites_a_newer_attempt() {
    assert_eq!(
        property_broken_without(Rule::Fencing),
        "no late runner overwrites a newer attempt"
    );
}

#[test]
fn without_storing_calls_first_an_idempotency_key_identifies_two_calls() {
    assert_eq!(
        property_broken_without(Rule::WriteFirst),
        "an idempotency key identifies one tool call"
    );
}

#[test]
fn without_a_resend_an_accepted_task_is_lost() {
    assert_eq!(
        property_broken_without(Rule::Resend),
        "an accepted task is queued, held or ended"
    );
}

#[test]
fn without_a_lease_check_two_runners_run_one_task() {
    assert_eq!(
        property_broken_without(Rule::LeaseCheck),
        "a task has one runner within its deadline"
    );
}

#[test]
fn without_a_dead_letter_consumer_a_task_never_ends() {
    assert_eq!(
        property_broken_without(Rule::DeadLetters),
        "every accepted task ends"
    );
}

#[test]
fn without_the_rule_a_lost_task_does_not_run_alone() {
    assert_eq!(
        property_broken_without(Rule::LostRunsAlone),
        "a task that lost its worker runs alone"
    );
    assert_eq!(
        property_broken_without(Rule::LossIsRecorded),
        "a task that lost its worker runs alone"
    );
}

fn property_broken_without(rule: Rule) -> &'static str {
    let Some((_, scenario)) = Rule::ALL.into_iter().find(|(other, _)| *other == rule) else {
        panic!("{rule:?} is not checked")
    };
    match check(Config::without(rule, scenario, rule.bounds(scenario))).counterexample {
        Some((property, _)) => property,
        None => panic!("no counterexample without {rule:?}"),
    }
}
