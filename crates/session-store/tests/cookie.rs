//! Cookies: what was sealed comes back, and nothing else does.
#![cfg(feature = "keyring")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use proptest::prelude::*;
use purlin_core::{Keyring, SealingKey};
use purlin_session_store::{
    CookieAttributeError as Wrong, CookieAttributes, CookieCodec, CookieError, SameSite, SessionId,
};

fn codec_named(name: &str, keys: &[(u8, u8)]) -> CookieCodec {
    let keys = keys
        .iter()
        .map(|(id, fill)| SealingKey::new(*id, [*fill; 32]));
    let attributes = CookieAttributes::builder(name).build().unwrap();
    CookieCodec::new(attributes, Keyring::new(keys).unwrap())
}

fn codec() -> CookieCodec {
    codec_named("__Host-id", &[(1, 7)])
}

fn id(fill: u8) -> SessionId {
    SessionId::from_secret_bytes([fill; 32])
}

/// A cookie written by this version is good in every later one. The text was computed by another program:
/// HMAC-SHA256, key 32 times 7, over the purpose's length as u64 LE, the purpose, the key's id, and the
/// payload.
#[test]
fn the_text_of_a_cookie_stays_what_it_is() {
    let text = codec().encode(&id(5));
    assert_eq!(
        text,
        "AYAj4uTAhRYYaNymjsUPwR3qi8nwlvwuFvJJQlOPM9aFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    );
    assert_eq!(codec().decode(&text).unwrap().value.key(), id(5).key());
}

#[test]
fn every_changed_character_and_every_cut_is_refused() {
    let text = codec().encode(&id(5));
    assert_eq!(text.len(), 87);
    for i in 0..text.len() {
        for other in *b"AQgw-_=+/.\"; \x00\xff" {
            let mut forged = text.clone().into_bytes();
            if forged[i] != other {
                forged[i] = other;
                assert!(codec().decode(&forged).is_err(), "byte {i} as {other}");
            }
        }
        assert!(codec().decode(&text[..i]).is_err(), "cut to {i}");
    }
    assert!(codec().decode(format!("{text}=")).is_err(), "padded");
    assert!(codec().decode(format!("{text}A")).is_err(), "longer");
}

/// Spare bits of the last character must be zero, so that a session has one cookie text and not four.
#[test]
fn a_value_has_one_text() {
    let sealed = codec().encode_token(b"1").unwrap();
    let accepted: Vec<char> = ('A'..='Z')
        .chain('a'..='z')
        .chain('0'..='9')
        .filter(|last| {
            codec()
                .decode_token(format!("{}{last}", &sealed[..sealed.len() - 1]))
                .is_ok()
        })
        .collect();
    assert_eq!(accepted.len(), 1);
}

#[test]
fn keys_rotate_without_a_moment_in_which_cookies_fail() {
    let old = codec_named("id", &[(1, 7)]);
    let both = codec_named("id", &[(2, 9), (1, 7)]);
    let new = codec_named("id", &[(2, 9)]);
    let text = old.encode(&id(5));

    let opened = both.decode(&text).unwrap();
    assert!(opened.outdated, "to be set anew");
    assert_eq!(opened.value.key(), id(5).key());
    let renewed = both.encode(&opened.value);
    assert!(!both.decode(&renewed).unwrap().outdated);
    assert!(new.decode(&renewed).is_ok());
    assert_eq!(new.decode(&text).unwrap_err(), CookieError::Unsealed);
    // Another secret under the same number is another key.
    assert_eq!(
        codec_named("id", &[(1, 8)]).decode(&text).unwrap_err(),
        CookieError::Unsealed
    );
}

#[test]
fn a_value_is_good_for_its_own_cookie_and_use_only() {
    let (one, other) = (
        codec_named("one", &[(1, 7)]),
        codec_named("other", &[(1, 7)]),
    );
    assert_eq!(
        other.decode(one.encode(&id(5))).unwrap_err(),
        CookieError::Unsealed
    );
    let shorter = one.encode_token(&[5; 31]).unwrap();
    assert_eq!(
        one.decode(&shorter).unwrap_err(),
        CookieError::Malformed,
        "no id has this length"
    );
    let token = one.encode_token(&[5; 32]).unwrap();
    assert_eq!(
        one.decode(&token).unwrap_err(),
        CookieError::Unsealed,
        "a token is no id"
    );
    let text = one.encode(&id(5));
    assert_eq!(
        one.decode_token(&text).unwrap_err(),
        CookieError::Unsealed,
        "an id is no token"
    );
}

#[test]
fn the_longest_token_fits_a_cookie_and_a_longer_one_is_refused() {
    for name in ["s", "__Host-id", &"n".repeat(256)] {
        let codec = codec_named(name, &[(1, 7)]);
        let limit = codec.max_token_len();
        assert!(limit > 2_800);
        let longest = vec![9; limit];
        let text = codec.encode_token(&longest).unwrap();
        assert!(name.len() + text.len() <= 4096);
        assert_eq!(codec.decode_token(&text).unwrap().value, longest);
        assert_eq!(
            codec.encode_token(&vec![9; limit + 1]).unwrap_err().limit,
            limit
        );
    }
    assert_eq!(
        codec().decode_token("A".repeat(4097)).unwrap_err(),
        CookieError::TooLong
    );
    assert_eq!(
        codec()
            .decode_token(codec().encode_token(b"").unwrap())
            .unwrap()
            .value,
        b""
    );
}

#[test]
fn attributes_that_a_browser_would_refuse_cannot_be_built() {
    let build = CookieAttributes::builder;
    assert_eq!(
        build("__Host-id").secure(false).build(),
        Err(Wrong::HostPrefix)
    );
    assert_eq!(
        build("__host-id").secure(false).build(),
        Err(Wrong::HostPrefix)
    );
    assert_eq!(
        build("__Host-id").domain("example.com").build(),
        Err(Wrong::HostPrefix)
    );
    assert_eq!(
        build("__Host-id").path("/app").build(),
        Err(Wrong::HostPrefix)
    );
    assert_eq!(
        build("__Secure-id").secure(false).build(),
        Err(Wrong::SecurePrefix)
    );
    assert_eq!(
        build("id").secure(false).same_site(SameSite::None).build(),
        Err(Wrong::SameSiteNone)
    );
    for name in ["", "a b", "a=b", "a;b", "a\r\nb", "é", &"n".repeat(257)] {
        assert_eq!(build(name).build(), Err(Wrong::Name), "{name:?}");
    }
    for path in ["", "app", "/a;b", "/a\r\nSet-Cookie: x=y", "/é"] {
        assert_eq!(build("id").path(path).build(), Err(Wrong::Path), "{path:?}");
    }
    for domain in ["", "a b", "a;b", "a\nb"] {
        assert_eq!(
            build("id").domain(domain).build(),
            Err(Wrong::Domain),
            "{domain:?}"
        );
    }
    assert_eq!(build("__Host-id").build(), Ok(CookieAttributes::default()));
}

#[test]
fn a_header_says_what_was_asked_for() {
    let attributes = CookieAttributes::builder("__Secure-id")
        .domain("example.com")
        .path("/app")
        .http_only(false)
        .same_site(SameSite::None)
        .build()
        .unwrap();
    assert_eq!(
        attributes.set_cookie("abc", Some(Duration::from_millis(61_999))),
        "__Secure-id=abc; Path=/app; Domain=example.com; Max-Age=61; Secure; SameSite=None"
    );
    let plain = CookieAttributes::builder("id")
        .secure(false)
        .build()
        .unwrap();
    assert_eq!(
        plain.set_cookie("a;b\r\nc\"d", None),
        "id=abcd; Path=/; HttpOnly; SameSite=Lax"
    );
    assert_eq!(
        codec().removal(),
        "__Host-id=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
    );
}

proptest! {
    #[test]
    fn whatever_a_client_sends_is_answered_by_an_error(value in prop::collection::vec(any::<u8>(), 0..5_000)) {
        assert!(codec().decode(&value).is_err());
        assert!(codec().decode_token(&value).is_err());
    }

    #[test]
    fn text_in_the_right_alphabet_and_length_is_refused_too(value in "[A-Za-z0-9_-]{87}") {
        assert!(codec().decode(&value).is_err());
    }

    #[test]
    fn what_was_sealed_comes_back(bytes in any::<[u8; 32]>(), token in prop::collection::vec(any::<u8>(), 0..200)) {
        let sealed = SessionId::from_secret_bytes(bytes);
        assert_eq!(codec().decode(codec().encode(&sealed)).unwrap().value.key(), sealed.key());
        let text = codec().encode_token(&token).unwrap();
        assert_eq!(codec().decode_token(text).unwrap().value, token);
    }
}
