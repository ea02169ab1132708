//! The names of a user's sessions, which are a register of their own, beside those of the sessions.
//!
//! - A name is on the list *before* its session is made. When it is made, the name is marked; if it is not on the list
//!   any more, the session is ended again, before anybody was told of it.
//! - A name is struck off only once its session cannot live under it any more. One that was marked and has no session is
//!   struck off by whoever looks; one that was not marked counts as a session for a while, since it is probably being
//!   made. After that the key is ended before the name goes, so that whoever was held up in the making finds it dead.
//! - A cap is kept by the change that adds a name: it looks at how many there are at that moment. Whoever finds the list
//!   full looks which of the sessions have ended, or ends the oldest, and tries again without those.

use core::time::Duration;
use std::collections::BTreeSet;

use purlin_core::Placement;
use sha2::{Digest, Sha256};

use super::find::Found;
use super::quorum::gather;
use super::register::{Attempt, Step, View};
use super::row::{Member, Value};
use super::{Mirrored, TO_THE_END, UNLIMITED};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{BoxFuture, Lifetime, SessionStore};
use crate::user::{Cap, UserKey, WhenFull};

/// How long a name counts as a session that is being made.
const MAKING: Duration = Duration::from_secs(2);

/// How long whoever makes a session may be held up and still find that it must not be made any more. Longer, and it
/// finds its name struck off.
const HELD_UP: Duration = Duration::from_secs(60 * 60);

/// How often a name is tried to be added to a list that others fill meanwhile.
const ROUNDS: usize = 16;

/// A name on a list, and what there is under it.
enum Stands {
    Lives,
    /// It has moved to this key, perhaps since the list was read.
    Moved(SessionKey),
    /// It is being made.
    Pending,
    /// It was to be made, and that takes too long: nothing is there yet, or what a rotation prepared.
    Stuck {
        is_prepared: bool,
    },
    Ended,
}

impl<S: SessionStore, P: Placement + Send + Sync> Mirrored<S, P> {
    /// Lists a session that is about to be made. Whether the user may have it.
    pub(super) async fn enlist(
        &self,
        user: &UserKey,
        key: &SessionKey,
        absolute: Duration,
        cap: Option<Cap>,
    ) -> Result<bool, StoreError> {
        let limit = cap.map_or(usize::MAX, |cap| cap.limit());
        let mut struck = BTreeSet::new();
        for _ in 0..ROUNDS {
            let Err(full) = self.add(user, key, absolute, limit, &struck).await? else {
                return Ok(true);
            };
            let mut counted = Vec::new();
            for (member, stands) in self.all_stand(user, full).await? {
                match stands {
                    Stands::Lives | Stands::Pending => counted.push(member),
                    Stands::Stuck { .. } => {
                        if self.forestall(&member.key).await? {
                            struck.insert(member.key);
                        } else {
                            counted.push(member);
                        }
                    }
                    // What has moved is on the list by its new name.
                    Stands::Moved(_) | Stands::Ended => {
                        struck.insert(member.key);
                    }
                }
            }
            let over = (counted.len() + 1).saturating_sub(limit);
            if over == 0 {
                continue;
            }
            if cap.is_some_and(|cap| cap.when_full == WhenFull::Reject) {
                return Ok(false);
            }
            // The nearest deadline first: the most is left of the list's time when it comes.
            counted.sort_by_key(|member| (core::cmp::Reverse(member.until), member.key));
            for doomed in counted.iter().take(over) {
                // If it moves at this moment, it is on the list by its new name.
                self.end(&doomed.key).await?;
                struck.insert(doomed.key);
            }
        }
        Err(StoreError::new(ErrorKind::Unavailable).with_source("sessions come too fast"))
    }

    /// Marks a session that was made. False if its name has been struck off.
    pub(super) async fn confirm(
        &self,
        user: &UserKey,
        key: &SessionKey,
    ) -> Result<bool, StoreError> {
        self.change_list(user, None, |members, _| {
            match members.iter().position(|member| member.key == *key) {
                None => Change::Nothing(false),
                Some(idx) if members[idx].is_made => Change::Nothing(true),
                Some(idx) => {
                    let mut members = members.to_vec();
                    members[idx].is_made = true;
                    Change::To(members, true)
                }
            }
        })
        .await
    }

    /// Strikes names off, as well as it goes: what stays is struck off by whoever finds it.
    pub(super) async fn strike(&self, user: &UserKey, keys: &[SessionKey]) {
        let struck = self.change_list(user, None, |members, _| {
            let mut left = members.to_vec();
            left.retain(|member| !keys.contains(&member.key));
            if left.len() == members.len() {
                Change::Nothing(())
            } else {
                Change::To(left, ())
            }
        });
        let _ = struck.await;
    }

    /// The user's sessions that live.
    pub(super) async fn living(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let list = list_key(user);
        let view = self.view(&self.replicas(&list)?, &list).await?;
        let members = aged(&view);
        let mut living = BTreeSet::new();
        let mut ended = Vec::new();
        for (member, stands) in self.all_stand(user, members).await? {
            match stands {
                Stands::Lives => {
                    living.insert(member.key);
                }
                Stands::Moved(by) => {
                    // The list may have been read before its new name was on it, and the new key before it moved there.
                    ended.push(member.key);
                    let live = self.follow(by).await?;
                    living.extend(
                        live.filter(|(_, owner)| *owner == Some(*user))
                            .map(|(key, _)| key),
                    );
                }
                // A rotation may still happen, and then the session is known by this name alone.
                Stands::Pending | Stands::Stuck { is_prepared: true } => {}
                Stands::Stuck { is_prepared: false } => {
                    if self.forestall_making(&member.key).await? {
                        ended.push(member.key);
                    }
                }
                Stands::Ended => ended.push(member.key),
            }
        }
        if !ended.is_empty() {
            self.strike(user, &ended).await;
        }
        Ok(living.into_iter().collect())
    }

    /// Ends what lives under a key, or is to be made there.
    async fn end(&self, key: &SessionKey) -> Result<(), StoreError> {
        let is_open = |value: &Option<Value>| {
            matches!(
                value,
                None | Some(Value::Live { .. } | Value::Prepared { .. })
            )
        };
        self.end_if(key, is_open).await.map(drop)
    }

    /// Ends a key under which a session is to be made. Whether it has ended. A rotation that happens at this very moment
    /// ends with it.
    async fn forestall(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let is_to_be_made =
            |value: &Option<Value>| matches!(value, None | Some(Value::Prepared { .. }));
        self.end_if(key, is_to_be_made).await
    }

    /// Ends a key under which nothing was made yet. Whether it has ended.
    async fn forestall_making(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.end_if(key, Option::is_none).await
    }

    async fn end_if(
        &self,
        key: &SessionKey,
        is_to_end: impl Fn(&Option<Value>) -> bool + Send + Sync,
    ) -> Result<bool, StoreError> {
        let end = |view: &View, attempt: Attempt| match &view.value {
            value if is_to_end(value) => Step::Write {
                value: Value::Dead {
                    write: attempt.write,
                },
                lifetime: TO_THE_END,
                then: true,
            },
            value => Step::Answer(matches!(value, Some(Value::Dead { .. }))),
        };
        let replicas = self.replicas(key)?;
        let birth = Lifetime::new(HELD_UP, HELD_UP);
        self.change(&replicas, key, Some(birth), end).await
    }

    /// Calls for several keys at once, and gives the answers in their order.
    pub(super) async fn at_once<'a, T: Send + 'a, F>(
        &'a self,
        keys: &'a [SessionKey],
        call: impl Fn(&'a SessionKey) -> F,
    ) -> Result<Vec<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>> + Send + 'a,
    {
        let mut answers = Vec::with_capacity(keys.len());
        // Every call of a share is polled at each wake, so shares are small.
        for share in keys.chunks(16) {
            let calls = share
                .iter()
                .map(|key| Box::pin(call(key)) as BoxFuture<'a, _>);
            let mut gathered = gather(calls.collect(), share.len(), |_| true).await;
            if let Some(error) = gathered.errors.pop() {
                return Err(error);
            }
            gathered.agreed.sort_by_key(|(idx, _)| *idx);
            answers.extend(gathered.agreed.into_iter().map(|(_, answer)| answer));
        }
        Ok(answers)
    }

    /// Adds a name, if there are fewer than `limit` without those struck off; or says which there are, if not.
    async fn add(
        &self,
        user: &UserKey,
        key: &SessionKey,
        absolute: Duration,
        limit: usize,
        struck: &BTreeSet<SessionKey>,
    ) -> Result<Result<(), Vec<Member>>, StoreError> {
        self.change_list(user, Some(absolute), |members, left| {
            if members.iter().any(|member| member.key == *key) {
                return Change::Nothing(Ok(()));
            }
            let mut next = members.to_vec();
            next.retain(|member| !struck.contains(&member.key));
            if next.len() >= limit {
                return Change::Nothing(Err(with_age(&next, left)));
            }
            next.push(Member {
                key: *key,
                since: left,
                until: left.saturating_sub(absolute),
                is_made: false,
            });
            Change::To(next, Ok(()))
        })
        .await
    }

    async fn all_stand(
        &self,
        user: &UserKey,
        members: Vec<Member>,
    ) -> Result<Vec<(Member, Stands)>, StoreError> {
        let keys: Vec<SessionKey> = members.iter().map(|member| member.key).collect();
        let found = self.at_once(&keys, |key| self.find(key)).await?;
        let stand = |(member, found): (Member, Found)| {
            let stands = match found {
                Found::Live { owner, .. } if owner == Some(*user) => Stands::Lives,
                Found::Rotated { by, .. } => Stands::Moved(by),
                Found::Live { .. } | Found::Dead => Stands::Ended,
                // What was there once and is no more has expired.
                Found::Nothing if member.is_made => Stands::Ended,
                Found::Nothing | Found::Prepared if member.since <= MAKING => Stands::Pending,
                Found::Nothing => Stands::Stuck { is_prepared: false },
                Found::Prepared => Stands::Stuck { is_prepared: true },
            };
            (member, stands)
        };
        Ok(members.into_iter().zip(found).map(stand).collect())
    }

    /// Changes a user's list by a function of it and of what is left of its time. `keeps` is how long the list must
    /// last at least, if the change may make one.
    async fn change_list<T: Send>(
        &self,
        user: &UserKey,
        keeps: Option<Duration>,
        change: impl Fn(&[Member], Duration) -> Change<T> + Send + Sync,
    ) -> Result<T, StoreError> {
        let list = list_key(user);
        let lifetime = Lifetime::new(keeps.unwrap_or_default(), Duration::MAX);
        let birth = keeps.map(|keeps| Lifetime::new(keeps, UNLIMITED));
        let change = |view: &View, _| {
            let (members, left) = match &view.value {
                Some(Value::List(members)) => (&members[..], view.remaining.absolute),
                Some(_) | None => (&[][..], UNLIMITED),
            };
            match change(members, left) {
                Change::Nothing(answer) => Step::Answer(answer),
                Change::To(members, then) => Step::Write {
                    value: Value::List(members),
                    lifetime,
                    then,
                },
            }
        };
        let replicas = self.replicas(&list)?;
        self.change(&replicas, &list, birth, change).await
    }
}

/// What becomes of a list.
enum Change<T> {
    Nothing(T),
    To(Vec<Member>, T),
}

/// The members of a list, each with its age in place of the moment since which it is there.
fn aged(view: &View) -> Vec<Member> {
    match &view.value {
        Some(Value::List(members)) => with_age(members, view.remaining.absolute),
        Some(_) | None => Vec::new(),
    }
}

fn with_age(members: &[Member], left: Duration) -> Vec<Member> {
    let aged = |member: &Member| Member {
        since: member.since.saturating_sub(left),
        ..*member
    };
    members.iter().map(aged).collect()
}

/// The key under which stores have the list. No session has it, for it is no hash of 32 bytes.
fn list_key(user: &UserKey) -> SessionKey {
    let digest = Sha256::new()
        .chain_update(b"purlin mirrored list\0")
        .chain_update(user.as_bytes())
        .finalize();
    SessionKey::of_digest(digest.into())
}
