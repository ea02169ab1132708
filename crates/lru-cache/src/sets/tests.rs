use alloc::collections::BTreeSet;
use core::time::Duration;

use super::*;
use crate::engine::{Fresh, SWEEP_BUDGET};
use crate::policy::Policy;

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    /// Checks the three invariants.
    fn check(&mut self) {
        assert!(self.weight <= self.limit);
        let n_groups = (self.begins_with as usize) << self.doublings;
        assert!(self.groups.is_empty() || self.groups.len() == n_groups);
        let (mut len, mut weight) = (0, 0);
        for set in 0..self.groups.len() {
            for at in 0..self.groups[set].len() {
                let position = self.position(set, at);
                let bits = 16 - self.doublings;
                assert_eq!((position >> bits) as usize, set, "it stands in its set");
                let extra = self.groups[set].extra(at);
                weight += extra.weight;
                if extra.life.is_mortal() {
                    assert!(
                        self.rest.dues[set] <= self.expiry.leaves_at(self.groups[set].earliest())
                    );
                }
            }
            len += self.groups[set].len();
        }
        assert_eq!((self.len(), self.weight), (len, weight));
        let least = self.rest.dues.iter().copied().min();
        assert!(self.expiry.looks_by(least.unwrap_or(Tick::MAX)));
    }
}

fn sets(limit: usize, is_weighed: bool, policy: Policy) -> Sets<u32, u32> {
    let arm = policy.first_arm().expect("the policy goes by sets");
    Sets::new(limit, is_weighed, Lifetimes::default(), arm, 1, ())
}

fn spread(key: u32) -> u64 {
    u64::from(key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn put(sets: &mut Sets<u32, u32>, key: u32, weight: usize, ttl: Option<u64>) -> Evicted<u32, u32> {
    put_hashed(sets, spread(key), key, weight, ttl)
}

fn put_hashed(
    sets: &mut Sets<u32, u32>,
    hash: u64,
    key: u32,
    weight: usize,
    ttl: Option<u64>,
) -> Evicted<u32, u32> {
    let mut gone = Evicted::none();
    let found = sets.find(hash, &key);
    let fresh = Fresh {
        hash,
        key,
        value: !key,
        weight,
        terms: ttl.map(Duration::from_millis).into(),
    };
    sets.put(found, fresh, &mut gone);
    gone
}

const POLICIES: [Policy; 4] = [Policy::Adaptive, Policy::S3Fifo, Policy::Fifo, Policy::Lfu];

#[test]
fn the_last_entry_of_the_capacity_is_used_before_the_first_leaves() {
    for policy in POLICIES {
        for limit in [1, 2, 47, 1_000, 1_024, 1_025, 5_000] {
            let mut sets = sets(limit, false, policy);
            for key in 0..limit as u32 {
                assert!(put(&mut sets, key, 1, None).is_empty(), "{key} of {limit}");
            }
            sets.check();
            for key in 0..limit as u32 {
                assert_eq!(put(&mut sets, 1_000_000 + key, 1, None).len(), 1);
            }
            assert_eq!(sets.len(), limit);
            sets.check();
        }
    }
}

#[test]
fn what_was_stored_last_is_there_however_the_others_stand() {
    for policy in POLICIES {
        let mut sets = sets(3_000, false, policy);
        for n in 0..20_000u32 {
            let key = n.wrapping_mul(2_654_435_761) % 7_000;
            put(&mut sets, key, 1, None);
            assert!(sets.find(spread(key), &key).is_some());
        }
        sets.check();
    }
}

#[test]
fn the_bound_by_weight_holds_while_weights_and_lives_change() {
    let mut rng = Rng::from_seed(2);
    for policy in POLICIES {
        let mut sets = sets(10_000, true, policy);
        for n in 0..6_000u64 {
            let key = rng.below(3_000) as u32;
            let weight = if n % 500 == 0 {
                9_999
            } else {
                rng.below(20) as usize
            };
            let ttl = (n % 3 == 0).then_some(1 + n % 100);
            let now = Tick::ZERO.after(Duration::from_millis(n / 10));
            sets.observe(now, &mut Evicted::none());
            put(&mut sets, key, weight, ttl);
            assert!(sets.weight() <= 10_000);
            if n % 200 == 0 {
                sets.check();
            }
        }
        sets.check();
    }
}

#[test]
fn keys_of_one_hash_are_told_apart_and_bounded() {
    let mut sets = sets(usize::MAX, false, Policy::S3Fifo);
    for key in 0..300 {
        put_hashed(&mut sets, 7, key, 1, None);
    }
    sets.check();
    for key in 0..300 {
        let found = sets.find(7, &key);
        assert_eq!(sets.peek(found, Tick::ZERO), Some(&!key));
    }
}

#[cfg(feature = "std")]
#[test]
fn a_walk_meets_each_entry_once_though_the_table_doubles_under_it() {
    let mut sets = sets(100_000, false, Policy::Adaptive);
    for key in 0..3_000 {
        put(&mut sets, key, 1, None);
    }
    let (mut met, mut cursor, mut next) = (Vec::new(), Some(0), 3_000);
    while let Some(from) = cursor {
        cursor = sets.walk(
            from,
            crate::engine::Kind::Living,
            Tick::ZERO,
            64,
            |&key, _| met.push(key),
        );
        for _ in 0..200 {
            put(&mut sets, next, 1, None);
            next += 1;
        }
    }
    let distinct: BTreeSet<u32> = met.iter().copied().collect();
    assert_eq!(met.len(), distinct.len());
    assert!((0..3_000).all(|key| distinct.contains(&key)));
    assert!(sets.groups.len() > 64);
}

#[test]
fn a_set_without_entries_to_spare_takes_the_room_of_another() {
    let mut sets = sets(2_000, false, Policy::Adaptive);
    for key in 0..2_000 {
        put(&mut sets, key, 1, None);
    }
    // All of the first set leave, and others come to the rest.
    let first: Vec<u32> = (0..2_000)
        .filter(|key| {
            sets.find(spread(*key), key)
                .is_some_and(|place| place.set == 0)
        })
        .collect();
    let n_first = first.len();
    for key in first {
        let found = sets.find(spread(key), &key);
        assert!(sets.take(found, &mut Evicted::none()).is_some());
    }
    let (begun, doublings) = (sets.begins_with, sets.doublings);
    let is_first = move |key: &u32| spot(spread(*key), begun).set(doublings) == 0;
    let mut newcomers = (10_000..).filter(|key| !is_first(key));
    for _ in 0..n_first {
        put(&mut sets, newcomers.next().expect("it is endless"), 1, None);
    }
    assert_eq!((sets.len(), sets.groups[0].len()), (2_000, 0));
    for key in (100_000..).filter(is_first).take(50) {
        assert_eq!(put(&mut sets, key, 1, None).len(), 1);
    }
    assert!(sets.groups[0].len() > 10, "it grows back to its part");
    sets.check();
}

#[test]
fn what_is_taken_out_to_make_room_is_all_there_was() {
    for policy in POLICIES {
        let mut sets = sets(1_500, false, policy);
        for key in 0..1_500 {
            put(&mut sets, key, 1, None);
        }
        let mut gone = Evicted::none();
        let mut taken = BTreeSet::new();
        while let Some((key, value)) = sets.take_oldest(&mut gone) {
            assert_eq!(value, !key);
            taken.insert(key);
        }
        assert_eq!((taken.len(), sets.len()), (1_500, 0));
        sets.check();
    }
}

#[test]
fn a_timer_finds_the_first_mortal_among_those_who_live_for_ever() {
    let mut sets = sets(100, false, Policy::Adaptive);
    put(&mut sets, 1, 1, None);
    put(&mut sets, 2, 1, Some(5));
    sets.check();
    let mut gone = Evicted::none();
    sets.observe(Tick::ZERO.after(Duration::from_millis(10)), &mut gone);
    let keys: Vec<u32> = gone.iter().map(|eviction| eviction.key).collect();
    assert_eq!((sets.len(), keys), (1, alloc::vec![2]));
    sets.check();
}

#[test]
fn a_call_takes_out_a_few_of_the_many_that_are_over_and_the_calls_together_all() {
    let mut sets = sets(20_000, false, Policy::Adaptive);
    for key in 0..20_000 {
        put(&mut sets, key, 1, Some(5));
    }
    let later = Tick::ZERO.after(Duration::from_secs(1));
    let mut calls = 0;
    while sets.len() > 0 {
        let mut gone = Evicted::none();
        sets.observe(later.after(Duration::from_millis(2 * calls)), &mut gone);
        assert!(gone.len() <= SWEEP_BUDGET);
        calls += 1;
    }
    assert!(
        calls < 3 * 20_000 / SWEEP_BUDGET as u64,
        "{calls} calls for 20 000 entries"
    );
    sets.check();
}

#[test]
fn an_entry_that_died_among_many_others_is_found_within_a_few_calls() {
    let mut sets = sets(20_000, false, Policy::Adaptive);
    for key in 0..20_000 {
        put(&mut sets, key, 1, Some(if key == 77 { 5 } else { 60_000 }));
    }
    let mut gone = Evicted::none();
    let mut calls = 0;
    while gone.is_empty() {
        calls += 1;
        sets.observe(Tick::ZERO.after(Duration::from_millis(10)), &mut gone);
        assert!(calls < 10, "500 sets, of which a call looks at about 100");
    }
    assert_eq!(gone.iter().next().map(|eviction| eviction.key), Some(77));
    assert!(sets.sweep(usize::MAX, &mut gone));
    sets.check();
}

#[test]
fn a_table_that_is_folded_keeps_its_entries_and_the_invariants() {
    for policy in POLICIES {
        let mut sets = sets(20_000, false, policy);
        for key in 0..20_000 {
            put(&mut sets, key, 1, (key % 2 == 0).then_some(60_000));
        }
        let mut gone = Evicted::none();
        assert!(sets.cede(18_500, &mut gone));
        sets.check();
        let kept: Vec<u32> = sets.iter(Tick::ZERO).map(|(&key, _)| key).collect();
        let before = sets.groups.len();
        sets.plan(1_500);
        sets.check();
        assert!(sets.groups.len() < before / 4, "{}", sets.groups.len());
        for key in kept {
            let found = sets.find(spread(key), &key);
            assert_eq!(sets.peek(found, Tick::ZERO), Some(&!key));
        }
        for key in 0..5_000 {
            assert_eq!(put(&mut sets, 50_000 + key, 1, None).len(), 1);
        }
        sets.check();
        let mut gone = Evicted::none();
        sets.observe(Tick::ZERO.after(Duration::from_secs(61)), &mut gone);
        assert!(sets.sweep(usize::MAX, &mut gone));
        sets.check();
    }
}
