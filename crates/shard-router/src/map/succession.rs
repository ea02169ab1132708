//! Which map may follow which.

use std::sync::Arc;

use purlin_core::{HashMismatch, Retry};

use crate::{KeyRule, MapVersion, ShardMap, Slot};

/// What [`install`](crate::Router::install) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the map was new, or it was the one in use"
)]
pub enum Installed {
    /// The map is newer and is in use now.
    Replaced,
    /// The map is the one in use already.
    Unchanged,
}

/// A map that was refused, and why. The map in use stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the map was not installed")]
pub struct InstallError {
    map: Arc<ShardMap>,
    #[source]
    kind: InstallErrorKind,
}

impl InstallError {
    pub(crate) fn new(map: Arc<ShardMap>, kind: InstallErrorKind) -> Self {
        InstallError { map, kind }
    }

    /// Why.
    pub fn kind(&self) -> &InstallErrorKind {
        &self.kind
    }

    /// The map, given back.
    pub fn into_map(self) -> Arc<ShardMap> {
        self.map
    }

    /// Never: the same map is refused again. [`InstallErrorKind::Older`] needs no action at all.
    pub fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// Why a map was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstallErrorKind {
    /// It is older than the map in use. Ordinary, where maps arrive in any order.
    #[error("{offered} is older than {current}")]
    Older {
        /// The version of the map in use.
        current: MapVersion,
        /// The version of the refused map.
        offered: MapVersion,
    },
    /// It has the version of the map in use, and says something else. Two writers of the map do not know of
    /// each other.
    #[error("two different maps of {version}")]
    Conflict {
        /// The version of both.
        version: MapVersion,
    },
    /// It is newer, but does not come from the map in use: it shows this slot changed by a version in which
    /// we have seen it unchanged, or the other way round. Two writers of the map do not know of each other.
    #[error("the histories of the two maps part at {slot}")]
    Forked {
        /// The first slot that shows it.
        slot: Slot,
    },
    /// Its hash is another: every key would be looked for in the wrong place.
    #[error("the maps place keys by different hashes")]
    HashMismatch(#[source] HashMismatch),
    /// It hashes other parts of the keys.
    #[error("keys are hashed by the rule {offered:?}, not {current:?}")]
    KeyRuleMismatch {
        /// The rule of the map in use.
        current: KeyRule,
        /// The rule of the refused map.
        offered: KeyRule,
    },
    /// It has another number of slots.
    #[error("{offered} slots, not {current}")]
    SlotCountMismatch {
        /// The number in the map in use.
        current: u32,
        /// The number in the refused map.
        offered: u32,
    },
}

impl ShardMap {
    /// Whether `offered` may take the place of this map: it is a later version of the same history, as far as
    /// the slots show. O(slots).
    pub(crate) fn succession(&self, offered: &ShardMap) -> Result<Installed, InstallErrorKind> {
        let (mine, theirs) = (self.keying, offered.keying);
        mine.hash
            .ensure_same(&theirs.hash)
            .map_err(InstallErrorKind::HashMismatch)?;
        if mine.rule != theirs.rule {
            return Err(InstallErrorKind::KeyRuleMismatch {
                current: mine.rule,
                offered: theirs.rule,
            });
        }
        if mine.bits != theirs.bits {
            return Err(InstallErrorKind::SlotCountMismatch {
                current: mine.slot_count(),
                offered: theirs.slot_count(),
            });
        }
        if offered.version < self.version {
            return Err(InstallErrorKind::Older {
                current: self.version,
                offered: offered.version,
            });
        }
        if offered.version == self.version {
            return if self == offered {
                Ok(Installed::Unchanged)
            } else {
                Err(InstallErrorKind::Conflict {
                    version: self.version,
                })
            };
        }
        // In one history a slot is either as it was, or was changed after this map.
        let old = self.assignments().map(|(_, assignment)| assignment);
        for (old, (slot, new)) in old.zip(offered.assignments()) {
            if new != old && new.epoch <= self.version {
                return Err(InstallErrorKind::Forked { slot });
            }
        }
        Ok(Installed::Replaced)
    }
}
