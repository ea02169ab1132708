//! The readable form of a map, for configuration files and dashboards: the same runs as in the compact form,
//! with shards by number in place of index.

use purlin_core::PlacementHash;
use serde::de::Error as _;

use super::runs::Run;
use super::{Assignment, Keying, checked_shards};
use crate::{KeyRule, MapVersion, Shard, ShardId, ShardMap};

const FORMAT: u8 = 1;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Readable {
    format: u8,
    version: MapVersion,
    hash: PlacementHash,
    key_rule: KeyRule,
    slot_count: u32,
    shards: Vec<Shard>,
    runs: Vec<ReadableRun>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadableRun {
    slots: u32,
    owner: ShardId,
    epoch: MapVersion,
    #[serde(default)]
    moving_to: Option<ShardId>,
}

/// As a struct with `format`, `version`, `hash`, `key_rule`, `slot_count`, `shards` and `runs`. It contains the
/// hash's seed, which for SipHash is a secret.
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl serde::Serialize for ShardMap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.runs().into_iter().map(|run| ReadableRun {
            slots: run.len,
            owner: run.assignment.owner,
            epoch: run.assignment.epoch,
            moving_to: run.assignment.moving_to,
        });
        let readable = Readable {
            format: FORMAT,
            version: self.version,
            hash: self.keying.hash,
            key_rule: self.keying.rule,
            slot_count: self.slot_count(),
            shards: self.shards.to_vec(),
            runs: runs.collect(),
        };
        readable.serialize(serializer)
    }
}

/// Checks everything that [`ShardMap::decode`] checks but the checksum and the shortest form, so that people
/// may write maps by hand.
#[cfg_attr(docsrs, doc(cfg(feature = "serde")))]
impl<'de> serde::Deserialize<'de> for ShardMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let readable = Readable::deserialize(deserializer)?;
        if readable.format != FORMAT {
            let found = readable.format;
            return Err(D::Error::custom(format_args!(
                "shard map of format {found}, which this release cannot read"
            )));
        }
        let keying = Keying::new(readable.hash, readable.key_rule, readable.slot_count)
            .map_err(D::Error::custom)?;
        let shards = checked_shards(readable.shards).map_err(D::Error::custom)?;
        let runs = readable.runs.into_iter().map(|run| Run {
            len: run.slots,
            assignment: Assignment {
                owner: run.owner,
                epoch: run.epoch,
                moving_to: run.moving_to,
            },
        });
        ShardMap::from_runs(readable.version, keying, shards, runs).map_err(D::Error::custom)
    }
}
