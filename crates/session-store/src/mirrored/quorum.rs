//! Asking several stores at once.

use core::future::poll_fn;
use core::task::Poll;

use crate::error::StoreError;
use crate::store::BoxFuture;

/// What came back before it was clear how it ends.
pub(super) struct Gathered<T> {
    /// The store's number, and its answer.
    pub(super) agreed: Vec<(usize, T)>,
    pub(super) refused: Vec<T>,
    pub(super) errors: Vec<StoreError>,
    /// How many had not answered.
    pub(super) unfinished: usize,
}

impl<T> Gathered<T> {
    pub(super) fn is_quorum(&self, need: usize) -> bool {
        self.agreed.len() >= need
    }
}

type Asked<'a, T> = Option<BoxFuture<'a, Result<T, StoreError>>>;

/// Polls all calls until `need` of them agreed, or so many did not that they cannot. The others are dropped then: what
/// was sent was sent.
///
/// Every call is polled at each wake. There are as many as a session has copies, which is a handful.
pub(super) async fn gather<T>(
    calls: Vec<BoxFuture<'_, Result<T, StoreError>>>,
    need: usize,
    agrees: impl Fn(&T) -> bool,
) -> Gathered<T> {
    let mut calls: Vec<Asked<'_, T>> = calls.into_iter().map(Some).collect();
    let mut gathered = Gathered {
        agreed: Vec::with_capacity(calls.len()),
        refused: Vec::new(),
        errors: Vec::new(),
        unfinished: calls.len(),
    };
    poll_fn(|cx| {
        for (idx, slot) in calls.iter_mut().enumerate() {
            let Some(call) = slot else { continue };
            let Poll::Ready(answer) = call.as_mut().poll(cx) else {
                continue;
            };
            *slot = None;
            gathered.unfinished -= 1;
            match answer {
                Ok(answer) if agrees(&answer) => gathered.agreed.push((idx, answer)),
                Ok(answer) => gathered.refused.push(answer),
                Err(error) => gathered.errors.push(error),
            }
        }
        let agreed = gathered.agreed.len();
        if agreed >= need || agreed + gathered.unfinished < need {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    gathered
}
