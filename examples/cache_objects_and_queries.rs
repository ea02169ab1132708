//! Cached objects against cached queries, and why they are invalidated differently.
//!
//! An object has one key, and whoever writes it knows that key. The result of a query depends on rows that it does not
//! name, and on those that are *not* in it: a row that begins to match is in nobody's cached list. So a writer cannot say
//! which results he changes by looking at them. Two things help: results hold ids and not objects, so that a change to an
//! object touches no list; and each list has the generation of what it depends on in its key, so that a writer makes all
//! of them unreachable by counting one number up.
//!
//! `cargo run --example cache_objects_and_queries`

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use purlin_lru_cache::Cache;

#[derive(Clone, Debug, PartialEq)]
struct Article {
    id: u32,
    category: &'static str,
    price: u32,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<u32, Article>,
    /// How often the membership of a category changed. A column beside the rows, or a number in the shared cache.
    generations: BTreeMap<&'static str, u64>,
    reads: u32,
}

struct Shop {
    table: Mutex<Table>,
    objects: Cache<u32, Article>,
    /// By category and its generation. Old generations are asked for no more, and leave by the cache's own rules.
    queries: Cache<(&'static str, u64), Vec<u32>>,
}

impl Shop {
    fn new() -> Self {
        Shop {
            table: Mutex::default(),
            objects: Cache::new(10_000),
            // The time to live is for writers that forget to count.
            queries: Cache::builder()
                .entry_limit(1_000)
                .time_to_live(Duration::from_secs(60))
                .build(),
        }
    }

    fn table<T>(&self, with: impl FnOnce(&mut Table) -> T) -> T {
        with(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn article(&self, id: u32) -> Option<Article> {
        let load = |id: &u32| {
            self.table(|table| {
                table.reads += 1;
                table.rows.get(id).cloned()
            })
            .ok_or(())
        };
        self.objects.try_get_or_load(&id, load).ok()
    }

    fn in_category(&self, category: &'static str) -> Vec<Article> {
        // One small read for the generation, in place of the query.
        let generation = self.table(|table| table.generations.get(category).copied().unwrap_or(0));
        let ids = self.queries.get_or_load(&(category, generation), |_| {
            self.table(|table| {
                table.reads += 1;
                let matches = table.rows.values().filter(|row| row.category == category);
                matches.map(|row| row.id).collect()
            })
        });
        ids.into_iter().filter_map(|id| self.article(id)).collect()
    }

    /// First the table, then the cache.
    fn write(&self, article: Article) {
        let id = article.id;
        self.table(|table| {
            let category = article.category;
            let before = table.rows.insert(id, article).map(|row| row.category);
            // Only what enters or leaves a category changes its lists; another price does not.
            if before != Some(category) {
                for changed in before.into_iter().chain([category]) {
                    *table.generations.entry(changed).or_default() += 1;
                }
            }
        });
        self.objects.remove(&id);
    }
}

fn main() {
    let shop = Shop::new();
    let saw = |category, price| Article {
        id: 1,
        category,
        price,
    };
    shop.write(saw("tools", 100));
    shop.write(Article {
        id: 2,
        category: "tools",
        price: 20,
    });

    assert_eq!(shop.in_category("tools").len(), 2);
    let cold = shop.table(|table| table.reads);
    assert_eq!(shop.in_category("tools").len(), 2);
    assert_eq!(
        shop.table(|table| table.reads),
        cold,
        "all of it from the caches"
    );

    // Another price: one object is forgotten, and the list that names it stays.
    shop.write(saw("tools", 90));
    assert_eq!(shop.in_category("tools")[0].price, 90);
    println!(
        "a price changed:    {} read",
        shop.table(|table| table.reads) - cold
    );
    assert_eq!(shop.table(|table| table.reads), cold + 1);

    // Another category: the lists of both are over, also the one that the article was not in.
    assert_eq!(shop.in_category("garden"), []);
    let before = shop.table(|table| table.reads);
    shop.write(saw("garden", 90));
    assert_eq!(shop.in_category("tools").len(), 1);
    assert_eq!(shop.in_category("garden").len(), 1);
    println!(
        "a category changed: {} read",
        shop.table(|table| table.reads) - before
    );
    assert_eq!(
        shop.table(|table| table.reads),
        before + 3,
        "two lists and an object"
    );
}

#[test]
fn runs() {
    main();
}
