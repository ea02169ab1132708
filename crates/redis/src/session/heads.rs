//! The heads of rows that were seen lately.
//!
//! A commit by [`swap`](super::swap) needs what stands before the payload; whoever commits a session has most often
//! loaded it a moment before. It is a memory and no more: the server compares all of it with what is there. So it need not
//! be told of changes, forgets without a word, and may confuse two sessions.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use purlin_session_store::SessionKey;

use super::glance::Head;

/// Heads by the session's key. A power of two of small groups, in each of which the oldest gives way.
pub(super) struct Heads {
    groups: Box<[Mutex<Group>]>,
    /// How many more loads are worth remembering.
    wanted: AtomicU32,
}

/// So many loads are remembered for each commit, and so many at most after the last: where nearly all only read, they do
/// not pay for what nobody asks for.
const LOADS_A_COMMIT: u32 = 64;
const LOADS: u32 = 4096;

/// 4096 heads, of 88 bytes each once they have been used: as many as there may be requests between their load and their
/// commit, several times over.
const GROUPS: usize = 512;
const GROUP: usize = 8;

#[derive(Default)]
struct Group {
    /// Apart from the heads, so that to look through them is to look at one line of the processor's cache.
    tags: [u64; GROUP],
    /// As many of the tags count as there are of these.
    heads: Vec<Head>,
    oldest: usize,
}

impl Heads {
    pub(super) fn new() -> Self {
        Heads {
            groups: (0..GROUPS).map(|_| Mutex::default()).collect(),
            wanted: AtomicU32::new(LOADS),
        }
    }

    /// Notes the head of a row that was just loaded, if there are commits that may want it.
    pub(super) fn remember_load(&self, key: &SessionKey, head: Head) {
        // Relaxed, and not in one step: one more or less is no harm.
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted > 0 {
            self.wanted.store(wanted - 1, Ordering::Relaxed);
            self.remember(key, head);
        }
    }

    /// Notes the head of a row that was just written.
    pub(super) fn remember(&self, key: &SessionKey, head: Head) {
        let (tag, mut group) = self.group(key);
        let group = &mut *group;
        let place = match group.place_of(tag) {
            Some(place) => place,
            None if group.heads.len() < GROUP => {
                group.tags[group.heads.len()] = tag;
                group.heads.push(head);
                return;
            }
            None => {
                group.oldest = (group.oldest + 1) % GROUP;
                group.oldest
            }
        };
        (group.tags[place], group.heads[place]) = (tag, head);
    }

    /// The head of a row that is to be committed.
    pub(super) fn of(&self, key: &SessionKey) -> Option<Head> {
        let wanted = self.wanted.load(Ordering::Relaxed);
        if wanted < LOADS {
            self.wanted
                .store(wanted + LOADS_A_COMMIT, Ordering::Relaxed);
        }
        let (tag, group) = self.group(key);
        group.place_of(tag).map(|place| group.heads[place])
    }

    fn group(&self, key: &SessionKey) -> (u64, MutexGuard<'_, Group>) {
        // All but the first byte of a key are evenly distributed.
        let [_, bytes @ ..] = key.as_bytes();
        let tag = bytes
            .iter()
            .take(8)
            .fold(0, |tag, byte| tag << 8 | u64::from(*byte));
        let group = &self.groups[tag as usize % GROUPS];
        // Nothing panics under this lock.
        (tag, group.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Group {
    fn place_of(&self, tag: u64) -> Option<usize> {
        let present = &self.tags[..self.heads.len()];
        present.iter().position(|present| *present == tag)
    }
}

impl fmt::Debug for Heads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heads").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use purlin_session_store::{SessionId, Version};

    use super::*;

    fn head(version: u64) -> Head {
        let row = [&[1][..], &version.to_be_bytes(), &[b'7'; 26]].concat();
        Head::of(&row).unwrap()
    }

    fn key(number: u64) -> SessionKey {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        SessionId::from_secret_bytes(secret).key()
    }

    #[test]
    fn loads_are_remembered_while_there_are_commits() {
        let heads = Heads::new();
        for _ in 0..LOADS {
            heads.remember_load(&key(0), head(1));
        }
        assert_eq!(heads.of(&key(0)), Some(head(1)));
        for number in 1..=u64::from(LOADS_A_COMMIT) {
            heads.remember_load(&key(number), head(1));
        }
        let last = u64::from(LOADS_A_COMMIT);
        heads.remember_load(&key(last + 1), head(1));
        assert_eq!(heads.of(&key(last)), Some(head(1)));
        assert_eq!(heads.of(&key(last + 1)), None, "nobody asks for so many");
    }

    #[test]
    fn the_last_that_was_seen_is_remembered_in_bounded_room() {
        let heads = Heads::new();
        assert_eq!(heads.of(&key(0)), None);
        heads.remember(&key(0), head(1));
        heads.remember(&key(0), head(2));
        assert_eq!(heads.of(&key(0)), Some(head(2)));
        assert_eq!(heads.of(&key(0)).unwrap().version, Version(2));
        let n = 4 * (GROUPS * GROUP) as u64;
        for number in 0..n {
            heads.remember(&key(number), head(number));
        }
        let known = |number: &u64| heads.of(&key(*number)) == Some(head(*number));
        let n_known = (0..n).filter(known).count();
        assert!(
            n_known > GROUPS * GROUP / 2 && n_known <= GROUPS * GROUP,
            "{n_known}"
        );
        // The newest of all is there.
        assert!(known(&(n - 1)));
    }
}
