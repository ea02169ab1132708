use std::time::Duration;

use purlin_core::{NodeId, Tick};

use crate::history::History;
use crate::lineage::{Lineage, Place};
use crate::observation::{Observation, Standing};

/// What is known of one node's log.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    /// The last observation, if it was one and has not been invalidated.
    report: Option<Report>,
    /// Good observations in a row that are owed before it serves again.
    owed: u32,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    epoch: u64,
    /// Where its source knows positions.
    position: Option<u64>,
    at: Tick,
    /// Everything committed up to here is in the node's log.
    as_of: Option<Tick>,
    place: Place,
}

/// What a read asks of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Anything,
    /// A log that has come this far.
    Position(u64),
    /// A log that holds everything committed up to here.
    AsOf(Tick),
}

/// Why a replica cannot serve a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lack {
    Unknown,
    Diverged,
    Recovering,
    Behind,
}

impl Member {
    pub(crate) fn new(id: NodeId) -> Self {
        Member {
            id,
            report: None,
            owed: 0,
        }
    }

    /// Whether the node can serve a read at `now`. Ticks from the future mean that the clock stepped back;
    /// what they would prove is then not known.
    #[inline]
    pub(crate) fn serves(&self, need: Need, now: Tick, max_age: Duration) -> Result<(), Lack> {
        let report = self.report.as_ref().ok_or(Lack::Unknown)?;
        match report.place {
            Place::Here => {}
            Place::Cut { .. } | Place::Ahead => return Err(Lack::Diverged),
            Place::Unknown => return Err(Lack::Unknown),
        }
        if report.at > now || now.since(report.at) > max_age {
            return Err(Lack::Unknown);
        }
        if self.owed > 0 {
            return Err(Lack::Recovering);
        }
        let fresh = match need {
            Need::Anything => true,
            Need::Position(floor) => report.position.is_some_and(|position| position >= floor),
            Need::AsOf(oldest) => report
                .as_of
                .is_some_and(|as_of| (oldest..=now).contains(&as_of)),
        };
        if fresh { Ok(()) } else { Err(Lack::Behind) }
    }

    pub(crate) fn standing(&self, now: Tick, max_age: Duration) -> Standing {
        match (self.serves(Need::Anything, now, max_age), &self.report) {
            (Ok(()), _) => Standing::Following,
            (Err(Lack::Recovering), _) => Standing::Recovering { owed: self.owed },
            (
                Err(Lack::Diverged),
                Some(Report {
                    place: Place::Ahead,
                    epoch,
                    ..
                }),
            ) => Standing::EpochAhead { epoch: *epoch },
            (Err(Lack::Diverged), _) => Standing::Diverged,
            (Err(Lack::Unknown | Lack::Behind), _) => Standing::Unknown,
        }
    }

    /// The last reported position in the present log.
    pub(crate) fn position(&self) -> Option<u64> {
        self.following().and_then(|report| report.position)
    }

    /// The time up to which the node is known to hold everything.
    pub(crate) fn as_of(&self) -> Option<Tick> {
        self.following().and_then(|report| report.as_of)
    }

    /// The epoch the node was last seen in.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.report.map(|report| report.epoch)
    }

    /// Takes in an observation of the node as a replica. `rise` good ones in a row are owed after a bad one.
    pub(crate) fn observe(
        &mut self,
        observation: Observation,
        lineage: &Lineage,
        history: &History,
        rise: u32,
    ) {
        let Some(mut report) = Report::of(observation, lineage) else {
            self.report = None;
            self.owed = rise;
            return;
        };
        if self.report.is_some_and(|known| known.at > report.at) {
            // A late answer: something newer is known.
            return;
        }
        report.date(history);
        if let Some(known) = self.following() {
            report.keep_date_of(known);
        }
        self.owed = match report.place {
            Place::Here => self.owed.saturating_sub(1),
            // No fault of the node's: it is we who have not been told.
            Place::Ahead => self.owed,
            Place::Cut { .. } | Place::Unknown => rise,
        };
        self.report = Some(report);
    }

    /// Looks again what the primary's history says about the node's position.
    pub(crate) fn date(&mut self, history: &History) {
        if let Some(report) = self.report.as_mut() {
            report.date(history);
        }
    }

    /// Judges the last report again after a promotion.
    pub(crate) fn replace(&mut self, lineage: &Lineage) {
        // A lag, and any age, was measured against the primary of its time, which is not the present one.
        self.report = self
            .report
            .filter(|report| report.position.is_some())
            .map(|report| Report {
                place: report.place_in(lineage),
                as_of: None,
                ..report
            });
    }

    /// Forgets everything about the node, which has to earn its trust anew.
    pub(crate) fn forget(&mut self, rise: u32) {
        self.report = None;
        self.owed = rise;
    }

    /// Forgets all times, since the clock they were taken from stepped back.
    pub(crate) fn forget_times(&mut self, now: Tick) {
        if let Some(report) = self.report.as_mut() {
            report.as_of = None;
        }
        self.report = self.report.filter(|report| report.at <= now);
    }

    fn following(&self) -> Option<&Report> {
        self.report
            .as_ref()
            .filter(|report| report.place == Place::Here)
    }
}

impl Report {
    /// `None` for an observation that says nothing.
    fn of(observation: Observation, lineage: &Lineage) -> Option<Self> {
        let place = Place::Here;
        let report = match observation {
            Observation::Position {
                epoch,
                position,
                at,
            } => Report {
                epoch,
                position: Some(position),
                at,
                as_of: None,
                place,
            },
            Observation::Lag { epoch, seconds, at } => {
                let lag = Duration::try_from_secs_f64(seconds).ok()?;
                // Further behind than the clock goes back: no telling how far.
                let as_of = (lag <= at.since(Tick::ZERO)).then(|| at.before(lag));
                Report {
                    epoch,
                    position: None,
                    at,
                    as_of,
                    place,
                }
            }
            Observation::Failed => return None,
        };
        Some(Report {
            place: report.place_in(lineage),
            ..report
        })
    }

    fn place_in(&self, lineage: &Lineage) -> Place {
        match self.position {
            Some(position) => lineage.place(self.epoch, position),
            // Behind an ended epoch's primary is not behind the present one.
            None if self.epoch < lineage.epoch() => Place::Unknown,
            None => lineage.place(self.epoch, 0),
        }
    }

    fn date(&mut self, history: &History) {
        if let (Place::Here, Some(position)) = (self.place, self.position) {
            self.as_of = self.as_of.max(history.as_of(position));
        }
    }

    /// A log that has not gone back holds what it held; the history may have thinned out the proof.
    fn keep_date_of(&mut self, known: &Report) {
        let both = self.position.zip(known.position);
        if self.place == Place::Here && both.is_some_and(|(now, before)| now >= before) {
            self.as_of = self.as_of.max(known.as_of);
        }
    }
}
