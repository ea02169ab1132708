use core::time::Duration;

use super::slots::Recency;
use super::*;

impl<K, V> Lru<K, V> {
    fn iter(&self) -> Recency<'_, Entry<K, V>> {
        self.slots.iter()
    }

    /// Checks the three invariants.
    fn check(&self) {
        assert!(self.weight <= self.limit);
        let mut weight = 0;
        for (at, entry) in self.iter() {
            weight += entry.weight;
            assert!(
                self.index
                    .find(entry.hash, |&listed| listed == at)
                    .is_some()
            );
            self.timers.check(at, entry.life, entry.timer, &self.expiry);
        }
        assert_eq!(self.weight, weight);
        assert_eq!(self.index.len(), self.len());
        assert_eq!(self.iter().count(), self.len());
    }
}

fn put(lru: &mut Lru<u32, &'static str>, key: u32, weight: usize, ttl: Option<u64>) {
    let mut gone = Evicted::none();
    // Four hashes for all keys, so that they collide.
    let hash = u64::from(key) % 4;
    let found = lru.find(hash, &key);
    let fresh = Fresh {
        hash,
        key,
        value: "value",
        weight,
        terms: ttl.map(Duration::from_millis).into(),
    };
    lru.put(found, fresh, &mut gone);
    lru.check();
}

fn keys(lru: &Lru<u32, &'static str>) -> alloc::vec::Vec<u32> {
    lru.iter().map(|(_, entry)| entry.key).collect()
}

#[test]
fn the_invariants_hold_when_hashes_collide_and_weights_change() {
    let mut lru = Lru::new(10, Lifetimes::default(), 1);
    for key in 0..20 {
        put(
            &mut lru,
            key,
            1,
            (key % 3 == 0).then_some(u64::from(key) + 1),
        );
    }
    assert_eq!(keys(&lru), (10..20).rev().collect::<alloc::vec::Vec<_>>());
    put(&mut lru, 12, 9, None);
    assert_eq!(keys(&lru), [12, 19]);
    put(&mut lru, 12, 0, Some(5));
    put(&mut lru, 12, 11, None);
    assert_eq!(keys(&lru), [19]);
}

#[test]
fn a_sweep_takes_out_what_is_over_and_sets_a_used_entrys_timer_anew() {
    let idle = Lifetimes {
        to_idle: Some(Duration::from_millis(100)),
        ..Lifetimes::default()
    };
    let mut lru = Lru::new(10, idle, 1);
    let mut gone = Evicted::none();
    put(&mut lru, 1, 1, None);
    put(&mut lru, 2, 1, Some(500));
    lru.observe(Tick::ZERO.after(Duration::from_millis(60)), &mut gone);
    assert!(lru.lookup(lru.find(2, &2), &mut gone).is_some());
    lru.check();

    lru.observe(Tick::ZERO.after(Duration::from_millis(130)), &mut gone);
    lru.check();
    assert_eq!(keys(&lru), [2]);
    assert_eq!(gone.len(), 1);
    lru.observe(Tick::ZERO.after(Duration::from_millis(200)), &mut gone);
    assert_eq!((lru.len(), gone.len()), (0, 2));
    lru.check();
}
