//! What allocates and how much. A test of its own binary, since it counts what the whole program allocates.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use purlin_shard_router::{Guard, PlacementHash, Router, Shard, ShardId, ShardMap, Slot, SlotMove};

/// The system's allocator, with a count of this thread's allocations and of the bytes it holds.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
}

fn hold(bytes: i64) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; the counters
// are thread-local cells without destructors and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        hold(layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many allocations some work makes, and how far the memory held rises meanwhile.
fn measure<R>(work: impl FnOnce() -> R) -> (R, u64, i64) {
    let (allocations, held) = (ALLOCATIONS.get(), HELD.get());
    PEAK.set(held);
    let result = work();
    (result, ALLOCATIONS.get() - allocations, PEAK.get() - held)
}

fn map() -> ShardMap {
    ShardMap::even_split((1..=4).map(|n| Shard::new(ShardId(n), format!("db-{n}")))).unwrap()
}

#[test]
fn routing_and_admission_allocate_nothing() {
    let router = Router::new(map());
    let guard = Guard::new(ShardId(1), map());
    black_box(router.route("warm"));
    let (admitted, allocations, _) = measure(|| {
        let mut admitted = 0;
        for n in 0..10_000u64 {
            let route = router.route(&(n, "cart"));
            admitted += u64::from(guard.admit_key(&(n, "cart"), route).is_ok());
        }
        admitted
    });
    assert_eq!(allocations, 0);
    assert!((2_000..3_000).contains(&admitted), "{admitted}");
}

/// The documented bound of `decode`, on the inputs that ask for most.
#[test]
fn a_few_hostile_bytes_cannot_ask_for_much_memory() {
    let sealed = |body: &[u8]| {
        let checksum = PlacementHash::xxh3(0).of_bytes(body);
        [body, &checksum.to_le_bytes()].concat()
    };
    let header = |bits: u8, shards: &[u8]| {
        let mut body = b"PLSM\x01\x00".to_vec();
        body.push(bits);
        body.extend_from_slice(&PlacementHash::default().to_bytes());
        body.extend_from_slice(&5u64.to_le_bytes());
        body.extend_from_slice(shards);
        body
    };
    let two = b"\x02\x01\0\0\0\x01a\x02\0\0\0\x01b";
    // All slots of the largest map in one run, at rest and on the move.
    let at_rest = [header(16, two), vec![0x80, 0x80, 4, 0, 0, 0]].concat();
    let moving = [header(16, two), vec![0x80, 0x80, 4, 0, 2, 0]].concat();
    // The most shards that fit in so many bytes, and a promise of far more.
    let mut shards = vec![0xff, 0xff, 0xff, 0x7f];
    for id in 0..50_000u32 {
        shards.extend_from_slice(&id.to_le_bytes());
        shards.extend_from_slice(&[1, b'x']);
    }
    let many_shards = header(16, &shards);
    // The most runs: every slot its own.
    let mut runs = header(16, two);
    for n in 0..1u32 << 16 {
        runs.extend_from_slice(&[1, (n % 2) as u8, 0, 0]);
    }
    for (what, body, valid) in [
        ("at rest", at_rest, true),
        ("moving", moving, true),
        ("many shards", many_shards, false),
        ("many runs", runs, true),
    ] {
        let bytes = sealed(&body);
        let (decoded, _, peak) = measure(|| ShardMap::decode(&bytes));
        assert_eq!(decoded.is_ok(), valid, "{what}");
        let bound = (4 << 20) + 10 * bytes.len() as i64;
        assert!(peak <= bound, "{what}: {peak} bytes for {}", bytes.len());
    }
}

#[test]
fn a_map_and_its_forms_have_the_documented_size() {
    let (map, _, peak) = measure(map);
    assert!(peak < 300 << 10, "{peak}");
    assert!(map.encode().len() < 110, "{}", map.encode().len());

    let owners = (0..map.slot_count()).map(|n| ShardId(1 + n * 7 % 4));
    let scattered = ShardMap::builder(map.shards().to_vec()).assigned(owners);
    let scattered = scattered.unwrap().encode().len();
    assert!(scattered <= (64 << 10) + 110, "{scattered}");

    // A move of every slot is the most a move can be.
    let mut moving = SlotMove::plan(&map, map.slots_of(ShardId(1)), ShardId(2)).unwrap();
    assert!(moving.propose(&map).unwrap().is_some());
    assert_eq!(moving.slots().first(), Some(&Slot(0)));
}
