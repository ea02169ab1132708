//! The form in which a session's fields are stored.
//!
//! ```text
//! +--------+--------+----------+------+-----------+-------+----------+--
//! | format | schema | name len | name | value len | value | name len | ...
//! | u8 = 1 | u8     | u8 >= 1  | UTF-8| u32 LE    |       |
//! +--------+--------+----------+------+-----------+-------+----------+--
//! ```
//! Names ascend bytewise, so each occurs once and equal sessions have equal bytes. The schema number is the
//! application's own. Values are opaque, so fields that this program does not know survive its writes.

use core::cmp::Ordering;
use core::fmt;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use purlin_core::Retry;

/// The stored fields of a session: a view of shared bytes, which were checked once and are searched where
/// they lie.
#[derive(Clone, Default)]
pub(crate) struct Fields {
    /// Empty for no fields at all, otherwise of the form above.
    payload: Bytes,
}

/// What was done to the fields since they were read. Each change is absolute, so changes can be put on top of
/// other fields than those they were made on: field by field, the later writer wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Whether all that was there went first.
    cleared: bool,
    /// New values by name; none for a field that was removed.
    fields: BTreeMap<Box<str>, Option<Bytes>>,
}

/// The format byte.
const FORMAT: u8 = 1;
const HEADER_LEN: usize = 2;
/// The bytes of a field beside its name and value.
const FIELD_OVERHEAD: usize = 1 + 4;
/// What the names begin with that are this crate's own. The application can neither set nor see such fields.
pub(crate) const RESERVED: char = '\0';
/// Who is logged in. It stays when all fields are cleared.
pub(crate) const AUTH: &str = "\0auth";
/// The epoch in which the session began. It stays when all fields are cleared.
pub(crate) const EPOCH: &str = "\0epoch";
/// What the names of flash values begin with.
pub(crate) const FLASH: &str = "\0flash:";

/// The longest name of a field, in bytes.
pub(crate) const MAX_NAME_LEN: usize = 255;

/// A stored session cannot be read. It is still in the store as it was: nothing is written over what could
/// not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// Something else than this crate wrote it, or it was damaged.
    #[error("the stored session is corrupt")]
    Corrupt,
    /// A newer version of this crate wrote it.
    #[error("the stored session has format {format}, which a newer version wrote")]
    Newer {
        /// The format found.
        format: u8,
    },
}

impl PayloadError {
    /// Never: the bytes stay what they are.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl Fields {
    /// Checks a stored payload. Costs one pass over the names, a few nanoseconds each; values are not looked at.
    pub(crate) fn decode(payload: Bytes) -> Result<Self, PayloadError> {
        match payload.first() {
            None => return Err(PayloadError::Corrupt),
            Some(&FORMAT) => {}
            Some(&format) if format > FORMAT => return Err(PayloadError::Newer { format }),
            Some(_) => return Err(PayloadError::Corrupt),
        }
        let mut rest = payload.get(HEADER_LEN..).ok_or(PayloadError::Corrupt)?;
        let mut previous: &[u8] = b"";
        while !rest.is_empty() {
            let (name, _, after) = split_field(rest).ok_or(PayloadError::Corrupt)?;
            if order(name, previous).is_le() || !is_text(name) {
                return Err(PayloadError::Corrupt);
            }
            (previous, rest) = (name, after);
        }
        Ok(Fields { payload })
    }

    /// The application's schema number; 0 for no fields at all.
    pub(crate) fn schema(&self) -> u8 {
        self.payload.get(1).copied().unwrap_or(0)
    }

    /// The names and values, in ascending order of name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name that is no text was refused when the payload was decoded.
        self.raw_iter()
            .map_while(|(name, value)| Some((core::str::from_utf8(name).ok()?, value)))
    }

    fn raw_iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.payload.get(HEADER_LEN..).unwrap_or_default();
        core::iter::from_fn(move || {
            let (name, value, after) = split_field(rest)?;
            rest = after;
            Some((name, value))
        })
    }

    /// The value of a field, sharing the payload's memory.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        Some(self.payload.slice_ref(self.get_here(name)?))
    }

    /// The value of a field, where it lies.
    pub(crate) fn get_here(&self, name: &str) -> Option<&[u8]> {
        // Names ascend, so the search ends where the name would be.
        let name = name.as_bytes();
        for (present, value) in self.raw_iter() {
            match order(present, name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => break,
            }
        }
        None
    }

    /// How many fields of the application's there are.
    pub(crate) fn count(&self) -> usize {
        self.raw_iter()
            .filter(|(name, _)| name.first() != Some(&(RESERVED as u8)))
            .count()
    }

    /// The fields with changes made to them. An error holds the length that went beyond the limit.
    pub(crate) fn with_changes(
        &self,
        changes: &Changes,
        schema: u8,
        limit: usize,
    ) -> Result<Self, usize> {
        let len = self.merged(changes).fold(HEADER_LEN, |len, (name, value)| {
            len.saturating_add(FIELD_OVERHEAD + name.len())
                .saturating_add(value.len())
        });
        // The second half holds the format's own limit on a value.
        if len > limit || len > u32::MAX as usize {
            return Err(len);
        }
        let mut payload = BytesMut::with_capacity(len);
        payload.put_u8(FORMAT);
        payload.put_u8(schema);
        for (name, value) in self.merged(changes) {
            // Neither cast cuts: `Changes` holds no longer name, and `len` no longer value.
            payload.put_u8(name.len() as u8);
            payload.put_slice(name);
            payload.put_u32_le(value.len() as u32);
            payload.put_slice(value);
        }
        Ok(Fields {
            payload: payload.freeze(),
        })
    }

    /// The fields with changes made to them, in ascending order of name.
    fn merged<'a>(&'a self, changes: &'a Changes) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let stays =
            |name: &[u8]| !changes.cleared || name == AUTH.as_bytes() || name == EPOCH.as_bytes();
        let mut present = self
            .raw_iter()
            .filter(move |(name, _)| stays(name))
            .peekable();
        let mut changed = changes.fields.iter().peekable();
        core::iter::from_fn(move || {
            loop {
                let Some(&(name, value)) = changed.peek() else {
                    return present.next();
                };
                let name = name.as_bytes();
                match present.peek() {
                    Some((before, _)) if order(before, name).is_lt() => return present.next(),
                    Some((same, _)) if *same == name => drop(present.next()),
                    Some(_) | None => {}
                }
                let value = value.as_deref();
                changed.next();
                if let Some(value) = value {
                    return Some((name, value));
                }
            }
        })
    }

    /// The stored form.
    pub(crate) fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The value of a field with changes on top.
    pub(crate) fn get_changed(&self, changes: &Changes, name: &str) -> Option<Bytes> {
        match changes.fields.get(name) {
            Some(value) => value.clone(),
            None if changes.cleared => None,
            None => self.get(name),
        }
    }

    /// The same, where it lies.
    #[cfg(feature = "json")]
    pub(crate) fn get_changed_here<'a>(
        &'a self,
        changes: &'a Changes,
        name: &str,
    ) -> Option<&'a [u8]> {
        match changes.fields.get(name) {
            Some(value) => value.as_deref(),
            None if changes.cleared => None,
            None => self.get_here(name),
        }
    }

    /// The names with changes on top, in ascending order.
    pub(crate) fn names_changed<'a>(
        &'a self,
        changes: &'a Changes,
    ) -> impl Iterator<Item = &'a str> {
        self.merged(changes)
            .filter_map(|(name, _)| core::str::from_utf8(name).ok())
            .filter(|name| !name.starts_with(RESERVED))
    }
}

impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(name, _)| name))
            .finish()
    }
}

/// The name and value of the first field, and what follows it.
#[inline]
fn split_field(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (&name_len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(name_len))?;
    let (value_len, rest) = rest.split_first_chunk()?;
    let (value, rest) = rest.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    Some((name, value, rest))
}

/// How two names stand to each other. They are short and differ early, so this ends before a call would have begun.
#[inline]
fn order(one: &[u8], other: &[u8]) -> Ordering {
    for (a, b) in one.iter().zip(other) {
        if a != b {
            return a.cmp(b);
        }
    }
    one.len().cmp(&other.len())
}

/// Nearly all names are ASCII, which is known sooner.
fn is_text(name: &[u8]) -> bool {
    name.is_ascii() || core::str::from_utf8(name).is_ok()
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        !self.cleared && self.fields.is_empty()
    }

    /// Whether this field has a change of its own, or lost its value with all others.
    pub(crate) fn covers(&self, name: &str) -> bool {
        self.cleared || self.fields.contains_key(name)
    }

    /// The caller has checked the name.
    pub(crate) fn set(&mut self, name: &str, value: Option<Bytes>) {
        self.fields.insert(name.into(), value);
    }

    /// Takes back the change of one field. One that was cleared with all others stays so.
    pub(crate) fn forget(&mut self, name: &str) {
        self.fields.remove(name);
    }

    /// The names of the fields that are changed, if these were there before.
    pub(crate) fn changed_names(&self, base: &Fields) -> Vec<Box<str>> {
        let mut names: Vec<Box<str>> = self.fields.keys().cloned().collect();
        if self.cleared {
            let lost = base.iter().map(|(name, _)| name);
            names.extend(
                lost.filter(|name| !name.starts_with(RESERVED))
                    .map(Box::from),
            );
            names.sort_unstable();
            names.dedup();
        }
        names
    }

    pub(crate) fn clear(&mut self) {
        self.cleared = true;
        self.fields.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(sets: &[(&str, &'static str)]) -> Changes {
        let mut changes = Changes::default();
        for (name, value) in sets {
            changes.set(name, Some(Bytes::from_static(value.as_bytes())));
        }
        changes
    }

    fn fields(sets: &[(&str, &'static str)]) -> Fields {
        Fields::default()
            .with_changes(&changes(sets), 3, usize::MAX)
            .unwrap()
    }

    /// What stands in a store today must be readable by every later version.
    #[test]
    fn the_stored_form_stays_what_it_is() {
        let stored = fields(&[("b", "two"), ("a", "")]);
        assert_eq!(
            stored.payload(),
            &b"\x01\x03\x01a\x00\x00\x00\x00\x01b\x03\x00\x00\x00two"[..]
        );
        let read = Fields::decode(stored.payload().clone()).unwrap();
        assert_eq!(read.schema(), 3);
        assert_eq!(read.get("b").unwrap(), "two");
        assert_eq!(read.get("a").unwrap(), "");
        assert_eq!(read.get("c"), None);
    }

    #[test]
    fn every_cut_and_every_flipped_length_is_read_without_a_panic() {
        let stored = fields(&[("alpha", "1"), ("beta", "22"), ("gamma", "333")])
            .payload()
            .clone();
        for len in 0..stored.len() {
            if let Ok(read) = Fields::decode(stored.slice(..len)) {
                // A cut between two fields leaves a shorter session, which the store's own framing rules out.
                assert!(read.iter().count() < 3);
            }
        }
        for (i, bit) in (0..stored.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
            let mut damaged = stored.to_vec();
            damaged[i] ^= 1 << bit;
            if let Ok(read) = Fields::decode(damaged.into()) {
                read.iter().for_each(drop);
            }
        }
    }

    #[test]
    fn what_is_not_a_session_is_said_to_be_corrupt_or_newer() {
        let decode = |bytes: &'static [u8]| Fields::decode(Bytes::from_static(bytes)).map(drop);
        assert_eq!(decode(b""), Err(PayloadError::Corrupt));
        assert_eq!(decode(b"\x00\x00"), Err(PayloadError::Corrupt));
        assert_eq!(decode(b"\x01"), Err(PayloadError::Corrupt));
        assert_eq!(
            decode(b"\x02anything"),
            Err(PayloadError::Newer { format: 2 })
        );
        assert_eq!(
            decode(b"\x01\x00\x00\x00\x00\x00\x00"),
            Err(PayloadError::Corrupt),
            "an empty name"
        );
        let twice = b"\x01\x00\x01a\x00\x00\x00\x00\x01a\x00\x00\x00\x00";
        assert_eq!(decode(twice), Err(PayloadError::Corrupt), "a name twice");
        assert_eq!(
            decode(b"\x01\x00\x01\xff\x00\x00\x00\x00"),
            Err(PayloadError::Corrupt),
            "not UTF-8"
        );
    }

    #[test]
    fn changes_go_on_top_of_whatever_is_there() {
        let mut changes = changes(&[("a", "new"), ("c", "added")]);
        changes.set("b", None);
        let base = fields(&[("a", "old"), ("b", "old"), ("z", "unknown")]);
        let merged = base.with_changes(&changes, 3, usize::MAX).unwrap();
        assert_eq!(
            merged.payload(),
            fields(&[("a", "new"), ("c", "added"), ("z", "unknown")]).payload()
        );

        changes.clear();
        changes.set("d", Some(Bytes::from_static(b"only")));
        let merged = base.with_changes(&changes, 3, usize::MAX).unwrap();
        assert_eq!(merged.payload(), fields(&[("d", "only")]).payload());
    }

    #[test]
    fn the_limit_is_exact() {
        let changes = changes(&[("a", "1234")]);
        let len = HEADER_LEN + FIELD_OVERHEAD + 1 + 4;
        assert!(Fields::default().with_changes(&changes, 0, len).is_ok());
        assert_eq!(
            Fields::default()
                .with_changes(&changes, 0, len - 1)
                .map(drop),
            Err(len)
        );
    }
}
