use purlin_core::{GroupId, Token};

/// The epochs of a group's log and where each began: what makes positions of different epochs comparable.
///
/// A promotion forks the log. Up to the fork both branches are the same; behind it the old branch was cut off,
/// and equal numbers mean different writes. So a position of an ended epoch is a position of the present log
/// exactly if it lies at or before every fork since.
#[derive(Clone, Debug)]
pub(crate) struct Lineage {
    /// Ascending epochs, never empty. The last is the present one.
    terms: Vec<Term>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    epoch: u64,
    /// How far this epoch's log agrees with that of the epoch before. Without meaning for the first.
    start: u64,
}

/// Where a position of some epoch is in the present log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the same number.
    Here,
    /// Nowhere: of its epoch, only what lies up to this position was kept.
    Cut { kept: u64 },
    /// In an epoch that is later than any we know.
    Ahead,
    /// In an epoch that is not among those we know.
    Unknown,
}

impl Lineage {
    /// How many epochs are remembered. A token older than sixty-three promotions is not understood any more.
    const MAX_TERMS: usize = 64;

    pub(crate) fn from_epoch(epoch: u64) -> Self {
        Lineage {
            terms: vec![Term { epoch, start: 0 }],
        }
    }

    /// The present epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.present().epoch
    }

    /// The position up to which the present epoch holds what earlier ones left.
    pub(crate) fn start(&self) -> u64 {
        self.present().start
    }

    /// The token that every surviving write of earlier epochs lies at or before.
    pub(crate) fn start_token(&self, group: GroupId) -> Token {
        Token::new(group, self.epoch(), self.start())
    }

    /// Each known epoch with its start.
    pub(crate) fn terms(&self) -> impl ExactSizeIterator<Item = (u64, u64)> + '_ {
        self.terms.iter().map(|term| (term.epoch, term.start))
    }

    #[inline]
    pub(crate) fn place(&self, epoch: u64, position: u64) -> Place {
        if epoch == self.epoch() {
            return Place::Here;
        }
        if epoch > self.epoch() {
            return Place::Ahead;
        }
        let Ok(at) = self.terms.binary_search_by_key(&epoch, |term| term.epoch) else {
            return Place::Unknown;
        };
        // A later fork may lie before an earlier one: the replica that was promoted then had come less far.
        let kept = self.terms[at + 1..]
            .iter()
            .map(|term| term.start)
            .min()
            .unwrap_or(u64::MAX);
        if position <= kept {
            Place::Here
        } else {
            Place::Cut { kept }
        }
    }

    /// Begins an epoch at a fork. Returns false, and does nothing, if it is not later than the present one.
    pub(crate) fn begin(&mut self, epoch: u64, start: u64) -> bool {
        if epoch <= self.epoch() {
            return false;
        }
        if self.terms.len() == Self::MAX_TERMS {
            self.terms.remove(0);
        }
        self.terms.push(Term { epoch, start });
        true
    }

    fn present(&self) -> Term {
        *self
            .terms
            .last()
            .expect("a lineage is made with an epoch and loses none but the oldest")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_fork_limits_what_a_later_one_would_keep() {
        let mut lineage = Lineage::from_epoch(1);
        assert!(lineage.begin(4, 100));
        assert!(lineage.begin(6, 80));
        assert!(lineage.begin(7, 90));
        // Epoch 1 was kept up to 100, of which 80 were kept by epoch 6.
        assert_eq!(lineage.place(1, 80), Place::Here);
        assert_eq!(lineage.place(1, 81), Place::Cut { kept: 80 });
        assert_eq!(lineage.place(4, 80), Place::Here);
        assert_eq!(lineage.place(6, 90), Place::Here);
        assert_eq!(lineage.place(6, 91), Place::Cut { kept: 90 });
        assert_eq!(lineage.place(7, u64::MAX), Place::Here);
        assert_eq!(
            lineage.place(5, 1),
            Place::Unknown,
            "skipped, so nobody wrote in it that we know of"
        );
        assert_eq!(lineage.place(0, 1), Place::Unknown);
        assert_eq!(lineage.place(8, 1), Place::Ahead);
    }

    #[test]
    fn an_epoch_begins_only_after_the_present_one() {
        let mut lineage = Lineage::from_epoch(5);
        assert!(!lineage.begin(5, 10));
        assert!(!lineage.begin(4, 10));
        assert_eq!((lineage.epoch(), lineage.start()), (5, 0));
        assert!(lineage.begin(u64::MAX, 10));
        assert!(!lineage.begin(u64::MAX, 11));
    }

    #[test]
    fn the_oldest_epochs_are_forgotten_not_misjudged() {
        let mut lineage = Lineage::from_epoch(0);
        for epoch in 1..200 {
            assert!(lineage.begin(epoch, epoch * 10));
        }
        assert_eq!(lineage.terms().len(), Lineage::MAX_TERMS);
        assert_eq!(lineage.place(100, 1), Place::Unknown);
        assert_eq!(lineage.place(150, 1_510), Place::Here);
        assert_eq!(lineage.place(150, 1_511), Place::Cut { kept: 1_510 });
    }
}
