//! The contract as a program.

use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_core::Tick;

use crate::id::SessionKey;
use crate::store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, Record, RotateOutcome, Slide, Version,
};

/// The plainest store that keeps the contract: one map, no limits, no concurrency, and the time as an
/// argument. It is what stores are compared with, and the place to look up what a call means.
#[derive(Clone, Debug)]
pub struct Model {
    slots: BTreeMap<SessionKey, Slot>,
    retention: Duration,
}

#[derive(Clone, Debug)]
enum Slot {
    Live {
        payload: Bytes,
        version: Version,
        idle_until: Tick,
        absolute_until: Tick,
    },
    Rotated {
        payload: Bytes,
        version: Version,
        grace_until: Tick,
        by: SessionKey,
        until: Tick,
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
            retention,
        }
    }

    /// See [`SessionStore::create`](crate::SessionStore::create).
    pub fn create(&mut self, now: Tick, key: &SessionKey, record: Record) -> CreateOutcome {
        if self.find(now, key).is_some() {
            return CreateOutcome::Collision;
        }
        let absolute_until = now.after(record.lifetime.absolute);
        let idle_until = now.after(record.lifetime.idle).min(absolute_until);
        let version = Version::FIRST;
        self.slots.insert(
            *key,
            Slot::Live {
                payload: record.payload,
                version,
                idle_until,
                absolute_until,
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
                ..
            } if now < *grace_until => {
                let left = left(now, *grace_until);
                let entry = Entry::new(*version, payload.clone(), Lifetime::new(left, left));
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
            }) if version == expected => (payload, version, idle_until, absolute_until),
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
        let (payload, version, idle_until, absolute_until) = moved;
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
            },
        );

        let absolute_until = now.after(record.lifetime.absolute).min(absolute_until);
        let idle_until = now.after(record.lifetime.idle).min(absolute_until);
        let version = version.next();
        self.slots.insert(
            *new,
            Slot::Live {
                payload: record.payload,
                version,
                idle_until,
                absolute_until,
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
            } => {
                let remaining = Lifetime::new(left(now, *idle_until), left(now, *absolute_until));
                Some(Entry::new(*version, payload.clone(), remaining))
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
