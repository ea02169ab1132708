//! The secret a client holds, and the digest that stores see.

use core::fmt;
use core::hash::{Hash, Hasher};

use purlin_core::Retry;
use sha2::{Digest, Sha256};

/// The secret that makes its bearer the owner of a session: 256 bits.
///
/// It exists in the client's cookie and for the length of a request, and nowhere else: stores see its
/// [`SessionKey`]. `Debug` shows nothing of it, there is no `Display`, and equality is asked of the keys, so
/// that neither a log line nor the time of a comparison tells anything.
///
/// ```
/// use purlin_session_store::SessionId;
///
/// # fn main() -> Result<(), purlin_session_store::EntropyError> {
/// let id = SessionId::random()?;
/// assert_eq!(format!("{id:?}"), "SessionId(..)");
/// assert_eq!(id.key(), SessionId::from_secret_bytes(*id.secret_bytes()).key());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SessionId([u8; SessionId::LEN]);

impl SessionId {
    /// Bytes of an id.
    pub const LEN: usize = 32;

    /// A new id from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`EntropyError`] if the system gives no random bytes.
    pub fn random() -> Result<Self, EntropyError> {
        let mut bytes = [0; Self::LEN];
        getrandom::fill(&mut bytes).map_err(EntropyError)?;
        Ok(SessionId(bytes))
    }

    /// The id of these bytes: the way back from [`secret_bytes`](SessionId::secret_bytes). To make up an id,
    /// use [`random`](SessionId::random).
    pub const fn from_secret_bytes(bytes: [u8; Self::LEN]) -> Self {
        SessionId(bytes)
    }

    /// The secret itself, for whoever writes it into a cookie by other means than this crate's codec.
    pub const fn secret_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The name under which stores know the session. Costs one SHA-256 of 32 bytes.
    pub fn key(&self) -> SessionKey {
        SessionKey::of_digest(Sha256::digest(self.0).into())
    }
}

/// Shows nothing of the secret.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

/// The operating system gave no random bytes, so there is no session id that an attacker could not guess.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes for a session id")]
pub struct EntropyError(#[source] getrandom::Error);

impl EntropyError {
    /// Safe, and rarely of use: a system without entropy seldom recovers within a request.
    pub const fn retry(&self) -> Retry {
        Retry::NOW
    }
}

/// The name of a session at rest: a version byte, and the SHA-256 of the id.
///
/// Whoever reads a store, or its backup, learns keys, and no key leads back to an id. There is no plain form
/// and no fallback to one. The version byte lets a later scheme (a keyed hash, say) live beside this one.
///
/// SHA-256 without salt or key is enough here: an id has 256 random bits, so no table of guesses exists.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey([u8; SessionKey::LEN]);

impl SessionKey {
    /// Bytes of a key.
    pub const LEN: usize = 33;

    /// The version byte of keys that are SHA-256 of the id.
    const SHA256: u8 = 1;

    /// The bytes by which a store files the session. They are evenly distributed but for the first, so they
    /// need no further hashing.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The name of a row that is no session's, by a digest. No id leads to it, as none is known whose own digest it is.
    pub(crate) fn of_digest(digest: [u8; Self::LEN - 1]) -> Self {
        let mut key = [Self::SHA256; Self::LEN];
        key[1..].copy_from_slice(&digest);
        SessionKey(key)
    }

    /// The key of these bytes, as a store wrote them. `None` if they are not a key of a version known here.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::LEN] = bytes.try_into().ok()?;
        (bytes[0] == Self::SHA256).then_some(SessionKey(bytes))
    }
}

/// By eight bytes of the digest: two keys that differ share them as seldom as two random numbers are the same.
impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [_, a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Shows the first four bytes of the digest: enough to follow a session through a log, too little to name it.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [version, a, b, c, d, ..] = self.0;
        write!(f, "SessionKey({version}:{a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The digest as computed by another program: `head -c 32 /dev/zero | sha256sum`.
    #[test]
    fn the_key_of_an_id_stays_what_it_is() {
        let key = SessionId::from_secret_bytes([0; 32]).key();
        assert_eq!(key.0[0], 1);
        assert_eq!(key.0[1..5], [0x66, 0x68, 0x7a, 0xad]);
        assert_eq!(key.0[30..], [0x5f, 0x29, 0x25]);
        assert_eq!(format!("{key:?}"), "SessionKey(1:66687aad..)");
    }

    #[test]
    fn a_key_of_an_unknown_version_or_length_is_refused() {
        let key = SessionId::from_secret_bytes([0; 32]).key();
        assert_eq!(SessionKey::from_bytes(key.as_bytes()), Some(key));
        let mut later = *key.as_bytes();
        later[0] = 2;
        assert_eq!(SessionKey::from_bytes(&later), None);
        assert_eq!(SessionKey::from_bytes(&later[1..]), None);
        assert_eq!(SessionKey::from_bytes(&[]), None);
    }

    #[test]
    fn random_ids_differ() {
        let (a, b) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        assert_ne!(a.key(), b.key());
    }
}
