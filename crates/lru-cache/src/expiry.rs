use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use purlin_core::{Rng, Tick};
use purlin_timer_wheel::{TimerId, Wheel};

/// The time a set of entries lives in: what it is now, how long they last, and a wheel that finds the dead.
///
/// An entry's own deadline decides whether it is over, to the nanosecond. The wheel only finds the entries worth
/// looking at, so it may be coarser, and may come late.
#[repr(C)]
pub(crate) struct Expiry<N> {
    /// The latest tick seen. Time never goes back behind it: a clock that steps back stands still here until it
    /// has caught up, so what was over once stays over.
    latest: Tick,
    /// Whether the wheel has fired everything due at `latest`.
    caught_up: bool,
    rest: Box<Rest<N>>,
}

/// What is not asked for at each look-up.
struct Rest<N> {
    lifetimes: Lifetimes,
    /// The chance in jitter.
    rng: Rng,
    /// Names of entries by deadline. None until the first entry that has one, so that a cache without expiry pays nothing.
    wheel: Option<Wheel<N>>,
    /// Names whose timers fired in the sweep under way; empty between calls, and kept for its memory.
    due: Vec<N>,
}

/// How long entries live where they do not say so themselves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lifetimes {
    pub(crate) to_live: Option<Duration>,
    pub(crate) to_idle: Option<Duration>,
    /// The time to live ends earlier by up to this share of it. From 0 to 1.
    pub(crate) jitter: f64,
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
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// So much is left of its time to live; `Duration::MAX` if that never ends.
    Left(Duration),
    /// It has been over for so long.
    Over(Duration),
}

/// How long one entry lives.
#[derive(Debug)]
pub(crate) struct Life {
    /// The end of its time to live; `Tick::MAX` for never.
    dies_at: Tick,
    /// The end of its time to idle, moved on by each use; `Tick::MAX` for never.
    idle_at: Tick,
    /// Its timer, which may be set to an earlier tick than it has to live until now.
    timer: Option<TimerId>,
}

/// Nanoseconds of a tick of the wheel, as a power of two: about a millisecond. Finer ticks would cascade through
/// more levels and find the dead no sooner than the next call does.
const WHEEL_TICK_BITS: u32 = 20;

impl<N: Copy> Expiry<N> {
    pub(crate) fn new(lifetimes: Lifetimes, seed: u64) -> Self {
        Expiry {
            latest: Tick::ZERO,
            caught_up: true,
            rest: Box::new(Rest {
                lifetimes,
                rng: Rng::from_seed(seed),
                wheel: None,
                due: Vec::new(),
            }),
        }
    }

    /// Takes note of the time.
    #[inline]
    pub(crate) fn observe(&mut self, now: Tick) {
        if now > self.latest {
            // Within one tick of the wheel nothing new can fire.
            self.caught_up &= wheel_tick(now) == wheel_tick(self.latest);
            self.latest = now;
        }
    }

    /// Whether a sweep would find work, as far as is known without looking.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        !self.caught_up && self.rest.wheel.is_some()
    }

    /// A new life, from now on, for an entry with this time to live of its own, or none of its own.
    #[inline]
    pub(crate) fn begin(&mut self, own_time_to_live: Option<Duration>) -> Life {
        let lives = match (own_time_to_live, self.rest.lifetimes.to_live) {
            (None, Some(lasts)) if self.rest.lifetimes.jitter > 0.0 => Some(self.jittered(lasts)),
            (own, usual) => own.or(usual),
        };
        let end =
            |lasts: Option<Duration>| lasts.map_or(Tick::MAX, |lasts| self.latest.after(lasts));
        Life {
            dies_at: end(lives),
            idle_at: end(self.rest.lifetimes.to_idle),
            timer: None,
        }
    }

    /// A time that is shorter by chance.
    fn jittered(&mut self, lasts: Duration) -> Duration {
        let chance = (self.rest.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        // Less than all of it by a part below one, so there is nothing to overflow.
        lasts.saturating_sub(lasts.mul_f64(chance * self.rest.lifetimes.jitter))
    }

    /// Prolongs a life because its entry was used.
    #[inline]
    pub(crate) fn prolong(&self, life: &mut Life) {
        if let Some(lasts) = self.rest.lifetimes.to_idle {
            life.idle_at = self.latest.after(lasts);
        }
    }

    #[inline]
    pub(crate) fn is_over(&self, life: &Life) -> bool {
        let deadline = life.deadline();
        deadline <= self.latest && deadline != Tick::MAX
    }

    /// Whether a life is over, and for so long that nobody may ask for its value any more.
    #[inline]
    pub(crate) fn is_spent(&self, life: &Life) -> bool {
        self.is_over(life) && self.leaves_at(life) <= self.latest
    }

    /// Whether a life is spent at `now`, or already at the latest tick seen.
    #[cfg(feature = "std")]
    pub(crate) fn is_spent_at(&self, life: &Life, now: Tick) -> bool {
        self.is_over_at(life, now) && self.leaves_at(life) <= self.latest.max(now)
    }

    /// Where in its life an entry is; nowhere if it is spent.
    #[cfg(feature = "std")]
    pub(crate) fn standing(&self, life: &Life) -> Option<Standing> {
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

    /// When its entry is to be taken out.
    fn leaves_at(&self, life: &Life) -> Tick {
        life.deadline().after(self.rest.lifetimes.stale)
    }

    /// Whether a life is over at `now`, or already at the latest tick seen.
    pub(crate) fn is_over_at(&self, life: &Life, now: Tick) -> bool {
        let deadline = life.deadline();
        deadline <= self.latest.max(now) && deadline != Tick::MAX
    }

    /// Sees to it that the wheel names an entry once its life is spent. A timer that life already has is moved.
    pub(crate) fn arm(&mut self, name: N, life: &mut Life) {
        if !life.is_mortal() {
            self.disarm(life);
            return;
        }
        // The tick after, so that what fires is spent.
        let fires_at = wheel_tick(self.leaves_at(life)) + 1;
        let wheel = self
            .rest
            .wheel
            .get_or_insert_with(|| Wheel::new(wheel_tick(self.latest)));
        match life.timer {
            Some(timer) if wheel.reschedule(timer, fires_at) => {}
            Some(_) | None => life.timer = Some(wheel.insert(fires_at, name)),
        }
    }

    /// Forgets the timer of a life that ends otherwise.
    pub(crate) fn disarm(&mut self, life: &mut Life) {
        if let (Some(timer), Some(wheel)) = (life.timer.take(), &mut self.rest.wheel) {
            wheel.cancel(timer);
        }
    }

    /// Lets the wheel do `budget` units of work and returns the entries that it names; give the vector back to
    /// [`swept`](Self::swept). Their timers are gone.
    pub(crate) fn sweep(&mut self, budget: usize) -> Vec<N> {
        let mut due = core::mem::take(&mut self.rest.due);
        self.caught_up = match &mut self.rest.wheel {
            Some(wheel) => {
                let now = wheel_tick(self.latest);
                wheel.advance(now, budget, |name| due.push(name)).caught_up
            }
            None => true,
        };
        due
    }

    /// Ends a sweep.
    pub(crate) fn swept(&mut self, mut due: Vec<N>) {
        due.clear();
        self.rest.due = due;
    }

    /// Forgets all timers; time stays.
    pub(crate) fn clear(&mut self) {
        self.rest.wheel = None;
        self.caught_up = true;
    }

    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// Checks that an entry has a timer exactly if it has a deadline, and that the timer finds it in time.
    #[cfg(test)]
    pub(crate) fn check(&self, name: N, life: &Life)
    where
        N: PartialEq + fmt::Debug,
    {
        match (life.timer, &self.rest.wheel) {
            (None, _) => assert_eq!(life.deadline(), Tick::MAX),
            (Some(timer), Some(wheel)) => {
                assert_ne!(life.deadline(), Tick::MAX);
                assert_eq!(wheel.get(timer), Some(&name));
                assert!(wheel.deadline(timer) <= Some(wheel_tick(self.leaves_at(life)) + 1));
            }
            (Some(_), None) => panic!("a timer without a wheel"),
        }
    }
}

impl Life {
    /// Without a deadline.
    pub(crate) fn endless() -> Self {
        Life {
            dies_at: Tick::MAX,
            idle_at: Tick::MAX,
            timer: None,
        }
    }

    /// Whether it has a deadline.
    pub(crate) fn is_mortal(&self) -> bool {
        self.deadline() != Tick::MAX
    }

    fn deadline(&self) -> Tick {
        self.dies_at.min(self.idle_at)
    }

    /// Hands the timer on to the life that takes this one's slot.
    pub(crate) fn succeed(&mut self, before: &mut Life) {
        self.timer = before.timer.take();
    }

    /// Takes note that the timer has fired.
    pub(crate) fn fired(&mut self) {
        self.timer = None;
    }
}

fn wheel_tick(tick: Tick) -> u64 {
    tick.as_nanos() >> WHEEL_TICK_BITS
}

impl<N> fmt::Debug for Expiry<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expiry")
            .field("latest", &self.latest)
            .field("lifetimes", &self.rest.lifetimes)
            .finish_non_exhaustive()
    }
}
