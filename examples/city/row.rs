//! What the database holds: counters, each under a key, and the ledger of what has been counted.

use std::fmt;

use purlin_core::PlacementKey;

/// The key of a row: a user's (how many orders he has placed) or a product's (how many were sold).
///
/// Its bytes decide its shard, so they are part of the data: a letter for the kind, then the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; Key::LEN]);

impl Key {
    /// Bytes of a key.
    pub const LEN: usize = 5;

    /// The row of a user.
    pub const fn user(number: u32) -> Self {
        Key::new(b'u', number)
    }

    /// The row of a product.
    pub const fn product(number: u32) -> Self {
        Key::new(b'p', number)
    }

    const fn new(kind: u8, number: u32) -> Self {
        let [a, b, c, d] = number.to_le_bytes();
        Key([kind, a, b, c, d])
    }

    /// The key with these bytes, which may have come from anywhere.
    pub const fn from_bytes(bytes: [u8; Key::LEN]) -> Self {
        Key(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; Key::LEN] {
        &self.0
    }

    /// Whether this is a user's row.
    pub const fn is_user(&self) -> bool {
        self.0[0] == b'u'
    }
}

impl PlacementKey for Key {
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [kind, number @ ..] = self.0;
        let number = u32::from_le_bytes(number);
        match kind {
            b'u' => write!(f, "user {number}"),
            b'p' => write!(f, "product {number}"),
            kind => write!(f, "kind {kind} {number}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A row's content. A key that was never written reads as the default, zero at version zero: users and
/// products need not be announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The count.
    pub value: u64,
    /// The position in the shard's log of the change that made it so.
    pub version: u64,
}

/// A change: count one more under `key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The row.
    pub key: Key,
    /// The request that caused it. The ledger remembers `(cause, key)`, and a change that it remembers is
    /// answered with the row as it was then and counted no more: doing it twice is doing it once.
    pub cause: u64,
    /// Whether the ledger is asked. Always, but for sabotage.
    pub once: bool,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The row after the change's first time.
    pub row: Row,
    /// Whether this was another time.
    pub repeated: bool,
}

/// A committed change as it stands in a shard's log, for its replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it was committed: nanoseconds on the clock of the process.
    pub tick: u64,
    /// The change.
    pub change: Change,
    /// The row after it; its version is the record's position.
    pub row: Row,
}
