//! No lookup allocates. A test of its own binary, since it counts what the whole program allocates.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

use common::{all_spread, nodes};
use purlin_core::{Node, NodeId, Placement, PlacementHash, Rack, Zone};
#[cfg(feature = "std")]
use purlin_hash_ring::Current;
use purlin_hash_ring::{Algorithm, AnyPlacement, BoundedLoad, Ring, SlotTable, Spread};

/// The system's allocator, with a count of this thread's allocations.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; the counter is
// a thread-local cell without a destructor and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above, hence from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn look_up(placement: &impl Placement) {
    let mut copies = [NodeId(0); 5];
    for key in 0..200u32 {
        let key = key.to_le_bytes();
        black_box(placement.owner(&key));
        for n in 1..=5 {
            assert!(placement.replicas(&key, &mut copies[..n]) > 0);
        }
    }
}

#[test]
fn ring_r3_lookups_do_not_allocate() {
    for algorithm in Algorithm::ALL {
        let placement = AnyPlacement::from_nodes(algorithm, nodes(9)).unwrap();
        assert_eq!(allocations(|| look_up(&placement)), 0, "{algorithm}");
    }
    let zoned: Vec<Node> = nodes(9)
        .into_iter()
        .map(|node| {
            let zone = Zone::new(format!("{}", node.id.0 % 3));
            let rack = Rack::new(format!("{}", node.id.0 % 2));
            node.with_zone(zone).with_rack(rack)
        })
        .collect();
    for spread in [Spread::Zones, Spread::ZonesAndRacks] {
        for placement in all_spread(spread, &zoned) {
            assert_eq!(placement.spread(), spread);
            assert_eq!(
                allocations(|| look_up(&placement)),
                0,
                "{}",
                placement.algorithm()
            );
        }
    }
    let siphash = Ring::builder()
        .hash(PlacementHash::siphash24([1; 16]))
        .nodes(nodes(9))
        .build()
        .unwrap();
    assert_eq!(allocations(|| look_up(&siphash)), 0);
    // The counter counts.
    assert!(allocations(|| drop(black_box(vec![1u8]))) > 0);
}

/// A reader, and the version in use itself once a thread has looked.
#[cfg(feature = "std")]
#[test]
fn ring_r3_lookups_in_the_version_in_use_do_not_allocate() {
    let table = SlotTable::from_nodes(nodes(9)).unwrap();
    let current = Current::new(table.clone());
    look_up(&current);
    assert_eq!(allocations(|| look_up(&current)), 0);
    let mut reader = current.reader();
    for id in 10..20 {
        let change = current.publish(current.get().with(Node::new(NodeId(id), "")).unwrap());
        assert_eq!(allocations(|| look_up(reader.get())), 0);
        drop(change);
    }
    assert_eq!(reader.get().nodes().len(), 19);
}

#[test]
fn ring_r10_choosing_under_a_bound_does_not_allocate() {
    let table = SlotTable::from_nodes(nodes(5)).unwrap();
    let bounded = BoundedLoad::new(table, nodes(5), 1.25).unwrap();
    let mut held = Vec::with_capacity(100);
    let made = allocations(|| held.extend((0..100).filter_map(|_| bounded.acquire("one hot key"))));
    assert_eq!((made, held.len()), (0, 100));
    assert_eq!(allocations(|| held.clear()), 0);
}
