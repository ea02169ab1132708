//! The index of users.

use purlin_core::Tick;
use purlin_session_store::{Cap, Owner, SessionKey, Slide, UserKey, WhenFull};

use super::{Fault, Tables};
use crate::session::layout::Place;
use crate::session::look::{in_order, listed};

impl Tables<'_> {
    /// A user's sessions that live, the oldest first. Those that have ended are removed.
    pub(in crate::session) fn by_user(
        &mut self,
        now: Tick,
        user: &UserKey,
    ) -> Result<Vec<SessionKey>, Fault> {
        let mut live = Vec::new();
        for (place, bytes) in listed(&self.users, user)? {
            let Some(key) = SessionKey::from_bytes(&bytes) else {
                return Err(Fault::Corrupt);
            };
            match self.find(now, &key)? {
                Some(row) if row.listed_for() == Some(*user) => live.push((place, key)),
                Some(_) | None => {
                    self.unlist(user, &key)?;
                }
            }
        }
        Ok(in_order(live))
    }

    /// Ends all sessions of a user but one.
    pub(in crate::session) fn revoke_user(
        &mut self,
        now: Tick,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, Fault> {
        let spared = match except {
            Some(key) => self
                .load(now, key, Slide::No)?
                .map(|entry| entry.superseded_by.unwrap_or(*key)),
            None => None,
        };
        let mut ended = 0;
        for key in self.by_user(now, user)? {
            if Some(key) != spared {
                ended += usize::from(self.delete(now, &key)?);
            }
        }
        Ok(ended)
    }

    /// Makes sure that an owner may have one more session, which was this user's before.
    pub(super) fn make_way(
        &mut self,
        now: Tick,
        owner: Owner,
        was: Option<UserKey>,
    ) -> Result<Result<(), AtCap>, Fault> {
        let (Owner::User { user, .. }, Some(cap)) = (owner, owner.cap_for(was)) else {
            return Ok(Ok(()));
        };
        let Cap { when_full, .. } = cap;
        let live = self.by_user(now, &user)?;
        let over = (live.len() + 1).saturating_sub(cap.limit());
        if over > 0 && when_full == WhenFull::Reject {
            return Ok(Err(AtCap));
        }
        for key in &live[..over] {
            self.delete(now, key)?;
        }
        Ok(Ok(()))
    }

    pub(super) fn list(
        &mut self,
        user: &UserKey,
        key: &SessionKey,
        absolute: Tick,
    ) -> Result<(), Fault> {
        self.changed = true;
        // One more than the highest of the user's, so that sessions with the same deadline keep their order.
        let places = listed(&self.users, user)?;
        let number = places.iter().map(|((_, number), _)| *number).max();
        let place = (absolute.as_nanos(), number.map_or(0, |number| number + 1));
        self.users
            .insert((user.as_bytes(), key.as_bytes()), place)?;
        Ok(())
    }

    pub(super) fn unlist(
        &mut self,
        user: &UserKey,
        key: &SessionKey,
    ) -> Result<Option<Place>, Fault> {
        self.changed = true;
        let place = self.users.remove((user.as_bytes(), key.as_bytes()))?;
        Ok(place.map(|place| place.value()))
    }
}

/// A user has as many sessions as they may.
pub(super) struct AtCap;
