//! Proof that a form was ours.

use core::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use purlin_core::Keyring;

use crate::id::{EntropyError, SessionId};

/// Tokens for forms, each good for one session: a page of another site makes the browser send the cookie, but
/// cannot know the token.
///
/// A token is the HMAC of the session's id under a [`Keyring`], so nothing is stored; and it is hidden anew
/// each time it is given out, so that compressing pages tells nothing of it. A new id, as a login gives, makes
/// the tokens of the old one worthless.
///
/// The tokens of one service are not another's: use a keyring of one's own for each.
///
/// ```
/// use purlin_core::{Keyring, SealingKey};
/// use purlin_session_store::{CsrfTokens, SessionId};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tokens = CsrfTokens::new(Keyring::new([SealingKey::new(1, [7; 32])])?);
/// let id = SessionId::random()?;
/// let hidden_field = tokens.issue(&id)?;
/// assert!(tokens.check(&id, &hidden_field));
/// assert!(!tokens.check(&SessionId::random()?, &hidden_field));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct CsrfTokens {
    ring: Arc<Keyring>,
}

const PURPOSE: &str = "purlin csrf";
/// The id of a key and the tag; the payload, which is the session's id, is not given out.
const SEAL_LEN: usize = Keyring::OVERHEAD;

impl CsrfTokens {
    /// Tokens under these keys, which may be those of the cookies.
    pub fn new(ring: impl Into<Arc<Keyring>>) -> Self {
        CsrfTokens { ring: ring.into() }
    }

    /// A token for a session, of 88 letters that may stand in a form, a header or a URL. Each call gives
    /// another, and all of them are good.
    ///
    /// # Errors
    ///
    /// [`EntropyError`] if the system gives no random bytes.
    pub fn issue(&self, id: &SessionId) -> Result<String, EntropyError> {
        let sealed = self.ring.seal(PURPOSE, id.secret_bytes());
        let (first, second) = (SessionId::random()?, SessionId::random()?);
        let pad = [&first.secret_bytes()[..], second.secret_bytes()].concat();
        let mut token = pad[..SEAL_LEN].to_vec();
        token.extend(sealed.iter().zip(&pad).take(SEAL_LEN).map(|(a, b)| a ^ b));
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// Whether a token was issued for this session, under a key that still counts. The time it takes does not
    /// tell how nearly right it was.
    pub fn check(&self, id: &SessionId, token: &str) -> bool {
        // Longer texts are not worth decoding.
        if token.len() > 2 * SEAL_LEN * 4 / 3 {
            return false;
        }
        let Ok(token) = URL_SAFE_NO_PAD.decode(token) else {
            return false;
        };
        if token.len() != 2 * SEAL_LEN {
            return false;
        }
        let (pad, hidden) = token.split_at(SEAL_LEN);
        let mut sealed: Vec<u8> = hidden.iter().zip(pad).map(|(a, b)| a ^ b).collect();
        sealed.extend_from_slice(id.secret_bytes());
        self.ring.open(PURPOSE, &sealed).is_some()
    }
}

/// Shows the ids of the keys.
impl fmt::Debug for CsrfTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrfTokens")
            .field("ring", &self.ring)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use purlin_core::SealingKey;

    use super::*;

    fn tokens(ids: &[u8]) -> CsrfTokens {
        let keys = ids.iter().map(|id| SealingKey::new(*id, [*id; 32]));
        CsrfTokens::new(Keyring::new(keys).unwrap())
    }

    #[test]
    fn a_token_is_good_for_its_session_and_keys_alone() {
        let (mine, other) = (SessionId::random().unwrap(), SessionId::random().unwrap());
        let token = tokens(&[1]).issue(&mine).unwrap();
        assert_eq!(token.len(), 88);
        assert!(tokens(&[1]).check(&mine, &token));
        assert!(tokens(&[2, 1]).check(&mine, &token), "rotated");
        assert!(!tokens(&[2]).check(&mine, &token), "retired");
        assert!(!tokens(&[1]).check(&other, &token));
        assert_ne!(tokens(&[1]).issue(&mine).unwrap(), token, "hidden anew");
    }

    #[test]
    fn no_other_text_is_a_token() {
        let id = SessionId::random().unwrap();
        let tokens = tokens(&[1]);
        let token = tokens.issue(&id).unwrap();
        let raw = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for (at, bit) in (0..raw.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut forged = raw.clone();
            forged[at] ^= 1 << bit;
            assert!(
                !tokens.check(&id, &URL_SAFE_NO_PAD.encode(forged)),
                "{at} {bit}"
            );
        }
        for text in [
            "",
            "x",
            "é",
            &token[1..],
            &format!("{token}A"),
            &"A".repeat(1 << 20),
        ] {
            assert!(!tokens.check(&id, text));
        }
    }
}
