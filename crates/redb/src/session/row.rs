//! What stands in the file under a key.
//!
//! Format 2, numbers little-endian:
//!
//! | bytes | live | rotated away | deleted |
//! |---|---|---|---|
//! | 1 | `1`, or `4` if it is somebody's | `2`, or `5` if it was somebody's | `3` |
//! | 8 | version | version | 0 |
//! | 8 | idle deadline | end of remembrance | end of remembrance |
//! | 8 | the second under which the row is in the index of deadlines | the same | the same |
//! | 8 | absolute deadline | end of the grace | 0 |
//! | 33 | absent | the key that came after | absent |
//! | 32, if somebody's | the user | the user | absent |
//! | rest | payload | payload | absent |
//!
//! Format 1 had no users, and the same rows otherwise.
//!
//! Deadlines are nanoseconds since the Unix epoch, of the store's time; the highest number is "never".

use std::time::Duration;

use bytes::Bytes;
use purlin_core::Tick;
use purlin_session_store::{Entry, Lifetime, SessionKey, Slide, UserKey, Version};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) state: State,
    /// Of a deleted session nobody asks it.
    pub(super) version: Version,
    /// The row is as good as absent from here on.
    pub(super) until: Tick,
    /// Where the index of deadlines has the row. Never later than `next_change`, often earlier: using a session does
    /// not move it.
    pub(super) filed: u64,
    /// Whose session it is, or was when it was rotated away.
    pub(super) owner: Option<UserKey>,
    pub(super) payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    Live {
        /// Not before the row's `until`.
        absolute: Tick,
    },
    Rotated {
        /// Not after the row's `until`. Zero once somebody was told that it is over.
        grace_until: Tick,
        by: SessionKey,
    },
    Deleted,
}

const LIVE: u8 = 1;
const ROTATED: u8 = 2;
const DELETED: u8 = 3;
const LIVE_OWNED: u8 = 4;
const ROTATED_OWNED: u8 = 5;
const HEAD: usize = 1 + 8 * 4;

impl Row {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (tag, last) = match self.state {
            State::Live { absolute } if self.owner.is_some() => (LIVE_OWNED, absolute),
            State::Live { absolute } => (LIVE, absolute),
            State::Rotated { grace_until, .. } if self.owner.is_some() => {
                (ROTATED_OWNED, grace_until)
            }
            State::Rotated { grace_until, .. } => (ROTATED, grace_until),
            State::Deleted => (DELETED, Tick::ZERO),
        };
        out.push(tag);
        for number in [
            self.version.0,
            self.until.as_nanos(),
            self.filed,
            last.as_nanos(),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        if let State::Rotated { by, .. } = &self.state {
            out.extend_from_slice(by.as_bytes());
        }
        if let (State::Live { .. } | State::Rotated { .. }, Some(user)) = (self.state, &self.owner)
        {
            out.extend_from_slice(user.as_bytes());
        }
        out.extend_from_slice(&self.payload);
    }

    /// None if these are not the bytes of a row.
    pub(super) fn decode(bytes: &[u8]) -> Option<Row> {
        let (head, mut rest) = bytes.split_at_checked(HEAD)?;
        let number = |idx: usize| {
            let at = 1 + idx * 8;
            let bytes = head[at..at + 8].try_into();
            u64::from_le_bytes(bytes.expect("a range of eight bytes has eight"))
        };
        let last = Tick::from_nanos(number(3));
        let state = match head[0] {
            LIVE | LIVE_OWNED => State::Live { absolute: last },
            ROTATED | ROTATED_OWNED => {
                let (by, payload) = rest.split_at_checked(SessionKey::LEN)?;
                rest = payload;
                State::Rotated {
                    grace_until: last,
                    by: SessionKey::from_bytes(by)?,
                }
            }
            DELETED if rest.is_empty() => State::Deleted,
            _ => return None,
        };
        let mut owner = None;
        if let LIVE_OWNED | ROTATED_OWNED = head[0] {
            let (user, payload) = rest.split_at_checked(UserKey::LEN)?;
            rest = payload;
            owner = UserKey::from_bytes(user);
        }
        Some(Row {
            state,
            version: Version(number(0)),
            until: Tick::from_nanos(number(1)),
            filed: number(2),
            owner,
            payload: Bytes::copy_from_slice(rest),
        })
    }

    /// The first whole second at which there is something to free.
    pub(super) fn next_change(&self) -> u64 {
        let change = match self.state {
            State::Rotated { grace_until, .. } if !self.payload.is_empty() => grace_until,
            State::Live { .. } | State::Rotated { .. } | State::Deleted => self.until,
        };
        change.as_nanos().div_ceil(NANOS_PER_SECOND)
    }

    /// A live session as its callers see it.
    pub(super) fn live_entry(&self, now: Tick) -> Option<Entry> {
        let State::Live { absolute } = self.state else {
            return None;
        };
        let remaining = Lifetime::new(left(now, self.until), left(now, absolute));
        Some(self.entry(remaining))
    }

    /// A session that was rotated away as the bearer of the old id sees it, if the grace is not over: without the key
    /// that it has now. Its time is that of the grace.
    pub(super) fn past_entry(&self, now: Tick) -> Option<Entry> {
        match self.state {
            State::Rotated { grace_until, .. } if now < grace_until => {
                let left = left(now, grace_until);
                let remaining = Lifetime::new(left, left);
                Some(self.entry(remaining))
            }
            State::Live { .. } | State::Rotated { .. } | State::Deleted => None,
        }
    }

    fn entry(&self, remaining: Lifetime) -> Entry {
        Entry::new(self.version, self.payload.clone(), remaining).with_owner(self.owner)
    }

    /// Whose list the row's key is in.
    pub(super) fn listed_for(&self) -> Option<UserKey> {
        match self.state {
            State::Live { .. } => self.owner,
            State::Rotated { .. } | State::Deleted => None,
        }
    }

    /// The idle deadline that a slide moves a live session's to, if it moves it.
    pub(super) fn slid(&self, now: Tick, slide: Slide) -> Option<Tick> {
        let (State::Live { absolute }, Slide::To { idle, min_gain }) = (self.state, slide) else {
            return None;
        };
        let target = now.after(idle).min(absolute);
        (target > self.until && target.since(self.until) >= min_gain).then_some(target)
    }
}

/// The last whole second at or before now: what the index is asked for.
pub(super) fn second_of(now: Tick) -> u64 {
    now.as_nanos() / NANOS_PER_SECOND
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The time left, where a deadline that never comes leaves all of it.
fn left(now: Tick, deadline: Tick) -> Duration {
    if deadline == Tick::MAX {
        Duration::MAX
    } else {
        deadline.since(now)
    }
}

#[cfg(test)]
mod tests {
    use purlin_session_store::SessionId;

    use super::*;

    fn row(state: State, payload: &'static [u8]) -> Row {
        owned_row(state, None, payload)
    }

    fn owned_row(state: State, owner: Option<UserKey>, payload: &'static [u8]) -> Row {
        Row {
            state,
            version: Version(7),
            until: Tick::from_nanos(5),
            filed: 1,
            owner,
            payload: Bytes::from_static(payload),
        }
    }

    #[test]
    fn a_row_comes_back_and_a_cut_or_foreign_one_is_refused() {
        let by = SessionId::from_secret_bytes([9; 32]).key();
        let rotated = State::Rotated {
            grace_until: Tick::from_nanos(3),
            by,
        };
        let live = State::Live {
            absolute: Tick::MAX,
        };
        for row in [
            row(live, b"payload"),
            row(live, b""),
            row(rotated, b"old"),
            row(State::Deleted, b""),
            owned_row(live, Some(UserKey::of("alice")), b"payload"),
            owned_row(rotated, Some(UserKey::of("alice")), b""),
        ] {
            let mut bytes = Vec::new();
            row.encode(&mut bytes);
            assert_eq!(Row::decode(&bytes), Some(row.clone()));
            for len in 0..bytes.len() - row.payload.len() {
                assert_eq!(Row::decode(&bytes[..len]), None, "{len}");
            }
            bytes[0] = 6;
            assert_eq!(Row::decode(&bytes), None);
        }
    }
}
