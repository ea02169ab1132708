//! Telling another region what it has not heard of.

use core::error::Error;
use core::future::Future;
use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use purlin_core::sync::Mutex;
use purlin_core::sync::atomic::Ordering;
use purlin_core::{Clock, MapHasher, Retry};
use sha2::{Digest, Sha256};

use super::Regional;
use super::message::{Item, Leaf, Message};
use super::outbox::{LISTS, SETTLED, list_of};
use super::row::{self, Family, Mark, Row, Subject};
use crate::error::StoreError;
use crate::id::SessionKey;
use crate::regions::time::RegionId;
use crate::store::SessionStore;

/// The way to another region: a request over HTTPS, say, whose handler there calls
/// [`receive`](Regional::receive) and answers by what that returns.
///
/// 1. A message that [`deliver`](RegionLink::deliver) returns `Ok` for has been taken in by the other region's `receive`.
/// 2. One that it returns an error for may have been, too. Messages may arrive late, more than once and in any order.
/// 3. Nobody else can read, change or send messages: they hold what sessions hold, and can end them.
pub trait RegionLink: Send + Sync {
    /// Why a message was not delivered.
    type Error: Error + Send + Sync + 'static;

    /// Has the other region receive a message, and waits until it has.
    ///
    /// # Errors
    ///
    /// If it is not known to have been received. It is sent again by the next exchange.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the message may or may not be received.
    fn deliver(&self, message: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl<L: RegionLink + ?Sized> RegionLink for &L {
    type Error = L::Error;

    fn deliver(&self, message: Bytes) -> impl Future<Output = Result<(), Self::Error>> + Send {
        (**self).deliver(message)
    }
}

/// What a call of [`exchange`](Regional::exchange) got done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchanged {
    /// Sessions and users that the other region was told of.
    pub told: usize,
    /// Notes of what it has not heard of, or may not have: those of the last ten seconds stay, in case that a change they
    /// announce is still under way.
    pub waiting: usize,
}

/// Why another region does not know all that it should.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError<E: Error + 'static> {
    /// This region's own store failed.
    #[error("the region's own store failed")]
    Store(#[source] StoreError),
    /// The message did not get through.
    #[error("the other region could not be told")]
    Link(#[source] E),
}

impl<E: Error + 'static> ExchangeError<E> {
    /// An exchange may always be made again.
    pub fn retry(&self) -> Retry {
        match self {
            ExchangeError::Store(error) => error.retry(),
            ExchangeError::Link(_) => Retry::NOW,
        }
    }
}

impl<E: Error + 'static> From<StoreError> for ExchangeError<E> {
    fn from(error: StoreError) -> Self {
        ExchangeError::Store(error)
    }
}

/// A message is sent when it has so many bytes, or so many items.
const MESSAGE_BYTES: usize = 256 << 10;
const MESSAGE_ITEMS: usize = 64;

/// What peers were told lately, so that notes which are not settled are not told again and again.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<(RegionId, Subject), [u8; 16], MapHasher>>);

/// How much of that a process remembers. Whatever it forgets is told twice.
const REMEMBERED: usize = 4096;

impl Told {
    fn is_known(&self, peer: RegionId, subject: Subject, digest: &[u8; 16]) -> bool {
        self.0.lock().get(&(peer, subject)) == Some(digest)
    }

    fn note(&self, peer: RegionId, subject: Subject, digest: [u8; 16]) {
        let mut told = self.0.lock();
        if told.len() >= REMEMBERED {
            told.clear();
        }
        told.insert((peer, subject), digest);
    }
}

/// The notes about one subject.
#[derive(Default)]
struct Notes {
    /// The youngest, whether it is settled, and how much it has left.
    youngest: Option<(SessionKey, bool, core::time::Duration)>,
    /// The others, for which that one stands.
    others: Vec<SessionKey>,
}

/// Items on their way into a message, and what becomes of their notes afterwards.
#[derive(Default)]
struct Batch {
    items: Vec<Bytes>,
    bytes: usize,
    told: Vec<(Subject, [u8; 16])>,
    done: Vec<SessionKey>,
}

impl<S: SessionStore, C: Clock + Send + Sync> Regional<S, C> {
    /// Tells a peer all that it has not heard of. Call it again and again, every second or so: nothing is sent by itself.
    ///
    /// A region that was away is told what has changed meanwhile, each session once and as it is now, in messages of 64
    /// sessions or 256 KiB. What it has not heard of is kept in this region's store, so it does not matter which process
    /// calls this, how many do, or whether one of them dies.
    ///
    /// Costs 32 lists of the store when there is no news, and a list at a time of the keys of notes in memory.
    ///
    /// # Errors
    ///
    /// [`ExchangeError`] if the store or the link fails. What was not told stays noted.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of the news has been told, and the rest stays noted.
    pub async fn exchange<L: RegionLink>(
        &self,
        peer: RegionId,
        link: L,
    ) -> Result<Exchanged, ExchangeError<L::Error>> {
        let mut exchanged = Exchanged::default();
        // Each call begins at another list, so that one which always breaks off comes everywhere.
        let first = self.next_list.fetch_add(1, Ordering::Relaxed) % usize::from(LISTS);
        for idx in 0..LISTS {
            let number = (idx + first as u8) % LISTS;
            let mut batch = Batch::default();
            for (subject, notes) in self.notes(peer, number).await? {
                for other in &notes.others {
                    self.store.delete(other).await?;
                }
                let Some((note, is_settled, _)) = notes.youngest else {
                    continue;
                };
                // Made after the notes were read: what was changed under a settled one is in it.
                if let Some(item) = self.item(subject).await? {
                    let item = item.encode();
                    let digest = digest(&item);
                    if !self.told.is_known(peer, subject, &digest) {
                        batch.bytes += item.len();
                        batch.items.push(item);
                        batch.told.push((subject, digest));
                    }
                }
                if is_settled {
                    batch.done.push(note);
                } else {
                    exchanged.waiting += 1;
                }
                if batch.bytes >= MESSAGE_BYTES || batch.items.len() >= MESSAGE_ITEMS {
                    exchanged.told += self.tell(peer, &link, core::mem::take(&mut batch)).await?;
                }
            }
            exchanged.told += self.tell(peer, &link, batch).await?;
        }
        Ok(exchanged)
    }

    async fn tell<L: RegionLink>(
        &self,
        peer: RegionId,
        link: &L,
        batch: Batch,
    ) -> Result<usize, ExchangeError<L::Error>> {
        if !batch.items.is_empty() {
            let message = Message::encode(self.region, &batch.items);
            link.deliver(message).await.map_err(ExchangeError::Link)?;
        }
        let n_told = batch.told.len();
        for (subject, digest) in batch.told {
            self.told.note(peer, subject, digest);
        }
        for note in batch.done {
            self.store.delete(&note).await?;
        }
        Ok(n_told)
    }

    /// The notes of one list, by subject.
    async fn notes(
        &self,
        peer: RegionId,
        number: u8,
    ) -> Result<BTreeMap<Subject, Notes>, StoreError> {
        let listed = self.store.by_user(&list_of(peer, number)).await?;
        let mut by_subject: BTreeMap<Subject, Notes> = BTreeMap::new();
        for share in listed.chunks(MESSAGE_ITEMS) {
            let entries = self.store.load_many(share).await?;
            for (key, entry) in share.iter().zip(entries) {
                let Some(entry) = entry else { continue };
                let mark = Mark::decode(entry.payload).ok_or_else(row::corrupt)?;
                let left = entry.remaining.absolute;
                let is_settled = mark.life.saturating_sub(left) >= SETTLED;
                let notes = by_subject.entry(mark.subject).or_default();
                match &mut notes.youngest {
                    Some((_, _, most)) if *most >= left => notes.others.push(*key),
                    youngest => {
                        let before = youngest.replace((*key, is_settled, left));
                        notes.others.extend(before.map(|(key, _, _)| key));
                    }
                }
            }
        }
        Ok(by_subject)
    }

    /// What there is to tell of a subject. If it was recorded as ended by a process that died before it had ended it here,
    /// that is made good first; and so is a move that was not recorded.
    async fn item(&self, subject: Subject) -> Result<Option<Item>, StoreError> {
        match subject {
            Subject::User(user) => {
                self.end_revoked(&user).await?;
                let revocations = self.revocations(&user).await?;
                Ok(Some(Item::User { user, revocations }))
            }
            Subject::Family(root) => {
                let family = self.family(&root).await?.unwrap_or_else(|| Family {
                    keys: [root].into(),
                    ..Family::default()
                });
                let mut leaves = Vec::new();
                if family.ended {
                    self.end_all(&family.keys).await?;
                } else {
                    self.retire(&family.moved).await?;
                    self.confine(&family).await?;
                    let keys = family.leaves();
                    let entries = self.store.load_many(&keys).await?;
                    for (key, entry) in keys.into_iter().zip(entries) {
                        let Some(entry) = entry else { continue };
                        // What has moved lives under another of the keys.
                        if entry.superseded_by.is_some() {
                            continue;
                        }
                        let row = Row::of(&entry)?;
                        if row
                            .from
                            .is_some_and(|from| !family.moved.contains(&from.key))
                        {
                            self.record_move(&row).await?;
                        }
                        let idle_until = row.idle_until(&entry);
                        leaves.push(Leaf {
                            key,
                            idle_until,
                            row,
                        });
                    }
                }
                if leaves.is_empty() && family.is_trivial() {
                    // Over everywhere by its deadlines, or nothing has come of it.
                    return Ok(None);
                }
                Ok(Some(Item::Session {
                    root,
                    family,
                    leaves,
                }))
            }
        }
    }
}

fn digest(item: &[u8]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(item)[..16]);
    short
}
