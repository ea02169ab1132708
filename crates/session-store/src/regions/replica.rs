//! One region's copy of a session.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use bytes::Bytes;
use purlin_core::{Retry, WallTime};

use super::time::{Seen, Stamp, Writer};

/// One region's copy of a session; see the [module](crate::regions) for how copies merge.
///
/// Keep its [`to_bytes`](Replica::to_bytes) as the payload of a session in the region's own store, whose commit makes
/// changes of one region follow each other. `Debug` shows no values.
///
/// ```
/// use std::time::Duration;
/// use purlin_core::WallTime;
/// use purlin_session_store::regions::{RegionId, Replica, Writer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let now = WallTime::from_unix_millis(1_000);
/// let [east, west] = [1, 2].map(|id| Writer { region: RegionId(id), now });
/// let hour = Duration::from_secs(3600);
///
/// let mut here = Replica::new(east, hour, 12 * hour);
/// here.set(east, "cart", "hammer")?;
/// let mut there = Replica::from_bytes(here.to_bytes())?;
///
/// // The line is cut. Here somebody shops on, there he logs out.
/// here.set(east, "cart", "hammer, saw")?;
/// there.end(west);
///
/// // The line is back.
/// here.merge(&there);
/// there.merge(&here);
/// assert_eq!(here, there);
/// assert!(!here.is_live(now));
/// assert!(here.set(east, "cart", "nails").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Replica {
    pub(super) seen: Seen,
    /// The latest write in sight, of whichever part.
    pub(super) latest: Stamp,
    pub(super) absolute: WallTime,
    /// The latest use, which may say more than the absolute deadline allows.
    pub(super) idle: WallTime,
    /// The first end. An ended replica has no fields and no privileges: what the user left is erased.
    pub(super) ended: Option<Stamp>,
    pub(super) fields: BTreeMap<Box<str>, Field>,
    pub(super) privileges: Privileges,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) at: Stamp,
    /// None after a removal, which must be remembered to win over what was written before it.
    pub(super) value: Option<Bytes>,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Privileges {
    pub(super) epoch: u64,
    pub(super) at: Stamp,
    pub(super) value: Option<Bytes>,
}

/// The most fields, with those that were removed.
const MAX_FIELDS: usize = 1024;

/// The longest name.
const MAX_NAME_LEN: usize = 255;

impl Replica {
    /// A session that begins here, and ends after `idle` without use, and after `absolute` in any case.
    pub fn new(by: Writer, idle: Duration, absolute: Duration) -> Self {
        let absolute = by.now.after(absolute);
        let mut replica = Replica {
            seen: Seen::default(),
            latest: Stamp::default(),
            absolute,
            idle: by.now.after(idle).min(absolute),
            ended: None,
            fields: BTreeMap::new(),
            privileges: Privileges::default(),
        };
        replica.changed(by);
        replica
    }

    /// Whether the session has neither ended nor reached a deadline, by the clock of whoever asks.
    pub fn is_live(&self, now: WallTime) -> bool {
        self.ended.is_none() && now < self.idle_until()
    }

    /// Whether the session was ended, here or elsewhere.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// When it ends for want of use: never after [`absolute_until`](Replica::absolute_until).
    pub fn idle_until(&self) -> WallTime {
        self.idle.min(self.absolute)
    }

    /// When it ends in any case.
    pub fn absolute_until(&self) -> WallTime {
        self.absolute
    }

    /// What this replica has heard of.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The value of a field.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.fields.get(name)?.value.as_ref()
    }

    /// The names of all fields, in ascending order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let present = self
            .fields
            .iter()
            .filter(|(_, field)| field.value.is_some());
        present.map(|(name, _)| &**name)
    }

    /// What the session may do, in the application's own words: who the user is, how and when they proved it. None before
    /// a login and after [`renounce`](Replica::renounce).
    pub fn privileges(&self) -> Option<&Bytes> {
        self.privileges.value.as_ref()
    }

    /// Sets a field.
    ///
    /// # Errors
    ///
    /// [`SetError`], with the value.
    pub fn set(&mut self, by: Writer, name: &str, value: impl Into<Bytes>) -> Result<(), SetError> {
        let value = value.into();
        if self.ended.is_some() {
            return Err(SetError::Ended { value });
        }
        if name.is_empty() || name.len() > MAX_NAME_LEN {
            let len = name.len();
            return Err(SetError::Name { len, value });
        }
        if self.fields.len() >= MAX_FIELDS && !self.fields.contains_key(name) {
            return Err(SetError::TooMany { value });
        }
        self.write(by, name, Some(value));
        Ok(())
    }

    /// Removes a field. Whether there was one.
    ///
    /// # Errors
    ///
    /// [`EndedError`] if the session has ended.
    pub fn remove(&mut self, by: Writer, name: &str) -> Result<bool, EndedError> {
        self.going_on()?;
        let present = self.get(name).is_some();
        if present {
            self.write(by, name, None);
        }
        Ok(present)
    }

    /// Counts a use: moves the idle deadline out to `idle` from now, where that gains at least a twentieth of it.
    ///
    /// # Errors
    ///
    /// [`EndedError`] if the session has ended, or is past a deadline by this region's clock.
    pub fn slide(&mut self, by: Writer, idle: Duration) -> Result<(), EndedError> {
        if !self.is_live(by.now) {
            return Err(EndedError);
        }
        let target = by.now.after(idle).min(self.absolute);
        if target > self.idle && target.since(self.idle) >= idle / 20 {
            self.idle = target;
            self.changed(by);
        }
        Ok(())
    }

    /// Moves the absolute deadline in. One that is later than the present one changes nothing.
    pub fn limit(&mut self, by: Writer, absolute: WallTime) {
        if absolute < self.absolute {
            self.absolute = absolute;
            self.changed(by);
        }
    }

    /// Gives the session privileges, in place of those it has: a login, a step up. Give it a new id as well.
    ///
    /// # Errors
    ///
    /// [`EndedError`] if the session has ended.
    pub fn grant(&mut self, by: Writer, value: impl Into<Bytes>) -> Result<(), EndedError> {
        self.going_on()?;
        self.set_privileges(by, Some(value.into()));
        Ok(())
    }

    /// Takes the session's privileges away, also those that another region grants at the same moment.
    ///
    /// # Errors
    ///
    /// [`EndedError`] if the session has ended, and so has none.
    pub fn renounce(&mut self, by: Writer) -> Result<(), EndedError> {
        self.going_on()?;
        self.set_privileges(by, None);
        Ok(())
    }

    /// Ends the session, everywhere and for ever. Its fields and privileges are erased.
    pub fn end(&mut self, by: Writer) {
        if self.ended.is_none() {
            let at = self.changed(by);
            self.ended = Some(at);
            self.erase();
        }
    }

    /// Takes over what another replica of the same session has heard of. Whether anything was new.
    pub fn merge(&mut self, other: &Replica) -> bool {
        let before = self.clone();
        self.seen.merge(&other.seen);
        self.latest = self.latest.max(other.latest);
        self.absolute = self.absolute.min(other.absolute);
        self.idle = self.idle.max(other.idle);
        self.ended = match (self.ended, other.ended) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        if self.ended.is_some() {
            self.erase();
        } else {
            for (name, theirs) in &other.fields {
                match self.fields.get_mut(name) {
                    Some(mine) if mine.at >= theirs.at => {}
                    Some(mine) => *mine = theirs.clone(),
                    None => {
                        self.fields.insert(name.clone(), theirs.clone());
                    }
                }
            }
            if other.privileges.rank() > self.privileges.rank() {
                self.privileges = other.privileges.clone();
            }
        }
        *self != before
    }

    /// The same as [`limit`](Replica::limit), where it was not this region that said so.
    pub(super) fn confine(&mut self, absolute: Option<WallTime>) {
        self.absolute = absolute.map_or(self.absolute, |absolute| self.absolute.min(absolute));
    }

    fn going_on(&self) -> Result<(), EndedError> {
        match self.ended {
            Some(_) => Err(EndedError),
            None => Ok(()),
        }
    }

    fn write(&mut self, by: Writer, name: &str, value: Option<Bytes>) {
        let at = self.changed(by);
        self.fields.insert(name.into(), Field { at, value });
    }

    fn set_privileges(&mut self, by: Writer, value: Option<Bytes>) {
        let at = self.changed(by);
        let epoch = self.privileges.epoch.saturating_add(1);
        self.privileges = Privileges { epoch, at, value };
    }

    /// Counts a change of this region, and says when it was.
    fn changed(&mut self, by: Writer) -> Stamp {
        self.seen.count(by.region);
        self.latest = Stamp::next(self.latest, by);
        self.latest
    }

    fn erase(&mut self) {
        self.fields.clear();
        self.privileges = Privileges::default();
    }
}

impl Privileges {
    /// The higher wins.
    fn rank(&self) -> (u64, bool, Stamp) {
        (self.epoch, self.value.is_none(), self.at)
    }
}

/// Shows names, and no values.
impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("seen", &self.seen)
            .field("ended", &self.ended.is_some())
            .field("idle_until", &self.idle_until())
            .field("absolute_until", &self.absolute)
            .field("names", &self.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The session has ended, and is not changed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
#[non_exhaustive]
pub struct EndedError;

impl EndedError {
    /// Never: it does not come back.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// Why a field was not set. The value is given back.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// The session has ended.
    #[error("the session has ended")]
    Ended {
        /// What was to be set.
        value: Bytes,
    },
    /// The name is empty, or longer than 255 bytes.
    #[error("a field's name has 1 to 255 bytes, not {len}")]
    Name {
        /// The length of the name refused.
        len: usize,
        /// What was to be set.
        value: Bytes,
    },
    /// There are 1024 fields already, with those that were removed.
    #[error("the session has too many fields")]
    TooMany {
        /// What was to be set.
        value: Bytes,
    },
}

impl SetError {
    /// Never: the same call fails in the same way.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }

    /// The value that was not set.
    pub fn into_value(self) -> Bytes {
        match self {
            SetError::Ended { value }
            | SetError::Name { value, .. }
            | SetError::TooMany { value } => value,
        }
    }
}

/// Shows no value.
impl fmt::Debug for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::Ended { .. } => "Ended",
            SetError::Name { .. } => "Name",
            SetError::TooMany { .. } => "TooMany",
        })
    }
}
