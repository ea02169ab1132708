//! Where calls wait until they are let go.

use core::future::poll_fn;
use core::mem;
use core::task::{Poll, Waker};

use purlin_core::sync::Mutex;

/// Open at first.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    is_closed: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    pub(super) fn close(&self) {
        self.0.lock().is_closed = true;
    }

    pub(super) fn open(&self) {
        let waiting = {
            let mut state = self.0.lock();
            state.is_closed = false;
            mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until the gate is open.
    pub(super) async fn pass(&self) {
        poll_fn(|context| {
            let mut state = self.0.lock();
            if !state.is_closed {
                return Poll::Ready(());
            }
            let waker = context.waker();
            if !state.waiting.iter().any(|other| other.will_wake(waker)) {
                state.waiting.push(waker.clone());
            }
            Poll::Pending
        })
        .await;
    }
}
