//! What a region's store holds for the driver.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use purlin_core::WallTime;

use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::regions::codec::{len, number, put_len, take};
use crate::regions::replica::Replica;
use crate::regions::time::RegionId;
use crate::store::{Entry, Lifetime, Version};
use crate::user::UserKey;

use super::payload;

/// A session, under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// What is added to the store's version to make ours: zero where the session was made, and otherwise a number that
    /// grows with the time. A session that is forgotten here and comes back has no version again that it had before.
    pub(super) base: u64,
    /// The first key of the session, by which its family is filed.
    pub(super) root: SessionKey,
    pub(super) from: Option<Rotation>,
    pub(super) owner: Option<UserKey>,
    /// The absolute deadline that it was made with: the latest that any region can have.
    pub(super) born_until: WallTime,
    /// The revocations of its owner's sessions that it was made after.
    pub(super) aware: Awareness,
    pub(super) replica: Replica,
}

/// The key that a session had before, and until when that one reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotation {
    pub(super) key: SessionKey,
    pub(super) grace_until: WallTime,
}

/// For each region the number of its last revocation.
pub(super) type Awareness = BTreeMap<RegionId, u64>;

impl Row {
    pub(super) fn of(entry: &Entry) -> Result<Self, StoreError> {
        Self::decode(entry.payload.clone()).ok_or_else(corrupt)
    }

    /// What the caller is told is there.
    pub(super) fn entry(&self, stored: &Entry) -> Entry {
        let version = self.version(stored.version);
        let payload = payload::read(&self.replica);
        let mut entry = Entry::new(version, payload, stored.remaining);
        entry.superseded_by = stored.superseded_by;
        entry.with_owner(stored.owner)
    }

    pub(super) fn version(&self, stored: Version) -> Version {
        Version(self.base.saturating_add(stored.0))
    }

    /// The time by the store's own clock, since what is left until the absolute deadline is what it counts down.
    pub(super) fn now(&self, stored: &Entry) -> WallTime {
        self.before_the_end(stored.remaining.absolute)
    }

    /// The idle deadline, as a time by the same clock.
    pub(super) fn idle_until(&self, stored: &Entry) -> WallTime {
        let Lifetime { idle, absolute } = stored.remaining;
        self.before_the_end(absolute.saturating_sub(idle))
    }

    fn before_the_end(&self, time: Duration) -> WallTime {
        let millis = u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        let until = self.replica.absolute_until().as_unix_millis();
        WallTime::from_unix_millis(until.saturating_sub(millis))
    }

    pub(super) fn encode(&self) -> Bytes {
        let replica = self.replica.to_bytes();
        let mut out = BytesMut::with_capacity(128 + replica.len());
        out.put_slice(&[FORMAT, SESSION]);
        out.put_u64_le(self.base);
        out.put_slice(self.root.as_bytes());
        out.put_u8(u8::from(self.from.is_some()));
        if let Some(from) = &self.from {
            out.put_slice(from.key.as_bytes());
            put_time(&mut out, from.grace_until);
        }
        out.put_u8(u8::from(self.owner.is_some()));
        if let Some(owner) = &self.owner {
            out.put_slice(owner.as_bytes());
        }
        put_time(&mut out, self.born_until);
        put_len(&mut out, self.aware.len());
        for (region, number) in &self.aware {
            out.put_u16_le(region.0);
            out.put_u64_le(*number);
        }
        out.put_slice(&replica);
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Option<Self> {
        let mut bytes = body(bytes, SESSION)?;
        let base = number(&mut bytes)?;
        let root = key(&mut bytes)?;
        let from = match flag(&mut bytes)? {
            false => None,
            true => Some(Rotation {
                key: key(&mut bytes)?,
                grace_until: time(&mut bytes)?,
            }),
        };
        let owner = match flag(&mut bytes)? {
            false => None,
            true => Some(UserKey::from_bytes(&take(&mut bytes, UserKey::LEN)?)?),
        };
        let born_until = time(&mut bytes)?;
        let mut aware = Awareness::new();
        for _ in 0..len(&mut bytes)? {
            let region = RegionId(take(&mut bytes, 2)?.get_u16_le());
            aware.insert(region, number(&mut bytes)?);
        }
        Some(Row {
            base,
            root,
            from,
            owner,
            born_until,
            aware,
            replica: Replica::from_bytes(bytes).ok()?,
        })
    }
}

/// Beside a session: a record that merges, and is kept until its last session anywhere must be over.
pub(super) trait Record: Clone + Default + PartialEq + Send + Sync {
    fn encode(&self) -> Bytes;
    fn decode(bytes: Bytes) -> Option<Self>;
    /// When nothing is left that it is about.
    fn until(&self) -> WallTime;
    fn merge(&mut self, other: &Self);
}

/// All the keys that a session has had, and whether it has ended. There is none before the first rotation or the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) until: WallTime,
    pub(super) ended: bool,
    /// The earliest absolute deadline that it was told after it was made, under whichever key.
    pub(super) limit: Option<WallTime>,
    pub(super) keys: BTreeSet<SessionKey>,
    /// Those of the keys that the session has no longer.
    pub(super) moved: BTreeSet<SessionKey>,
}

impl Family {
    /// The keys under which the session may live. More than one if it was rotated in two regions at once.
    pub(super) fn leaves(&self) -> Vec<SessionKey> {
        self.keys.difference(&self.moved).copied().collect()
    }

    /// Whether it says no more than that there is a session.
    pub(super) fn is_trivial(&self) -> bool {
        !self.ended && self.limit.is_none() && self.moved.is_empty()
    }

    pub(super) fn confine(&mut self, limit: Option<WallTime>) {
        self.limit = match (self.limit, limit) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
    }
}

impl Record for Family {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&[FORMAT, FAMILY]);
        put_time(&mut out, self.until);
        out.put_u8(u8::from(self.ended));
        put_time(&mut out, self.limit.unwrap_or(WallTime::MAX));
        put_len(&mut out, self.keys.len());
        for key in &self.keys {
            out.put_slice(key.as_bytes());
            out.put_u8(u8::from(self.moved.contains(key)));
        }
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut bytes = body(bytes, FAMILY)?;
        let mut family = Family {
            until: time(&mut bytes)?,
            ended: flag(&mut bytes)?,
            limit: time(&mut bytes).map(|limit| (limit < WallTime::MAX).then_some(limit))?,
            ..Family::default()
        };
        for _ in 0..len(&mut bytes)? {
            let key = key(&mut bytes)?;
            family.keys.insert(key);
            if flag(&mut bytes)? {
                family.moved.insert(key);
            }
        }
        bytes.is_empty().then_some(family)
    }

    fn until(&self) -> WallTime {
        self.until
    }

    fn merge(&mut self, other: &Self) {
        self.until = self.until.max(other.until);
        self.ended |= other.ended;
        self.confine(other.limit);
        self.keys.extend(other.keys.union(&other.moved));
        self.moved.extend(&other.moved);
    }
}

/// Which of a user's sessions have been ended without naming them: those that were not made after these revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Revocations {
    pub(super) until: WallTime,
    pub(super) by: BTreeMap<RegionId, Revocation>,
}

/// The last revocation of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Revocation {
    pub(super) number: u64,
    /// The family that it spared.
    pub(super) spared: Option<SessionKey>,
}

impl Revocations {
    pub(super) fn awareness(&self) -> Awareness {
        let numbers = self.by.iter();
        numbers
            .map(|(region, last)| (*region, last.number))
            .collect()
    }

    /// Whether they leave a session alone.
    pub(super) fn spare(&self, row: &Row) -> bool {
        self.by.iter().all(|(region, last)| {
            row.aware
                .get(region)
                .is_some_and(|&known| known >= last.number)
                || last.spared == Some(row.root)
        })
    }
}

impl Record for Revocations {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&[FORMAT, REVOCATIONS]);
        put_time(&mut out, self.until);
        put_len(&mut out, self.by.len());
        for (region, last) in &self.by {
            out.put_u16_le(region.0);
            out.put_u64_le(last.number);
            out.put_u8(u8::from(last.spared.is_some()));
            if let Some(root) = &last.spared {
                out.put_slice(root.as_bytes());
            }
        }
        out.freeze()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        let mut bytes = body(bytes, REVOCATIONS)?;
        let mut revocations = Revocations {
            until: time(&mut bytes)?,
            ..Revocations::default()
        };
        for _ in 0..len(&mut bytes)? {
            let region = RegionId(take(&mut bytes, 2)?.get_u16_le());
            let number = number(&mut bytes)?;
            let spared = match flag(&mut bytes)? {
                false => None,
                true => Some(key(&mut bytes)?),
            };
            revocations.by.insert(region, Revocation { number, spared });
        }
        bytes.is_empty().then_some(revocations)
    }

    fn until(&self) -> WallTime {
        self.until
    }

    fn merge(&mut self, other: &Self) {
        self.until = self.until.max(other.until);
        for (region, theirs) in &other.by {
            let mine = self.by.entry(*region).or_insert(*theirs);
            *mine = (*mine).max(*theirs);
        }
    }
}

/// What there is news of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subject {
    /// A session, by its first key.
    Family(SessionKey),
    User(UserKey),
}

/// A note that another region has not heard of the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) subject: Subject,
    /// What the note was to last when it was made.
    pub(super) life: Duration,
}

impl Mark {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(&[FORMAT, MARK]);
        out.put_u64_le(millis(self.life));
        match &self.subject {
            Subject::Family(root) => {
                out.put_u8(0);
                out.put_slice(root.as_bytes());
            }
            Subject::User(user) => {
                out.put_u8(1);
                out.put_slice(user.as_bytes());
            }
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: Bytes) -> Option<Self> {
        let mut bytes = body(bytes, MARK)?;
        let life = Duration::from_millis(number(&mut bytes)?);
        let subject = match flag(&mut bytes)? {
            false => Subject::Family(key(&mut bytes)?),
            true => Subject::User(UserKey::from_bytes(&take(&mut bytes, UserKey::LEN)?)?),
        };
        bytes.is_empty().then_some(Mark { subject, life })
    }
}

/// Of all that is written here, the first byte.
const FORMAT: u8 = 1;
const SESSION: u8 = 1;
const FAMILY: u8 = 2;
const REVOCATIONS: u8 = 3;
const MARK: u8 = 4;

pub(super) fn corrupt() -> StoreError {
    StoreError::new(ErrorKind::Corrupt)
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What follows the head, if it is of this kind.
fn body(mut bytes: Bytes, kind: u8) -> Option<Bytes> {
    let head = take(&mut bytes, 2)?;
    (head[..] == [FORMAT, kind]).then_some(bytes)
}

pub(super) fn put_time(out: &mut BytesMut, time: WallTime) {
    out.put_u64_le(time.as_unix_millis());
}

pub(super) fn time(bytes: &mut Bytes) -> Option<WallTime> {
    number(bytes).map(WallTime::from_unix_millis)
}

pub(super) fn key(bytes: &mut Bytes) -> Option<SessionKey> {
    SessionKey::from_bytes(&take(bytes, SessionKey::LEN)?)
}

fn flag(bytes: &mut Bytes) -> Option<bool> {
    match take(bytes, 1)?[0] {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}
