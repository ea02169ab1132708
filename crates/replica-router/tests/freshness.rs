//! What observations prove: ages, positions, and when nothing is known.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod group;

use std::time::Duration;

use purlin_core::{Clock, Tick};
use purlin_replica_router::{Consistency, NodeId, Observation, ObserveError, Standing};

use crate::group::{FAR, Group, MS, NEAR, PRIMARY, fallback, token};

/// Regression list P1: whatever is not a number is no news, and no news is never good news.
#[test]
fn regress_p1_not_knowing_is_never_fresh() {
    let group = Group::new();
    let at = group.clock.now();
    let readers = || group.readers(Consistency::BoundedStaleness(Duration::MAX));
    assert_eq!(readers(), [], "never observed");
    assert_eq!(
        group.read(Consistency::Eventual).unwrap(),
        (PRIMARY, fallback(|replicas| replicas.unknown = 2)),
        "not even for a read that asks for nothing"
    );
    for seconds in [f64::NAN, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX] {
        let standing = group.router.observe(
            NEAR,
            Observation::Lag {
                epoch: 1,
                seconds,
                at,
            },
        );
        assert_eq!(standing, Ok(Standing::Unknown), "{seconds}");
    }
    assert_eq!(
        group.router.observe(NEAR, Observation::Failed),
        Ok(Standing::Unknown)
    );
    assert_eq!(readers(), []);
    // A fresh node of which nothing is known beside one that is two seconds behind: the latter is preferred.
    group
        .router
        .observe(
            FAR,
            Observation::Lag {
                epoch: 1,
                seconds: 2.0,
                at,
            },
        )
        .unwrap();
    assert_eq!(readers(), [FAR]);
    group.router.observe(FAR, Observation::Failed).unwrap();
    assert_eq!(readers(), [], "a failed probe takes effect at once");
}

#[test]
fn an_observation_grows_too_old() {
    let group = Group::with(|builder| builder.max_observation_age(100 * MS));
    group.observe(PRIMARY, 5);
    group.observe(NEAR, 5);
    group.clock.advance(100 * MS);
    assert_eq!(group.readers(Consistency::AtLeast(token(5))), [NEAR]);
    group.clock.advance(MS);
    for consistency in [
        Consistency::AtLeast(token(5)),
        Consistency::BoundedStaleness(Duration::MAX),
        Consistency::Eventual,
    ] {
        assert_eq!(group.readers(consistency), []);
    }
    assert_eq!(
        group.observe(NEAR, 5),
        Standing::Following,
        "silence is not failure"
    );
}

#[test]
fn the_ends_of_the_observation_age_have_answers() {
    let momentary = Group::with(|builder| builder.max_observation_age(Duration::ZERO));
    momentary.observe(NEAR, 5);
    assert_eq!(momentary.readers(Consistency::Eventual), [NEAR]);
    momentary.clock.advance(Duration::from_nanos(1));
    assert_eq!(momentary.readers(Consistency::Eventual), []);
    let lasting = Group::with(|builder| builder.max_observation_age(Duration::MAX));
    lasting.observe(NEAR, 5);
    lasting.clock.advance(Duration::MAX);
    assert_eq!(lasting.readers(Consistency::Eventual), [NEAR]);
}

/// Regression list P2, first half: on an idle primary a replica that has caught up stays fresh.
#[test]
fn regress_p2_an_idle_primary_is_not_lag() {
    let group = Group::new();
    for _ in 0..1_000 {
        group.observe(PRIMARY, 500);
        group.observe(NEAR, 500);
        group.observe(FAR, 499);
        group.clock.advance(20 * MS);
        assert_eq!(
            group.readers(Consistency::BoundedStaleness(20 * MS)),
            [NEAR]
        );
    }
}

/// Regression list P2, second half: a replica whose replay has stopped ages, however well it looks to itself.
#[test]
fn regress_p2_a_stopped_replay_is_lag() {
    let group = Group::new();
    for position in 0..100 {
        group.observe(PRIMARY, position);
        group.observe(NEAR, position);
        group.observe(FAR, position.min(50));
        group.clock.advance(10 * MS);
    }
    let ages: Vec<Option<Duration>> = group
        .router
        .members()
        .iter()
        .map(|member| member.staleness)
        .collect();
    assert_eq!(ages, [None, Some(10 * MS), Some(500 * MS)]);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(499 * MS)),
        [NEAR]
    );
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(500 * MS)),
        [NEAR, FAR]
    );
}

/// Without the primary's word nobody knows what has been committed, so ages grow for all.
#[test]
fn a_silent_primary_makes_everyone_age() {
    let group = Group::new();
    group.observe(PRIMARY, 7);
    for _ in 0..10 {
        group.observe(NEAR, 7);
        group.clock.advance(10 * MS);
    }
    assert_eq!(group.readers(Consistency::BoundedStaleness(99 * MS)), []);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(100 * MS)),
        [NEAR]
    );
}

#[test]
fn the_ends_of_the_bound_have_answers() {
    let group = Group::new();
    group.observe(PRIMARY, 7);
    group.observe(NEAR, 7);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::ZERO)),
        [NEAR],
        "in the very same tick"
    );
    group.clock.advance(Duration::from_nanos(1));
    assert_eq!(
        group
            .read(Consistency::BoundedStaleness(Duration::ZERO))
            .unwrap()
            .0,
        PRIMARY
    );
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::MAX)),
        [NEAR]
    );
}

#[test]
fn a_reported_lag_serves_bounds_and_no_tokens() {
    let group = Group::new();
    let at = group.clock.now();
    group
        .router
        .observe(
            NEAR,
            Observation::Lag {
                epoch: 1,
                seconds: 0.25,
                at,
            },
        )
        .unwrap();
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(250 * MS)),
        [NEAR]
    );
    assert_eq!(group.readers(Consistency::BoundedStaleness(249 * MS)), []);
    assert_eq!(group.readers(Consistency::AtLeast(token(0))), []);
    let ages = Observation::Lag {
        epoch: 1,
        seconds: 2_000.0,
        at,
    };
    group.router.observe(NEAR, ages).unwrap();
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::MAX)),
        [],
        "before the clock began"
    );
}

#[test]
fn late_answers_do_not_undo_newer_ones() {
    let group = Group::new();
    let early = group.clock.now();
    group.clock.advance(10 * MS);
    group.observe(PRIMARY, 100);
    group.observe(NEAR, 100);
    group
        .router
        .observe(
            NEAR,
            Observation::Position {
                epoch: 1,
                position: 10,
                at: early,
            },
        )
        .unwrap();
    group
        .router
        .observe(
            PRIMARY,
            Observation::Position {
                epoch: 1,
                position: 5,
                at: early,
            },
        )
        .unwrap();
    assert_eq!(group.readers(Consistency::AtLeast(token(100))), [NEAR]);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::ZERO)),
        [NEAR]
    );
}

#[test]
fn a_log_that_went_back_proves_nothing_it_proved_before() {
    let group = Group::new();
    group.observe(PRIMARY, 100);
    group.observe(NEAR, 100);
    group.clock.advance(MS);
    group.observe(NEAR, 60); // Rebuilt from a backup.
    assert_eq!(group.readers(Consistency::AtLeast(token(61))), []);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::MAX)),
        []
    );
}

#[test]
fn observations_of_strangers_or_from_the_future_are_refused() {
    let group = Group::new();
    let now = group.clock.now();
    assert_eq!(
        group.router.observe(NodeId(99), Observation::Failed),
        Err(ObserveError::UnknownNode(NodeId(99)))
    );
    let at = now.after(Duration::from_nanos(1));
    let early = Observation::Position {
        epoch: 1,
        position: 1,
        at,
    };
    assert_eq!(
        group.router.observe(NEAR, early),
        Err(ObserveError::FromTheFuture { at, now })
    );
    assert_eq!(group.router.members()[1].standing, Standing::Unknown);
}

/// A clock that breaks its promise: ages that cannot be measured are not believed, and all is well again
/// after a round of probes.
#[test]
fn a_clock_that_steps_back_costs_one_round_of_probes() {
    let group = Group::new();
    group.observe(PRIMARY, 9);
    group.observe(NEAR, 9);
    let observed = group.clock.now();
    group.clock.advance(10 * MS);
    group.observe(PRIMARY, 9);
    group.clock.jump_to(observed);
    let ages_unknown = Consistency::BoundedStaleness(Duration::MAX);
    assert_eq!(
        group.readers(ages_unknown),
        [],
        "fresh as of ten milliseconds from now"
    );
    assert_eq!(group.readers(Consistency::Eventual), [NEAR]);
    group.clock.jump_to(Tick::from_nanos(5));
    for consistency in [
        Consistency::Eventual,
        Consistency::BoundedStaleness(Duration::MAX),
    ] {
        assert_eq!(group.readers(consistency), []);
    }
    group.observe(PRIMARY, 9);
    group.observe(NEAR, 9);
    assert_eq!(
        group.readers(Consistency::BoundedStaleness(Duration::ZERO)),
        [NEAR]
    );
}

/// Regression list P8: a replica that fails every other probe, or two of four, does not come and go.
#[test]
fn regress_p8_a_flapping_replica_stays_out() {
    for period in [2, 4, 6] {
        let group = Group::with(|builder| builder.rise(period / 2 + 1));
        let mut changes = 0;
        let mut was_following = false;
        for round in 0..1_000 {
            if round % period < period / 2 {
                group.observe(NEAR, 1);
            } else {
                group.router.observe(NEAR, Observation::Failed).unwrap();
            }
            let follows = group.router.members()[1].standing == Standing::Following;
            changes += u32::from(follows != was_following);
            was_following = follows;
        }
        assert_eq!(
            changes, 2,
            "in at the first good probe, out at the first bad one, and then never again"
        );
        let owed = (0..period / 2)
            .map(|_| group.observe(NEAR, 1))
            .last()
            .unwrap();
        assert_eq!(owed, Standing::Recovering { owed: 1 });
        assert_eq!(group.observe(NEAR, 1), Standing::Following);
    }
}

#[test]
fn nothing_owed_is_still_a_failure() {
    for rise in [0, 1] {
        let group = Group::with(|builder| builder.rise(rise));
        group.observe(NEAR, 1);
        group.router.observe(NEAR, Observation::Failed).unwrap();
        assert_eq!(group.readers(Consistency::Eventual), []);
        assert_eq!(group.router.members()[1].position, None);
        assert_eq!(group.observe(NEAR, 1), Standing::Following);
    }
}
