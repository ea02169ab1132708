//! Invariant 3: an acknowledged order is booked exactly once.

use std::collections::HashMap;

use super::story::{Event, Story};
use super::{Invariant, Verdict};
use crate::row::{Key, Record};

/// The orders, by the request that placed them.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    books: HashMap<u64, Book>,
    outstanding: usize,
}

#[derive(Debug, Default)]
struct Book {
    /// The product, if the order was acknowledged. One that was not may be booked all the same: the
    /// acknowledgement may have been lost on its way.
    acknowledged: Option<u32>,
    /// The product of each booking.
    booked: Vec<Key>,
    deliveries: u64,
    in_ledger: bool,
    story: Story,
}

/// The jobs' figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Orders acknowledged.
    pub acknowledged: u64,
    /// Orders booked, acknowledged or not.
    pub done: u64,
    /// Orders acknowledged and not booked.
    pub lost: u64,
    /// Deliveries of a job beyond its first, which is what at-least-once delivery costs.
    pub repeated: u64,
}

impl Jobs {
    pub(super) fn acknowledged(&mut self, tick: u64, order: u64, product: u32) {
        let book = self.books.entry(order).or_default();
        book.story.add(tick, Event::OrderAcknowledged { product });
        let first_time = book.acknowledged.replace(product).is_none();
        if first_time && book.booked.is_empty() {
            self.outstanding += 1;
        }
    }

    pub(super) fn delivered(&mut self, tick: u64, order: u64, worker: usize) {
        let book = self.books.entry(order).or_default();
        book.story.add(tick, Event::Delivered { worker });
        book.deliveries += 1;
    }

    pub(super) fn booked(&mut self, record: &Record, verdict: &mut Verdict) {
        let order = record.change.cause;
        let book = self.books.entry(order).or_default();
        let event = Event::Booked {
            value: record.row.value,
            position: record.row.version,
        };
        book.story.add(record.tick, event);
        book.booked.push(record.change.key);
        match book.booked.len() {
            1 if book.acknowledged.is_some() => self.outstanding -= 1,
            0 | 1 => {}
            times => {
                let what = format!("order {order} has been booked {times} times");
                verdict.break_promise(Invariant::Jobs, what, book.story.lines());
            }
        }
    }

    /// What a shard's ledger holds at the end.
    pub(super) fn stored(&mut self, ledger: &[(u64, Key)]) {
        for (order, key) in ledger.iter().filter(|(_, key)| !key.is_user()) {
            let book = self.books.entry(*order).or_default();
            book.in_ledger |= book
                .acknowledged
                .is_none_or(|product| *key == Key::product(product));
        }
    }

    pub(super) fn close(&mut self, verdict: &mut Verdict) {
        for (order, book) in &self.books {
            let Some(product) = book.acknowledged else {
                continue;
            };
            verdict.check(Invariant::Jobs);
            let fault = match book.booked.first() {
                None => "was never booked".to_owned(),
                Some(key) if *key != Key::product(product) => {
                    format!("of product {product} was booked on {key}")
                }
                Some(_) if !book.in_ledger => "is in no ledger".to_owned(),
                Some(_) => continue,
            };
            let what = format!("acknowledged order {order} {fault}");
            verdict.break_promise(Invariant::Jobs, what, book.story.lines());
        }
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(super) fn counts(&self) -> JobCounts {
        let mut counts = JobCounts::default();
        for book in self.books.values() {
            let (acknowledged, booked) = (book.acknowledged.is_some(), !book.booked.is_empty());
            counts.acknowledged += u64::from(acknowledged);
            counts.done += u64::from(booked);
            counts.lost += u64::from(acknowledged && !booked);
            counts.repeated += book.deliveries.saturating_sub(1);
        }
        counts
    }
}
