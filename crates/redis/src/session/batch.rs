//! Calls that are made at the same moment, sent to the server as one message.
//!
//! Most of what a call costs this process is its way through the client: a place in a channel, a task that is woken, a
//! timer. Requests that run at once can share these. Whoever asks first lets the other tasks run once, and what they ask
//! meanwhile goes with it. So nobody waits for company, and a lone call goes as it would by itself.
//!
//! The answer of a message is waited for by all who have a part in it, and any of them may be dropped: whoever is polled
//! moves it on, and all are woken.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use purlin_session_store::{ErrorKind, SessionKey, StoreError};
use redis::aio::ConnectionLike;
use redis::{Cmd, RedisError, Value};
use tokio::runtime;

use super::failure::{TimedOut, store_error};
use super::flight::fly;
use super::rows::Rows;
use super::swap::{Swap, Swaps};

/// What one call asks.
#[derive(Debug)]
pub(super) enum Ask {
    One(Cmd),
    /// A session's row, which is fetched together with others.
    Row(SessionKey),
    /// The same, after the end of its key was moved out to a time, never in.
    RowMoved(SessionKey, u64),
    /// A commit, which goes together with others.
    Swap(Swap),
}

/// What the server says to an [`Ask`], errors among it as values; nil for a command that there was not. Of a row that was
/// fetched together with others: [`NIL_OR_OTHER`](super::rows::NIL_OR_OTHER) in place of nil. To a commit: what
/// its script answers if it went by itself; otherwise 1, or nil if it was not done for whatever reason.
pub(super) type Answer = (Value, Value);

/// The message that is being gathered, if any.
pub(super) struct Batches {
    rows: Arc<Rows>,
    swaps: Arc<Swaps>,
    gathering: Mutex<Option<Gathering>>,
}

/// A message to which calls are still added.
struct Gathering {
    /// By their places. None for a call that was dropped.
    asks: Vec<Option<Ask>>,
    /// How many of them are commits.
    n_swaps: usize,
    message: Arc<Message>,
    /// Messages are not shared by runtimes, one of which may stop before the other.
    runtime: runtime::Id,
    /// Whether somebody will be polled again and send it.
    has_sender: bool,
}

/// The most calls in one message. Nearly all that can be shared is shared by so many, and where more are made at once there
/// are several messages.
const MAX_CALLS: usize = 32;

/// The most commits among them. Their rows are long and so is their script, so the server had better be at work on one
/// message while this process is on another.
const MAX_SWAPS: usize = 16;

struct Message {
    bell: Arc<Bell>,
    state: Mutex<State>,
}

/// Who is to be woken, by their places. Apart from the message, which has the future that has the bell.
#[derive(Default)]
struct Bell(Mutex<Vec<Option<Waker>>>);

enum State {
    Gathering,
    UnderWay(Flight),
    /// By their places.
    Answered(Result<Vec<Option<Answer>>, Failed>),
}

type Flight = Pin<Box<dyn Future<Output = Result<Vec<Option<Answer>>, Failed>> + Send>>;

/// Why a whole message was not answered.
#[derive(Clone, Debug)]
pub(super) enum Failed {
    Client(RedisError),
    TimedOut(Duration),
    /// The client panicked.
    Lost,
}

impl Failed {
    fn to_error(&self) -> StoreError {
        match self {
            Failed::Client(error) => store_error(error.clone()),
            Failed::TimedOut(limit) => {
                StoreError::new(ErrorKind::Interrupted).with_source(TimedOut(*limit))
            }
            Failed::Lost => StoreError::new(ErrorKind::Interrupted),
        }
    }
}

/// One call of a message: the future of its answer.
pub(super) struct Call<'a, C> {
    batches: &'a Batches,
    connection: &'a C,
    limit: Duration,
    part: Part,
}

#[expect(
    clippy::large_enum_variant,
    reason = "it lives in the caller's future, and a box would be an allocation for each call"
)]
enum Part {
    New(Ask),
    /// With a place in this message.
    In(Arc<Message>, usize),
    Over,
}

impl Batches {
    pub(super) fn new(rows: Arc<Rows>, swaps: Swaps) -> Self {
        Batches {
            rows,
            swaps: Arc::new(swaps),
            gathering: Mutex::default(),
        }
    }

    pub(super) fn swaps(&self) -> &Swaps {
        &self.swaps
    }

    /// Asks the server, on a connection that a message of many commands may be sent over.
    pub(super) fn ask<'a, C>(
        &'a self,
        connection: &'a C,
        limit: Duration,
        ask: Ask,
    ) -> Call<'a, C> {
        Call {
            batches: self,
            connection,
            limit,
            part: Part::New(ask),
        }
    }

    fn gathering(&self) -> MutexGuard<'_, Option<Gathering>> {
        locked(&self.gathering)
    }
}

impl Gathering {
    fn new(runtime: runtime::Id) -> Self {
        Gathering {
            asks: Vec::new(),
            n_swaps: 0,
            message: Arc::new(Message::new()),
            runtime,
            has_sender: false,
        }
    }

    fn is_full(&self) -> bool {
        self.asks.len() >= MAX_CALLS || self.n_swaps >= MAX_SWAPS
    }
}

/// Nothing panics under these locks but the client, which leaves [`State::Answered`] behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Call<'_, C> {
    /// Takes a place in the message that is being gathered.
    fn join(&self, ask: Ask, waker: &Waker) -> (Arc<Message>, usize) {
        let here = runtime::Handle::current().id();
        let mut gathering = self.batches.gathering();
        if gathering.as_ref().is_some_and(|open| open.runtime != here) {
            drop(gathering);
            return self.send_alone(ask, waker, here);
        }
        let full = gathering.take_if(|open| open.is_full());
        let open = gathering.get_or_insert_with(|| Gathering::new(here));
        open.n_swaps += usize::from(matches!(ask, Ask::Swap(_)));
        let (message, place) = (Arc::clone(&open.message), open.asks.len());
        open.asks.push(Some(ask));
        let sends = !std::mem::replace(&mut open.has_sender, true);
        drop(gathering);
        message.bell.wait(place, waker);
        if sends {
            // Once more, behind those who are to run now.
            waker.wake_by_ref();
        }
        if let Some(full) = full {
            self.send(full);
        }
        (message, place)
    }

    /// Sends a message of this call's own, while tasks of another runtime gather one.
    fn send_alone(&self, ask: Ask, waker: &Waker, here: runtime::Id) -> (Arc<Message>, usize) {
        let mut ours = Gathering::new(here);
        ours.asks.push(Some(ask));
        let message = Arc::clone(&ours.message);
        message.bell.wait(0, waker);
        self.send(ours);
        (message, 0)
    }

    /// Sends the message that this call has a part in, if nobody has.
    fn send_ours(&self, message: &Arc<Message>) {
        let mut gathering = self.batches.gathering();
        let ours = gathering.take_if(|open| Arc::ptr_eq(&open.message, message));
        drop(gathering);
        if let Some(ours) = ours {
            self.send(ours);
        }
    }

    fn send(&self, open: Gathering) {
        let Gathering { asks, message, .. } = open;
        let Batches { rows, swaps, .. } = self.batches;
        let (rows, swaps) = (Arc::clone(rows), Arc::clone(swaps));
        let flight = Box::pin(fly(self.connection.clone(), self.limit, rows, swaps, asks));
        *locked(&message.state) = State::UnderWay(flight);
        message.advance();
    }
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> Future for Call<'_, C> {
    type Output = Result<Answer, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.part, Part::Over) {
            Part::New(ask) => {
                let (message, place) = this.join(ask, cx.waker());
                this.part = Part::In(message, place);
                Poll::Pending
            }
            Part::In(message, place) => {
                // Nearly all are woken by this.
                if let Some(answer) = message.answer(place) {
                    return Poll::Ready(answer);
                }
                // Before it is looked at again, so that what happens after the look is not missed.
                message.bell.wait(place, cx.waker());
                this.send_ours(&message);
                message.advance();
                match message.answer(place) {
                    Some(answer) => Poll::Ready(answer),
                    None => {
                        this.part = Part::In(message, place);
                        Poll::Pending
                    }
                }
            }
            Part::Over => Poll::Pending,
        }
    }
}

impl<C> Drop for Call<'_, C> {
    /// What was not sent is taken back, and another one sends the rest.
    fn drop(&mut self) {
        let Part::In(message, place) = &self.part else {
            return;
        };
        let mut gathering = self.batches.gathering();
        let Some(open) = gathering
            .as_mut()
            .filter(|open| Arc::ptr_eq(&open.message, message))
        else {
            return;
        };
        open.asks[*place] = None;
        open.has_sender = false;
        if open.asks.iter().all(Option::is_none) {
            *gathering = None;
            return;
        }
        drop(gathering);
        message.bell.ring();
    }
}

impl Message {
    fn new() -> Self {
        Message {
            bell: Arc::default(),
            state: Mutex::new(State::Gathering),
        }
    }

    /// Moves the message on, if it is under way.
    fn advance(&self) {
        let mut state = locked(&self.state);
        // What a client that panics leaves behind.
        let lost = State::Answered(Err(Failed::Lost));
        let mut flight = match std::mem::replace(&mut *state, lost) {
            State::UnderWay(flight) => flight,
            other => {
                *state = other;
                return;
            }
        };
        let waker = Waker::from(Arc::clone(&self.bell));
        match flight.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => *state = State::UnderWay(flight),
            Poll::Ready(answers) => {
                *state = State::Answered(answers);
                drop(state);
                self.bell.ring();
            }
        }
    }

    fn answer(&self, place: usize) -> Option<Result<Answer, StoreError>> {
        match &mut *locked(&self.state) {
            State::Gathering | State::UnderWay(_) => None,
            State::Answered(Ok(answers)) => {
                let answer = answers.get_mut(place).and_then(Option::take);
                Some(answer.ok_or_else(|| Failed::Lost.to_error()))
            }
            State::Answered(Err(failed)) => Some(Err(failed.to_error())),
        }
    }
}

impl Bell {
    /// Notes who is to be woken for a place.
    fn wait(&self, place: usize, waker: &Waker) {
        let mut waiting = locked(&self.0);
        if waiting.len() <= place {
            waiting.resize(place + 1, None);
        }
        match &mut waiting[place] {
            Some(present) if present.will_wake(waker) => {}
            present => *present = Some(waker.clone()),
        }
    }

    fn ring(&self) {
        let waiting = std::mem::take(&mut *locked(&self.0));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

/// The answer has arrived, or something else has happened on the way.
impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
