//! What publishing a version says.

use alloc::sync::Arc;
use core::fmt;

use purlin_core::{Placement, Retry};

use crate::{
    AnyPlacement, Diff, HashesDiffer, Move, Plan, Ranges, Versioned, diff, diff_any, moves,
};

/// Two versions, one of which took the place of the other.
pub struct Change<P> {
    from: Arc<P>,
    to: Arc<P>,
}

impl<P> Change<P> {
    pub(crate) fn new(from: Arc<P>, to: Arc<P>) -> Self {
        Change { from, to }
    }

    /// The version that was in use.
    pub fn from(&self) -> &Arc<P> {
        &self.from
    }

    /// The version that took its place.
    pub fn to(&self) -> &Arc<P> {
        &self.to
    }
}

impl<P: Placement> Change<P> {
    /// Whether the first `n_replicas` nodes of a hash are others now: see [`moves`].
    pub fn moves(&self, hash: u64, n_replicas: usize) -> bool {
        moves(&*self.from, &*self.to, hash, n_replicas)
    }
}

impl<P: Ranges> Change<P> {
    /// What moves, range by range: see [`diff`](fn@diff).
    pub fn diff(&self, n_replicas: usize) -> Diff<&P, &P> {
        diff(&*self.from, &*self.to, n_replicas)
    }

    /// An order in which to move it: see [`Plan::new`].
    pub fn plan(&self, n_replicas: usize, size: impl Fn(&Move) -> u64) -> Plan {
        Plan::new(self.diff(n_replicas), size)
    }
}

impl Change<AnyPlacement> {
    /// What moves, range by range, if both algorithms have ranges: see [`diff_any`].
    ///
    /// # Errors
    ///
    /// [`HashesDiffer`] for algorithms without ranges.
    pub fn diff_any(
        &self,
        n_replicas: usize,
    ) -> Result<Diff<&dyn Ranges, &dyn Ranges>, HashesDiffer> {
        diff_any(&self.from, &self.to, n_replicas)
    }
}

impl<P> Clone for Change<P> {
    fn clone(&self) -> Self {
        Change::new(Arc::clone(&self.from), Arc::clone(&self.to))
    }
}

/// The two versions' numbers; the placements would fill pages.
impl<P: Versioned> fmt::Debug for Change<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("from", &self.from.version())
            .field("to", &self.to.version())
            .finish()
    }
}

/// What [`publish`](crate::Current::publish) did.
#[derive(Clone)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the version was new, or it was the one in use"
)]
pub enum Published<P> {
    /// The version is newer and is in use now.
    Replaced(Change<P>),
    /// The version is the one in use already.
    Unchanged,
}

impl<P> Published<P> {
    /// What changed, if anything did.
    pub fn change(self) -> Option<Change<P>> {
        match self {
            Published::Replaced(change) => Some(change),
            Published::Unchanged => None,
        }
    }
}

impl<P: Versioned> fmt::Debug for Published<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Published::Replaced(change) => f.debug_tuple("Replaced").field(change).finish(),
            Published::Unchanged => f.write_str("Unchanged"),
        }
    }
}

/// A version that was refused, and why. The one in use stays.
#[derive(Clone)]
pub struct PublishError<P> {
    refused: Arc<P>,
    kind: PublishErrorKind,
}

impl<P> PublishError<P> {
    pub(crate) fn new(refused: Arc<P>, kind: PublishErrorKind) -> Self {
        PublishError { refused, kind }
    }

    /// Why.
    pub fn kind(&self) -> PublishErrorKind {
        self.kind
    }

    /// The version, given back.
    pub fn into_version(self) -> Arc<P> {
        self.refused
    }

    /// Never: the same version is refused again. [`PublishErrorKind::Older`] needs no action at all.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl<P> fmt::Debug for PublishError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishError")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl<P> fmt::Display for PublishError<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the version was not published")
    }
}

impl<P> core::error::Error for PublishError<P> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.kind)
    }
}

/// Why a version was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishErrorKind {
    /// It is older than the one in use. Ordinary, where versions arrive in any order.
    Older {
        /// The version in use.
        current: u64,
        /// The version refused.
        offered: u64,
    },
    /// It has the number of the one in use and is another. Two writers do not know of each other: make the
    /// change again from the version in use. Also what a change of version `u64::MAX` is, which has no next.
    Conflict {
        /// The version of both.
        version: u64,
    },
    /// It does not [continue](Versioned::continues) the one in use: a placement that hashes keys in another
    /// way, under which every key would be looked for in the wrong place, or a bounded load that counts anew.
    Unrelated,
}

impl fmt::Display for PublishErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishErrorKind::Older { current, offered } => {
                write!(
                    f,
                    "version {offered} is older than version {current}, which is in use"
                )
            }
            PublishErrorKind::Conflict { version } => {
                write!(f, "another version {version} is in use")
            }
            PublishErrorKind::Unrelated => {
                f.write_str("it hashes or counts in another way than the version in use")
            }
        }
    }
}

impl core::error::Error for PublishErrorKind {}
