//! What is known of a key.

use core::mem::{replace, size_of};
use core::time::Duration;

use bytes::Bytes;
use purlin_core::Tick;
use purlin_timer_wheel::TimerId;

use super::Books;
use super::usage::ENTRY_BYTES;
use super::users::OWNED_BYTES;
use crate::id::SessionKey;
use crate::store::{Entry, Lifetime, Slide, Version};
use crate::user::UserKey;

/// What is known of a key.
pub(super) struct Slot {
    pub(super) state: State,
    /// The slot is as good as empty from this tick on: a live session's idle deadline, and otherwise the end
    /// of the time that its key is remembered.
    pub(super) until: Tick,
    pub(super) timer: TimerId,
}

pub(super) enum State {
    Live {
        payload: Bytes,
        version: Version,
        /// Not before the slot's `until`.
        absolute: Tick,
        /// Whose it is. Boxed, as most sessions are nobody's where memory is short.
        owner: Option<Box<UserKey>>,
    },
    /// Rotated away. Boxed, as few sessions are at any time.
    Superseded(Box<Superseded>),
    /// Deleted.
    Tombstone,
}

/// A session as it was when it got another key.
pub(super) struct Superseded {
    /// Empty once the grace is over and a timer has noticed.
    pub(super) payload: Bytes,
    pub(super) version: Version,
    /// Not after the slot's `until`.
    pub(super) grace_until: Tick,
    pub(super) by: SessionKey,
    pub(super) owner: Option<Box<UserKey>>,
}

impl Slot {
    /// A live session as its callers see it.
    pub(super) fn live_entry(&self, now: Tick) -> Option<Entry> {
        let State::Live {
            payload,
            version,
            absolute,
            owner,
        } = &self.state
        else {
            return None;
        };
        let remaining = Lifetime::new(remaining(now, self.until), remaining(now, *absolute));
        let owner = owner.as_deref().copied();
        Some(Entry::new(*version, payload.clone(), remaining).with_owner(owner))
    }

    /// Moves a live session's idle deadline out, as [`Slide`] says. The timer stays: it notices when it
    /// fires.
    pub(super) fn slide(&mut self, now: Tick, slide: Slide) {
        let (State::Live { absolute, .. }, Slide::To { idle, min_gain }) = (&self.state, slide)
        else {
            return;
        };
        let target = now.after(idle).min(*absolute);
        if target > self.until && target.since(self.until) >= min_gain {
            self.until = target;
        }
    }

    /// Turns the slot of this key, which is live, into a tombstone until a tick.
    pub(super) fn bury(&mut self, key: &SessionKey, until: Tick, books: &Books) {
        self.until = until;
        let buried = replace(&mut self.state, State::Tombstone);
        books
            .usage
            .release(0, buried.cost() - State::Tombstone.cost());
        if let State::Live {
            owner: Some(user), ..
        } = buried
        {
            books.users.remove(&user, key);
        }
    }

    /// Drops the payload of a session whose grace is over, and returns how many bytes that frees.
    pub(super) fn drop_outlived_payload(&mut self, now: Tick) -> usize {
        match &mut self.state {
            State::Superseded(old) if old.grace_until <= now => {
                core::mem::take(&mut old.payload).len()
            }
            State::Superseded(_) | State::Live { .. } | State::Tombstone => 0,
        }
    }
}

impl State {
    /// What a rotated session takes beside what it took when it was live.
    pub(super) const SUPERSEDED_BYTES: usize = size_of::<Superseded>();

    /// Whether this is a live session that is nobody's.
    pub(super) fn is_strangers(&self) -> bool {
        matches!(self, State::Live { owner: None, .. })
    }

    /// What an entry in this state counts.
    pub(super) fn cost(&self) -> usize {
        ENTRY_BYTES
            + match self {
                State::Live { payload, owner, .. } => payload.len() + owned_bytes(owner),
                State::Superseded(old) => {
                    State::SUPERSEDED_BYTES + old.payload.len() + owned_bytes(&old.owner)
                }
                State::Tombstone => 0,
            }
    }
}

fn owned_bytes(owner: &Option<Box<UserKey>>) -> usize {
    owner.as_ref().map_or(0, |_| OWNED_BYTES)
}

impl Superseded {
    /// The session as the bearer of the old id sees it. Its time is that of the grace.
    pub(super) fn entry(&self, now: Tick) -> Entry {
        let left = remaining(now, self.grace_until);
        Entry::new(
            self.version,
            self.payload.clone(),
            Lifetime::new(left, left),
        )
        .with_owner(self.owner.as_deref().copied())
    }
}

/// The time left, where a deadline that never comes leaves all of it.
fn remaining(now: Tick, deadline: Tick) -> Duration {
    if deadline == Tick::MAX {
        Duration::MAX
    } else {
        deadline.since(now)
    }
}
