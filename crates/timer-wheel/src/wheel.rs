//! The wheel: what is due when, and how far the work has come.

use core::fmt;

use crate::iter::{Drain, Iter};
use crate::slab::{NONE, Slab, TimerId};
use crate::slots::{Place, Slots};

/// Timers, each an item with a deadline in ticks.
///
/// See the [crate's page](crate) for the algorithm, the promises and the costs.
///
/// ```
/// use purlin_timer_wheel::Wheel;
///
/// let mut wheel = Wheel::new(1_000);
/// let lease = wheel.insert(1_060, "lease");
/// assert!(wheel.reschedule(lease, 1_120), "still waiting, so it could be extended");
///
/// wheel.advance(1_060, usize::MAX, |_| unreachable!("it was extended"));
/// assert_eq!(wheel.next_deadline(), Some(1_120));
/// assert_eq!(wheel.cancel(lease), Some("lease"));
/// assert_eq!(wheel.cancel(lease), None, "an id names its timer once");
/// ```
#[derive(Clone)]
pub struct Wheel<T> {
    pub(crate) timers: Slab<Node<T>>,
    slots: Slots,
    /// The tick up to which everything has fired. Each waiting timer is filed by how its deadline differs
    /// from this, so it moves only in `seek`, and there never past a slot that holds something.
    reached: u64,
    /// The highest tick ever given. `reached` is behind it while there is work left.
    latest: u64,
    /// The level whose slot is being cascaded: that of the digit of `reached`. Until the slot is empty,
    /// `reached` stands still and no other slot is looked at. On every other slot the digit is above that of
    /// `reached`, but for level 0, whose slot at `reached` holds what is due.
    cascading: Option<u8>,
}

/// One timer.
#[derive(Clone)]
pub(crate) struct Node<T> {
    pub(crate) deadline: u64,
    /// Neighbours in the slot's list, or `NONE`.
    previous: u32,
    next: u32,
    /// The slot whose list holds this timer; none for a deadline that never comes.
    place: Option<Place>,
    pub(crate) item: T,
}

/// What a call to [`Wheel::advance`] got done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Advance {
    /// How many timers fired.
    pub fired: usize,
    /// How many timers moved to a lower level. With `fired` this is the part of the budget that was used.
    pub moved: usize,
    /// Whether everything due has fired. If not, the budget ran out: call again, with the same tick or a
    /// later one.
    pub caught_up: bool,
}

/// A deadline that never comes.
const NEVER: u64 = u64::MAX;

impl<T> Wheel<T> {
    /// An empty wheel that has reached `now`. It allocates nothing until the first insert.
    pub fn new(now: u64) -> Self {
        Wheel::with_capacity(now, 0)
    }

    /// An empty wheel with room for `capacity` timers before it allocates for more.
    pub fn with_capacity(now: u64, capacity: usize) -> Self {
        let now = now.min(NEVER - 1);
        Wheel {
            timers: Slab::with_capacity(capacity),
            slots: Slots::new(),
            reached: now,
            latest: now,
            cascading: None,
        }
    }

    /// Sets a timer: `item` fires at `deadline`, or at the next [`advance`](Wheel::advance) if that has
    /// passed. `u64::MAX` never fires.
    ///
    /// # Panics
    ///
    /// If `u32::MAX` timers are waiting, or the allocator has no memory.
    pub fn insert(&mut self, deadline: u64, item: T) -> TimerId {
        let id = self.timers.insert(Node {
            deadline,
            previous: NONE,
            next: NONE,
            place: None,
            item,
        });
        self.file(id.idx(), self.cascading);
        id
    }

    /// Takes a timer out, and returns its item. `None` if it has fired or was cancelled before.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        self.timers.get(id)?;
        self.take(id.idx())
    }

    /// Moves a timer to another deadline, earlier or later, as [`insert`](Wheel::insert) would set it; the id
    /// stays good. `false` if it has fired or was cancelled before.
    pub fn reschedule(&mut self, id: TimerId, deadline: u64) -> bool {
        if self.timers.get(id).is_none() {
            return false;
        }
        self.unlink(id.idx());
        self.timers.linked(id.idx()).deadline = deadline;
        self.file(id.idx(), self.cascading);
        true
    }

    /// Fires what is due at `now`, with at most `budget` units of work in this call.
    ///
    /// A unit is a timer that fires, or one that moves to a lower level. What is left over is done by later
    /// calls before anything new, and `caught_up` says whether there is any. A budget of 0 only takes note of
    /// the tick; `usize::MAX` finishes the work, however much it is.
    ///
    /// `expired` is given the items in the order of their deadlines. It cannot reach the wheel: to set a
    /// timer again, keep the item and insert it after the call.
    ///
    /// A `now` lower than an earlier one counts as that earlier one, and `u64::MAX` as the tick before it.
    ///
    /// # Panics
    ///
    /// Only if `expired` does. Its item is lost then; the rest waits for the next call.
    pub fn advance(&mut self, now: u64, budget: usize, mut expired: impl FnMut(T)) -> Advance {
        self.latest = self.latest.max(now.min(NEVER - 1));
        let mut done = Advance {
            fired: 0,
            moved: 0,
            caught_up: false,
        };
        while let Some(unit) = self.seek(self.latest) {
            if done.fired + done.moved >= budget {
                return done;
            }
            match unit {
                Unit::Fire(idx) => {
                    let item = self.take(idx).expect("seek leads to a waiting timer");
                    done.fired += 1;
                    expired(item);
                }
                Unit::Cascade(idx) => {
                    self.unlink(idx);
                    self.file(idx, None);
                    done.moved += 1;
                }
            }
        }
        done.caught_up = true;
        done
    }

    /// When to call [`advance`](Wheel::advance) next: no timer is due before this tick. `None` if there is
    /// none that ever fires.
    ///
    /// It is the exact deadline of the next timer, unless a timer that was to come before it has been
    /// cancelled or rescheduled; then it may be earlier. One call to `advance` at the tick returned, to its
    /// end, mends that. While work is left over from earlier calls, this is a tick that they were given.
    pub fn next_deadline(&self) -> Option<u64> {
        if let Some(level) = self.cascading {
            if self
                .slots
                .get(Place::on_level(level, self.reached))
                .is_some()
            {
                return Some(self.reached);
            }
        }
        let list = self.slots.get(self.slots.first()?)?;
        Some(list.earliest)
    }

    /// The tick the wheel has reached: all earlier deadlines have fired. It is the highest tick given to
    /// [`advance`](Wheel::advance) so far, or behind that while there is work left.
    pub fn reached(&self) -> u64 {
        self.reached
    }

    /// How many timers are waiting, with those that never fire.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether no timer is waiting.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item of a waiting timer.
    pub fn get(&self, id: TimerId) -> Option<&T> {
        self.timers.get(id).map(|node| &node.item)
    }

    /// The item of a waiting timer, to be changed in place.
    pub fn get_mut(&mut self, id: TimerId) -> Option<&mut T> {
        self.timers.get_mut(id).map(|node| &mut node.item)
    }

    /// The deadline of a waiting timer, as it was given.
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        self.timers.get(id).map(|node| node.deadline)
    }

    /// All waiting timers, in no particular order. The walk costs as much as the most timers there ever were.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter::new(&self.timers)
    }

    /// Takes all timers out, in no particular order. Those that the iterator has not yielded when it is
    /// dropped are dropped with it. The tick reached stays.
    pub fn drain(&mut self) -> Drain<'_, T> {
        Drain::new(self)
    }

    /// Drops all timers. The tick reached and the memory stay.
    pub fn clear(&mut self) {
        self.drain();
    }

    /// Takes the timer at an index out of its list and its entry.
    pub(crate) fn take(&mut self, idx: u32) -> Option<T> {
        self.timers.id_of(idx)?;
        self.unlink(idx);
        self.timers.remove(idx).map(|node| node.item)
    }

    /// Moves `reached` on to the next tick at which there is work, or to `target` if that comes first.
    fn seek(&mut self, target: u64) -> Option<Unit> {
        loop {
            if let Some(level) = self.cascading {
                match self.slots.get(Place::on_level(level, self.reached)) {
                    Some(list) => return Some(Unit::Cascade(list.head)),
                    None => self.cascading = None,
                }
            }
            let first = self
                .slots
                .first()
                .filter(|place| place.start(self.reached) <= target);
            let Some((place, list)) = first.and_then(|place| Some((place, self.slots.get(place)?)))
            else {
                self.reached = target;
                return None;
            };
            // Within the slot, and not after anything in it. Starting at the earliest deadline, rather than
            // at the slot's first tick, lets timers skip the levels between.
            self.reached = list.earliest.min(target);
            if place.level == 0 {
                return Some(Unit::Fire(list.head));
            }
            self.cascading = Some(place.level);
        }
    }

    /// Links a timer that is in no list into that of its slot.
    ///
    /// While a slot is being cascaded, a new timer whose tick falls into it goes to the end of its list, so
    /// that it stays behind the older ones of the same tick.
    fn file(&mut self, idx: u32, cascading: Option<u8>) {
        let node = self.timers.linked(idx);
        if node.deadline == NEVER {
            return;
        }
        let due = node.deadline.max(self.reached);
        let place = cascading
            .map(|level| Place::on_level(level, self.reached))
            .filter(|place| place.shares(due, self.reached))
            .unwrap_or_else(|| Place::of(due, self.reached));
        let previous = self.slots.push(place, idx, due);
        node.place = Some(place);
        node.previous = previous;
        node.next = NONE;
        if previous != NONE {
            self.timers.linked(previous).next = idx;
        }
    }

    /// Takes a timer out of its list, if it is in one.
    fn unlink(&mut self, idx: u32) {
        let node = self.timers.linked(idx);
        let Some(place) = node.place.take() else {
            return;
        };
        let (previous, next) = (node.previous, node.next);
        if next == NONE {
            self.slots.set_tail(place, previous);
        } else {
            self.timers.linked(next).previous = previous;
        }
        if previous == NONE {
            self.slots.set_head(place, next);
        } else {
            self.timers.linked(previous).next = next;
        }
    }
}

/// One unit of work, on the timer at an index.
enum Unit {
    Fire(u32),
    Cascade(u32),
}

impl<T> fmt::Debug for Wheel<T> {
    /// The state, without the items.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wheel")
            .field("len", &self.len())
            .field("reached", &self.reached)
            .field("latest", &self.latest)
            .field("next_deadline", &self.next_deadline())
            .finish_non_exhaustive()
    }
}

impl<'a, T> IntoIterator for &'a Wheel<T> {
    type Item = (TimerId, u64, &'a T);
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
