//! Embedded engines under the load of sessions: compare and commit with an fsync, reads, and the sweep.
//!
//! The floors do what a store must (find the row, compare, write it) for a whole group in one transaction on one
//! thread; the store is asked by as many threads, each of which waits for its own commit.

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
/// How many commits share a sync.
const GROUPS: [usize; 3] = [64, 8, 1];
const TABLE: TableDefinition<&[u8], &[u8]> = TableDefinition::new("sessions");

/// An engine at work.
trait Durable {
    /// So many commits, a group at a time.
    fn commits(&mut self, ops: usize, group: usize) -> Result<Duration, Box<dyn Error>>;
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
            "redb 4, groups by one thread",
            Box::new(BareRedb::new(&folder.path().join("bare.redb"), &keys)?),
        ),
        (
            "purlin, redb, a thread each",
            Box::new(Ours::new(&folder.path().join("ours.redb"), &keys)?),
        ),
        (
            "fjall 3, groups by one thread",
            Box::new(BareFjall::new(&folder.path().join("fjall"), &keys)?),
        ),
        (
            "append and fdatasync, groups",
            Box::new(Append::new(&folder.path().join("log"))?),
        ),
    ];
    for group in GROUPS {
        // Fewer where each waits for a sync of its own.
        let ops = (ops * group / GROUPS[0]).max(group * 40) / group * group;
        let ratio = print_group(&mut contenders, rounds, ops, group)?;
        if group == GROUPS[0] {
            let what = "embedded: commits of 64, beside the engine's groups";
            targets.at_least(what, 0.8, ratio);
        }
    }
    Ok(())
}

/// What was done and what it took, a round each.
#[derive(Default)]
struct Figures {
    /// Thousands a second.
    commits: Vec<f64>,
    reads: Vec<f64>,
    /// Microseconds of all threads, a commit.
    busy: Vec<f64>,
    /// Bytes given to the system, a commit.
    written: Vec<f64>,
}

/// Returns what ours is to the engine's own.
fn print_group(
    contenders: &mut [(&str, Box<dyn Durable>)],
    rounds: usize,
    ops: usize,
    group: usize,
) -> Result<f64, Box<dyn Error>> {
    let n_reads = 100_000;
    let mut figures: Vec<Figures> = contenders.iter().map(|_| Figures::default()).collect();
    for round in 0..=rounds {
        for ((_, contender), figures) in contenders.iter_mut().zip(&mut figures) {
            let (busy, written) = (process_time(), bytes_written());
            let committing = contender.commits(ops, group)?;
            let (busy, written) = (process_time() - busy, bytes_written() - written);
            let reading = contender.reads(n_reads)?;
            if round > 0 {
                let (ops, n_reads) = (ops as f64, n_reads as f64);
                figures.commits.push(ops / committing.as_secs_f64() / 1e3);
                figures.reads.push(n_reads / reading.as_secs_f64() / 1e3);
                figures.busy.push(busy.as_secs_f64() * 1e6 / ops);
                figures.written.push(written as f64 / ops);
            }
        }
    }
    let medians: Vec<[f64; 4]> = figures
        .into_iter()
        .map(|figures| {
            [
                figures.commits,
                figures.reads,
                figures.busy,
                figures.written,
            ]
            .map(median)
        })
        .collect();
    let mut table = Table::new([
        "engine",
        "durable commits",
        "reads",
        "us of processor a commit",
        "bytes written a commit",
    ]);
    for ((name, _), [commits, reads, busy, written]) in contenders.iter().zip(&medians) {
        let beside = |own: &f64, first: f64| format!("{own:.1} ({:.2})", own / first);
        table.row([
            (*name).to_owned(),
            beside(commits, medians[0][0]),
            if reads.is_finite() {
                beside(reads, medians[0][1])
            } else {
                String::new()
            },
            format!("{busy:.0}"),
            format!("{written:.0}"),
        ]);
    }
    table.print(&format!(
        "Embedded, {ROWS} sessions, {group} committers: thousands a second, and the ratio to the first row"
    ));
    Ok(medians[1][0] / medians[0][0])
}

/// How long all threads of this process have run.
fn process_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What this process has given the system to write; nothing where the system does not tell.
fn bytes_written() -> u64 {
    let told = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
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
    fn commits(&mut self, ops: usize, group: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for nth in 0..ops / group {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            {
                let mut table = transaction.open_table(TABLE)?;
                for i in 0..group {
                    let key = &self.keys[(nth * group + i * 97) % ROWS].as_bytes()[..];
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
    fn commits(&mut self, ops: usize, group: usize) -> Result<Duration, Box<dyn Error>> {
        let start = Instant::now();
        for nth in 0..ops / group {
            let mut batch = self
                .database
                .batch()
                .durability(Some(PersistMode::SyncData));
            for i in 0..group {
                let key = self.keys[(nth * group + i * 97) % ROWS].as_bytes();
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
    fn commits(&mut self, ops: usize, group: usize) -> Result<Duration, Box<dyn Error>> {
        use std::io::Write;
        let start = Instant::now();
        for _ in 0..ops / group {
            let mut rows = Vec::new();
            for i in 0..group {
                rows.extend_from_slice(&row(i as u64));
            }
            self.file.write_all(&rows)?;
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
            for _ in 0..GROUPS[0] {
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
    fn commits(&mut self, ops: usize, group: usize) -> Result<Duration, Box<dyn Error>> {
        let (store, barrier) = (&self.store, Barrier::new(group + 1));
        let of_each = ROWS / group;
        let took = std::thread::scope(|scope| {
            for (keys, versions) in self
                .keys
                .chunks(of_each)
                .zip(self.versions.chunks_mut(of_each))
                .take(group)
            {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    for i in 0..ops / group {
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
