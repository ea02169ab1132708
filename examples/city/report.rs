//! The run in figures: a line a second, and a table at the end.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::oracle::{Invariant, JobCounts, Verdict};

/// Latencies longer than this are counted as this: a request is given up long before.
const LONGEST: Duration = Duration::from_secs(60);

/// What clients saw.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Requests that were due.
    pub due: u64,
    /// Requests that were answered as they should be.
    pub ok: u64,
    /// The others, by what came instead.
    pub failures: BTreeMap<String, u64>,
    /// Requests that carried a sticky cookie and were answered.
    pub sticky_shown: u64,
    /// Those of them that were served by the node of the request before.
    pub sticky_kept: u64,
    /// From the moment a request was due to its answer or failure, in microseconds, of those that were sent.
    latency: Histogram<u64>,
}

impl Tally {
    /// An empty tally.
    pub fn new() -> Self {
        let longest = LONGEST.as_micros() as u64;
        Tally {
            due: 0,
            ok: 0,
            failures: BTreeMap::new(),
            sticky_shown: 0,
            sticky_kept: 0,
            latency: Histogram::new_with_max(longest, 3)
                .expect("three digits between a microsecond and a minute are possible"),
        }
    }

    /// Counts a request that was answered as it should be.
    pub fn answered(&mut self, latency: Duration) {
        self.ok += 1;
        self.record(latency);
    }

    /// Counts a request that was not.
    pub fn failed(&mut self, why: &str, latency: Duration) {
        self.count_failure(why);
        self.record(latency);
    }

    /// Counts a request that was never sent. It has no latency.
    pub fn given_up(&mut self, why: &str) {
        self.count_failure(why);
    }

    /// The latency below which this share of the requests stayed.
    pub fn percentile(&self, percent: f64) -> Duration {
        Duration::from_micros(self.latency.value_at_percentile(percent))
    }

    /// The requests that are not under way any more.
    pub fn finished(&self) -> u64 {
        self.ok + self.failures.values().sum::<u64>()
    }

    /// The share of finished requests that were answered as they should be, in percent.
    pub fn ok_percent(&self) -> f64 {
        percent(self.ok, self.finished())
    }

    /// Adds the figures of another tally.
    pub fn add(&mut self, other: &Tally) {
        self.due += other.due;
        self.ok += other.ok;
        for (why, count) in &other.failures {
            *self.failures.entry(why.clone()).or_default() += count;
        }
        self.sticky_shown += other.sticky_shown;
        self.sticky_kept += other.sticky_kept;
        self.latency
            .add(&other.latency)
            .expect("all tallies have the same range");
    }

    fn count_failure(&mut self, why: &str) {
        match self.failures.get_mut(why) {
            Some(count) => *count += 1,
            None => {
                self.failures.insert(why.to_owned(), 1);
            }
        }
    }

    fn record(&mut self, latency: Duration) {
        self.latency.saturating_record(latency.as_micros() as u64);
    }
}

impl Default for Tally {
    fn default() -> Self {
        Tally::new()
    }
}

/// How often the per-node caches could answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Pages that were there, fresh enough.
    pub hits: u64,
    /// Pages that had to be loaded, or that another request was loading.
    pub misses: u64,
}

impl CacheCounts {
    /// Adds the counts of another cache.
    pub fn add(&mut self, other: CacheCounts) {
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

/// A second of the run.
#[derive(Debug)]
pub struct Second<'a> {
    /// How far the run is.
    pub at: Duration,
    /// What clients saw in this second.
    pub tally: &'a Tally,
    /// The caches, since the start.
    pub cache: CacheCounts,
    /// Acknowledged orders that wait for a worker.
    pub jobs_waiting: usize,
    /// The verdict so far.
    pub verdict: &'a Verdict,
}

impl fmt::Display for Second<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Second {
            at,
            tally,
            cache,
            jobs_waiting,
            verdict,
        } = self;
        let broken: u64 = Invariant::ALL.iter().map(|&i| verdict.broken(i)).sum();
        write!(
            f,
            "{:4.0}s {:6} req/s  ok {:6.2}%  p50 {:>7} p99 {:>7}  cache {:5.1}%  jobs waiting {jobs_waiting:4}  \
             violations {broken}",
            at.as_secs_f64(),
            tally.finished(),
            tally.ok_percent(),
            Millis(tally.percentile(50.0)).to_string(),
            Millis(tally.percentile(99.0)).to_string(),
            percent(cache.hits, cache.hits + cache.misses),
        )
    }
}

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// What clients saw.
    pub tally: Tally,
    /// From the first request to the last answer.
    pub traffic_time: Duration,
    /// The caches.
    pub cache: CacheCounts,
    /// The jobs.
    pub jobs: JobCounts,
    /// The verdict.
    pub verdict: Verdict,
    /// Why sessions could not be looked at in the end. A promise that could not be checked counts as broken.
    pub unchecked: Vec<String>,
}

impl Report {
    /// Whether every promise was checked and kept.
    pub fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.unchecked.is_empty()
    }
}

/// The table and the oracle's lines, as Markdown.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            tally,
            cache,
            jobs,
            verdict,
            traffic_time,
            unchecked,
        } = self;
        let rate = tally.ok as f64 / traffic_time.as_secs_f64().max(1e-9);
        writeln!(
            f,
            "| requests | requests/s | ok % | p50 | p99 | p99.9 | sticky kept % | cache hit % | stale reads \
             | lost sessions | jobs done | lost | repeated |"
        )?;
        writeln!(
            f,
            "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        writeln!(
            f,
            "| {} | {rate:.0} | {:.3} | {} | {} | {} | {:.2} | {:.1} | {} | {} | {} | {} | {} |",
            tally.finished(),
            tally.ok_percent(),
            Millis(tally.percentile(50.0)),
            Millis(tally.percentile(99.0)),
            Millis(tally.percentile(99.9)),
            percent(tally.sticky_kept, tally.sticky_shown),
            percent(cache.hits, cache.hits + cache.misses),
            verdict.broken(Invariant::Ages),
            verdict.lost_sessions(),
            jobs.done,
            jobs.lost,
            jobs.repeated,
        )?;
        writeln!(f)?;
        for (why, count) in &tally.failures {
            writeln!(f, "failed: {count} × {why}")?;
        }
        for invariant in Invariant::ALL {
            writeln!(
                f,
                "oracle: {}: {} violations in {} checks",
                invariant.promise(),
                verdict.broken(invariant),
                verdict.checked(invariant)
            )?;
        }
        if let Some(why) = unchecked.first() {
            writeln!(
                f,
                "not checked: {} sessions, the first because: {why}",
                unchecked.len()
            )?;
        }
        for violation in verdict.violations() {
            writeln!(f, "{violation}")?;
        }
        Ok(())
    }
}

/// A share in percent; of nothing, all of it.
fn percent(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 100.0,
        whole => part as f64 * 100.0 / whole as f64,
    }
}

/// A latency in milliseconds.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0.as_secs_f64() * 1e3)
    }
}
