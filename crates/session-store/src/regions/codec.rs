//! A replica as bytes.
//!
//! A format byte; the version vector; the latest stamp; both deadlines; the end, if any; the privileges; the fields in
//! ascending order of name. Numbers are little-endian, lengths are `u32`.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use purlin_core::WallTime;

use super::replica::{Field, Privileges, Replica};
use super::time::{RegionId, Seen, Stamp};
use crate::fields::PayloadError;

const FORMAT: u8 = 1;

impl Replica {
    /// The replica as bytes, the same for equal replicas.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(FORMAT);
        put_len(&mut out, self.seen.0.len());
        for (region, count) in &self.seen.0 {
            out.put_u16_le(region.0);
            out.put_u64_le(*count);
        }
        put_stamp(&mut out, self.latest);
        out.put_u64_le(self.absolute.as_unix_millis());
        out.put_u64_le(self.idle.as_unix_millis());
        out.put_u8(u8::from(self.ended.is_some()));
        put_stamp(&mut out, self.ended.unwrap_or_default());
        out.put_u64_le(self.privileges.epoch);
        put_stamp(&mut out, self.privileges.at);
        put_value(&mut out, self.privileges.value.as_ref());
        put_len(&mut out, self.fields.len());
        for (name, field) in &self.fields {
            // A name has at most 255 bytes.
            put_len(&mut out, name.len());
            out.put_slice(name.as_bytes());
            put_stamp(&mut out, field.at);
            put_value(&mut out, field.value.as_ref());
        }
        out.freeze()
    }

    /// The replica of these bytes.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if they are not one, or one of a later version of this crate.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, PayloadError> {
        let mut bytes = bytes.into();
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(&format) if format > FORMAT => return Err(PayloadError::Newer { format }),
            Some(_) | None => return Err(PayloadError::Corrupt),
        }
        bytes.advance(1);
        decode(&mut bytes)
            .filter(|_| bytes.is_empty())
            .ok_or(PayloadError::Corrupt)
    }
}

fn decode(bytes: &mut Bytes) -> Option<Replica> {
    let mut seen = BTreeMap::new();
    for _ in 0..len(bytes)? {
        let region = RegionId(take(bytes, 2)?.get_u16_le());
        let count = number(bytes)?;
        if seen
            .last_key_value()
            .is_some_and(|(last, _)| *last >= region)
        {
            return None;
        }
        seen.insert(region, count);
    }
    let latest = stamp(bytes)?;
    let absolute = WallTime::from_unix_millis(number(bytes)?);
    let idle = WallTime::from_unix_millis(number(bytes)?);
    let ended = match take(bytes, 1)?[0] {
        0 => stamp(bytes)
            .filter(|none| *none == Stamp::default())
            .map(|_| None)?,
        1 => Some(stamp(bytes)?),
        _ => return None,
    };
    let privileges = Privileges {
        epoch: number(bytes)?,
        at: stamp(bytes)?,
        value: value(bytes)?,
    };
    let mut fields: BTreeMap<Box<str>, Field> = BTreeMap::new();
    for _ in 0..len(bytes)? {
        let name_len = len(bytes)?;
        let name = take(bytes, name_len)?;
        let name: Box<str> = core::str::from_utf8(&name).ok()?.into();
        let (at, value) = (stamp(bytes)?, value(bytes)?);
        if fields
            .last_key_value()
            .is_some_and(|(last, _)| *last >= name)
        {
            return None;
        }
        fields.insert(name, Field { at, value });
    }
    let erased = fields.is_empty() && privileges == Privileges::default();
    (ended.is_none() || erased).then_some(Replica {
        seen: Seen(seen),
        latest,
        absolute,
        idle,
        ended,
        fields,
        privileges,
    })
}

pub(super) fn put_len(out: &mut BytesMut, len: usize) {
    // More than 4 GiB do not get this far: a store refuses them long before.
    out.put_u32_le(u32::try_from(len).unwrap_or(u32::MAX));
}

fn put_stamp(out: &mut BytesMut, stamp: Stamp) {
    out.put_u64_le(stamp.wall_ms);
    out.put_u32_le(stamp.count);
    out.put_u16_le(stamp.region);
}

pub(super) fn put_value(out: &mut BytesMut, value: Option<&Bytes>) {
    out.put_u8(u8::from(value.is_some()));
    if let Some(value) = value {
        put_len(out, value.len());
        out.put_slice(value);
    }
}

pub(super) fn take(bytes: &mut Bytes, len: usize) -> Option<Bytes> {
    (bytes.len() >= len).then(|| bytes.split_to(len))
}

pub(super) fn number(bytes: &mut Bytes) -> Option<u64> {
    Some(take(bytes, 8)?.get_u64_le())
}

pub(super) fn len(bytes: &mut Bytes) -> Option<usize> {
    usize::try_from(take(bytes, 4)?.get_u32_le()).ok()
}

fn stamp(bytes: &mut Bytes) -> Option<Stamp> {
    let mut stamp = take(bytes, 14)?;
    Some(Stamp {
        wall_ms: stamp.get_u64_le(),
        count: stamp.get_u32_le(),
        region: stamp.get_u16_le(),
    })
}

pub(super) fn value(bytes: &mut Bytes) -> Option<Option<Bytes>> {
    match take(bytes, 1)?[0] {
        0 => Some(None),
        1 => {
            let len = len(bytes)?;
            take(bytes, len).map(Some)
        }
        _ => None,
    }
}
