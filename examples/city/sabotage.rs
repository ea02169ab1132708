//! Ways to break the city on purpose: an oracle that cannot fail proves nothing.

use std::fmt;
use std::str::FromStr;

/// One deliberate fault. Each breaks one invariant that the oracle watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "the faults of this version of the city; code that lists them should notice a new one"
)]
pub enum Sabotage {
    /// Invariant 1: now and then an app node answers "added to the cart" without committing the session.
    DropSessionWrite,
    /// Invariant 2: app nodes read counters from whichever replica, whatever token the session carries.
    IgnoreToken,
    /// Invariant 3: now and then a worker books a delivery without naming the order, so that the ledger
    /// cannot recognise the second time.
    DoubleEffect,
    /// Invariant 3, its other half: now and then a worker acknowledges a job without doing it.
    LoseJob,
    /// Invariant 4: now and then an app node asks the neighbour of a key's shard, whose guard is asleep.
    WrongShard,
    /// Invariant 5: app nodes serve product pages from the cache however old they are.
    StaleRead,
}

impl Sabotage {
    /// Every fault there is.
    pub const ALL: [Sabotage; 6] = [
        Sabotage::DropSessionWrite,
        Sabotage::IgnoreToken,
        Sabotage::DoubleEffect,
        Sabotage::LoseJob,
        Sabotage::WrongShard,
        Sabotage::StaleRead,
    ];

    /// The fault's name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Sabotage::DropSessionWrite => "drop-session-write",
            Sabotage::IgnoreToken => "ignore-token",
            Sabotage::DoubleEffect => "double-effect",
            Sabotage::LoseJob => "lose-job",
            Sabotage::WrongShard => "wrong-shard",
            Sabotage::StaleRead => "stale-read",
        }
    }
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Sabotage {
    type Err = UnknownSabotage;

    fn from_str(text: &str) -> Result<Self, UnknownSabotage> {
        Sabotage::ALL
            .into_iter()
            .find(|sabotage| sabotage.name() == text)
            .ok_or_else(|| UnknownSabotage(text.to_owned()))
    }
}

/// A fault nobody has thought of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownSabotage(String);

impl fmt::Display for UnknownSabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no sabotage is called '{}' (there is", self.0)?;
        for (i, sabotage) in Sabotage::ALL.into_iter().enumerate() {
            write!(f, "{} {sabotage}", if i == 0 { "" } else { "," })?;
        }
        f.write_str(")")
    }
}

impl std::error::Error for UnknownSabotage {}
