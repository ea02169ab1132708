//! The contract as a program.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use purlin_core::Tick;

use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, Slide, Version,
};
use crate::user::{Cap, Owner, UserKey, WhenFull};

/// The plainest store that keeps the contract: one map, no limits, no concurrency, and the time as an
/// argument. It is what stores are compared with, and the place to look up what a call means.
#[derive(Clone, Debug)]
pub struct Model {
    slots: BTreeMap<SessionKey, Slot>,
    /// Every key that was a user's once.
    users: BTreeMap<UserKey, BTreeSet<SessionKey>>,
    retention: Duration,
    next_age: u64,
}

#[derive(Clone, Debug)]
enum Slot {
    Live {
        payload: Bytes,
        version: Version,
        idle_until: Tick,
        absolute_until: Tick,
        owner: Option<UserKey>,
        /// The absolute deadline and the moment at which it became its owner's, as a number that grows.
        age: (Tick, u64),
    },
    Rotated {
        payload: Bytes,
        version: Version,
        grace_until: Tick,
        by: SessionKey,
        until: Tick,
        owner: Option<UserKey>,
    },
    Dead {
        until: Tick,
    },
}

/// How many rotations later an old key still finds its session.
const MAX_HOPS: usize = crate::memory::MAX_HOPS;

impl Model {
    /// An empty store that remembers keys for this long.
    pub fn new(retention: Duration) -> Self {
        Model {
            slots: BTreeMap::new(),
            users: BTreeMap::new(),
            retention,
            next_age: 0,
        }
    }

    /// See [`SessionStore::create`](crate::SessionStore::create).
    pub fn create(&mut self, now: Tick, key: &SessionKey, record: Record) -> CreateOutcome {
        if self.find(now, key).is_some() {
            return CreateOutcome::Collision;
        }
        if !self.make_way(now, record.owner, None) {
            return CreateOutcome::AtCap;
        }
        let absolute_until = now.after(record.lifetime.absolute);
        let idle_until = now.after(record.lifetime.idle).min(absolute_until);
        let version = Version::FIRST;
        let age = (absolute_until, self.tell_age());
        self.note(record.owner.after(None), key);
        self.slots.insert(
            *key,
            Slot::Live {
                payload: record.payload,
                version,
                idle_until,
                absolute_until,
                owner: record.owner.after(None),
                age,
            },
        );
        CreateOutcome::Created(version)
    }

    /// See [`SessionStore::load`](crate::SessionStore::load).
    pub fn load(&mut self, now: Tick, key: &SessionKey, slide: Slide) -> Option<Entry> {
        match self.find(now, key)? {
            Slot::Live {
                idle_until,
                absolute_until,
                ..
            } => {
                if let Slide::To { idle, min_gain } = slide {
                    let target = now.after(idle).min(*absolute_until);
                    if target > *idle_until && target.since(*idle_until) >= min_gain {
                        *idle_until = target;
                    }
                }
                self.live_entry(now, key)
            }
            Slot::Rotated {
                payload,
                version,
                grace_until,
                by,
                owner,
                ..
            } if now < *grace_until => {
                let left = left(now, *grace_until);
                let entry = Entry::new(*version, payload.clone(), Lifetime::new(left, left))
                    .with_owner(*owner);
                let next = *by;
                Some(entry.with_successor(self.follow(now, next)?))
            }
            Slot::Rotated { .. } | Slot::Dead { .. } => None,
        }
    }

    /// See [`SessionStore::commit`](crate::SessionStore::commit).
    pub fn commit(
        &mut self,
        now: Tick,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> CommitOutcome {
        match self.find(now, key) {
            Some(Slot::Live {
                payload,
                version,
                idle_until,
                absolute_until,
                ..
            }) if *version == expected => {
                *payload = record.payload;
                *version = version.next();
                *absolute_until = now.after(record.lifetime.absolute).min(*absolute_until);
                *idle_until = now
                    .after(record.lifetime.idle)
                    .max(*idle_until)
                    .min(*absolute_until);
                CommitOutcome::Committed(*version)
            }
            Some(Slot::Live { .. }) => self
                .live_entry(now, key)
                .map_or(CommitOutcome::Gone, CommitOutcome::Conflict),
            Some(Slot::Rotated { by, .. }) => {
                let next = *by;
                self.follow(now, next)
                    .map_or(CommitOutcome::Gone, CommitOutcome::Superseded)
            }
            Some(Slot::Dead { .. }) | None => CommitOutcome::Gone,
        }
    }

    /// See [`SessionStore::rotate`](crate::SessionStore::rotate).
    pub fn rotate(
        &mut self,
        now: Tick,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> RotateOutcome {
        let retention = self.retention;
        let moved = match self.find(now, old).cloned() {
            Some(Slot::Live {
                payload,
                version,
                idle_until,
                absolute_until,
                owner,
                age,
            }) if version == expected => {
                (payload, version, idle_until, absolute_until, (owner, age))
            }
            Some(Slot::Live { .. }) => {
                return self
                    .live_entry(now, old)
                    .map_or(RotateOutcome::Gone, RotateOutcome::Conflict);
            }
            Some(Slot::Rotated { by, .. }) => {
                return self
                    .follow(now, by)
                    .map_or(RotateOutcome::Gone, RotateOutcome::Superseded);
            }
            Some(Slot::Dead { .. }) | None => return RotateOutcome::Gone,
        };
        if self.find(now, new).is_some() {
            return RotateOutcome::Collision;
        }
        let (payload, version, idle_until, absolute_until, (was, age)) = moved;
        if !self.make_way(now, record.owner, was) {
            return RotateOutcome::AtCap;
        }
        let grace_until = now.after(grace.min(retention)).min(idle_until);
        let until = now.after(retention);
        self.slots.insert(
            *old,
            Slot::Rotated {
                payload,
                version,
                grace_until,
                by: *new,
                until,
                owner: was,
            },
        );

        let absolute_until = now.after(record.lifetime.absolute).min(absolute_until);
        let idle_until = now.after(record.lifetime.idle).min(absolute_until);
        let version = version.next();
        let owner = record.owner.after(was);
        let age = if owner == was {
            age
        } else {
            (absolute_until, self.tell_age())
        };
        self.note(owner, new);
        self.slots.insert(
            *new,
            Slot::Live {
                payload: record.payload,
                version,
                idle_until,
                absolute_until,
                owner,
                age,
            },
        );
        RotateOutcome::Rotated(version)
    }

    /// See [`SessionStore::delete`](crate::SessionStore::delete).
    pub fn delete(&mut self, now: Tick, key: &SessionKey) -> bool {
        let live = match self.find(now, key) {
            Some(Slot::Live { .. }) => *key,
            Some(Slot::Rotated {
                by, grace_until, ..
            }) if now < *grace_until => {
                let next = *by;
                let Some(live) = self.follow(now, next) else {
                    return false;
                };
                live
            }
            Some(Slot::Rotated { .. } | Slot::Dead { .. }) | None => return false,
        };
        self.slots.insert(
            live,
            Slot::Dead {
                until: now.after(self.retention),
            },
        );
        true
    }

    /// See [`SessionStore::by_user`](crate::SessionStore::by_user). Oldest first.
    pub fn by_user(&self, now: Tick, user: &UserKey) -> Vec<SessionKey> {
        let mut owned: Vec<_> = self
            .users
            .get(user)
            .into_iter()
            .flatten()
            .filter_map(|key| match self.slots.get(key)? {
                Slot::Live {
                    owner,
                    age,
                    idle_until,
                    ..
                } if *owner == Some(*user) && now < *idle_until => Some((*age, *key)),
                Slot::Live { .. } | Slot::Rotated { .. } | Slot::Dead { .. } => None,
            })
            .collect();
        owned.sort_unstable();
        owned.into_iter().map(|(_, key)| key).collect()
    }

    /// See [`SessionStore::revoke_user`](crate::SessionStore::revoke_user).
    pub fn revoke_user(&mut self, now: Tick, user: &UserKey, except: Option<&SessionKey>) -> usize {
        let spared = except.and_then(|key| {
            let entry = self.load(now, key, Slide::No)?;
            Some(entry.superseded_by.unwrap_or(*key))
        });
        let mut doomed = self.by_user(now, user);
        doomed.retain(|key| Some(*key) != spared);
        doomed.iter().filter(|key| self.delete(now, key)).count()
    }

    /// Whether an owner may have one more session, which was this user's before.
    fn make_way(&mut self, now: Tick, owner: Owner, was: Option<UserKey>) -> bool {
        let (Owner::User { user, .. }, Some(cap)) = (owner, owner.cap_for(was)) else {
            return true;
        };
        let present = self.by_user(now, &user);
        let Cap { when_full, .. } = cap;
        if present.len() < cap.limit() {
            return true;
        }
        if when_full == WhenFull::Reject {
            return false;
        }
        for key in &present[..present.len() + 1 - cap.limit()] {
            self.delete(now, key);
        }
        true
    }

    fn note(&mut self, user: Option<UserKey>, key: &SessionKey) {
        if let Some(user) = user {
            self.users.entry(user).or_default().insert(*key);
        }
    }

    fn tell_age(&mut self) -> u64 {
        self.next_age += 1;
        self.next_age
    }

    /// What is known of a key: nothing, once its session has expired or it has been remembered long enough.
    fn find(&mut self, now: Tick, key: &SessionKey) -> Option<&mut Slot> {
        self.slots.get_mut(key).filter(|slot| {
            let (Slot::Live {
                idle_until: until, ..
            }
            | Slot::Rotated { until, .. }
            | Slot::Dead { until }) = slot;
            now < *until
        })
    }

    /// The key under which a session lives that has moved to `key`.
    fn follow(&mut self, now: Tick, mut key: SessionKey) -> Option<SessionKey> {
        for _ in 0..MAX_HOPS {
            match self.find(now, &key)? {
                Slot::Live { .. } => return Some(key),
                Slot::Rotated { by, .. } => key = *by,
                Slot::Dead { .. } => return None,
            }
        }
        None
    }

    fn live_entry(&mut self, now: Tick, key: &SessionKey) -> Option<Entry> {
        match self.find(now, key)? {
            Slot::Live {
                payload,
                version,
                idle_until,
                absolute_until,
                owner,
                ..
            } => {
                let remaining = Lifetime::new(left(now, *idle_until), left(now, *absolute_until));
                Some(Entry::new(*version, payload.clone(), remaining).with_owner(*owner))
            }
            Slot::Rotated { .. } | Slot::Dead { .. } => None,
        }
    }
}

fn left(now: Tick, deadline: Tick) -> Duration {
    if deadline == Tick::MAX {
        Duration::MAX
    } else {
        deadline.since(now)
    }
}
