//! A shard's replica: it pulls its primary's log over a socket and applies it, late by a settable time.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::{Clock, SystemClock};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::database::{Database, Sync};
use crate::row::Record;
use crate::wire::{Connection, Progress, Reply, Request};

/// Time between two pulls, which comes on top of the lag. Each pull that brings something is one transaction.
const PULL_EVERY: Duration = Duration::from_millis(10);

/// Time between two commits that reach the disk. What a crash would lose in between is pulled again.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// Records that wait for their time at most. The replica pulls no more until some are applied.
const MAX_WAITING: usize = 1 << 20;

/// A replica at work. Dropping it stops it.
pub struct Replica {
    database: Arc<Database>,
    reached: Arc<Reached>,
    following: JoinHandle<()>,
}

/// How far the replica is, for its readers. Both numbers only grow, and a reader who sees one sees the database
/// at least that far: they are stored (Release) after the commit and loaded (Acquire) before the read.
#[derive(Debug, Default)]
struct Reached {
    position: AtomicU64,
    fresh_at: AtomicU64,
}

impl Replica {
    /// Follows the primary at an address from where the database is.
    pub fn start(
        database: Arc<Database>,
        primary: SocketAddr,
        lag: Duration,
        clock: SystemClock,
    ) -> Result<Self, redb::Error> {
        let position = database.position()?;
        let reached = Arc::new(Reached {
            position: AtomicU64::new(position),
            fresh_at: AtomicU64::new(0),
        });
        let follower = Follower {
            database: Arc::clone(&database),
            reached: Arc::clone(&reached),
            primary,
            lag: u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX),
            clock,
            pulled: position,
            waiting: VecDeque::new(),
            marks: VecDeque::new(),
            synced_at: 0,
        };
        Ok(Replica {
            database,
            reached,
            following: tokio::spawn(follower.run()),
        })
    }

    /// The database, for reading.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// How far along it is.
    pub fn progress(&self) -> Progress {
        Progress {
            fresh_at: self.reached.fresh_at.load(Ordering::Acquire),
            position: self.reached.position.load(Ordering::Acquire),
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.following.abort();
    }
}

impl fmt::Debug for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

/// The pulling half.
struct Follower {
    database: Arc<Database>,
    reached: Arc<Reached>,
    primary: SocketAddr,
    lag: u64,
    clock: SystemClock,
    /// The last position that was pulled.
    pulled: u64,
    /// Pulled and not yet due, in order.
    waiting: VecDeque<Record>,
    /// What the primary said with each pull: whoever has this position holds all that was committed by this
    /// tick. In order; those the database has reached are taken out.
    marks: VecDeque<Progress>,
    synced_at: u64,
}

impl Follower {
    /// Pulls and applies until the task is aborted. A primary that cannot be reached is tried again.
    async fn run(mut self) {
        let mut ticks = tokio::time::interval(PULL_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut connection = None;
        loop {
            ticks.tick().await;
            if self.waiting.len() < MAX_WAITING && self.pull(&mut connection).await.is_err() {
                connection = None;
            }
            if self.apply_due().await.is_err() {
                // The file cannot be written: the replica stands still, and its readers see it fall behind.
                return;
            }
        }
    }

    async fn pull(&mut self, connection: &mut Option<Connection>) -> io::Result<()> {
        let primary = match connection {
            Some(primary) => primary,
            None => {
                let stream = TcpStream::connect(self.primary).await?;
                connection.insert(Connection::new(stream)?)
            }
        };
        let request = Request::Pull { after: self.pulled };
        match primary.call(&request).await? {
            Reply::Records { records, progress } => {
                self.pulled = progress.position;
                self.waiting.extend(records);
                self.marks.push_back(progress);
                Ok(())
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn apply_due(&mut self) -> Result<(), redb::Error> {
        let now = self.clock.now().as_nanos();
        let due = self
            .waiting
            .partition_point(|record| record.tick.saturating_add(self.lag) <= now);
        let records: Vec<Record> = self.waiting.drain(..due).collect();
        let sync = match now.saturating_sub(self.synced_at) >= SYNC_EVERY.as_nanos() as u64 {
            true => Sync::Now,
            false => Sync::Later,
        };
        if let Some(last) = records.last().map(|record| record.row.version) {
            let database = Arc::clone(&self.database);
            tokio::task::spawn_blocking(move || database.follow(&records, sync))
                .await
                .map_err(|_| redb::Error::PreviousIo)??;
            if sync == Sync::Now {
                self.synced_at = now;
            }
            self.reached.position.store(last, Ordering::Release);
        }
        let position = self.reached.position.load(Ordering::Relaxed);
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.position <= position) {
            self.reached
                .fresh_at
                .store(mark.fresh_at, Ordering::Release);
        }
        Ok(())
    }
}
