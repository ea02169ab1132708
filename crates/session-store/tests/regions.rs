//! Replicas in several regions: how they merge, as laws and in simulated worlds.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "regions/world.rs"]
mod world;

use std::time::Duration;

use proptest::prelude::*;
use purlin_core::WallTime;
use purlin_session_store::PayloadError;
use purlin_session_store::regions::{RegionId, Replica, SetError, Writer};
use static_assertions::assert_impl_all;

assert_impl_all!(Replica: Send, Sync, Clone, Eq, std::fmt::Debug);

const HOUR: Duration = Duration::from_secs(3600);

#[derive(Clone, Debug)]
enum Op {
    Set(u8, u8),
    Remove(u8),
    Grant(u8),
    Renounce,
    Slide,
    Limit(u32),
    End,
    /// Hears of another replica.
    Hear(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..4u8, any::<u8>()).prop_map(|(name, value)| Op::Set(name, value)),
        2 => (0..4u8).prop_map(Op::Remove),
        2 => any::<u8>().prop_map(Op::Grant),
        1 => Just(Op::Renounce),
        2 => Just(Op::Slide),
        1 => (0..40_000_000u32).prop_map(Op::Limit),
        1 => Just(Op::End),
        4 => (0..3usize).prop_map(Op::Hear),
    ]
}

fn by(region: usize, now_ms: u64) -> Writer {
    Writer {
        region: RegionId(region as u16),
        now: WallTime::from_unix_millis(now_ms),
    }
}

/// Three replicas of one session after a history, each region by a clock of its own.
fn replicas() -> impl Strategy<Value = [Replica; 3]> {
    let events = prop::collection::vec((0..3usize, 0..10_000u64, op()), 0..40);
    (events, any::<[u32; 3]>()).prop_map(|(events, skews)| {
        let first = Replica::new(by(0, u64::from(skews[0])), HOUR, HOUR * 12);
        let mut replicas = [first.clone(), first.clone(), first];
        for (at, passed, op) in events {
            let writer = by(at, u64::from(skews[at]) + passed);
            apply(&mut replicas, at, writer, op);
        }
        replicas
    })
}

fn apply(replicas: &mut [Replica; 3], at: usize, by: Writer, op: Op) {
    let ended = replicas[at].has_ended();
    match op {
        Op::Set(name, value) => {
            let set = replicas[at].set(by, &name.to_string(), vec![value]);
            assert_eq!(set.is_err(), ended);
        }
        Op::Remove(name) => {
            assert_eq!(replicas[at].remove(by, &name.to_string()).is_err(), ended);
        }
        Op::Grant(value) => assert_eq!(replicas[at].grant(by, vec![value]).is_err(), ended),
        Op::Renounce => assert_eq!(replicas[at].renounce(by).is_err(), ended),
        Op::Slide => {
            let slid = replicas[at].slide(by, HOUR);
            assert!(slid.is_err() || !ended);
        }
        Op::Limit(at_ms) => {
            let absolute = WallTime::from_unix_millis(at_ms.into());
            replicas[at].limit(by, absolute);
        }
        Op::End => replicas[at].end(by),
        Op::Hear(from) => {
            let heard = replicas[from].clone();
            replicas[at].merge(&heard);
        }
    }
}

fn merged(a: &Replica, b: &Replica) -> Replica {
    let mut merged = a.clone();
    merged.merge(b);
    merged
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent([a, b, c] in replicas()) {
        prop_assert_eq!(merged(&a, &b), merged(&b, &a));
        prop_assert_eq!(merged(&merged(&a, &b), &c), merged(&a, &merged(&b, &c)));
        prop_assert_eq!(merged(&a, &a), a.clone());
        let ab = merged(&a, &b);
        prop_assert_eq!(merged(&ab, &b), ab.clone());
        prop_assert!(ab.seen().includes(a.seen()) && ab.seen().includes(b.seen()));
        // Nothing is new in what was heard of, and a replica says so.
        prop_assert!(!ab.clone().merge(&a));
    }

    #[test]
    fn an_end_wins_and_no_deadline_moves_out([a, b, _c] in replicas()) {
        let ab = merged(&a, &b);
        prop_assert_eq!(ab.has_ended(), a.has_ended() || b.has_ended());
        prop_assert_eq!(ab.absolute_until(), a.absolute_until().min(b.absolute_until()));
        prop_assert!(ab.idle_until() <= ab.absolute_until());
        prop_assert!(ab.idle_until() <= a.idle_until().max(b.idle_until()));
        if ab.has_ended() {
            prop_assert_eq!(ab.names().count(), 0);
            prop_assert_eq!(ab.privileges(), None);
        }
    }

    /// Replicas that have heard of the same changes are the same.
    #[test]
    fn equal_knowledge_is_equal_state([a, b, c] in replicas()) {
        for (one, other) in [(&a, &b), (&b, &c), (&a, &c)] {
            if one.seen() == other.seen() {
                prop_assert_eq!(one, other);
            }
            if one.seen().includes(other.seen()) {
                prop_assert!(!one.clone().merge(other));
            }
        }
    }

    #[test]
    fn replicas_come_back_from_their_bytes([a, _b, _c] in replicas(), cut in any::<prop::sample::Index>()) {
        let bytes = a.to_bytes();
        prop_assert_eq!(Replica::from_bytes(bytes.clone()).unwrap(), a);
        let cut = bytes.slice(..cut.index(bytes.len()));
        prop_assert_eq!(Replica::from_bytes(cut).unwrap_err(), PayloadError::Corrupt);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        if let Ok(replica) = Replica::from_bytes(bytes.clone()) {
            prop_assert_eq!(replica.to_bytes(), bytes);
        }
    }
}

#[test]
fn what_is_granted_without_knowing_of_a_renunciation_loses() {
    let mut east = Replica::new(by(1, 0), HOUR, HOUR);
    east.grant(by(1, 1), "user").unwrap();
    let mut west = east.clone();
    west.grant(by(2, 1_000_000), "admin").unwrap();
    east.renounce(by(1, 2)).unwrap();
    assert_eq!(merged(&east, &west).privileges(), None);
    // With it in sight, a login is a login, though its clock is behind.
    west.merge(&east);
    west.grant(by(2, 0), "user").unwrap();
    assert_eq!(merged(&east, &west).privileges().unwrap(), "user");
}

#[test]
fn limits_are_told_with_the_value() {
    let mut replica = Replica::new(by(1, 0), HOUR, HOUR);
    for number in 0..1024 {
        replica.set(by(1, 1), &number.to_string(), "x").unwrap();
    }
    let error = replica.set(by(1, 1), "more", "y").unwrap_err();
    assert!(matches!(error, SetError::TooMany { .. }));
    assert_eq!(error.into_value(), "y");
    replica.set(by(1, 1), "7", "y").unwrap();
    for name in [String::new(), "n".repeat(256)] {
        let error = replica.set(by(1, 1), &name, "y").unwrap_err();
        assert!(matches!(error, SetError::Name { .. }), "{error:?}");
    }
    assert_eq!(
        Replica::from_bytes(vec![2]).unwrap_err(),
        PayloadError::Newer { format: 2 }
    );
}

/// `ci/regions.sh 1000000` runs a million.
#[test]
fn simulated_regions_agree_in_the_end_and_a_logout_wins() {
    let seeds = std::env::var("PURLIN_REGION_SEEDS").map_or(5_000, |seeds| seeds.parse().unwrap());
    let mut sum = world::Outcome::default();
    for seed in 0..seeds {
        sum += world::run(seed);
    }
    println!("{seeds} seeds: {sum:?}");
    assert!(sum.ended > seeds / 10 && sum.conflicts > seeds && sum.lost_messages > seeds);
}
