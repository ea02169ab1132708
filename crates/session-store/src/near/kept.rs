//! What is kept of a session.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use purlin_core::Tick;

use super::stamps::Stamp;
use crate::store::{Entry, Lifetime, Version};
use crate::user::UserKey;

/// A session as it was read. Small, since a hit copies it out from under a lock.
#[derive(Clone)]
pub(super) struct Kept {
    payload: Bytes,
    version: Version,
    /// When it ends, by the clock of this process.
    idle: Tick,
    absolute: Tick,
    owner: Option<Arc<UserKey>>,
    /// Before the store was asked.
    pub(super) asked_at: Tick,
    /// What was known to have changed when the store was asked.
    pub(super) stamp: Stamp,
}

impl Kept {
    /// Of a session that lives under the key it was asked for by.
    pub(super) fn new(entry: &Entry, asked_at: Tick, stamp: Stamp) -> Self {
        Kept {
            payload: entry.payload.clone(),
            version: entry.version,
            idle: asked_at.after(entry.remaining.idle),
            absolute: asked_at.after(entry.remaining.absolute),
            owner: entry.owner.map(Arc::new),
            asked_at,
            stamp,
        }
    }

    pub(super) fn payload_len(&self) -> usize {
        self.payload.len()
    }

    /// The session with the time it has left by now, if any.
    #[inline]
    pub(super) fn aged(self, now: Tick) -> Option<Entry> {
        if self.idle <= now || self.absolute <= now {
            return None;
        }
        let remaining = Lifetime::new(left(self.idle, now), left(self.absolute, now));
        let owner = self.owner.as_deref().copied();
        Some(Entry::new(self.version, self.payload, remaining).with_owner(owner))
    }
}

/// The time left, where a deadline that never comes leaves all of it.
fn left(deadline: Tick, now: Tick) -> Duration {
    if deadline == Tick::MAX {
        Duration::MAX
    } else {
        deadline.since(now)
    }
}
