//! Commits that are made at the same moment, compared and put in place by one script.
//!
//! Nearly all that a script costs the server is its call and its longest argument, which is handed in and handed on. So
//! the row that a commit is to write goes to the server by a plain `SET`, under a name that nobody else knows; and one
//! script for all commits of a message compares the heads of the rows that are there, and renames. The script is the
//! one step in which it happens: until then nothing has, and a row whose script does not come ends when its session would
//! have. A name is used once, so that what an earlier message left on its way can never be renamed by a later one.
//!
//! The row that is to be has in it what only the one that is there says: the absolute deadline, and whose it is. That is
//! remembered from when it was read ([`heads`](super::heads)); and the script compares the whole head, so a memory that
//! is out of date refuses a commit, which then goes by the script that can tell everything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use purlin_session_store::SessionId;
use redis::{Cmd, Pipeline, Value};

use super::glance::{Head, digits};
use super::hot::{WORDS, evalsha};
use super::scripts::{SWAP, Scripts};

/// One commit, by a head that is remembered.
#[derive(Debug)]
pub(super) struct Swap {
    name: Vec<u8>,
    /// The head of the row that must be there.
    head: Vec<u8>,
    /// What is to be there.
    row: Vec<u8>,
    till: String,
    /// The latest that the time can be.
    latest: String,
}

impl Swap {
    pub(super) fn new(
        name: Vec<u8>,
        before: &Head,
        after: &Head,
        payload: &[u8],
        latest: String,
    ) -> Self {
        let mut row = Vec::with_capacity(Head::MOST + payload.len());
        after.write(&mut row);
        row.extend_from_slice(payload);
        let mut head = Vec::with_capacity(Head::MOST);
        before.write(&mut head);
        Swap {
            name,
            head,
            row,
            till: digits(after.till),
            latest,
        }
    }

    /// By itself it is cheaper with its payload in the script's arguments than by a row of its own.
    pub(super) fn alone(&self, scripts: &Scripts) -> Cmd {
        let args = [
            &self.head[1..9],
            &self.row[1..9],
            self.till.as_bytes(),
            &self.row[self.head.len()..],
            self.latest.as_bytes(),
        ];
        evalsha(&scripts.commit_plain, &self.name, &args)
    }
}

/// What swaps of one store have in common.
pub(super) struct Swaps {
    scripts: Arc<Scripts>,
    /// What the names of rows that are to be begin with. None if there is no entropy, and thus no such names.
    names: Option<Vec<u8>>,
    next_name: AtomicU64,
    is_refused: AtomicBool,
}

impl Swaps {
    pub(super) fn new(scripts: Arc<Scripts>, prefix: &[u8]) -> Self {
        // Not of the length of a session's, which is what those go by who are told of changes.
        let names = SessionId::random().ok().map(|random| {
            let random = &random.secret_bytes()[..12];
            [prefix, b"new:", random].concat()
        });
        Swaps {
            scripts,
            names,
            next_name: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Whether there is any use in asking for a swap.
    pub(super) fn may_do(&self) -> bool {
        self.names.is_some() && !self.is_refused.load(Ordering::Relaxed)
    }

    pub(super) fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    fn new_name(&self) -> Vec<u8> {
        let number = self.next_name.fetch_add(1, Ordering::Relaxed);
        let names = self.names.as_deref().unwrap_or_default();
        [names, &number.to_be_bytes()].concat()
    }

    /// All of a message: the commands, of which the script is the last.
    pub(super) fn together(&self, swaps: Vec<Swap>) -> Together {
        let mut together = Together {
            sets: Vec::with_capacity(swaps.len()),
            names: Vec::with_capacity(2 * swaps.len()),
            heads: Vec::with_capacity(swaps.len()),
        };
        for swap in swaps {
            let new = self.new_name();
            together.sets.push(set(&new, &swap.row, &swap.till));
            together.names.push(swap.name);
            together.names.push(new);
            together.heads.push(swap.head);
        }
        together
    }

    /// Of each commit, what the script's answer says of it: 1 if it is done, nil if it is not, or that nobody knows.
    pub(super) fn outcomes(&self, n: usize, answer: &Value) -> Vec<Value> {
        let refused = match answer {
            Value::Int(refused) => *refused,
            // Keys on several servers, or a command that this user may not use: the script was not run, and never will.
            Value::ServerError(error) if matches!(error.code(), "CROSSSLOT" | "NOPERM") => {
                FORBIDDEN | ALL
            }
            Value::ServerError(error) if error.code() == "NOSCRIPT" => ALL,
            Value::ServerError(_) => return vec![answer.clone(); n],
            // Nobody can say, and no caller takes this for an answer.
            _ => return vec![Value::Okay; n],
        };
        if refused & FORBIDDEN != 0 {
            self.is_refused.store(true, Ordering::Relaxed);
        }
        let outcome = |i| match refused >> i & 1 {
            0 => Value::Int(1),
            _ => Value::Nil,
        };
        (0..n).map(outcome).collect()
    }
}

/// Of what the script answers: the server does not let rows be renamed.
const FORBIDDEN: i64 = 1 << 30;
/// Of what the script answers: no commit was done.
const ALL: i64 = FORBIDDEN - 1;

/// The commits of one message.
pub(super) struct Together {
    pub(super) sets: Vec<Cmd>,
    /// Of each commit, the session's and the new row's.
    names: Vec<Vec<u8>>,
    heads: Vec<Vec<u8>>,
}

impl Together {
    pub(super) fn len(&self) -> usize {
        self.heads.len()
    }

    /// The step in which they happen.
    pub(super) fn script(&self, scripts: &Scripts) -> Cmd {
        self.call("EVALSHA", scripts.swap.get_hash())
    }

    /// The same for a server that has to be given the script, which it keeps.
    pub(super) fn script_in_full(&self) -> Cmd {
        self.call("EVAL", SWAP)
    }

    fn call(&self, command: &str, script: &str) -> Cmd {
        let words = self.names.iter().chain(&self.heads);
        let len = words.map(Vec::len).sum::<usize>() + script.len();
        let mut call = Cmd::with_capacity(3 + 3 * self.heads.len(), WORDS + len);
        call.arg(command).arg(script).arg(self.names.len());
        call.arg(&self.names).arg(&self.heads);
        call
    }

    /// Removes the new rows, where the script could not be run.
    pub(super) fn withdrawal(&self) -> Pipeline {
        let mut withdrawal = Pipeline::with_capacity(self.heads.len());
        for new in self.names.iter().skip(1).step_by(2) {
            withdrawal.cmd("DEL").arg(new);
        }
        withdrawal
    }
}

/// Puts a row under a name that nobody has, until the end of its session.
fn set(name: &[u8], row: &[u8], till: &str) -> Cmd {
    let mut set = Cmd::with_capacity(5, WORDS + name.len() + row.len());
    set.arg("SET").arg(name).arg(row).arg("PXAT").arg(till);
    set
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    fn swaps() -> Swaps {
        Swaps::new(Arc::new(Scripts::new()), b"p:")
    }

    fn error(line: &str) -> Value {
        parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn what_the_script_refused_is_told_apart_from_what_it_did() {
        let swaps = swaps();
        let outcomes = swaps.outcomes(4, &Value::Int(0b0101));
        assert_eq!(
            outcomes,
            [Value::Nil, Value::Int(1), Value::Nil, Value::Int(1)]
        );
        assert!(swaps.may_do());
        // Those before it was found out have happened.
        let outcomes = swaps.outcomes(2, &Value::Int(0b10 | FORBIDDEN));
        assert_eq!(outcomes, [Value::Int(1), Value::Nil]);
        assert!(!swaps.may_do());
    }

    /// Nothing was done only if the script was certainly not run; otherwise nobody may try again as if it were so.
    #[test]
    fn a_failure_is_told_unless_the_script_was_not_run() {
        for line in [
            "CROSSSLOT Keys in request",
            "NOPERM this user",
            "NOSCRIPT No",
        ] {
            let swaps = swaps();
            assert_eq!(swaps.outcomes(2, &error(line)), [Value::Nil, Value::Nil]);
            assert_eq!(swaps.may_do(), line.starts_with("NOSCRIPT"), "{line}");
        }
        for line in ["OOM command", "BUSY Redis is", "ERR Error running script"] {
            let swaps = swaps();
            assert_eq!(swaps.outcomes(2, &error(line)), [error(line), error(line)]);
            assert!(swaps.may_do());
        }
        let strange = swaps().outcomes(1, &Value::Nil);
        assert_eq!(
            strange,
            [Value::Okay],
            "which no caller takes for an answer"
        );
    }

    #[test]
    fn no_name_is_used_twice_and_none_is_a_sessions() {
        let names = [swaps(), swaps()].map(|swaps| [swaps.new_name(), swaps.new_name()]);
        let names = names.concat();
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name));
            assert!(name.starts_with(b"p:new:") && name.len() == 26);
        }
    }
}
