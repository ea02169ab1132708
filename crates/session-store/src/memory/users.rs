//! Which sessions a user has.

use core::mem::size_of;
use std::collections::HashMap;

use purlin_core::sync::{Mutex, MutexGuard};
use purlin_core::{MapHasher, Tick};

use crate::id::SessionKey;
use crate::user::{Cap, UserKey};

/// The sessions of each user, in the order in which they became theirs.
///
/// A session is here exactly while a slot of the table holds it, live or expired and not yet freed, and both
/// are changed under the lock of the slot's shard. So these locks are always taken last.
pub(super) struct Users {
    /// A power of two of them.
    parts: Box<[Mutex<Part>]>,
}

type Part = HashMap<UserKey, Vec<Owned>, MapHasher>;

struct Owned {
    key: SessionKey,
    /// The absolute deadline that the session came with.
    absolute: Tick,
}

/// What a session that is somebody's takes beside what it takes anyhow: its owner at the slot, and here its
/// place, of which a growing list has twice as many, and its user's, which may have no other.
pub(super) const OWNED_BYTES: usize =
    size_of::<UserKey>() + 2 * size_of::<Owned>() + size_of::<(UserKey, Vec<Owned>)>();

/// A user has as many sessions as they may.
#[derive(Debug)]
pub(super) struct Full;

impl Users {
    pub(super) fn new(n_parts: usize) -> Self {
        Users {
            parts: (0..n_parts).map(|_| Mutex::default()).collect(),
        }
    }

    /// Notes one more session of a user, if they may have one more.
    pub(super) fn add(
        &self,
        user: UserKey,
        key: SessionKey,
        absolute: Tick,
        cap: Option<Cap>,
    ) -> Result<(), Full> {
        let mut part = self.part(&user);
        let present = part.get(&user).map_or(0, Vec::len);
        if cap.is_some_and(|cap| present >= cap.limit()) {
            return Err(Full);
        }
        part.entry(user).or_default().push(Owned { key, absolute });
        Ok(())
    }

    /// Notes that a session of a user has another key.
    pub(super) fn replace(&self, user: &UserKey, old: &SessionKey, new: SessionKey) {
        let mut part = self.part(user);
        if let Some(owned) = part
            .get_mut(user)
            .and_then(|owned| owned.iter_mut().find(|owned| owned.key == *old))
        {
            owned.key = new;
        }
    }

    pub(super) fn remove(&self, user: &UserKey, key: &SessionKey) {
        let mut part = self.part(user);
        let Some(owned) = part.get_mut(user) else {
            return;
        };
        owned.retain(|owned| owned.key != *key);
        if owned.is_empty() {
            part.remove(user);
        }
    }

    /// The user's sessions, those first whose deadline is nearest.
    pub(super) fn oldest_first(&self, user: &UserKey) -> Vec<SessionKey> {
        let part = self.part(user);
        let mut owned: Vec<(Tick, SessionKey)> = part
            .get(user)
            .into_iter()
            .flatten()
            .map(|owned| (owned.absolute, owned.key))
            .collect();
        drop(part);
        owned.sort_by_key(|(absolute, _)| *absolute);
        owned.into_iter().map(|(_, key)| key).collect()
    }

    fn part(&self, user: &UserKey) -> MutexGuard<'_, Part> {
        let [low, high, ..] = *user.as_bytes();
        let idx = usize::from(u16::from_le_bytes([low, high])) & (self.parts.len() - 1);
        self.parts[idx].lock()
    }

    /// How many sessions of how many users are noted.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        self.parts.iter().fold((0, 0), |(sessions, users), part| {
            let part = part.lock();
            let here: usize = part.values().map(Vec::len).sum();
            (sessions + here, users + part.len())
        })
    }
}
