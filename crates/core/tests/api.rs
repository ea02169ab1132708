//! Promises about the types themselves, and about the features that adapt them.
#![cfg(feature = "std")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use purlin_core::{
    CacheStore, DynCacheStore, LoadError, ManualClock, MapHasher, Node, NodeId, Retry, Rng,
    SystemClock, TokenSet,
};
use static_assertions::assert_impl_all;

assert_impl_all!(ManualClock: Send, Sync, Clone);
assert_impl_all!(SystemClock: Send, Sync, Copy);
assert_impl_all!(MapHasher: Send, Sync, Clone);
assert_impl_all!(Node: Send, Sync);
assert_impl_all!(TokenSet: Send, Sync);
assert_impl_all!(Retry: Copy);
assert_impl_all!(Rng: Send);

/// A store that is a map, and counts its loads.
#[derive(Default)]
struct Plain(Mutex<HashMap<u64, String>>);

impl CacheStore<u64, String> for Plain {
    type Error = Infallible;

    async fn get(&self, key: &u64) -> Result<Option<String>, Infallible> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn insert(&self, key: u64, value: String) -> Result<(), Infallible> {
        self.0.lock().unwrap().insert(key, value);
        Ok(())
    }

    async fn remove(&self, key: &u64) -> Result<(), Infallible> {
        self.0.lock().unwrap().remove(key);
        Ok(())
    }
}

/// The result of a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn the_default_load_caches_what_it_loaded_and_nothing_on_failure() {
    let store = Arc::new(Plain::default());
    let failed = now(store.get_or_load(1, |_| async { Err::<String, _>("down") }));
    assert_eq!(failed.map_err(LoadError::into_load), Err("down"));
    assert_eq!(now(store.get(&1)), Ok(None));

    let loaded = now(store.get_or_load(1, |key| {
        let value = format!("value {key}");
        async move { Ok::<_, &str>(value) }
    }));
    assert_eq!(loaded.unwrap(), "value 1");
    let hit = now(store.get_or_load(1, |_| async { Err::<String, _>("not asked") }));
    assert_eq!(hit.unwrap(), "value 1");
}

#[test]
fn a_store_can_be_chosen_at_run_time() {
    let store: Arc<dyn DynCacheStore<u64, String, Infallible>> = Arc::new(Plain::default());
    now(store.insert_dyn(1, "one".to_owned())).unwrap();
    assert_eq!(now(store.get_dyn(&1)).unwrap().as_deref(), Some("one"));
    now(store.remove_dyn(&1)).unwrap();
    assert_eq!(now(store.get_dyn(&1)).unwrap(), None);
}

#[test]
fn an_id_prints_as_words() {
    assert_eq!(NodeId(3).to_string(), "node 3");
}

#[cfg(feature = "serde")]
mod with_serde {
    use purlin_core::{Health, Node, NodeId, PlacementHash, Rack, Weight, Zone};

    #[test]
    fn values_that_travel_survive_the_trip() {
        let node = Node::new(NodeId(7), "a:1")
            .with_weight(Weight(2))
            .with_zone(Zone::new("z"));
        let json = serde_json::to_string(&node).unwrap();
        assert_eq!(json, r#"{"id":7,"name":"a:1","weight":2,"zone":"z"}"#);
        assert_eq!(serde_json::from_str::<Node>(&json).unwrap(), node);
        let short: Node = serde_json::from_str(r#"{"id":7,"name":"a:1"}"#).unwrap();
        assert_eq!(short, Node::new(NodeId(7), "a:1"));
        assert!(serde_json::from_str::<Node>(r#"{"id":7,"name":"a","wieght":2}"#).is_err());

        let racked = node.clone().with_rack(Rack::new("r"));
        let json = serde_json::to_string(&racked).unwrap();
        assert_eq!(
            json,
            r#"{"id":7,"name":"a:1","weight":2,"zone":"z","rack":"r"}"#
        );
        assert_eq!(serde_json::from_str::<Node>(&json).unwrap(), racked);
        assert_ne!(racked, node);

        // Forms without names have every field, and take what was written before there were racks.
        for node in [&node, &racked] {
            let bytes = rmp_serde::to_vec(node).unwrap();
            assert_eq!(bytes[0], 0x95, "an array of five");
            assert_eq!(&rmp_serde::from_slice::<Node>(&bytes).unwrap(), node);
        }
        let before = rmp_serde::to_vec(&(7, "a:1", 2, Some("z"))).unwrap();
        assert_eq!(rmp_serde::from_slice::<Node>(&before).unwrap(), node);

        let hash = PlacementHash::xxh64(5);
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, r#""xxh64:1:5""#);
        assert_eq!(serde_json::from_str::<PlacementHash>(&json).unwrap(), hash);
        assert!(serde_json::from_str::<PlacementHash>(r#""md5:1:0""#).is_err());
        assert_eq!(
            serde_json::to_string(&Health::Draining).unwrap(),
            r#""draining""#
        );
    }
}

#[cfg(feature = "tokio")]
mod with_tokio {
    use std::time::Duration;

    use purlin_core::{Clock, SystemClock, Tick, Timer};

    #[tokio::test(start_paused = true)]
    async fn the_system_clock_sleeps_on_tokios_timer() {
        let clock = SystemClock::new();
        let hour = clock.now().after(Duration::from_secs(3600));
        let before = tokio::time::Instant::now();
        clock.sleep_until(hour).await;
        assert!(
            before.elapsed() >= Duration::from_secs(3590),
            "the paused runtime skipped to the deadline"
        );
        let forever =
            tokio::time::timeout(Duration::from_secs(1_000_000), clock.sleep_until(Tick::MAX));
        assert!(forever.await.is_err());
    }
}
