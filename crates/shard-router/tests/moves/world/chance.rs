//! Choices, and what came of them.

use std::collections::BTreeMap;

use purlin_core::Rng;

/// Where the world's choices come from.
pub(crate) enum Chance {
    Seeded(Rng),
    Scripted { script: Vec<u16>, at: usize },
}

impl Chance {
    pub(crate) fn seeded(seed: u64) -> Self {
        Chance::Seeded(Rng::from_seed(seed))
    }

    pub(crate) fn scripted(script: Vec<u16>) -> Self {
        Chance::Scripted { script, at: 0 }
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        match self {
            Chance::Seeded(rng) => rng.below(bound as u64) as usize,
            Chance::Scripted { script, at } => {
                let choice = script.get(*at).copied().unwrap_or(0);
                *at += 1;
                usize::from(choice) % bound
            }
        }
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}

/// What came to pass, to know that the test tests something.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    counts: BTreeMap<&'static str, u64>,
}

impl Seen {
    pub(super) fn note(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Seen) {
        for (what, count) in &other.counts {
            *self.counts.entry(what).or_default() += count;
        }
    }

    pub(crate) fn assert_everything_happened(&self) {
        for what in [
            "acknowledged",
            "done",
            "aborted",
            "taken over",
            "overtaken",
            "found out",
            "import refused",
            "clean-up refused",
            "cleaned up",
            "restarted",
            "waited for a drain",
            "stale",
            "frozen",
            "wrong shard",
            "behind",
        ] {
            let count = self.counts.get(what).copied().unwrap_or(0);
            assert!(count > 100, "{what}: {count} times only");
        }
    }
}
