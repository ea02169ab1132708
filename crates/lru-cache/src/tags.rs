//! Entries that are out of date together: each tag has the moment at which it was last invalidated, and each tagged entry the
//! moment from which its value is.

#[cfg(any(test, all(not(feature = "std"), not(target_has_atomic = "64"))))]
mod halves;

use core::hash::{Hash, Hasher};

#[cfg(not(feature = "std"))]
use alloc::sync::Arc;
#[cfg(all(not(feature = "std"), target_has_atomic = "64"))]
use core::sync::atomic::AtomicU64;
#[cfg(not(feature = "std"))]
use core::sync::atomic::Ordering;
#[cfg(feature = "std")]
use purlin_core::sync::Arc;
#[cfg(feature = "std")]
use purlin_core::sync::atomic::{AtomicU64, Ordering};
#[cfg(feature = "std")]
use std::sync::OnceLock;

use alloc::boxed::Box;
use core::fmt;

#[cfg(all(not(feature = "std"), not(target_has_atomic = "64")))]
use self::halves::AtomicU64;

/// A moment in the order of a cache's invalidations by tag. See [`Terms::as_of`](crate::Terms::as_of).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub(crate) u64);

/// The tags of an entry, and since when they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) since: u64,
    pub(crate) slots: Slots,
}

/// The slots of up to four tags; zero is none. An entry with more has [`ANY`] in place of the fourth.
pub(crate) type Slots = [u16; 4];

/// The invalidations of a cache, which its shards share. Made by the first: until then it is a word.
#[derive(Clone)]
pub(crate) struct Tags(Arc<Table>);

struct Table {
    /// The latest moment: that of the last invalidation.
    latest: AtomicU64,
    /// When each slot was last invalidated. Tags that fall on one slot are invalidated together.
    #[cfg(feature = "std")]
    slots: OnceLock<Box<[AtomicU64]>>,
    #[cfg(not(feature = "std"))]
    slots: Box<[AtomicU64]>,
}

/// One in so many other tags is invalidated with a tag. They take 32 KiB.
const SLOTS: usize = 4096;
/// A slot that every invalidation is of.
pub(crate) const ANY: u16 = u16::MAX;

impl Tags {
    pub(crate) fn latest(&self) -> Moment {
        // SeqCst, as below: whoever reads this after an invalidation has returned sees it.
        Moment(self.0.latest.load(Ordering::SeqCst))
    }

    /// What is older than this moment and has the tag is out of date from here on.
    pub(crate) fn invalidate(&self, slot: u16) {
        let moment = self.0.latest.fetch_add(1, Ordering::SeqCst) + 1;
        // The greatest, for two may come here in another order than they were numbered. SeqCst, so that a look-up that
        // begins after this has returned sees it, on whatever thread.
        self.slots()[usize::from(slot) - 1].fetch_max(moment, Ordering::SeqCst);
    }

    /// Whether a tag of the entry was invalidated after its moment.
    pub(crate) fn has_overtaken(&self, label: Label) -> bool {
        let is_later = |&slot: &u16| match slot {
            0 => false,
            ANY => self.latest().0 > label.since,
            slot => self.moment_of(slot) > label.since,
        };
        label.slots.iter().any(is_later)
    }

    #[cfg(feature = "std")]
    fn moment_of(&self, slot: u16) -> u64 {
        let slots = self.0.slots.get();
        slots.map_or(0, |slots| {
            slots[usize::from(slot) - 1].load(Ordering::SeqCst)
        })
    }

    #[cfg(not(feature = "std"))]
    fn moment_of(&self, slot: u16) -> u64 {
        self.0.slots[usize::from(slot) - 1].load(Ordering::SeqCst)
    }

    #[cfg(feature = "std")]
    fn slots(&self) -> &[AtomicU64] {
        self.0.slots.get_or_init(none_invalidated)
    }

    #[cfg(not(feature = "std"))]
    fn slots(&self) -> &[AtomicU64] {
        &self.0.slots
    }
}

impl Default for Tags {
    fn default() -> Self {
        Tags(Arc::new(Table {
            latest: AtomicU64::new(0),
            #[cfg(feature = "std")]
            slots: OnceLock::new(),
            #[cfg(not(feature = "std"))]
            slots: none_invalidated(),
        }))
    }
}

fn none_invalidated() -> Box<[AtomicU64]> {
    (0..SLOTS).map(|_| AtomicU64::new(0)).collect()
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tags").finish_non_exhaustive()
    }
}

impl Label {
    /// Of an entry without tags.
    pub(crate) const NONE: Label = Label {
        since: 0,
        slots: [0; 4],
    };

    #[inline]
    pub(crate) fn is_none(self) -> bool {
        self.slots[0] == 0
    }
}

/// The slot of a tag. By a hash without a seed: whoever makes tags collide makes entries leave too early, and no more.
pub(crate) fn slot_of(tag: &(impl Hash + ?Sized)) -> u16 {
    let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
    tag.hash(&mut hasher);
    let hash = hasher.finish().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    1 + (hash % SLOTS as u64) as u16
}

/// Puts one slot more to others.
pub(crate) fn with_slot(mut slots: Slots, slot: u16) -> Slots {
    match slots.iter().position(|&other| other == 0) {
        Some(free) => slots[free] = slot,
        None => slots[3] = ANY,
    }
    slots
}

/// FNV-1a.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 29
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(since: u64, slots: Slots) -> Label {
        Label { since, slots }
    }

    #[test]
    fn an_invalidation_is_of_what_is_older_and_has_the_tag() {
        let tags = Tags::default();
        let before = tags.latest().0;
        assert!(!tags.has_overtaken(label(before, [7, 0, 0, 0])));
        tags.invalidate(7);
        for (slots, is_overtaken) in [
            ([7, 0, 0, 0], true),
            ([8, 7, 0, 0], true),
            ([8, 0, 0, 0], false),
            ([1, 2, 3, ANY], true),
            ([0; 4], false),
        ] {
            assert_eq!(tags.has_overtaken(label(before, slots)), is_overtaken);
            assert!(!tags.has_overtaken(label(tags.latest().0, slots)));
        }
    }

    #[test]
    fn a_fifth_tag_is_any() {
        let slots = (1..=5).fold([0; 4], with_slot);
        assert_eq!(slots, [1, 2, 3, ANY]);
    }

    #[test]
    fn tags_spread_over_the_slots() {
        let used: alloc::collections::BTreeSet<u16> = (0..1_000u32).map(|n| slot_of(&n)).collect();
        assert!(used.len() > 850, "{}", used.len());
        let named: alloc::collections::BTreeSet<u16> = (0..1_000)
            .map(|n| slot_of(&alloc::format!("user:{n}")))
            .collect();
        assert!(named.len() > 850, "{}", named.len());
        assert!(used.iter().all(|&slot| (1..=SLOTS as u16).contains(&slot)));
    }
}
