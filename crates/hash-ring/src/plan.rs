//! An order for moving what a difference lists.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use purlin_core::NodeId;

use crate::Move;

/// The moves from one placement to another in an order in which to make them, with what each costs.
///
/// - **Redundancy is kept.** Each step copies its keys to the nodes that gain them before the ones that lose
///   them may drop theirs: [`Step`] says both, and `losing` is for after the copy is confirmed. Steps whose
///   keys have the fewest copies left come first, so that what the next failure would take is safe soonest.
/// - **Balance gets no worse.** Among equally urgent steps the next one always goes from the node that is
///   furthest above what it will hold to the one that is furthest below. After any number of steps no node
///   holds more than it held before, or will hold at the end, but for the size of a step or two.
///
/// The cost is what a size function says of a range of hashes; [`evenly`] is a good one where keys are alike.
///
/// ```
/// use std::time::Duration;
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::{Plan, SlotTable, Throttle, diff, evenly};
///
/// let old = SlotTable::from_nodes((1..=4).map(|i| Node::new(NodeId(i), "")))?;
/// let new = old.with(Node::new(NodeId(5), ""))?;
/// let plan = Plan::new(diff(&old, &new, 1), evenly(500 << 30));
/// assert_eq!(plan.copied_bytes() >> 30, 99); // A fifth of 500 GiB, rounded down slot by slot.
/// let throttle = Throttle { node_bytes_per_second: 100 << 20, total_bytes_per_second: 1 << 30 };
/// assert!(plan.duration(throttle) < Duration::from_secs(1024));
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<Step>,
}

/// One step of a plan: copy, confirm, then drop.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What moves.
    pub change: Move,
    /// How many bytes the range holds, by the size function.
    pub bytes: u64,
    /// The nodes that hold the keys and are not lost: where copies can be read. Empty for keys that nobody
    /// held, or that were lost with all who did.
    pub sources: Vec<NodeId>,
    /// The nodes that get a copy.
    pub gaining: Vec<NodeId>,
    /// The nodes that may drop theirs once the copies are confirmed.
    pub losing: Vec<NodeId>,
}

impl Step {
    /// How many bytes go over the network: the range once for each node that gains it.
    pub fn copied_bytes(&self) -> u64 {
        self.bytes.saturating_mul(self.gaining.len() as u64)
    }
}

/// How fast copies may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "two numbers that a caller names; any value has an answer"
)]
pub struct Throttle {
    /// How many bytes a second one node may send or receive.
    pub node_bytes_per_second: u64,
    /// How many bytes a second may move in all.
    pub total_bytes_per_second: u64,
}

/// A size function for keys that are alike: `total_bytes` times the part of all hashes.
pub fn evenly(total_bytes: u64) -> impl Fn(&Move) -> u64 {
    move |change| ((u128::from(total_bytes) * change.n_hashes()) >> 64) as u64
}

impl Plan {
    /// Orders moves, as [`diff`](crate::diff) lists them. Moves that only reorder a set need no copy and are
    /// left out. Takes O(moves × pairs of nodes).
    pub fn new(moves: impl IntoIterator<Item = Move>, size: impl Fn(&Move) -> u64) -> Self {
        Plan::after_losing(&[], moves, size)
    }

    /// As [`new`](Plan::new), where some nodes are gone already: nothing is read from them, and the keys with
    /// the fewest copies elsewhere come first.
    pub fn after_losing(
        lost: &[NodeId],
        moves: impl IntoIterator<Item = Move>,
        size: impl Fn(&Move) -> u64,
    ) -> Self {
        let mut by_copies: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
        for change in moves.into_iter().filter(|change| !change.is_reordering()) {
            let sources: Vec<NodeId> = change
                .from
                .iter()
                .copied()
                .filter(|id| !lost.contains(id))
                .collect();
            let (gaining, losing) = (change.gaining().collect(), change.losing().collect());
            let step = Step {
                bytes: size(&change),
                sources,
                gaining,
                losing,
                change,
            };
            by_copies.entry(step.sources.len()).or_default().push(step);
        }
        Plan {
            steps: by_copies.into_values().flat_map(balanced).collect(),
        }
    }

    /// The steps in order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// How many bytes are copied in all.
    pub fn copied_bytes(&self) -> u64 {
        self.steps
            .iter()
            .map(Step::copied_bytes)
            .fold(0, u64::saturating_add)
    }

    /// How long the plan takes at least under a throttle: the total at the rate in all, or the busiest node
    /// at its own, whichever is longer. Each range is read from one source, one that loses it if there is one.
    /// A rate of 0 takes `Duration::MAX`, unless there is nothing to copy.
    pub fn duration(&self, throttle: Throttle) -> Duration {
        let of_node = seconds(self.busiest(), throttle.node_bytes_per_second);
        of_node.max(seconds(
            self.copied_bytes(),
            throttle.total_bytes_per_second,
        ))
    }

    /// The gentlest throttle under which the plan need not take longer than this: what to hold copies to so that they
    /// are done in a night and disturb as little as they can. Both rates are the lowest whose
    /// [`duration`](Plan::duration) is within it; where none is, the highest there is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use purlin_core::{Node, NodeId};
    /// use purlin_hash_ring::{Plan, SlotTable, diff, evenly};
    ///
    /// let old = SlotTable::from_nodes((1..=4).map(|i| Node::new(NodeId(i), "")))?;
    /// let new = old.with(Node::new(NodeId(5), ""))?;
    /// let plan = Plan::new(diff(&old, &new, 1), evenly(500 << 30));
    /// let throttle = plan.throttle(Duration::from_secs(3600));
    /// assert_eq!(throttle.total_bytes_per_second >> 20, 28); // 99 GiB in an hour.
    /// assert!(plan.duration(throttle) <= Duration::from_secs(3600));
    /// # Ok::<(), purlin_hash_ring::BuildError>(())
    /// ```
    pub fn throttle(&self, within: Duration) -> Throttle {
        Throttle {
            node_bytes_per_second: rate(self.busiest(), within),
            total_bytes_per_second: rate(self.copied_bytes(), within),
        }
    }

    /// How many bytes the node sends or receives that has the most of either.
    fn busiest(&self) -> u64 {
        let mut sent: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut received: BTreeMap<NodeId, u64> = BTreeMap::new();
        for step in &self.steps {
            let leaving = step.sources.iter().find(|id| step.losing.contains(id));
            if let Some(source) = leaving.or(step.sources.first()) {
                let bytes = sent.entry(*source).or_default();
                *bytes = bytes.saturating_add(step.copied_bytes());
            }
            for id in &step.gaining {
                let bytes = received.entry(*id).or_default();
                *bytes = bytes.saturating_add(step.bytes);
            }
        }
        let all = sent.into_values().chain(received.into_values());
        all.max().unwrap_or(0)
    }
}

fn seconds(bytes: u64, per_second: u64) -> Duration {
    if bytes == 0 {
        return Duration::ZERO;
    }
    match per_second {
        0 => Duration::MAX,
        rate => {
            Duration::from_secs(bytes / rate)
                + Duration::from_nanos(
                    (u128::from(bytes % rate) * 1_000_000_000 / u128::from(rate)) as u64,
                )
        }
    }
}

/// The lowest rate at which so many bytes take no longer than this.
fn rate(bytes: u64, within: Duration) -> u64 {
    // At most 2^64 bytes times 2^30 fit.
    let scaled = u128::from(bytes) * 1_000_000_000;
    match within.as_nanos() {
        _ if bytes == 0 => 0,
        0 => u64::MAX,
        nanos => u64::try_from(scaled.div_ceil(nanos)).unwrap_or(u64::MAX),
    }
}

/// Steps in the order that serves the neediest first and overfills nobody.
fn balanced(steps: Vec<Step>) -> Vec<Step> {
    let mut accounts: BTreeMap<NodeId, Account> = BTreeMap::new();
    let mut by_pair: BTreeMap<(Option<NodeId>, Option<NodeId>), Vec<Step>> = BTreeMap::new();
    for step in steps {
        book(&step, |id, bytes| {
            accounts.entry(id).or_default().due += bytes
        });
        let pair = (step.gaining.first().copied(), step.losing.first().copied());
        by_pair.entry(pair).or_default().push(step);
    }
    let mut ordered = Vec::new();
    loop {
        let ends = by_pair
            .iter()
            .filter_map(|(pair, queue)| queue.last().map(|step| (pair, step)));
        let Some((&pair, _)) = ends.min_by_key(|(_, step)| merit(&accounts, step)) else {
            return ordered;
        };
        let Some(step) = by_pair.get_mut(&pair).and_then(Vec::pop) else {
            return ordered;
        };
        book(&step, |id, bytes| {
            accounts.entry(id).or_default().done += bytes
        });
        ordered.push(step);
    }
}

/// What a node's load changes by, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    /// By the whole plan.
    due: i128,
    /// By the steps so far.
    done: i128,
}

impl Account {
    /// How far above the larger of its loads before and after the node would be.
    fn overfill(self, bytes: i128) -> i128 {
        (self.done + bytes - self.due.max(0)).max(0)
    }
}

/// The step with the least of this is next: by how much it overfills somebody, then how little it is needed.
fn merit(accounts: &BTreeMap<NodeId, Account>, step: &Step) -> (i128, i128) {
    let account = |id: &NodeId| accounts.get(id).copied().unwrap_or_default();
    let left = |id| account(id).due - account(id).done;
    let overfill = step
        .gaining
        .iter()
        .map(|id| account(id).overfill(i128::from(step.bytes)))
        .max();
    let need = step.gaining.iter().map(left).max().unwrap_or(0)
        - step.losing.iter().map(left).min().unwrap_or(0);
    (overfill.unwrap_or(0), -need)
}

/// What a step does to each node's load.
fn book(step: &Step, mut change: impl FnMut(NodeId, i128)) {
    step.gaining
        .iter()
        .for_each(|&id| change(id, i128::from(step.bytes)));
    step.losing
        .iter()
        .for_each(|&id| change(id, -i128::from(step.bytes)));
}
