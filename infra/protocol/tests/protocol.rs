//! What `cargo run -p protocol` says, within smaller bounds.

#![expect(clippy::panic, reason = "a test that panics has failed")]

use protocol::{Bounds, Config, Rule, Scenario, check};

#[test]
fn within_its_bounds_the_protocol_holds_in_every_state() {
    for scenario in [Scenario::Cloud, Scenario::LateRunners, Scenario::OneMachine] {
        let restarts = u8::from(scenario == Scenario::OneMachine);
        let bounds = Bounds { restarts, ..Bounds::SMALL };
        let verdict = check(Config::correct(scenario, bounds));
        assert!(verdict.holds(), "{scenario:?} within {bounds}: {verdict:?}");
    }
}

#[test]
#[ignore = "`./test protocol` does the same, and tells what it finds"]
fn without_any_one_of_its_rules_something_goes_wrong() {
    for (rule, scenario) in Rule::ALL {
        let verdict = check(Config::without(rule, scenario, rule.bounds(scenario)));
        assert!(verdict.counterexample.is_some(), "{rule:?} is not missed");
    }
}

#[test]
fn without_fencing_a_late_runner_overwrites_a_newer_one() {
    assert_eq!(broken_without(Rule::Fencing), "no late runner overwrites a newer one");
}

#[test]
fn without_writing_calls_down_first_one_key_stands_for_two_calls() {
    assert_eq!(broken_without(Rule::WriteFirst), "one key of a tool call is one call");
}

#[test]
fn without_a_resend_an_accepted_task_is_lost() {
    assert_eq!(broken_without(Rule::Resend), "a trigger answered 200 is on its way, or has ended");
}

#[test]
fn without_a_lease_check_two_runners_run_one_task() {
    assert_eq!(broken_without(Rule::LeaseCheck), "one runner within its deadline at a time");
}

#[test]
fn without_a_dead_letter_consumer_a_task_never_ends() {
    assert_eq!(broken_without(Rule::DeadLetters), "left to itself, every task answered 200 ends");
}

#[test]
fn without_the_rule_a_lost_task_runs_beside_others() {
    assert_eq!(broken_without(Rule::LostRunsAlone), "a task that lost its worker runs alone");
    assert_eq!(broken_without(Rule::LossIsRecorded), "a task that lost its worker runs alone");
}

fn broken_without(rule: Rule) -> &'static str {
    let Some((_, scenario)) = Rule::ALL.into_iter().find(|(other, _)| *other == rule) else {
        panic!("{rule:?} is not checked")
    };
    match check(Config::without(rule, scenario, rule.bounds(scenario))).counterexample {
        Some((property, _)) => property,
        None => panic!("{rule:?} is not missed"),
    }
}
