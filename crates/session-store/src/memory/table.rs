//! The slots of a shard by their keys, which need no hashing: all but the first of their bytes are a digest, of an id
//! that this server drew. Nobody can choose keys that collide, and what a client makes up is looked up and never filed.

use hashbrown::HashTable;

use super::slot::Slot;
use crate::id::SessionKey;

#[derive(Default)]
pub(super) struct Table {
    slots: HashTable<(SessionKey, Slot)>,
}

/// What slots are found by, and nearly a name: the same for two keys as seldom as two random numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest([u32; 2]);

impl Digest {
    /// Of other bytes than those that choose the shard.
    pub(super) fn of(key: &SessionKey) -> Self {
        let [_, _, _, a, b, c, d, e, f, g, h, ..] = *key.as_bytes();
        Digest([
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
        ])
    }

    fn hash(self) -> u64 {
        u64::from(self.0[0]) | u64::from(self.0[1]) << 32
    }
}

fn hash_of(key: &SessionKey) -> u64 {
    Digest::of(key).hash()
}

impl Table {
    pub(super) fn get(&self, key: &SessionKey) -> Option<&Slot> {
        let found = self.slots.find(hash_of(key), |(present, _)| present == key);
        found.map(|(_, slot)| slot)
    }

    pub(super) fn get_mut(&mut self, key: &SessionKey) -> Option<&mut Slot> {
        let found = self
            .slots
            .find_mut(hash_of(key), |(present, _)| present == key);
        found.map(|(_, slot)| slot)
    }

    /// The key of the slot that has this digest and is the one meant, should there be two.
    pub(super) fn find(
        &self,
        digest: Digest,
        is_meant: impl Fn(&Slot) -> bool,
    ) -> Option<SessionKey> {
        let found = self.slots.find(digest.hash(), |(key, slot)| {
            Digest::of(key) == digest && is_meant(slot)
        });
        found.map(|(key, _)| *key)
    }

    /// Files a slot, and gives back what was in its place.
    pub(super) fn insert(&mut self, key: SessionKey, slot: Slot) -> Option<Slot> {
        if let Some(present) = self.get_mut(&key) {
            return Some(core::mem::replace(present, slot));
        }
        let rehash = |(key, _): &(SessionKey, Slot)| hash_of(key);
        self.slots.insert_unique(hash_of(&key), (key, slot), rehash);
        None
    }

    pub(super) fn remove(&mut self, key: &SessionKey) -> Option<Slot> {
        let found = self
            .slots
            .find_entry(hash_of(key), |(present, _)| present == key);
        found.ok().map(|entry| entry.remove().0.1)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().map(|(_, slot)| slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SessionId;

    /// Of keys in one shard, which share the bytes that choose it, none shares a digest with another.
    #[test]
    fn a_digest_is_of_other_bytes_than_the_shard() {
        let key = SessionId::from_secret_bytes([7; 32]).key();
        let changed = |idx: usize| {
            let mut bytes = *key.as_bytes();
            bytes[idx] ^= 1;
            SessionKey::from_bytes(&bytes).map(|key| Digest::of(&key))
        };
        for idx in [1, 2, 11, 32] {
            assert_eq!(changed(idx), Some(Digest::of(&key)), "{idx}");
        }
        for idx in 3..11 {
            assert_ne!(changed(idx), Some(Digest::of(&key)), "{idx}");
        }
    }
}
