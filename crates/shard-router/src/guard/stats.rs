use purlin_core::{Meter, Reading};

use super::Refusal;
use crate::MapVersion;

/// What a [`Guard`](crate::Guard) has counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct GuardStats {
    /// The version of the map in use.
    pub version: MapVersion,
    /// Admissions whose work has not ended.
    pub in_flight: u64,
    /// Requests, imports and removals admitted.
    pub admitted: u64,
    /// Refused because the client's map was too old. A burst follows each move.
    pub stale: u64,
    /// Refused because the slot was being moved.
    pub frozen: u64,
    /// Refused because the route led elsewhere. A connection to the wrong server.
    pub wrong_shard: u64,
    /// Refused because this shard's map was too old.
    pub behind: u64,
    /// Refused because the claim could not be true. Each is a mistake somewhere, or an attempt.
    pub invalid: u64,
}

impl GuardStats {
    pub(super) fn new(version: MapVersion) -> Self {
        GuardStats {
            version,
            in_flight: 0,
            admitted: 0,
            stale: 0,
            frozen: 0,
            wrong_shard: 0,
            behind: 0,
            invalid: 0,
        }
    }

    /// Adds what one stripe has counted.
    pub(super) fn add(&mut self, counters: &Counters, in_flight: &[u64]) {
        self.in_flight += in_flight.iter().sum::<u64>();
        self.admitted += counters.admitted;
        self.stale += counters.stale;
        self.frozen += counters.frozen;
        self.wrong_shard += counters.wrong_shard;
        self.behind += counters.behind;
        self.invalid += counters.invalid;
    }
}

impl Meter for GuardStats {
    fn read(&self, each: &mut dyn FnMut(Reading)) {
        let (counter, gauge) = (Reading::counter, Reading::gauge);
        for reading in [
            gauge(
                "purlin_shard_router_guard_map_version",
                self.version.0 as f64,
            ),
            gauge("purlin_shard_router_guard_in_flight", self.in_flight as f64),
            counter("purlin_shard_router_guard_admitted_total", self.admitted),
            counter("purlin_shard_router_guard_stale_total", self.stale),
            counter("purlin_shard_router_guard_frozen_total", self.frozen),
            counter(
                "purlin_shard_router_guard_wrong_shard_total",
                self.wrong_shard,
            ),
            counter("purlin_shard_router_guard_behind_total", self.behind),
            counter("purlin_shard_router_guard_invalid_total", self.invalid),
        ] {
            each(reading);
        }
    }
}

/// One stripe's part. Plain numbers: they change under the stripe's lock.
#[derive(Default)]
pub(super) struct Counters {
    admitted: u64,
    stale: u64,
    frozen: u64,
    wrong_shard: u64,
    behind: u64,
    invalid: u64,
}

impl Counters {
    pub(super) fn count(&mut self, verdict: &Result<(), Refusal>) {
        let counter = match verdict {
            Ok(()) => &mut self.admitted,
            Err(Refusal::Stale { .. }) => &mut self.stale,
            Err(Refusal::Frozen { .. }) => &mut self.frozen,
            Err(Refusal::WrongShard { .. }) => &mut self.wrong_shard,
            Err(Refusal::Behind { .. }) => &mut self.behind,
            Err(
                Refusal::Foreign { .. }
                | Refusal::UnknownSlot { .. }
                | Refusal::WrongSlot { .. }
                | Refusal::InUse { .. },
            ) => &mut self.invalid,
        };
        *counter += 1;
    }
}
