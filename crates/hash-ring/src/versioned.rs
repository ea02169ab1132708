//! Values that come in versions.

use crate::{
    Anchor, AnyPlacement, BoundedLoad, Jump, Maglev, Memento, MultiProbe, Rendezvous, Ring,
    SlotTable,
};

/// A value of which there are versions, each an immutable whole: what [`Current`](crate::Current) holds.
///
/// 1. Neither answer changes while the value lives.
/// 2. Two values of one history and one version are equal.
/// 3. `b.continues(&a)` says whether `b` may be used where `a` was: a key that was hashed for one is looked up
///    in the other, and what was counted by one is counted by the other. It does not look at versions.
pub trait Versioned: PartialEq {
    /// Higher in each later version.
    fn version(&self) -> u64;

    /// Whether this can take the place of `earlier`, whichever of the two is newer.
    fn continues(&self, earlier: &Self) -> bool;
}

macro_rules! versioned {
    ($($placement:ident)*) => {$(
        /// One continues another if both hash keys alike.
        impl Versioned for $placement {
            fn version(&self) -> u64 {
                self.version()
            }

            fn continues(&self, earlier: &Self) -> bool {
                self.hash() == earlier.hash()
            }
        }
    )*};
}
versioned!(Ring Rendezvous SlotTable Jump Maglev Anchor Memento MultiProbe AnyPlacement);

/// The version is that of the placement below. One continues another if its placement does and it counts the
/// same load, as what [`with_placement`](BoundedLoad::with_placement) gives does.
impl<P: Versioned> Versioned for BoundedLoad<P> {
    fn version(&self) -> u64 {
        self.placement().version()
    }

    fn continues(&self, earlier: &Self) -> bool {
        self.shares_load_with(earlier) && self.placement().continues(earlier.placement())
    }
}
