use purlin_core::Tick;

/// What a probe of one node found out.
///
/// The node's epoch is part of it (PostgreSQL calls it the timeline), because positions of different epochs
/// are different writes under equal numbers.
///
/// `at` is a tick of the router's own clock **from before the probe was sent**. The answer was true at some
/// time after it; taking a later tick would make replicas look fresher than they are.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Observation {
    /// How far the node's log had come: for a primary what is committed, for a replica what a query on it
    /// would see. This is what to report where there is a choice.
    Position {
        /// The epoch the node's log is of.
        epoch: u64,
        /// The log's end.
        position: u64,
        /// From before the probe was sent.
        at: Tick,
    },
    /// How far the node says it is behind, from a source that knows no positions. It serves bounded staleness,
    /// never a token; it is as true as its source, which on many systems confuses an idle primary with lag
    /// and a stopped replay with none. A lag that is not a number, negative or infinite counts as
    /// [`Failed`](Observation::Failed).
    Lag {
        /// The epoch of the primary that the node follows.
        epoch: u64,
        /// Seconds behind.
        seconds: f64,
        /// From before the probe was sent.
        at: Tick,
    },
    /// The probe failed, timed out, or came back with nothing: NULL, no row, no number. Not knowing is never
    /// the same as no lag.
    Failed,
}

impl Observation {
    pub(crate) fn at(&self) -> Option<Tick> {
        match *self {
            Observation::Position { at, .. } | Observation::Lag { at, .. } => Some(at),
            Observation::Failed => None,
        }
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        match *self {
            Observation::Position { epoch, .. } | Observation::Lag { epoch, .. } => Some(epoch),
            Observation::Failed => None,
        }
    }
}

/// What a node is good for, as far as the last observation tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// It takes the writes.
    Primary,
    /// It follows the present log and serves reads it is fresh enough for.
    Following,
    /// It follows the present log, and failed not long ago: it serves again after this many more good
    /// observations in a row.
    Recovering {
        /// How many.
        owed: u32,
    },
    /// Its log has writes behind a fork, which the present log does not have. It serves nothing until it has
    /// been rewound and observed again.
    Diverged,
    /// It is in a later epoch than this router: there was a promotion that nobody has told it of yet.
    EpochAhead {
        /// The node's epoch.
        epoch: u64,
    },
    /// Nothing is known, or what was known is too old.
    Unknown,
}
