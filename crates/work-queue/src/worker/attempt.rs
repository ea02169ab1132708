use core::future::Future;
use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use purlin_core::{Rng, Tick, Timer};

use super::Settings;
use super::failure::{Failure, Verdict};
use super::heartbeat::Heartbeat;
use super::race::{CatchPanic, First, race};
use crate::embedded::Signal;
use crate::{LeaseError, LeaseId, Leased, Nack, Nacked, QueueStore};

/// What the attempts of one worker share.
pub(super) struct Shared<Q, H, T> {
    pub(super) queue: Q,
    handler: H,
    timer: T,
    settings: Settings,
    /// Set before `interrupt` rings.
    interrupted: AtomicBool,
    interrupt: Signal,
}

/// How an attempt ended.
pub(super) enum Ended {
    Done,
    Failed { panicked: bool, buried: bool },
    Released,
    Lost,
}

impl<Q, H, T> Shared<Q, H, T> {
    pub(super) fn new(queue: Q, handler: H, timer: T, settings: Settings) -> Self {
        Shared {
            queue,
            handler,
            timer,
            settings,
            interrupted: AtomicBool::new(false),
            interrupt: Signal::new(),
        }
    }

    /// Ends all attempts at their next `await`.
    pub(super) fn interrupt(&self) {
        // Release: pairs with the Acquire load in `attempt`, which looks at it after it has begun to listen. So either
        // it sees the flag or it hears the ring.
        self.interrupted.store(true, Ordering::Release);
        self.interrupt.ring();
    }
}

/// Runs the handler on one job, keeps its lease meanwhile, and settles it.
pub(super) async fn attempt<Q, H, F, T>(
    shared: Arc<Shared<Q, H, T>>,
    leased: Leased,
    asked: Tick,
    mut rng: Rng,
) -> Ended
where
    Q: QueueStore,
    H: Fn(Leased) -> F,
    F: Future<Output = Result<(), Failure>>,
    T: Timer,
{
    let shared = &*shared;
    let (lease, number) = (leased.lease(), leased.attempt());
    let mut beat = Heartbeat::new(asked, leased.granted());
    if beat.is_over(shared.timer.now()) {
        return Ended::Lost;
    }
    let interrupt = shared.interrupt.changed();
    if shared.interrupted.load(Ordering::Acquire) {
        return release(shared, lease, beat.ends()).await;
    }
    // The handler is called inside the future, so that a panic of the call itself is caught too.
    let work = CatchPanic::new(async { (shared.handler)(leased).await });
    let result = match race(work, race(interrupt, keep(shared, lease, &mut beat))).await {
        First::Left(result) => result,
        First::Right(First::Left(())) => return release(shared, lease, beat.ends()).await,
        First::Right(First::Right(())) => return Ended::Lost,
    };
    let (failure, panicked) = match result {
        Ok(Ok(())) => {
            let acked = settle(shared, beat.ends(), || shared.queue.ack(lease)).await;
            return acked.map_or(Ended::Lost, |()| Ended::Done);
        }
        Ok(Err(failure)) => (failure, false),
        Err(panic) => (Failure::new(panic), true),
    };
    let (text, verdict) = failure.into_parts();
    let nack = match verdict {
        Verdict::Backoff => Nack::backoff(&shared.settings.backoff, number, &mut rng),
        Verdict::RetryAfter(delay) => Nack::retry_after(delay),
        Verdict::Never => Nack::dead_letter(),
    };
    let nack = nack.with_error(text);
    let nacked = settle(shared, beat.ends(), || {
        shared.queue.nack(lease, nack.clone())
    });
    match nacked.await {
        Some(nacked) => Ended::Failed {
            panicked,
            buried: nacked == Nacked::Dead,
        },
        None => Ended::Lost,
    }
}

/// Extends the lease again and again. Completes when it is lost.
async fn keep<Q: QueueStore, H, T: Timer>(
    shared: &Shared<Q, H, T>,
    lease: LeaseId,
    beat: &mut Heartbeat,
) {
    let timer = &shared.timer;
    loop {
        timer.sleep_until(beat.next()).await;
        let asked = timer.now();
        if beat.is_over(asked) {
            return;
        }
        let extend = shared.queue.extend(lease, shared.settings.lease);
        // A store that does not answer must not hide that the lease has ended.
        match race(extend, timer.sleep_until(beat.ends())).await {
            First::Left(Ok(left)) => beat.extended(asked, left),
            First::Left(Err(LeaseError::LeaseLost { .. })) | First::Right(()) => return,
            First::Left(Err(LeaseError::Store(_))) => beat.failed(timer.now()),
        }
    }
}

async fn release<Q: QueueStore, H, T: Timer>(
    shared: &Shared<Q, H, T>,
    lease: LeaseId,
    ends: Tick,
) -> Ended {
    let nack = || shared.queue.nack(lease, Nack::release());
    let released = settle(shared, ends, nack).await;
    released.map_or(Ended::Lost, |_| Ended::Released)
}

/// Tries to settle until it works, the lease is lost, or the store says that it is no use.
async fn settle<Q, H, T: Timer, R, F>(
    shared: &Shared<Q, H, T>,
    ends: Tick,
    mut call: impl FnMut() -> F,
) -> Option<R>
where
    F: Future<Output = Result<R, LeaseError>>,
{
    let timer = &shared.timer;
    let mut pause = FIRST_PAUSE;
    while timer.now() < ends {
        let error = match race(call(), timer.sleep_until(ends)).await {
            First::Left(Ok(settled)) => return Some(settled),
            First::Left(Err(LeaseError::Store(error))) => error,
            First::Left(Err(LeaseError::LeaseLost { .. })) | First::Right(()) => return None,
        };
        // Settling is idempotent: if it took effect before the answer was lost, the next call says that the lease is.
        let least = error.retry().delay(true)?;
        let next = timer.now().after(least.max(pause));
        timer.sleep_until(next.min(ends)).await;
        pause = pause.saturating_mul(2);
    }
    None
}

/// How long to leave a store alone that failed to settle, at first.
const FIRST_PAUSE: core::time::Duration = core::time::Duration::from_millis(20);
