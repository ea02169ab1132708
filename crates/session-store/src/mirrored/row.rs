//! What a store holds for the mirror under a session's key.

use core::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{Entry, Lifetime, Version};

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
        payload: Bytes,
    },
    /// What the session will be if the rotation from this key happens.
    Prepared {
        from: SessionKey,
        version: Version,
        payload: Bytes,
    },
    Rotated {
        by: SessionKey,
        version: Version,
        /// What is left of the row's absolute time when the grace ends. Each store counts that down by its own clock, so
        /// the moment needs no clock that all agree on.
        grace_ends_at: Duration,
        payload: Bytes,
    },
    Dead {
        write: u64,
    },
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
pub(super) const OVERHEAD: usize = 1 + 4 * 8 + 1 + SessionKey::LEN + 2 * 8;

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
                payload,
            }) => {
                out.put_u8(1);
                out.put_u64_le(version.0);
                writes.0.iter().for_each(|&write| out.put_u64_le(write));
                out.put_slice(payload);
            }
            Some(Value::Prepared {
                from,
                version,
                payload,
            }) => {
                out.put_u8(2);
                out.put_slice(from.as_bytes());
                out.put_u64_le(version.0);
                out.put_slice(payload);
            }
            Some(Value::Rotated {
                by,
                version,
                grace_ends_at,
                payload,
            }) => {
                out.put_u8(3);
                out.put_slice(by.as_bytes());
                out.put_u64_le(version.0);
                let nanos = u64::try_from(grace_ends_at.as_nanos()).unwrap_or(u64::MAX);
                out.put_u64_le(nanos);
                out.put_slice(payload);
            }
            Some(Value::Dead { write }) => {
                out.put_u8(4);
                out.put_u64_le(*write);
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
                    payload: bytes.split_off(0),
                })
            }
            2 => Some(Value::Prepared {
                from: SessionKey::from_bytes(&take(&mut bytes, SessionKey::LEN)?)?,
                version: Version(number(&mut bytes)?),
                payload: bytes.split_off(0),
            }),
            3 => Some(Value::Rotated {
                by: SessionKey::from_bytes(&take(&mut bytes, SessionKey::LEN)?)?,
                version: Version(number(&mut bytes)?),
                grace_ends_at: Duration::from_nanos(number(&mut bytes)?),
                payload: bytes.split_off(0),
            }),
            4 => Some(Value::Dead {
                write: number(&mut bytes)?,
            }),
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
        }
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

    fn value() -> impl Strategy<Value = Option<Value>> {
        let payload = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
        let version = || any::<u64>().prop_map(Version);
        prop_oneof![
            Just(None),
            (version(), any::<[u64; 4]>(), payload()).prop_map(|(version, writes, payload)| {
                Some(Value::Live {
                    version,
                    writes: Writes(writes),
                    payload,
                })
            }),
            (key(), version(), payload()).prop_map(|(from, version, payload)| {
                Some(Value::Prepared {
                    from,
                    version,
                    payload,
                })
            }),
            (key(), version(), any::<u64>(), payload()).prop_map(|(by, version, at, payload)| {
                Some(Value::Rotated {
                    by,
                    version,
                    grace_ends_at: Duration::from_nanos(at),
                    payload,
                })
            }),
            any::<u64>().prop_map(|write| Some(Value::Dead { write })),
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
