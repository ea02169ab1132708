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

use bytes::Bytes;
use purlin_session_store::{SessionId, SessionKey};
use redis::{Cmd, Pipeline, Value};

use super::glance::{Head, digits};
use super::hot::{WORDS, evalsha};
use super::scripts::{SWAP, Scripts};
use super::words::Joined;

/// One commit, by a head that is remembered.
#[derive(Debug)]
pub(super) struct Swap {
    pub(super) key: SessionKey,
    /// The head of the row that must be there.
    pub(super) before: Head,
    /// That of the one that is to be there, and what follows it.
    pub(super) after: Head,
    pub(super) payload: Bytes,
    /// The latest that the time can be.
    pub(super) latest: u64,
}

/// What swaps of one store have in common.
pub(super) struct Swaps {
    scripts: Arc<Scripts>,
    prefix: Vec<u8>,
    /// What the names of rows that are to be begin with. None if there is no entropy, and thus no such names.
    names: Option<Vec<u8>>,
    next_number: AtomicU64,
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
            prefix: prefix.to_vec(),
            names,
            next_number: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Whether there is any use in asking for a swap.
    pub(super) fn may_do(&self) -> bool {
        self.names.is_some() && !self.is_refused.load(Ordering::Relaxed)
    }

    /// A commit that nothing goes together with. It is cheaper with its payload in the script's arguments than by a row
    /// of its own.
    pub(super) fn alone(&self, swap: &Swap) -> Cmd {
        let args = [
            &swap.before.version.0.to_be_bytes()[..],
            &swap.after.version.0.to_be_bytes(),
            &digits(swap.after.till),
            &swap.payload,
            &digits(swap.latest),
        ];
        let name = [&self.prefix[..], swap.key.as_bytes()].concat();
        evalsha(&self.scripts.commit_plain, &name, &args)
    }

    /// Commits of one message, each with a number that no other has.
    pub(super) fn together(&self, swaps: Vec<Swap>) -> Together {
        let first = self
            .next_number
            .fetch_add(swaps.len() as u64, Ordering::Relaxed);
        Together { first, swaps }
    }

    /// What their rows are to be goes under names that nobody has, until the end of their sessions.
    pub(super) fn sets(&self, together: &Together) -> impl Iterator<Item = Cmd> {
        let mut head = Vec::with_capacity(Head::MOST);
        together.numbered().map(move |(number, swap)| {
            head.clear();
            swap.after.write(&mut head);
            let (name, row) = (self.new_name(&number), Joined([&head, &swap.payload]));
            let mut set = Cmd::with_capacity(5, WORDS + name.len() + row.len());
            set.arg("SET").arg(name).arg(row);
            set.arg("PXAT").arg(&digits(swap.after.till)[..]);
            set
        })
    }

    /// The step in which they happen.
    pub(super) fn script(&self, together: &Together) -> Cmd {
        self.call("EVALSHA", self.scripts.swap.get_hash(), together)
    }

    /// The same for a server that has to be given the script, which it keeps.
    pub(super) fn script_in_full(&self, together: &Together) -> Cmd {
        self.call("EVAL", SWAP, together)
    }

    fn call(&self, command: &str, script: &str, together: &Together) -> Cmd {
        let (n, prefix) = (together.len(), &self.prefix);
        let names = 2 * prefix.len() + SessionKey::LEN + NEW_NAME;
        let len = script.len() + n * (names + Head::MOST);
        let mut call = Cmd::with_capacity(3 + 3 * n, WORDS + len);
        call.arg(command).arg(script).arg(2 * n);
        for (number, swap) in together.numbered() {
            call.arg(Joined([prefix, swap.key.as_bytes()]));
            call.arg(self.new_name(&number));
        }
        let mut head = Vec::with_capacity(Head::MOST);
        for swap in &together.swaps {
            head.clear();
            swap.before.write(&mut head);
            call.arg(&head[..]);
        }
        call
    }

    /// Removes the new rows, where the script could not be run.
    pub(super) fn withdrawal(&self, together: &Together) -> Pipeline {
        let mut withdrawal = Pipeline::with_capacity(together.len());
        for (number, _) in together.numbered() {
            withdrawal.cmd("DEL").arg(self.new_name(&number));
        }
        withdrawal
    }

    fn new_name<'a>(&'a self, number: &'a Number) -> Joined<'a, 2> {
        Joined([self.names.as_deref().unwrap_or_default(), number])
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
    first: u64,
    swaps: Vec<Swap>,
}

/// By it one row on its way is told from all others of this store.
type Number = [u8; 8];

/// The most bytes of a new row's name, after the prefix.
const NEW_NAME: usize = 24;

impl Together {
    pub(super) fn len(&self) -> usize {
        self.swaps.len()
    }

    fn numbered(&self) -> impl Iterator<Item = (Number, &Swap)> {
        let numbers = (0..).map(|place| self.first.wrapping_add(place).to_be_bytes());
        numbers.zip(&self.swaps)
    }
}

#[cfg(test)]
impl Swap {
    /// One of a session that there is not.
    pub(super) fn sample(number: u8) -> Swap {
        let row = [&[1][..], &[0; 7], &[number], &[b'7'; 26]].concat();
        let before = Head::of(&row).expect("as rows begin");
        Swap {
            key: SessionId::from_secret_bytes([number; 32]).key(),
            before,
            after: before.committed(7_777_777_777_776),
            payload: Bytes::from_static(b"cart"),
            latest: 7,
        }
    }
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

    /// The words of a command that follow its first.
    fn words(command: &Cmd) -> Vec<Vec<u8>> {
        let word = |arg: redis::Arg<&[u8]>| match arg {
            redis::Arg::Simple(word) => word.to_vec(),
            _ => unreachable!("all are plain"),
        };
        command.args_iter().skip(1).map(word).collect()
    }

    #[test]
    fn what_is_put_under_a_name_is_what_the_script_moves_from_there() {
        let swaps = swaps();
        let together = swaps.together(vec![Swap::sample(5), Swap::sample(9)]);
        let sets: Vec<_> = swaps.sets(&together).map(|set| words(&set)).collect();
        let call = words(&swaps.script(&together));
        assert_eq!(call[1], b"4");
        let withdrawn = swaps.withdrawal(&together);
        let withdrawn: Vec<_> = withdrawn.cmd_iter().map(words).collect();
        for (i, number) in [5, 9].into_iter().enumerate() {
            let swap = Swap::sample(number);
            assert_eq!(call[2 + 2 * i], [b"p:", &swap.key.as_bytes()[..]].concat());
            let [new, row, pxat, till] = &sets[i][..] else {
                panic!("{:?}", sets[i]);
            };
            assert_eq!(&call[3 + 2 * i], new);
            assert_eq!(withdrawn[i], std::slice::from_ref(new));
            let (mut before, mut after) = (Vec::new(), Vec::new());
            swap.before.write(&mut before);
            swap.after.write(&mut after);
            assert_eq!(call[6 + i], before);
            assert_eq!(row, &[&after[..], b"cart"].concat());
            assert_eq!(
                (&pxat[..], &till[..]),
                (&b"PXAT"[..], &digits(swap.after.till)[..])
            );
        }
    }

    #[test]
    fn no_name_is_used_twice_and_none_is_a_sessions() {
        let mut names = Vec::new();
        for swaps in [swaps(), swaps()] {
            for n in [2, 1] {
                let together = swaps.together((0..n).map(Swap::sample).collect());
                names.extend(swaps.sets(&together).map(|set| words(&set).swap_remove(0)));
            }
        }
        for (i, name) in names.iter().enumerate() {
            assert!(!names[..i].contains(name));
            assert!(name.starts_with(b"p:new:") && name.len() == 2 + NEW_NAME);
        }
    }
}
