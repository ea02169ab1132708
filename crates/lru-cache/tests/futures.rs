//! Many futures of every kind at once, begun, polled, dropped and let go in any order, among writes and passing time: one load a
//! key, nothing from before a write, nothing that was never loaded, and everybody gets done.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use purlin_core::{ManualClock, MapHasher};
use purlin_lru_cache::{Cache, Decision, Due, Policy};

use common::{Gate, poll};

const KEYS: u8 = 3;

#[derive(Clone, Debug)]
enum Op {
    /// Each begins a future, which is polled once; but for a refresh.
    Load(u8),
    /// Whether the load answers each of the keys.
    LoadMany(Vec<u8>, Vec<bool>),
    /// Takes what is there, and the duty to refresh it if it is due.
    Refresh(u8),
    Compute(u8),
    /// These choose among the futures that are there.
    Poll(usize),
    Drop(usize),
    Open(usize),
    /// First the source, then the cache.
    Insert(u8),
    Remove(u8),
    Clear,
    Retain,
    Update(u8),
    Advance(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = || 0..KEYS;
    let op = prop_oneof![
        6 => key().prop_map(Op::Load),
        4 => (vec(key(), 1..4), vec(any::<bool>(), 3)).prop_map(|(keys, answered)| Op::LoadMany(keys, answered)),
        6 => key().prop_map(Op::Refresh),
        2 => key().prop_map(Op::Compute),
        6 => any::<usize>().prop_map(Op::Poll),
        3 => any::<usize>().prop_map(Op::Drop),
        8 => any::<usize>().prop_map(Op::Open),
        1 => key().prop_map(Op::Insert),
        1 => key().prop_map(Op::Remove),
        1 => Just(Op::Clear),
        1 => Just(Op::Retain),
        1 => key().prop_map(Op::Update),
        4 => (1u64..5).prop_map(Op::Advance),
    ];
    vec(op, 1..80)
}

/// What stands behind the cache: a version for each key, counted up by each write.
#[derive(Debug, Default)]
struct Source {
    versions: [u64; KEYS as usize],
    /// How many loads of a key are running that began since the last write to it.
    loading: [u32; KEYS as usize],
    /// Counts the writes, so that the end of a load is only counted against those of its own time.
    writes: [u32; KEYS as usize],
}

type Shared = Rc<RefCell<Source>>;

/// A load of a key under way.
struct Loading {
    source: Shared,
    key: usize,
    since: u32,
    version: u64,
}

impl Loading {
    fn begin(source: &Shared, key: u8) -> Self {
        let key = usize::from(key);
        let mut now = source.borrow_mut();
        now.loading[key] += 1;
        assert_eq!(now.loading[key], 1, "two loads of {key} at once");
        Loading {
            source: Rc::clone(source),
            key,
            since: now.writes[key],
            version: now.versions[key],
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        let mut now = self.source.borrow_mut();
        if now.writes[self.key] == self.since {
            now.loading[self.key] -= 1;
        }
    }
}

impl Source {
    fn write(&mut self, key: u8) -> u64 {
        let key = usize::from(key);
        self.versions[key] += 1;
        self.overtake(key);
        self.versions[key]
    }

    /// The loads of before concern nobody who comes after.
    fn overtake(&mut self, key: usize) {
        self.writes[key] += 1;
        self.loading[key] = 0;
    }

    fn overtake_all(&mut self) {
        (0..self.writes.len()).for_each(|key| self.overtake(key));
    }
}

type Task<'a> = (Gate, Pin<Box<dyn Future<Output = ()> + 'a>>);

proptest! {
    #[test]
    fn futures_in_any_order(ops in ops(), exact in any::<bool>()) {
        let clock = ManualClock::new();
        let cache: Cache<u8, u64, MapHasher, ManualClock> = Cache::builder()
            .entry_limit(100)
            .policy(if exact { Policy::Lru } else { Policy::Adaptive })
            .time_to_live(Duration::from_secs(10))
            .keep_stale(Duration::from_secs(10))
            // Else a load that stands still is loaded a second time, as it should.
            .load_patience(Duration::MAX)
            .clock(clock.clone())
            .build();
        let (cache, source) = (&cache, &Shared::default());
        let due = Due::ahead(Duration::from_secs(5)).or_stale(Duration::from_secs(8));
        let mut tasks: Vec<Task<'_>> = Vec::new();
        for op in ops {
            // Who asks now gets nothing from before the last write until now.
            let floor = source.borrow().versions;
            let is_new = move |key: u8, version: u64| {
                assert!(version >= floor[usize::from(key)], "{version} of {key}, from before a write");
            };
            let is_refresh = matches!(op, Op::Refresh(_));
            let waits_for = if let Op::Load(key) = op { Some(key) } else { None };
            let gate = Gate::default();
            let opened = gate.clone();
            let load = move |key: u8| async move {
                let loading = Loading::begin(source, key);
                opened.opened().await;
                loading.version
            };
            let begun: Option<Pin<Box<dyn Future<Output = ()>>>> = match op {
                Op::Load(key) => Some(Box::pin(async move {
                    is_new(key, cache.get_or_load_async(&key, |&key| load(key)).await);
                })),
                Op::LoadMany(keys, answered) => {
                    let opened = gate.clone();
                    Some(Box::pin(async move {
                        let load = |asked: Vec<&u8>| {
                            let loading: Vec<_> = asked.iter().map(|key| Loading::begin(source, **key)).collect();
                            let (opened, answered) = (&opened, &answered);
                            async move {
                                opened.opened().await;
                                let pairs = loading.iter().map(|loading| (loading.key as u8, loading.version));
                                let is_answered = |(key, _): &(u8, u64)| answered[usize::from(*key)];
                                pairs.filter(is_answered).collect::<Vec<_>>()
                            }
                        };
                        let found = cache.get_or_load_many_async(&keys, load).await;
                        assert_eq!(found.len(), keys.len());
                        for (&key, version) in keys.iter().zip(found) {
                            version.into_iter().for_each(|version| is_new(key, version));
                        }
                    }))
                }
                Op::Refresh(key) => {
                    let served = cache.get_refreshing(&key, due);
                    served.and_then(|served| {
                        is_new(key, served.value);
                        let refresh = served.refresh?;
                        let run: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
                            let loaded = refresh.run_async(load(key)).await;
                            loaded.into_iter().for_each(|version| is_new(key, version));
                        });
                        Some(run)
                    })
                }
                Op::Compute(key) => {
                    let opened = gate.clone();
                    Some(Box::pin(async move {
                        let decide = |seen: Option<u64>| {
                            seen.into_iter().for_each(|version| is_new(key, version));
                            let opened = &opened;
                            async move {
                                opened.opened().await;
                                Decision::Keep
                            }
                        };
                        drop(cache.compute_async(&key, decide).await);
                    }))
                }
                Op::Poll(n) => {
                    if !tasks.is_empty() {
                        let n = n % tasks.len();
                        if poll(tasks[n].1.as_mut()).is_ready() {
                            drop(tasks.swap_remove(n));
                        }
                    }
                    None
                }
                Op::Drop(n) => {
                    if !tasks.is_empty() {
                        drop(tasks.swap_remove(n % tasks.len()));
                    }
                    None
                }
                Op::Open(n) => {
                    if !tasks.is_empty() {
                        tasks[n % tasks.len()].0.open();
                    }
                    None
                }
                Op::Insert(key) => {
                    let version = source.borrow_mut().write(key);
                    drop(cache.insert(key, version));
                    None
                }
                Op::Remove(key) => {
                    source.borrow_mut().write(key);
                    cache.remove(&key);
                    None
                }
                Op::Clear => {
                    for key in 0..KEYS {
                        source.borrow_mut().write(key);
                    }
                    cache.clear();
                    None
                }
                Op::Retain => {
                    // It judges nothing away, and the loads under way are overtaken all the same.
                    cache.retain(|_, _| true);
                    source.borrow_mut().overtake_all();
                    None
                }
                Op::Update(key) => {
                    // Its own version, which is what the source has from here on.
                    if cache.contains(&key) {
                        let version = source.borrow_mut().write(key);
                        assert_eq!(cache.update(&key, |_| version), Some(version));
                    }
                    None
                }
                Op::Advance(seconds) => {
                    clock.advance(Duration::from_secs(seconds));
                    cache.sweep(usize::MAX);
                    None
                }
            };
            if let Some(mut task) = begun {
                // Who has the duty to refresh may put it off for long.
                if is_refresh || poll(task.as_mut()).is_pending() {
                    tasks.push((gate, task));
                }
            }
            if let Some(key) = waits_for {
                let is_there = cache.contains(&key);
                let loading = source.borrow().loading[usize::from(key)];
                assert!(is_there || loading == 1, "nobody loads what is waited for");
            }
        }
        // Let go, everybody gets done, in as many rounds as there can be reasons to wait.
        tasks.iter().for_each(|(gate, _)| gate.open());
        let rounds = 2 * tasks.len() + 2;
        for _ in 0..rounds {
            tasks.retain_mut(|(_, task)| poll(task.as_mut()).is_pending());
        }
        prop_assert!(tasks.is_empty(), "{} hang", tasks.len());
        let now = source.borrow();
        prop_assert_eq!(now.loading, [0; KEYS as usize]);
        for key in 0..KEYS {
            let expected = now.versions[usize::from(key)];
            prop_assert!(cache.get(&key).is_none_or(|version| version == expected));
        }
    }
}
