//! What a cookie codec must do with any bytes: the check of the fuzz target `session_cookie_decode`, and of the
//! test that replays its inputs.

use purlin_core::{Keyring, SealingKey};
use purlin_session_store::{CookieAttributes, CookieCodec, SessionId};

/// Whether the bytes were taken as the cookie of an id, and as that of a token.
pub(crate) struct Taken {
    pub(crate) id: bool,
    pub(crate) token: bool,
}

pub(crate) fn check(input: &[u8]) -> Taken {
    let codecs = Codecs::new();
    codecs.check_tampering(input);
    codecs.check_payload(input);
    codecs.check_as_cookie(input)
}

/// One cookie before and after a rotation of its keys, and another cookie under the same keys.
struct Codecs {
    old: CookieCodec,
    now: CookieCodec,
    other: CookieCodec,
}

impl Codecs {
    fn new() -> Codecs {
        let codec = |name: &str, fills: &[u8]| {
            let keys = fills.iter().map(|&fill| SealingKey::new(fill, [fill; 32]));
            let ring = Keyring::new(keys).expect("the keys differ");
            let attributes = CookieAttributes::builder(name).build();
            CookieCodec::new(attributes.expect("the name is a good one"), ring)
        };
        Codecs {
            old: codec("__Host-id", &[7]),
            now: codec("__Host-id", &[9, 7]),
            other: codec("__Host-other", &[9, 7]),
        }
    }

    /// What is taken is what one of the keys writes: one text a value, and the older key is told from the newer.
    fn check_as_cookie(&self, input: &[u8]) -> Taken {
        let id = self.now.decode(input);
        if let Ok(opened) = &id {
            let writer = if opened.outdated {
                &self.old
            } else {
                &self.now
            };
            assert_eq!(writer.encode(&opened.value).as_bytes(), input);
            assert!(self.other.decode(input).is_err(), "good for another cookie");
        }
        let token = self.now.decode_token(input);
        if let Ok(opened) = &token {
            let writer = if opened.outdated {
                &self.old
            } else {
                &self.now
            };
            let text = writer.encode_token(&opened.value);
            assert_eq!(text.expect("it came in a cookie").as_bytes(), input);
            assert!(
                self.other.decode_token(input).is_err(),
                "good for another cookie"
            );
        }
        assert!(id.is_err() || token.is_err(), "both an id and a token");
        let (id, token) = (id.is_ok(), token.is_ok());
        Taken { id, token }
    }

    /// What goes in comes out, and only as what it went in as.
    fn check_payload(&self, payload: &[u8]) {
        let Ok(text) = self.old.encode_token(payload) else {
            assert!(payload.len() > self.old.max_token_len());
            return;
        };
        let opened = self
            .now
            .decode_token(&text)
            .expect("sealed by a key of the ring");
        assert_eq!(opened.value, payload);
        assert!(opened.outdated);
        assert!(self.check_as_cookie(text.as_bytes()).token);
    }

    /// An id's cookie with one byte replaced is refused.
    fn check_tampering(&self, input: &[u8]) {
        let [at, byte, secret @ ..] = input else {
            return;
        };
        let mut bytes = [0; SessionId::LEN];
        bytes
            .iter_mut()
            .zip(secret)
            .for_each(|(to, from)| *to = *from);
        let mut text = self
            .now
            .encode(&SessionId::from_secret_bytes(bytes))
            .into_bytes();
        assert!(self.check_as_cookie(&text).id);
        let at = usize::from(*at) % text.len();
        if text[at] != *byte {
            text[at] = *byte;
            assert!(self.now.decode(&text).is_err(), "byte {at} as {byte}");
        }
    }
}
