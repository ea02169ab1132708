//! Who a session belongs to, how sure that is, and since when.

use core::fmt;
use core::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use purlin_core::{Retry, WallTime};

use crate::fields::PayloadError;

/// How sure it is that the user is who they say: the three assurance levels of NIST SP 800-63B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Assurance {
    /// One factor, such as a password.
    One = 1,
    /// Two factors.
    Two = 2,
    /// Two factors, one of them hardware that cannot be phished.
    Three = 3,
}

impl Assurance {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Assurance::One),
            2 => Some(Assurance::Two),
            3 => Some(Assurance::Three),
            _ => None,
        }
    }
}

/// Somebody has proven who they are. See [`Session::login`](crate::Session::login).
///
/// ```
/// use purlin_session_store::{Assurance, Login, Session};
///
/// let mut session = Session::absent();
/// session.login(Login::new("17").assurance(Assurance::Two).label("Firefox on Linux"));
/// assert_eq!(session.user(), Some("17"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a login does nothing until a session is given it"]
pub struct Login {
    user: Box<str>,
    assurance: Assurance,
    label: Box<str>,
}

impl Login {
    /// This user, by one factor. The name must never become another user's: a number or a UUID rather than an
    /// address. Of a name longer than 65 535 bytes the store keeps none: the commit fails as too large.
    pub fn new(user: impl Into<Box<str>>) -> Self {
        Login {
            user: user.into(),
            assurance: Assurance::One,
            label: "".into(),
        }
    }

    /// How sure it is.
    pub fn assurance(mut self, assurance: Assurance) -> Self {
        self.assurance = assurance;
        self
    }

    /// What the user will know this session by in the list of theirs: the browser's name, say.
    pub fn label(mut self, label: impl Into<Box<str>>) -> Self {
        self.label = label.into();
        self
    }

    /// The longest name of a user, in bytes.
    pub(crate) const MAX_USER_LEN: usize = u16::MAX as usize;

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    pub(crate) fn level(&self) -> Assurance {
        self.assurance
    }

    /// As it is stored from this moment on.
    pub(crate) fn settled(&self, now: WallTime, handle: SessionHandle) -> Auth<'_> {
        Auth {
            user: &self.user,
            assurance: self.assurance,
            since: now,
            proven: now,
            handle,
            label: &self.label,
        }
    }
}

/// What is stored of a login, beside the application's fields and out of their reach.
///
/// ```text
/// +--------+-----------+-------------+--------------+--------+----------+------+-------+
/// | format | assurance | since       | proven       | handle | user len | user | label |
/// | u8 = 1 | u8        | u64 LE, ms  | u64 LE, ms   | 12     | u16 LE   |      | rest  |
/// +--------+-----------+-------------+--------------+--------+----------+------+-------+
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Auth<'a> {
    pub(crate) user: &'a str,
    pub(crate) assurance: Assurance,
    /// When the user logged in.
    pub(crate) since: WallTime,
    /// When they last proved who they are.
    pub(crate) proven: WallTime,
    pub(crate) handle: SessionHandle,
    pub(crate) label: &'a str,
}

const FORMAT: u8 = 1;
const HEAD: usize = 2 + 8 + 8 + SessionHandle::LEN + 2;

impl<'a> Auth<'a> {
    pub(crate) fn encode(&self) -> Bytes {
        // A user's name that is cut here is longer than any session may be.
        let user_len = u16::try_from(self.user.len()).unwrap_or(u16::MAX);
        let mut out = BytesMut::with_capacity(HEAD + self.user.len() + self.label.len());
        out.put_u8(FORMAT);
        out.put_u8(self.assurance as u8);
        out.put_u64_le(self.since.as_unix_millis());
        out.put_u64_le(self.proven.as_unix_millis());
        out.put_slice(&self.handle.0);
        out.put_u16_le(user_len);
        out.put_slice(self.user.as_bytes());
        out.put_slice(self.label.as_bytes());
        out.freeze()
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, PayloadError> {
        match bytes.first() {
            Some(&FORMAT) => {}
            Some(&format) if format > FORMAT => return Err(PayloadError::Newer { format }),
            Some(_) | None => return Err(PayloadError::Corrupt),
        }
        Self::decode_body(bytes).ok_or(PayloadError::Corrupt)
    }

    fn decode_body(bytes: &'a [u8]) -> Option<Self> {
        let (&assurance, rest) = bytes.get(1..)?.split_first()?;
        let (since, rest) = rest.split_first_chunk()?;
        let (proven, rest) = rest.split_first_chunk()?;
        let (handle, rest) = rest.split_first_chunk()?;
        let (user_len, rest) = rest.split_first_chunk()?;
        let (user, label) = rest.split_at_checked(usize::from(u16::from_le_bytes(*user_len)))?;
        Some(Auth {
            user: core::str::from_utf8(user).ok()?,
            assurance: Assurance::from_byte(assurance)?,
            since: WallTime::from_unix_millis(u64::from_le_bytes(*since)),
            proven: WallTime::from_unix_millis(u64::from_le_bytes(*proven)),
            handle: SessionHandle(*handle),
            label: core::str::from_utf8(label).ok()?,
        })
    }

    /// Whether the user proved who they are within this time before now. A proof from the future is one only
    /// as far as two servers' clocks may differ.
    pub(crate) fn check_fresh(&self, now: WallTime, within: Duration) -> Result<(), AuthError> {
        let ahead = self.proven.since(now);
        let age = if ahead > CLOCK_SKEW {
            Duration::MAX
        } else {
            now.since(self.proven)
        };
        if age <= within {
            Ok(())
        } else {
            Err(AuthError::Stale { age })
        }
    }
}

/// How far apart the wall clocks of two servers may be for a proof of identity to count on both.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The name of a session that its user may see, and end it by. It gives no access, and stays the same when
/// the session gets a new id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionHandle([u8; SessionHandle::LEN]);

impl SessionHandle {
    const LEN: usize = 12;

    pub(crate) fn from_random(bytes: &[u8; 32]) -> Self {
        let mut handle = [0; Self::LEN];
        handle.copy_from_slice(&bytes[..Self::LEN]);
        SessionHandle(handle)
    }
}

/// In hexadecimal digits.
impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHandle({self})")
    }
}

/// As [`Display`](fmt::Display) writes it.
impl core::str::FromStr for SessionHandle {
    type Err = HandleError;

    fn from_str(text: &str) -> Result<Self, HandleError> {
        let digits = text.as_bytes();
        if digits.len() != 2 * Self::LEN {
            return Err(HandleError);
        }
        let mut handle = [0; Self::LEN];
        for (byte, pair) in handle.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(HandleError);
            // Two digits of sixteen are less than 256.
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(SessionHandle(handle))
    }
}

/// A text is no [`SessionHandle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the handle of a session")]
pub struct HandleError;

impl HandleError {
    /// Never: the text stays what it is.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// Why a request may not do what needs a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Nobody is logged in.
    #[error("nobody is logged in")]
    LoggedOut,
    /// The user proved who they are too long ago. Ask again, and tell
    /// [`Session::step_up`](crate::Session::step_up).
    #[error("the user proved who they are too long ago")]
    Stale {
        /// How long ago. [`Duration::MAX`] if it was in the future.
        age: Duration,
    },
    /// The user proved who they are less surely than this needs. Ask for another factor, and tell
    /// [`Session::step_up`](crate::Session::step_up).
    #[error("this needs more proof of who the user is")]
    Weak {
        /// How surely they did.
        assurance: Assurance,
    },
    /// The client came with an id that was rotated away, which reads and may do nothing more.
    #[error("the session has got another id")]
    Superseded,
}

impl AuthError {
    /// Never: the user must do something first.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auth() -> Auth<'static> {
        Auth {
            user: "alice",
            assurance: Assurance::Two,
            since: WallTime::from_unix_millis(1),
            proven: WallTime::from_unix_millis(2),
            handle: SessionHandle([7; 12]),
            label: "Firefox",
        }
    }

    /// What stands in a store today must be readable by every later version.
    #[test]
    fn the_stored_form_stays_what_it_is() {
        let mut stored = vec![1, 2, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        stored.extend([7; 12]);
        stored.extend([5, 0]);
        stored.extend(b"aliceFirefox");
        assert_eq!(auth().encode(), stored);
        assert_eq!(Auth::decode(&stored), Ok(auth()));
    }

    #[test]
    fn what_is_no_login_is_refused_with_its_kind() {
        let whole = auth().encode();
        for len in 0..whole.len() - "Firefox".len() {
            assert_eq!(
                Auth::decode(&whole[..len]),
                Err(PayloadError::Corrupt),
                "{len}"
            );
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = whole.to_vec();
            bytes[at] = byte;
            Auth::decode(&bytes).map(drop)
        };
        assert_eq!(with(0, 2), Err(PayloadError::Newer { format: 2 }));
        assert_eq!(with(0, 0), Err(PayloadError::Corrupt));
        assert_eq!(with(1, 4), Err(PayloadError::Corrupt));
        assert_eq!(with(HEAD, 0xff), Err(PayloadError::Corrupt));
    }

    #[test]
    fn a_handle_is_read_as_it_is_written() {
        let handle = auth().handle;
        assert_eq!(handle.to_string(), "07".repeat(12));
        assert_eq!(handle.to_string().parse(), Ok(handle));
        for text in ["", "07", "zz0707070707070707070707", &"é".repeat(12)] {
            assert_eq!(text.parse::<SessionHandle>(), Err(HandleError), "{text}");
        }
    }

    #[test]
    fn a_proof_counts_for_its_time_and_not_from_the_future() {
        let at = |ms| WallTime::from_unix_millis(ms);
        let auth = Auth {
            proven: at(1_000_000),
            ..auth()
        };
        let check = |now, within| auth.check_fresh(at(now), Duration::from_millis(within));
        assert_eq!(check(1_000_500, 500), Ok(()));
        let age = Duration::from_millis(501);
        assert_eq!(check(1_000_501, 500), Err(AuthError::Stale { age }));
        assert_eq!(check(940_000, 500), Ok(()), "another server's clock");
        let age = Duration::MAX;
        assert_eq!(check(939_999, 500), Err(AuthError::Stale { age }));
    }
}
