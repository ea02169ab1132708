//! What a store holds for the mirror under a session's key.

use core::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{Entry, Lifetime, Version};
use crate::user::UserKey;

/// The order of attempts to write. Each attempt has one of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ballot {
    pub(super) round: u64,
    /// Random, so that no two attempts have the same ballot.
    pub(super) proposer: u64,
}

/// One store's part in the agreement about a session: an acceptor's state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// Nothing below this ballot is accepted any more.
    pub(super) promised: Ballot,
    /// The ballot of the value. Zero if there is none.
    pub(super) accepted: Ballot,
    pub(super) value: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Live {
        version: Version,
        writes: Writes,
        owner: Option<UserKey>,
        payload: Bytes,
    },
    /// What the session will be if the rotation from this key happens.
    Prepared {
        from: SessionKey,
        version: Version,
        owner: Option<UserKey>,
        payload: Bytes,
    },
    Rotated {
        by: SessionKey,
        version: Version,
        /// What is left of the row's absolute time when the grace ends. Each store counts that down by its own clock, so
        /// the moment needs no clock that all agree on.
        grace_ends_at: Duration,
        owner: Option<UserKey>,
        payload: Bytes,
    },
    Dead {
        write: u64,
    },
    /// Not a session, but the names of a user's.
    List(Vec<Member>),
}

/// A name on a user's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: SessionKey,
    /// What was left of the list's absolute time when the name was added.
    pub(super) since: Duration,
    /// What is left of it when the session's absolute deadline is there. The oldest session has the most.
    pub(super) until: Duration,
    /// Whether the session was there once.
    pub(super) is_made: bool,
}

/// The ids of the writes that made the last versions, latest first. By these a writer whose attempt was overtaken finds
/// out whether it got through all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Writes([u64; Writes::KEPT]);

impl Writes {
    /// How many versions back a write can be found.
    pub(super) const KEPT: usize = 4;

    pub(super) fn first(write: u64) -> Self {
        Writes::default().then(write)
    }

    #[must_use]
    pub(super) fn then(self, write: u64) -> Self {
        let [a, b, c, _] = self.0;
        Writes([write, a, b, c])
    }

    /// How many versions ago a write was made.
    pub(super) fn ago(&self, write: u64) -> Option<u64> {
        let found = self.0.iter().position(|&made| made == write);
        found.map(|idx| idx as u64)
    }
}

/// What was seen in one store.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// The store's own version of the row, to write from. None if it holds no row.
    pub(super) version: Option<Version>,
    pub(super) row: Row,
    pub(super) remaining: Lifetime,
}

impl Seen {
    pub(super) fn nothing() -> Self {
        Seen {
            version: None,
            row: Row::default(),
            remaining: Lifetime::new(Duration::ZERO, Duration::ZERO),
        }
    }

    pub(super) fn of(entry: Option<Entry>) -> Result<Self, StoreError> {
        // A store's row never rotates, so a successor is somebody else's doing.
        let Some(entry) = entry.filter(|entry| entry.superseded_by.is_none()) else {
            return Ok(Seen::nothing());
        };
        let row = Row::decode(entry.payload).ok_or_else(|| StoreError::new(ErrorKind::Corrupt))?;
        Ok(Seen {
            version: Some(entry.version),
            row,
            remaining: entry.remaining,
        })
    }
}

const FORMAT: u8 = 1;

/// The most that a row has beside its payload.
pub(super) const OVERHEAD: usize = 1 + 4 * 8 + 1 + SessionKey::LEN + 2 * 8 + 1 + UserKey::LEN;

impl Row {
    pub(super) fn encode(&self) -> Bytes {
        let payload = self.value.as_ref().map_or(0, |value| value.payload_len());
        let mut out = BytesMut::with_capacity(OVERHEAD + payload);
        out.put_u8(FORMAT);
        for ballot in [self.promised, self.accepted] {
            out.put_u64_le(ballot.round);
            out.put_u64_le(ballot.proposer);
        }
        match &self.value {
            None => out.put_u8(0),
            Some(Value::Live {
                version,
                writes,
                owner,
                payload,
            }) => {
                out.put_u8(1);
                out.put_u64_le(version.0);
                writes.0.iter().for_each(|&write| out.put_u64_le(write));
                put_owner(&mut out, owner);
                out.put_slice(payload);
            }
            Some(Value::Prepared {
                from,
                version,
                owner,
                payload,
            }) => {
                out.put_u8(2);
                out.put_slice(from.as_bytes());
                out.put_u64_le(version.0);
                put_owner(&mut out, owner);
                out.put_slice(payload);
            }
            Some(Value::Rotated {
                by,
                version,
                grace_ends_at,
                owner,
                payload,
            }) => {
                out.put_u8(3);
                out.put_slice(by.as_bytes());
                out.put_u64_le(version.0);
                put_time(&mut out, *grace_ends_at);
                put_owner(&mut out, owner);
                out.put_slice(payload);
            }
            Some(Value::Dead { write }) => {
                out.put_u8(4);
                out.put_u64_le(*write);
            }
            Some(Value::List(members)) => {
                out.put_u8(5);
                for member in members {
                    out.put_slice(member.key.as_bytes());
                    put_time(&mut out, member.since);
                    put_time(&mut out, member.until);
                    out.put_u8(u8::from(member.is_made));
                }
            }
        }
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let format = take(&mut bytes, 1)?[0];
        if format != FORMAT {
            return None;
        }
        let mut ballot = || {
            Some(Ballot {
                round: number(&mut bytes)?,
                proposer: number(&mut bytes)?,
            })
        };
        let [promised, accepted] = [ballot()?, ballot()?];
        let value = match take(&mut bytes, 1)?[0] {
            0 => None,
            1 => {
                let version = Version(number(&mut bytes)?);
                let mut writes = Writes::default();
                for write in &mut writes.0 {
                    *write = number(&mut bytes)?;
                }
                Some(Value::Live {
                    version,
                    writes,
                    owner: owner(&mut bytes)?,
                    payload: bytes.split_off(0),
                })
            }
            2 => Some(Value::Prepared {
                from: SessionKey::from_bytes(&take(&mut bytes, SessionKey::LEN)?)?,
                version: Version(number(&mut bytes)?),
                owner: owner(&mut bytes)?,
                payload: bytes.split_off(0),
            }),
            3 => Some(Value::Rotated {
                by: SessionKey::from_bytes(&take(&mut bytes, SessionKey::LEN)?)?,
                version: Version(number(&mut bytes)?),
                grace_ends_at: Duration::from_nanos(number(&mut bytes)?),
                owner: owner(&mut bytes)?,
                payload: bytes.split_off(0),
            }),
            4 => Some(Value::Dead {
                write: number(&mut bytes)?,
            }),
            5 => {
                let mut members = Vec::new();
                while !bytes.is_empty() {
                    members.push(Member {
                        key: SessionKey::from_bytes(&take(&mut bytes, SessionKey::LEN)?)?,
                        since: Duration::from_nanos(number(&mut bytes)?),
                        until: Duration::from_nanos(number(&mut bytes)?),
                        is_made: take(&mut bytes, 1)?[0] == 1,
                    });
                }
                Some(Value::List(members))
            }
            _ => return None,
        };
        bytes.is_empty().then_some(Row {
            promised,
            accepted,
            value,
        })
    }
}

impl Value {
    fn payload_len(&self) -> usize {
        match self {
            Value::Live { payload, .. }
            | Value::Prepared { payload, .. }
            | Value::Rotated { payload, .. } => payload.len(),
            Value::Dead { .. } => 0,
            Value::List(members) => members.len() * (SessionKey::LEN + 17),
        }
    }
}

fn put_time(out: &mut BytesMut, time: Duration) {
    out.put_u64_le(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

fn put_owner(out: &mut BytesMut, owner: &Option<UserKey>) {
    out.put_u8(u8::from(owner.is_some()));
    if let Some(owner) = owner {
        out.put_slice(owner.as_bytes());
    }
}

fn owner(bytes: &mut Bytes) -> Option<Option<UserKey>> {
    match take(bytes, 1)?[0] {
        0 => Some(None),
        1 => UserKey::from_bytes(&take(bytes, UserKey::LEN)?).map(Some),
        _ => None,
    }
}

fn take(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (bytes.len() >= len).then(|| bytes.split_to(len))
}

fn number(bytes: &mut Bytes) -> Option<u64> {
    Some(take(bytes, 8)?.get_u64_le())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = SessionKey> {
        any::<[u8; 32]>().prop_map(|bytes| crate::SessionId::from_secret_bytes(bytes).key())
    }

    fn owner() -> impl Strategy<Value = Option<UserKey>> {
        prop::option::of(any::<[u8; 4]>().prop_map(UserKey::of))
    }

    fn member() -> impl Strategy<Value = Member> {
        let fields = (key(), any::<u64>(), any::<u64>(), any::<bool>());
        fields.prop_map(|(key, since, until, is_made)| Member {
            key,
            since: Duration::from_nanos(since),
            until: Duration::from_nanos(until),
            is_made,
        })
    }

    fn value() -> impl Strategy<Value = Option<Value>> {
        let payload = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let version = || any::<u64>().prop_map(Version);
        prop_oneof![
            Just(None),
            (version(), any::<[u64; 4]>(), owner(), payload()).prop_map(
                |(version, writes, owner, payload)| {
                    Some(Value::Live {
                        version,
                        writes: Writes(writes),
                        owner,
                        payload,
                    })
                }
            ),
            (key(), version(), owner(), payload()).prop_map(|(from, version, owner, payload)| {
                Some(Value::Prepared {
                    from,
                    version,
                    owner,
                    payload,
                })
            }),
            (key(), version(), any::<u64>(), owner(), payload()).prop_map(
                |(by, version, at, owner, payload)| {
                    Some(Value::Rotated {
                        by,
                        version,
                        grace_ends_at: Duration::from_nanos(at),
                        owner,
                        payload,
                    })
                }
            ),
            any::<u64>().prop_map(|write| Some(Value::Dead { write })),
            prop::collection::vec(member(), 0..4).prop_map(|members| Some(Value::List(members))),
        ]
    }

    proptest! {
        #[test]
        fn rows_come_back_and_no_cut_row_does(
            value in value(),
            numbers in any::<[u64; 4]>(),
            cut in 0..100usize,
        ) {
            let [a, b, c, d] = numbers;
            let row = Row {
                promised: Ballot { round: a, proposer: b },
                accepted: Ballot { round: c, proposer: d },
                value,
            };
            let bytes = row.encode();
            let payload = row.value.as_ref().map_or(0, Value::payload_len);
            prop_assert!(bytes.len() <= OVERHEAD + payload);
            prop_assert_eq!(Row::decode(bytes.clone()), Some(row));
            let head = bytes.len() - payload;
            if cut < head {
                prop_assert_eq!(Row::decode(bytes.slice(..cut)), None);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = Row::decode(bytes.into());
        }
    }

    #[test]
    fn a_write_is_found_for_four_versions() {
        let writes = Writes::first(1).then(2).then(3).then(4);
        assert_eq!((writes.ago(4), writes.ago(1)), (Some(0), Some(3)));
        assert_eq!(writes.then(5).ago(1), None);
    }
}
