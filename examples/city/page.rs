//! What an app node answers, as JSON: enough of it for a client to see what it got and from whom.

use serde::{Deserialize, Serialize};

use crate::row::{Key, Row};
use crate::wire::Stamp;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// The app node that answered, by index.
    pub node: usize,
    /// The visitor's session as it was committed or loaded; `None` for a guest.
    pub session: Option<SessionView>,
    /// The rows that were read or changed for this answer.
    pub rows: Vec<RowView>,
}

/// A session, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionView {
    /// A number of the session's own. Not its id, which is a secret.
    pub label: u64,
    /// Whose it is.
    pub user: u32,
    /// The requests that have written to it, each once.
    pub writes: Vec<u64>,
    /// The products in the cart.
    pub cart: Vec<u32>,
}

/// A row as it was shown, with what was asked for and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowView {
    /// The key's bytes.
    pub key: [u8; Key::LEN],
    /// The count.
    pub value: u64,
    /// The row's version.
    pub version: u64,
    /// The shard that says it read the row.
    pub shard: u32,
    /// The copy of it.
    pub copy: u32,
    /// What was asked for.
    pub asked: Asked,
}

impl RowView {
    /// A row that a copy gave.
    pub fn new(key: Key, row: Row, from: Stamp, asked: Asked) -> Self {
        RowView {
            key: *key.as_bytes(),
            value: row.value,
            version: row.version,
            shard: from.shard,
            copy: from.copy,
            asked,
        }
    }
}

/// How fresh a row was asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_enums, reason = "the ways in which the city asks")]
pub enum Asked {
    /// To hold every change up to this position of its shard's log.
    Position(u64),
    /// To hold every change that was committed so many milliseconds ago; 0 for the present.
    AgeMs(u64),
    /// It was not read but changed.
    Change,
}
