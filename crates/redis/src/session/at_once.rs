//! Several calls under way at the same time, which the one connection sends in a row without waiting in between.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// How many calls are under way at most. More wait for their turn, so that one user's list does not hold up everybody.
const AT_ONCE: usize = 64;

/// What the calls answer, in their order, or the first failure.
pub(super) async fn at_once<T, E, F: Future<Output = Result<T, E>>>(
    calls: Vec<F>,
) -> Result<Vec<T>, E> {
    let mut answers = Vec::new();
    let mut calls = calls.into_iter();
    loop {
        let share: Vec<F> = calls.by_ref().take(AT_ONCE).collect();
        if share.is_empty() {
            return Ok(answers);
        }
        for answer in share_at_once(share).await {
            answers.push(answer?);
        }
    }
}

/// A future, and what it came to.
type Waiting<F> = (Pin<Box<F>>, Option<<F as Future>::Output>);

async fn share_at_once<F: Future>(share: Vec<F>) -> Vec<F::Output> {
    let mut waiting: Vec<Waiting<F>> = share
        .into_iter()
        .map(|call| (Box::pin(call), None))
        .collect();
    poll_fn(|cx| {
        let mut all_done = true;
        for (call, answer) in waiting.iter_mut().filter(|(_, answer)| answer.is_none()) {
            match call.as_mut().poll(cx) {
                Poll::Ready(done) => *answer = Some(done),
                Poll::Pending => all_done = false,
            }
        }
        if all_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    waiting
        .into_iter()
        .filter_map(|(_, answer)| answer)
        .collect()
}
