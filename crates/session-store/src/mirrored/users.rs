//! The names of a user's sessions, which are a register of their own, beside those of the sessions.
//!
//! - A name is on the list *before* its session is made. When it is made, the name is marked; if it is not on the list
//!   any more, the session is ended again, before anybody was told of it.
//! - So a name may be struck off at any time, whether its session is being made or not. One that was marked and has no
//!   session any more is struck off by whoever looks; one that was not marked counts as a session for a while, since
//!   it is probably being made.
//! - A cap is kept by the change that adds a name: it looks at how many there are at that moment. Whoever finds the list
//!   full looks which of the sessions have ended, or ends the oldest, and tries again without those.

use core::time::Duration;
use std::collections::BTreeSet;

use purlin_core::Placement;
use sha2::{Digest, Sha256};

use super::quorum::gather;
use super::register::{Step, View};
use super::row::{Member, Value};
use super::{Found, Mirrored, UNLIMITED};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionKey;
use crate::store::{BoxFuture, Lifetime, SessionStore};
use crate::user::{Cap, UserKey, WhenFull};

/// How long a name counts as a session that is being made.
const MAKING: Duration = Duration::from_secs(2);

/// How often a name is tried to be added to a list that others fill meanwhile.
const ROUNDS: usize = 16;

/// A name on a list, and what there is under it.
enum Stands {
    Lives,
    /// It is being made, or was to be.
    Pending,
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
                    Stands::Ended => {
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
                self.bury(&doomed.key).await?;
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
        let list = list_key(user)?;
        let view = self.view(&self.replicas(&list)?, &list).await?;
        let members = aged(&view);
        let mut living = Vec::new();
        let mut ended = Vec::new();
        for (member, stands) in self.all_stand(user, members).await? {
            match stands {
                Stands::Lives => living.push(member.key),
                Stands::Pending => {}
                Stands::Ended => ended.push(member.key),
            }
        }
        if !ended.is_empty() {
            self.strike(user, &ended).await;
        }
        Ok(living)
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
                Found::Live { .. } | Found::Rotated { .. } | Found::Dead => Stands::Ended,
                // What was there once and is no more has expired.
                Found::Nothing if member.is_made || member.since > MAKING => Stands::Ended,
                Found::Nothing => Stands::Pending,
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
        let list = list_key(user)?;
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
fn list_key(user: &UserKey) -> Result<SessionKey, StoreError> {
    let digest = Sha256::new()
        .chain_update(b"purlin mirrored list\0")
        .chain_update(user.as_bytes())
        .finalize();
    let mut bytes = [1; SessionKey::LEN];
    bytes[1..].copy_from_slice(&digest);
    SessionKey::from_bytes(&bytes).ok_or_else(|| StoreError::new(ErrorKind::Other))
}
