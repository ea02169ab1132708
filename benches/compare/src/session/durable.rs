//! Embedded engines under the load of sessions: compare and commit with an fsync, reads, and the sweep.
//!
//! The floors do what a store must (find the row, compare, write it) for a group of 64 in one transaction on one
//! thread; the store is asked by 64 threads, each of which waits for its own commit.

use std::error::Error;
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use purlin_redb::RedbSessionStore;
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Lifetime, Record, SessionId, SessionKey, Slide, Version,
};
use redb::{Durability, ReadableDatabase, ReadableTable, TableDefinition};

use super::document::json_len;
use super::rounds::median;
use super::targets::Targets;
use crate::table::Table;

/// Rows in each engine.
const ROWS: usize = 20_000;
const COMMITTERS: usize = 64;
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("sessions");

/// An engine at work.
trait Durable {
    /// So many commits, 64 at a time.
    fn commits(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>>;
    /// So many reads on one thread.
    fn reads(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>>;
}

pub(super) fn print(
    rounds: usize,
    ops: usize,
    targets: &mut Targets,
) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let keys: Vec<SessionKey> = (0..ROWS)
        .map(|_| Ok(SessionId::random()?.key()))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let mut contenders: Vec<(&str, Box<dyn Durable>)> = vec![
        (
            "redb 4, groups of 64 by one thread",
            Box::new(BareRedb::new(&folder.path().join("bare.redb"), &keys)?),
        ),
        (
            "purlin, redb, 64 threads",
            Box::new(Ours::new(&folder.path().join("ours.redb"), &keys)?),
        ),
        (
            "fjall 3, groups of 64 by one thread",
            Box::new(BareFjall::new(&folder.path().join("fjall"), &keys)?),
        ),
        (
            "append and fdatasync, groups of 64",
            Box::new(Append::new(&folder.path().join("log"))?),
        ),
    ];
    let ops = ops.max(COMMITTERS) / COMMITTERS * COMMITTERS;
    let mut rates = vec![(Vec::new(), Vec::new()); contenders.len()];
    for round in 0..=rounds {
        for ((_, contender), (commits, reads)) in contenders.iter_mut().zip(&mut rates) {
            let committing = contender.commits(ops)?;
            let reading = contender.reads(ops * 50)?;
            if round > 0 {
                commits.push(ops as f64 / committing.as_secs_f64() / 1000.0);
                reads.push((ops * 50) as f64 / reading.as_secs_f64() / 1000.0);
            }
        }
    }
    let medians: Vec<_> = rates
        .into_iter()
        .map(|(commits, reads)| (median(commits), median(reads)))
        .collect();
    targets.at_least(
        "embedded: commits of 64, beside the engine's groups",
        0.8,
        medians[1].0 / medians[0].0,
    );
    let mut table = Table::new(["engine", "durable commits", "reads"]);
    for ((name, _), (commits, reads)) in contenders.iter().zip(&medians) {
        let reads = if reads.is_finite() {
            format!("{reads:.0} ({:.2})", reads / medians[0].1)
        } else {
            String::new()
        };
        table.row([
            (*name).to_owned(),
            format!("{commits:.1} ({:.2})", commits / medians[0].0),
            reads,
        ]);
    }
    table.print(&format!(
        "Embedded, {ROWS} sessions: thousands a second, and the ratio to the first row"
    ));
    Ok(())
}

/// What an engine stores: a version, and the payload.
fn row(version: u64) -> Vec<u8> {
    let mut row = version.to_be_bytes().to_vec();
    row.resize(8 + 26 + json_len(), b'x');
    row
}

fn version_of(row: &[u8]) -> u64 {
    u64::from_be_bytes(row[..8].try_into().expect("a row begins with its version"))
}

struct BareRedb {
    database: redb::Database,
    keys: Vec<SessionKey>,
    version: u64,
}

impl BareRedb {
    fn new(path: &Path, keys: &[SessionKey]) -> Result<Self, Box<dyn Error>> {
        let database = redb::Builder::new().set_cache_size(64 << 20).create(path)?;
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for key in keys {
                table.insert(&key.as_bytes()[..], &row(0)[..])?;
            }
        }
        transaction.commit()?;
        Ok(BareRedb {
            database,
            keys: keys.to_vec(),
            version: 0,
        })
    }
}

impl Durable for BareRedb {
    fn commits(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for group in 0..ops / COMMITTERS {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for i in 0..COMMITTERS {
                    let key = &self.keys[(group * COMMITTERS + i * 97) % ROWS].as_bytes()[..];
                    let present = version_of(table.get(key)?.ok_or("a row")?.value());
                    assert!(present <= self.version);
                    self.version = self.version.max(present + 1);
                    table.insert(key, &row(present + 1)[..])?;
                }
            }
            transaction.commit()?;
        }
        Ok(start.elapsed())
    }

    fn reads(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for i in 0..ops {
            let table = self.database.begin_read()?.open_table(TABLE)?;
            let value = table.get(&self.keys[i * 97 % ROWS].as_bytes()[..])?;
            assert!(value.ok_or("a row")?.value().to_vec().len() > 8);
        }
        Ok(start.elapsed())
    }
}

struct BareFjall {
    database: Database,
    sessions: Keyspace,
    keys: Vec<SessionKey>,
}

impl BareFjall {
    fn new(path: &Path, keys: &[SessionKey]) -> Result<Self, Box<dyn Error>> {
        let database = Database::builder(path).cache_size(64 << 20).open()?;
        let sessions = database.keyspace("sessions", KeyspaceCreateOptions::default)?;
        for key in keys {
            sessions.insert(key.as_bytes(), row(0))?;
        }
        database.persist(PersistMode::SyncData)?;
        Ok(BareFjall {
            database,
            sessions,
            keys: keys.to_vec(),
        })
    }
}

impl Durable for BareFjall {
    fn commits(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for group in 0..ops / COMMITTERS {
            let mut batch = self
                .database
                .batch()
                .durability(Some(PersistMode::SyncData));
            for i in 0..COMMITTERS {
                let key = self.keys[(group * COMMITTERS + i * 97) % ROWS].as_bytes();
                let present = version_of(&self.sessions.get(key)?.ok_or("a row")?);
                batch.insert(&self.sessions, &key[..], row(present + 1));
            }
            batch.commit()?;
        }
        Ok(start.elapsed())
    }

    fn reads(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for i in 0..ops {
            let value = self.sessions.get(self.keys[i * 97 % ROWS].as_bytes())?;
            assert!(value.ok_or("a row")?.to_vec().len() > 8);
        }
        Ok(start.elapsed())
    }
}

/// What the disk can do for whoever keeps nothing but a log.
struct Append {
    file: std::fs::File,
}

impl Append {
    fn new(path: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Append {
            file: std::fs::File::create_new(path)?,
        })
    }
}

impl Durable for Append {
    fn commits(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        use std::io::Write;
        let start = Instant::now();
        for _ in 0..ops / COMMITTERS {
            let mut group = Vec::new();
            for i in 0..COMMITTERS {
                group.extend_from_slice(&row(i as u64));
            }
            self.file.write_all(&group)?;
            self.file.sync_data()?;
        }
        Ok(start.elapsed())
    }

    fn reads(&mut self, _: usize) -> Result<Duration, Box<dyn Error>> {
        Ok(Duration::ZERO)
    }
}

struct Ours {
    store: RedbSessionStore,
    keys: Vec<SessionKey>,
    /// Of the sessions of each committer, the version.
    versions: Vec<Version>,
}

const LIFETIME: Lifetime = Lifetime::new(Duration::from_secs(1800), Duration::from_secs(43_200));

impl Ours {
    fn new(path: &Path, keys: &[SessionKey]) -> Result<Self, Box<dyn Error>> {
        let store = RedbSessionStore::open(path)?;
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..COMMITTERS {
                scope.spawn(|| {
                    while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let record = Record::new(vec![b'x'; json_len()], LIFETIME);
                        let created = store.create(key, record).expect("the file is whole");
                        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
                    }
                });
            }
        });
        Ok(Ours {
            store,
            keys: keys.to_vec(),
            versions: vec![Version::FIRST; ROWS],
        })
    }
}

impl Durable for Ours {
    fn commits(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let (store, barrier) = (&self.store, Barrier::new(COMMITTERS + 1));
        let of_each = ROWS / COMMITTERS;
        let took = std::thread::scope(|scope| {
            for (keys, versions) in self
                .keys
                .chunks(of_each)
                .zip(self.versions.chunks_mut(of_each))
                .take(COMMITTERS)
            {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    for i in 0..ops / COMMITTERS {
                        let idx = i * 7 % keys.len();
                        let record = Record::new(vec![b'x'; json_len()], LIFETIME);
                        let outcome = store.commit(&keys[idx], versions[idx], record);
                        versions[idx] = versions[idx].next();
                        let outcome = outcome.expect("the file is whole");
                        assert_eq!(outcome, CommitOutcome::Committed(versions[idx]));
                    }
                    barrier.wait();
                });
            }
            barrier.wait();
            let start = Instant::now();
            barrier.wait();
            start.elapsed()
        });
        Ok(took)
    }

    fn reads(&mut self, ops: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for i in 0..ops {
            let entry = self.store.load(&self.keys[i * 97 % ROWS], Slide::No)?;
            assert!(entry.ok_or("a row")?.payload.len() > 8);
        }
        Ok(start.elapsed())
    }
}
