//! One load a key, however many ask: a table of the loads under way, and what each is to those who wait for it.
//!
//! It knows nothing of where values are kept. The table belongs under the lock under which values are looked up, so
//! that "not there, and nobody is loading it" is one moment.
//!
//! A flight is *listed* from its start until it lands, is abandoned, or is overtaken by a write to its key. Callers
//! find only listed flights, and only the value of a listed flight may be stored. So a value loaded before a write
//! is never stored after it, and those who ask after the write do not get it; those who asked before it do.
//!
//! A flight that is *announced* is one that somebody has promised to fly and has not begun. Nobody waits for it: who
//! would, flies it himself, and the promise is void.
//!
//! Lock order: a table's lock, then a flight's. Under a flight's lock the only user code is the `Clone` of values.

use alloc::sync::Arc as StdArc;
use alloc::task::Wake;
use alloc::vec::{self, Vec};
use core::any::Any;
use core::fmt;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use equivalent::Equivalent;
use hashbrown::HashTable;
use purlin_core::Tick;
use purlin_core::sync::thread::{self, ThreadId};
use purlin_core::sync::{Arc, Condvar, Mutex};

use crate::reentry::Inside;

/// The flights listed, by key.
pub(crate) struct Flights<K, V> {
    listed: HashTable<Listed<K, V>>,
}

struct Listed<K, V> {
    hash: u64,
    flight: Arc<Flight<K, V>>,
}

impl<K, V> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Flights {
            listed: HashTable::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// The flight of a key.
    pub(crate) fn find<Q>(&self, hash: u64, key: &Q) -> Option<&Arc<Flight<K, V>>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let is_it =
            |listed: &Listed<K, V>| listed.hash == hash && key.equivalent(&listed.flight.key);
        self.listed.find(hash, is_it).map(|listed| &listed.flight)
    }

    /// Lists a flight. The caller has found that its key has none.
    pub(crate) fn list(&mut self, hash: u64, flight: Arc<Flight<K, V>>) {
        let listed = Listed { hash, flight };
        self.listed
            .insert_unique(hash, listed, |listed| listed.hash);
    }

    /// Whether a flight is listed. If not, it has been overtaken.
    pub(crate) fn lists(&self, hash: u64, flight: &Arc<Flight<K, V>>) -> bool {
        let is_it = |listed: &Listed<K, V>| Arc::ptr_eq(&listed.flight, flight);
        self.listed.find(hash, is_it).is_some()
    }

    /// Takes a flight off the list. False if it was not on it: it has been overtaken.
    pub(crate) fn unlist(&mut self, hash: u64, flight: &Arc<Flight<K, V>>) -> bool {
        let is_it = |listed: &Listed<K, V>| Arc::ptr_eq(&listed.flight, flight);
        self.listed
            .find_entry(hash, is_it)
            .map(|entry| entry.remove())
            .is_ok()
    }

    /// Takes the flight of a key off the list, because the key has been written to.
    #[inline]
    pub(crate) fn overtake<Q>(&mut self, hash: u64, key: &Q)
    where
        Q: Equivalent<K> + ?Sized,
    {
        if !self.listed.is_empty() {
            if let Some(flight) = self.find(hash, key).cloned() {
                self.unlist(hash, &flight);
            }
        }
    }

    /// Takes all flights off the list.
    pub(crate) fn overtake_all(&mut self) {
        // Each flight lives on by the reference of whoever flies it, so nothing of the user's is dropped here.
        self.listed.clear();
    }
}

/// One load under way.
pub(crate) struct Flight<K, V> {
    key: K,
    state: Mutex<State<V>>,
}

struct State<V> {
    /// How it ended. Set once.
    landing: Option<Landing<V>>,
    /// Counts those who have flown it: a pilot who gave no sign of life is followed by another.
    pilot: u32,
    /// The thread on which the pilot's load is running right now.
    running_on: Option<ThreadId>,
    /// When the load was last seen running, or when it was announced.
    seen: Tick,
    /// Whether the pilot has not begun, and nobody waits.
    announced: bool,
    /// Those who wait, in the order in which they came. Empty once it has landed.
    waiting: Vec<Waiting>,
    next_ticket: u64,
}

struct Waiting {
    ticket: u64,
    /// The waker of the last poll, if there was one.
    waker: Option<Waker>,
}

/// How a flight ends for those who wait.
pub(crate) enum Landing<V> {
    Loaded(V),
    /// The load failed, with an error that may concern the waiting too.
    Failed(SharedError),
    /// There is nothing to be had: let each look again.
    Abandoned,
}

/// An error of one load that others may take a copy of, if theirs is of the same type.
pub(crate) type SharedError = StdArc<dyn Any + Send + Sync>;

/// What a caller becomes who finds a flight.
pub(crate) enum Boarding<K, V> {
    Passenger(Ticket<K, V>),
    /// The flight seems to have no pilot any more; the caller is its pilot of this number.
    Pilot(u32),
    /// The caller is the load itself.
    Itself,
}

/// Names the pilot who started a flight.
pub(crate) const FIRST_PILOT: u32 = 0;

impl<K, V> Flight<K, V> {
    /// A flight that begins now.
    pub(crate) fn new(key: K, now: Tick) -> Self {
        Flight::with(key, now, false)
    }

    /// A flight that may begin later.
    pub(crate) fn announced(key: K, now: Tick) -> Self {
        Flight::with(key, now, true)
    }

    fn with(key: K, now: Tick, announced: bool) -> Self {
        Flight {
            key,
            state: Mutex::new(State {
                landing: None,
                pilot: FIRST_PILOT,
                running_on: None,
                seen: now,
                announced,
                waiting: Vec::new(),
                next_ticket: 0,
            }),
        }
    }

    /// Finds a caller's place in a listed flight.
    pub(crate) fn board(flight: &Arc<Self>, now: Tick, patience: Duration) -> Boarding<K, V> {
        let mut state = flight.state.lock();
        if state.running_on == Some(thread::current().id()) {
            return Boarding::Itself;
        }
        if state.announced || state.is_silent(now, patience) {
            state.announced = false;
            return Boarding::Pilot(state.follow(now));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push(Waiting {
            ticket,
            waker: None,
        });
        Boarding::Passenger(Ticket {
            flight: Arc::clone(flight),
            ticket,
        })
    }

    /// Promises a listed flight anew, if it seems to have no pilot any more. Returns the number of its new one.
    pub(crate) fn promise(&self, now: Tick, patience: Duration) -> Option<u32> {
        let mut state = self.state.lock();
        let is_free = state.is_silent(now, patience);
        is_free.then(|| state.follow(now))
    }

    /// Whether somebody flies it or has promised to.
    pub(crate) fn is_taken(&self, now: Tick, patience: Duration) -> bool {
        !self.state.lock().is_silent(now, patience)
    }

    /// Begins a listed flight that was announced. False if somebody else has meanwhile.
    pub(crate) fn begin(&self, pilot: u32, now: Tick) -> bool {
        let mut state = self.state.lock();
        let is_ours = state.pilot == pilot;
        if is_ours {
            state.announced = false;
            state.seen = state.seen.max(now);
        }
        is_ours
    }

    /// Runs a piece of the load, until the answer is dropped, and leaves a sign of life. `now` is asked without a lock.
    pub(crate) fn running<N: Fn() -> Tick>(&self, pilot: u32, now: N) -> Running<'_, K, V, N> {
        self.set_running(pilot, Some(thread::current().id()), now());
        Running {
            flight: self,
            pilot,
            now,
        }
    }

    pub(crate) fn key(&self) -> &K {
        &self.key
    }

    /// Ends it, for all who wait. Only the first end counts.
    pub(crate) fn land(&self, landing: Landing<V>) {
        let mut landing = Some(landing);
        let waiting = {
            let mut state = self.state.lock();
            if state.landing.is_none() {
                state.landing = landing.take();
            }
            core::mem::take(&mut state.waiting)
        };
        // A value that came second is dropped here, without the lock, and the wakers are called without it.
        drop(landing);
        wake_all(waiting);
    }

    pub(crate) fn has_waiting(&self) -> bool {
        !self.state.lock().waiting.is_empty()
    }

    /// Whether nobody has followed this pilot.
    pub(crate) fn is_flown_by(&self, pilot: u32) -> bool {
        self.state.lock().pilot == pilot
    }

    fn set_running(&self, pilot: u32, on: Option<ThreadId>, now: Tick) {
        let mut state = self.state.lock();
        if state.pilot == pilot {
            state.running_on = on;
            state.seen = state.seen.max(now);
        }
    }
}

impl<V> State<V> {
    fn is_silent(&self, now: Tick, patience: Duration) -> bool {
        self.running_on.is_none() && now.since(self.seen) >= patience
    }

    /// Gives it another pilot.
    fn follow(&mut self, now: Tick) -> u32 {
        self.pilot = self.pilot.wrapping_add(1);
        self.seen = now;
        self.pilot
    }
}

/// Ends a piece of a load, also if it panics.
pub(crate) struct Running<'a, K, V, N: Fn() -> Tick> {
    flight: &'a Flight<K, V>,
    pilot: u32,
    now: N,
}

impl<K, V, N: Fn() -> Tick> Drop for Running<'_, K, V, N> {
    fn drop(&mut self) {
        let now = (self.now)();
        self.flight.set_running(self.pilot, None, now);
    }
}

/// A place among those who wait for a flight. Dropping it gives the place up.
pub(crate) struct Ticket<K, V> {
    flight: Arc<Flight<K, V>>,
    ticket: u64,
}

/// What the wait for a flight ended with.
pub(crate) enum Arrival<V> {
    Loaded(V),
    Failed(SharedError),
    /// Look again, and load if there is still nothing: the load was given up, or gives no sign of life.
    LookAgain,
}

impl<K, V: Clone> Ticket<K, V> {
    /// Asks whether the flight has ended; if not, the waker of this poll, and no earlier one, is woken when it does.
    pub(crate) fn poll(&self, cx: &Context<'_>, now: Tick, patience: Duration) -> Poll<Arrival<V>> {
        // Wakers are cloned and dropped without the lock, for they are user code as well.
        let mut waker = Some(cx.waker().clone());
        let _inside = Inside::enter();
        let mut state = self.flight.state.lock();
        match &state.landing {
            Some(Landing::Loaded(value)) => return Poll::Ready(Arrival::Loaded(value.clone())),
            Some(Landing::Failed(error)) => {
                return Poll::Ready(Arrival::Failed(StdArc::clone(error)));
            }
            Some(Landing::Abandoned) => return Poll::Ready(Arrival::LookAgain),
            None if state.is_silent(now, patience) => return Poll::Ready(Arrival::LookAgain),
            None => {}
        }
        if let Some(waiting) = state
            .waiting
            .iter_mut()
            .find(|waiting| waiting.ticket == self.ticket)
        {
            core::mem::swap(&mut waiting.waker, &mut waker);
        }
        Poll::Pending
    }

    /// Blocks this thread until the flight has ended.
    pub(crate) fn wait(&self, now: impl Fn() -> Tick, patience: Duration) -> Arrival<V> {
        let bell = StdArc::new(Bell::new());
        let waker = Waker::from(StdArc::clone(&bell));
        let cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(arrival) = self.poll(&cx, now(), patience) {
                return arrival;
            }
            bell.wait();
        }
    }
}

impl<K, V> Drop for Ticket<K, V> {
    fn drop(&mut self) {
        let _waker = {
            let mut state = self.flight.state.lock();
            let place = state
                .waiting
                .iter()
                .position(|waiting| waiting.ticket == self.ticket);
            place.map(|place| state.waiting.remove(place))
        };
    }
}

/// Wakes everybody, in order, and the rest even if waking one panics.
fn wake_all(waiting: Vec<Waiting>) {
    struct Rest(vec::IntoIter<Waiting>);
    impl Rest {
        fn wake(&mut self) {
            self.0
                .by_ref()
                .filter_map(|waiting| waiting.waker)
                .for_each(Waker::wake);
        }
    }
    impl Drop for Rest {
        fn drop(&mut self) {
            self.wake();
        }
    }
    Rest(waiting.into_iter()).wake();
}

/// Where a thread sleeps until its waker is called. A call that comes first is not lost.
struct Bell {
    rung: Mutex<bool>,
    sleeper: Condvar,
}

impl Bell {
    fn new() -> Self {
        Bell {
            rung: Mutex::new(false),
            sleeper: Condvar::new(),
        }
    }

    fn wait(&self) {
        let mut rung = self.rung.lock();
        while !*rung {
            rung = self.sleeper.wait(rung);
        }
        *rung = false;
    }
}

impl Wake for Bell {
    fn wake(self: StdArc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &StdArc<Self>) {
        *self.rung.lock() = true;
        self.sleeper.notify_one();
    }
}

impl<K, V> fmt::Debug for Flights<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights")
            .field("listed", &self.listed.len())
            .finish()
    }
}
