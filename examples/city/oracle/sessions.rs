//! Invariant 1: an acknowledged session write is in every later answer about the session.

use std::collections::HashMap;

use super::story::{Event, Story};
use super::{Invariant, Sent, Verdict};
use crate::page::SessionView;

/// The sessions, by label.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    books: HashMap<u64, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// The requests whose write was acknowledged, in that order.
    writes: Vec<u64>,
    story: Story,
}

impl Sessions {
    pub(super) fn acknowledged(&self, label: u64) -> usize {
        self.books.get(&label).map_or(0, |book| book.writes.len())
    }

    pub(super) fn opened(&mut self, tick: u64, label: u64) {
        let book = self.books.entry(label).or_default();
        book.story.add(tick, Event::SessionOpened);
    }

    pub(super) fn wrote(&mut self, tick: u64, label: u64, request: u64) {
        let book = self.books.entry(label).or_default();
        book.writes.push(request);
        book.story.add(tick, Event::SessionWritten { request });
    }

    pub(super) fn seen(
        &mut self,
        tick: u64,
        sent: &Sent,
        label: u64,
        view: Option<&SessionView>,
        verdict: &mut Verdict,
    ) {
        verdict.check(Invariant::Sessions);
        let book = self.books.entry(label).or_default();
        let (request, sent_at) = (sent.request, sent.tick);
        let Some(view) = view.filter(|view| view.label == label) else {
            let event = Event::SessionDenied {
                request,
                sent: sent_at,
            };
            book.story.add(tick, event);
            verdict.lost_sessions += 1;
            let what = format!("session {label} is lost");
            verdict.break_promise(Invariant::Sessions, what, book.story.lines());
            return;
        };
        book.story.add(
            tick,
            Event::SessionShown {
                request,
                sent: sent_at,
                writes: view.writes.len(),
            },
        );
        let promised = &book.writes[..sent.writes];
        if let Some(missing) = promised.iter().find(|write| !view.writes.contains(write)) {
            let what = format!(
                "session {label} of user {} has lost the write of request {missing}",
                view.user
            );
            verdict.break_promise(Invariant::Sessions, what, book.story.lines());
        }
    }
}
