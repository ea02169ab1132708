use core::time::Duration;

/// On which terms an entry is stored, where they are others than the cache's.
///
/// ```
/// # #[cfg(feature = "std")] {
/// use std::time::Duration;
/// use purlin_lru_cache::{Cache, Terms};
///
/// let cache = Cache::new(1_000);
/// let terms = Terms::new().time_to_live(Duration::from_secs(5)).pinned();
/// cache.insert_on("rates", 42, terms);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use = "terms do nothing until an entry is stored on them"]
pub struct Terms {
    time_to_live: Option<Duration>,
    is_pinned: bool,
}

impl Terms {
    /// The cache's own.
    pub const fn new() -> Self {
        Terms {
            time_to_live: None,
            is_pinned: false,
        }
    }

    /// A time to live in place of the cache's. Zero stores nothing.
    pub const fn time_to_live(mut self, lasts: Duration) -> Self {
        self.time_to_live = Some(lasts);
        self
    }

    /// Never evicted, until it is removed or [unpinned](crate::unsync::Cache::unpin). It still takes its room and still
    /// expires, and a value that replaces it is pinned too.
    pub const fn pinned(mut self) -> Self {
        self.is_pinned = true;
        self
    }

    pub(crate) const fn lasts(self) -> Option<Duration> {
        self.time_to_live
    }

    pub(crate) const fn is_pinned(self) -> bool {
        self.is_pinned
    }
}

impl From<Option<Duration>> for Terms {
    /// The cache's own, or with this time to live.
    fn from(time_to_live: Option<Duration>) -> Self {
        Terms {
            time_to_live,
            ..Terms::new()
        }
    }
}
