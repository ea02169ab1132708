//! What a placement must offer to be compared, and the passes that are timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use purlin_core::NodeId;

use crate::allocations;

/// A node: its number, which lookups give back, and its weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member {
    pub(crate) id: u32,
    pub(crate) weight: u32,
}

/// `n` nodes of weight 1, or of weights 1, 2, 3, 4, 1, …
pub(crate) fn fleet(n: u32, weighted: bool) -> Vec<Member> {
    let weight = |id| if weighted { 1 + id % 4 } else { 1 };
    (0..n)
        .map(|id| Member {
            id,
            weight: weight(id),
        })
        .collect()
}

/// A way of placing keys.
pub(crate) trait Contender: Sized {
    const NAME: &'static str;
    /// With more nodes it would take minutes or gigabytes, and is left out.
    const MOST_NODES: u32 = u32::MAX;
    /// Whether nodes may have weights.
    const WEIGHTS: bool = false;

    fn build(fleet: &[Member]) -> Self;

    /// Adds a node to what is there, and says whether it can: otherwise it is built again.
    fn add(&mut self, _: Member) -> bool {
        false
    }

    /// Removes a node from what is there, and says whether it can.
    fn remove(&mut self, _: u32) -> bool {
        false
    }

    /// The owner of a key that is a number, and a good hash already. Who takes ready hashes takes it as one;
    /// who does not hashes it again.
    fn owner(&self, key: u64) -> u32;

    /// The owner of a key that is text, hashed here.
    fn owner_of_text(&self, key: &'static str) -> u32;

    /// Three distinct nodes for a number, the owner first, and how many there are; `None` where nothing of
    /// the kind is offered.
    fn copies(&self, _: u64, _: &mut [NodeId; 3]) -> Option<usize> {
        None
    }
}

/// The keys that all contenders look up.
pub(crate) struct Keys {
    pub(crate) numbers: Vec<u64>,
    pub(crate) texts: Vec<&'static str>,
}

/// A contender that was built, with its kind forgotten: one call is a whole pass, inside which nothing is
/// called through a pointer.
pub(crate) trait Passes {
    fn name(&self) -> &'static str;

    /// Looks numbers up one after the other; the processor may overlap them.
    fn ready(&self, keys: &Keys, ops: usize) -> Duration;

    /// Looks numbers up each of which is known only when the one before is done.
    fn dependent(&self, keys: &Keys, ops: usize) -> Duration;

    /// Looks texts up, hashing included.
    fn text(&self, keys: &Keys, ops: usize) -> Duration;

    /// Looks three copies of numbers up, one after the other; the processor may overlap them.
    fn copies(&self, keys: &Keys, ops: usize) -> Option<Duration>;

    /// Looks three copies up of numbers each of which is known only when all copies of the one before are.
    fn dependent_copies(&self, keys: &Keys, ops: usize) -> Option<Duration>;

    /// How many times a thousand lookups of each kind allocate.
    fn allocations(&self, keys: &Keys) -> usize;
}

pub(crate) struct Built<C>(pub(crate) C);

impl<C: Contender> Passes for Built<C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn ready(&self, keys: &Keys, ops: usize) -> Duration {
        time(&keys.numbers, ops, |sum, key| {
            sum.wrapping_add(self.0.owner(key))
        })
    }

    fn dependent(&self, keys: &Keys, ops: usize) -> Duration {
        time(&keys.numbers, ops, |last, key| {
            self.0.owner(key ^ u64::from(last))
        })
    }

    fn text(&self, keys: &Keys, ops: usize) -> Duration {
        time(&keys.texts, ops, |sum, key| {
            sum.wrapping_add(self.0.owner_of_text(key))
        })
    }

    fn copies(&self, keys: &Keys, ops: usize) -> Option<Duration> {
        self.0.copies(0, &mut [NodeId(0); 3])?;
        let mut copies = [NodeId(0); 3];
        Some(time(&keys.numbers, ops, |sum, key| {
            let found = self.0.copies(key, &mut copies).unwrap_or(0);
            // Written, and not read here: reading two numbers as one would wait for both.
            black_box(&copies);
            sum.wrapping_add(found as u32)
        }))
    }

    fn dependent_copies(&self, keys: &Keys, ops: usize) -> Option<Duration> {
        self.0.copies(0, &mut [NodeId(0); 3])?;
        let mut copies = [NodeId(0); 3];
        Some(time(&keys.numbers, ops, |last, key| {
            self.0.copies(key ^ u64::from(last), &mut copies);
            (copies[0].0 ^ copies[1].0 ^ copies[2].0) as u32
        }))
    }

    fn allocations(&self, keys: &Keys) -> usize {
        let before = allocations::count();
        for (&number, &text) in keys.numbers.iter().zip(&keys.texts).take(1_000) {
            black_box(self.0.owner(number));
            black_box(self.0.owner_of_text(text));
            black_box(self.0.copies(number, &mut [NodeId(0); 3]));
        }
        allocations::count() - before
    }
}

/// Goes through the keys, and round again, until `ops` lookups are done. Keys come in whole runs, so that the
/// loop costs no more than an increment.
#[inline(always)]
fn time<K: Copy>(keys: &[K], ops: usize, mut lookup: impl FnMut(u32, K) -> u32) -> Duration {
    let start = Instant::now();
    let (mut sum, mut left) = (0, ops);
    while left > 0 {
        let run = &keys[..left.min(keys.len())];
        for &key in run {
            sum = lookup(sum, key);
        }
        left -= run.len();
    }
    black_box(sum);
    start.elapsed()
}
