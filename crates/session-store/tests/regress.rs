//! What has gone wrong in session libraries, each as a test: of S1 to S11, a list of published defects, what is about ids,
//! cookies and clocks and asks no store, and the failures that were measured when others were tried. What of the list a
//! store has a part in is run on every store, by `conformance_regressions!` (here in `lines.rs`).
#![cfg(all(feature = "keyring", feature = "json"))]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::{Keyring, ManualClock, SealingKey, Tick, WallTime};
use purlin_session_store::conformance::Faulty;
use purlin_session_store::{
    CookieAttributes, CookieCodec, CreateOutcome, ErrorKind, Lifetime, Login, MemoryStore, Policy,
    Record, Saved, Session, SessionId, SessionStore, Sessions, Slide, State, UserKey, Version,
};

use common::{HOUR, Under};

const MINUTE: Duration = Duration::from_secs(60);

fn memory() -> Under<MemoryStore<ManualClock>> {
    let clock = ManualClock::new();
    let store = MemoryStore::builder().clock(clock.clone()).build();
    Under { store, clock }
}

fn codec(ids: &[u8]) -> CookieCodec {
    let keys = ids.iter().map(|id| SealingKey::new(*id, [*id; 32]));
    CookieCodec::new(CookieAttributes::default(), Keyring::new(keys).unwrap())
}

async fn cart<S: SessionStore>(sessions: &Sessions<S>) -> SessionId {
    let mut session = Session::absent();
    session.set_bytes("cart", "hammer").unwrap();
    assert_eq!(sessions.commit(&mut session).await.unwrap(), Saved::Created);
    session.id().unwrap().clone()
}

/// S4: ids can be guessed.
#[test]
fn regress_s4_ids_have_256_bits_and_do_not_repeat() {
    let n = if cfg!(debug_assertions) {
        50_000
    } else {
        10_000_000
    };
    let mut seen = HashSet::new();
    let mut ones = [0_u32; 256];
    for _ in 0..n {
        let id = SessionId::random().unwrap();
        let bytes = id.secret_bytes();
        for (bit, ones) in ones.iter_mut().enumerate() {
            *ones += u32::from(bytes[bit / 8] >> (bit % 8) & 1);
        }
        let half: [u8; 16] = bytes[..16].try_into().unwrap();
        assert!(seen.insert(half));
    }
    // Each bit is one half of the time, to within seven deviations.
    let (half, deviation) = (f64::from(n) / 2.0, f64::from(n).sqrt() / 2.0);
    for (bit, ones) in ones.iter().enumerate() {
        assert!(
            (f64::from(*ones) - half).abs() < 7.0 * deviation,
            "bit {bit}"
        );
    }
}

/// S5: the parser of cookies panics, or eats time; and so does a `Max-Age` out of all bounds.
#[test]
fn regress_s5_no_cookie_is_too_much() {
    let codec = codec(&[1]);
    let mut rng = purlin_core::Rng::from_seed(5);
    for len in [0, 1, 86, 87, 88, 4095, 4096, 4097, 64 << 10, 1 << 20] {
        for _ in 0..20 {
            let noise: Vec<u8> = (0..len.min(5000)).map(|_| rng.next_u64() as u8).collect();
            assert!(codec.decode(&noise).is_err());
            assert!(codec.decode_token(&noise).is_err());
        }
        assert!(codec.decode("A".repeat(len)).is_err());
    }
    let id = SessionId::random().unwrap();
    let header = codec.set_cookie(&id, Some(Duration::MAX));
    let age = header.split("Max-Age=").nth(1).unwrap();
    let age: u64 = age.split(';').next().unwrap().parse().unwrap();
    assert_eq!(age, 400 * 24 * 60 * 60, "{header}");
}

/// S6: forged, replayed and outdated tokens are accepted.
#[test]
fn regress_s6_a_forged_cookie_is_refused_and_keys_retire() {
    let id = SessionId::random().unwrap();
    let sealed = codec(&[1]).encode(&id);
    let opened = codec(&[2, 1]).decode(&sealed).unwrap();
    assert!(opened.outdated && opened.value.key() == id.key());
    assert!(codec(&[2]).decode(&sealed).is_err(), "retired");
    for (at, byte) in sealed.bytes().enumerate() {
        for bit in 0..8 {
            let mut forged = sealed.clone().into_bytes();
            forged[at] = byte ^ 1 << bit;
            assert!(codec(&[1]).decode(&forged).is_err(), "{at} {bit}");
        }
    }
    let attributes = CookieAttributes::builder("__Host-other").build().unwrap();
    let other = CookieCodec::new(
        attributes,
        Keyring::new([SealingKey::new(1, [1; 32])]).unwrap(),
    );
    assert!(
        other.decode(&sealed).is_err(),
        "another cookie of the same service"
    );
}

/// S7: only the browser expires, or use goes on for ever, or a clock that is set ends or revives sessions.
#[tokio::test]
async fn regress_s7_a_clock_that_is_set_or_steps_back_moves_no_limit() {
    let Under { store, clock } = memory();
    clock.jump_to(Tick::ZERO.after(HOUR));
    let policy = Policy::default().idle(MINUTE * 10).absolute(HOUR);
    let sessions = Sessions::new(store, policy).with_clock(clock.clone());
    let unused = {
        let mut session = Session::absent();
        session.set_bytes("cart", "x").unwrap();
        let _ = sessions.commit(&mut session).await.unwrap();
        session.id().unwrap().clone()
    };
    let mut session = Session::absent();
    session.login(Login::new("17"));
    let _ = sessions.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    for minutes in 1..60 {
        clock.advance(MINUTE);
        clock.set_wall(WallTime::from_unix_millis(if minutes % 2 == 0 {
            0
        } else {
            u64::MAX / 2
        }));
        let mut seen = sessions.open(id.clone()).await.unwrap();
        assert_eq!(seen.user(), Some("17"), "minute {minutes}");
        seen.set_bytes("minute", vec![minutes]).unwrap();
        let _ = sessions.commit(&mut seen).await.unwrap();
    }
    let seen = sessions.open(unused).await.unwrap();
    assert_eq!(seen.state(), State::Absent, "not used for ten minutes");
    clock.advance(MINUTE);
    assert_eq!(
        sessions.open(id.clone()).await.unwrap().state(),
        State::Absent,
        "an hour"
    );
    clock.jump_to(Tick::ZERO.after(HOUR));
    assert_eq!(
        sessions.open(id).await.unwrap().state(),
        State::Absent,
        "a step back"
    );
}

/// S8: the cookie lacks the attributes that protect it.
#[test]
fn regress_s8_the_default_cookie_has_every_attribute() {
    let id = SessionId::random().unwrap();
    let codec = codec(&[1]);
    let header = codec.set_cookie(&id, None);
    let expected = format!(
        "__Host-id={}; Path=/; Secure; HttpOnly; SameSite=Lax",
        codec.encode(&id)
    );
    assert_eq!(header, expected);
    assert!(header.len() < 4096);
}

/// S11: a sticky cookie names the server in clear, and a client goes where it likes.
#[test]
fn regress_s11_a_sticky_token_is_sealed_and_a_forged_one_is_none() {
    let codec = codec(&[1]);
    let token = codec.encode_token(b"instance 4711").unwrap();
    assert_eq!(codec.decode_token(&token).unwrap().value, b"instance 4711");
    for at in 0..token.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        assert!(codec.decode_token(&forged).is_err(), "{at}");
    }
    let id = SessionId::random().unwrap();
    assert!(
        codec.decode_token(codec.encode(&id)).is_err(),
        "an id is no token"
    );
    assert!(codec.decode(&token).is_err(), "nor the other way round");
}

/// Elsewhere, two servers on one database, one request after the other: each sees its own writes only.
#[tokio::test]
async fn elsewhere_two_servers_in_turn_lose_updates() {
    let store = Arc::new(MemoryStore::new());
    let servers = [(); 2].map(|()| Sessions::new(Arc::clone(&store), Policy::default()));
    let id = cart(&servers[0]).await;
    for i in 0..10 {
        let mut session = servers[i % 2].open(id.clone()).await.unwrap();
        session.set_bytes(&format!("{i}"), "x").unwrap();
        assert_eq!(session.names().count(), i + 2);
        let _ = servers[i % 2].commit(&mut session).await.unwrap();
    }
    for server in &servers {
        assert_eq!(server.open(id.clone()).await.unwrap().names().count(), 11);
    }
}

/// Elsewhere, a load that fails is an empty session, which is then saved over the good one.
#[tokio::test]
async fn elsewhere_a_failed_load_destroys_the_session() {
    let Under { store, .. } = memory();
    let store = Arc::new(Faulty::new(store));
    let sessions = Sessions::new(Arc::clone(&store), Policy::default());
    let id = cart(&sessions).await;
    store.fail(ErrorKind::Unavailable);
    assert!(
        sessions.open(id.clone()).await.is_err(),
        "there is no session to save"
    );
    store.heal();
    let seen = sessions.open(id).await.unwrap();
    assert_eq!(seen.get_bytes("cart").as_deref(), Some(&b"hammer"[..]));
}

/// Elsewhere, a login that ends in a server error leaves the user with neither the old session nor a new one.
#[tokio::test]
async fn elsewhere_a_failed_login_takes_the_session_away() {
    let sessions = Sessions::new(MemoryStore::new(), Policy::default());
    let id = cart(&sessions).await;
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.login(Login::new("17"));
    // The handler fails, and nobody commits.
    drop(session);
    let seen = sessions.open(id).await.unwrap();
    assert_eq!((seen.state(), seen.user()), (State::Clean, None));
}

/// Elsewhere, what is still in flight at a logout makes a new session with the old one's login in it.
#[tokio::test]
async fn elsewhere_a_request_in_flight_makes_the_session_anew() {
    let store = Arc::new(MemoryStore::new());
    let sessions = Sessions::new(Arc::clone(&store), Policy::default());
    let mut session = Session::absent();
    session.login(Login::new("17"));
    let _ = sessions.commit(&mut session).await.unwrap();
    let mut in_flight = sessions.open(session.id().unwrap().clone()).await.unwrap();
    session.logout();
    let _ = sessions.commit(&mut session).await.unwrap();
    for _ in 0..3 {
        in_flight.set_bytes("late", "x").unwrap();
        let outcome = sessions.commit(&mut in_flight).await;
        assert!(!matches!(
            outcome,
            Ok(Saved::Created | Saved::Rotated | Saved::Written)
        ));
        assert!(in_flight.id().is_none(), "no cookie for it");
    }
    assert!(store.by_user(&UserKey::of("17")).await.unwrap().is_empty());
}

/// Elsewhere, expired sessions stay in memory for ever.
#[tokio::test]
async fn elsewhere_expired_sessions_are_never_freed() {
    let Under { store, clock } = memory();
    for i in 0..10_000_u32 {
        let mut secret = [0; SessionId::LEN];
        secret[..4].copy_from_slice(&i.to_le_bytes());
        let key = SessionId::from_secret_bytes(secret).key();
        let _ = store
            .create(&key, Record::new("x", Lifetime::new(MINUTE, HOUR)))
            .await
            .unwrap();
    }
    clock.advance(MINUTE * 2);
    for _ in 0..2_000 {
        let key = SessionId::random().unwrap().key();
        let _ = store
            .create(&key, Record::new("x", Lifetime::new(MINUTE, HOUR)))
            .await
            .unwrap();
        assert!(store.load(&key, Slide::No).await.unwrap().is_some());
    }
    assert_eq!(
        store.stats().entries,
        2_000,
        "the writes alone have freed the rest"
    );
}

/// Elsewhere (four races of one library): logins at once miss each other's entry in the user's list; a list that is
/// lost makes revocation a lie; a use in flight undoes it; and a login during it is on no list.
#[tokio::test]
async fn elsewhere_revoked_sessions_go_on() {
    // The suite has each of the four, for this store and every other; here the pieces that need no concurrency.
    let store = MemoryStore::new();
    let user = UserKey::of("17");
    let owner = purlin_session_store::Owner::User { user, cap: None };
    let record = || Record::new("x", Lifetime::new(HOUR, HOUR)).with_owner(owner);
    let keys: Vec<_> = (0..8).map(|_| SessionId::random().unwrap().key()).collect();
    for key in &keys {
        let _ = store.create(key, record()).await.unwrap();
    }
    let in_flight = store.load(&keys[0], Slide::No).await.unwrap().unwrap();
    assert_eq!(store.revoke_user(&user, None).await.unwrap(), 8);
    let _ = store.touch(&keys[0], Slide::to(HOUR * 9)).await.unwrap();
    let late = store
        .commit(&keys[0], in_flight.version, record())
        .await
        .unwrap();
    assert_eq!(late, purlin_session_store::CommitOutcome::Gone);
    for key in &keys {
        assert_eq!(store.load(key, Slide::No).await.unwrap(), None);
        assert_eq!(
            store.create(key, record()).await.unwrap(),
            CreateOutcome::Collision
        );
    }
    let next = SessionId::random().unwrap().key();
    let outcome = store.create(&next, record()).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Created(Version::FIRST));
    assert_eq!(store.by_user(&user).await.unwrap(), [next]);
}
