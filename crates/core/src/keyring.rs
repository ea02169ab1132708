//! Sealed values, with keys that rotate.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Seals bytes with HMAC-SHA256 under keys that can be rotated without a moment in which old seals fail.
///
/// The first key seals; every key opens. To rotate, put a new key in front, wait until nothing sealed with
/// the old one is still wanted, and take the old one out. The seal shows who wrote the bytes, it does not
/// hide them.
///
/// A seal is bound to a purpose, so that a value sealed as one thing (a sticky cookie) cannot be shown as
/// another (a session cookie), even under the same key.
///
/// ```
/// use purlin_core::{Keyring, SealingKey};
///
/// # fn main() -> Result<(), purlin_core::KeyringError> {
/// let old = Keyring::new([SealingKey::new(1, [7; 32])])?;
/// let rotated = Keyring::new([SealingKey::new(2, [9; 32]), SealingKey::new(1, [7; 32])])?;
///
/// let sealed = old.seal("cart", b"42");
/// assert_eq!(rotated.open("cart", &sealed), Some(&b"42"[..]));
/// assert_eq!(rotated.open("login", &sealed), None);
/// # Ok(())
/// # }
/// ```
pub struct Keyring {
    /// Not empty, ids distinct; the first one seals.
    keys: Vec<SealingKey>,
}

/// A secret key and the public number by which sealed values name it.
#[derive(Clone)]
pub struct SealingKey {
    id: u8,
    /// HMAC with the key already absorbed, so that a seal hashes the message only.
    mac: Hmac<Sha256>,
}

impl SealingKey {
    /// A key of 32 bytes, which must come from a cryptographic random source and be kept secret.
    pub fn new(id: u8, secret: [u8; 32]) -> Self {
        let mac = Hmac::new_from_slice(&secret).expect("HMAC takes a key of any length");
        SealingKey { id, mac }
    }

    fn tag(&self, purpose: &str, payload: &[u8]) -> [u8; TAG_LEN] {
        let mut mac = self.mac.clone();
        // The purpose's length goes first, so that no purpose and payload can be re-cut into another pair.
        mac.update(&(purpose.len() as u64).to_le_bytes());
        mac.update(purpose.as_bytes());
        mac.update(&[self.id]);
        mac.update(payload);
        mac.finalize().into_bytes().into()
    }
}

/// Bytes of an HMAC-SHA256 tag, which is not shortened.
const TAG_LEN: usize = 32;

impl Keyring {
    /// How many bytes a seal adds: the key's id and the tag.
    pub const OVERHEAD: usize = 1 + TAG_LEN;

    /// A ring of keys. The first one seals, all of them open.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Empty`] without a key, [`KeyringError::DuplicateId`] if two keys share a number.
    pub fn new(keys: impl IntoIterator<Item = SealingKey>) -> Result<Self, KeyringError> {
        let keys: Vec<SealingKey> = keys.into_iter().collect();
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        for (i, key) in keys.iter().enumerate() {
            if keys[..i].iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyringError::DuplicateId(key.id));
            }
        }
        Ok(Keyring { keys })
    }

    /// The payload with its seal: the key's id, the tag, the payload.
    pub fn seal(&self, purpose: &str, payload: &[u8]) -> Vec<u8> {
        let key = &self.keys[0];
        let mut sealed = Vec::with_capacity(Self::OVERHEAD + payload.len());
        sealed.push(key.id);
        sealed.extend_from_slice(&key.tag(purpose, payload));
        sealed.extend_from_slice(payload);
        sealed
    }

    /// The payload of a sealed value, or `None` if it was not sealed for this purpose by a key of this ring.
    ///
    /// The comparison takes the same time for every wrong tag of a known key. Why a value was refused is not
    /// said: to the sender all reasons are one.
    pub fn open<'a>(&self, purpose: &str, sealed: &'a [u8]) -> Option<&'a [u8]> {
        let (&id, rest) = sealed.split_first()?;
        let (tag, payload) = rest.split_at_checked(TAG_LEN)?;
        let key = self.keys.iter().find(|key| key.id == id)?;
        bool::from(key.tag(purpose, payload).ct_eq(tag)).then_some(payload)
    }

    /// Whether a value was sealed by a key that no longer seals, and should be sealed anew while its owner is
    /// here. Says nothing about whether it opens.
    pub fn is_outdated(&self, sealed: &[u8]) -> bool {
        sealed.first() != Some(&self.keys[0].id)
    }
}

/// Shows the keys' ids and nothing else.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

/// Shows the key's id and nothing else.
impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a keyring could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyringError {
    /// There was no key to seal with.
    Empty,
    /// Two keys had this number, so a sealed value could not say which one it means.
    DuplicateId(u8),
}

impl KeyringError {
    /// Never: the configuration must change first.
    pub const fn retry(&self) -> crate::Retry {
        crate::Retry::NEVER
    }
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyringError::Empty => f.write_str("a keyring needs at least one key"),
            KeyringError::DuplicateId(id) => write!(f, "two keys of a keyring have id {id}"),
        }
    }
}

impl core::error::Error for KeyringError {}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use super::*;

    fn ring() -> Keyring {
        Keyring::new([SealingKey::new(1, [3; 32])]).expect("one key")
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let ring = ring();
        let sealed = ring.seal("p", b"payload");
        assert_eq!(ring.open("p", &sealed), Some(&b"payload"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ring.open("p", &forged), None, "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(ring.open("p", &sealed[..len]), None, "cut to {len}");
        }
    }

    #[test]
    fn a_purpose_cannot_be_recut_into_the_payload() {
        let ring = ring();
        let mut sealed = ring.seal("ab", b"c");
        let moved = sealed.len() - 1;
        sealed.splice(moved..moved, *b"b");
        assert_eq!(ring.open("a", &sealed), None);
    }

    #[test]
    fn a_retired_key_no_longer_opens_and_an_old_one_is_outdated() {
        let sealed = ring().seal("p", b"x");
        let rotated = Keyring::new([SealingKey::new(2, [4; 32]), SealingKey::new(1, [3; 32])])
            .expect("two keys");
        assert!(rotated.is_outdated(&sealed));
        assert!(rotated.open("p", &sealed).is_some());
        let retired = Keyring::new([SealingKey::new(2, [4; 32])]).expect("one key");
        assert_eq!(retired.open("p", &sealed), None);
    }

    #[test]
    fn rings_without_a_sealing_key_or_with_ambiguous_ids_do_not_exist() {
        assert_eq!(Keyring::new([]).map(drop), Err(KeyringError::Empty));
        let twins = vec![SealingKey::new(1, [3; 32]), SealingKey::new(1, [4; 32])];
        assert_eq!(
            Keyring::new(twins).map(drop),
            Err(KeyringError::DuplicateId(1))
        );
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", ring()), "[SealingKey { id: 1, .. }]");
    }
}
