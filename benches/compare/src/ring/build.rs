//! How long building takes, and changing by a node, and how much is kept.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::contender::{Contender, Member, fleet};
use crate::allocations;

/// Seconds, of the best of a few, and bytes.
#[derive(Clone, Debug)]
pub(crate) struct Changes {
    pub(crate) build: f64,
    pub(crate) add: f64,
    pub(crate) remove: f64,
    /// Whether adding and removing are building from nothing, because nothing else is offered.
    pub(crate) rebuilds: bool,
    pub(crate) heap: usize,
}

/// Each measurement is repeated for about this long.
const REPEAT: Duration = Duration::from_millis(150);

pub(crate) fn changes<C: Contender>(n: u32) -> Changes {
    let fleet = fleet(n, false);
    let newcomer = Member { id: n, weight: 1 };
    let before = allocations::live_bytes();
    let mut contender = C::build(&fleet);
    let heap = allocations::live_bytes() - before;
    let build = best(|| {
        let start = Instant::now();
        let built = black_box(C::build(&fleet));
        let took = start.elapsed();
        drop(built);
        took
    });

    let in_place = contender.add(newcomer);
    if !in_place {
        return Changes {
            build,
            add: build,
            remove: build,
            rebuilds: true,
            heap,
        };
    }
    contender.remove(n);
    let add = best(|| {
        let start = Instant::now();
        contender.add(newcomer);
        let took = start.elapsed();
        contender.remove(n);
        took
    });
    // The one in the middle leaves, and comes back.
    let middle = fleet[n as usize / 2];
    let remove = best(|| {
        let start = Instant::now();
        contender.remove(middle.id);
        let took = start.elapsed();
        contender.add(middle);
        took
    });
    Changes {
        build,
        add,
        remove,
        rebuilds: false,
        heap,
    }
}

fn best(mut once: impl FnMut() -> Duration) -> f64 {
    let start = Instant::now();
    let mut best = once();
    while start.elapsed() < REPEAT {
        best = best.min(once());
    }
    best.as_secs_f64()
}
