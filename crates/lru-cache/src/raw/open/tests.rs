use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use purlin_core::{Rng, Tick};

use super::super::{Print, Slot, Slots};
use super::{Home, Open, Read};

type Numbers = Open<u64, u64, ()>;

const MANY: u64 = if cfg!(miri) { 300 } else { 60_000 };

fn print(key: u64) -> Print {
    Print {
        // Few tags, so that readers look at entries of others as well.
        tag: (key % 7) as u8 + 1,
        mark: key as u16,
    }
}

fn slot(key: u64) -> Slot {
    Slot {
        print: print(key),
        note: 0,
        order: 1,
    }
}

/// A value that says which key it is of, and when it was written.
fn value(key: u64, version: u64) -> u64 {
    key << 32 | version
}

fn read(home: &Home<u64, u64>, key: u64) -> Read<u64> {
    home.read(&key, Tick::ZERO, |_, doublings| {
        ((key as usize) & ((1 << doublings) - 1), print(key))
    })
}

fn table(home: &Arc<Home<u64, u64>>, doublings: u8, blocks: &[Numbers]) {
    assert_eq!(blocks.len(), 1 << doublings);
    Numbers::rearrange(home);
    Numbers::arranged(home, 1, doublings, blocks.iter());
}

fn at(block: &Numbers, key: u64) -> Option<usize> {
    block.find(print(key), |(its, _)| *its == key)
}

/// Runs readers of any of so many keys beside what one writer does, until that returns.
fn beside_readers(
    home: &Arc<Home<u64, u64>>,
    keys: u64,
    check: impl Fn(u64, Read<u64>) + Sync,
    write: impl FnOnce(),
) -> u64 {
    let is_over = AtomicBool::new(false);
    let seen = AtomicU64::new(0);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (is_over, seen, check) = (&is_over, &seen, &check);
            scope.spawn(move || {
                let mut rng = Rng::from_seed(reader);
                loop {
                    let is_last = is_over.load(Ordering::Acquire);
                    let key = rng.below(keys);
                    let read = read(home, key);
                    seen.fetch_add(u64::from(!matches!(read, Read::Ask)), Ordering::Relaxed);
                    check(key, read);
                    if is_last {
                        break;
                    }
                }
            });
        }
        write();
        is_over.store(true, Ordering::Release);
    });
    seen.into_inner()
}

#[test]
fn what_is_read_is_what_was_written_for_that_key_and_never_older_than_before() {
    let home = Home::new().expect("numbers are plain");
    let mut block = Numbers::make(&home);
    table(&home, 0, core::slice::from_ref(&block));
    // The oldest version that a reader may still see of each key, since it was there before the read began.
    let written: [AtomicU64; 60] = [const { AtomicU64::new(0) }; 60];
    for key in 0..60 {
        block.make_room();
        block.push(slot(key), (key, value(key, 0)));
    }
    let check = |key: u64, read: Read<u64>| match read {
        Read::Found(found, _) => {
            assert_eq!(found >> 32, key, "half of one entry and half of another");
        }
        Read::Absent | Read::Ask => {}
    };
    let fresh = |key: u64| {
        let least = written[key as usize].load(Ordering::Acquire);
        if let Read::Found(found, _) = read(&home, key) {
            assert!(
                found & 0xffff_ffff >= least,
                "older than what was written before"
            );
        }
    };
    let seen = beside_readers(
        &home,
        60,
        |key, read| {
            check(key, read);
            fresh(key);
        },
        || {
            let mut rng = Rng::from_seed(9);
            for version in 1..MANY {
                let key = rng.below(60);
                match (at(&block, key), rng.below(4)) {
                    (Some(at), 0) => {
                        let (its, _) = block.swap_remove(at);
                        assert_eq!(its, key);
                    }
                    (Some(at), 1) => {
                        let other = rng.below(60);
                        if self::at(&block, other).is_none() {
                            block.replace(at, slot(other), (other, value(other, version)));
                            written[other as usize].store(version, Ordering::Release);
                        }
                    }
                    (Some(at), _) => {
                        block.swap_entry(at, (key, value(key, version)));
                        written[key as usize].store(version, Ordering::Release);
                    }
                    (None, _) => {
                        block.make_room();
                        block.push(slot(key), (key, value(key, version)));
                        written[key as usize].store(version, Ordering::Release);
                    }
                }
            }
        },
    );
    assert!(seen > 0);
}

#[test]
fn who_is_there_is_found_however_the_table_is_arranged_anew() {
    let home = Home::new().expect("numbers are plain");
    const KEYS: u64 = 50;
    let mut blocks = alloc::vec![Numbers::make(&home)];
    for key in 0..KEYS {
        blocks[0].make_room();
        blocks[0].push(slot(key), (key, value(key, 0)));
    }
    table(&home, 0, &blocks);
    let check = |key: u64, read: Read<u64>| match read {
        Read::Found(found, _) => assert_eq!(found >> 32, key),
        Read::Absent => panic!("{key} is always there"),
        Read::Ask => {}
    };
    let mut doublings = 0;
    let mut rng = Rng::from_seed(5);
    beside_readers(&home, KEYS, check, || {
        for _ in 0..MANY / 40 {
            Numbers::rearrange(&home);
            let before = core::mem::take(&mut blocks);
            doublings = rng.below(4) as u8;
            blocks = (0..1 << doublings).map(|_| Numbers::make(&home)).collect();
            for mut block in before {
                while block.len() > 0 {
                    let (key, value) = block.swap_remove(block.len() - 1);
                    let set = key as usize & (blocks.len() - 1);
                    blocks[set].make_room();
                    blocks[set].push(slot(key), (key, value));
                }
            }
            Numbers::arranged(&home, 1, doublings, blocks.iter());
        }
    });
    assert!((0..KEYS).all(|key| matches!(read(&home, key), Read::Found(..))));
}

#[test]
fn a_use_is_noted_once_and_for_who_has_the_place() {
    let home = Home::new().expect("numbers are plain");
    let mut block = Numbers::make(&home);
    table(&home, 0, core::slice::from_ref(&block));
    for key in 0..70 {
        block.make_room();
        block.push(slot(key), (key, value(key, 0)));
    }
    for key in [3, 3, 45, 50] {
        assert!(matches!(read(&home, key), Read::Found(..)));
    }
    assert!(
        matches!(read(&home, 69), Read::Ask),
        "too far out to be noted"
    );
    assert_eq!(block.take_used(), 1 << 3 | 1 << 45 | 1 << 50);
    assert_eq!(block.take_used(), 0);
    assert!(matches!(read(&home, 3), Read::Found(..)));
    block.replace(3, slot(100), (100, value(100, 0)));
    assert_eq!(block.take_used(), 0, "who came has not been used");
    while block.len() > 51 {
        block.swap_remove(51);
    }
    assert!(matches!(read(&home, 50), Read::Found(..)));
    block.swap_remove(7);
    assert_eq!(block.entry(7).0, 50);
    assert_eq!(block.take_used(), 1 << 7);
}

#[test]
fn who_may_be_over_or_elsewhere_is_asked_for_under_the_lock() {
    let home = Home::new().expect("numbers are plain");
    let mut block = Numbers::make(&home);
    assert!(matches!(read(&home, 1), Read::Ask), "there is no table");
    table(&home, 0, core::slice::from_ref(&block));
    block.make_room();
    block.push(slot(1), (1, value(1, 0)));
    let at = |tick| home.read(&1, Tick::from_nanos(tick), |_, _| (0, print(1)));
    assert!(matches!(at(1_000), Read::Found(..)));
    block.set_over_from(500);
    assert!(matches!(at(499), Read::Found(..)));
    assert!(matches!(at(500), Read::Ask));
    assert_eq!(block.over_from(), 500);
    let signs = super::Signs {
        latest: Tick::from_nanos(600),
        looks_at: Tick::MAX,
        heeds_order: false,
        has_evicted: false,
    };
    Numbers::show(&home, signs);
    assert!(matches!(at(499), Read::Ask), "time does not go back");
    assert!(matches!(read(&home, 2), Read::Ask));
    block.set_over_from(u64::MAX);
    assert!(matches!(read(&home, 2), Read::Absent));
    Numbers::has_more(&home);
    assert!(matches!(read(&home, 2), Read::Ask));
    Numbers::rearrange(&home);
    assert!(matches!(read(&home, 2), Read::Ask));
    Numbers::arranged(&home, 1, 0, core::iter::once(&block));
    drop(block);
    assert!(
        matches!(read(&home, 1), Read::Ask),
        "nothing is left behind"
    );
}

/// Memory goes from set to set, and the most that there ever was at a time is all there is.
#[test]
fn memory_is_used_again() {
    let home = Home::new().expect("numbers are plain");
    for _ in 0..50 {
        let mut blocks: alloc::vec::Vec<_> = (0..4).map(|_| Numbers::make(&home)).collect();
        for (block, len) in blocks.iter_mut().zip([0, 39, 40, 100]) {
            for key in 0..len {
                block.make_room();
                block.push(slot(key), (key, value(key, 0)));
            }
        }
    }
    assert_eq!(home.kept(), (4, 1 + 16));
}
