//! The cache beside a naive one, with all operations, times and sizes; also where it is read without a lock.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod agree;
mod apart;
#[path = "../common/mod.rs"]
mod common;
mod naive;
mod never_lie;
mod ops;
mod subject;

use agree::{Order, agree};
use common::HandClock;
use never_lie::never_lie;
use ops::{ops, policies, roomy, settings};
use proptest::prelude::*;
use purlin_lru_cache::Policy;
#[cfg(feature = "std")]
use subject::shared;
use subject::unsync;

proptest! {
    #[test]
    fn where_all_fit_every_policy_agrees_with_the_naive_cache(settings in settings(), ops in ops(), policy in policies()) {
        let (clock, settings) = (HandClock::default(), roomy(settings));
        agree(unsync(&settings, &clock, policy), Order::Any, &clock, settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn where_all_fit_every_policy_of_the_shared_cache_agrees_with_the_naive_one(settings in settings(), ops in ops(), policy in policies(), shards in 1usize..9, is_open in any::<bool>()) {
        let (clock, settings) = (HandClock::default(), roomy(settings));
        agree(shared(&settings, &clock, shards, policy, is_open), Order::Any, &clock, settings, &ops);
    }

    #[test]
    fn the_unsync_cache_agrees_with_the_naive_one(settings in settings(), ops in ops()) {
        let clock = HandClock::default();
        agree(unsync(&settings, &clock, Policy::Lru), Order::NewestFirst, &clock, settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_shared_cache_with_one_shard_agrees_with_the_naive_one(settings in settings(), ops in ops()) {
        let clock = HandClock::default();
        agree(shared(&settings, &clock, 1, Policy::Lru, false), Order::Any, &clock, settings, &ops);
    }

    #[test]
    fn the_unsync_cache_never_answers_what_is_over_and_keeps_its_bound(settings in settings(), ops in ops(), policy in policies()) {
        let clock = HandClock::default();
        never_lie(unsync(&settings, &clock, policy), &clock, &settings, &ops);
    }

    #[cfg(feature = "std")]
    #[test]
    fn the_shared_cache_never_answers_what_is_over_and_keeps_its_bound(settings in settings(), ops in ops(), shards in 1usize..9, policy in policies(), is_open in any::<bool>()) {
        let clock = HandClock::default();
        never_lie(shared(&settings, &clock, shards, policy, is_open), &clock, &settings, &ops);
    }
}
