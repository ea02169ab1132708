//! Each invariant broken in a made-up run, and the made-up run without the fault.

use super::*;
use crate::page::SessionView;
use crate::row::Change;
use crate::settings::SHARDS;
use crate::wire::Stamp;

const USER: u32 = 7;
const LABEL: u64 = 70;
const PRODUCT: u32 = 9;

/// A city that does what it is told, one shard's log each.
struct Run {
    oracle: Oracle,
    clock: SystemClock,
    positions: [u64; SHARDS],
}

impl Run {
    fn new() -> Self {
        let clock = SystemClock::new();
        Run {
            oracle: Oracle::new(clock),
            clock,
            positions: [0; SHARDS],
        }
    }

    fn commit(&mut self, key: Key, cause: u64, value: u64) -> Row {
        let shard = homes::home(key);
        let position = &mut self.positions[shard as usize];
        *position += 1;
        let row = Row {
            value,
            version: *position,
        };
        self.commit_at(shard, key, cause, row);
        row
    }

    fn commit_at(&mut self, shard: u32, key: Key, cause: u64, row: Row) {
        let record = Record {
            tick: self.clock.now().as_nanos(),
            change: Change {
                key,
                cause,
                once: true,
            },
            row,
        };
        self.oracle.committed(shard, &record);
    }

    fn send(&self, request: u64) -> Sent {
        self.oracle.sent(request, Some(USER), Some(LABEL))
    }

    fn open(&self) {
        let sent = self.oracle.sent(0, Some(USER), None);
        let page = page(&[], &[]);
        self.oracle.answered(&sent, Promise::SessionOpened, &page);
    }

    fn broken(&self) -> Vec<Invariant> {
        let verdict = self.oracle.verdict();
        let mut all = Invariant::ALL.to_vec();
        all.retain(|&invariant| verdict.broken(invariant) > 0);
        all
    }
}

fn page(writes: &[u64], rows: &[RowView]) -> Page {
    Page {
        node: 0,
        session: Some(SessionView {
            label: LABEL,
            user: USER,
            writes: writes.to_vec(),
            cart: Vec::new(),
        }),
        rows: rows.to_vec(),
    }
}

fn shown(key: Key, row: Row, asked: Asked) -> RowView {
    let shard = homes::home(key);
    RowView::new(key, row, Stamp { shard, copy: 1 }, asked)
}

#[test]
fn a_run_that_keeps_its_promises_is_clean() {
    let mut run = Run::new();
    run.open();
    let order = run.send(1);
    let count = run.commit(Key::user(USER), 1, 1);
    let rows = [shown(Key::user(USER), count, Asked::Change)];
    run.oracle
        .answered(&order, Promise::Order(PRODUCT), &page(&[1], &rows));
    assert_eq!(run.oracle.jobs_outstanding(), 1);
    run.oracle.delivered(1, 0);
    let sold = run.commit(Key::product(PRODUCT), 1, 1);
    run.oracle.delivered(1, 2);
    assert_eq!(run.oracle.jobs_outstanding(), 0);

    let look = run.send(2);
    let rows = [
        shown(Key::user(USER), count, Asked::Position(count.version)),
        shown(Key::product(PRODUCT), sold, Asked::AgeMs(0)),
    ];
    run.oracle
        .answered(&look, Promise::Nothing, &page(&[1], &rows));

    for shard in 0..SHARDS as u32 {
        let here = |key: Key| homes::home(key) == shard;
        let mut rows = vec![(Key::user(USER), count), (Key::product(PRODUCT), sold)];
        rows.retain(|(key, _)| here(*key));
        let ledger: Vec<_> = rows.iter().map(|(key, _)| (1, *key)).collect();
        run.oracle.audit_primary(shard, &rows, &ledger);
    }
    run.oracle.close_jobs();
    assert_eq!(run.broken(), [], "{:#?}", run.oracle.verdict());
    let counts = run.oracle.job_counts();
    assert_eq!((counts.done, counts.lost, counts.repeated), (1, 0, 1));
    for invariant in Invariant::ALL {
        assert!(run.oracle.verdict().checked(invariant) > 0, "{invariant:?}");
    }
}

#[test]
fn a_session_write_that_is_missing_later_is_noticed_and_one_that_was_not_due_is_not() {
    let run = Run::new();
    run.open();
    let early = run.send(1);
    let write = run.send(2);
    run.oracle
        .answered(&write, Promise::SessionWrite, &page(&[2], &[]));
    // It was sent before the write was acknowledged, so it may have been answered before it.
    run.oracle
        .answered(&early, Promise::Nothing, &page(&[], &[]));
    assert_eq!(run.broken(), []);
    let late = run.send(3);
    run.oracle
        .answered(&late, Promise::Nothing, &page(&[], &[]));
    assert_eq!(run.broken(), [Invariant::Sessions]);
    let verdict = run.oracle.verdict();
    let violation = verdict.violations()[0].to_string();
    assert!(violation.contains("write of request 2"), "{violation}");
    assert!(
        violation.lines().count() > 2,
        "there is no story: {violation}"
    );
}

#[test]
fn a_session_that_is_denied_is_lost() {
    let run = Run::new();
    run.open();
    run.oracle.session_denied(&run.send(1));
    assert_eq!(run.broken(), [Invariant::Sessions]);
    assert_eq!(run.oracle.verdict().lost_sessions(), 1);
}

#[test]
fn a_counter_that_goes_back_is_noticed() {
    let mut run = Run::new();
    run.open();
    let key = Key::user(USER);
    let old = run.commit(key, 1, 1);
    let new = run.commit(key, 2, 2);
    let any = Asked::Position(0);
    run.oracle.answered(
        &run.send(3),
        Promise::Nothing,
        &page(&[], &[shown(key, new, any)]),
    );
    assert_eq!(run.broken(), []);
    run.oracle.answered(
        &run.send(4),
        Promise::Nothing,
        &page(&[], &[shown(key, old, any)]),
    );
    assert_eq!(run.broken(), [Invariant::Counters]);
}

#[test]
fn an_order_that_is_booked_twice_is_noticed_at_once() {
    let mut run = Run::new();
    run.open();
    run.oracle
        .answered(&run.send(1), Promise::Order(PRODUCT), &page(&[1], &[]));
    run.commit(Key::product(PRODUCT), 1, 1);
    run.commit(Key::product(PRODUCT), 1, 2);
    assert_eq!(run.broken(), [Invariant::Jobs]);
}

#[test]
fn an_order_that_is_never_booked_or_on_no_disk_is_noticed_at_the_end() {
    let mut run = Run::new();
    run.open();
    run.oracle
        .answered(&run.send(1), Promise::Order(PRODUCT), &page(&[1], &[]));
    run.oracle
        .answered(&run.send(2), Promise::Order(PRODUCT), &page(&[1, 2], &[]));
    run.commit(Key::product(PRODUCT), 2, 1);
    assert_eq!(run.broken(), []);
    run.oracle.close_jobs();
    let verdict = run.oracle.verdict();
    assert_eq!(verdict.broken(Invariant::Jobs), 2);
    assert_eq!(run.oracle.job_counts().lost, 1);
}

#[test]
fn a_key_in_the_wrong_house_is_noticed_wherever_it_shows() {
    let key = Key::product(PRODUCT);
    let wrong = (homes::home(key) + 1) % SHARDS as u32;
    let row = Row {
        value: 1,
        version: 1,
    };

    let run = Run::new();
    let mut view = shown(key, Row::default(), Asked::AgeMs(0));
    view.shard = wrong;
    run.oracle.answered(
        &run.oracle.sent(1, None, None),
        Promise::Nothing,
        &page(&[], &[view]),
    );
    assert_eq!(run.broken(), [Invariant::Homes]);
    let verdict = run.oracle.verdict();
    assert!(
        !verdict.violations()[0].story.is_empty(),
        "the answer itself is the story"
    );

    let mut run = Run::new();
    run.commit_at(wrong, key, 1, row);
    assert_eq!(run.broken(), [Invariant::Homes]);

    let run = Run::new();
    run.oracle.audit_replica(wrong, &[(key, row)]);
    assert_eq!(run.broken(), [Invariant::Homes]);
}

#[test]
fn a_row_that_is_older_than_was_asked_is_noticed() {
    let key = Key::product(PRODUCT);
    let mut run = Run::new();
    let old = run.commit(key, 1, 1);
    let new = run.commit(key, 2, 2);
    let answer = |run: &Run, row, asked| {
        let sent = run.oracle.sent(3, None, None);
        let page = page(&[], &[shown(key, row, asked)]);
        run.oracle.answered(&sent, Promise::Nothing, &page);
    };
    answer(&run, old, Asked::AgeMs(60_000));
    answer(&run, old, Asked::Position(old.version));
    answer(&run, new, Asked::Position(new.version));
    answer(&run, new, Asked::AgeMs(0));
    assert_eq!(run.broken(), []);
    answer(&run, old, Asked::Position(new.version));
    assert_eq!(run.oracle.verdict().broken(Invariant::Ages), 1);
    answer(&run, old, Asked::AgeMs(0));
    assert_eq!(run.oracle.verdict().broken(Invariant::Ages), 2);
}

#[test]
fn a_row_on_disk_that_is_not_the_last_commit_is_noticed() {
    let key = Key::product(PRODUCT);
    let mut run = Run::new();
    let old = run.commit(key, 1, 1);
    run.commit(key, 2, 2);
    run.oracle
        .audit_primary(homes::home(key), &[(key, old)], &[]);
    assert_eq!(run.broken(), [Invariant::Ages]);
}
