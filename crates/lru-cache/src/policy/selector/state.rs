//! What a selector has learned, to be taken to another process.

use serde::{Deserialize, Serialize};

use super::{Arm, DECAY, Selector};

/// What a [`Selector`] knows, but for its shadows: these know keys by their hashes, and another cache has others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The capacity that it was learned at.
    capacity: u64,
    /// The code of the arm in use.
    current: u8,
    real_hits: f32,
    trials: [Score; Arm::CHOICES.len()],
}

/// How an arm fared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Score {
    arm: u8,
    hits: f32,
    gain: f32,
    differed: f32,
}

impl State {
    pub(crate) fn current(&self) -> u8 {
        self.current
    }
}

impl Selector {
    pub(crate) fn state(&self) -> State {
        let code = |idx: usize| {
            let code = Arm::CHOICES[idx].code();
            code.expect("each arm has a code")
        };
        State {
            capacity: self.capacity as u64,
            current: code(self.current),
            real_hits: self.real_hits,
            trials: core::array::from_fn(|idx| {
                let trial = &self.trials[idx];
                Score {
                    arm: code(idx),
                    hits: trial.hits,
                    gain: trial.gain,
                    differed: trial.differed,
                }
            }),
        }
    }

    /// Goes on from there: from the arm, and from how each fared as well if the capacity is near the one that was learned
    /// at. What nobody can have learned is not taken for true.
    pub(crate) fn restore(&mut self, state: &State) {
        let idx_of = |code: u8| {
            let arm = Arm::of_code(code)?;
            Arm::CHOICES.iter().position(|choice| *choice == arm)
        };
        if let Some(current) = idx_of(state.current) {
            self.current = current;
        }
        let (mine, its) = (self.capacity as u64, state.capacity);
        if mine / 2 > its || its / 2 > mine {
            return;
        }
        // What a sum that decays comes to if every request counts.
        let most = self.period as f32 / (1.0 - DECAY);
        let sum = |number: f32| {
            if number.is_finite() {
                number.clamp(0.0, most)
            } else {
                0.0
            }
        };
        for score in &state.trials {
            if let Some(idx) = idx_of(score.arm) {
                let trial = &mut self.trials[idx];
                (trial.hits, trial.differed) = (sum(score.hits), sum(score.differed));
                trial.gain = if score.gain < 0.0 {
                    -sum(-score.gain)
                } else {
                    sum(score.gain)
                };
            }
        }
        self.real_hits = sum(state.real_hits);
    }

    /// Shows the shadows a key that the cache holds, and was asked for so many times since it came, without counting how they fare.
    /// To be called from the oldest to the newest.
    pub(crate) fn warm(&mut self, hash: u64, hits: u8) {
        if self.samples(hash) {
            for trial in &mut self.trials {
                for _ in 0..=hits {
                    trial.shadow.request(hash);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned() -> Selector {
        let mut selector = Selector::new(500, 1);
        for request in 0..9_000u64 {
            selector.note((request % 750).wrapping_mul(0x9e37_79b9_7f4a_7c15), false);
        }
        selector
    }

    #[test]
    fn a_state_that_was_taken_elsewhere_is_the_same_there() {
        let learned = learned();
        assert_ne!(learned.current, Arm::FIRST_IDX);
        let mut fresh = Selector::new(600, 2);
        fresh.restore(&learned.state());
        let mut expected = learned.state();
        expected.capacity = 600;
        assert_eq!(fresh.state(), expected);
    }

    #[test]
    fn at_another_capacity_only_the_arm_is_kept() {
        let learned = learned();
        let mut fresh = Selector::new(5_000, 2);
        fresh.restore(&learned.state());
        assert_eq!(fresh.current, learned.current);
        assert!(fresh.trials.iter().all(|trial| trial.hits == 0.0));
    }

    #[test]
    fn nobody_can_make_it_believe_what_cannot_be() {
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e30] {
            let mut state = learned().state();
            state.real_hits = number;
            state.current = 77;
            for score in &mut state.trials {
                (score.hits, score.gain, score.differed) = (number, number, number);
            }
            state.trials[3].arm = 200;
            let mut selector = Selector::new(500, 2);
            selector.restore(&state);
            assert_eq!(selector.current, Arm::FIRST_IDX);
            let most = 10.1 * selector.period as f32;
            for trial in &selector.trials {
                assert!((0.0..=most).contains(&trial.hits));
                assert!((0.0..=most).contains(&trial.differed));
                assert!((-most..=most).contains(&trial.gain));
            }
            assert!((0.0..=most).contains(&selector.real_hits));
        }
    }

    #[test]
    fn shadows_that_were_shown_the_keys_hit_them() {
        let mut selector = Selector::new(300, 1);
        let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for n in 0..200 {
            selector.warm(hash(n), 1);
        }
        assert!(selector.trials.iter().all(|trial| trial.hits == 0.0));
        for n in 0..200 {
            selector.note(hash(n), true);
        }
        for trial in &selector.trials {
            assert!(trial.hits > 150.0, "{}", trial.hits);
        }
    }
}
