use core::hash::Hash;
use core::time::Duration;

use crate::tags::{self, Moment, Slots};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "terms do nothing until an entry is stored on them"]
pub struct Terms {
    time_to_live: Option<Duration>,
    is_pinned: bool,
    tags: Slots,
    as_of: Option<Moment>,
    /// Zero where it was not said.
    cost: u32,
}

impl Terms {
    /// The cache's own.
    pub const fn new() -> Self {
        Terms {
            time_to_live: None,
            is_pinned: false,
            tags: [0; 4],
            as_of: None,
            cost: 0,
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

    /// With a tag: once that is [invalidated](crate::unsync::Cache::invalidate_tag), the value is not returned any more.
    ///
    /// An entry can have several. From the fifth on it is told apart by no tag any more, and leaves with whatever tag is
    /// invalidated.
    pub fn tag(mut self, tag: &(impl Hash + ?Sized)) -> Self {
        self.tags = tags::with_slot(self.tags, tags::slot_of(tag));
        self
    }

    /// As of a [moment](crate::unsync::Cache::moment) before the value was read from where it comes. If one of its tags was
    /// invalidated since, it is refused, for it may be older than what the tag was invalidated for. Without this call it is as
    /// of when it is stored.
    pub const fn as_of(mut self, moment: Moment) -> Self {
        self.as_of = Some(moment);
        self
    }

    /// What it costs to make the value anew, beside others: in microseconds, say. 1 without this call.
    ///
    /// When it is an entry's turn to leave its set and another has cost less, it pays as much as the least of the set, or an eighth of
    /// what it has if that is more, and stays for another round; a use gives it all back. This is GreedyDual (Young, "The
    /// k-server dual and loose competitiveness for paging", 1994) with the policy's order in place of its own, so that equal costs
    /// change nothing. Under [`Policy::Lru`](crate::Policy::Lru), whose order is exact, it changes nothing either.
    pub const fn cost(mut self, cost: u32) -> Self {
        self.cost = cost;
        self
    }

    /// As of a moment, where nothing else was said.
    pub(crate) const fn read_at(mut self, moment: Moment) -> Self {
        if self.tags[0] != 0 && self.as_of.is_none() {
            self.as_of = Some(moment);
        }
        self
    }

    pub(crate) const fn cost_or_one(self) -> u32 {
        if self.cost == 0 { 1 } else { self.cost }
    }

    pub(crate) const fn tags(self) -> Slots {
        self.tags
    }

    pub(crate) const fn moment(self) -> Option<Moment> {
        self.as_of
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
