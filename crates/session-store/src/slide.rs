//! When a use is written down.

use crate::store::{Lifetime, Slide};

impl Slide {
    /// Whether it would move the deadline of a session that has this much left.
    pub(crate) fn would_move(self, remaining: Lifetime) -> bool {
        let Slide::To { idle, min_gain } = self else {
            return false;
        };
        let target = idle.min(remaining.absolute);
        target > remaining.idle && target - remaining.idle >= min_gain
    }
}
