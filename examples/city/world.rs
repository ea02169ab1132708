//! The city itself: every tier is built here, let run, held to account and taken down.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::{Clock, Keyring, KeyringError, SealingKey, SystemClock, Tick, Timer};
use purlin_session_store::MemoryStore;
use purlin_shard_router::{Guard, MapError, Shard, ShardId, ShardMap};
use tempfile::TempDir;
use workloads::trace::{self, TraceError};

use crate::app::{self, App};
use crate::database::Database;
use crate::driver::{self, Driver};
use crate::front::Front;
use crate::http_pool::HttpPool;
use crate::jobs::{JobQueue, Workers};
use crate::oracle::Oracle;
use crate::primary::Primary;
use crate::replay::Replay;
use crate::replica::Replica;
use crate::report::{CacheCounts, Report, Second, Tally};
use crate::sabotage::Sabotage;
use crate::server::{Server, listen};
use crate::settings::{APP_NODES, COPIES, Kill, SHARDS, Settings};
use crate::shard_server::{Role, ShardCopy};
use crate::shards::Shards;
use crate::shop::Shop;
use crate::traffic::Traffic;
use crate::visitors::Visitors;
use crate::wire::Stamp;

/// How long the workers may take to finish what is left when the traffic has stopped.
const SETTLE: Duration = Duration::from_secs(60);

/// Runs a city from its first request to its last check. `line` is given the lines that are printed meanwhile.
///
/// # Errors
///
/// [`RunError`] if the city could not start, or its queue broke down. What the oracle found is in the report.
pub fn run(
    settings: &Settings,
    line: &mut dyn FnMut(&dyn fmt::Display),
) -> Result<Report, RunError> {
    // First, so that a wrong file is known before anything is built.
    let mut traffic = traffic(settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(RunError::Runtime)?;
    runtime.block_on(async {
        let mut city = City::build(settings).await?;
        if !settings.headless {
            line(&city.map());
        }
        let traffic_time = city.live(traffic.as_mut(), line).await;
        city.close(traffic_time).await
    })
}

fn traffic(settings: &Settings) -> Result<Box<dyn Traffic>, TraceError> {
    Ok(match &settings.trace {
        Some(path) => Box::new(Replay::new(trace::read(path)?, settings.lanes)),
        None => Box::new(Shop::new(settings.seed, settings.lanes)),
    })
}

/// All tiers at work.
struct City {
    settings: Settings,
    clock: SystemClock,
    oracle: Arc<Oracle>,
    driver: Arc<Driver>,
    front: Front,
    door: Server,
    /// By index; `None` for one that was killed.
    apps: Vec<Option<AppNode>>,
    queue: Arc<JobQueue>,
    workers: Workers,
    /// By shard, the primary first.
    copies: Vec<Vec<CopyNode>>,
    /// What the caches of killed nodes had counted.
    cache_of_the_dead: CacheCounts,
    tally: Tally,
    /// The last to go: the files are in it.
    folder: TempDir,
}

struct AppNode {
    app: Arc<App>,
    server: Server,
}

struct CopyNode {
    copy: Arc<ShardCopy>,
    server: Server,
}

impl City {
    async fn build(settings: &Settings) -> Result<Self, RunError> {
        let clock = SystemClock::new();
        let oracle = Arc::new(Oracle::new(clock));
        // Before anything else that listens, so that nothing of ours can be in its place.
        let door = listen(settings.port)
            .await
            .map_err(|error| RunError::Port(settings.port, error))?;
        let folder = tempfile::Builder::new().prefix("city-").tempdir()?;

        let map =
            Arc::new(ShardMap::even_split((0..SHARDS as u32).map(|number| {
                Shard::new(ShardId(number), format!("shard-{number}"))
            }))?);
        let mut copies = Vec::new();
        for shard in 0..SHARDS as u32 {
            copies.push(build_shard(settings, clock, &oracle, &map, &folder, shard).await?);
        }
        let addresses: Vec<Vec<SocketAddr>> = copies
            .iter()
            .map(|shard| shard.iter().map(|node| node.server.address()).collect())
            .collect();
        let shards = || Shards::new(Arc::clone(&map), &addresses, clock, settings.sabotage);

        let queue = Arc::new(JobQueue::open(&folder.path().join("queue.redb"))?);
        let workers = Workers::start(&queue, shards()?, Arc::clone(&oracle), settings.sabotage);

        let keys = sealing_keys()?;
        let store = Arc::new(MemoryStore::new());
        let mut apps = Vec::new();
        for index in 0..APP_NODES {
            let app = Arc::new(App::new(app::Parts {
                index,
                visitors: Visitors::new(Arc::clone(&store), keys.clone())?,
                shards: shards()?,
                queue: Arc::clone(&queue),
                clock,
                page_age: settings.page_age,
                sabotage: settings.sabotage,
            }));
            let router = Arc::clone(&app).router();
            let server = Server::start(listen(0).await?, move |stream| {
                app::serve(stream, router.clone())
            })?;
            apps.push(Some(AppNode { app, server }));
        }

        let app_addresses: Vec<SocketAddr> = apps
            .iter()
            .flatten()
            .map(|node| node.server.address())
            .collect();
        let front = Front::open(&app_addresses, Arc::new(Keyring::new(keys)?))?;
        let door = Server::start(door, front.service())?;
        let pool = HttpPool::new(door.address(), driver::CONNECTIONS);
        Ok(City {
            settings: settings.clone(),
            clock,
            driver: Arc::new(Driver::new(pool, clock, Arc::clone(&oracle))),
            oracle,
            front,
            door,
            apps,
            queue,
            workers,
            copies,
            cache_of_the_dead: CacheCounts::default(),
            tally: Tally::new(),
            folder,
        })
    }

    /// Who listens where; of a shard's copies the primary first.
    fn map(&self) -> String {
        let mut map = format!("the front door on http://{}\n", self.door.address());
        for (index, node) in self.apps.iter().enumerate() {
            if let Some(node) = node {
                map += &format!("app-{} on {}\n", index + 1, node.server.address());
            }
        }
        for (shard, copies) in self.copies.iter().enumerate() {
            let addresses = copies.iter().map(|node| node.server.address().to_string());
            let addresses: Vec<String> = addresses.collect();
            map += &format!("shard-{shard} on {}\n", addresses.join(", "));
        }
        map += &format!("files in {}", self.folder.path().display());
        map
    }

    /// Lets the traffic through, kills who is to be killed, and says each second how things are. Returns how long
    /// it took from the first request to the last answer.
    async fn live(
        &mut self,
        traffic: &mut dyn Traffic,
        line: &mut dyn FnMut(&dyn fmt::Display),
    ) -> Duration {
        let start = self.clock.now();
        let driver = Arc::clone(&self.driver);
        let rate = f64::from(self.settings.rate.get());
        let mut driving = pin!(driver.drive(traffic, rate, self.settings.run_time));
        let mut kills = self.settings.kills.clone();
        kills.sort_by_key(|kill| std::cmp::Reverse(kill.at));
        let mut next_second = start.after(Duration::from_secs(1));
        loop {
            let next_kill = kills.last().map_or(Tick::MAX, |kill| start.after(kill.at));
            tokio::select! {
                traffic_time = &mut driving => {
                    self.end_of_second(start, line);
                    return traffic_time;
                }
                () = self.clock.sleep_until(next_second) => {
                    self.end_of_second(start, line);
                    next_second = next_second.after(Duration::from_secs(1));
                }
                () = self.clock.sleep_until(next_kill) => {
                    if let Some(kill) = kills.pop() {
                        self.kill(kill).await;
                        line(&format_args!("     app-{} killed", kill.node + 1));
                    }
                }
            }
        }
    }

    fn end_of_second(&mut self, start: Tick, line: &mut dyn FnMut(&dyn fmt::Display)) {
        let tally = self.driver.take_tally();
        if tally.finished() > 0 {
            line(&Second {
                at: self.clock.now().since(start),
                tally: &tally,
                cache: self.cache_counts(),
                jobs_waiting: self.oracle.jobs_outstanding(),
                verdict: &self.oracle.verdict(),
            });
        }
        self.tally.add(&tally);
    }

    /// Stops a node as a crash would: its port closes, its connections are reset, its requests are dropped where
    /// they stand, and its cache is gone.
    async fn kill(&mut self, kill: Kill) {
        if let Some(AppNode { app, server }) = self.apps[kill.node].take() {
            self.cache_of_the_dead.add(app.cache_counts());
            server.stop().await;
        }
    }

    fn cache_counts(&self) -> CacheCounts {
        let mut counts = self.cache_of_the_dead;
        for node in self.apps.iter().flatten() {
            counts.add(node.app.cache_counts());
        }
        counts
    }

    /// After the last request: lets the workers finish, has every session looked at once more, takes the tiers
    /// down from the top, and holds the files against the oracle's books.
    async fn close(mut self, traffic_time: Duration) -> Result<Report, RunError> {
        self.settle().await;
        let unchecked = self.driver.review().await;
        let cache = self.cache_counts();
        self.workers.stop().await?;
        drop(self.front);
        self.door.stop().await;
        for node in self.apps.drain(..).flatten() {
            node.server.stop().await;
        }
        for (shard, copies) in self.copies.iter().enumerate() {
            let [primary, replicas @ ..] = &copies[..] else {
                continue;
            };
            let database = primary.copy.database();
            self.oracle
                .audit_primary(shard as u32, &database.rows()?, &database.ledger()?);
            for replica in replicas {
                self.oracle
                    .audit_replica(shard as u32, &replica.copy.database().rows()?);
            }
        }
        self.oracle.close_jobs();
        for node in self.copies.drain(..).flatten() {
            node.server.stop().await;
        }
        self.tally.add(&self.driver.take_tally());
        Ok(Report {
            tally: self.tally,
            traffic_time,
            cache,
            jobs: self.oracle.job_counts(),
            verdict: self.oracle.verdict(),
            unchecked,
        })
    }

    /// Waits until the queue is empty, redeliveries included. An order that is still there in the end is the
    /// oracle's to judge.
    async fn settle(&self) {
        let deadline = self.clock.now().after(SETTLE);
        while !self.queue.is_empty() && self.clock.now() < deadline {
            let soon = self.clock.now().after(Duration::from_millis(10));
            self.clock.sleep_until(soon).await;
        }
    }
}

async fn build_shard(
    settings: &Settings,
    clock: SystemClock,
    oracle: &Arc<Oracle>,
    map: &Arc<ShardMap>,
    folder: &TempDir,
    shard: u32,
) -> Result<Vec<CopyNode>, RunError> {
    let mut nodes: Vec<CopyNode> = Vec::new();
    for copy in 0..COPIES as u32 {
        let path = folder.path().join(format!("shard-{shard}-{copy}.redb"));
        let database = Arc::new(Database::open(&path)?);
        let role = match nodes.first() {
            None => Role::Primary(Primary::start(database, shard, clock, Arc::clone(oracle))?),
            Some(primary) => {
                let primary = primary.server.address();
                Role::Replica(Replica::start(database, primary, settings.lag, clock)?)
            }
        };
        let guard = Guard::new(ShardId(shard), Arc::clone(map));
        let guarded = settings.sabotage != Some(Sabotage::WrongShard);
        let copy = Arc::new(ShardCopy::new(Stamp { shard, copy }, role, guard, guarded));
        let serving = Arc::clone(&copy);
        let server = Server::start(listen(0).await?, move |stream| {
            Arc::clone(&serving).serve(stream)
        })?;
        nodes.push(CopyNode { copy, server });
    }
    Ok(nodes)
}

/// The run's own keys, for cookies that mean nothing after it.
fn sealing_keys() -> Result<Vec<SealingKey>, RunError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| RunError::Random(error.to_string()))?;
    Ok(vec![SealingKey::new(1, secret)])
}

/// Why there is no report. The text is one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The trace cannot be replayed.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The front door's port cannot be had.
    #[error("cannot listen on 127.0.0.1:{0}: {1}")]
    Port(u16, #[source] io::Error),
    /// The runtime could not start.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] io::Error),
    /// A folder, a file or a socket could not be had.
    #[error("cannot build the city: {0}")]
    Io(#[from] io::Error),
    /// A shard's file could not be used.
    #[error("cannot use a shard's file: {0}")]
    Database(#[from] redb::Error),
    /// The operating system gave no random bytes.
    #[error("no random bytes for the cookies' keys: {0}")]
    Random(String),
    /// The cookies' keys are no keyring.
    #[error("cannot seal cookies: {0}")]
    Keys(#[from] KeyringError),
    /// The shards make no map.
    #[error("cannot map the shards: {0}")]
    Map(#[from] MapError),
    /// The copies of a shard make no group.
    #[error("cannot group a shard's copies: {0}")]
    Copies(#[from] purlin_replica_router::MembersError),
    /// The app nodes cannot be balanced.
    #[error("cannot balance the app nodes: {0}")]
    Balancer(#[from] purlin_balancer::EndpointsError),
    /// The queue's file could not be opened.
    #[error("cannot open the queue: {0}")]
    OpenQueue(#[from] purlin_redb::OpenError),
    /// The queue failed.
    #[error("the queue failed: {0}")]
    Queue(#[from] purlin_work_queue::Error),
}
