//! Fragments of a page that are rendered anew before their time is over, so that visitors do not wait for them; and given
//! out for a while after it, when nobody came in time or the source is down.
//!
//! The cache starts no thread. It gives the duty to render to one of the visitors who find a fragment due, who hands it to a
//! worker over a bounded queue. Where the queue is full he drops it, and the next visitor has it: nothing is lost but a moment.
//!
//! `cargo run --example cache_page_fragments`

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use purlin_core::{Clock, ManualClock, MapHasher};
use purlin_lru_cache::{Cache, Due, Refresh};

type Fragments<C> = Cache<String, Arc<str>, MapHasher, C>;
type Duty<C> = Refresh<'static, String, Arc<str>, MapHasher, C>;

/// What a page is made of, and how it may be given out. Each call says so for itself: news get old, a footer does not.
const PAGE: [(&str, Due); 3] = [
    ("news", Due::ahead(Duration::from_secs(15))),
    (
        "bestsellers",
        Due::ahead(Duration::from_secs(15)).or_stale(Duration::from_secs(120)),
    ),
    (
        "footer",
        Due::ahead(Duration::from_secs(5)).or_stale(Duration::from_secs(600)),
    ),
];

/// Stands for the database and the templates.
#[derive(Default)]
struct Source {
    renderings: AtomicU32,
    is_down: AtomicBool,
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the source is down")]
struct Down;

impl Source {
    fn render(&self, fragment: &str) -> Result<Arc<str>, Down> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Down);
        }
        let n = self.renderings.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(format!("<section>{fragment} {n}</section>").into())
    }
}

struct Site<C: Clock + 'static> {
    fragments: Arc<Fragments<C>>,
    source: Arc<Source>,
    /// To the worker.
    due: mpsc::SyncSender<Duty<C>>,
    /// Visitors who had to wait for a rendering.
    waited: AtomicU32,
}

impl<C: Clock + 'static> Site<C> {
    fn page(&self) -> Result<String, Down> {
        let mut page = String::new();
        for (name, due) in PAGE {
            page.push_str(&self.fragment(name, due)?);
        }
        Ok(page)
    }

    fn fragment(&self, name: &str, due: Due) -> Result<Arc<str>, Down> {
        let Some(served) = self.fragments.get_refreshing_owned(name, due) else {
            self.waited.fetch_add(1, Ordering::SeqCst);
            return self
                .fragments
                .try_get_or_load(name, |name| self.source.render(name));
        };
        if let Some(refresh) = served.refresh {
            // If the queue is full, it comes back in the error and is dropped here: the next visitor gets it.
            drop(self.due.try_send(refresh));
        }
        Ok(served.value)
    }
}

/// Renders what is due until the site is gone. Tells of each on a channel, so that whoever runs it can follow.
fn work<C: Clock>(due: &mpsc::Receiver<Duty<C>>, source: &Source, done: &mpsc::Sender<bool>) {
    for refresh in due {
        // An error leaves the older fragment where it is, and the next visitor has the duty.
        let rendered = refresh.try_run(|name| source.render(name));
        // Nobody needs to listen.
        let _ = done.send(matches!(rendered, Ok(Some(_))));
    }
}

/// A site and its worker, which ends when the site is dropped.
fn site<C>(clock: C) -> (Site<C>, mpsc::Receiver<bool>, thread::JoinHandle<()>)
where
    C: Clock + Send + Sync + 'static,
{
    let fragments = Cache::builder()
        .entry_limit(1_000)
        .time_to_live(Duration::from_secs(60))
        // The longest that any call asks for.
        .keep_stale(Duration::from_secs(600))
        .clock(clock)
        .build();
    let (due, receiver) = mpsc::sync_channel(64);
    let (done, is_done) = mpsc::channel();
    let source = Arc::new(Source::default());
    let site = Site {
        fragments: Arc::new(fragments),
        source: Arc::clone(&source),
        due,
        waited: AtomicU32::new(0),
    };
    let worker = thread::spawn(move || work(&receiver, &source, &done));
    (site, is_done, worker)
}

fn main() -> Result<(), Box<dyn Error>> {
    // A clock that is turned by hand, so that ten minutes take no time here.
    let clock = ManualClock::new();
    let (site, is_done, worker) = site(clock.clone());
    let renderings = || site.source.renderings.load(Ordering::SeqCst);
    let waited = || site.waited.load(Ordering::SeqCst);

    site.page()?;
    println!(
        "the first visitor:       {} fragments, waited for {}",
        PAGE.len(),
        waited()
    );
    assert_eq!(waited(), 3);

    // News and bestsellers are due in the last quarter of their minute. A hundred visitors come, and one has the duty.
    clock.advance(Duration::from_secs(50));
    for _ in 0..100 {
        site.page()?;
    }
    assert!(is_done.recv()? && is_done.recv()?);
    println!(
        "a hundred, ahead of end: {} rendered anew, nobody waited",
        renderings() - 3
    );
    assert_eq!((renderings(), waited()), (5, 3));

    // Nobody came for two minutes. The footer and the bestsellers are given out once more; old news are no news.
    clock.advance(Duration::from_secs(120));
    let page = site.page()?;
    assert!(page.contains("footer 3") && page.contains("bestsellers 5"));
    assert!(is_done.recv()? && is_done.recv()?);
    println!(
        "after a quiet time:      waited for {} fragment of {}",
        waited() - 3,
        PAGE.len()
    );
    assert_eq!(waited(), 4);

    // The source is down for the last seconds of a minute, and for one more.
    site.source.is_down.store(true, Ordering::SeqCst);
    clock.advance(Duration::from_secs(90));
    assert_eq!(site.page(), Err(Down), "there are no news");
    let (name, due) = PAGE[2];
    let footer = site
        .fragment(name, due)
        .map_err(|Down| "there is a footer still")?;
    assert!(!is_done.recv()?, "it could not be rendered");
    println!("the source is down:      {footer}");

    site.source.is_down.store(false, Ordering::SeqCst);
    let before = renderings();
    site.page()?;
    assert!(is_done.recv()? && is_done.recv()?);
    println!(
        "and up again:            {} rendered",
        renderings() - before
    );
    assert_eq!(renderings() - before, 3);

    drop(site);
    worker.join().map_err(|_| "the worker panicked")?;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}

/// The same with the clock of the machine, from many threads: each fragment is rendered once.
#[test]
fn visitors_at_once_wait_for_one_rendering() {
    let (site, _is_done, _worker) = site(purlin_core::SystemClock::new());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(site.page().is_ok()));
        }
    });
    assert_eq!(site.source.renderings.load(Ordering::SeqCst), 3);
}
