//! The order of weighted round robin, worked out when the endpoints change so that a pick is one look-up.

use std::collections::BTreeMap;

/// The slots one round may have before weights are rounded to fit, for fleets of up to a quarter as many
/// endpoints; larger ones get four slots an endpoint. 64 KiB, and a share that is off by at most one slot in
/// 16 384.
const MAX_SLOTS: u64 = 1 << 14;

/// One whole round of smooth weighted round robin: indices into `weights`, each as often as its weight over
/// the weights' greatest common divisor, spread as evenly as the algorithm spreads them.
///
/// The algorithm is nginx's (upstream_rr, commit 52327e0627, 2012): each step every endpoint gains its
/// weight, the richest is chosen and pays the total. Endpoints of one weight take turns among themselves, so
/// only the distinct weights have to be compared: `G` of them make a round of `T` slots in `O(G × T)`, and
/// `G` distinct positive integers sum to at least `G² / 2`, so `G` is at most `√(2T)`.
///
/// Every weight must be positive.
pub(crate) fn smooth_round(weights: &[u32]) -> Box<[u32]> {
    let weights = reduce(weights);
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    let mut groups = Group::by_weight(&weights);
    (1..=total)
        .map(|step| {
            let richest = groups
                .iter_mut()
                .max_by_key(|group| (group.credit(step, total), std::cmp::Reverse(group.next())))
                .expect("a round has a step only if there is an endpoint");
            richest.take_turn()
        })
        .collect()
}

/// The endpoints of one weight.
struct Group {
    weight: i64,
    members: Vec<u32>,
    /// Whose turn it is.
    turn: usize,
    /// How often everybody has had a turn, which is also how often the one whose turn it is has been chosen.
    passes: i64,
}

impl Group {
    fn by_weight(weights: &[u32]) -> Vec<Group> {
        let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, &weight) in (0..).zip(weights) {
            groups.entry(weight).or_default().push(index);
        }
        groups
            .into_iter()
            .map(|(weight, members)| Group {
                weight: weight.into(),
                members,
                turn: 0,
                passes: 0,
            })
            .collect()
    }

    /// What the one whose turn it is has gained in `step` steps, less what it has paid.
    fn credit(&self, step: i64, total: i64) -> i64 {
        step * self.weight - total * self.passes
    }

    fn next(&self) -> u32 {
        self.members[self.turn]
    }

    fn take_turn(&mut self) -> u32 {
        let chosen = self.next();
        self.turn += 1;
        if self.turn == self.members.len() {
            self.turn = 0;
            self.passes += 1;
        }
        chosen
    }
}

/// The same proportions in the smallest whole numbers, rounded where a round would not fit. Nobody is rounded
/// to nothing.
fn reduce(weights: &[u32]) -> Vec<u32> {
    let divisor = weights
        .iter()
        .copied()
        .fold(0, greatest_common_divisor)
        .max(1);
    let total: u64 = weights
        .iter()
        .map(|&weight| u64::from(weight / divisor))
        .sum();
    let limit = MAX_SLOTS.max(4 * weights.len() as u64);
    let fit = |weight: u32| {
        let weight = weight / divisor;
        if total <= limit {
            return weight;
        }
        let slots =
            (u128::from(weight) * u128::from(limit) + u128::from(total / 2)) / u128::from(total);
        u32::try_from(slots).unwrap_or(u32::MAX).max(1)
    };
    weights.iter().copied().map(fit).collect()
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// nginx's algorithm as it is written there: everybody's credit, the first of the richest.
    fn naive(weights: &[u32]) -> Vec<u32> {
        let weights = reduce(weights);
        let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
        let mut credit = vec![0i64; weights.len()];
        (0..total)
            .map(|_| {
                let mut best = 0;
                for (i, &weight) in weights.iter().enumerate() {
                    credit[i] += i64::from(weight);
                    if credit[i] > credit[best] {
                        best = i;
                    }
                }
                credit[best] -= total;
                best as u32
            })
            .collect()
    }

    /// The sequences that nginx's own change and documentation give for these weights.
    #[test]
    fn the_reference_sequence() {
        assert_eq!(*smooth_round(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(
            *smooth_round(&[50, 10, 10]),
            [0, 0, 1, 0, 2, 0, 0],
            "reduced by the divisor"
        );
        assert_eq!(*smooth_round(&[7, 7, 7]), [0, 1, 2]);
    }

    #[test]
    fn the_extremes_have_answers() {
        assert!(smooth_round(&[]).is_empty());
        assert_eq!(*smooth_round(&[u32::MAX]), [0]);
        let heavy = smooth_round(&[u32::MAX, 1]);
        assert!(
            heavy.len() as u64 <= MAX_SLOTS + 2,
            "a round stays bounded: {}",
            heavy.len()
        );
        assert_eq!(
            heavy.iter().filter(|&&index| index == 1).count(),
            1,
            "and nobody is left out"
        );
        let fleet = smooth_round(&vec![u32::MAX; 10_000]);
        assert_eq!(fleet.len(), 10_000);
    }

    proptest! {
        #[test]
        fn grouping_by_weight_changes_nothing(weights in prop::collection::vec(1u32..40, 1..30)) {
            prop_assert_eq!(smooth_round(&weights).to_vec(), naive(&weights));
        }

        /// Shares are exact where a round fits, and off by at most a slot and its rounding where it does not.
        #[test]
        fn shares_follow_weights(weights in prop::collection::vec(1u32.., 1..40)) {
            let round = smooth_round(&weights);
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let mut counts = vec![0u32; weights.len()];
            round.iter().for_each(|&index| counts[index as usize] += 1);
            for (slots, &weight) in counts.into_iter().map(f64::from).zip(&weights) {
                let due = f64::from(weight) / total * round.len() as f64;
                prop_assert!((slots - due).abs() <= 2.0, "{} slots, {} due", slots, due);
                prop_assert!(slots >= 1.0);
            }
        }
    }
}
