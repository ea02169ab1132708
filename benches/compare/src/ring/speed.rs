//! How long lookups take.

use std::time::Duration;

use super::contender::{Keys, Passes};

/// Nanoseconds a lookup, of the best round: the machine is shared, and noise only ever adds.
#[derive(Clone, Debug)]
pub(crate) struct Speed {
    pub(crate) ready: f64,
    pub(crate) dependent: f64,
    pub(crate) text: f64,
    pub(crate) copies: Option<f64>,
    pub(crate) dependent_copies: Option<f64>,
}

/// A pass of a slow contender stops at about this long.
const PASS: Duration = Duration::from_millis(40);

/// Times every contender once a round, in turn.
pub(crate) fn speeds(
    contenders: &[Box<dyn Passes>],
    keys: &Keys,
    rounds: usize,
    most: usize,
) -> Vec<Speed> {
    let ops: Vec<usize> = contenders
        .iter()
        .map(|contender| {
            let trial = 256;
            let one = contender.ready(keys, trial).as_nanos() as usize / trial;
            (PASS.as_nanos() as usize / one.max(1)).clamp(trial, most)
        })
        .collect();
    let mut best = vec![
        Speed {
            ready: f64::INFINITY,
            dependent: f64::INFINITY,
            text: f64::INFINITY,
            copies: None,
            dependent_copies: None,
        };
        contenders.len()
    ];
    // The first round warms caches and page tables up and is not counted.
    for round in 0..=rounds {
        for ((contender, &ops), best) in contenders.iter().zip(&ops).zip(&mut best) {
            let each = |took: Duration| took.as_nanos() as f64 / ops as f64;
            let ready = each(contender.ready(keys, ops));
            let dependent = each(contender.dependent(keys, ops));
            let text = each(contender.text(keys, ops));
            let copies = contender.copies(keys, ops).map(each);
            let dependent_copies = contender.dependent_copies(keys, ops).map(each);
            if round > 0 {
                best.ready = best.ready.min(ready);
                best.dependent = best.dependent.min(dependent);
                best.text = best.text.min(text);
                let least = |ns: f64, best: Option<f64>| best.map_or(ns, |best| best.min(ns));
                best.copies = copies.map(|ns| least(ns, best.copies));
                best.dependent_copies = dependent_copies.map(|ns| least(ns, best.dependent_copies));
            }
        }
    }
    best
}
