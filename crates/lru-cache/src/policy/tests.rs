//! Hit ratios of the whole of the policy, beside exact least recently used, on made loads.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use purlin_core::Rng;

use super::arm::Arm;
use super::selector::Selector;
use super::set::{Rules, Set};
use super::{Policy, spot};

/// Sets and a selector, as a cache has them, without entries.
struct Sample {
    sets: Vec<Set<()>>,
    ways: usize,
    selector: Selector,
    rng: Rng,
}

impl Sample {
    fn new(n_sets: usize, ways: usize) -> Self {
        Sample {
            sets: (0..n_sets).map(|_| Set::new()).collect(),
            ways,
            selector: Selector::new(n_sets * ways, 5),
            rng: Rng::from_seed(6),
        }
    }

    fn request(&mut self, key: u64) -> bool {
        let hash = (key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = hash ^ (hash >> 31);
        let rules = Rules::new(self.selector.arm(), self.ways as u32);
        let spot = spot(hash, self.sets.len() as u32);
        let set = &mut self.sets[spot.set(0)];
        let found = set.find(spot.print, |()| true);
        match found {
            Some(at) => set.hit(at, &rules),
            None => {
                if set.len() < self.ways {
                    set.add(spot.print, (), &rules);
                } else {
                    set.exchange(spot.print, (), &rules, &mut self.rng);
                }
            }
        }
        if self.selector.samples(hash) {
            self.selector.note(hash, found.is_some());
        }
        found.is_some()
    }
}

/// Least recently used, exactly.
#[derive(Default)]
struct Lru {
    used: BTreeMap<u64, u64>,
    by_use: BTreeSet<(u64, u64)>,
    now: u64,
}

impl Lru {
    fn request(&mut self, key: u64, capacity: usize) -> bool {
        self.now += 1;
        let before = self.used.insert(key, self.now);
        if let Some(before) = before {
            self.by_use.remove(&(before, key));
        }
        self.by_use.insert((self.now, key));
        if self.used.len() > capacity {
            if let Some((_, oldest)) = self.by_use.pop_first() {
                self.used.remove(&oldest);
            }
        }
        before.is_some()
    }
}

/// Hits in percent of both, on the same requests.
fn ratios(n_sets: usize, ways: usize, requests: &[u64]) -> (f64, f64) {
    let mut policy = Sample::new(n_sets, ways);
    let mut lru = Lru::default();
    let (mut ours, mut its) = (0, 0);
    for &key in requests {
        ours += usize::from(policy.request(key));
        its += usize::from(lru.request(key, n_sets * ways));
    }
    let percent = |hits: usize| 100.0 * hits as f64 / requests.len() as f64;
    (percent(ours), percent(its))
}

/// Keys whose popularity falls off as 1 over their number.
fn zipf(rng: &mut Rng, keys: u64) -> u64 {
    // The inverse of the distribution function of a density 1/x between 1 and `keys`, by powers of two.
    let exponent = rng.unit() * (keys as f64).log2();
    exponent.exp2() as u64
}

const SETS: usize = 32;
const WAYS: usize = 32;
const CAPACITY: u64 = (SETS * WAYS) as u64;

#[test]
fn on_a_skewed_load_it_is_ahead_of_least_recently_used() {
    let mut rng = Rng::from_seed(1);
    let requests: Vec<u64> = (0..60_000).map(|_| zipf(&mut rng, 50 * CAPACITY)).collect();
    let (ours, lru) = ratios(SETS, WAYS, &requests);
    assert!(ours > lru + 1.0, "{ours:.2} against {lru:.2}");
}

#[test]
fn of_a_loop_that_does_not_fit_it_keeps_a_good_part() {
    let requests: Vec<u64> = (0..100_000).map(|n| n % (2 * CAPACITY)).collect();
    let (ours, lru) = ratios(SETS, WAYS, &requests);
    assert_eq!(lru, 0.0);
    assert!(ours > 35.0, "{ours:.2} of 50 that are possible");
}

#[test]
fn a_scan_does_not_flush_what_is_in_use() {
    let mut rng = Rng::from_seed(2);
    let requests: Vec<u64> = (0..100_000u64)
        .map(|n| match n % 4 {
            0 => rng.below(CAPACITY / 2),
            _ => 1_000_000 + n,
        })
        .collect();
    let (ours, lru) = ratios(SETS, WAYS, &requests);
    assert!(
        ours > lru && ours > 20.0,
        "{ours:.2} of 25, against {lru:.2}"
    );
}

#[test]
fn keys_used_twice_soon_and_never_again_get_their_second_hit() {
    // The load that defeats filters by frequency: least recently used is the best there is.
    let requests: Vec<u64> = (0..100_000u64)
        .map(|n| (n / 2).saturating_sub((n % 2) * 250))
        .collect();
    let (ours, lru) = ratios(SETS, WAYS, &requests);
    assert!(ours > lru - 2.0, "{ours:.2} against {lru:.2}");
}

#[test]
fn it_recovers_from_a_change_of_phase_within_a_few_capacities() {
    let mut rng = Rng::from_seed(4);
    // Thirty capacities' worth of a loop, then a load whose keys come again soon.
    let requests: Vec<u64> = (0..30 * CAPACITY).map(|n| n % (3 * CAPACITY)).collect();
    let mut policy = Sample::new(SETS, WAYS);
    for &key in &requests {
        policy.request(key);
    }
    let recent = |n: u64, rng: &mut Rng| 10_000_000 + n.saturating_sub(zipf(rng, 2 * CAPACITY));
    let mut lru = Lru::default();
    let (mut ours, mut its) = (0, 0);
    for n in 0..20 * CAPACITY {
        let key = recent(n, &mut rng);
        let (hit, lru_hit) = (policy.request(key), lru.request(key, CAPACITY as usize));
        if n >= 8 * CAPACITY {
            ours += usize::from(hit);
            its += usize::from(lru_hit);
        }
    }
    let percent = |hits: usize| 100.0 * hits as f64 / (12 * CAPACITY) as f64;
    let (ours, its) = (percent(ours), percent(its));
    assert!(ours > its - 2.0, "{ours:.2} against {its:.2}");
}

#[test]
fn the_same_seed_gives_the_same_hits() {
    let requests: Vec<u64> = (0..20_000u64).map(|n| n * n % 5_003).collect();
    assert_eq!(ratios(8, 32, &requests), ratios(8, 32, &requests));
}

#[test]
fn one_large_set_is_as_good_as_many() {
    let mut rng = Rng::from_seed(5);
    let requests: Vec<u64> = (0..30_000).map(|_| zipf(&mut rng, 20_000)).collect();
    let (one, lru) = ratios(1, 640, &requests);
    let (many, _) = ratios(20, 32, &requests);
    assert!(
        one > lru - 2.0 && (one - many).abs() < 1.5,
        "{one:.2}, {many:.2}, {lru:.2}"
    );
}

#[test]
fn a_policy_is_read_back_from_its_name() {
    use alloc::string::ToString;
    for (policy, name) in Policy::NAMES {
        assert_eq!(
            (policy.to_string().as_str(), name.parse()),
            (name, Ok(policy))
        );
    }
    let error = "mru".parse::<Policy>().expect_err("there is none");
    assert_eq!(
        error.to_string(),
        "not a policy: expected one of adaptive, lru, s3-fifo, fifo, lfu"
    );
}

#[test]
fn arms_are_all_different() {
    for (n, arm) in Arm::CHOICES.iter().enumerate() {
        assert!(!Arm::CHOICES[..n].contains(arm));
    }
}
