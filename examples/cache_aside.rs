//! A cache in front of something slow: one load a missing key however many ask, and a write that is seen at once.
//!
//! `cargo run --example cache_aside`

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use purlin_lru_cache::Cache;

/// Stands for a database: each read is counted, since each costs a round trip.
#[derive(Default)]
struct Prices {
    rows: Mutex<HashMap<u32, u64>>,
    reads: AtomicU64,
}

impl Prices {
    fn read(&self, article: u32) -> u64 {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(&article).copied().unwrap_or(100)
    }

    fn write(&self, article: u32, price: u64) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.insert(article, price);
    }
}

/// The service: everybody goes through the cache.
struct Shop {
    prices: Prices,
    cache: Cache<u32, u64>,
}

impl Shop {
    fn price(&self, article: u32) -> u64 {
        self.cache
            .get_or_load(&article, |&article| self.prices.read(article))
    }

    /// First the database, then the cache. The other way round, a reader in between would put the old price back;
    /// this way a load that began before the removal is not stored.
    fn reprice(&self, article: u32, price: u64) {
        self.prices.write(article, price);
        self.cache.remove(&article);
    }
}

fn main() {
    let cache = Cache::builder()
        .entry_limit(10_000)
        // A bound on how long a write that went past this process stays unseen.
        .time_to_live(Duration::from_secs(60))
        .build();
    let shop = Arc::new(Shop {
        prices: Prices::default(),
        cache,
    });

    // Eight threads want the same article at once. One of them reads it.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(shop.price(7), 100));
        }
    });
    assert_eq!(shop.prices.reads.load(Ordering::Relaxed), 1);

    shop.reprice(7, 120);
    assert_eq!(shop.price(7), 120);

    let stats = shop.cache.stats();
    println!(
        "hit ratio {:.2}, loads {}, waited for another's load {}",
        stats.hit_ratio(),
        stats.loads,
        stats.load_waits
    );
}

#[test]
fn runs() {
    main();
}
