//! The scripts, and what they answer.

use std::time::Duration;

use bytes::Bytes;
use purlin_session_store::{Entry, ErrorKind, Lifetime, SessionKey, StoreError, Version};
use redis::{Script, Value};

use super::glance::Head;
use super::owned::Owned;

pub(super) struct Scripts {
    pub(super) load: Script,
    pub(super) create: Script,
    pub(super) commit: Script,
    pub(super) commit_plain: Script,
    pub(super) swap: Script,
    pub(super) delete: Script,
    pub(super) mark: Script,
    pub(super) prepare: Script,
    pub(super) flip: Script,
    pub(super) promote: Script,
    pub(super) discard: Script,
    pub(super) enlist: Script,
    pub(super) relist: Script,
    pub(super) list: Script,
    pub(super) forget: Script,
}

macro_rules! script {
    ($name:literal) => {
        Script::new(concat!(include_str!("prelude.lua"), include_str!($name)))
    };
}

macro_rules! list_script {
    ($name:literal) => {
        Script::new(concat!(include_str!("user.lua"), include_str!($name)))
    };
}

/// The text of [`Scripts::swap`].
pub(super) const SWAP: &str = include_str!("swap.lua");

impl Scripts {
    pub(super) fn new() -> Self {
        Scripts {
            load: script!("load.lua"),
            create: script!("create.lua"),
            commit: script!("commit.lua"),
            commit_plain: Script::new(concat!(
                include_str!("commit_plain.lua"),
                include_str!("prelude.lua"),
                include_str!("view.lua")
            )),
            swap: Script::new(SWAP),
            delete: script!("delete.lua"),
            mark: script!("mark.lua"),
            prepare: script!("prepare.lua"),
            flip: script!("flip.lua"),
            promote: script!("promote.lua"),
            discard: script!("discard.lua"),
            enlist: list_script!("enlist.lua"),
            relist: list_script!("relist.lua"),
            list: list_script!("list.lua"),
            forget: list_script!("forget.lua"),
        }
    }
}

/// What a script found, or did.
#[derive(Debug)]
pub(super) enum Reply {
    /// There is no such row, or a script had nothing to do.
    Nothing,
    Live {
        entry: Entry,
        owned: Option<Owned>,
        /// Whether the script moved the idle deadline.
        slid: bool,
        /// The server's milliseconds since the Unix epoch.
        now: u64,
    },
    /// Rotated away.
    Rotated {
        /// The session as it was. Its time is what is left of the grace.
        past: Entry,
        absolute: Option<Duration>,
        by: SessionKey,
    },
    Deleted,
    /// Prepared by a rotation from this key.
    Prepared(SessionKey),
    /// The script did what it is for.
    Done {
        /// The version after it.
        version: Version,
        /// What is left of the absolute time.
        absolute: Option<Duration>,
        /// Whose it was.
        owned: Option<Owned>,
        /// The server's milliseconds since the Unix epoch, if it told them.
        now: Option<u64>,
    },
    /// A commit was done by text, and this is the head of the row now, if it is told.
    Committed(Option<Head>),
    /// Not done: the key was listed for its owner too long ago.
    Stale,
}

impl Reply {
    pub(super) fn parse(value: Value) -> Result<Self, StoreError> {
        let parts = match value {
            Value::Array(parts) => parts,
            Value::Int(1) => return Ok(Reply::Committed(None)),
            Value::BulkString(head) => return Ok(Reply::Committed(Head::of(&head))),
            _ => return Err(StoreError::new(ErrorKind::Corrupt)),
        };
        let number = |idx: usize| match parts.get(idx) {
            Some(Value::Int(number)) => Ok(*number),
            _ => Err(StoreError::new(ErrorKind::Corrupt)),
        };
        let bytes = |idx: usize| match parts.get(idx) {
            Some(Value::BulkString(bytes)) => Ok(&bytes[..]),
            _ => Err(StoreError::new(ErrorKind::Corrupt)),
        };
        let version = || number(1).map(|number| Version(number.unsigned_abs()));
        let other =
            || SessionKey::from_bytes(bytes(5)?).ok_or_else(|| StoreError::new(ErrorKind::Corrupt));
        let owned = || Owned::parse(bytes(6)?).map_err(|()| StoreError::new(ErrorKind::Corrupt));
        let entry = |remaining| {
            let payload = Bytes::copy_from_slice(bytes(4)?);
            let user = owned()?.map(|owned| owned.user);
            Ok(Entry::new(version()?, payload, remaining).with_owner(user))
        };
        match number(0)? {
            0 => Ok(Reply::Nothing),
            1 => {
                let [idle, absolute] = [left(number(2)?), left(number(3)?)];
                let or_ever = |left: Option<Duration>| left.unwrap_or(Duration::MAX);
                Ok(Reply::Live {
                    entry: entry(Lifetime::new(or_ever(idle), or_ever(absolute)))?,
                    owned: owned()?,
                    slid: number(7)? == 1,
                    now: number(8)?.unsigned_abs(),
                })
            }
            2 => {
                let grace = left(number(2)?).unwrap_or(Duration::MAX);
                Ok(Reply::Rotated {
                    past: entry(Lifetime::new(grace, grace))?,
                    absolute: left(number(3)?),
                    by: other()?,
                })
            }
            3 => Ok(Reply::Deleted),
            4 => other().map(Reply::Prepared),
            5 => {
                let told = parts.len() > 6;
                Ok(Reply::Done {
                    version: version()?,
                    absolute: if told { left(number(3)?) } else { None },
                    owned: if told { owned()? } else { None },
                    now: number(8).ok().map(i64::unsigned_abs),
                })
            }
            6 => Ok(Reply::Stale),
            _ => Err(StoreError::new(ErrorKind::Corrupt)),
        }
    }
}

/// A number as commands take it.
pub(super) fn decimal(number: impl ToString) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// None is for ever.
fn left(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// A duration as the scripts take it: milliseconds, rounded up, and at most what a script takes for "never".
pub(super) fn millis(duration: Duration) -> u64 {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    u64::try_from(ms).unwrap_or(NEVER).min(NEVER)
}

/// What stands for "never" in a row: a time in the year 2286, the last of thirteen digits.
pub(super) const NEVER: u64 = 9_999_999_999_999;

/// What [`Reply::Done`] says of the absolute time, as `promote.lua` takes it.
pub(super) fn millis_or_never(left: Option<Duration>) -> i64 {
    left.map_or(-1, |left| i64::try_from(millis(left)).unwrap_or(-1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_and_end_at_never() {
        assert_eq!(millis(Duration::ZERO), 0);
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_secs(1)), 1000);
        assert_eq!(millis(Duration::MAX), 9_999_999_999_999);
    }

    #[test]
    fn what_no_script_answers_is_an_error() {
        for value in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(7)]),
            Value::Array(vec![Value::Int(1), Value::Int(1)]),
            Value::Array(vec![Value::Int(4)]),
        ] {
            let error = Reply::parse(value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }
}
