//! The few methods of an `AtomicU64` that tags need, for processors that have none.

use core::sync::atomic::{AtomicU32, Ordering};

/// A number in two halves. They are not read or written in one step, and need not be: without `std` a cache is one that
/// nobody else looks at while it is written to.
pub(super) struct AtomicU64 {
    low: AtomicU32,
    high: AtomicU32,
}

impl AtomicU64 {
    pub(super) fn new(number: u64) -> Self {
        AtomicU64 {
            low: AtomicU32::new(number as u32),
            high: AtomicU32::new((number >> 32) as u32),
        }
    }

    pub(super) fn load(&self, order: Ordering) -> u64 {
        u64::from(self.high.load(order)) << 32 | u64::from(self.low.load(order))
    }

    fn store(&self, number: u64, order: Ordering) {
        self.low.store(number as u32, order);
        self.high.store((number >> 32) as u32, order);
    }

    pub(super) fn fetch_add(&self, more: u64, order: Ordering) -> u64 {
        let before = self.load(order);
        self.store(before.wrapping_add(more), order);
        before
    }

    pub(super) fn fetch_max(&self, other: u64, order: Ordering) -> u64 {
        let before = self.load(order);
        self.store(before.max(other), order);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_one_number() {
        let number = AtomicU64::new(u64::from(u32::MAX));
        assert_eq!(number.fetch_add(1, Ordering::SeqCst), u64::from(u32::MAX));
        assert_eq!(number.load(Ordering::SeqCst), 1 << 32);
        assert_eq!(number.fetch_max(7, Ordering::SeqCst), 1 << 32);
        assert_eq!(number.fetch_max(1 << 40, Ordering::SeqCst), 1 << 32);
        assert_eq!(number.load(Ordering::SeqCst), 1 << 40);
    }
}
