//! What the memory store counts.

use purlin_core::{Meter, Reading};

/// How full a [`MemoryStore`](crate::MemoryStore) is, and what happened in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions, remembered keys, and what has expired and is not freed yet.
    pub entries: usize,
    /// What they count against the limit of bytes.
    pub bytes: usize,
    /// Sessions created.
    pub created: u64,
    /// Commits that were stored.
    pub committed: u64,
    /// Commits and rotations refused because somebody else wrote first.
    pub conflicts: u64,
    /// Rotations.
    pub rotated: u64,
    /// Sessions deleted.
    pub deleted: u64,
    /// Sessions that expired, counted when their memory was freed.
    pub expired: u64,
    /// Sessions that were nobody's and gave way to one that is somebody's.
    pub evicted: u64,
    /// Calls refused because the store was full.
    pub refused: u64,
}

impl Meter for Stats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        each(Reading::gauge(
            "purlin_session_store_entries",
            self.entries as f64,
        ));
        each(Reading::gauge(
            "purlin_session_store_bytes",
            self.bytes as f64,
        ));
        each(Reading::counter(
            "purlin_session_store_created_total",
            self.created,
        ));
        each(Reading::counter(
            "purlin_session_store_committed_total",
            self.committed,
        ));
        each(Reading::counter(
            "purlin_session_store_conflicts_total",
            self.conflicts,
        ));
        each(Reading::counter(
            "purlin_session_store_rotated_total",
            self.rotated,
        ));
        each(Reading::counter(
            "purlin_session_store_deleted_total",
            self.deleted,
        ));
        each(Reading::counter(
            "purlin_session_store_expired_total",
            self.expired,
        ));
        each(Reading::counter(
            "purlin_session_store_evicted_total",
            self.evicted,
        ));
        each(Reading::counter(
            "purlin_session_store_refused_total",
            self.refused,
        ));
    }
}
