//! Invariant 2: a user's counter never goes back.

use std::collections::HashMap;

use super::story::{Event, Story};
use super::{Invariant, Sent, Verdict, shown_event};
use crate::page::{Asked, RowView};
use crate::row::{Key, Record};

/// The users' counters, by user.
#[derive(Debug, Default)]
pub(super) struct Counters {
    books: HashMap<Key, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// The highest count in any answer so far.
    floor: u64,
    story: Story,
}

impl Counters {
    pub(super) fn floor(&self, user: u32) -> u64 {
        let book = self.books.get(&Key::user(user));
        book.map_or(0, |book| book.floor)
    }

    pub(super) fn committed(&mut self, record: &Record) {
        let book = self.books.entry(record.change.key).or_default();
        book.story.add(
            record.tick,
            Event::Committed {
                cause: record.change.cause,
                value: record.row.value,
                position: record.row.version,
            },
        );
    }

    pub(super) fn seen(
        &mut self,
        tick: u64,
        sent: &Sent,
        user: u32,
        shown: &RowView,
        verdict: &mut Verdict,
    ) {
        verdict.check(Invariant::Counters);
        let book = self.books.entry(Key::user(user)).or_default();
        book.story.add(tick, shown_event(sent, shown));
        // A change adds one to a count that was at least the floor.
        let least = sent.floor + u64::from(shown.asked == Asked::Change);
        if shown.value < least {
            let what = format!(
                "user {user} was shown count {} after {}",
                shown.value, sent.floor
            );
            verdict.break_promise(Invariant::Counters, what, book.story.lines());
        }
        book.floor = book.floor.max(shown.value);
    }
}
