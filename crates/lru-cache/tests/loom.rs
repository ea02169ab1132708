//! The lock of a shard, in every interleaving of what it does with memory:
//! `RUSTFLAGS="--cfg purlin_loom" cargo test --release -p purlin-lru-cache --test loom`.
#![cfg(purlin_loom)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

// The lock is not public, and so is compiled into this test.
#[allow(unused_imports, reason = "the guard's name is for the crate")]
#[path = "../src/raw/lock.rs"]
mod lock;

use lock::Lock;

/// One thread at a time is in it, and sees all that those before it did there. Loom watches the cell: an access that is
/// not ordered after the one before is a failure, whatever is read.
#[test]
fn whoever_has_the_lock_sees_what_was_done_under_it() {
    loom::model(|| {
        let lock = Arc::new(Lock::new([0, 0]));
        let write = {
            let lock = Arc::clone(&lock);
            move || {
                let mut halves = lock.lock();
                assert_eq!(halves[0], halves[1], "half of another's write");
                halves[0] += 1;
                halves[1] += 1;
            }
        };
        let other = thread::spawn(write.clone());
        write();
        let seen = *lock.lock();
        assert_eq!(seen[0], seen[1]);
        other.join().unwrap();
        assert_eq!(*lock.lock(), [2, 2]);
    });
}

/// Nobody waits for ever: whoever finds it taken gets it after the other has let go, and again.
#[test]
fn a_thread_that_waits_gets_it() {
    loom::model(|| {
        let lock = Arc::new(Lock::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let work = {
            let (lock, inside) = (Arc::clone(&lock), Arc::clone(&inside));
            move || {
                for _ in 0..2 {
                    let mut number = lock.lock();
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "two are inside");
                    *number += 1;
                    inside.fetch_sub(1, Ordering::Relaxed);
                }
            }
        };
        let other = thread::spawn(work.clone());
        work();
        other.join().unwrap();
        assert_eq!(*lock.lock(), 4);
    });
}
