//! Whose session it is, as stores see it.

use core::fmt;
use core::num::NonZeroU32;

use sha2::{Digest, Sha256};

/// The name under which stores file the sessions of one user: the SHA-256 of the name that the application
/// has for them.
///
/// So a name may be of any length and form, and each costs a store the same. It hides little: whoever has a
/// list of the users can compute their keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey([u8; UserKey::LEN]);

impl UserKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// The key of a user, by a name that never becomes another user's: a number or a UUID rather than an
    /// address. Costs one SHA-256.
    pub fn of(user: impl AsRef<[u8]>) -> Self {
        let digest = Sha256::new()
            .chain_update(b"purlin user\0")
            .chain_update(user.as_ref())
            .finalize();
        UserKey(digest.into())
    }

    /// The bytes by which a store files the user's sessions. They are evenly distributed.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The key of these bytes, as a store wrote them. `None` if they are not as many as a key has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(UserKey)
    }
}

/// Shows the first four bytes of the digest.
impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "UserKey({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// Whose a session becomes. See [`Record::owner`](crate::Record::owner).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: it changes hands, or it does not, or nobody has it"
)]
pub enum Owner {
    /// Whose it was: a new session is nobody's.
    #[default]
    Unchanged,
    /// Nobody's.
    Nobody,
    /// This user's, if they may have one more.
    User {
        /// Who.
        user: UserKey,
        /// How many sessions they may have with this one. It is not asked when the session is theirs already.
        cap: Option<Cap>,
    },
}

impl Owner {
    /// Who has the session afterwards, if it was this user's before.
    pub fn after(&self, before: Option<UserKey>) -> Option<UserKey> {
        match self {
            Owner::Unchanged => before,
            Owner::Nobody => None,
            Owner::User { user, .. } => Some(*user),
        }
    }

    /// The cap that applies to a session that was this user's before.
    pub fn cap_for(&self, before: Option<UserKey>) -> Option<Cap> {
        match self {
            Owner::User { user, cap } if before != Some(*user) => *cap,
            Owner::User { .. } | Owner::Unchanged | Owner::Nobody => None,
        }
    }
}

/// The most sessions that a user may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "complete: a number, and what happens at it"
)]
pub struct Cap {
    /// How many.
    pub max: NonZeroU32,
    /// What happens to one more.
    pub when_full: WhenFull,
}

impl Cap {
    /// At most so many; zero is taken for one. One more ends the oldest.
    pub const fn evict_oldest(max: u32) -> Self {
        Cap {
            max: at_least_one(max),
            when_full: WhenFull::EvictOldest,
        }
    }

    /// At most so many; zero is taken for one. One more is refused.
    pub const fn reject(max: u32) -> Self {
        Cap {
            max: at_least_one(max),
            when_full: WhenFull::Reject,
        }
    }

    /// The number as a count of things in memory.
    pub fn limit(&self) -> usize {
        usize::try_from(self.max.get()).unwrap_or(usize::MAX)
    }
}

const fn at_least_one(max: u32) -> NonZeroU32 {
    match NonZeroU32::new(max) {
        Some(max) => max,
        None => NonZeroU32::MIN,
    }
}

/// What happens when a user who has as many sessions as they may asks for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the old one goes or the new one does not come"
)]
pub enum WhenFull {
    /// It is refused.
    Reject,
    /// The oldest gives way: the one whose absolute deadline is nearest, as it was when the session became
    /// the user's.
    EvictOldest,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stores hold these bytes.
    /// `printf 'purlin user\0alice' | sha256sum`, by another program.
    #[test]
    fn the_key_of_a_user_stays_what_it_is() {
        let key = UserKey::of("alice");
        assert_eq!(UserKey::from_bytes(key.as_bytes()), Some(key));
        assert_eq!(UserKey::from_bytes(&key.as_bytes()[1..]), None);
        assert_eq!(format!("{key:?}"), "UserKey(54f9d5cc..)");
        assert_ne!(key, UserKey::of("alicf"));
    }

    #[test]
    fn a_cap_of_zero_is_one() {
        assert_eq!(Cap::reject(0), Cap::reject(1));
        assert_eq!(Cap::evict_oldest(0).limit(), 1);
    }
}
