//! Who wrote, and when.

use std::collections::BTreeMap;

use purlin_core::WallTime;

/// A data centre, or whatever writes to one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u16);

/// A region at a moment by its own clock: who makes a change, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a region and a time; any two make sense"
)]
pub struct Writer {
    /// The region whose replica is changed.
    pub region: RegionId,
    /// What its clock says. It may be wrong, and step.
    pub now: WallTime,
}

/// The moment of a write in hybrid logical time, and its region: no two writes of one session have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp {
    pub(super) wall_ms: u64,
    /// Tells writes within one millisecond apart, and those made while the clock stood behind one it had heard of.
    pub(super) count: u32,
    pub(super) region: u16,
}

impl Stamp {
    /// The moment of a write that is made with `latest` in sight.
    pub(super) fn next(latest: Stamp, by: Writer) -> Self {
        let wall_ms = by.now.as_unix_millis();
        let (wall_ms, count) = if wall_ms > latest.wall_ms {
            (wall_ms, 0)
        } else if latest.count < u32::MAX {
            (latest.wall_ms, latest.count + 1)
        } else {
            (latest.wall_ms.saturating_add(1), 0)
        };
        Stamp {
            wall_ms,
            count,
            region: by.region.0,
        }
    }
}

/// How many changes of each region a replica has heard of: a version vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(pub(super) BTreeMap<RegionId, u64>);

impl Seen {
    /// How many changes of this region.
    pub fn of(&self, region: RegionId) -> u64 {
        self.0.get(&region).copied().unwrap_or(0)
    }

    /// Whether it has heard of everything that the other has, so that nothing is gained by sending that one here.
    pub fn includes(&self, other: &Seen) -> bool {
        other
            .0
            .iter()
            .all(|(region, count)| self.of(*region) >= *count)
    }

    pub(super) fn count(&mut self, region: RegionId) {
        let count = self.0.entry(region).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: &Seen) {
        for (region, count) in &other.0 {
            let mine = self.0.entry(*region).or_default();
            *mine = (*mine).max(*count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(now_ms: u64) -> Writer {
        Writer {
            region: RegionId(1),
            now: WallTime::from_unix_millis(now_ms),
        }
    }

    #[test]
    fn a_later_write_has_a_later_stamp_whatever_the_clock_says() {
        let mut latest = Stamp::default();
        for now in [5, 5, 9, 0, u64::MAX, 3, u64::MAX] {
            let next = Stamp::next(latest, by(now));
            assert!(next > latest, "{next:?} after {latest:?}");
            latest = next;
        }
        let full = Stamp {
            wall_ms: 7,
            count: u32::MAX,
            region: 9,
        };
        assert!(Stamp::next(full, by(0)) > full);
    }
}
