//! What the store holds, against what it may.

use core::mem::size_of;

use purlin_core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::shard::Timer;
use super::slot::Slot;
use crate::id::SessionKey;

/// A table's place for an entry (at the table's worst, after it has just grown, twice this is allocated), the
/// entry's timer with 32 bytes of links, its place among the sessions that are nobody's, and what shared bytes
/// take beside what is in them.
pub(super) const ENTRY_BYTES: usize =
    size_of::<(SessionKey, Slot)>() + size_of::<Timer>() + 32 + 8 + 24;

/// Entries and bytes, over all shards. The limits are exact: room is reserved before anything is stored.
///
/// `Relaxed` throughout: these are counts, and what they count is guarded by the shards' locks.
pub(super) struct Usage {
    entries: AtomicUsize,
    bytes: AtomicUsize,
    max_entries: usize,
    max_bytes: usize,
    refused: AtomicU64,
}

/// The limit is reached.
pub(super) struct NoRoom;

impl Usage {
    pub(super) fn new(max_entries: usize, max_bytes: usize) -> Self {
        Usage {
            entries: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_entries,
            max_bytes,
            refused: AtomicU64::new(0),
        }
    }

    /// Makes room for so many entries and bytes, or for none of them.
    pub(super) fn reserve(&self, entries: usize, bytes: usize) -> Result<(), NoRoom> {
        add_within(&self.entries, entries, self.max_entries)?;
        add_within(&self.bytes, bytes, self.max_bytes)
            .inspect_err(|NoRoom| self.release(entries, 0))
    }

    pub(super) fn release(&self, entries: usize, bytes: usize) {
        self.entries.fetch_sub(entries, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Makes room for `new` bytes in place of `old` ones. Shrinking always succeeds.
    pub(super) fn resize(&self, old: usize, new: usize) -> Result<(), NoRoom> {
        if new > old {
            return add_within(&self.bytes, new - old, self.max_bytes);
        }
        self.release(0, old - new);
        Ok(())
    }

    pub(super) fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Entries and bytes in use.
    pub(super) fn present(&self) -> (usize, usize) {
        (
            self.entries.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

fn add_within(count: &AtomicUsize, more: usize, limit: usize) -> Result<(), NoRoom> {
    let sum = |present: usize| present.checked_add(more).filter(|sum| *sum <= limit);
    match count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum) {
        Ok(_) => Ok(()),
        Err(_) => Err(NoRoom),
    }
}
