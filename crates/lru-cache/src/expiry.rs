use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use purlin_core::{Rng, Tick};

use crate::tags::{Label, Tags};
use crate::terms::Terms;

/// The time that entries live in: what it is now, how long they last, and when somebody has to look for the dead.
///
/// An entry's own deadline decides whether it is over. Who looks for the dead may come late.
#[repr(C)]
pub(crate) struct Expiry {
    /// The latest tick seen. Time never goes back behind it: a clock that steps back stands still here until it
    /// has caught up, so what was over once stays over.
    latest: Tick,
    /// No entry that is still there was to leave before this, but for the last [`TICK`]. `Tick::MAX` if none has
    /// a deadline.
    look_at: Tick,
    rest: Box<Rest>,
}

/// What is not asked for at each look-up.
struct Rest {
    lifetimes: Lifetimes,
    /// The chance in jitter.
    rng: Rng,
}

/// How long entries live where they do not say so themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifetimes {
    pub(crate) to_live: Option<Duration>,
    pub(crate) to_idle: Option<Duration>,
    /// The time to live ends earlier by up to this share of it. From 0 to 1.
    pub(crate) jitter: f64,
    /// What was invalidated in the meantime.
    pub(crate) tags: Tags,
    /// How long they are kept after that, for calls that take what is over.
    pub(crate) stale: Duration,
}

impl Lifetimes {
    /// Whether any of them ends.
    pub(crate) fn is_any(&self) -> bool {
        self.to_live.is_some() || self.to_idle.is_some()
    }
}

/// Where in its life an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// So much is left of its time to live; `Duration::MAX` if that never ends.
    Left(Duration),
    /// It has been over for so long.
    Over(Duration),
}

/// How long one entry lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The end of its time to live; `Tick::MAX` for never.
    pub(crate) dies_at: Tick,
    /// The end of its time to idle, moved on by each use; `Tick::MAX` for never.
    pub(crate) idle_at: Tick,
    /// It also ends when one of its tags is invalidated.
    pub(crate) label: Label,
}

/// The dead are not looked for more often than this, about a millisecond: each look costs something, and what is over
/// is not returned in any case.
pub(crate) const TICK: Duration = Duration::from_nanos(1 << TICK_BITS);
pub(crate) const TICK_BITS: u32 = 20;

impl Expiry {
    pub(crate) fn new(lifetimes: Lifetimes, seed: u64) -> Self {
        Expiry {
            latest: Tick::ZERO,
            look_at: Tick::MAX,
            rest: Box::new(Rest {
                lifetimes,
                rng: Rng::from_seed(seed),
            }),
        }
    }

    /// Takes note of the time.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick) {
        self.latest = self.latest.max(now);
    }

    #[inline]
    pub(crate) fn latest(&self) -> Tick {
        self.latest
    }

    pub(crate) fn lifetimes(&self) -> Lifetimes {
        self.rest.lifetimes.clone()
    }

    /// Whether it is time to look for the dead.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        self.look_at <= self.latest
    }

    /// When it is.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn looks_at(&self) -> Tick {
        self.look_at
    }

    /// Has the dead looked for once this tick is over, if not before.
    #[inline]
    pub(crate) fn expect(&mut self, deadline: Tick) {
        self.look_at = self.look_at.min(deadline);
    }

    /// Takes note that the dead were looked for: the next is not over before this.
    pub(crate) fn looked(&mut self, next: Tick) {
        self.look_at = next.max(self.latest.after(TICK));
    }

    /// Whether a deadline is looked for in time.
    #[cfg(test)]
    pub(crate) fn looks_by(&self, deadline: Tick) -> bool {
        self.look_at <= deadline.max(self.latest).after(TICK)
    }

    /// A new life, from now on, for an entry on these terms.
    #[inline]
    pub(crate) fn begin(&mut self, terms: Terms) -> Life {
        let lives = match (terms.lasts(), self.rest.lifetimes.to_live) {
            (None, Some(lasts)) if self.rest.lifetimes.jitter > 0.0 => Some(self.jittered(lasts)),
            (own, usual) => own.or(usual),
        };
        let dies_at = lives.map_or(Tick::MAX, |lasts| self.latest.after(lasts));
        Life {
            dies_at,
            idle_at: self.idle_end().unwrap_or(Tick::MAX),
            label: self.label(terms),
        }
    }

    #[inline]
    fn label(&self, terms: Terms) -> Label {
        if terms.tags()[0] == 0 {
            return Label::NONE;
        }
        let now = || self.rest.lifetimes.tags.latest();
        Label {
            since: terms.moment().unwrap_or_else(now).0,
            slots: terms.tags(),
        }
    }

    /// A time that is shorter by chance.
    fn jittered(&mut self, lasts: Duration) -> Duration {
        let chance = (self.rest.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        // Less than all of it by a part below one, so there is nothing to overflow.
        lasts.saturating_sub(lasts.mul_f64(chance * self.rest.lifetimes.jitter))
    }

    /// Until when an entry lives that is used now and never again, if that matters.
    #[inline]
    pub(crate) fn idle_end(&self) -> Option<Tick> {
        let lasts = self.rest.lifetimes.to_idle?;
        Some(self.latest.after(lasts))
    }

    #[inline]
    pub(crate) fn is_over(&self, life: Life) -> bool {
        life.is_over_at(self.latest) || self.is_invalid(life)
    }

    /// Whether a life ended because one of its tags was invalidated.
    #[inline]
    pub(crate) fn is_invalid(&self, life: Life) -> bool {
        !life.label.is_none() && self.rest.lifetimes.tags.has_overtaken(life.label)
    }

    /// Whether a life is over, and for so long that nobody may ask for its value any more.
    #[inline]
    pub(crate) fn is_spent(&self, life: Life) -> bool {
        let is_over = life.is_over_at(self.latest);
        is_over && self.leaves_at(life.deadline()) <= self.latest || self.is_invalid(life)
    }

    /// Whether a life is spent at `now`, or already at the latest tick seen.
    #[cfg(feature = "std")]
    pub(crate) fn is_spent_at(&self, life: Life, now: Tick) -> bool {
        let now = now.max(self.latest);
        life.is_over_at(now) && self.leaves_at(life.deadline()) <= now || self.is_invalid(life)
    }

    /// Where in its life an entry is; nowhere if it is spent.
    pub(crate) fn standing(&self, life: Life) -> Option<Standing> {
        if self.is_spent(life) {
            None
        } else if self.is_over(life) {
            Some(Standing::Over(self.latest.since(life.deadline())))
        } else if life.dies_at == Tick::MAX {
            Some(Standing::Left(Duration::MAX))
        } else {
            Some(Standing::Left(life.dies_at.since(self.latest)))
        }
    }

    /// When an entry with this deadline is to be taken out.
    pub(crate) fn leaves_at(&self, deadline: Tick) -> Tick {
        deadline.after(self.rest.lifetimes.stale)
    }

    /// Whether a life is over at `now`, or already at the latest tick seen.
    pub(crate) fn is_over_at(&self, life: Life, now: Tick) -> bool {
        life.is_over_at(self.latest.max(now)) || self.is_invalid(life)
    }

    /// Has nothing to look for any more; time stays.
    pub(crate) fn clear(&mut self) {
        self.look_at = Tick::MAX;
    }
}

impl Life {
    /// Without a deadline.
    pub(crate) const ENDLESS: Life = Life {
        dies_at: Tick::MAX,
        idle_at: Tick::MAX,
        label: Label::NONE,
    };

    /// Whether it has a deadline.
    #[inline]
    pub(crate) fn is_mortal(self) -> bool {
        self.deadline() != Tick::MAX
    }

    #[inline]
    pub(crate) fn deadline(self) -> Tick {
        self.dies_at.min(self.idle_at)
    }

    #[inline]
    fn is_over_at(self, now: Tick) -> bool {
        let deadline = self.deadline();
        deadline <= now && deadline != Tick::MAX
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry")
            .field("latest", &self.latest)
            .field("lifetimes", &self.rest.lifetimes)
            .finish_non_exhaustive()
    }
}
