//! A rotation over two keys that may live on two servers.
//!
//! No script can touch both, so it goes in steps, each of which is atomic and can be repeated:
//!
//! 0. *Look* at the old key, and list the new one for the owner to be, if there is one (`users.rs`).
//! 1. *Prepare* the new key: the session as it will be, marked as not yet there, with the old key's name.
//! 2. *Flip* the old key, if it is live at the version expected, into one that was rotated away to the new key. This is
//!    the moment at which the rotation happens: from here on the old key cannot be written.
//! 3. *Promote* the new key from prepared to live.
//!
//! What a failure leaves: after 1, the session under its old key, and a prepared row that nobody believes and that
//! expires. After 2, an old key that says that the new one has the session; whoever uses the new key finds it prepared,
//! asks the old one, and promotes it. So at every moment one of the keys works, and never do both.

use std::time::Duration;

use purlin_session_store::{Record, RotateOutcome, SessionKey, StoreError, Version};
use redis::aio::ConnectionLike;

use super::owned::Owned;
use super::scripts::{Reply, decimal, millis, millis_or_never};
use super::{MAX_HOPS, RedisSessionStore, stale};

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisSessionStore<C> {
    pub(super) async fn rotated(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: &Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let load = &self.scripts().load;
        let (present, was) = match self.run_settled(load, old, &[b"", b"0", b""]).await? {
            Reply::Live { entry, owned, .. } if entry.version == expected => (entry, owned),
            other => return self.refused(old, other).await,
        };
        let before = was.map(|was| was.user);
        let owner = match record.owner.after(before) {
            None => None,
            Some(user) => {
                let absolute = record.lifetime.absolute.min(present.remaining.absolute);
                let absolute = (absolute != Duration::MAX).then_some(absolute);
                let cap = record.owner.cap_for(before);
                let place = was.filter(|was| was.user == user);
                let place = place.map(|was| was.member(old));
                match self.enlist(user, new, absolute, cap, place).await? {
                    Some(owned) => Some(owned),
                    None => return Ok(RotateOutcome::AtCap),
                }
            }
        };
        let outcome = self
            .moved(old, new, expected, record, grace, owner.as_ref())
            .await?;
        match (&outcome, was, owner) {
            (RotateOutcome::Rotated(_), Some(was), _) => self.unlist(&was, old).await,
            (RotateOutcome::Rotated(_), None, _) | (_, _, None) => {}
            // An earlier call for the same rotation got through, and what it listed stays.
            (_, _, Some(owner)) => self.withdraw(&owner, new).await,
        }
        Ok(outcome)
    }

    /// The steps 1 to 3.
    async fn moved(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: &Record,
        grace: Duration,
        owner: Option<&Owned>,
    ) -> Result<RotateOutcome, StoreError> {
        // The new key is in use, or an earlier call of this rotation was interrupted.
        if !self
            .prepare(old, new, expected, record, owner, false)
            .await?
            && !self
                .prepare(old, new, expected, record, owner, true)
                .await?
        {
            return match self.peek(old).await? {
                Reply::Live { .. } => Ok(RotateOutcome::Collision),
                other => self.refused(old, other).await,
            };
        }
        let retention = decimal(millis(self.settings().retention));
        let args = [
            &decimal(expected)[..],
            new.as_bytes(),
            &decimal(millis(grace)),
            &retention,
            &owner.map(Owned::bytes).unwrap_or_default(),
        ];
        match self.run_settled(&self.scripts().flip, old, &args).await? {
            Reply::Done { absolute, .. } => {
                // It has happened. If this fails, whoever uses the new key does it.
                let _ = self.promote(new, old, absolute).await;
                Ok(RotateOutcome::Rotated(expected.next()))
            }
            other => {
                // Best effort: what stays expires.
                let discard = &self.scripts().discard;
                let _ = self.run(discard, new, &[old.as_bytes()]).await;
                self.refused(old, other).await
            }
        }
    }

    /// Whether a key that is only prepared has the session after all, because the rotation from `old` has happened. If
    /// so it is live afterwards.
    pub(super) async fn settle(
        &self,
        key: &SessionKey,
        old: &SessionKey,
    ) -> Result<bool, StoreError> {
        match self.peek(old).await? {
            Reply::Rotated { by, absolute, .. } if by == *key => {
                self.promote(key, old, absolute).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The key under which a session lives that was moved from `from` to `key`, if it still lives. Between two looks it
    /// may move or end; as a session never revives, the answer was true at some moment within the call.
    pub(super) async fn follow(
        &self,
        from: &SessionKey,
        mut key: SessionKey,
    ) -> Result<Option<SessionKey>, StoreError> {
        let mut from = *from;
        for _ in 0..MAX_HOPS {
            match self.peek(&key).await? {
                Reply::Live { .. } => return Ok(Some(key)),
                // The key before says that it has happened.
                Reply::Prepared(old) if old == from => return Ok(Some(key)),
                Reply::Rotated { by, .. } => (from, key) = (key, by),
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    async fn prepare(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: &Record,
        owner: Option<&Owned>,
        over: bool,
    ) -> Result<bool, StoreError> {
        let over: &[u8] = if over { b"1" } else { b"" };
        let args = [
            &old.as_bytes()[..],
            &decimal(expected.next()),
            &decimal(millis(record.lifetime.idle)),
            &decimal(millis(record.lifetime.absolute)),
            &record.payload,
            &decimal(millis(self.settings().retention)),
            over,
            &owner.map(Owned::bytes).unwrap_or_default(),
        ];
        let reply = self.run(&self.scripts().prepare, new, &args).await?;
        Ok(matches!(reply, Reply::Done { .. }))
    }

    async fn promote(
        &self,
        new: &SessionKey,
        old: &SessionKey,
        absolute: Option<Duration>,
    ) -> Result<(), StoreError> {
        let args: [&[u8]; 2] = [old.as_bytes(), &decimal(millis_or_never(absolute))];
        self.run(&self.scripts().promote, new, &args).await?;
        Ok(())
    }

    /// What stands under a key, without its payload.
    pub(super) async fn peek(&self, key: &SessionKey) -> Result<Reply, StoreError> {
        self.run(&self.scripts().load, key, &[b"", b"0", b"1"])
            .await
    }

    /// What to tell the caller of a rotation whose old key is not what was expected.
    async fn refused(&self, old: &SessionKey, found: Reply) -> Result<RotateOutcome, StoreError> {
        match found {
            Reply::Live { entry, .. } => Ok(RotateOutcome::Conflict(entry)),
            Reply::Stale => Err(stale()),
            Reply::Rotated { by, .. } => {
                let live = self.follow(old, by).await?;
                Ok(live.map_or(RotateOutcome::Gone, RotateOutcome::Superseded))
            }
            Reply::Nothing
            | Reply::Deleted
            | Reply::Prepared(_)
            | Reply::Done { .. }
            | Reply::Committed(_) => Ok(RotateOutcome::Gone),
        }
    }
}
