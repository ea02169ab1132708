//! What a caller stores, as fields that merge.
//!
//! A payload of this crate's own form is taken apart: its fields merge one by one, and who is logged in is the replica's
//! privileges. Any other payload is one field.

use bytes::Bytes;

use crate::fields::{AUTH, Changes, Fields};
use crate::regions::replica::{EndedError, Replica, SetError};
use crate::regions::time::{Stamp, Writer};

/// What the names of this module begin with. No application has such fields.
const RESERVED: &str = "\0region:";
/// A payload of another form than ours.
const WHOLE: &str = "\0region:whole";
/// The application's schema number, of a payload of our form.
const SCHEMA: &str = "\0region:schema";

/// The payload, byte for byte as the last writer gave it, with the fields of others put in.
pub(super) fn read(replica: &Replica) -> Bytes {
    if let Some(whole) = whole(replica) {
        return whole.clone();
    }
    let mut changes = Changes::default();
    for name in replica.names().filter(|name| !name.starts_with(RESERVED)) {
        changes.set(name, replica.get(name).cloned());
    }
    changes.set(AUTH, replica.privileges().cloned());
    let schema = replica.get(SCHEMA).and_then(|schema| schema.first());
    let fields = Fields::default().with_changes(&changes, *schema.unwrap_or(&0), usize::MAX);
    // More than 4 GiB do not get this far: a store refuses them long before.
    fields.map_or_else(|_| Bytes::new(), |fields| fields.payload().clone())
}

/// Makes the replica's fields those of a payload, which was made from what it has now.
pub(super) fn write(replica: &mut Replica, by: Writer, payload: &Bytes) -> Result<(), SetError> {
    let ended = |EndedError| SetError::Ended {
        value: payload.clone(),
    };
    let fields = Fields::decode(payload.clone()).ok();
    let fields = fields.filter(|fields| !fields.iter().any(|(name, _)| name.starts_with(RESERVED)));
    match &fields {
        None => set(replica, by, WHOLE, payload.clone())?,
        Some(fields) => {
            let is_ours = whole(replica).is_none();
            if !is_ours
                || replica
                    .get(SCHEMA)
                    .is_none_or(|now| now[..] != [fields.schema()])
            {
                replica.set(by, SCHEMA, vec![fields.schema()])?;
            }
            for (name, value) in fields.iter().filter(|(name, _)| *name != AUTH) {
                set(replica, by, name, payload.slice_ref(value))?;
            }
        }
    }
    let is_left = |name: &str| match &fields {
        None => name == WHOLE,
        Some(fields) => name == SCHEMA || fields.get_here(name).is_some(),
    };
    let gone: Vec<Box<str>> = replica
        .names()
        .filter(|name| !is_left(name))
        .map(Box::from)
        .collect();
    for name in gone {
        replica.remove(by, &name).map_err(ended)?;
    }
    let auth = fields.and_then(|fields| fields.get(AUTH));
    if auth.as_ref() != replica.privileges() {
        match auth {
            Some(auth) => replica.grant(by, auth).map_err(ended)?,
            None => replica.renounce(by).map_err(ended)?,
        }
    }
    Ok(())
}

fn set(replica: &mut Replica, by: Writer, name: &str, value: Bytes) -> Result<(), SetError> {
    if replica.get(name) == Some(&value) {
        return Ok(());
    }
    replica.set(by, name, value)
}

/// The payload, if it is not of our form: of two regions that disagree about that, the later writer is right.
fn whole(replica: &Replica) -> Option<&Bytes> {
    let at = |name: &str| {
        let field = replica.fields.get(name);
        let present = field.filter(|field| field.value.is_some());
        present.map_or(Stamp::default(), |field| field.at)
    };
    replica.get(WHOLE).filter(|_| at(WHOLE) > at(SCHEMA))
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use proptest::prelude::*;
    use purlin_core::WallTime;

    use super::*;
    use crate::regions::time::RegionId;

    fn by(region: u16) -> Writer {
        Writer {
            region: RegionId(region),
            now: WallTime::from_unix_millis(5),
        }
    }

    fn payload() -> impl Strategy<Value = Bytes> {
        let name = prop_oneof![
            Just(AUTH),
            Just("\0epoch"),
            Just("a"),
            Just("b"),
            Just(WHOLE)
        ];
        let fields = prop::collection::btree_map(name, any::<[u8; 2]>(), 0..5);
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..12).prop_map(Bytes::from),
            (any::<u8>(), fields).prop_map(|(schema, fields)| {
                let mut changes = Changes::default();
                for (name, value) in fields {
                    changes.set(name, Some(value.to_vec().into()));
                }
                let fields = Fields::default().with_changes(&changes, schema, 1000);
                fields.unwrap().payload().clone()
            }),
        ]
    }

    proptest! {
        #[test]
        fn a_payload_comes_back_as_it_was_given(payloads in prop::collection::vec(payload(), 1..6)) {
            let hour = Duration::from_secs(3600);
            let mut replica = Replica::new(by(1), hour, hour);
            for payload in payloads {
                write(&mut replica, by(1), &payload).unwrap();
                prop_assert_eq!(read(&replica), payload.clone());
                let before = replica.clone();
                write(&mut replica, by(2), &payload).unwrap();
                prop_assert_eq!(&replica, &before, "nothing has changed");
            }
        }
    }
}
