//! Invariant 5: no row is staler than was asked, nor anything but what was committed.

use std::collections::HashMap;
use std::time::Duration;

use super::story::{Event, Story};
use super::{Invariant, Sent, Verdict, shown_event};
use crate::page::{Asked, RowView};
use crate::row::{Key, Record, Row};

/// What was committed under each key, and when.
#[derive(Debug, Default)]
pub(super) struct Ages {
    books: HashMap<Key, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// In the order of the log, so by position and by tick.
    commits: Vec<Commit>,
    story: Story,
}

#[derive(Clone, Copy, Debug, Default)]
struct Commit {
    tick: u64,
    row: Row,
}

impl Ages {
    pub(super) fn committed(&mut self, record: &Record) {
        let book = self.books.entry(record.change.key).or_default();
        book.commits.push(Commit {
            tick: record.tick,
            row: record.row,
        });
        book.story.add(
            record.tick,
            Event::Committed {
                cause: record.change.cause,
                value: record.row.value,
                position: record.row.version,
            },
        );
    }

    pub(super) fn shown(
        &mut self,
        tick: u64,
        sent: &Sent,
        key: Key,
        shown: &RowView,
        verdict: &mut Verdict,
    ) {
        let book = self.books.entry(key).or_default();
        book.story.add(tick, shown_event(sent, shown));
        // The last commit that the answer must hold.
        let due = match shown.asked {
            Asked::Change => return,
            Asked::Position(position) => book.last_where(|commit| commit.row.version <= position),
            Asked::AgeMs(age) => {
                let horizon = sent.tick.saturating_sub(age.saturating_mul(1_000_000));
                book.last_where(|commit| commit.tick <= horizon)
            }
        };
        verdict.check(Invariant::Ages);
        if shown.version < due.row.version {
            let what = format!(
                "{key} was shown at version {}, when version {}, committed {:?} before it was asked for, was due",
                shown.version,
                due.row.version,
                Duration::from_nanos(sent.tick.saturating_sub(due.tick)),
            );
            verdict.break_promise(Invariant::Ages, what, book.story.lines());
        }
    }

    /// What the primary has on disk at the end must be the last commit.
    pub(super) fn stored(&self, key: Key, row: Row, verdict: &mut Verdict) {
        verdict.check(Invariant::Ages);
        let book = self.books.get(&key);
        let last = book.map_or(Row::default(), |book| book.last_where(|_| true).row);
        if row != last {
            let what = format!("{key} is stored as {row:?} and was committed as {last:?}");
            verdict.break_promise(Invariant::Ages, what, self.story(key));
        }
    }

    pub(super) fn story(&self, key: Key) -> Vec<String> {
        let book = self.books.get(&key);
        book.map_or_else(Vec::new, |book| book.story.lines())
    }
}

impl Book {
    /// The last commit, or a zeroth one, that meets a condition which, along the log, holds up to a point and then no more.
    fn last_where(&self, holds: impl Fn(&Commit) -> bool) -> Commit {
        let end = self.commits.partition_point(holds);
        let last = end.checked_sub(1).map(|last| self.commits[last]);
        last.unwrap_or_default()
    }
}
