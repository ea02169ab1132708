//! That there is no value, kept as an answer.

use alloc::borrow::ToOwned;
use core::convert::Infallible;
use core::future::Future;
use core::hash::{BuildHasher, Hash};
use core::pin::pin;
use core::time::Duration;

use equivalent::Equivalent;
use purlin_core::Clock;

use super::Cache;
use super::lead::{Kept, Lead, Loaded};
use super::refresh::Refresh;

/// What a source says of a key, as the value of a cache that keeps that there is none (*negative caching*).
///
/// It is an entry like any other: it takes its part of the limit, expires, and a write to the key replaces or removes it. So who
/// inserts a row removes its key, or inserts [`Found`](Answer::Found), and nobody is told any more that there is none.
///
/// ```
/// use std::time::Duration;
/// use purlin_lru_cache::{Answer, Cache, Negative};
///
/// #[derive(Clone, Debug, PartialEq)]
/// struct Down;
///
/// let users: Cache<u64, Answer<String, Down>> =
///     Cache::builder().entry_limit(10_000).time_to_live(Duration::from_secs(600)).build();
/// // Half a minute for who does not exist, and a second for a table that does not answer.
/// let negative = Negative::absent_for(Duration::from_secs(30)).failed_for(Duration::from_secs(1));
///
/// assert_eq!(users.get_or_ask(&17, negative, |_| Ok(None)), Ok(None));
/// // Nobody is asked.
/// assert_eq!(users.get_or_ask(&17, negative, |_| unreachable!()), Ok(None));
/// users.insert(17, Answer::Found("Aroha".to_owned()));
/// assert_eq!(users.get_or_ask(&17, negative, |_| Err(Down)), Ok(Some("Aroha".to_owned())));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: it says a value, that there is none, or nothing"
)]
pub enum Answer<V, E = Infallible> {
    /// A value.
    Found(V),
    /// That there is none.
    Absent,
    /// It could not say.
    Failed(E),
}

impl<V, E> Answer<V, E> {
    /// The value, `None` where there is none, or the error.
    ///
    /// # Errors
    ///
    /// What the source failed with.
    pub fn into_result(self) -> Result<Option<V>, E> {
        match self {
            Answer::Found(value) => Ok(Some(value)),
            Answer::Absent => Ok(None),
            Answer::Failed(error) => Err(error),
        }
    }
}

impl<V, E> From<Result<Option<V>, E>> for Answer<V, E> {
    fn from(asked: Result<Option<V>, E>) -> Self {
        match asked {
            Ok(Some(value)) => Answer::Found(value),
            Ok(None) => Answer::Absent,
            Err(error) => Answer::Failed(error),
        }
    }
}

/// How long an answer without a value is kept; each call says so for itself. Where it says nothing, and by default, the answer goes to
/// those who waited for it, and is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[must_use = "it says how long, and does nothing"]
pub struct Negative {
    absent: Duration,
    failed: Duration,
}

impl Negative {
    /// Keeps for so long that there is no value.
    pub const fn absent_for(lasts: Duration) -> Self {
        Negative {
            absent: lasts,
            failed: Duration::ZERO,
        }
    }

    /// Keeps an error for so long, in which nobody asks again. Not longer than a caller would wait to try once more.
    pub const fn failed_for(self, lasts: Duration) -> Self {
        Negative {
            failed: lasts,
            ..self
        }
    }

    fn keep<V, E>(self, asked: Result<Option<V>, E>) -> Loaded<Answer<V, E>> {
        let answer = Answer::from(asked);
        match answer {
            Answer::Found(_) => Loaded::usual(answer),
            Answer::Absent => Loaded::living((answer, self.absent)),
            Answer::Failed(_) => Loaded::living((answer, self.failed)),
        }
    }
}

/// # Negative caching
///
/// For a cache of [`Answer`]s.
impl<K, V, E, S, C> Cache<K, Answer<V, E>, S, C>
where
    K: Hash + Eq,
    V: Clone,
    E: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// The value of a key, or what is known instead of it; asked for, as [`get_or_load`](Cache::get_or_load) loads, if nothing is.
    ///
    /// # Errors
    ///
    /// What the source failed with: just now, for all who waited for it, or as long ago as errors are kept.
    ///
    /// # Panics
    ///
    /// If `ask` does, or if it asks for the key it is loading.
    pub fn get_or_ask<Q, F>(&self, key: &Q, negative: Negative, ask: F) -> Result<Option<V>, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&Q) -> Result<Option<V>, E>,
    {
        let kept = |asked| Ok(negative.keep(asked));
        let answer: Result<_, Infallible> = self.load::<_, _, _, _, Kept>(key, ask, kept);
        let Ok(answer) = answer;
        answer.into_result()
    }

    /// [`get_or_ask`](Cache::get_or_ask), waiting as futures do.
    ///
    /// # Errors
    ///
    /// As with [`get_or_ask`](Cache::get_or_ask).
    ///
    /// # Panics
    ///
    /// If `ask` does, or if it asks for the key it is loading.
    ///
    /// # Cancel safety
    ///
    /// As with [`get_or_load_async`](Cache::get_or_load_async).
    pub async fn get_or_ask_async<'k, Q, F, L>(
        &self,
        key: &'k Q,
        negative: Negative,
        ask: F,
    ) -> Result<Option<V>, E>
    where
        Q: Hash + Equivalent<K> + ToOwned<Owned = K> + ?Sized,
        F: FnOnce(&'k Q) -> L,
        L: Future<Output = Result<Option<V>, E>>,
    {
        let kept = |asked| Ok(negative.keep(asked));
        let answer: Result<_, Infallible> =
            self.load_async::<_, _, _, _, Kept>(key, ask, kept).await;
        let Ok(answer) = answer;
        answer.into_result()
    }
}

impl<K, V, E, S, C> Refresh<'_, K, Answer<V, E>, S, C>
where
    K: Hash + Eq + Clone,
    V: Clone,
    E: Clone,
    S: BuildHasher,
    C: Clock,
{
    /// [`run`](Refresh::run) that asks the source of a cache of [`Answer`]s. `None` if there is nothing to do any more. An error goes
    /// to those who waited because the older answer was over, and leaves that as it is.
    ///
    /// # Errors
    ///
    /// What the source failed with.
    ///
    /// # Panics
    ///
    /// As [`run`](Refresh::run).
    pub fn ask(
        self,
        negative: Negative,
        ask: impl FnOnce(&K) -> Result<Option<V>, E>,
    ) -> Option<Result<Option<V>, E>> {
        let lead = self.begin()?;
        let asked = lead.run(|| ask(lead.key()));
        Some(hear(lead, negative, asked))
    }

    /// [`run_async`](Refresh::run_async) that asks the source of a cache of [`Answer`]s, as [`ask`](Refresh::ask) does.
    ///
    /// # Errors
    ///
    /// What the source failed with.
    ///
    /// # Panics
    ///
    /// As [`run_async`](Refresh::run_async).
    ///
    /// # Cancel safety
    ///
    /// As [`run_async`](Refresh::run_async).
    pub async fn ask_async(
        self,
        negative: Negative,
        ask: impl Future<Output = Result<Option<V>, E>>,
    ) -> Option<Result<Option<V>, E>> {
        let asking = pin!(ask);
        let lead = self.begin()?;
        let asked = lead.run_async(asking).await;
        Some(hear(lead, negative, asked))
    }
}

/// Keeps the answer to a refresh, but for an error.
fn hear<K, V, E, S, C>(
    lead: Lead<'_, K, Answer<V, E>, S, C>,
    negative: Negative,
    asked: Result<Option<V>, E>,
) -> Result<Option<V>, E>
where
    K: Hash + Eq + Clone,
    V: Clone,
    E: Clone,
    S: BuildHasher,
    C: Clock,
{
    match asked {
        Ok(_) => {
            let key = lead.key().clone();
            lead.land(key, negative.keep(asked)).into_result()
        }
        Err(error) => {
            lead.give_unkept(Answer::Failed(error.clone()));
            Err(error)
        }
    }
}
