//! Scales results of a sample to all tasks.

use std::cmp::Reverse;

/// Percentiles of durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub max: u64,
}

/// Distributes a whole by weights, so that the parts add up to it.
pub(super) fn distribute(whole: u64, weights: &[u64]) -> Vec<u64> {
    let sum = weights
        .iter()
        .map(|weight| u128::from(*weight))
        .sum::<u128>();
    if sum == 0 {
        return vec![0; weights.len()];
    }
    let product = |weight: &u64| u128::from(whole) * u128::from(*weight);
    let mut parts: Vec<u64> = weights
        .iter()
        .map(|weight| u64::try_from(product(weight) / sum).unwrap_or(u64::MAX))
        .collect();
    // The remainder goes to the parts that lost most by rounding.
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|index| {
        Reverse(
            weights
                .get(*index)
                .map_or(0, |weight| product(weight) % sum),
        )
    });
    let remainder = usize::try_from(whole - parts.iter().sum::<u64>()).unwrap_or_default();
    for index in order.into_iter().take(remainder) {
        if let Some(part) = parts.get_mut(index) {
            *part += 1;
        }
    }
    parts
}

/// Percentiles of weighted values.
pub(super) fn percentiles(values: impl Iterator<Item = (u64, f64)>) -> Option<Percentiles> {
    let mut values: Vec<(u64, f64)> = values.collect();
    values.sort_unstable_by_key(|(value, _)| *value);
    let whole: f64 = values.iter().map(|(_, weight)| weight).sum();
    let at = |part: f64| {
        let mut seen = 0.0;
        values.iter().find(|(_, weight)| {
            seen += weight;
            // Rounding errors make sums of fractions slightly smaller than the whole.
            seen >= whole * part - 1e-6
        })
    };
    let (max, _) = values.last()?;
    let at = |part| at(part).map_or(*max, |(value, _)| *value);
    Some(Percentiles {
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: *max,
    })
}
