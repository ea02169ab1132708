//! The memory store beside its model, over random operations and the passing of time.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use proptest::prelude::*;
use purlin_core::{Clock, ManualClock, Tick};
use purlin_session_store::conformance::Model;
use purlin_session_store::{
    Cap, Lifetime, MemoryStore, Owner, Record, SessionId, SessionKey, SessionStore, Slide, UserKey,
    Version,
};

/// Few keys, so that operations meet.
const N_KEYS: u8 = 5;
const N_USERS: u8 = 2;
const RETENTION: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
enum Op {
    Create(u8, Lifetime, u8, Owner),
    Load(u8, Slide),
    /// Commits from this many versions before the present one.
    Commit(u8, u64, Lifetime, u8, Owner),
    Rotate(u8, u8, u64, Lifetime, Duration, Owner),
    Delete(u8),
    Revoke(u8, Option<u8>),
    Sweep(usize),
    Pass(Duration),
    StepBack(Duration),
}

fn time() -> impl Strategy<Value = Duration> {
    prop_oneof![
        6 => (0..40_000_u64).prop_map(Duration::from_millis),
        2 => (0..40_u64).prop_map(Duration::from_secs),
        1 => Just(Duration::ZERO),
        1 => Just(Duration::MAX),
        1 => any::<u64>().prop_map(Duration::from_nanos),
    ]
}

fn lifetime() -> impl Strategy<Value = Lifetime> {
    (time(), time()).prop_map(|(idle, absolute)| Lifetime::new(idle, absolute))
}

fn slide() -> impl Strategy<Value = Slide> {
    prop_oneof![
        Just(Slide::No),
        time().prop_map(Slide::to),
        (time(), time()).prop_map(|(idle, min_gain)| Slide::To { idle, min_gain }),
    ]
}

fn user(number: u8) -> UserKey {
    UserKey::of([number])
}

fn owner() -> impl Strategy<Value = Owner> {
    let cap = prop_oneof![
        Just(None),
        (1..4_u32).prop_map(|max| Some(Cap::reject(max))),
        (1..4_u32).prop_map(|max| Some(Cap::evict_oldest(max))),
    ];
    prop_oneof![
        1 => Just(Owner::Unchanged),
        1 => Just(Owner::Nobody),
        4 => (0..N_USERS, cap).prop_map(|(number, cap)| Owner::User { user: user(number), cap }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = || 0..N_KEYS;
    let age = || prop_oneof![6 => Just(0_u64), 1 => 1..3_u64];
    prop_oneof![
        4 => (key(), lifetime(), any::<u8>(), owner()).prop_map(|(k, l, len, o)| Op::Create(k, l, len, o)),
        4 => (key(), slide()).prop_map(|(k, s)| Op::Load(k, s)),
        4 => (key(), age(), lifetime(), any::<u8>(), owner()).prop_map(|(k, a, l, len, o)| Op::Commit(k, a, l, len, o)),
        4 => (key(), key(), age(), lifetime(), time(), owner()).prop_map(|(k, n, a, l, g, o)| Op::Rotate(k, n, a, l, g, o)),
        1 => key().prop_map(Op::Delete),
        1 => (0..N_USERS, prop::option::of(key())).prop_map(|(u, k)| Op::Revoke(u, k)),
        1 => (0..20_usize).prop_map(Op::Sweep),
        6 => (0..15_000_u64).prop_map(|ms| Op::Pass(Duration::from_millis(ms))),
        1 => time().prop_map(Op::StepBack),
    ]
}

fn key(number: u8) -> SessionKey {
    SessionId::from_secret_bytes([number; 32]).key()
}

fn record(lifetime: Lifetime, len: u8) -> Record {
    Record::new(vec![len; usize::from(len)], lifetime)
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 600 }, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_store_does_what_the_model_does(ops in prop::collection::vec(op(), 1..80)) {
        let clock = ManualClock::new();
        // One shard, so that the highest tick it has seen is the highest of all, as in the model.
        let store = MemoryStore::builder().clock(clock.clone()).shards(1).retention(RETENTION).build();
        let mut model = Model::new(RETENTION);
        let mut latest = Tick::ZERO;
        run(async {
            for op in ops {
                latest = latest.max(clock.now());
                let now = latest;
                // The version to expect: that of the model, and not that of the store.
                let present = |model: &mut Model, k: u8, age: u64| {
                    let version = model.load(now, &key(k), Slide::No).map_or(Version::FIRST, |entry| entry.version);
                    Version(version.0.saturating_sub(age))
                };
                match op {
                    Op::Create(k, lifetime, len, owner) => {
                        let record = record(lifetime, len).with_owner(owner);
                        let outcome = store.create(&key(k), record.clone()).await.unwrap();
                        assert_eq!(outcome, model.create(now, &key(k), record));
                    }
                    Op::Load(k, slide) => {
                        let entry = store.load(&key(k), slide).await.unwrap();
                        assert_eq!(entry, model.load(now, &key(k), slide));
                    }
                    Op::Commit(k, age, lifetime, len, owner) => {
                        let expected = present(&mut model, k, age);
                        let record = record(lifetime, len).with_owner(owner);
                        let outcome = store.commit(&key(k), expected, record.clone()).await.unwrap();
                        assert_eq!(outcome, model.commit(now, &key(k), expected, record));
                    }
                    Op::Rotate(old, new, age, lifetime, grace, owner) => {
                        let expected = present(&mut model, old, age);
                        let record = record(lifetime, 9).with_owner(owner);
                        let outcome = store.rotate(&key(old), &key(new), expected, record.clone(), grace).await.unwrap();
                        assert_eq!(outcome, model.rotate(now, &key(old), &key(new), expected, record, grace));
                    }
                    Op::Delete(k) => {
                        assert_eq!(store.delete(&key(k)).await.unwrap(), model.delete(now, &key(k)));
                    }
                    Op::Revoke(number, except) => {
                        let except = except.map(key);
                        let ended = store.revoke_user(&user(number), except.as_ref()).await.unwrap();
                        assert_eq!(ended, model.revoke_user(now, &user(number), except.as_ref()));
                    }
                    Op::Sweep(budget) => {
                        let swept = store.sweep(budget).await.unwrap();
                        assert!(swept.removed <= budget);
                    }
                    Op::Pass(time) => clock.advance(time),
                    Op::StepBack(time) => clock.jump_to(clock.now().before(time)),
                }
                for k in 0..N_KEYS {
                    latest = latest.max(clock.now());
                    assert_eq!(store.load(&key(k), Slide::No).await.unwrap(), model.load(latest, &key(k), Slide::No));
                }
                for number in 0..N_USERS {
                    assert_eq!(store.by_user(&user(number)).await.unwrap(), model.by_user(latest, &user(number)));
                }
            }

            // All that can end has ended a while after; what cannot is counted to the byte.
            clock.jump_to(Tick::from_nanos(u64::MAX - 2_000_000_000));
            while !store.sweep(1_000).await.unwrap().caught_up {}
            let stats = store.stats();
            assert!(stats.entries <= usize::from(N_KEYS));
            let overhead = MemoryStore::<ManualClock>::ENTRY_BYTES;
            assert!(stats.bytes >= stats.entries * overhead && stats.bytes <= stats.entries * (overhead + 512));
        });
    }
}
