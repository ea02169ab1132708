use std::fmt;

/// The version of a map. It grows by one with each change, over the whole history of the map.
///
/// The same number dates a slot: a slot's *epoch* is the version of the map that last changed it. A move of
/// one slot therefore makes the routes of that slot stale and leaves all others as good as they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MapVersion(pub u64);

impl MapVersion {
    /// The version of a map that was just built.
    pub const FIRST: MapVersion = MapVersion(1);

    /// The version after this one, unless the numbers have run out.
    pub(crate) fn next(self) -> Option<MapVersion> {
        self.0.checked_add(1).map(MapVersion)
    }
}

impl fmt::Display for MapVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "version {}", self.0)
    }
}
