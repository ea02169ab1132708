//! A piece of work on its way through a commit.

use std::sync::{Arc, Mutex, PoisonError};

use purlin_work_queue::embedded::{Ledger, Moment};

use super::engine::Failure;
use super::tables::Tables;

/// One caller's operation, to whoever commits it.
pub(super) trait Pending: Send {
    /// Does it, in the transaction.
    fn apply(&mut self, ledger: &mut Ledger<()>, now: Moment, tables: &mut Tables<'_>);

    /// Tells the caller what became of the transaction.
    fn settle(self: Box<Self>, outcome: Result<(), &Failure>);
}

/// Where a caller finds its answer once its commit is done.
pub(super) struct Slot<R>(Mutex<Option<Result<R, Failure>>>);

impl<R> Slot<R> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Slot(Mutex::new(None)))
    }

    /// The answer; none if nobody came to give one.
    pub(super) fn take(&self) -> Option<Result<R, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(super) struct Task<F, R> {
    state: State<F, R>,
    slot: Arc<Slot<R>>,
}

enum State<F, R> {
    Waiting(F),
    Applied(R),
    /// In the midst of `apply`.
    Between,
}

impl<F, R> Task<F, R> {
    pub(super) fn new(work: F, slot: Arc<Slot<R>>) -> Self {
        Task {
            state: State::Waiting(work),
            slot,
        }
    }
}

impl<F, R> Pending for Task<F, R>
where
    F: FnOnce(&mut Ledger<()>, Moment, &mut Tables<'_>) -> R + Send,
    R: Send,
{
    fn apply(&mut self, ledger: &mut Ledger<()>, now: Moment, tables: &mut Tables<'_>) {
        let state = std::mem::replace(&mut self.state, State::Between);
        if let State::Waiting(work) = state {
            self.state = State::Applied(work(ledger, now, tables));
        }
    }

    fn settle(self: Box<Self>, outcome: Result<(), &Failure>) {
        let Task { state, slot } = *self;
        let answer = match (outcome, state) {
            (Ok(()), State::Applied(result)) => Ok(result),
            (Ok(()), State::Waiting(_) | State::Between) => {
                unreachable!("a transaction that was committed has applied its batch")
            }
            (Err(failure), _) => Err(failure.clone()),
        };
        *slot.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}
