//! Visits all states of a model.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model as _};

use crate::config::Config;
use crate::model::Action;
use crate::state::State;
use crate::trace;

/// The result of checking one model.
#[derive(Debug)]
pub struct Verdict {
    /// The number of distinct states.
    pub states: usize,
    /// The number of states on the longest path of the breadth-first search.
    pub depth: usize,
    pub took: Duration,
    /// The violated property, and the steps that violate it.
    pub counterexample: Option<(&'static str, String)>,
    /// Properties that should occur in a state, but do not.
    pub missing: Vec<&'static str>,
}

type Steps = Vec<(State, Option<Action>)>;

/// Visits all states of a model, or stops at the first counterexample.
pub fn check(config: Config) -> Verdict {
    let started = Instant::now();
    let checker = explore(config, None);
    let found = checker.discoveries();
    let is_missing = |name: &&str| !found.contains_key(name);
    let counterexample = find_violation(&checker).map(|first| shortest(config, first));
    Verdict {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        counterexample: counterexample.map(|(name, steps)| (name, trace::format_trace(&steps))),
        missing: names(config, Expectation::Sometimes)
            .filter(is_missing)
            .collect(),
    }
}

impl Verdict {
    /// All invariants hold, and all states that should occur do.
    pub fn holds(&self) -> bool {
        self.counterexample.is_none() && self.missing.is_empty()
    }
}

fn explore(config: Config, shorter_than: Option<usize>) -> impl Checker<Config> {
    let checker = config
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures);
    match shorter_than {
        Some(states) => checker.target_max_depth(states).spawn_bfs().join(),
        None => checker.spawn_bfs().join(),
    }
}

/// The first counterexample is not always the shortest, because several threads search, and
/// each finishes its block of states.
fn shortest(config: Config, mut known: (&'static str, Steps)) -> (&'static str, Steps) {
    // States at the maximum depth are not checked, and a history of n states ends at depth n.
    while let Some(shorter) = find_violation(&explore(config, Some(known.1.len()))) {
        known = shorter;
    }
    known
}

fn find_violation(checker: &impl Checker<Config>) -> Option<(&'static str, Steps)> {
    let mut found = checker.discoveries();
    names(*checker.model(), Expectation::Always)
        .filter_map(|name| Some((name, found.remove(name)?.into_vec())))
        .min_by_key(|(_, steps)| steps.len())
}

fn names(config: Config, expectation: Expectation) -> impl Iterator<Item = &'static str> {
    let properties = config.properties().into_iter();
    properties
        .filter(move |property| property.expectation == expectation)
        .map(|property| property.name)
}
