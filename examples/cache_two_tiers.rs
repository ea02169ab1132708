//! Two tiers: a cache in each process over one in Redis, which tells them what changed.
//!
//! `cargo run --example cache_two_tiers [redis://127.0.0.1/]`; without an address it starts a server of its own, for
//! which `redis-server` must be installed.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::CacheStore;
use purlin_lru_cache::{Cache, Tiered};
use purlin_redis::RedisCache;
use purlin_testkit::Redis;
use tokio::task::JoinHandle;

type Pages = Tiered<String, String, RedisCache<String, String>>;

/// One process: its own near tier, its own connections, and a task that hears of changes.
async fn process(url: &str) -> Result<(Arc<Pages>, JoinHandle<()>), Box<dyn Error>> {
    let far = RedisCache::builder()
        .prefix("example:page:")
        .time_to_live(Duration::from_secs(300))
        .connect(url)?;
    let first = far.invalidations(url).await?;
    // The time to live bounds what a report that never came would leave.
    let near = Cache::builder()
        .entry_limit(10_000)
        .time_to_live(Duration::from_secs(60))
        .build();
    let pages = Arc::new(Tiered::followed(near, far));
    let (following, url) = (Arc::clone(&pages), url.to_owned());
    let task = tokio::spawn(async move {
        let mut reports = Some(first);
        let mut pause = tokio::time::interval(Duration::from_millis(500));
        loop {
            // While nobody reports, every look-up goes to the server.
            match reports.take() {
                Some(reports) => eprintln!("{}", following.follow(reports).await),
                None => reports = following.far().invalidations(&url).await.ok(),
            }
            pause.tick().await;
        }
    });
    while !pages.is_near_used() {
        tokio::task::yield_now().await;
    }
    Ok((pages, task))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // A test's harness has arguments of its own, so only an address counts.
    let given = std::env::args()
        .nth(1)
        .filter(|word| word.starts_with("redis"));
    let started = match &given {
        None => Some(Redis::start()?),
        Some(_) => None,
    };
    let url = given
        .or_else(|| started.as_ref().map(Redis::url))
        .unwrap_or_default();

    let ((one, first), (two, second)) = (process(&url).await?, process(&url).await?);
    let renderings = AtomicU64::new(0);
    let render = |path: &String| {
        let page = format!(
            "<h1>{path}, rendering {}</h1>",
            renderings.fetch_add(1, Ordering::Relaxed)
        );
        async { Ok::<_, std::convert::Infallible>(page) }
    };
    let about = "/about".to_owned();
    one.remove(&about).await?;

    // Whoever asks first renders; the other process finds it on the server, and then keeps it close.
    let page = one.get_or_load(about.clone(), render).await?;
    assert_eq!(two.get_or_load(about.clone(), render).await?, page);
    assert_eq!(renderings.load(Ordering::Relaxed), 1);
    println!("both see {page}");

    // One changes it. The other hears of that, though it had it close.
    one.insert(about.clone(), "<h1>new</h1>".to_owned()).await?;
    let mut looks = 0u32;
    while two.get(&about).await?.as_deref() != Some("<h1>new</h1>") {
        looks += 1;
        tokio::task::yield_now().await;
    }
    println!("the other process saw the change after {looks} looks");

    first.abort();
    second.abort();
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
