//! The slowest look-ups of one reader: of a cache that nobody else uses, while a million entries expire, and while
//! sixteen threads insert.

mod caches;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use purlin_core::Rng;

use self::caches::{Moka, Purlin, PurlinOpen, Quick};
use crate::table::Table;

/// Keys that are asked for. They live long.
const HOT: u64 = 10_000;
const EXPIRING: u64 = 1_000_000;
const WRITERS: u64 = 16;
/// A reader ends after so many look-ups, or after so long if these are enough for a p99.9.
const LOOK_UPS: usize = 1_000_000;
const ENOUGH: usize = 20_000;
const TIME: Duration = Duration::from_secs(1);

/// A cache in which some entries expire together.
trait Cache: Send + Sync {
    fn with_capacity(entries: usize) -> Self;
    fn get(&self, key: u64) -> Option<u64>;
    /// For good.
    fn insert(&self, key: u64, value: u64);
    /// Until [`expire`](Cache::expire).
    fn insert_mortal(&self, key: u64, value: u64);
    /// Has all deadlines pass. Returns whether there are any.
    fn expire(&self) -> bool;
    /// How many entries there are, those that are over and still there included.
    fn len(&self) -> u64;
}

/// In microseconds.
#[derive(Clone, Copy, Default)]
struct Tail {
    p50: f64,
    p999: f64,
    longest: f64,
}

/// What one cache did in one round.
#[derive(Clone, Copy)]
struct Round {
    idle: Tail,
    /// `None` where nothing expires.
    expiring: Option<Tail>,
    writers: Tail,
}

/// Has one contender do a round.
type Measure = fn() -> Round;
/// What it did in one scene.
type Scene = fn(&Round) -> Option<Tail>;

/// Prints p50, p99.9 and the longest, medians of the rounds.
pub(super) fn print(only: &str, rounds: usize) {
    let contenders: [(&str, Measure); 4] = [
        ("purlin", round::<Purlin>),
        ("purlin, no lock", round::<PurlinOpen>),
        ("quick_cache", round::<Quick>),
        ("moka", round::<Moka>),
    ];
    let contenders: Vec<_> = contenders
        .into_iter()
        .filter(|(name, _)| name.contains(only))
        .collect();
    let mut results = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((_, round), results) in contenders.iter().zip(&mut results) {
            results.push(round());
        }
    }
    let heads = [
        "get of",
        "while",
        "p50 µs",
        "p99.9 µs",
        "above idle",
        "longest µs",
    ];
    let mut table = Table::new(heads);
    for ((name, _), rounds) in contenders.iter().zip(&results) {
        let median = |scene: Scene, of: fn(&Tail) -> f64| {
            let mut figures: Vec<f64> = rounds.iter().filter_map(scene).map(|it| of(&it)).collect();
            figures.sort_unstable_by(f64::total_cmp);
            figures.get(figures.len() / 2).copied()
        };
        let scenes: [(&str, Scene); 3] = [
            ("nobody else", |round| Some(round.idle)),
            ("1 000 000 entries expire", |round| round.expiring),
            ("16 writers insert", |round| Some(round.writers)),
        ];
        let idle = median(scenes[0].1, |tail| tail.p999);
        for (what, scene) in scenes {
            let cell = |figure: Option<f64>, digits: usize| {
                figure.map_or("-".to_owned(), |figure| format!("{figure:.digits$}"))
            };
            let p999 = median(scene, |tail| tail.p999);
            let above = p999.zip(idle).map(|(p999, idle)| p999 - idle);
            table.row([
                (*name).to_owned(),
                what.to_owned(),
                cell(median(scene, |tail| tail.p50), 2),
                cell(p999, 2),
                cell(above, 2),
                cell(median(scene, |tail| tail.longest), 0),
            ]);
        }
    }
    table.print(&format!(
        "The slowest look-ups of one thread, median of {rounds} interleaved rounds"
    ));
}

fn round<C: Cache>() -> Round {
    Round {
        idle: read(&filled::<C>()),
        expiring: expiring::<C>(),
        writers: writers::<C>(),
    }
}

/// With room for all that is inserted here, whichever shard it falls on.
fn filled<C: Cache>() -> C {
    let cache = C::with_capacity(2 * (HOT + EXPIRING) as usize);
    (0..HOT).for_each(|key| cache.insert(key, key));
    cache
}

/// The reader begins when a million deadlines have just passed.
fn expiring<C: Cache>() -> Option<Tail> {
    let cache = filled::<C>();
    (HOT..HOT + EXPIRING).for_each(|key| cache.insert_mortal(key, key));
    let there = cache.len();
    if !cache.expire() {
        return None;
    }
    let tail = read(&cache);
    assert!(
        there > EXPIRING && cache.len() < there,
        "the reader's calls find the dead"
    );
    Some(tail)
}

fn writers<C: Cache>() -> Tail {
    let cache = filled::<C>();
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

fn read(cache: &impl Cache) -> Tail {
    let mut rng = Rng::from_seed(7);
    let mut took: Vec<Duration> = Vec::with_capacity(LOOK_UPS);
    let end = Instant::now() + TIME;
    while took.len() < LOOK_UPS {
        let key = rng.below(HOT);
        let began = Instant::now();
        let value = cache.get(key);
        let ended = Instant::now();
        took.push(ended - began);
        assert_eq!(value, Some(key), "the hot keys stay");
        if ended > end && took.len() >= ENOUGH {
            break;
        }
    }
    took.sort_unstable();
    let micros = |at: usize| took[at].as_nanos() as f64 / 1_000.0;
    Tail {
        p50: micros(took.len() / 2),
        p999: micros(took.len() - took.len() / 1_000),
        longest: micros(took.len() - 1),
    }
}
