//! Caches over something else: two tiers, what stands behind, and a cluster that loses nodes.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use purlin_core::{CacheStore, LoadError, ManualClock, NodeId, Placement};
use purlin_lru_cache::{
    Backing, Cache, CacheNode, Cluster, ClusterError, Invalidation, Invalidations, Through, Tiered,
    WriteBehind,
};
use static_assertions::assert_impl_all;

assert_impl_all!(Tiered<u64, u64, Arc<Remote>>: Send, Sync, std::fmt::Debug, CacheStore<u64, u64>);
assert_impl_all!(Cluster<Arc<Remote>, Line>: Send, Sync, std::fmt::Debug, CacheStore<u64, u64>);
assert_impl_all!(Through<u64, u64, Arc<Remote>>: Send, Sync, std::fmt::Debug);
assert_impl_all!(WriteBehind<u64, u64, Arc<Remote>>: Send, Sync, std::fmt::Debug);

/// Runs a future that waits for nothing but itself.
fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..10_000 {
        if let Poll::Ready(output) = poll(&mut future) {
            return output;
        }
    }
    panic!("it never completes");
}

fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
}

/// Values on another machine: a cache, or a table.
#[derive(Debug, Default)]
struct Remote {
    values: Mutex<BTreeMap<u64, u64>>,
    calls: AtomicUsize,
    fails: AtomicBool,
    /// Calls are done at once, and answer when this is off.
    holds_answers: AtomicBool,
}

#[derive(Debug, PartialEq)]
struct Away;

impl Remote {
    async fn call<T>(&self, call: impl FnOnce(&mut BTreeMap<u64, u64>) -> T) -> Result<T, Away> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err(Away);
        }
        let answer = call(&mut self.values.lock().unwrap());
        std::future::poll_fn(|_| {
            if self.holds_answers.load(Ordering::Relaxed) {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        Ok(answer)
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    fn fail(&self, fails: bool) {
        self.fails.store(fails, Ordering::Relaxed);
    }

    fn hold(&self, holds: bool) {
        self.holds_answers.store(holds, Ordering::Relaxed);
    }
}

impl CacheStore<u64, u64> for Remote {
    type Error = Away;
    async fn get(&self, key: &u64) -> Result<Option<u64>, Away> {
        self.call(|values| values.get(key).copied()).await
    }
    async fn insert(&self, key: u64, value: u64) -> Result<(), Away> {
        self.call(|values| values.insert(key, value)).await?;
        Ok(())
    }
    async fn remove(&self, key: &u64) -> Result<(), Away> {
        self.call(|values| values.remove(key)).await?;
        Ok(())
    }
}

impl CacheNode<u64, u64> for Remote {
    async fn clear(&self) -> Result<(), Away> {
        self.call(BTreeMap::clear).await
    }
}

impl Backing<u64, u64> for Remote {
    type Error = Away;
    async fn load(&self, key: &u64) -> Result<Option<u64>, Away> {
        self.call(|values| values.get(key).copied()).await
    }
    async fn store(&self, key: &u64, value: Option<&u64>) -> Result<(), Away> {
        self.call(|values| match value {
            Some(value) => values.insert(*key, *value),
            None => values.remove(key),
        })
        .await?;
        Ok(())
    }
}

fn tiers(followed: bool) -> (Tiered<u64, u64, Arc<Remote>>, Arc<Remote>) {
    let far = Arc::new(Remote::default());
    let near = Cache::new(100);
    let tiered = if followed {
        Tiered::followed(near, Arc::clone(&far))
    } else {
        Tiered::new(near, Arc::clone(&far))
    };
    (tiered, far)
}

#[test]
fn a_value_is_asked_of_the_far_tier_once() {
    let (tiered, far) = tiers(false);
    run(tiered.insert(1, 10)).unwrap();
    far.hold(true);
    let mut one = pin!(tiered.get(&1));
    let mut two = pin!(tiered.get(&1));
    assert!(poll(&mut one).is_pending() && poll(&mut two).is_pending());
    far.hold(false);
    assert_eq!((run(one).unwrap(), run(two).unwrap()), (Some(10), Some(10)));
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(10));
    assert_eq!(far.calls(), 2, "the insert, and one get");

    // That there is nothing is not kept.
    assert_eq!(run(tiered.get(&2)).unwrap(), None);
    run(far.insert(2, 20)).unwrap();
    assert_eq!(run(tiered.get(&2)).unwrap(), Some(20));
}

#[test]
fn what_was_written_is_seen_and_what_is_being_fetched_is_overtaken() {
    let (tiered, far) = tiers(false);
    run(tiered.insert(1, 10)).unwrap();
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(10));
    run(tiered.insert(1, 11)).unwrap();
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(11));

    // A fetch of the old value is under way while it is removed.
    tiered.near().clear();
    far.hold(true);
    let mut late = pin!(tiered.get(&1));
    assert!(poll(&mut late).is_pending());
    far.hold(false);
    run(tiered.remove(&1)).unwrap();
    assert_eq!(run(late).unwrap(), Some(11), "asked before");
    assert_eq!(run(tiered.get(&1)).unwrap(), None);

    // A write that was given up may have been done.
    run(tiered.insert(1, 12)).unwrap();
    run(tiered.get(&1)).unwrap();
    far.hold(true);
    {
        let mut given_up = pin!(tiered.insert(1, 13));
        assert!(poll(&mut given_up).is_pending());
    }
    far.hold(false);
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(13));
}

#[test]
fn one_loads_for_all_and_errors_are_told_apart() {
    let (tiered, far) = tiers(false);
    let loads = AtomicUsize::new(0);
    let load = |value| {
        let loads = &loads;
        move |_: &u64| async move {
            loads.fetch_add(1, Ordering::Relaxed);
            value
        }
    };
    let failed = run(tiered.get_or_load(1, load(Err("no table"))));
    assert!(matches!(failed, Err(LoadError::Load("no table"))));
    assert_eq!(
        run(tiered.get_or_load(1, load(Ok::<_, &str>(7)))).unwrap(),
        7
    );
    assert_eq!(
        run(tiered.get_or_load(1, load(Ok::<_, &str>(8)))).unwrap(),
        7
    );
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    assert_eq!(run(far.get(&1)).unwrap(), Some(7), "others find it there");

    far.fail(true);
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(7), "it is here");
    let error = run(tiered.get(&2)).unwrap_err();
    assert_eq!(*error, Away);
    let failed = run(tiered.get_or_load(2, load(Ok::<_, &str>(8))));
    assert!(matches!(failed, Err(LoadError::Store(_))));
    assert!(run(tiered.insert(1, 9)).is_err());
    assert!(
        run(tiered.get(&1)).is_err(),
        "it may have been written there"
    );
}

/// Reports that a test makes; when there are none it waits, until the line is cut.
struct Reports(Arc<Mutex<Vec<Report>>>);

type Report = Result<Invalidation<u64>, Away>;

impl Invalidations<u64> for Reports {
    type Error = Away;
    async fn next(&mut self) -> Result<Invalidation<u64>, Away> {
        std::future::poll_fn(|_| {
            let report = self.0.lock().unwrap().pop();
            report.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[test]
fn a_followed_tier_answers_only_while_it_hears_of_changes() {
    let (tiered, far) = tiers(true);
    run(far.insert(1, 10)).unwrap();
    for calls in 2..4 {
        assert_eq!(run(tiered.get(&1)).unwrap(), Some(10));
        assert_eq!(far.calls(), calls, "nobody follows");
    }
    let reports = Arc::new(Mutex::new(Vec::new()));
    {
        let mut following = pin!(tiered.follow(Reports(Arc::clone(&reports))));
        assert!(poll(&mut following).is_pending());
        run(tiered.get(&1)).unwrap();
        run(tiered.get(&1)).unwrap();
        assert_eq!(far.calls(), 4, "kept");

        run(far.insert(1, 11)).unwrap();
        reports.lock().unwrap().push(Ok(Invalidation::Key(1)));
        assert!(poll(&mut following).is_pending());
        assert_eq!(run(tiered.get(&1)).unwrap(), Some(11));

        // A report that overtakes a fetch.
        for report in [Invalidation::Key(1), Invalidation::All] {
            tiered.near().clear();
            far.hold(true);
            let mut late = pin!(tiered.get(&1));
            assert!(poll(&mut late).is_pending());
            reports.lock().unwrap().push(Ok(report));
            assert!(poll(&mut following).is_pending());
            far.hold(false);
            run(late).unwrap();
            assert_eq!(tiered.near().peek(&1), None);
        }

        run(tiered.get(&1)).unwrap();
        reports.lock().unwrap().push(Err(Away));
        assert_eq!(poll(&mut following), Poll::Ready(Away));
    }
    assert!(!tiered.is_near_used() && tiered.near().is_empty());
    let before = far.calls();
    run(tiered.get(&1)).unwrap();
    run(tiered.get_or_load(1, |_| async { Ok::<_, ()>(0) })).unwrap();
    assert_eq!(far.calls(), before + 2);
}

/// What was kept while nobody reported is not believed once somebody does.
#[test]
fn a_following_begins_with_nothing() {
    let (tiered, far) = tiers(false);
    run(tiered.insert(1, 10)).unwrap();
    run(tiered.get(&1)).unwrap();
    run(far.insert(1, 11)).unwrap();
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(10));
    let mut following = pin!(tiered.follow(Reports(Arc::default())));
    assert!(poll(&mut following).is_pending());
    assert_eq!(run(tiered.get(&1)).unwrap(), Some(11));
}

#[test]
fn a_write_through_is_not_undone_by_a_load_that_began_before() {
    let table = Arc::new(Remote::default());
    let users = Through::new(Cache::new(10), Arc::clone(&table));
    run(users.write(&1, Some(&10))).unwrap();
    table.hold(true);
    let mut late = pin!(users.get(&1));
    assert!(poll(&mut late).is_pending());
    table.hold(false);
    run(users.write(&1, Some(&11))).unwrap();
    assert_eq!(run(late).unwrap(), Some(10), "asked before");
    assert_eq!(run(users.get(&1)).unwrap(), Some(11));
    let before = table.calls();
    assert_eq!(run(users.get(&1)).unwrap(), Some(11));
    assert_eq!(table.calls(), before, "from the cache");

    table.hold(true);
    {
        let mut given_up = pin!(users.write(&1, None));
        assert!(poll(&mut given_up).is_pending());
    }
    table.hold(false);
    assert_eq!(run(users.get(&1)).unwrap(), None);
    table.fail(true);
    assert_eq!(*run(users.get(&1)).unwrap_err(), Away);
    assert_eq!(*run(users.write(&1, Some(&5))).unwrap_err(), Away);
}

#[test]
fn writes_behind_are_joined_bounded_and_kept_until_they_are_stored() {
    let table = Arc::new(Remote::default());
    let counts = WriteBehind::new(Cache::new(10), Arc::clone(&table), 2);
    for value in 0..100 {
        counts.write(1, Some(value)).unwrap();
    }
    counts.write(2, Some(7)).unwrap();
    let refused = counts.write(3, Some(5)).unwrap_err();
    assert_eq!(
        (refused.value, counts.waiting(), table.calls()),
        (Some(5), 2, 0)
    );
    assert_eq!(run(counts.get(&1)).unwrap(), Some(99));

    table.fail(true);
    let error = run(counts.flush(10)).unwrap_err();
    assert_eq!((error.stored, error.source, counts.waiting()), (0, Away, 2));
    table.fail(false);
    assert_eq!(run(counts.flush(1)).unwrap(), 1);
    assert_eq!(run(counts.flush(10)).unwrap(), 1);
    assert_eq!(counts.waiting(), 0);
    assert_eq!(
        *table.values.lock().unwrap(),
        BTreeMap::from([(1, 99), (2, 7)])
    );

    // Written again while it is being stored: not done yet. And one that is given up is stored once more.
    counts.write(1, Some(100)).unwrap();
    table.hold(true);
    {
        let mut flush = pin!(counts.flush(10));
        assert!(poll(&mut flush).is_pending());
        counts.write(1, Some(101)).unwrap();
        assert_eq!(
            run(counts.flush(10)).unwrap(),
            0,
            "another flush takes other keys"
        );
        table.hold(false);
        assert_eq!(run(flush).unwrap(), 2);
    }
    table.hold(true);
    counts.write(1, None).unwrap();
    {
        let mut given_up = pin!(counts.flush(10));
        assert!(poll(&mut given_up).is_pending());
    }
    table.hold(false);
    assert_eq!((counts.waiting(), run(counts.get(&1)).unwrap()), (1, None));
    assert_eq!(run(counts.flush(10)).unwrap(), 1);
    assert_eq!(run(counts.get(&1)).unwrap(), None);
}

/// Each key has its nodes in a line that begins at one that the key says.
#[derive(Debug)]
struct Line(u64);

impl Placement for Line {
    fn hash_key(&self, key: &[u8]) -> u64 {
        u64::from(key[0])
    }
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        Some(NodeId(hash % self.0))
    }
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let nodes = (0..self.0).map(|step| NodeId((hash + step) % self.0));
        into.iter_mut()
            .zip(nodes)
            .map(|(place, node)| *place = node)
            .count()
    }
}

type Node = Arc<Remote>;
type Nodes = Vec<Node>;

fn cluster(copies: usize) -> (Cluster<Node, Line, ManualClock>, Nodes, ManualClock) {
    let (nodes, clock): (Nodes, _) = ((0..3).map(|_| Arc::default()).collect(), ManualClock::new());
    let named = nodes
        .iter()
        .cloned()
        .zip(0..)
        .map(|(node, id)| (NodeId(id), node));
    let cluster = Cluster::new(Line(3), named)
        .copies(copies)
        .clock(clock.clone());
    (cluster, nodes, clock)
}

#[test]
fn a_lost_node_costs_its_keys_or_with_copies_none() {
    for copies in [1, 2] {
        let (cluster, nodes, _) = cluster(copies);
        for key in 0..99 {
            run(cluster.insert(key, key)).unwrap();
        }
        nodes[0].fail(true);
        let found = |key: &u64| run(cluster.get(key)).unwrap() == Some(*key);
        let kept = (0..99).filter(found).count();
        assert_eq!(kept, if copies == 1 { 66 } else { 99 });
        // Its keys have a home elsewhere meanwhile.
        for key in 0..99 {
            run(cluster.insert(key, key)).unwrap();
        }
        assert_eq!((0..99).filter(found).count(), 99);
        let asked = nodes[0].calls();
        assert_eq!((0..99).filter(found).count(), 99);
        assert_eq!(nodes[0].calls(), asked, "it is left alone");
    }
}

#[test]
fn a_node_that_comes_back_is_emptied_first() {
    let (cluster, nodes, clock) = cluster(1);
    run(cluster.insert(0, 1)).unwrap();
    nodes[0].fail(true);
    run(cluster.remove(&0)).unwrap();
    nodes[0].fail(false);
    assert_eq!(run(cluster.get(&0)).unwrap(), None);
    assert_eq!(cluster.away().collect::<Vec<_>>(), [NodeId(0)]);
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        run(cluster.get(&0)).unwrap(),
        None,
        "removed while it was away"
    );
    assert_eq!(cluster.away().count(), 0);
    run(cluster.insert(0, 2)).unwrap();
    assert_eq!(
        nodes[0].values.lock().unwrap().get(&0),
        Some(&2),
        "at home again"
    );
}

/// The second in line stood in for the first, and does so again after a newer value was written to the first.
#[test]
fn who_stood_in_forgets_when_the_key_is_written_at_home() {
    let (cluster, nodes, clock) = cluster(1);
    nodes[0].fail(true);
    run(cluster.insert(0, 1)).unwrap();
    assert_eq!(nodes[1].values.lock().unwrap().get(&0), Some(&1));
    nodes[0].fail(false);
    clock.advance(Duration::from_secs(1));
    run(cluster.insert(0, 2)).unwrap();
    assert_eq!(nodes[0].values.lock().unwrap().get(&0), Some(&2));
    nodes[0].fail(true);
    assert_eq!(
        run(cluster.get(&0)).unwrap(),
        None,
        "forgotten, and not the older one"
    );
}

#[test]
fn no_node_in_line_is_an_error() {
    let (cluster, nodes, _) = cluster(2);
    for node in &nodes {
        node.fail(true);
    }
    let error: ClusterError<Away> = run(cluster.get(&1)).unwrap_err();
    assert_eq!(error.source, Some(Away));
    let error = run(cluster.insert(1, 1)).unwrap_err();
    assert_eq!(error.source, None, "all are left alone by now");
    assert!(run(cluster.remove(&1)).is_err());
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64),
    Remove(u64),
    Get(u64),
    Fail(usize, bool),
    Pass(u64),
    Flush(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0..4u64, 0..1_000u64).prop_map(|(key, value)| Op::Insert(key, value)),
        2 => (0..4u64).prop_map(Op::Remove),
        4 => (0..4u64).prop_map(Op::Get),
        2 => (0..3usize, any::<bool>()).prop_map(|(node, fails)| Op::Fail(node, fails)),
        2 => (0..1_500u64).prop_map(Op::Pass),
        1 => (0..4usize).prop_map(Op::Flush),
    ]
}

proptest! {
    /// Whatever fails and comes back: the latest value or none, and never one that was replaced or removed.
    #[test]
    fn a_cluster_forgets_and_never_answers_what_is_over(
        copies in 1..4usize,
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let (cluster, nodes, clock) = cluster(copies);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    match run(cluster.insert(key, value)) {
                        Ok(()) => model.insert(key, value),
                        Err(_) => model.remove(&key),
                    };
                }
                Op::Remove(key) => {
                    let _ = run(cluster.remove(&key));
                    model.remove(&key);
                }
                Op::Get(key) => {
                    if let Ok(Some(value)) = run(cluster.get(&key)) {
                        prop_assert_eq!(Some(&value), model.get(&key));
                    }
                }
                Op::Fail(node, fails) => nodes[node].fail(fails),
                Op::Pass(ms) => clock.advance(Duration::from_millis(ms)),
                Op::Flush(_) => {}
            }
        }
    }

    /// Reads see the latest write at every moment, and in the end it is stored.
    #[test]
    fn a_write_behind_is_seen_at_once_and_stored_in_the_end(
        capacity in 0..3usize,
        ops in prop::collection::vec(op(), 0..80),
    ) {
        let table = Arc::new(Remote::default());
        let behind = WriteBehind::new(Cache::new(capacity), Arc::clone(&table), 3);
        let mut model: BTreeMap<u64, u64> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(key, value) => {
                    if behind.write(key, Some(value)).is_ok() {
                        model.insert(key, value);
                    }
                }
                Op::Remove(key) => {
                    if behind.write(key, None).is_ok() {
                        model.remove(&key);
                    }
                }
                Op::Get(key) => {
                    if let Ok(value) = run(behind.get(&key)) {
                        prop_assert_eq!(value.as_ref(), model.get(&key));
                    }
                }
                Op::Fail(_, fails) => table.fail(fails),
                Op::Pass(_) => {}
                Op::Flush(budget) => {
                    let _ = run(behind.flush(budget));
                }
            }
            prop_assert!(behind.waiting() <= 3);
        }
        table.fail(false);
        run(behind.flush(usize::MAX)).unwrap();
        prop_assert_eq!(&*table.values.lock().unwrap(), &model);
    }
}
