//! What the selector chooses among, and how sure it has to be.

use crate::policy::arm::Arm;

/// The choices that were made by replaying traces. Those in use are the [`Default`]; with `--cfg purlin_tuning` a program can try
/// others on a cache, to see what a choice is worth on requests that it was not made by.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(
    not(purlin_tuning),
    expect(
        unreachable_pub,
        reason = "programs see it with the build switch alone"
    )
)]
pub struct Tuning {
    pub(crate) arms: [Arm; Arm::CHOICES.len()],
    /// A bit for each arm that is not chosen.
    without: u16,
    /// An arm must be ahead by so many standard deviations of chance. With three, as independent requests would ask for,
    /// short traces were at times led astray: a key's requests come in bursts, so they tell less than their number.
    pub(crate) deviations: f32,
    /// Periods are so many times as long.
    stretch: f32,
}

impl Default for Tuning {
    fn default() -> Self {
        Tuning {
            arms: Arm::CHOICES,
            without: 0,
            deviations: 4.0,
            stretch: 1.0,
        }
    }
}

impl Tuning {
    pub(crate) fn has(&self, idx: usize) -> bool {
        self.without >> idx & 1 == 0
    }

    /// The arm to begin with.
    pub(crate) fn first(&self) -> usize {
        let first = (Arm::FIRST_IDX..self.arms.len()).find(|&idx| self.has(idx));
        first.unwrap_or(Arm::LRU_IDX)
    }

    pub(crate) fn period(&self, requests: u32) -> u32 {
        (requests as f32 * self.stretch) as u32
    }
}

/// # Other choices
#[cfg(purlin_tuning)]
impl Tuning {
    /// How many arms there are.
    pub const ARMS: usize = Arm::CHOICES.len();

    /// Without one of the arms.
    #[must_use]
    pub fn without(mut self, arm_idx: usize) -> Self {
        self.without |= 1 << arm_idx;
        self
    }

    /// With another window of an arm, in 256ths of a set.
    #[must_use]
    pub fn window(mut self, arm_idx: usize, window: u16) -> Self {
        self.arms[arm_idx].window = window;
        self
    }

    /// With so many times the certainty.
    #[must_use]
    pub fn deviations(mut self, times: f32) -> Self {
        self.deviations *= times;
        self
    }

    /// With periods so many times as long.
    #[must_use]
    pub fn periods(mut self, times: f32) -> Self {
        self.stretch *= times;
        self
    }
}
