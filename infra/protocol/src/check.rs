//! Visits every state.

use std::time::{Duration, Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model as _};

use crate::config::Config;
use crate::model::Action;
use crate::state::State;
use crate::trace;

/// What the check of one model found.
#[derive(Debug)]
pub struct Verdict {
    /// States visited, each once.
    pub states: usize,
    /// States on the longest way to one, by breadth.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// The property that does not hold, and the steps to where it does not.
    pub counterexample: Option<(&'static str, String)>,
    /// What should occur and does not.
    pub missing: Vec<&'static str>,
}

type Steps = Vec<(State, Option<Action>)>;

/// Visits every state of a model, or stops at the first counterexample.
pub fn check(config: Config) -> Verdict {
    let started = Instant::now();
    let checker = explore(config, None);
    let found = checker.discoveries();
    let is_missing = |name: &&str| !found.contains_key(name);
    let counterexample = broken(&checker).map(|first| shortest(config, first));
    Verdict {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        counterexample: counterexample.map(|(name, steps)| (name, trace::of(&steps))),
        missing: names(config, Expectation::Sometimes).filter(is_missing).collect(),
    }
}

impl Verdict {
    /// Nothing that must not happen does, and all that should occur does.
    pub fn holds(&self) -> bool {
        self.counterexample.is_none() && self.missing.is_empty()
    }
}

fn explore(config: Config, shorter_than: Option<usize>) -> impl Checker<Config> {
    let checker = config.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    match shorter_than {
        Some(states) => checker.target_max_depth(states).spawn_bfs().join(),
        None => checker.spawn_bfs().join(),
    }
}

/// The first counterexample found is not a shortest one: threads race, and a
/// block of states is finished before the search ends.
fn shortest(config: Config, mut known: (&'static str, Steps)) -> (&'static str, Steps) {
    // States at the depth given are not looked at, and a history of n states ends at depth n.
    while let Some(shorter) = broken(&explore(config, Some(known.1.len()))) {
        known = shorter;
    }
    known
}

fn broken(checker: &impl Checker<Config>) -> Option<(&'static str, Steps)> {
    let mut found = checker.discoveries();
    names(*checker.model(), Expectation::Always)
        .filter_map(|name| Some((name, found.remove(name)?.into_vec())))
        .min_by_key(|(_, steps)| steps.len())
}

fn names(config: Config, expectation: Expectation) -> impl Iterator<Item = &'static str> {
    let properties = config.properties().into_iter();
    properties.filter(move |property| property.expectation == expectation).map(|property| property.name)
}
