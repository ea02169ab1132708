//! The list of a user's sessions, which lives on another key than they do, and maybe on another server.
//!
//! No script can touch both, so the order of the steps keeps the contract:
//!
//! - A session is listed *before* it is made, and taken off *after* it has ended. A crash in between leaves a name on
//!   the list without a session, and never a session that is on no list.
//! - Such a name is dropped by whoever finds it, but not before two minutes have passed, since its session may be about
//!   to be made. A row that is made later than one minute after its listing is refused by the script that makes it, so
//!   that a process that slept through these two minutes cannot make a session that is on no list.
//! - Ending all sessions of a user leaves a tombstone also where a name has no session yet. Whoever is about to make it
//!   is told that the key is taken.
//! - A cap is asked of the list, in the script that adds to it. Names without a session do not count: at a cap, a
//!   tombstone is left where they have none, so that they never get one, and they are dropped. Only those listed within
//!   the last fifth of a second are left alone, and count, since they are probably being made.
//!   Where one more makes too many, those that give way are ended before the new one is made. Each login counts all
//!   that were listed before it, so the last of those that log in at once has made room for all.
//! - A session that is used puts itself back on the list whenever its idle deadline is written, should the list have
//!   been lost.

use std::time::Duration;

use purlin_session_store::{Cap, ErrorKind, SessionKey, StoreError, UserKey, WhenFull};
use redis::aio::ConnectionLike;
use redis::{Script, Value};

use super::RedisSessionStore;
use super::at_once::at_once;
use super::owned::{Member, Owned};
use super::scripts::{Reply, decimal, millis, millis_or_never};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisSessionStore<C> {
    /// Lists a session that is about to be made. None if the user has as many as they may.
    pub(super) async fn enlist(
        &self,
        user: UserKey,
        key: &SessionKey,
        absolute: Option<Duration>,
        cap: Option<Cap>,
        in_place_of: Option<Member>,
    ) -> Result<Option<Owned>, StoreError> {
        let max = cap.map_or(0, |cap| cap.max.get());
        let rejects: &[u8] = match cap.map(|cap| cap.when_full) {
            Some(WhenFull::Reject) => b"1",
            Some(WhenFull::EvictOldest) | None => b"",
        };
        let place = in_place_of.map(|member| member.bytes()).unwrap_or_default();
        let args = [
            &key.as_bytes()[..],
            &decimal(millis_or_never(absolute)),
            &decimal(max),
            rejects,
            &place,
        ];
        for _ in 0..ROOM_MADE {
            let answer = self.run_list(&self.scripts().enlist, &user, &args).await?;
            match Enlisted::parse(answer)? {
                Enlisted::Listed { since, others } => {
                    let owned = Owned { user, since };
                    if let (Some(cap), false) = (cap, others.is_empty()) {
                        let evicted = self.evict(&user, others, since, cap).await;
                        if let Err(error) = evicted {
                            self.withdraw(&owned, key).await;
                            return Err(error);
                        }
                    }
                    return Ok(Some(owned));
                }
                Enlisted::Full { now, members } => {
                    let n_listed = members.len();
                    if self.counted(&user, members, now).await?.len() == n_listed {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(None)
    }

    /// Takes a session off the list of its user. That may fail: the name is dropped when somebody finds it.
    pub(super) async fn unlist(&self, owned: &Owned, key: &SessionKey) {
        self.forget(&owned.user, &[(b'x', owned.member(key))]).await;
    }

    /// Takes a session off the list that was not made after all. One of this key that lives stays: of two calls within a
    /// millisecond the second finds itself listed by the first.
    pub(super) async fn withdraw(&self, owned: &Owned, key: &SessionKey) {
        let stands = self.stands(&owned.user, &owned.member(key)).await;
        if !matches!(stands, Ok(Stands::Lives) | Err(_)) {
            self.unlist(owned, key).await;
        }
    }

    /// Puts a session that lives back on the list.
    pub(super) async fn relist(
        &self,
        owned: &Owned,
        key: &SessionKey,
        absolute: Duration,
    ) -> Result<(), StoreError> {
        let left = (absolute != Duration::MAX).then_some(absolute);
        let args: [&[u8]; 2] = [&owned.member(key).bytes(), &decimal(millis_or_never(left))];
        self.run_list(&self.scripts().relist, &owned.user, &args)
            .await?;
        Ok(())
    }

    pub(super) async fn listed(&self, user: &UserKey) -> Result<Vec<Member>, StoreError> {
        let answer = self.run_list(&self.scripts().list, user, &[]).await?;
        members(&answer)
    }

    /// The user's sessions that live.
    pub(super) async fn living(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let mut living = Vec::new();
        let mut dropped = Vec::new();
        for (member, stands) in self.all_stand(user, self.listed(user).await?).await? {
            match stands {
                Stands::Lives => living.push(member.key),
                Stands::Pending => {}
                // Whether it is dropped is for the list's server to say, whose clock is the list's.
                Stands::Unknown => dropped.push((b'?', member)),
                Stands::Ended => dropped.push((b'x', member)),
            }
        }
        self.forget(user, &dropped).await;
        Ok(living)
    }

    /// Those of the listed that count against a cap, in their order. The others are off the list, and get no session.
    async fn counted(
        &self,
        user: &UserKey,
        members: Vec<Member>,
        now: [u8; 8],
    ) -> Result<Vec<Member>, StoreError> {
        let retention = decimal(millis(self.settings().retention));
        let mut counted = Vec::new();
        let mut dropped = Vec::new();
        for (member, stands) in self.all_stand(user, members).await? {
            let age_ms = u64::from_be_bytes(now).saturating_sub(u64::from_be_bytes(member.since));
            let ended = match stands {
                Stands::Lives | Stands::Pending => false,
                Stands::Ended => true,
                Stands::Unknown if age_ms < MAKING_MS => false,
                Stands::Unknown => {
                    let mark = &self.scripts().mark;
                    let reply = self.run(mark, &member.key, &[&retention]).await?;
                    matches!(reply, Reply::Done { .. } | Reply::Deleted)
                }
            };
            if ended {
                dropped.push((b'x', member));
            } else {
                counted.push(member);
            }
        }
        self.forget(user, &dropped).await;
        Ok(counted)
    }

    async fn all_stand(
        &self,
        user: &UserKey,
        members: Vec<Member>,
    ) -> Result<Vec<(Member, Stands)>, StoreError> {
        let looks = members
            .iter()
            .map(|member| self.stands(user, member))
            .collect();
        let stand = at_once(looks).await?;
        Ok(members.into_iter().zip(stand).collect())
    }

    async fn stands(&self, user: &UserKey, member: &Member) -> Result<Stands, StoreError> {
        let mut reply = self.peek(&member.key).await?;
        if let Reply::Prepared(from) = reply {
            if !self.settle(&member.key, &from).await? {
                return Ok(Stands::Pending);
            }
            reply = self.peek(&member.key).await?;
        }
        let owned = Owned {
            user: *user,
            since: member.since,
        };
        Ok(match reply {
            Reply::Live {
                owned: Some(of), ..
            } if of == owned => Stands::Lives,
            Reply::Live { .. } | Reply::Rotated { .. } | Reply::Deleted => Stands::Ended,
            Reply::Nothing => Stands::Unknown,
            Reply::Prepared(_) | Reply::Done { .. } | Reply::Committed(_) | Reply::Stale => {
                Stands::Pending
            }
        })
    }

    /// Ends the first of those listed, so that with one more there are as many as may be.
    async fn evict(
        &self,
        user: &UserKey,
        others: Vec<Member>,
        now: [u8; 8],
        cap: Cap,
    ) -> Result<(), StoreError> {
        let counted = self.counted(user, others, now).await?;
        let over = (counted.len() + 1).saturating_sub(cap.limit());
        self.end_all(user, &counted[..over.min(counted.len())])
            .await?;
        Ok(())
    }

    /// Those of the listed whose session is not the one that lives under the key `spared`, and whether they are all: some may
    /// be changing at this moment, and must be looked at again. Where there is no session yet, there will be none.
    ///
    /// A key is listed before its session has moved there. So one that has no session yet may be where the spared one
    /// goes, and is not ended as others are, which might come after the move.
    pub(super) async fn all_but(
        &self,
        user: &UserKey,
        listed: Vec<Member>,
        spared: &SessionKey,
    ) -> Result<(Vec<Member>, bool), StoreError> {
        let looks = listed.iter().map(|member| self.whose(user, member, spared));
        let whose = at_once(looks.collect()).await?;
        let (mut others, mut ended, mut is_all) = (Vec::new(), Vec::new(), true);
        for (member, whose) in listed.into_iter().zip(whose) {
            match whose {
                Whose::Other => others.push(member),
                Whose::Spared => {}
                Whose::Nobodys => ended.push((b'x', member)),
                Whose::Unclear => is_all = false,
            }
        }
        self.forget(user, &ended).await;
        Ok((others, is_all))
    }

    async fn whose(
        &self,
        user: &UserKey,
        member: &Member,
        spared: &SessionKey,
    ) -> Result<Whose, StoreError> {
        if member.key == *spared {
            return Ok(Whose::Spared);
        }
        let owned = Owned {
            user: *user,
            since: member.since,
        };
        Ok(match self.peek(&member.key).await? {
            Reply::Live {
                owned: Some(of), ..
            } if of == owned => Whose::Other,
            Reply::Live { .. } | Reply::Rotated { .. } | Reply::Deleted => Whose::Nobodys,
            // It has moved there, and is live now.
            Reply::Prepared(from) if self.settle(&member.key, &from).await? => Whose::Unclear,
            Reply::Prepared(from) if from == *spared => Whose::Spared,
            Reply::Prepared(_) => Whose::Other,
            Reply::Nothing => {
                let retention = decimal(millis(self.settings().retention));
                let mark = &self.scripts().mark;
                match self.run(mark, &member.key, &[&retention]).await? {
                    Reply::Done { .. } | Reply::Deleted => Whose::Nobodys,
                    _ => Whose::Unclear,
                }
            }
            Reply::Done { .. } | Reply::Committed(_) | Reply::Stale => Whose::Unclear,
        })
    }

    /// Ends these sessions of a user, whether they are made already or about to be, and says how many were.
    pub(super) async fn end_all(
        &self,
        user: &UserKey,
        doomed: &[Member],
    ) -> Result<usize, StoreError> {
        let ended = at_once(doomed.iter().map(|member| self.end(&member.key)).collect()).await?;
        let gone: Vec<_> = doomed.iter().map(|member| (b'x', *member)).collect();
        self.forget(user, &gone).await;
        Ok(ended.into_iter().filter(|ended| *ended).count())
    }

    async fn end(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let retention = decimal(millis(self.settings().retention));
        let script = &self.scripts().delete;
        match self
            .run_settled(script, key, &[&retention, b"", b""])
            .await?
        {
            Reply::Done { .. } => Ok(true),
            Reply::Nothing => {
                let reply = self.run(script, key, &[&retention, b"", b"1"]).await?;
                Ok(matches!(reply, Reply::Done { .. }))
            }
            _ => Ok(false),
        }
    }

    async fn forget(&self, user: &UserKey, dropped: &[(u8, Member)]) {
        for share in dropped.chunks(512) {
            let args: Vec<Vec<u8>> = share
                .iter()
                .map(|(mark, member)| [&[*mark][..], &member.bytes()].concat())
                .collect();
            let args: Vec<&[u8]> = args.iter().map(|arg| &arg[..]).collect();
            // What stays on the list is dropped by whoever finds it next.
            let _ = self.run_list(&self.scripts().forget, user, &args).await;
        }
    }

    async fn run_list(
        &self,
        script: &Script,
        user: &UserKey,
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let prefix = &self.settings().prefix;
        let name = [&prefix[..], b"user:", user.as_bytes()].concat();
        self.invoke(script, &name, args).await
    }
}

/// How often names without sessions are dropped from a list that is full. What takes their place meanwhile are logins.
const ROOM_MADE: usize = 4;

/// How long a session is believed to be about to be made after it was listed. Some hundred round trips.
const MAKING_MS: u64 = 200;

/// What a name on a list stands for.
enum Stands {
    Lives,
    /// A rotation prepares it.
    Pending,
    /// Nothing is there: not yet, or no more.
    Unknown,
    Ended,
}

/// Whose session is under a key that is listed for a user, when one session is to be spared.
enum Whose {
    Spared,
    Other,
    /// None, and none will be.
    Nobodys,
    /// It changed between two looks.
    Unclear,
}

enum Enlisted {
    Listed {
        since: [u8; 8],
        /// All others, if there are too many.
        others: Vec<Member>,
    },
    Full {
        now: [u8; 8],
        members: Vec<Member>,
    },
}

impl Enlisted {
    fn parse(value: Value) -> Result<Self, StoreError> {
        let corrupt = || StoreError::new(ErrorKind::Corrupt);
        let Value::Array(parts) = value else {
            return Err(corrupt());
        };
        match &parts[..] {
            [Value::Int(1), Value::BulkString(since), others] => Ok(Enlisted::Listed {
                since: since[..].try_into().map_err(|_| corrupt())?,
                others: members(others)?,
            }),
            [Value::Int(0), Value::BulkString(now), present] => Ok(Enlisted::Full {
                now: now[..].try_into().map_err(|_| corrupt())?,
                members: members(present)?,
            }),
            _ => Err(corrupt()),
        }
    }
}

fn members(value: &Value) -> Result<Vec<Member>, StoreError> {
    let corrupt = || StoreError::new(ErrorKind::Corrupt);
    let Value::Array(parts) = value else {
        return Err(corrupt());
    };
    parts
        .iter()
        .map(|part| match part {
            Value::BulkString(bytes) => Member::parse(bytes).ok_or_else(corrupt),
            _ => Err(corrupt()),
        })
        .collect()
}
