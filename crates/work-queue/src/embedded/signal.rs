use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use purlin_core::sync::Mutex;

/// A bell for those who wait for work. Each ring is heard by everyone who waits, and by everyone who began to listen
/// before it and has not polled yet.
#[derive(Debug, Default)]
pub struct Signal {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Rings so far.
    rings: u64,
    next_listener: u64,
    /// One entry a future that has been polled and is neither complete nor dropped. Unordered: a process has a handful
    /// of workers.
    listeners: Vec<(u64, Waker)>,
}

impl Signal {
    /// A bell that nobody has rung.
    pub fn new() -> Self {
        Signal::default()
    }

    /// Wakes everyone. Call it without a lock held: a waker may run its task at once.
    pub fn ring(&self) {
        let listeners = {
            let mut state = self.state.lock();
            state.rings = state.rings.wrapping_add(1);
            core::mem::take(&mut state.listeners)
        };
        for (_, waker) in listeners {
            waker.wake();
        }
    }

    /// Completes at the first ring after this call.
    pub fn changed(&self) -> Changed<'_> {
        Changed {
            signal: self,
            heard: self.state.lock().rings,
            listener: None,
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("rings", &self.rings)
            .field("listeners", &self.listeners.len())
            .finish()
    }
}

/// Waits for the next ring of a [`Signal`]. Dropping it has no effect on others.
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Changed<'a> {
    signal: &'a Signal,
    heard: u64,
    /// Our entry among the listeners, once polled.
    listener: Option<u64>,
}

impl Future for Changed<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        // Cloned and dropped outside the lock, since a waker is somebody else's code.
        let waker = cx.waker().clone();
        let replaced = {
            let mut state = this.signal.state.lock();
            if state.rings != this.heard {
                this.listener = None;
                return Poll::Ready(());
            }
            let id = *this.listener.get_or_insert_with(|| {
                let id = state.next_listener;
                state.next_listener += 1;
                id
            });
            let entry = state.listeners.iter_mut().find(|(other, _)| *other == id);
            match entry {
                Some((_, slot)) => Some(core::mem::replace(slot, waker)),
                None => {
                    state.listeners.push((id, waker));
                    None
                }
            }
        };
        drop(replaced);
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        let Some(id) = self.listener else { return };
        let removed = {
            let mut state = self.signal.state.lock();
            let position = state.listeners.iter().position(|(other, _)| *other == id);
            position.map(|position| state.listeners.swap_remove(position))
        };
        drop(removed);
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_ring_between_the_call_and_the_first_poll_is_heard() {
        let signal = Signal::new();
        let mut changed = pin!(signal.changed());
        signal.ring();
        let poll = changed
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_ready());
        let mut later = pin!(signal.changed());
        let poll = later.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending(), "an old ring is not heard again");
    }

    #[test]
    fn the_last_waker_of_each_listener_is_woken_once_and_dropped_ones_leave_nothing() {
        let signal = Signal::new();
        let (first, second) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut staying = pin!(signal.changed());
        for count in [&first, &second] {
            let waker = Waker::from(Arc::clone(count));
            let poll = staying.as_mut().poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
        }
        {
            let mut leaving = pin!(signal.changed());
            let poll = leaving
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert!(poll.is_pending());
            assert_eq!(signal.state.lock().listeners.len(), 2);
        }
        assert_eq!(signal.state.lock().listeners.len(), 1);
        signal.ring();
        assert_eq!(first.0.load(Ordering::SeqCst), 0);
        assert_eq!(second.0.load(Ordering::SeqCst), 1);
        assert!(signal.state.lock().listeners.is_empty());
    }
}
