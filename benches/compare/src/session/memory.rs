//! Stores in the process: speed, heap bytes a session, and what a sweep costs.

use std::error::Error;
use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use purlin_core::ManualClock;
use purlin_session_store::{Lifetime, MemoryStore, Record, SessionId, SessionStore};
use tower_sessions_moka_store::MokaStore;

use super::document::json_len;
use super::floors::BareMap;
use super::near::{self, NearHit};
use super::ours::{self, BareStore, Ours};
use super::rivals::{TowerMemory, TowerMoka};
use super::rounds::{self, Contender, Running};
use super::targets::Targets;
use crate::allocations::live_bytes;
use crate::table::Table;

pub(super) fn print_speed(
    rounds: usize,
    ops: usize,
    targets: &mut Targets,
) -> Result<(), Box<dyn Error>> {
    let contenders = vec![
        Running::start::<BareMap>(Arc::new(DashMap::new()), 64)?,
        Running::start::<BareStore>(ours::memory_store(), 64)?,
        Running::start::<Ours<Arc<MemoryStore>>>(ours::memory(), 64)?,
        Running::start::<NearHit>(near::shared(), 64)?,
        Running::start::<TowerMemory>(Default::default(), 64)?,
        Running::start::<TowerMoka>(MokaStore::new(None), 64)?,
    ];
    let ratios = rounds::print("memory, 2 threads", contenders, rounds, ops / 20)?;
    let [by_key, session, near] = [1, 2, 3].map(|idx| ratios[idx][0]);
    targets.at_least("memory: load by key, beside a map's", 0.5, by_key);
    targets.at_least("memory: session opened and a field read", 0.5, session);
    targets.at_least("near cache: hit, beside a map's", 0.5, near);
    Ok(())
}

const SESSIONS: usize = 100_000;

pub(super) fn print_bytes(targets: &mut Targets) -> Result<(), Box<dyn Error>> {
    let payload = json_len();
    let mut table = Table::new(["store", "B/session", "x payload"]);
    let mut row = |name: &str, bytes: usize| {
        let each = bytes as f64 / SESSIONS as f64;
        table.row([
            name.to_owned(),
            format!("{each:.0}"),
            format!("{:.2}", each / payload as f64),
        ]);
    };
    row(BareMap::NAME, heap_of::<BareMap>(Arc::new(DashMap::new()))?);
    let ours = heap_of::<Ours<Arc<MemoryStore>>>(ours::memory())?;
    row(Ours::<Arc<MemoryStore>>::NAME, ours);
    targets.at_most(
        "memory: bytes a session",
        1.25 * payload as f64 + 64.0,
        ours as f64 / SESSIONS as f64,
    );
    row(
        TowerMemory::NAME,
        heap_of::<TowerMemory>(Default::default())?,
    );
    row(TowerMoka::NAME, heap_of::<TowerMoka>(MokaStore::new(None))?);
    table.print(&format!(
        "Heap bytes of {SESSIONS} sessions of {payload} bytes, as asked of the allocator"
    ));
    Ok(())
}

fn heap_of<C: Contender>(shared: C::Shared) -> Result<usize, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        let contender = C::connect(shared.clone()).await;
        let before = live_bytes();
        for _ in 0..SESSIONS {
            drop(contender.create().await);
        }
        Ok(live_bytes().saturating_sub(before))
    })
}

/// Of many sessions a thousand end. How long until they are freed, and the longest call on the way.
pub(super) fn print_sweep(targets: &mut Targets) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new([
        "sessions",
        "freed",
        "units of work",
        "all calls",
        "longest call",
        "longest by the wall clock",
    ]);
    for n in [100_000, 1_000_000] {
        // What a call does is the same each time, and what the machine does is not: so each is the least of a few.
        let mut sweep = sweep_of(n)?;
        for _ in 1..SWEEPS {
            let other = sweep_of(n)?;
            sweep.sum = sweep.sum.min(other.sum);
            sweep.longest = sweep.longest.min(other.longest);
            sweep.longest_seen = sweep.longest_seen.min(other.longest_seen);
        }
        let Sweep {
            freed,
            calls,
            sum,
            longest,
            longest_seen,
        } = sweep;
        if n == 1_000_000 {
            let us = longest.as_secs_f64() * 1e6;
            targets.at_most(
                "sweep of a million: units of work",
                2000.0,
                (calls * 100) as f64,
            );
            targets.at_most("sweep of a million: longest call, us", 1000.0, us);
        }
        table.row([
            n.to_string(),
            freed.to_string(),
            format!("at most {}", calls * 100),
            format!("{:.2} ms", sum.as_secs_f64() * 1000.0),
            format!("{:.0} us", longest.as_secs_f64() * 1e6),
            format!("{:.0} us", longest_seen.as_secs_f64() * 1e6),
        ]);
    }
    table.print(
        "Memory sweep of 1000 ended sessions, 100 units of work a call, in the thread's own time, least of 3",
    );
    Ok(())
}

/// How often each sweep is made.
const SWEEPS: usize = 3;

struct Sweep {
    freed: usize,
    calls: usize,
    sum: Duration,
    longest: Duration,
    longest_seen: Duration,
}

/// Of so many sessions a thousand end, and are swept out.
fn sweep_of(n: usize) -> Result<Sweep, Box<dyn Error>> {
    let clock = Arc::new(ManualClock::new());
    let store = MemoryStore::builder()
        .max_entries(2 * n)
        .max_bytes(usize::MAX)
        .clock(Arc::clone(&clock))
        .build();
    for i in 0..n {
        let idle = Duration::from_secs(if i % (n / 1000) == 0 { 60 } else { 3600 });
        let record = Record::new(&b"x"[..], Lifetime::new(idle, Duration::MAX));
        let _ = black_box(at_once(store.create(&SessionId::random()?.key(), record))?);
    }
    clock.advance(Duration::from_secs(61));
    let mut sweep = Sweep {
        freed: 0,
        calls: 0,
        sum: Duration::ZERO,
        longest: Duration::ZERO,
        longest_seen: Duration::ZERO,
    };
    loop {
        // What else the machine does in between is not this call's.
        let (start, busy) = (Instant::now(), thread_time());
        let swept = at_once(store.sweep(100))?;
        let (took, seen) = (thread_time().saturating_sub(busy), start.elapsed());
        sweep.freed += swept.removed;
        sweep.calls += 1;
        sweep.sum += took;
        sweep.longest = sweep.longest.max(took);
        sweep.longest_seen = sweep.longest_seen.max(seen);
        if swept.caught_up {
            return Ok(sweep);
        }
    }
}

/// How long this thread has run.
fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither is ever negative.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The result of a future that does not wait.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut future = Box::pin(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(result) => result,
        std::task::Poll::Pending => unreachable!("a store in this process does not wait"),
    }
}
