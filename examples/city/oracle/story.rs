//! The last things that happened to one thing, for the day it goes wrong.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::page::Asked;

/// Events that a story remembers.
const LENGTH: usize = 12;

/// The last events of one key, user, session or job.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// Tick and event, oldest first.
    events: VecDeque<(u64, Event)>,
}

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    SessionOpened,
    SessionWritten {
        request: u64,
    },
    SessionShown {
        request: u64,
        sent: u64,
        writes: usize,
    },
    SessionDenied {
        request: u64,
        sent: u64,
    },
    Shown {
        request: u64,
        sent: u64,
        value: u64,
        version: u64,
        shard: u32,
        copy: u32,
        /// `None` for a change.
        asked: Option<Asked>,
    },
    Committed {
        cause: u64,
        value: u64,
        position: u64,
    },
    OrderAcknowledged {
        product: u32,
    },
    Delivered {
        worker: usize,
    },
    Booked {
        value: u64,
        position: u64,
    },
}

impl Story {
    pub(super) fn add(&mut self, tick: u64, event: Event) {
        if self.events.len() == LENGTH {
            self.events.pop_front();
        }
        self.events.push_back((tick, event));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let line = |(tick, event): &(u64, Event)| format!("{} {event}", Seconds(*tick));
        self.events.iter().map(line).collect()
    }
}

/// A tick as seconds of the run.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:9.4}s", Duration::from_nanos(self.0).as_secs_f64())
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Event::SessionOpened => write!(f, "session opened"),
            Event::SessionWritten { request } => {
                write!(f, "write of request {request} acknowledged")
            }
            Event::SessionShown {
                request,
                sent,
                writes,
            } => write!(
                f,
                "request {request}, sent at {}, was shown {writes} writes",
                Seconds(sent)
            ),
            Event::SessionDenied { request, sent } => write!(
                f,
                "request {request}, sent at {}, was told there is no such session",
                Seconds(sent)
            ),
            Event::Shown {
                request,
                sent,
                value,
                version,
                shard,
                copy,
                asked,
            } => {
                let sent = Seconds(sent);
                write!(
                    f,
                    "request {request}, sent at {sent}, was shown count {value}, version {version}, \
                     by copy {copy} of shard {shard}"
                )?;
                match asked {
                    None | Some(Asked::Change) => write!(f, ", which it had changed"),
                    Some(Asked::Position(position)) => {
                        write!(f, "; asked for position {position}")
                    }
                    Some(Asked::AgeMs(0)) => write!(f, "; asked for the present"),
                    Some(Asked::AgeMs(age)) => write!(f, "; asked for at most {age} ms old"),
                }
            }
            Event::Committed {
                cause,
                value,
                position,
            } => write!(
                f,
                "request {cause} committed count {value} at position {position}"
            ),
            Event::OrderAcknowledged { product } => {
                write!(f, "order of product {product} acknowledged")
            }
            Event::Delivered { worker } => write!(f, "delivered to worker {worker}"),
            Event::Booked { value, position } => {
                write!(f, "booked as count {value} at position {position}")
            }
        }
    }
}
