//! Whose a session is, as rows and lists have it.

use purlin_session_store::{SessionKey, UserKey};

/// The owner of a row, and when its key was listed for them: by this a row and a member of a list name each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) user: UserKey,
    pub(super) since: [u8; 8],
}

impl Owned {
    pub(super) const LEN: usize = UserKey::LEN + 8;

    /// None if there is none; an error if these are not the bytes of one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Owned>, ()> {
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() != Self::LEN {
            return Err(());
        }
        let (user, since) = bytes.split_at(UserKey::LEN);
        let user = UserKey::from_bytes(user).ok_or(())?;
        let since = since.try_into().map_err(|_| ())?;
        Ok(Some(Owned { user, since }))
    }

    /// As a row has it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.user.as_bytes()[..], &self.since].concat()
    }

    /// As the user's list has it.
    pub(super) fn member(&self, key: &SessionKey) -> Member {
        Member {
            key: *key,
            since: self.since,
        }
    }
}

/// A session on a user's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: SessionKey,
    pub(super) since: [u8; 8],
}

impl Member {
    pub(super) fn parse(bytes: &[u8]) -> Option<Member> {
        let (key, since) = bytes.split_at_checked(SessionKey::LEN)?;
        Some(Member {
            key: SessionKey::from_bytes(key)?,
            since: since.try_into().ok()?,
        })
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        [&self.key.as_bytes()[..], &self.since].concat()
    }
}

#[cfg(test)]
mod tests {
    use purlin_session_store::SessionId;

    use super::*;

    #[test]
    fn owners_and_members_come_back_and_others_are_refused() {
        let key = SessionId::from_secret_bytes([7; 32]).key();
        let owned = Owned {
            user: UserKey::of("alice"),
            since: [1; 8],
        };
        assert_eq!(Owned::parse(&owned.bytes()), Ok(Some(owned)));
        assert_eq!(Owned::parse(b""), Ok(None));
        assert_eq!(Owned::parse(&owned.bytes()[1..]), Err(()));
        let member = owned.member(&key);
        assert_eq!(Member::parse(&member.bytes()), Some(member));
        for len in 0..member.bytes().len() {
            assert_eq!(Member::parse(&member.bytes()[..len]), None);
        }
    }
}
