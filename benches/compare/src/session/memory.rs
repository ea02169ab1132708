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
use super::ours::{self, BareStore, Ours};
use super::rivals::{TowerMemory, TowerMoka};
use super::rounds::{self, Contender, Running};
use crate::allocations::live_bytes;
use crate::table::Table;

pub(super) fn print_speed(rounds: usize, ops: usize) -> Result<(), Box<dyn Error>> {
    let contenders = vec![
        Running::start::<BareMap>(Arc::new(DashMap::new()), 64)?,
        Running::start::<BareStore>(ours::memory_store(), 64)?,
        Running::start::<Ours<Arc<MemoryStore>>>(ours::memory(), 64)?,
        Running::start::<TowerMemory>(Default::default(), 64)?,
        Running::start::<TowerMoka>(MokaStore::new(None), 64)?,
    ];
    rounds::print("memory, 2 threads", contenders, rounds, ops / 20)
}

const SESSIONS: usize = 100_000;

pub(super) fn print_bytes() -> Result<(), Box<dyn Error>> {
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
    row(
        Ours::<Arc<MemoryStore>>::NAME,
        heap_of::<Ours<Arc<MemoryStore>>>(ours::memory())?,
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
pub(super) fn print_sweep() -> Result<(), Box<dyn Error>> {
    let mut table = Table::new(["sessions", "freed", "all calls", "longest call"]);
    for n in [100_000, 1_000_000] {
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
        let (mut freed, mut sum, mut longest) = (0, Duration::ZERO, Duration::ZERO);
        loop {
            let start = Instant::now();
            let swept = at_once(store.sweep(100))?;
            let took = start.elapsed();
            (freed, sum, longest) = (freed + swept.removed, sum + took, longest.max(took));
            if swept.caught_up {
                break;
            }
        }
        table.row([
            n.to_string(),
            freed.to_string(),
            format!("{:.2} ms", sum.as_secs_f64() * 1000.0),
            format!("{:.0} us", longest.as_secs_f64() * 1e6),
        ]);
    }
    table.print("Memory sweep of 1000 ended sessions, 100 units of work a call");
    Ok(())
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
