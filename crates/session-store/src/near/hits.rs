//! A count that many threads add to at once.

use purlin_core::sync::atomic::{AtomicU64, Ordering};

use crate::id::SessionKey;

/// Counts by session, so that threads seldom write to the same line of memory.
#[derive(Default)]
pub(super) struct Hits([Line; N_LINES]);

#[derive(Default)]
#[repr(align(64))]
struct Line(AtomicU64);

const N_LINES: usize = 16;

impl Hits {
    #[inline]
    pub(super) fn count(&self, key: &SessionKey) {
        let line = usize::from(key.as_bytes()[SessionKey::LEN - 1]) % N_LINES;
        self.0[line].0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        self.0
            .iter()
            .map(|line| line.0.load(Ordering::Relaxed))
            .sum()
    }
}
