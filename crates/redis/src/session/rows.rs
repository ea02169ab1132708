//! Rows that are loaded at the same moment, fetched by one command.
//!
//! A `GET` costs the server and the process more to take note of than to answer. `MGET` answers for all loads of a
//! message. It says nil of a key that is not there, and nil of one that holds something else, where `GET` fails; no failure
//! may be taken for a session that has ended, so who is told [`NIL_OR_OTHER`] asks by `GET`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use purlin_session_store::SessionKey;
use redis::{Cmd, Value};

use super::hot::WORDS;
use super::words::Joined;

/// There is no row, or what is there is none. No command of a session answers so.
pub(super) const NIL_OR_OTHER: Value = Value::Boolean(false);

/// How rows are fetched.
pub(super) struct Rows {
    prefix: Vec<u8>,
    /// Whether this server lets them be fetched together.
    is_refused: AtomicBool,
}

impl Rows {
    pub(super) fn new(prefix: &[u8]) -> Self {
        Rows {
            prefix: prefix.to_vec(),
            is_refused: AtomicBool::new(false),
        }
    }

    pub(super) fn may_go_together(&self) -> bool {
        // Relaxed: both ways are right.
        !self.is_refused.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &SessionKey) -> Cmd {
        let name = self.word_of(key);
        let mut get = Cmd::with_capacity(2, WORDS + name.len());
        get.arg("GET").arg(name);
        get
    }

    /// Moves a key's end out to a time, never in.
    pub(super) fn move_end(&self, key: &SessionKey, end: u64) -> Cmd {
        let name = self.word_of(key);
        let mut command = Cmd::with_capacity(4, WORDS + name.len());
        command.arg("PEXPIREAT").arg(name).arg(end).arg("GT");
        command
    }

    pub(super) fn get_all(&self, keys: &[SessionKey]) -> Cmd {
        let len = keys.len() * (self.prefix.len() + SessionKey::LEN);
        let mut get = Cmd::with_capacity(1 + keys.len(), WORDS + len);
        get.arg("MGET");
        for key in keys {
            get.arg(self.word_of(key));
        }
        get
    }

    /// Of each key, what the answer to [`get_all`](Self::get_all) says of it. None if it was not done, and never will be.
    pub(super) fn answers(&self, n: usize, answer: Value) -> Option<Vec<Value>> {
        let told = |row| match row {
            Value::Nil => NIL_OR_OTHER,
            row => row,
        };
        match answer {
            Value::Array(rows) if rows.len() == n => Some(rows.into_iter().map(told).collect()),
            // Keys on several servers, or a command that is unknown here or that this user may not use.
            Value::ServerError(error) if matches!(error.code(), "CROSSSLOT" | "ERR" | "NOPERM") => {
                self.is_refused.store(true, Ordering::Relaxed);
                None
            }
            error @ Value::ServerError(_) => Some(vec![error; n]),
            // No caller takes this for an answer.
            _ => Some(vec![Value::Okay; n]),
        }
    }

    /// A session's name in the server.
    fn word_of<'a>(&'a self, key: &'a SessionKey) -> Joined<'a, 2> {
        Joined([&self.prefix, key.as_bytes()])
    }
}

impl fmt::Debug for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rows").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    #[test]
    fn an_answer_is_told_from_a_failure_and_nil_from_either() {
        let rows = Rows::new(b"p:");
        let row = Value::BulkString(b"row".to_vec());
        let answer = Value::Array(vec![row.clone(), Value::Nil]);
        assert_eq!(
            rows.answers(2, answer.clone()),
            Some(vec![row, NIL_OR_OTHER])
        );
        // One too few, and nobody knows whose is missing.
        assert_eq!(rows.answers(3, answer), Some(vec![Value::Okay; 3]));
        assert_eq!(rows.answers(2, Value::Nil), Some(vec![Value::Okay; 2]));
        let error = |line: &str| parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        for line in ["LOADING data", "MASTERDOWN Link", "BUSY Redis is"] {
            assert_eq!(rows.answers(2, error(line)), Some(vec![error(line); 2]));
            assert!(rows.may_go_together());
        }
        for line in [
            "NOPERM this user",
            "CROSSSLOT Keys in",
            "ERR unknown command",
        ] {
            let rows = Rows::new(b"p:");
            assert_eq!(rows.answers(2, error(line)), None);
            assert!(!rows.may_go_together());
        }
    }
}
