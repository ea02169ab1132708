//! Reads without a lock, in every interleaving of what they and the writer do with memory: the count of changes of a set, and
//! the one of its table. `RUSTFLAGS="--cfg purlin_loom" cargo test --release -p purlin-lru-cache --test loom_seq`.
#![cfg(purlin_loom)]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use loom::thread;

// The count is not public, and so is compiled into this test.
#[path = "../src/raw/seq.rs"]
mod seq;

use seq::Seq;

/// A set of one slot, as a node is: a tag, a key and a value, each an atomic of its own.
struct Set {
    seq: Seq,
    tag: AtomicU64,
    key: AtomicU64,
    value: AtomicU64,
}

enum Read {
    Found(u64),
    Absent,
    Torn,
}

impl Set {
    fn holding(key: u64, value: u64) -> Self {
        Set {
            seq: Seq::new(),
            tag: AtomicU64::new(u64::from(key > 0)),
            key: AtomicU64::new(key),
            value: AtomicU64::new(value),
        }
    }

    /// What the cache does to a slot when an entry comes, goes, or changes.
    fn put(&self, key: u64, value: u64) {
        self.seq.change();
        self.key.store(key, Ordering::Relaxed);
        self.value.store(value, Ordering::Relaxed);
        self.tag.store(u64::from(key > 0), Ordering::Relaxed);
        self.seq.end();
    }

    fn read(&self, key: u64) -> Read {
        let Some(seen) = self.seq.begin() else {
            return Read::Torn;
        };
        if self.tag.load(Ordering::Relaxed) == 1 {
            let its = self.key.load(Ordering::Relaxed);
            let value = self.value.load(Ordering::Relaxed);
            if !self.seq.is_unchanged(seen) {
                return Read::Torn;
            }
            if its == key {
                return Read::Found(value);
            }
        }
        if self.seq.is_unchanged(seen) {
            Read::Absent
        } else {
            Read::Torn
        }
    }
}

/// An entry is read as it was at one moment, and its key's: while it is replaced by another of its key, by another key's, and
/// evicted.
#[test]
fn an_entry_is_read_whole_or_not_at_all() {
    loom::model(|| {
        let set = Arc::new(Set::holding(1, 10));
        let writer = {
            let set = Arc::clone(&set);
            thread::spawn(move || {
                set.put(1, 11);
                set.put(2, 20);
                set.put(0, 0);
            })
        };
        match set.read(1) {
            Read::Found(value) => assert!(value == 10 || value == 11, "{value} is not the key's"),
            Read::Absent | Read::Torn => {}
        }
        writer.join().unwrap();
        assert!(matches!(set.read(1), Read::Absent));
    });
}

/// What was written before a read began is seen by it.
#[test]
fn a_read_that_starts_later_sees_no_older_value() {
    loom::model(|| {
        let set = Arc::new(Set::holding(1, 10));
        let done = Arc::new(AtomicU64::new(0));
        let writer = {
            let (set, done) = (Arc::clone(&set), Arc::clone(&done));
            thread::spawn(move || {
                set.put(1, 11);
                done.store(1, Ordering::Release);
                set.put(1, 12);
            })
        };
        let is_done = done.load(Ordering::Acquire) == 1;
        if let Read::Found(value) = set.read(1) {
            assert!(value > 10 || !is_done, "the older value came back");
        }
        writer.join().unwrap();
    });
}

/// A table whose sets are arranged anew while somebody reads: the key goes from one set to another, and the pointer to the sets with
/// it. Who does not find it in the set where it was looks whether the table is what it was.
struct Table {
    geometry: Seq,
    /// Which of the two sets it is in.
    row: AtomicPtr<Set>,
    sets: [Set; 2],
}

impl Table {
    fn read(&self, key: u64) -> Read {
        let Some(seen) = self.geometry.begin() else {
            return Read::Torn;
        };
        let row = self.row.load(Ordering::Acquire);
        // SAFETY: the pointer is to one of the sets of this table.
        match unsafe { &*row }.read(key) {
            Read::Absent if !self.geometry.is_unchanged(seen) => Read::Torn,
            read => read,
        }
    }

    fn move_to(&self, to: usize, value: u64) {
        self.geometry.change();
        self.sets[1 - to].put(0, 0);
        self.sets[to].put(1, value);
        let row = std::ptr::from_ref(&self.sets[to]).cast_mut();
        self.row.store(row, Ordering::Release);
        self.geometry.end();
    }
}

#[test]
fn who_is_always_there_is_never_said_to_be_absent() {
    loom::model(|| {
        let table = Arc::new(Table {
            geometry: Seq::new(),
            row: AtomicPtr::new(std::ptr::null_mut()),
            sets: [Set::holding(1, 10), Set::holding(0, 0)],
        });
        let first = std::ptr::from_ref(&table.sets[0]).cast_mut();
        table.row.store(first, Ordering::Relaxed);
        let resizer = {
            let table = Arc::clone(&table);
            thread::spawn(move || {
                table.move_to(1, 10);
                table.move_to(0, 10);
            })
        };
        match table.read(1) {
            Read::Found(value) => assert_eq!(value, 10),
            Read::Absent => panic!("it was there all the time"),
            Read::Torn => {}
        }
        resizer.join().unwrap();
    });
}
