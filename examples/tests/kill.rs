//! Any app node may die at any moment: no session is lost, no acknowledged job, and answers keep coming.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use city::report::Report;
use city::settings::{APP_NODES, Kill, Settings};
use city::world;

fn run_and_kill(kills: Vec<Kill>) -> Report {
    let settings = Settings {
        run_time: Some(Duration::from_secs(3)),
        rate: NonZeroU32::new(250).unwrap(),
        lanes: NonZeroUsize::new(24).unwrap(),
        kills,
        ..Settings::default()
    };
    world::run(&settings, &mut |_line| ()).unwrap()
}

fn at(node: usize, millis: u64) -> Kill {
    Kill {
        node,
        at: Duration::from_millis(millis),
    }
}

/// Nothing is lost. What fails is at most what was under way on the dead nodes and must not be sent twice.
fn assert_survived(report: &Report) {
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.verdict.lost_sessions(), 0, "{report}");
    assert_eq!(report.jobs.lost, 0, "{report}");
    assert!(report.tally.ok_percent() > 99.0, "{report}");
}

#[test]
fn any_one_node_can_die() {
    for node in 0..APP_NODES {
        let report = run_and_kill(vec![at(node, 1_200)]);
        assert_survived(&report);
        // A quarter of the visitors had to move, each once.
        assert!(
            report.tally.sticky_kept < report.tally.sticky_shown,
            "nobody moved: {report}"
        );
    }
}

#[test]
fn all_but_one_can_die() {
    assert_survived(&run_and_kill(vec![at(0, 800), at(3, 1_400), at(1, 2_000)]));
}
