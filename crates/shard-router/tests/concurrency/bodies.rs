//! Writers, a move and readers of the map, each on a thread of its own: on real threads by `concurrency.rs`, on
//! shuttle's by `shuttle.rs`.

use std::sync::Arc;

use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::{AtomicU64, Ordering};
use purlin_shard_router::{
    Guard, Refusal, Route, Router, Shard, ShardId, ShardMap, Slot, SlotMove, Step,
};

use crate::threads::{spawn, yield_now};

const SOURCE: ShardId = ShardId(1);
const TARGET: ShardId = ShardId(2);
const SLOT: Slot = Slot(0);
const N_WRITERS: u64 = 2;
const WRITES: u64 = 2;

/// Two shards with their rows, and the map that clients fetch when they are refused.
struct Fleet {
    guards: [Guard; 2],
    rows: [Mutex<Vec<u64>>; 2],
    newest: Mutex<Arc<ShardMap>>,
    /// How many writes are at it, by shard: some at both at once would be two owners.
    writing: [AtomicU64; 2],
}

impl Fleet {
    fn new() -> Fleet {
        let shards = [SOURCE, TARGET].map(|id| Shard::new(id, format!("db-{}", id.0)));
        let map = ShardMap::builder(shards).slot_count(2).even_split();
        let map = Arc::new(map.unwrap());
        Fleet {
            guards: [SOURCE, TARGET].map(|id| Guard::new(id, Arc::clone(&map))),
            rows: [Mutex::new(Vec::new()), Mutex::new(Vec::new())],
            newest: Mutex::new(map),
            writing: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    fn newest(&self) -> Arc<ShardMap> {
        Arc::clone(&self.newest.lock())
    }

    fn publish(&self, map: ShardMap) {
        let mut newest = self.newest.lock();
        assert_eq!(map.version().0, newest.version().0 + 1);
        *newest = Arc::new(map);
    }
}

fn index(shard: ShardId) -> usize {
    shard.0 as usize - 1
}

/// A client that writes until each write is acknowledged, by a map that it renews only when refused.
fn write(fleet: &Fleet, router: &Router, writes: std::ops::Range<u64>) {
    for write in writes {
        loop {
            let now = router.map().assignment(SLOT).unwrap();
            let route = Route::new(now.owner, SLOT, now.epoch);
            let shard = index(route.shard());
            match fleet.guards[shard].admit(route) {
                Ok(admit) => {
                    fleet.writing[shard].fetch_add(1, Ordering::SeqCst);
                    let other = fleet.writing[1 - shard].load(Ordering::SeqCst);
                    assert_eq!(other, 0, "two shards write to one slot");
                    fleet.rows[shard].lock().push(write);
                    fleet.writing[shard].fetch_sub(1, Ordering::SeqCst);
                    drop(admit);
                    break;
                }
                Err(Refusal::Frozen { .. } | Refusal::Stale { .. } | Refusal::Behind { .. }) => {
                    // It may be the older one; then the wait goes on.
                    drop(router.install(fleet.newest()));
                    yield_now();
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

fn move_slot(fleet: &Fleet) {
    let mut moving = SlotMove::plan(&fleet.newest(), [SLOT], TARGET).unwrap();
    loop {
        match moving.step() {
            Step::Freeze | Step::Commit | Step::Thaw => {
                let next = moving.propose(&fleet.newest()).unwrap().unwrap();
                fleet.publish(next);
                moving.published().unwrap();
            }
            Step::Drain { .. } => {
                for guard in &fleet.guards {
                    guard.install(fleet.newest()).unwrap();
                    while !guard.is_drained(moving.slots()) {
                        yield_now();
                    }
                    moving.drained(guard.shard(), guard.version()).unwrap();
                }
            }
            Step::Copy { epoch } => {
                let admit = fleet.guards[index(TARGET)]
                    .admit_import(SLOT, epoch)
                    .unwrap();
                let rows = fleet.rows[index(SOURCE)].lock().clone();
                *fleet.rows[index(TARGET)].lock() = rows;
                drop(admit);
                moving.copied().unwrap();
            }
            Step::Open { .. } | Step::Release { .. } | Step::Reopen { .. } => {
                let opening = matches!(moving.step(), Step::Open { .. });
                let guard = &fleet.guards[index(if opening { TARGET } else { SOURCE })];
                guard.install(fleet.newest()).unwrap();
                moving.installed(guard.shard(), guard.version()).unwrap();
            }
            Step::Done | Step::Aborted => break,
        }
    }
}

/// No write is lost, and no slot has two writers, while it moves.
pub(crate) fn move_under_writes() {
    let fleet = Arc::new(Fleet::new());
    let mut threads = Vec::new();
    for writer in 0..N_WRITERS {
        let fleet = Arc::clone(&fleet);
        threads.push(spawn(move || {
            let router = Router::new(fleet.newest());
            write(&fleet, &router, writer * WRITES..(writer + 1) * WRITES);
        }));
    }
    let mover = Arc::clone(&fleet);
    threads.push(spawn(move || move_slot(&mover)));
    for thread in threads {
        thread.join().unwrap();
    }
    let mut rows = fleet.rows[index(TARGET)].lock().clone();
    rows.sort_unstable();
    let all: Vec<u64> = (0..N_WRITERS * WRITES).collect();
    assert_eq!(rows, all, "the target has each write once");
    for guard in &fleet.guards {
        assert!(guard.is_drained(&[SLOT]));
    }
}

/// Two threads install the maps of one history in opposite orders; the version seen by a third never falls,
/// and the newest stays.
pub(crate) fn install_in_any_order() {
    let shards = [SOURCE, TARGET].map(|id| Shard::new(id, format!("db-{}", id.0)));
    // On real threads, many slots: comparing two maps then takes long enough to be overtaken in.
    let slot_count = if cfg!(purlin_shuttle) { 2 } else { 4096 };
    let first = ShardMap::builder(shards)
        .slot_count(slot_count)
        .even_split();
    let mut history = vec![first.unwrap()];
    for to in [TARGET, SOURCE, TARGET] {
        let next = history.last().unwrap().with_move([SLOT], to).unwrap();
        history.push(next);
    }
    let router = Arc::new(Router::new(history[0].clone()));
    let mut backwards = history.clone();
    backwards.reverse();
    let mut threads = Vec::new();
    for maps in [history.clone(), backwards] {
        let router = Arc::clone(&router);
        threads.push(spawn(move || {
            for map in maps {
                drop(router.install(map)); // Refused where it is the older one.
                yield_now();
            }
        }));
    }
    let reader = Arc::clone(&router);
    threads.push(spawn(move || {
        let mut last = reader.version();
        for _ in 0..8 {
            let version = reader.version();
            assert!(version >= last, "{version} after {last}");
            last = version;
            yield_now();
        }
    }));
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(router.map().as_ref(), history.last().unwrap());
}
