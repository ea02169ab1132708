use core::future::Future;

use super::{Clock, Tick};

/// A clock that can also wake a task.
///
/// Code that waits takes a `Timer`, so that it runs under [`ManualClock`](super::ManualClock) as it does in
/// production. `SystemClock` is one with feature `tokio`.
///
/// # Cancel safety
///
/// Dropping a sleep before it completes has no effect but that nobody is woken.
pub trait Timer: Clock {
    /// The future of [`sleep_until`](Timer::sleep_until).
    type Sleep: Future<Output = ()> + Send + 'static;

    /// Completes once `now()` is at or past `deadline`; at once if it already is, never for [`Tick::MAX`].
    fn sleep_until(&self, deadline: Tick) -> Self::Sleep;
}

impl<T: Timer + ?Sized> Timer for &T {
    type Sleep = T::Sleep;
    fn sleep_until(&self, deadline: Tick) -> Self::Sleep {
        (**self).sleep_until(deadline)
    }
}

impl<T: Timer + ?Sized> Timer for alloc::sync::Arc<T> {
    type Sleep = T::Sleep;
    fn sleep_until(&self, deadline: Tick) -> Self::Sleep {
        (**self).sleep_until(deadline)
    }
}

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
impl Timer for super::SystemClock {
    type Sleep = tokio::time::Sleep;

    /// # Panics
    ///
    /// Outside a tokio runtime with its timer enabled, as `tokio::time::sleep_until` does.
    fn sleep_until(&self, deadline: Tick) -> Self::Sleep {
        // An instant the platform cannot represent is further away than any process lives.
        match self.instant(deadline) {
            Some(instant) => tokio::time::sleep_until(instant.into()),
            None => tokio::time::sleep(core::time::Duration::MAX),
        }
    }
}
