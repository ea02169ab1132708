//! The locks, atomics and threads of every crate here, so that a model checker can take their place.
//!
//! Built with `--cfg purlin_loom` they are loom's, with `--cfg purlin_shuttle` shuttle's, with feature
//! `parking_lot` that crate's, and otherwise the standard library's. Locks do not poison: no user code runs
//! under them that could leave their contents half changed, except `Hash`, `Eq` and `Clone` of keys and
//! values where a crate says so and has made its state whole beforehand.

use core::fmt;
use core::ops::{Deref, DerefMut};

#[cfg(purlin_loom)]
pub use loom::{
    sync::{Arc, atomic},
    thread,
};
#[cfg(purlin_shuttle)]
pub use shuttle::{
    sync::{Arc, atomic},
    thread,
};

/// `core`'s atomics, `alloc`'s `Arc`, and `std`'s threads, for a crate that must know which one it is on.
#[cfg(not(any(purlin_loom, purlin_shuttle)))]
pub use self::plain::{Arc, atomic, thread};

#[cfg(not(any(purlin_loom, purlin_shuttle)))]
mod plain {
    pub use alloc::sync::Arc;
    pub use core::sync::atomic;
    pub use std::thread;
}

#[cfg(purlin_loom)]
use loom::sync as imp;
#[cfg(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle))))]
use parking_lot as imp;
#[cfg(purlin_shuttle)]
use shuttle::sync as imp;
#[cfg(not(any(feature = "parking_lot", purlin_loom, purlin_shuttle)))]
use std::sync as imp;

/// Whether the locks underneath return poison results.
macro_rules! unpoisoned {
    ($guard:expr) => {{
        #[cfg(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle))))]
        {
            $guard
        }
        #[cfg(not(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle)))))]
        {
            $guard.unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }};
}

/// A mutual-exclusion lock that does not poison.
pub struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked lock around a value.
    pub fn new(value: T) -> Self {
        Mutex(imp::Mutex::new(value))
    }

    /// The value, where no one else can hold the lock.
    pub fn into_inner(self) -> T {
        unpoisoned!(self.0.into_inner())
    }
}

impl<T> Mutex<T> {
    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard(unpoisoned!(self.0.lock()))
    }

    /// Takes the lock if that needs no waiting.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        #[cfg(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle))))]
        {
            self.0.try_lock().map(MutexGuard)
        }
        #[cfg(not(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle)))))]
        {
            match self.0.try_lock() {
                Ok(guard) => Some(MutexGuard(guard)),
                Err(std::sync::TryLockError::Poisoned(poison)) => {
                    Some(MutexGuard(poison.into_inner()))
                }
                Err(std::sync::TryLockError::WouldBlock) => None,
            }
        }
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// Holds a [`Mutex`] until dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct MutexGuard<'a, T>(imp::MutexGuard<'a, T>);

/// Where threads wait for what somebody else changes under a [`Mutex`].
pub struct Condvar(imp::Condvar);

impl Condvar {
    /// One that nobody waits at.
    pub fn new() -> Self {
        Condvar(imp::Condvar::new())
    }

    /// Releases the lock, waits for a notification, and takes the lock again. It may return without one, so
    /// callers look at what they wait for in a loop.
    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        #[cfg(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle))))]
        {
            let mut guard = guard;
            self.0.wait(&mut guard.0);
            guard
        }
        #[cfg(not(all(feature = "parking_lot", not(any(purlin_loom, purlin_shuttle)))))]
        {
            MutexGuard(unpoisoned!(self.0.wait(guard.0)))
        }
    }

    /// Wakes one waiting thread, if there is one.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Condvar::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// A lock for many readers or one writer, which does not poison.
pub struct RwLock<T>(imp::RwLock<T>);

impl<T> RwLock<T> {
    /// An unlocked lock around a value.
    pub fn new(value: T) -> Self {
        RwLock(imp::RwLock::new(value))
    }
}

impl<T> RwLock<T> {
    /// Waits until no writer holds the lock.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        RwLockReadGuard(unpoisoned!(self.0.read()))
    }

    /// Waits until nobody holds the lock.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        RwLockWriteGuard(unpoisoned!(self.0.write()))
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RwLock").finish_non_exhaustive()
    }
}

/// Reads a [`RwLock`] until dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct RwLockReadGuard<'a, T>(imp::RwLockReadGuard<'a, T>);

/// Writes a [`RwLock`] until dropped.
#[must_use = "the lock is released at once if the guard is dropped"]
pub struct RwLockWriteGuard<'a, T>(imp::RwLockWriteGuard<'a, T>);

macro_rules! deref_guard {
    ($($guard:ident)*) => {$(
        impl<T> Deref for $guard<'_, T> {
            type Target = T;
            #[inline]
            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    )*};
}
deref_guard!(MutexGuard RwLockReadGuard RwLockWriteGuard);

macro_rules! deref_mut_guard {
    ($($guard:ident)*) => {$(
        impl<T> DerefMut for $guard<'_, T> {
            #[inline]
            fn deref_mut(&mut self) -> &mut T {
                &mut self.0
            }
        }
    )*};
}
deref_mut_guard!(MutexGuard RwLockWriteGuard);

#[cfg(all(test, not(any(purlin_loom, purlin_shuttle))))]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_a_lock_does_not_poison_it() {
        let lock = Arc::new(Mutex::new(1));
        let other = Arc::clone(&lock);
        let panicked = std::thread::spawn(move || {
            let _guard = other.lock();
            panic!("on purpose");
        })
        .join();
        assert!(panicked.is_err());
        assert_eq!(*lock.lock(), 1);
        assert!(lock.try_lock().is_some());
    }

    #[test]
    fn a_waiting_thread_sees_what_was_changed_before_the_notification() {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let other = Arc::clone(&shared);
        let waiter = thread::spawn(move || {
            let mut value = other.0.lock();
            while *value == 0 {
                value = other.1.wait(value);
            }
            *value
        });
        *shared.0.lock() = 7;
        shared.1.notify_all();
        assert_eq!(waiter.join().expect("the waiter does not panic"), 7);
    }
}
