//! What a snapshot is made of, how it is written and read, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::{POLICIES, cache, entries, hits, requests_with_scans, restored, saved};
use purlin_lru_cache::{Builder, Cache, Cause, Policy};
use serde::ser::Error;
use serde::{Deserialize, Serialize, Serializer};

#[test]
fn a_listener_is_told_of_nobody_who_was_never_there() {
    let before = cache(1_000, Policy::S3Fifo, 1);
    hits(&before, &requests_with_scans(2_000, 3));
    let told = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&told);
    let after = Builder::new()
        .entry_limit(100)
        .listener(move |_: &u64, _: &u64, cause| {
            assert_eq!(cause, Cause::Capacity);
            count.fetch_add(1, Ordering::SeqCst);
        })
        .restore(&mut serde_json::Deserializer::from_str(&saved(&before)))
        .unwrap();
    assert_eq!((after.len(), told.load(Ordering::SeqCst)), (100, 0));
}

#[test]
fn what_is_not_a_whole_snapshot_of_this_format_is_an_error() {
    let before = cache(10, Policy::Adaptive, 1);
    (0..10).for_each(|key| drop(before.insert(key, key)));
    let json = saved(&before);
    let fails = |text: &str| {
        let read = &mut serde_json::Deserializer::from_str(text);
        let restored = Builder::<u64, u64, _, _, _>::new()
            .entry_limit(10)
            .restore(read);
        restored.unwrap_err().to_string()
    };
    for cut in [0, 1, json.len() / 2, json.len() - 1] {
        fails(&json[..cut]);
    }
    assert!(json.contains("\"format\":1,"));
    let later = json.replacen("\"format\":1,", "\"format\":2,", 1);
    assert!(fails(&later).starts_with("a snapshot of format 2, where 1 was expected"));
    assert!(fails(&json.replacen("\"format\":1,", "", 1)).contains("missing field `format`"));
    assert!(fails("{\"format\":1,\"shards\":[]}").contains("missing field `head`"));
    let parts: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (head, shards) = (&parts["head"], &parts["shards"]);
    assert!(fails(&format!("{{\"format\":1,\"head\":{head}}}")).contains("missing field `shards`"));
    let twice = format!("{{\"format\":1,\"head\":{head},\"head\":{head},\"shards\":{shards}}}");
    assert!(fails(&twice).contains("twice"));
    assert!(fails("[1]").contains("the three fields of a snapshot"));
    // In a row without names, as formats that are not for people have it, and in any order with them.
    let in_a_row = format!("[1,{head},{shards}]");
    let in_another_order = format!("{{\"shards\":{shards},\"head\":{head},\"format\":1}}");
    for text in [in_a_row, in_another_order] {
        assert_eq!(
            entries(&restored::<u64>(&text, 10, Policy::Adaptive, 3)),
            entries(&before)
        );
    }
}

/// A value that counts how many of it there are.
struct Alive(&'static AtomicUsize);

impl<'de> Deserialize<'de> for Alive {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        static ALIVE: AtomicUsize = AtomicUsize::new(0);
        u64::deserialize(from)?;
        let alive = ALIVE.fetch_add(1, Ordering::SeqCst);
        assert!(alive <= 2 * 50 + 1, "{alive} at once");
        Ok(Alive(&ALIVE))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn however_long_it_is_no_more_than_twice_the_capacity_is_held() {
    let before = cache(2_000, Policy::Adaptive, 1);
    (0..2_000).for_each(|key| drop(before.insert(key, key)));
    let json = saved(&before);
    for policy in POLICIES {
        let read = &mut serde_json::Deserializer::from_str(&json);
        let builder = Builder::<u64, Alive, _, _, _>::new()
            .entry_limit(50)
            .policy(policy);
        let after = builder.restore(read).unwrap();
        assert_eq!(after.len(), 50);
    }
}

/// A value that writes to the cache it is saved from.
#[derive(Clone)]
struct Writes(u64, Option<Arc<Cache<u64, Writes>>>);

impl Serialize for Writes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(cache) = &self.1 else {
            return Err(S::Error::custom("it will not be saved"));
        };
        cache.get(&self.0);
        cache.insert(1_000 + self.0, Writes(self.0, Some(Arc::clone(cache))));
        cache.remove(&((self.0 + 1) % 50));
        self.0.serialize(serializer)
    }
}

#[test]
fn no_lock_is_held_while_values_are_serialised() {
    let cache: Arc<Cache<u64, Writes>> = Arc::new(Cache::new(100));
    for key in 0..50 {
        cache.insert(key, Writes(key, Some(Arc::clone(&cache))));
    }
    let json = serde_json::to_string(&cache.snapshot()).unwrap();
    assert!(json.contains("\"format\":1"));
    cache.clear();
    cache.insert(1, Writes(1, None));
    assert!(serde_json::to_string(&cache.snapshot()).is_err());
    assert_eq!(cache.len(), 1);
}

/// A key that moves while the cache is saved is there twice; the later is the newer.
#[test]
fn of_two_entries_of_one_key_the_later_is_taken() {
    let before = cache(10, Policy::Adaptive, 1);
    (0..5).for_each(|key| drop(before.insert(key, key)));
    let mut parts: serde_json::Value = serde_json::from_str(&saved(&before)).unwrap();
    let shard = parts["shards"][0].as_array_mut().unwrap();
    let mut newer = shard[2].clone();
    newer[1] = 77.into();
    // Though it says that it was used the longest ago.
    newer[2]["rank"] = 0.into();
    let key = newer[0].as_u64().unwrap();
    shard.push(newer);
    let after = restored::<u64>(&parts.to_string(), 10, Policy::Adaptive, 2);
    assert_eq!((after.len(), after.get(&key)), (5, Some(77)));
}
