//! The slowest look-ups of one reader: of a cache that nobody else uses, while a million entries expire, and while
//! sixteen threads insert.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use purlin_core::{Clock, MapHasher, Rng, SystemClock, Tick, WallTime};
use purlin_lru_cache::Cache;

use crate::table::Table;

/// Keys that are asked for. They live long.
const HOT: u64 = 10_000;
const EXPIRING: u64 = 1_000_000;
const WRITERS: u64 = 16;
const LOOK_UPS: usize = 2_000_000;
const LIFE: Duration = Duration::from_secs(600);

/// Measures once, on a cache of its own.
type Scene = fn(Reads) -> Tail;
type Shared = Cache<u64, u64, MapHasher, Leaping>;

/// The system's clock, which can be made to go ahead, so that all deadlines pass at one moment. What it costs to ask
/// is what it costs there.
#[derive(Clone, Debug, Default)]
struct Leaping {
    clock: SystemClock,
    ahead: Arc<AtomicU64>,
}

impl Leaping {
    fn leap(&self, by: Duration) {
        let nanos = by.as_nanos() as u64;
        self.ahead.fetch_add(nanos, Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_nanos(self.ahead.load(Ordering::Relaxed))
    }
}

impl Clock for Leaping {
    fn now(&self) -> Tick {
        self.clock.now().after(self.ahead())
    }
    fn wall(&self) -> WallTime {
        self.clock.wall().after(self.ahead())
    }
    fn coarse(&self) -> Tick {
        self.clock.coarse().after(self.ahead())
    }
}

/// How look-ups go, which a cache is built with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    Locked,
    Free,
}

/// Prints p50, p99.9 and the longest, medians of the rounds.
pub(super) fn print(rounds: usize) {
    print_for(Reads::Locked, "", rounds);
    print_for(Reads::Free, ", without a lock", rounds);
}

fn print_for(reads: Reads, how: &str, rounds: usize) {
    let scenes: [(&str, Scene); 3] = [
        ("nobody else", idle),
        ("1 000 000 entries expire", expiring),
        ("16 writers insert", writers),
    ];
    let mut tails: Vec<Vec<Tail>> = vec![Vec::new(); scenes.len()];
    for _ in 0..rounds {
        for ((_, scene), tails) in scenes.iter().zip(&mut tails) {
            tails.push(scene(reads));
        }
    }
    let median = |tails: &[Tail], of: fn(&Tail) -> u32| {
        let mut figures: Vec<u32> = tails.iter().map(of).collect();
        figures.sort_unstable();
        f64::from(figures[figures.len() / 2]) / 1_000.0
    };
    let heads = [
        "get while",
        "p50 µs",
        "p99.9 µs",
        "above idle",
        "longest µs",
    ];
    let mut table = Table::new(heads);
    let idle = median(&tails[0], |tail| tail.p999);
    for ((name, _), tails) in scenes.iter().zip(&tails) {
        let p999 = median(tails, |tail| tail.p999);
        table.row([
            (*name).to_owned(),
            format!("{:.2}", median(tails, |tail| tail.p50)),
            format!("{p999:.2}"),
            format!("{:.2}", p999 - idle),
            format!("{:.0}", median(tails, |tail| tail.longest)),
        ]);
    }
    table.print(&format!(
        "The slowest of {LOOK_UPS} look-ups of one thread{how}, median of {rounds} interleaved rounds"
    ));
}

/// In nanoseconds.
#[derive(Clone, Copy)]
struct Tail {
    p50: u32,
    p999: u32,
    longest: u32,
}

fn filled(reads: Reads) -> (Shared, Leaping) {
    let clock = Leaping::default();
    // Room for all that is inserted here, whichever shard it falls on.
    let mut builder = Cache::builder()
        .clock(clock.clone())
        .entry_limit(2 * (HOT + EXPIRING) as usize);
    if reads == Reads::Free {
        builder = builder.reads_without_lock();
    }
    let cache = builder.build();
    for key in 0..HOT {
        cache.insert_for(key, key, 100 * LIFE);
    }
    (cache, clock)
}

fn idle(reads: Reads) -> Tail {
    read(&filled(reads).0)
}

/// The reader begins when a million deadlines have just passed.
fn expiring(reads: Reads) -> Tail {
    let (cache, clock) = filled(reads);
    for key in HOT..HOT + EXPIRING {
        cache.insert_for(key, key, LIFE);
    }
    assert_eq!(cache.len() as u64, HOT + EXPIRING, "nothing is over yet");
    clock.leap(2 * LIFE);
    let tail = read(&cache);
    let left = cache.len();
    assert!(
        left < 2 * HOT as usize,
        "the reader's calls find the dead: {left} are left"
    );
    tail
}

fn writers(reads: Reads) -> Tail {
    let (cache, _) = filled(reads);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (cache, is_over) = (&cache, &is_over);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(writer);
                while !is_over.load(Ordering::Relaxed) {
                    cache.insert(HOT + rng.below(EXPIRING), writer);
                }
            });
        }
        let tail = read(&cache);
        is_over.store(true, Ordering::Relaxed);
        tail
    })
}

fn read(cache: &Shared) -> Tail {
    let mut rng = Rng::from_seed(7);
    let mut took: Vec<u32> = Vec::with_capacity(LOOK_UPS);
    for _ in 0..LOOK_UPS {
        let key = rng.below(HOT);
        let began = Instant::now();
        let value = cache.get(&key);
        took.push(began.elapsed().as_nanos().min(u32::MAX.into()) as u32);
        assert_eq!(value, Some(key), "the hot keys stay");
    }
    took.sort_unstable();
    Tail {
        p50: took[LOOK_UPS / 2],
        p999: took[LOOK_UPS - LOOK_UPS / 1_000],
        longest: took[LOOK_UPS - 1],
    }
}
