#[cfg(any(purlin_safe, purlin_shuttle))]
pub(crate) use purlin_core::sync::{Mutex as Lock, MutexGuard as LockGuard};

#[cfg(not(any(purlin_safe, purlin_shuttle)))]
pub(crate) use self::spin::{Lock, LockGuard};

/// Takes a lock. If it stays taken for so long that whoever has it must have lost his processor, that is told, as often as it
/// is found so; a mutex does not know.
#[inline]
pub(crate) fn lock<T>(lock: &Lock<T>, tell: impl FnMut()) -> LockGuard<'_, T> {
    #[cfg(not(any(purlin_safe, purlin_shuttle)))]
    return lock.lock_and_tell(tell);
    #[cfg(any(purlin_safe, purlin_shuttle))]
    {
        drop(tell);
        lock.lock()
    }
}

#[cfg(not(any(purlin_safe, purlin_shuttle)))]
mod spin {
    #![allow(unsafe_code, reason = "a lock, which no safe code can make")]

    use core::fmt;
    #[cfg(not(purlin_loom))]
    use core::hint;
    use core::marker::PhantomData;
    use core::ops::{Deref, DerefMut};

    #[cfg(purlin_loom)]
    use loom::{cell::UnsafeCell, hint};
    use purlin_core::sync::atomic::{AtomicBool, Ordering};
    use purlin_core::sync::thread;

    #[cfg(not(purlin_loom))]
    use self::plain::UnsafeCell;

    /// The core library's cell, with the methods that loom's has.
    #[cfg(not(purlin_loom))]
    mod plain {
        pub(super) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

        impl<T> UnsafeCell<T> {
            pub(super) const fn new(value: T) -> Self {
                UnsafeCell(core::cell::UnsafeCell::new(value))
            }

            #[inline]
            pub(super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
                read(self.0.get())
            }

            #[inline]
            pub(super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
                write(self.0.get())
            }
        }
    }

    /// A lock for what takes tens of nanoseconds. Whoever finds it taken tries again for a little and then lets
    /// other threads run between his attempts. In return for having no queue it is released by a plain store, where a
    /// mutex asks memory a second time who waits: half of the cost of taking it.
    ///
    /// What it protects follows it in memory, so that who takes it has the start of that as well.
    #[repr(C)]
    pub(crate) struct Lock<T> {
        is_taken: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: the lock gives one thread at a time access, so sharing it hands the value from thread to thread.
    unsafe impl<T: Send> Sync for Lock<T> {}

    /// Attempts in a row, after pauses that double, before the thread lets others run: about a microsecond, which is many
    /// times what the lock is held for.
    const PATIENCE: u32 = if cfg!(purlin_loom) { 1 } else { 7 };

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Lock {
                is_taken: AtomicBool::new(false),
                value: UnsafeCell::new(value),
            }
        }

        #[inline]
        pub(crate) fn lock(&self) -> LockGuard<'_, T> {
            self.lock_and_tell(|| ())
        }

        #[inline]
        pub(super) fn lock_and_tell(&self, tell: impl FnMut()) -> LockGuard<'_, T> {
            if !self.try_take() {
                self.wait(tell);
            }
            LockGuard {
                lock: self,
                stays: PhantomData,
            }
        }

        /// Takes the lock if it is free, and perhaps not even then.
        #[inline]
        pub(crate) fn try_lock(&self) -> Option<LockGuard<'_, T>> {
            self.try_take().then(|| LockGuard {
                lock: self,
                stays: PhantomData,
            })
        }

        #[cold]
        fn wait(&self, mut tell: impl FnMut()) {
            loop {
                // If who has it is running, it will be free in a moment, and others may be as quick to take it.
                for attempt in 0..PATIENCE {
                    for _ in 0..1 << attempt {
                        hint::spin_loop();
                    }
                    if !self.is_taken.load(Ordering::Relaxed) && self.try_take() {
                        return;
                    }
                }
                tell();
                // This processor may be the one it waits for.
                thread::yield_now();
            }
        }

        /// Takes it, unless it is taken already. May fail for no reason.
        #[inline]
        fn try_take(&self) -> bool {
            // Acquire: what the thread before did under the lock is seen.
            self.is_taken
                .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
        }
    }

    impl<T> fmt::Debug for Lock<T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Lock").finish_non_exhaustive()
        }
    }

    /// Holds a [`Lock`] until dropped.
    pub(crate) struct LockGuard<'a, T> {
        lock: &'a Lock<T>,
        /// It is for the thread that took it, as other guards are.
        stays: PhantomData<*const ()>,
    }

    // SAFETY: a shared guard gives shared access to the value only.
    unsafe impl<T: Sync> Sync for LockGuard<'_, T> {}

    impl<T> Drop for LockGuard<'_, T> {
        #[inline]
        fn drop(&mut self) {
            // Release: what was done under the lock is seen by whoever takes it next.
            self.lock.is_taken.store(false, Ordering::Release);
        }
    }

    impl<T> Deref for LockGuard<'_, T> {
        type Target = T;

        #[inline]
        fn deref(&self) -> &T {
            // SAFETY: a guard is made only by who has taken the lock, and it is released only by the guard's drop.
            self.lock.value.with(|value| unsafe { &*value })
        }
    }

    impl<T> DerefMut for LockGuard<'_, T> {
        #[inline]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as for `deref`, and the borrow of the guard is exclusive.
            self.lock.value.with_mut(|value| unsafe { &mut *value })
        }
    }

    impl<T: fmt::Debug> fmt::Debug for LockGuard<'_, T> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            (**self).fmt(f)
        }
    }
}

#[cfg(all(test, not(purlin_loom)))]
mod tests {
    use std::thread;

    use super::Lock;

    #[test]
    fn no_addition_is_lost() {
        let each = if cfg!(miri) { 50 } else { 50_000 };
        let lock = Lock::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..each).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 4 * each);
    }

    #[test]
    fn a_panic_under_it_releases_it() {
        let lock = Lock::new(1);
        let panic = thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _guard = lock.lock();
                panic!("under the lock");
            });
            panics.join()
        });
        assert!(panic.is_err());
        assert_eq!(*lock.lock(), 1);
    }
}
