//! What one region tells another.
//!
//! A format byte; the region that tells; how many items; the items. Each is a session with all that it has become, or the
//! revocations of a user, in the form in which stores have them.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use purlin_core::WallTime;

use super::row::{Family, Record, Revocations, Row, key, put_time, time};
use crate::fields::PayloadError;
use crate::id::SessionKey;
use crate::regions::codec::{len, put_len, take};
use crate::regions::time::RegionId;
use crate::user::UserKey;

const FORMAT: u8 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) teller: RegionId,
    pub(super) items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Session {
        root: SessionKey,
        family: Family,
        leaves: Vec<Leaf>,
    },
    User {
        user: UserKey,
        revocations: Revocations,
    },
}

/// What lives under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) key: SessionKey,
    pub(super) idle_until: WallTime,
    pub(super) row: Row,
}

impl Item {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        match self {
            Item::Session {
                root,
                family,
                leaves,
            } => {
                out.put_u8(0);
                out.put_slice(root.as_bytes());
                put_bytes(&mut out, &family.encode());
                put_len(&mut out, leaves.len());
                for leaf in leaves {
                    out.put_slice(leaf.key.as_bytes());
                    put_time(&mut out, leaf.idle_until);
                    put_bytes(&mut out, &leaf.row.encode());
                }
            }
            Item::User { user, revocations } => {
                out.put_u8(1);
                out.put_slice(user.as_bytes());
                put_bytes(&mut out, &revocations.encode());
            }
        }
        out.freeze()
    }

    fn decode(bytes: &mut Bytes) -> Option<Self> {
        match take(bytes, 1)?[0] {
            0 => {
                let root = key(bytes)?;
                let family = Family::decode(get_bytes(bytes)?)?;
                let mut leaves = Vec::new();
                for _ in 0..len(bytes)? {
                    leaves.push(Leaf {
                        key: key(bytes)?,
                        idle_until: time(bytes)?,
                        row: Row::decode(get_bytes(bytes)?)?,
                    });
                }
                Some(Item::Session {
                    root,
                    family,
                    leaves,
                })
            }
            1 => Some(Item::User {
                user: UserKey::from_bytes(&take(bytes, UserKey::LEN)?)?,
                revocations: Revocations::decode(get_bytes(bytes)?)?,
            }),
            _ => None,
        }
    }
}

impl Message {
    /// A message of items that are bytes already.
    pub(super) fn encode(teller: RegionId, items: &[Bytes]) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORMAT);
        out.put_u16_le(teller.0);
        put_len(&mut out, items.len());
        items.iter().for_each(|item| out.put_slice(item));
        out.freeze()
    }

    pub(super) fn decode(mut bytes: Bytes) -> Result<Self, PayloadError> {
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(&format) if format > FORMAT => return Err(PayloadError::Newer { format }),
            Some(_) | None => return Err(PayloadError::Corrupt),
        }
        bytes.advance(1);
        Self::decode_body(&mut bytes)
            .filter(|_| bytes.is_empty())
            .ok_or(PayloadError::Corrupt)
    }

    fn decode_body(bytes: &mut Bytes) -> Option<Self> {
        let teller = RegionId(take(bytes, 2)?.get_u16_le());
        let mut items = Vec::new();
        for _ in 0..len(bytes)? {
            items.push(Item::decode(bytes)?);
        }
        Some(Message { teller, items })
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.put_slice(bytes);
}

fn get_bytes(bytes: &mut Bytes) -> Option<Bytes> {
    let len = len(bytes)?;
    take(bytes, len)
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::row::{Mark, Revocation, Rotation, Subject};
    use super::*;
    use crate::SessionId;
    use crate::regions::replica::Replica;
    use crate::regions::time::Writer;

    fn a_key() -> impl Strategy<Value = SessionKey> {
        any::<[u8; 32]>().prop_map(|bytes| SessionId::from_secret_bytes(bytes).key())
    }

    fn a_time() -> impl Strategy<Value = WallTime> {
        any::<u64>().prop_map(WallTime::from_unix_millis)
    }

    fn row() -> impl Strategy<Value = Row> {
        let from = prop::option::of((a_key(), a_time()));
        let owner = prop::option::of(any::<[u8; 4]>().prop_map(UserKey::of));
        let aware =
            prop::collection::btree_map(any::<u16>().prop_map(RegionId), any::<u64>(), 0..3);
        let rest = (any::<u64>(), a_time(), any::<[u8; 3]>());
        (a_key(), from, owner, aware, rest).prop_map(|(root, from, owner, aware, rest)| {
            let (base, born_until, value) = rest;
            let by = Writer {
                region: RegionId(3),
                now: WallTime::from_unix_millis(9),
            };
            let mut replica = Replica::new(by, Duration::MAX, Duration::MAX);
            replica.set(by, "name", value.to_vec()).unwrap();
            Row {
                base,
                root,
                from: from.map(|(key, grace_until)| Rotation { key, grace_until }),
                owner,
                born_until,
                aware,
                replica,
            }
        })
    }

    fn family() -> impl Strategy<Value = Family> {
        let keys = prop::collection::btree_map(a_key(), any::<bool>(), 0..4);
        let limit = prop::option::of((0..u64::MAX).prop_map(WallTime::from_unix_millis));
        let rest = (any::<bool>(), limit);
        (a_time(), rest, keys).prop_map(|(until, (ended, limit), keys)| Family {
            until,
            ended,
            limit,
            moved: keys
                .iter()
                .filter(|(_, moved)| **moved)
                .map(|(key, _)| *key)
                .collect(),
            keys: BTreeSet::from_iter(keys.into_keys()),
        })
    }

    fn revocations() -> impl Strategy<Value = Revocations> {
        let last = (any::<u64>(), prop::option::of(a_key()));
        let last = last.prop_map(|(number, spared)| Revocation { number, spared });
        let by = prop::collection::btree_map(any::<u16>().prop_map(RegionId), last, 0..3);
        (a_time(), by).prop_map(|(until, by)| Revocations { until, by })
    }

    fn item() -> impl Strategy<Value = Item> {
        let leaf = (a_key(), a_time(), row());
        let leaf = leaf.prop_map(|(key, idle_until, row)| Leaf {
            key,
            idle_until,
            row,
        });
        let leaves = prop::collection::vec(leaf, 0..3);
        prop_oneof![
            (a_key(), family(), leaves).prop_map(|(root, family, leaves)| Item::Session {
                root,
                family,
                leaves
            }),
            (any::<[u8; 4]>(), revocations()).prop_map(|(user, revocations)| Item::User {
                user: UserKey::of(user),
                revocations
            }),
        ]
    }

    fn merged<T: Record>(a: &T, b: &T) -> T {
        let mut merged = a.clone();
        merged.merge(b);
        merged
    }

    proptest! {
        #[test]
        fn messages_come_back_from_their_bytes(
            items in prop::collection::vec(item(), 0..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let encoded: Vec<Bytes> = items.iter().map(Item::encode).collect();
            let bytes = Message::encode(RegionId(7), &encoded);
            let teller = RegionId(7);
            prop_assert_eq!(Message::decode(bytes.clone()), Ok(Message { teller, items }));
            let cut = bytes.slice(..cut.index(bytes.len()));
            prop_assert_eq!(Message::decode(cut), Err(PayloadError::Corrupt));
        }

        #[test]
        fn no_bytes_make_it_panic(kind in 0..2u8, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            bytes.splice(0..0, [FORMAT, 0, 0, 1, 0, 0, 0, kind]);
            let _ = Message::decode(bytes.into());
        }

        #[test]
        fn records_merge_in_any_order([a, b, c] in [family(), family(), family()]) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn revocations_merge_in_any_order([a, b, c] in [revocations(), revocations(), revocations()]) {
            prop_assert_eq!(merged(&a, &b), merged(&b, &a));
            prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
            prop_assert_eq!(merged(&a, &a), a);
        }

        #[test]
        fn notes_come_back_from_their_bytes(key in a_key(), user in any::<[u8; 4]>(), life in any::<u32>()) {
            let life = Duration::from_millis(life.into());
            for subject in [Subject::Family(key), Subject::User(UserKey::of(user))] {
                let mark = Mark { subject, life };
                prop_assert_eq!(Mark::decode(mark.encode()), Some(mark));
            }
        }
    }

    #[test]
    fn a_later_format_is_told() {
        let newer = PayloadError::Newer { format: 2 };
        assert_eq!(Message::decode(Bytes::from_static(&[2, 0])), Err(newer));
    }
}
