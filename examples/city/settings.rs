//! What a run is told, and the fixed measures of the city.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::sabotage::Sabotage;

/// App nodes behind the front door.
pub const APP_NODES: usize = 4;
/// Shards of the database.
pub const SHARDS: usize = 4;
/// Copies of each shard: a primary and two replicas.
pub const COPIES: usize = 3;
/// Workers on the queue.
pub const WORKERS: usize = 3;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// When the traffic stops; `None` for the end of the trace.
    pub run_time: Option<Duration>,
    /// Seed of the traffic and of every chance in it.
    pub seed: u64,
    /// Requests a second, on average.
    pub rate: NonZeroU32,
    /// Whether to leave out the map of the city.
    pub headless: bool,
    /// How many visits go on side by side. Requests are dealt to them in turn, like cards to players, so that a
    /// visitor pauses between his requests as people do: for `lanes / rate` seconds.
    pub lanes: NonZeroUsize,
    /// The trace to replay; the city's own shop traffic without one.
    pub trace: Option<PathBuf>,
    /// How late a replica applies what its primary has committed.
    pub lag: Duration,
    /// The app nodes to stop in mid-run.
    pub kills: Vec<Kill>,
    /// The fault to build in.
    pub sabotage: Option<Sabotage>,
    /// The front door's port; 0 for any free one.
    pub port: u16,
    /// How old a product page may be when it is shown. The app nodes ask for it, the oracle holds them to it.
    pub page_age: Duration,
}

/// An app node to stop, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The node's index: 0 is `app-1`.
    pub node: usize,
    /// When, counted from the first request.
    pub at: Duration,
}

impl Settings {
    /// How long the city's own traffic lasts.
    pub const DEFAULT_RUN_TIME: Duration = Duration::from_secs(60);
    /// The highest rate: far beyond what any machine answers, and slow enough to count in nanoseconds.
    pub const MAX_RATE: NonZeroU32 = NonZeroU32::new(1_000_000).expect("not zero");
    /// The most a replica may lag. The primaries' logs hold this much at any rate two cores can make.
    pub const MAX_LAG: Duration = Duration::from_secs(60);
}

impl Default for Settings {
    /// A minute of shop traffic, with peaks at about half of what two cores carry.
    fn default() -> Self {
        Settings {
            run_time: Some(Settings::DEFAULT_RUN_TIME),
            seed: 1,
            rate: NonZeroU32::new(2_000).expect("not zero"),
            lanes: NonZeroUsize::new(512).expect("not zero"),
            headless: false,
            trace: None,
            lag: Duration::from_millis(20),
            kills: Vec::new(),
            sabotage: None,
            port: 0,
            page_age: Duration::from_secs(10),
        }
    }
}
