//! Sealed cookies.

mod attributes;

use core::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use purlin_core::{Keyring, Retry};

use crate::id::SessionId;

pub use attributes::{CookieAttributeError, CookieAttributes, CookieBuilder, SameSite};

/// Writes session ids, or tokens of the application's own, into a cookie, and reads back only what it wrote.
///
/// A value is the base64url text of a [`Keyring`] seal: HMAC-SHA256 under the ring's first key, which every
/// key of the ring opens. The seal is bound to the cookie's name and to what the value is, so a value of one
/// cookie is nothing in another. It shows who wrote the value; it does not hide it, and an id has nothing to
/// hide.
///
/// An id needs no seal to be unguessable. The seal keeps made-up ids from reaching the store at all, and a
/// rotation of the ring ends every cookie at once that a leaked key might have made.
///
/// ```
/// use purlin_core::{Keyring, SealingKey};
/// use purlin_session_store::{CookieAttributes, CookieCodec, SessionId};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ring = Keyring::new([SealingKey::new(2, [9; 32]), SealingKey::new(1, [7; 32])])?;
/// let codec = CookieCodec::new(CookieAttributes::default(), ring);
///
/// let id = SessionId::random()?;
/// let header = codec.set_cookie(&id, None);
/// assert!(header.starts_with("__Host-id="));
/// assert!(header.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
///
/// let opened = codec.decode(codec.encode(&id))?;
/// assert_eq!(opened.value.key(), id.key());
/// assert!(codec.decode("made-up").is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CookieCodec {
    attributes: CookieAttributes,
    keyring: Keyring,
    /// What seals of ids and of tokens are bound to.
    id_purpose: String,
    token_purpose: String,
}

/// A value that this service sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "complete: what was sealed, and by which kind of key"
)]
pub struct Opened<T> {
    /// What was sealed.
    pub value: T,
    /// Whether the key that sealed it is on its way out. Set the cookie anew, so that it is not lost with the
    /// key.
    pub outdated: bool,
}

/// The most bytes of a cookie that browsers are bound to keep, of its name and value together (RFC 6265,
/// 6.1).
const MAX_COOKIE_LEN: usize = 4096;

/// The length of an id's sealed text: base64 without padding.
const ID_TEXT_LEN: usize = text_len(SessionId::LEN);

const fn text_len(payload_len: usize) -> usize {
    ((Keyring::OVERHEAD + payload_len) * 4).div_ceil(3)
}

impl CookieCodec {
    /// The codec of one cookie.
    pub fn new(attributes: CookieAttributes, keyring: Keyring) -> Self {
        // The words before the name are fixed, so no name can turn one purpose into the other. A later form
        // of the payload gets another number.
        let id_purpose = format!("purlin session id 1 {}", attributes.name());
        let token_purpose = format!("purlin token 1 {}", attributes.name());
        CookieCodec {
            attributes,
            keyring,
            id_purpose,
            token_purpose,
        }
    }

    /// The name and attributes of the cookie.
    pub fn attributes(&self) -> &CookieAttributes {
        &self.attributes
    }

    /// The cookie value of an id: 87 characters of base64url.
    pub fn encode(&self, id: &SessionId) -> String {
        URL_SAFE_NO_PAD.encode(self.keyring.seal(&self.id_purpose, id.secret_bytes()))
    }

    /// The id in a cookie value. Takes any bytes, and bounded time.
    ///
    /// # Errors
    ///
    /// [`CookieError`] for whatever [`encode`](CookieCodec::encode) did not write under a key of this ring.
    /// Treat it as no cookie: one that was forged and one whose key has been retired look alike.
    pub fn decode(&self, value: impl AsRef<[u8]>) -> Result<Opened<SessionId>, CookieError> {
        let value = value.as_ref();
        if value.len() != ID_TEXT_LEN {
            return Err(CookieError::Malformed);
        }
        let opened = self.open(&self.id_purpose, value)?;
        let id = opened
            .value
            .try_into()
            .map_err(|_| CookieError::Malformed)?;
        Ok(Opened {
            value: SessionId::from_secret_bytes(id),
            outdated: opened.outdated,
        })
    }

    /// The cookie value of a token: which server a client sticks to, say. The client can read it.
    ///
    /// # Errors
    ///
    /// [`TokenTooLong`] if browsers might not keep the cookie; see
    /// [`max_token_len`](CookieCodec::max_token_len).
    pub fn encode_token(&self, token: &[u8]) -> Result<String, TokenTooLong> {
        let limit = self.max_token_len();
        if token.len() > limit {
            return Err(TokenTooLong {
                len: token.len(),
                limit,
            });
        }
        Ok(URL_SAFE_NO_PAD.encode(self.keyring.seal(&self.token_purpose, token)))
    }

    /// The token in a cookie value. Takes any bytes, and time bounded by the longest cookie.
    ///
    /// # Errors
    ///
    /// As for [`decode`](CookieCodec::decode). A token has no date of its own: put one in if it is not to be
    /// good for as long as its key.
    pub fn decode_token(&self, value: impl AsRef<[u8]>) -> Result<Opened<Vec<u8>>, CookieError> {
        self.open(&self.token_purpose, value.as_ref())
    }

    /// The longest token whose cookie is sure to be kept: about 3 KB.
    pub fn max_token_len(&self) -> usize {
        // The name is shorter than this by far, and four characters of base64 hold three bytes.
        (MAX_COOKIE_LEN - self.attributes.name().len()) / 4 * 3 - Keyring::OVERHEAD
    }

    /// The `Set-Cookie` header that gives the client an id. Without `max_age` the browser forgets the cookie
    /// when it closes; the server's deadlines hold either way.
    ///
    /// Send `Cache-Control: no-store` with it, or a shared cache may give one client's cookie to another.
    pub fn set_cookie(&self, id: &SessionId, max_age: Option<Duration>) -> String {
        self.attributes.set_cookie(&self.encode(id), max_age)
    }

    /// The `Set-Cookie` header that takes the cookie away.
    pub fn removal(&self) -> String {
        self.attributes.set_cookie("", Some(Duration::ZERO))
    }

    fn open(&self, purpose: &str, value: &[u8]) -> Result<Opened<Vec<u8>>, CookieError> {
        if value.len() > MAX_COOKIE_LEN {
            return Err(CookieError::TooLong);
        }
        // One text for one value: the decoder refuses padding, and spare bits that are not zero.
        let sealed = URL_SAFE_NO_PAD
            .decode(value)
            .map_err(|_| CookieError::Malformed)?;
        let payload = self
            .keyring
            .open(purpose, &sealed)
            .ok_or(CookieError::Unsealed)?;
        Ok(Opened {
            value: payload.to_vec(),
            outdated: self.keyring.is_outdated(&sealed),
        })
    }
}

/// Why a cookie was not accepted. For the counters of the service; the client is told nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// It is longer than any cookie.
    #[error("the cookie is too long")]
    TooLong,
    /// It is not the text of a sealed value.
    #[error("the cookie is malformed")]
    Malformed,
    /// No key of the ring sealed it, for this cookie and this use.
    #[error("the cookie was not sealed here")]
    Unsealed,
}

impl CookieError {
    /// Never: the same cookie fails in the same way.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

/// A token is too long for a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token of {len} bytes is longer than {limit}")]
#[non_exhaustive]
pub struct TokenTooLong {
    /// The token's length.
    pub len: usize,
    /// The longest that fits.
    pub limit: usize,
}

impl TokenTooLong {
    /// Never: the token stays as long as it is.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}
