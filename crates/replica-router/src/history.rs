use std::collections::VecDeque;

use purlin_core::Tick;

/// When the primary's log stood where: what turns a replica's position into an age.
///
/// A sample says that at `at` nothing beyond `position` had been committed. A replica that has come to a
/// sample's position therefore holds everything committed up to its time. On an idle primary later samples
/// repeat the position, so a replica that has caught up stays fresh; on a replica whose replay has stopped
/// the position stays behind, so it ages.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Ascending in both, strictly. A repeated position only moves its sample's time.
    samples: VecDeque<(Tick, u64)>,
}

impl History {
    /// Samples kept. At the limit every second one of the older three quarters goes, so ages are exact to a
    /// probe's interval when young and coarser, never younger than true, when old.
    const MAX_SAMPLES: usize = 64;

    pub(crate) fn record(&mut self, at: Tick, position: u64) {
        match self.samples.back_mut() {
            // A late answer: what it says is implied by the ones that overtook it, or says less.
            Some(last) if at < last.0 => return,
            // A log that goes back in its own epoch breaks the promise everything here rests on.
            Some(last) if position < last.1 => self.samples.clear(),
            Some(last) if position == last.1 => {
                last.0 = at;
                return;
            }
            // Two positions at one time: only the later one bounds what was committed by then.
            Some(last) if at == last.0 => {
                last.1 = position;
                return;
            }
            Some(_) | None => {}
        }
        if self.samples.len() == Self::MAX_SAMPLES {
            self.thin();
        }
        self.samples.push_back((at, position));
    }

    /// The latest time up to which a log that has come to `position` holds everything, or `None` if no sample
    /// tells.
    pub(crate) fn as_of(&self, position: u64) -> Option<Tick> {
        let reached = self.samples.partition_point(|sample| sample.1 <= position);
        let last_reached = reached.checked_sub(1)?;
        Some(self.samples[last_reached].0)
    }

    /// The time of the latest sample.
    pub(crate) fn latest(&self) -> Option<Tick> {
        self.samples.back().map(|sample| sample.0)
    }

    /// Forgets everything: the samples are of another primary, or of a clock that stepped back.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
    }

    fn thin(&mut self) {
        let older = Self::MAX_SAMPLES * 3 / 4;
        let mut index = 0;
        self.samples.retain(|_| {
            index += 1;
            index > older || index % 2 == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tick(nanos: u64) -> Tick {
        Tick::from_nanos(nanos)
    }

    #[test]
    fn an_idle_primary_keeps_those_who_caught_up_fresh_and_nobody_else() {
        let mut history = History::default();
        history.record(tick(10), 100);
        history.record(tick(20), 200);
        for at in [30, 40, 50] {
            history.record(tick(at), 200);
        }
        assert_eq!(history.as_of(200), Some(tick(50)));
        assert_eq!(history.as_of(199), Some(tick(10)));
        assert_eq!(history.as_of(99), None);
    }

    proptest! {
        /// Against all samples ever recorded: never younger than true, and of the latest sixteen positions
        /// exactly as old as true.
        #[test]
        fn ages_are_never_understated(steps in prop::collection::vec((1u64..50, 0u64..3), 1..300)) {
            let (mut history, mut all) = (History::default(), Vec::new());
            let (mut at, mut position) = (0, 0);
            for (time, growth) in steps {
                at += time;
                position += growth;
                history.record(tick(at), position);
                all.push((at, position));
                prop_assert!(history.samples.len() <= History::MAX_SAMPLES);
            }
            let mut positions: Vec<u64> = all.iter().map(|sample| sample.1).collect();
            positions.dedup();
            for (age, &reached) in positions.iter().rev().enumerate() {
                let truth = all.iter().rev().find(|sample| sample.1 <= reached).map(|sample| tick(sample.0));
                prop_assert!(history.as_of(reached) <= truth);
                prop_assert!(age >= History::MAX_SAMPLES / 4 || history.as_of(reached) == truth);
            }
        }
    }
}
