//! The best any cache could do that knew the future.

use std::collections::{BTreeSet, HashMap};

/// Hits of Belady's rule ("A study of replacement algorithms for a virtual-storage computer", 1966), with
/// the choice not to store at all: of the residents and the newcomer, the one wanted latest leaves.
pub(super) fn hits(requests: &[u64], capacity: usize) -> usize {
    let next = next_uses(requests);
    // By next use, which is unique but for NEVER, and things that are never wanted again are not kept.
    let mut residents: BTreeSet<(usize, u64)> = BTreeSet::new();
    let mut wanted_at: HashMap<u64, usize> = HashMap::new();
    let mut hits = 0;
    for (&key, &next) in requests.iter().zip(&next) {
        if let Some(now) = wanted_at.remove(&key) {
            residents.remove(&(now, key));
            hits += 1;
        }
        if next == NEVER || capacity == 0 {
            continue;
        }
        if residents.len() == capacity {
            let &(latest, victim) = residents.last().expect("a full cache has a last resident");
            if latest < next {
                continue;
            }
            residents.pop_last();
            wanted_at.remove(&victim);
        }
        residents.insert((next, key));
        wanted_at.insert(key, next);
    }
    hits
}

const NEVER: usize = usize::MAX;

/// For each request, where the same key is asked for next.
fn next_uses(requests: &[u64]) -> Vec<usize> {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let mut next: Vec<usize> = requests
        .iter()
        .enumerate()
        .rev()
        .map(|(at, &key)| seen.insert(key, at).unwrap_or(NEVER))
        .collect();
    next.reverse();
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_textbook_sequence_has_its_textbook_misses() {
        // Belady's own example for three frames: 9 misses where a newcomer must be stored, and bypassing
        // can only do better.
        let requests = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
        assert!(requests.len() - hits(&requests, 3) <= 9);
        assert_eq!(
            hits(&requests, 100),
            requests.len() - 6,
            "only first requests miss"
        );
        assert_eq!(hits(&requests, 0), 0);
    }

    #[test]
    fn of_a_loop_it_keeps_what_fits() {
        let requests: Vec<u64> = (0..1_000).map(|i| i % 10).collect();
        // Four of ten stay for ever, and a fifth room would be lent to the newcomer.
        assert!(hits(&requests, 4) >= 99 * 4);
    }
}
