//! Which calls fail, and how.

use std::collections::VecDeque;

use purlin_core::Rng;

use crate::error::ErrorKind;

/// A call of a [`SessionStore`](crate::SessionStore).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the method of its name")]
#[non_exhaustive]
pub enum Call {
    Create,
    Load,
    Touch,
    Commit,
    Rotate,
    Delete,
    ByUser,
    RevokeUser,
    LoadMany,
    Sweep,
}

impl Call {
    pub(super) const COUNT: usize = Call::Sweep as usize + 1;

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a call that fails had its effect or had not"
)]
pub enum Fault {
    /// It is not made, and answered by this error.
    Before(ErrorKind),
    /// It is made, and its answer lost: an error of kind [`Interrupted`](ErrorKind::Interrupted), as that is the one kind that
    /// says nothing of whether there was an effect.
    After,
}

/// Which calls fail: always, by a script, or by chance, and of them so many, of these kinds, after so many that go well.
///
/// ```
/// use purlin_session_store::conformance::{Call, Fault, Faults};
/// use purlin_session_store::ErrorKind;
///
/// // An outage that begins in the middle of a request.
/// let outage = Faults::always(Fault::Before(ErrorKind::Unavailable)).after(2);
/// // One lost answer to a move.
/// let lost = Faults::always(Fault::After).only(&[Call::Rotate]).times(1);
/// // A network on a bad day, the same one each time.
/// let poor = Faults::by_chance(42, 0.1);
/// # let _ = (outage, lost, poor);
/// ```
#[derive(Clone, Debug)]
pub struct Faults {
    pattern: Pattern,
    /// A bit for each kind of call that can fail.
    kinds: u16,
    well: u64,
    left: u64,
}

#[derive(Clone, Debug)]
enum Pattern {
    Always(Fault),
    Script(VecDeque<Option<Fault>>),
    Chance { rng: Rng, probability: f64 },
}

impl Faults {
    /// Every call fails like this.
    pub fn always(fault: Fault) -> Self {
        Self::of(Pattern::Always(fault))
    }

    /// One after the other the calls fail like this, or go well where there is none. After the last of them all go well.
    pub fn script(faults: impl IntoIterator<Item = Option<Fault>>) -> Self {
        Self::of(Pattern::Script(faults.into_iter().collect()))
    }

    /// A call fails with this probability: as often before its effect, with kind [`Unavailable`](ErrorKind::Unavailable), as
    /// after it. The same seed and order of calls give the same failures.
    pub fn by_chance(seed: u64, probability: f64) -> Self {
        let rng = Rng::from_seed(seed);
        Self::of(Pattern::Chance { rng, probability })
    }

    fn of(pattern: Pattern) -> Self {
        Faults {
            pattern,
            kinds: u16::MAX,
            well: 0,
            left: u64::MAX,
        }
    }

    /// The same for calls of these kinds only. The others go well and count for nothing.
    #[must_use]
    pub fn only(mut self, kinds: &[Call]) -> Self {
        self.kinds = kinds.iter().fold(0, |bits, call| bits | call.bit());
        self
    }

    /// The same after so many calls that go well.
    #[must_use]
    pub fn after(mut self, calls: u64) -> Self {
        self.well = calls;
        self
    }

    /// The same until so many calls have failed.
    #[must_use]
    pub fn times(mut self, failures: u64) -> Self {
        self.left = failures;
        self
    }

    /// How this call fails, which is the next one.
    pub(super) fn next(&mut self, call: Call) -> Option<Fault> {
        if self.kinds & call.bit() == 0 || self.left == 0 {
            return None;
        }
        if self.well > 0 {
            self.well -= 1;
            return None;
        }
        let fault = match &mut self.pattern {
            Pattern::Always(fault) => Some(*fault),
            Pattern::Script(faults) => faults.pop_front().flatten(),
            Pattern::Chance { rng, probability } => rng.chance(*probability).then(|| {
                if rng.chance(0.5) {
                    Fault::Before(ErrorKind::Unavailable)
                } else {
                    Fault::After
                }
            }),
        }?;
        self.left -= 1;
        Some(fault)
    }
}
