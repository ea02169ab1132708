//! An oracle that cannot fail proves nothing: each invariant is broken on purpose, and noticed; and a city that is
//! left alone is clean.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use city::oracle::Invariant;
use city::report::Report;
use city::sabotage::Sabotage;
use city::settings::Settings;
use city::world;

/// A short run of few visitors who come back soon.
fn brief() -> Settings {
    Settings {
        run_time: Some(Duration::from_secs(3)),
        seed: 7,
        rate: NonZeroU32::new(250).unwrap(),
        lanes: NonZeroUsize::new(24).unwrap(),
        ..Settings::default()
    }
}

fn run(settings: &Settings) -> Report {
    world::run(settings, &mut |_line| ()).unwrap()
}

fn sabotaged(sabotage: Sabotage) -> Report {
    run(&Settings {
        sabotage: Some(sabotage),
        // Long enough for a counter to be read before the replicas have it, and a page to be too old.
        lag: Duration::from_millis(300),
        page_age: Duration::from_millis(400),
        ..brief()
    })
}

/// The sabotage breaks this invariant, and the report says so, with the story of what happened.
fn assert_caught(sabotage: Sabotage, invariant: Invariant) {
    let report = sabotaged(sabotage);
    assert!(
        report.verdict.broken(invariant) > 0,
        "{sabotage}:\n{report}"
    );
    assert!(!report.is_clean());
    let violations = report.verdict.violations();
    assert!(
        violations
            .iter()
            .all(|violation| !violation.story.is_empty())
    );
    assert!(report.to_string().contains("violated: "), "{report}");
}

#[test]
fn a_city_left_alone_keeps_every_promise() {
    let report = run(&brief());
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.ok, report.tally.due, "{report}");
    for invariant in Invariant::ALL {
        assert!(
            report.verdict.checked(invariant) > 0,
            "{invariant:?} was never checked"
        );
    }
    assert!(report.jobs.done > 0 && report.jobs.lost == 0, "{report}");
}

/// What the sabotaged runs have in common with each other does no harm by itself.
#[test]
fn a_city_with_slow_replicas_and_fresh_pages_keeps_every_promise() {
    let report = run(&Settings {
        lag: Duration::from_millis(300),
        page_age: Duration::from_millis(400),
        ..brief()
    });
    assert!(report.is_clean(), "{report}");
}

#[test]
fn a_session_write_that_was_dropped_is_caught() {
    assert_caught(Sabotage::DropSessionWrite, Invariant::Sessions);
}

#[test]
fn a_token_that_was_ignored_is_caught() {
    assert_caught(Sabotage::IgnoreToken, Invariant::Counters);
}

#[test]
fn an_effect_that_came_twice_is_caught() {
    assert_caught(Sabotage::DoubleEffect, Invariant::Jobs);
}

#[test]
fn a_job_that_was_lost_is_caught() {
    assert_caught(Sabotage::LoseJob, Invariant::Jobs);
}

#[test]
fn a_key_from_a_wrong_shard_is_caught() {
    assert_caught(Sabotage::WrongShard, Invariant::Homes);
}

#[test]
fn a_stale_read_is_caught() {
    assert_caught(Sabotage::StaleRead, Invariant::Ages);
}
