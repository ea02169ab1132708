//! What other regions have not heard of, as notes in the region's own store.
//!
//! - A note is made *before* the change that it tells of, so a process that dies leaves nothing untold.
//! - Each note has a random key, and belongs to a made-up user of its peer, by whose list the exchange finds it. So nobody
//!   waits for anybody to make one.
//! - A note goes once the peer has heard of the state as it was when the note was already [`SETTLED`]: by then whatever
//!   was changed under it has been changed. Until then it is told again if there is something new.
//! - One note is enough for all that happens to a session within [`FRESH`]; and if there are several, the latest stands
//!   for all.

use core::time::Duration;
use std::collections::HashMap;

use purlin_core::sync::Mutex;
use purlin_core::{Clock, MapHasher, Tick};

use super::Regional;
use super::row::{Mark, Subject};
use crate::error::{ErrorKind, StoreError};
use crate::regions::time::RegionId;
use crate::store::{CreateOutcome, Lifetime, Record, SessionStore};
use crate::user::{Owner, UserKey};

/// How old a note must be, by the store's clock, to go.
pub(super) const SETTLED: Duration = Duration::from_secs(10);

/// How long a process goes by a note that it has made.
const FRESH: Duration = Duration::from_secs(2);

/// A change that takes longer than this after its note was made makes another one. With `FRESH` it leaves a
/// margin to `SETTLED`.
const LATE: Duration = Duration::from_secs(6);

/// On how many lists the notes for a peer are.
pub(super) const LISTS: u8 = 32;

/// How many subjects a process remembers.
const REMEMBERED: usize = 4096;

/// A note was made, for a change that is about to be made.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(super) struct Marked {
    subject: Subject,
    at: Tick,
}

/// What this process has noted lately.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<Subject, Tick, MapHasher>>);

impl Recent {
    fn find(&self, subject: Subject, now: Tick) -> Option<Tick> {
        let at = self.0.lock().get(&subject).copied()?;
        (at <= now && now.since(at) < FRESH).then_some(at)
    }

    fn note(&self, subject: Subject, now: Tick) {
        let mut recent = self.0.lock();
        if recent.len() >= REMEMBERED {
            recent.clear();
        }
        recent.insert(subject, now);
    }
}

impl<S: SessionStore, C: Clock + Send + Sync> Regional<S, C> {
    /// Notes for each peer that there is about to be news.
    pub(super) async fn mark(&self, subject: Subject) -> Result<Marked, StoreError> {
        let now = self.clock.now();
        if let Some(at) = self.recent.find(subject, now) {
            return Ok(Marked { subject, at });
        }
        self.mark_for(subject, None).await?;
        self.recent.note(subject, now);
        Ok(Marked { subject, at: now })
    }

    /// Notes it for each peer but the one that the news comes from.
    pub(super) async fn mark_for(
        &self,
        subject: Subject,
        teller: Option<RegionId>,
    ) -> Result<(), StoreError> {
        let life = self.longest.saturating_add(self.skew);
        for peer in self.peers.iter().filter(|peer| Some(**peer) != teller) {
            let note = Record::new(Mark { subject, life }.encode(), Lifetime::new(life, life));
            let note = note.with_owner(Owner::User {
                user: list_of(*peer, list_number(subject)),
                cap: None,
            });
            match self.store.create(&self.random_key(), note).await? {
                CreateOutcome::Created(_) => {}
                // Not with keys of 256 random bits.
                CreateOutcome::Collision | CreateOutcome::AtCap => {
                    return Err(StoreError::new(ErrorKind::Unavailable));
                }
            }
        }
        Ok(())
    }

    /// The change has been made. If that took so long that the note may have gone before, makes another one.
    pub(super) async fn settle(&self, marked: Marked) -> Result<(), StoreError> {
        let now = self.clock.now();
        if now < marked.at || now.since(marked.at) >= LATE {
            self.mark_for(marked.subject, None).await.map_err(done)?;
        }
        Ok(())
    }
}

/// An error that comes after the call has had its effect.
pub(super) fn done(error: StoreError) -> StoreError {
    StoreError::new(ErrorKind::Interrupted).with_source(error)
}

/// All notes about a subject are on one list, so that the exchange sees them together.
fn list_number(subject: Subject) -> u8 {
    let byte = match &subject {
        Subject::Family(root) => root.as_bytes()[1],
        Subject::User(user) => user.as_bytes()[0],
    };
    byte % LISTS
}

/// The made-up user whose sessions are the notes for a peer.
pub(super) fn list_of(peer: RegionId, number: u8) -> UserKey {
    let [low, high] = peer.0.to_le_bytes();
    let name = [&b"\0purlin region notes\0"[..], &[low, high, number]].concat();
    UserKey::of(name)
}
