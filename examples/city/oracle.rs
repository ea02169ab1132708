//! The oracle: what the city promised, kept in books of its own, and every answer held against them.
//!
//! It sees what clients see (what was sent, when, and what came back), and it is told by the primaries what
//! they commit and by the workers what is delivered to them. It shares no code with what it judges: a key's
//! home is computed anew, and sessions, counters and orders are plain maps. Five invariants:
//!
//! 1. **Sessions**: an acknowledged session write is in every later answer about the session.
//! 2. **Counters**: a user's counter never goes back, by his own writes or by what he has read.
//! 3. **Jobs**: an acknowledged order is booked exactly once, however often its job was delivered.
//! 4. **Homes**: a key is answered, and stored, by its own shard and no other.
//! 5. **Ages**: no row is staler than was asked.
//!
//! "Later" and "before" are those of a client: what was acknowledged before a request was *sent* must be in
//! its answer. So requests of one user may overlap, and no verdict depends on how threads were scheduled.
//!
//! The books grow with the run: about 100 bytes a write and 300 a key.

mod ages;
mod counters;
mod homes;
mod jobs;
mod sessions;
mod story;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use purlin_core::{Clock, SystemClock};

use self::ages::Ages;
use self::counters::Counters;
pub use self::jobs::JobCounts;
use self::jobs::Jobs;
use self::sessions::Sessions;
use self::story::Event;
use crate::page::{Asked, Page, RowView};
use crate::row::{Key, Record, Row};

/// The books and the verdict so far.
#[derive(Debug)]
pub struct Oracle {
    clock: SystemClock,
    /// One lock: every entry is a few map operations, and the books are read across.
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    sessions: Sessions,
    counters: Counters,
    jobs: Jobs,
    ages: Ages,
    verdict: Verdict,
}

/// What was known when a request was sent, which its answer must not fall short of.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    request: u64,
    user: Option<u32>,
    session: Option<u64>,
    tick: u64,
    /// How many writes of the session had been acknowledged.
    writes: usize,
    /// The highest count that the user had seen or caused.
    floor: u64,
}

/// What a request was for, as far as its acknowledgement promises something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the city's promises; code that makes them should notice a new one"
)]
pub enum Promise {
    /// It only looked.
    Nothing,
    /// A session was opened.
    SessionOpened,
    /// The session was written to.
    SessionWrite,
    /// An order for this product was placed: a session write, a count and a job.
    Order(u32),
}

impl Oracle {
    /// An oracle with empty books, on the clock of the run.
    pub fn new(clock: SystemClock) -> Self {
        Oracle {
            clock,
            books: Mutex::default(),
        }
    }

    /// To be called when a request leaves, with the session that it carries.
    pub fn sent(&self, request: u64, user: Option<u32>, session: Option<u64>) -> Sent {
        let tick = self.clock.now().as_nanos();
        let books = self.books();
        Sent {
            request,
            user,
            session,
            tick,
            writes: session.map_or(0, |label| books.sessions.acknowledged(label)),
            floor: user.map_or(0, |user| books.counters.floor(user)),
        }
    }

    /// To be called when its answer has come, in full and with success.
    pub fn answered(&self, sent: &Sent, promise: Promise, page: &Page) {
        let tick = self.clock.now().as_nanos();
        let mut books = self.books();
        let Books {
            sessions,
            counters,
            jobs,
            ages,
            verdict,
        } = &mut *books;
        if let Some(label) = sent.session {
            sessions.seen(tick, sent, label, page.session.as_ref(), verdict);
        }
        for shown in &page.rows {
            let key = Key::from_bytes(shown.key);
            // First, because it writes the story that the others tell.
            ages.shown(tick, sent, key, shown, verdict);
            homes::shown(key, shown, ages, verdict);
            if let Some(user) = sent.user
                && key == Key::user(user)
            {
                counters.seen(tick, sent, user, shown, verdict);
            }
        }
        // What this answer acknowledges binds the answers to requests sent from now on.
        let label = page.session.as_ref().map(|session| session.label);
        match (promise, label) {
            (Promise::SessionOpened, Some(label)) => sessions.opened(tick, label),
            (Promise::SessionWrite, Some(label)) => {
                sessions.wrote(tick, label, sent.request);
            }
            (Promise::Order(product), Some(label)) => {
                sessions.wrote(tick, label, sent.request);
                jobs.acknowledged(tick, sent.request, product);
            }
            (Promise::Nothing, _) | (_, None) => {}
        }
    }

    /// To be called when a request that carried a session was told that there is no such session.
    pub fn session_denied(&self, sent: &Sent) {
        let tick = self.clock.now().as_nanos();
        let Books {
            sessions, verdict, ..
        } = &mut *self.books();
        if let Some(label) = sent.session {
            sessions.seen(tick, sent, label, None, verdict);
        }
    }

    /// To be called by a shard's primary with each change it has committed, before it acknowledges it.
    pub fn committed(&self, shard: u32, record: &Record) {
        let Books {
            counters,
            jobs,
            ages,
            verdict,
            ..
        } = &mut *self.books();
        let key = record.change.key;
        ages.committed(record);
        homes::committed(shard, record, ages, verdict);
        if key.is_user() {
            counters.committed(record);
        } else {
            jobs.booked(record, verdict);
        }
    }

    /// To be called by a worker with each job that is delivered to it.
    pub fn delivered(&self, order: u64, worker: usize) {
        let tick = self.clock.now().as_nanos();
        self.books().jobs.delivered(tick, order, worker);
    }

    /// Holds what a shard's primary has stored against the books, once the traffic has stopped and the queue
    /// is empty.
    pub fn audit_primary(&self, shard: u32, rows: &[(Key, Row)], ledger: &[(u64, Key)]) {
        let Books {
            jobs,
            ages,
            verdict,
            ..
        } = &mut *self.books();
        for (key, row) in rows {
            homes::stored(shard, *key, ages, verdict);
            ages.stored(*key, *row, verdict);
        }
        jobs.stored(ledger);
    }

    /// The same for a replica, which may be behind but must not hold a stranger's key.
    pub fn audit_replica(&self, shard: u32, rows: &[(Key, Row)]) {
        let Books { ages, verdict, .. } = &mut *self.books();
        for (key, _) in rows {
            homes::stored(shard, *key, ages, verdict);
        }
    }

    /// Closes the books on jobs: whatever is not booked and in a ledger by now was lost. To be called after
    /// the audits.
    pub fn close_jobs(&self) {
        let Books { jobs, verdict, .. } = &mut *self.books();
        jobs.close(verdict);
    }

    /// How many acknowledged orders have no effect yet.
    pub fn jobs_outstanding(&self) -> usize {
        self.books().jobs.outstanding()
    }

    /// The jobs' figures.
    pub fn job_counts(&self) -> JobCounts {
        self.books().jobs.counts()
    }

    /// The verdict so far.
    pub fn verdict(&self) -> Verdict {
        self.books().verdict.clone()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic under the lock is a bug in the oracle; what it has written down still counts.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The five promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the five invariants of the city")]
pub enum Invariant {
    /// An acknowledged session write is there later.
    Sessions,
    /// A user's counter never goes back.
    Counters,
    /// An acknowledged job has its effect exactly once.
    Jobs,
    /// No key is answered by a wrong shard.
    Homes,
    /// No read is staler than asked.
    Ages,
}

impl Invariant {
    /// All five, in their order.
    pub const ALL: [Invariant; 5] = [
        Invariant::Sessions,
        Invariant::Counters,
        Invariant::Jobs,
        Invariant::Homes,
        Invariant::Ages,
    ];

    /// The promise in words.
    pub const fn promise(self) -> &'static str {
        match self {
            Invariant::Sessions => "acknowledged session writes are there later",
            Invariant::Counters => "no user's counter goes back",
            Invariant::Jobs => "each acknowledged job has its effect exactly once",
            Invariant::Homes => "no key is answered by a wrong shard",
            Invariant::Ages => "no read is staler than asked",
        }
    }
}

/// A promise that was not kept, with what led to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which one.
    pub invariant: Invariant,
    /// What happened.
    pub what: String,
    /// The last things that happened to the key, user, session or job in question, oldest first.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "violated: {}: {}", self.invariant.promise(), self.what)?;
        for line in &self.story {
            write!(f, "\n    {line}")?;
        }
        Ok(())
    }
}

/// How many promises of each kind were checked, and which were not kept.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    checked: [u64; Invariant::ALL.len()],
    broken: [u64; Invariant::ALL.len()],
    lost_sessions: u64,
    violations: Vec<Violation>,
}

impl Verdict {
    /// Violations that are kept with their story. The others are counted.
    const TOLD: usize = 5;

    /// How often an invariant was checked.
    pub fn checked(&self, invariant: Invariant) -> u64 {
        self.checked[invariant as usize]
    }

    /// How often it was broken.
    pub fn broken(&self, invariant: Invariant) -> u64 {
        self.broken[invariant as usize]
    }

    /// Whether every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.broken.iter().all(|&count| count == 0)
    }

    /// Sessions that a client had and the city no longer knew.
    pub fn lost_sessions(&self) -> u64 {
        self.lost_sessions
    }

    /// The first violations, with their stories.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    fn check(&mut self, invariant: Invariant) {
        self.checked[invariant as usize] += 1;
    }

    fn break_promise(&mut self, invariant: Invariant, what: String, story: Vec<String>) {
        self.broken[invariant as usize] += 1;
        if self.violations.len() < Self::TOLD {
            self.violations.push(Violation {
                invariant,
                what,
                story,
            });
        }
    }
}

/// How a shown row enters a story.
fn shown_event(sent: &Sent, shown: &RowView) -> Event {
    Event::Shown {
        request: sent.request,
        sent: sent.tick,
        value: shown.value,
        version: shown.version,
        shard: shown.shard,
        copy: shown.copy,
        asked: match shown.asked {
            Asked::Change => None,
            asked => Some(asked),
        },
    }
}
