//! `kill -9` at random moments: no acknowledged change of a session is lost, no ended session is back, and the file
//! always opens.
//!
//! The test runs itself again as a child process that uses the store from several threads and reports before and after
//! each call, and kills it. `PURLIN_CRASH_ROUNDS` sets the number of rounds.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use purlin_core::Rng;
use purlin_redb::RedbSessionStore;
use purlin_session_store::{
    CommitOutcome, Lifetime, Owner, Record, RotateOutcome, SessionId, SessionKey, Slide, UserKey,
    Version,
};

/// Names the folder in which a child is to work.
const CHILD: &str = "PURLIN_CRASH_FOLDER";
const ROUNDS: &str = "PURLIN_CRASH_ROUNDS";
const HOUR: Duration = Duration::from_secs(60 * 60);

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return child(&PathBuf::from(folder));
    }
    let rounds = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let mut rng = Rng::from_seed(20);
    let mut folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let mut acknowledged = 0;
    for round in 0..rounds {
        if round % 5 == 0 {
            // A new folder, so that the making of a file is killed too.
            folder = tempfile::tempdir().unwrap();
            told = Told::default();
        }
        let mut child = start(folder.path(), round);
        let wanted = if round % 2 == 0 { 1 } else { rng.below(300) };
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut heard = 0;
        while heard < wanted {
            let line = output.next().expect("a child runs until it is killed");
            heard += u64::from(told.note(&line.unwrap()));
        }
        for _ in 0..rng.below(1_000_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said when it died holds too.
        for line in output {
            told.note(&line.unwrap());
        }
        acknowledged += told.acknowledged;
        told.check(&folder.path().join("sessions.redb"), round);
    }
    assert!(acknowledged > 20 * rounds, "only {acknowledged} calls seen");
}

fn start(folder: &Path, round: u64) -> Child {
    let name = thread::current().name().unwrap().to_owned();
    Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .env(ROUNDS, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What may be found of a session: what was acknowledged last, and what was asked for after that.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    Nothing,
    At(u64, Version),
}

#[derive(Debug, Default)]
struct Told {
    /// By the number of a session: the numbers of its keys are `number * 1000` and onwards.
    sessions: BTreeMap<u64, (Found, Option<Found>)>,
    acknowledged: u64,
}

impl Told {
    /// Takes a line in, and returns whether it was one of ours: the child's test harness says things too.
    fn note(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix("session: ") else {
            return false;
        };
        let words: Vec<&str> = line.split(' ').collect();
        if words == ["opening"] {
            return true;
        }
        let number: u64 = words[1].parse().unwrap();
        let (last, asked) = self
            .sessions
            .entry(number)
            .or_insert((Found::Nothing, None));
        match words[0] {
            "asking" => {
                let key: u64 = words[2].parse().unwrap();
                let version = Version(words[3].parse().unwrap());
                *asked = Some(match version.0 {
                    0 => Found::Nothing,
                    _ => Found::At(key, version),
                });
            }
            "done" => {
                *last = asked.take().expect("asked before it was done");
                self.acknowledged += 1;
            }
            other => panic!("{other}"),
        }
        true
    }

    fn check(&mut self, path: &Path, round: u64) {
        let store = RedbSessionStore::open(path).unwrap_or_else(|error| {
            panic!("round {round}: the file does not open: {error} {error:?}")
        });
        for (number, (last, asked)) in &mut self.sessions {
            let mut live = Vec::new();
            for offset in 0..4 {
                let key_number = number * 1000 + offset;
                let key = key(round_of(*number), key_number);
                let Some(entry) = store.load(&key, Slide::No).unwrap() else {
                    continue;
                };
                if entry.superseded_by.is_none() {
                    assert_eq!(entry.payload, payload(key_number, entry.version));
                    live.push(Found::At(key_number, entry.version));
                }
            }
            assert!(live.len() <= 1, "round {round}: {live:?}");
            // The user's list is in the same transaction as the session.
            let listed = store.by_user(&user(*number)).unwrap();
            let expected = live.iter().filter_map(|found| match found {
                Found::At(key_number, _) => Some(key(round_of(*number), *key_number)),
                Found::Nothing => None,
            });
            assert!(
                listed.iter().copied().eq(expected),
                "round {round}: {listed:?}"
            );
            let found = live.pop().unwrap_or(Found::Nothing);
            assert!(
                found == *last || Some(&found) == asked.as_ref(),
                "round {round}, session {number}: found {found:?}, acknowledged {last:?}, asked {asked:?}"
            );
            // From here on this is what is there.
            (*last, *asked) = (found, None);
        }
    }
}

/// The round of the child that made a session.
fn round_of(number: u64) -> u64 {
    number / 1_000_000
}

fn key(round: u64, number: u64) -> SessionKey {
    let mut secret = [0; SessionId::LEN];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    secret[8..16].copy_from_slice(&round.to_le_bytes());
    SessionId::from_secret_bytes(secret).key()
}

fn payload(key_number: u64, version: Version) -> Vec<u8> {
    format!("{key_number}/{version} ").repeat(60).into_bytes()
}

fn record(key_number: u64, version: Version) -> Record {
    let record = Record::new(payload(key_number, version), Lifetime::new(HOUR, HOUR));
    record.with_owner(Owner::User {
        user: user(key_number / 1000),
        cap: None,
    })
}

/// Each session has a user of its own.
fn user(number: u64) -> UserKey {
    UserKey::of(number.to_le_bytes())
}

/// Uses the store until it is killed.
fn child(folder: &Path) {
    say("opening");
    let store = RedbSessionStore::open(folder.join("sessions.redb")).unwrap();
    let round: u64 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    thread::scope(|scope| {
        for thread_idx in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for i in 0.. {
                    live_a_life(store, round, round * 1_000_000 + thread_idx * 100_000 + i);
                }
            });
        }
    });
}

/// Creates a session, writes it, moves it, and every other time ends it.
fn live_a_life(store: &RedbSessionStore, round: u64, number: u64) {
    let (old, new) = (number * 1000, number * 1000 + 1);
    let asking = |key: u64, version: Version| say(&format!("asking {number} {key} {version}"));
    let done = || say(&format!("done {number}"));

    asking(old, Version::FIRST);
    let _ = store
        .create(&key(round, old), record(old, Version::FIRST))
        .unwrap();
    done();
    asking(old, Version(2));
    let outcome = store.commit(&key(round, old), Version::FIRST, record(old, Version(2)));
    assert_eq!(outcome.unwrap(), CommitOutcome::Committed(Version(2)));
    done();
    asking(new, Version(3));
    let outcome = store.rotate(
        &key(round, old),
        &key(round, new),
        Version(2),
        record(new, Version(3)),
        HOUR,
    );
    assert_eq!(outcome.unwrap(), RotateOutcome::Rotated(Version(3)));
    done();
    if number.is_multiple_of(2) {
        asking(new, Version(0));
        assert!(store.delete(&key(round, new)).unwrap());
        done();
    }
}

/// One line, in one write, so that it is there whole as soon as it is there.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone, and then so are we.
    if out
        .write_all(format!("session: {line}\n").as_bytes())
        .is_err()
        || out.flush().is_err()
    {
        std::process::exit(0);
    }
}
