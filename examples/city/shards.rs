//! The database as an app node or a worker sees it: one thing, whatever the number of shards and copies.
//!
//! A key's shard comes from the shard map, a read's copy from what the read needs, and a change goes to the
//! primary. Each copy checks both again and refuses what it must not answer; the client then asks elsewhere.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::{Clock, GroupId, Health, Node, NodeId, SystemClock, Tick, Token, TokenSet};
use purlin_replica_router::{Consistency, MembersError, Observation, Read, ReadError, WriteError};
use purlin_shard_router::{Route, ShardId, ShardMap};
use tokio::task::JoinHandle;

use crate::page::Asked;
use crate::row::{Change, Key, Row};
use crate::sabotage::Sabotage;
use crate::settings::SHARDS;
use crate::shard_client::ShardClient;
use crate::wire::{Need, Reply, Request, Stamp};

/// The only primaries' term there is: nobody is promoted in this city.
const EPOCH: u64 = 1;

/// Times a change is sent before it is given up. Sending it again is harmless.
const ATTEMPTS: usize = 3;

/// Time between two probes of a copy. Each reply tells how far its copy is as well, so a busy copy is known better
/// than this.
const PROBE_EVERY: Duration = Duration::from_millis(100);

/// Sabotage that strikes now and then strikes every so many times.
const NOW_AND_THEN: u64 = 16;

/// A client of all the shards. Dropping it stops its prober.
pub struct Shards {
    router: purlin_shard_router::Router,
    groups: Arc<Vec<Group>>,
    clock: SystemClock,
    probing: JoinHandle<()>,
    sabotage: Option<Sabotage>,
    /// Occasions for sabotage so far.
    occasions: AtomicU64,
}

/// The copies of one shard. Copy `n` is node `n` of the group, and copy 0 its primary.
#[derive(Debug)]
struct Group {
    router: purlin_replica_router::Router,
    copies: Vec<ShardClient>,
    clock: SystemClock,
}

/// What a read or a change gave.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// The row.
    pub row: Row,
    /// Who gave it.
    pub from: Stamp,
    /// What proves that somebody has seen this row.
    pub token: Token,
    /// The copy held all that was committed by this tick.
    pub fresh_at: Tick,
}

impl Shards {
    /// A client of the shards of a map, whose copies are at these addresses: by shard, the primary first.
    ///
    /// # Errors
    ///
    /// If a shard has more copies than a group holds.
    pub fn new(
        map: Arc<ShardMap>,
        addresses: &[Vec<SocketAddr>],
        clock: SystemClock,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, MembersError> {
        let groups = addresses
            .iter()
            .enumerate()
            .map(|(shard, copies)| Group::new(GroupId(shard as u32), copies, clock))
            .collect::<Result<Vec<Group>, MembersError>>()?;
        let groups = Arc::new(groups);
        let probing = tokio::spawn(probe(Arc::clone(&groups)));
        Ok(Shards {
            router: purlin_shard_router::Router::new(map),
            groups,
            clock,
            probing,
            sabotage,
            occasions: AtomicU64::new(0),
        })
    }

    /// A row as it is now: from the primary.
    ///
    /// # Errors
    ///
    /// [`ShardError`] if the primary cannot be asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is changed.
    pub async fn read_present(&self, key: Key) -> Result<Reading, ShardError> {
        self.read(key, Consistency::Primary, Need::Nothing).await
    }

    /// A row that lacks no change older than `max_age`.
    ///
    /// # Errors
    ///
    /// [`ShardError`] if no copy that is fresh enough can be asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is changed.
    pub async fn read_recent(&self, key: Key, max_age: Duration) -> Result<Reading, ShardError> {
        let since = self.clock.now().before(max_age);
        let need = Need::FreshAt(since.as_nanos());
        self.read(key, Consistency::BoundedStaleness(max_age), need)
            .await
    }

    /// A row for somebody who has seen these positions, and what was asked for him.
    ///
    /// # Errors
    ///
    /// [`ShardError`] if no copy that is far enough can be asked.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is changed.
    pub async fn read_seen(
        &self,
        key: Key,
        seen: &TokenSet,
    ) -> Result<(Reading, Asked), ShardError> {
        let group = GroupId::from(self.router.route(&key).shard());
        let position = seen.get(group).map_or(0, |token| token.position);
        let reading = match self.sabotage {
            Some(Sabotage::IgnoreToken) => {
                self.read(key, Consistency::Eventual, Need::Nothing).await?
            }
            _ => {
                let consistency = Consistency::ReadYourWrites(seen);
                self.read(key, consistency, Need::Position(position))
                    .await?
            }
        };
        Ok((reading, Asked::Position(position)))
    }

    /// Makes a change.
    ///
    /// # Errors
    ///
    /// [`ShardError`] if the primary cannot be asked, or nobody knows whether the change was made. Making it again
    /// is harmless.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before it completes, the change may or may not be made.
    pub async fn change(&self, change: Change) -> Result<Reading, ShardError> {
        let (route, group) = self.route(change.key);
        let request = Request::Change { route, change };
        let mut last = ShardError::Unreachable;
        for _ in 0..ATTEMPTS {
            let write = group.router.route_write()?;
            match group.ask(write.id(), &request).await {
                Ok(Reply::Changed { outcome, from }) => {
                    return Ok(Reading {
                        row: outcome.row,
                        from,
                        token: write.token(outcome.row.version),
                        fresh_at: Tick::ZERO,
                    });
                }
                Ok(Reply::WrongRoute) => return Err(ShardError::Refused),
                Ok(_) => last = ShardError::Failed,
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks copies that should be far enough, one after the other. Each is told what is needed and says no if it is
    /// not, since what the router knows of it is from a moment ago.
    async fn read(
        &self,
        key: Key,
        consistency: Consistency<'_>,
        need: Need,
    ) -> Result<Reading, ShardError> {
        let (route, group) = self.route(key);
        let request = Request::Read { route, key, need };
        let mut tried = Vec::new();
        loop {
            let read = Read::from(consistency).excluding(&tried);
            let chosen = group.router.route_read(read)?;
            match group.ask(chosen.id(), &request).await {
                Ok(Reply::Row {
                    row,
                    from,
                    progress,
                }) => {
                    return Ok(Reading {
                        row,
                        from,
                        token: chosen.token(row.version),
                        fresh_at: Tick::from_nanos(progress.fresh_at),
                    });
                }
                Ok(Reply::WrongRoute) => return Err(ShardError::Refused),
                Ok(_) | Err(_) => tried.push(chosen.id()),
            }
        }
    }

    /// Where a key lives.
    fn route(&self, key: Key) -> (Route, &Group) {
        let mut route = self.router.route(&key);
        let strikes = self.sabotage == Some(Sabotage::WrongShard)
            && self.occasions.fetch_add(1, Ordering::Relaxed) % NOW_AND_THEN == NOW_AND_THEN - 1;
        if strikes {
            let neighbour = ShardId((route.shard().0 + 1) % SHARDS as u32);
            route = Route::new(neighbour, route.slot(), route.epoch());
        }
        (route, &self.groups[route.shard().0 as usize])
    }
}

impl Drop for Shards {
    fn drop(&mut self) {
        self.probing.abort();
    }
}

impl fmt::Debug for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards")
            .field("router", &self.router)
            .finish_non_exhaustive()
    }
}

impl Group {
    fn new(id: GroupId, copies: &[SocketAddr], clock: SystemClock) -> Result<Self, MembersError> {
        let mut nodes = copies
            .iter()
            .enumerate()
            .map(|(copy, address)| Node::new(NodeId(copy as u64), address.to_string()));
        let builder = purlin_replica_router::Router::builder(id)
            .epoch(EPOCH)
            .clock(clock);
        let router = match nodes.next() {
            Some(primary) => builder.build(primary, nodes)?,
            None => return Err(MembersError::PrimaryMissing(NodeId(0))),
        };
        Ok(Group {
            router,
            copies: copies
                .iter()
                .map(|&address| ShardClient::new(address))
                .collect(),
            clock,
        })
    }

    /// Asks a copy, and takes note of how far it is.
    async fn ask(&self, copy: NodeId, request: &Request) -> Result<Reply, ShardError> {
        // From before the request is sent, as the router wants it.
        let at = self.clock.now();
        let reply = self.copies[copy.0 as usize].call(request).await;
        let progress = match &reply {
            Ok(Reply::Row { progress, .. } | Reply::Behind(progress) | Reply::Status(progress)) => {
                Some(progress)
            }
            Ok(_) => None,
            Err(_) => {
                self.note(copy, Observation::Failed);
                return Err(ShardError::Unreachable);
            }
        };
        if let Some(progress) = progress {
            let position = progress.position;
            self.note(
                copy,
                Observation::Position {
                    epoch: EPOCH,
                    position,
                    at,
                },
            );
        }
        reply.map_err(|_| ShardError::Unreachable)
    }

    fn note(&self, copy: NodeId, observation: Observation) {
        let observed = self.router.observe(copy, observation);
        debug_assert!(
            observed.is_ok(),
            "a copy of this group, and a tick that has passed: {observed:?}"
        );
    }
}

/// Asks every copy again and again how far it is.
async fn probe(groups: Arc<Vec<Group>>) {
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for group in groups.iter() {
            for copy in (0..group.copies.len()).map(|copy| NodeId(copy as u64)) {
                let health = match group.ask(copy, &Request::Status).await {
                    Ok(_) => Health::Up,
                    Err(_) => Health::Down,
                };
                group.router.set_health(copy, health);
            }
        }
    }
}

/// Why the database did not answer.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShardError {
    /// The guard did not admit the request.
    #[error("the shard does not have this key")]
    Refused,
    /// No copy that is far enough can be asked.
    #[error(transparent)]
    NoCopy(#[from] ReadError),
    /// There is no primary to be asked.
    #[error(transparent)]
    NoPrimary(#[from] WriteError),
    /// The copy failed.
    #[error("the shard failed")]
    Failed,
    /// The copy could not be reached in time.
    #[error("the shard cannot be reached")]
    Unreachable,
}
