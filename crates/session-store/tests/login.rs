//! Who is logged in, and what a session does beside its fields: flash values, clashes, deadlines, budgets.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use purlin_core::{ManualClock, Retry, WallTime};
use purlin_session_store::conformance::{Fault, Faults, Faulty};
use purlin_session_store::{
    Assurance, AuthError, Cap, CommitError, FieldError, Login, MemoryStore, OnClash, Policy,
    RevokeError, Saved, Session, SessionStore, Sessions, State, UpdateError, UserKey,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const NOON: WallTime = WallTime::from_unix_millis(1_700_000_000_000);

type Shop = Sessions<MemoryStore<ManualClock>, ManualClock>;

fn shop(policy: Policy) -> (Shop, ManualClock) {
    let clock = ManualClock::at_wall(NOON);
    let store = MemoryStore::builder().clock(clock.clone()).build();
    (
        Sessions::new(store, policy).with_clock(clock.clone()),
        clock,
    )
}

async fn open(shop: &Shop, session: &Session) -> Session {
    shop.open(session.id().unwrap().clone()).await.unwrap()
}

async fn commit(shop: &Shop, session: &mut Session) -> Saved {
    shop.commit(session).await.unwrap()
}

async fn anonymous(shop: &Shop, field: &str, value: &'static str) -> Session {
    let mut session = Session::absent();
    session.set_bytes(field, value).unwrap();
    assert_eq!(commit(shop, &mut session).await, Saved::Created);
    session
}

async fn logged_in(shop: &Shop, user: &str) -> Session {
    let mut session = Session::absent();
    session.login(Login::new(user));
    assert_eq!(commit(shop, &mut session).await, Saved::Created);
    session
}

#[tokio::test]
async fn a_login_keeps_the_cart_and_changes_the_id() {
    let (shop, _) = shop(Policy::default());
    let mut session = anonymous(&shop, "cart", "hammer").await;
    let old = session.id().unwrap().clone();
    session.login(Login::new("17").label("Firefox").assurance(Assurance::Two));
    assert_eq!(
        (session.user(), session.state()),
        (Some("17"), State::Rotated)
    );
    assert_eq!(session.handle(), None, "not stored yet");
    assert_eq!(commit(&shop, &mut session).await, Saved::Rotated);

    let seen = open(&shop, &session).await;
    assert_eq!(
        (seen.user(), seen.assurance()),
        (Some("17"), Some(Assurance::Two))
    );
    assert_eq!(seen.get_bytes("cart").as_deref(), Some(&b"hammer"[..]));
    assert_eq!(
        seen.names().collect::<Vec<_>>(),
        ["cart"],
        "a login is no field"
    );
    let past = shop.open(old).await.unwrap();
    assert!(past.is_superseded() && past.user().is_none());

    let devices = shop.devices(&seen).await.unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((&*devices[0].label, devices[0].since), ("Firefox", NOON));
    assert_eq!(devices[0].unused_for, Some(Duration::ZERO));
    assert!(devices[0].is_current);
}

#[tokio::test]
async fn where_another_user_was_logged_in_nothing_of_theirs_stays() {
    let (shop, _) = shop(Policy::default());
    let mut session = logged_in(&shop, "alice").await;
    session.set_bytes("address", "secret").unwrap();
    session.set_flash_bytes("note", "secret").unwrap();
    let _ = commit(&shop, &mut session).await;
    let handle = session.handle();

    session.login(Login::new("alice"));
    let _ = commit(&shop, &mut session).await;
    assert!(
        session.get_bytes("address").is_some(),
        "the same user again"
    );

    session.login(Login::new("bob"));
    session.set_bytes("theme", "dark").unwrap();
    let _ = commit(&shop, &mut session).await;
    let mut seen = open(&shop, &session).await;
    assert_eq!(seen.names().collect::<Vec<_>>(), ["theme"]);
    assert_eq!(seen.take_flash_bytes("note"), None);
    assert_eq!(seen.user(), Some("bob"));
    assert_ne!(seen.handle(), handle);
    assert_eq!(shop.of_user("alice").await.unwrap(), []);
    assert_eq!(shop.of_user("bob").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_step_up_renews_the_proof_and_never_lowers_it() {
    let (shop, clock) = shop(Policy::default());
    let mut session = Session::absent();
    assert_eq!(session.step_up(Assurance::Three), Err(AuthError::LoggedOut));
    session.login(Login::new("17"));
    let _ = commit(&shop, &mut session).await;
    assert_eq!(
        session.require_fresh(MINUTE),
        Ok(()),
        "in the request that logged in"
    );
    let handle = session.handle();

    clock.advance(MINUTE * 10);
    let mut session = open(&shop, &session).await;
    let age = MINUTE * 10;
    assert_eq!(session.require_fresh(MINUTE), Err(AuthError::Stale { age }));
    assert_eq!(session.require_fresh(MINUTE * 10), Ok(()));
    session.step_up(Assurance::Two).unwrap();
    assert_eq!(
        session.require_fresh(MINUTE),
        Ok(()),
        "in the request that proves it"
    );
    let _ = commit(&shop, &mut session).await;
    session.step_up(Assurance::One).unwrap();
    let _ = commit(&shop, &mut session).await;

    let session = open(&shop, &session).await;
    assert_eq!(session.require_fresh(MINUTE), Ok(()));
    assert_eq!(session.require_assurance(Assurance::Two), Ok(()));
    assert_eq!(
        session.handle(),
        handle,
        "the user knows it by the same name"
    );
    let devices = shop.devices(&session).await.unwrap();
    assert_eq!(
        (devices[0].since, devices[0].proven),
        (NOON, NOON.after(age))
    );
    let weak = session.require_assurance(Assurance::Three).unwrap_err();
    assert_eq!(
        weak,
        AuthError::Weak {
            assurance: Assurance::Two
        }
    );
    assert_eq!(weak.retry(), Retry::NEVER);
}

/// A privilege changes with the id or not at all, so no writer that is late can bring one back.
#[tokio::test]
async fn a_late_writer_restores_no_privilege() {
    let (shop, _) = shop(Policy::default());
    let mut session = logged_in(&shop, "alice").await;
    let mut late = open(&shop, &session).await;
    late.set_bytes("seen", "x").unwrap();
    let mut later = open(&shop, &session).await;
    later.login(Login::new("alice").assurance(Assurance::Three));

    session.login(Login::new("bob"));
    let _ = commit(&shop, &mut session).await;
    for late in [&mut late, &mut later] {
        let outcome = shop.commit(late).await;
        assert!(
            matches!(outcome, Err(CommitError::Superseded)),
            "{outcome:?}"
        );
        assert!(
            matches!(shop.logout_others(late).await, Ok(0)),
            "its user has no session"
        );
    }
    let seen = open(&shop, &session).await;
    assert_eq!(
        (seen.user(), seen.assurance()),
        (Some("bob"), Some(Assurance::One))
    );
}

#[tokio::test]
async fn who_is_not_logged_in_ends_nobodys_sessions() {
    let (shop, _) = shop(Policy::default());
    let mut session = anonymous(&shop, "cart", "hammer").await;
    assert!(matches!(
        shop.logout_others(&session).await,
        Err(RevokeError::LoggedOut)
    ));
    session.login(Login::new("17"));
    let refused = shop.logout_everywhere(&mut session).await;
    assert!(
        matches!(refused, Err(RevokeError::LoggedOut)),
        "not committed"
    );
    let old = session.id().unwrap().clone();
    let _ = commit(&shop, &mut session).await;
    let mut past = shop.open(old).await.unwrap();
    let refused = shop.logout_everywhere(&mut past).await.unwrap_err();
    assert!(matches!(refused, RevokeError::Superseded));
    assert_eq!(refused.retry(), Retry::NEVER);
    assert!(shop.devices(&past).await.unwrap().is_empty());

    let other = logged_in(&shop, "17").await;
    assert_eq!(shop.logout_everywhere(&mut session).await.unwrap(), 2);
    assert_eq!(session.state(), State::Destroyed);
    assert_eq!(commit(&shop, &mut session).await, Saved::Destroyed);
    assert_eq!(open(&shop, &other).await.state(), State::Absent);
}

#[tokio::test]
async fn a_list_says_how_long_a_session_was_not_used() {
    let (shop, clock) = shop(Policy::default());
    let idle = logged_in(&shop, "17").await;
    clock.advance(MINUTE * 12);
    let used = logged_in(&shop, "17").await;
    let devices = shop.devices(&used).await.unwrap();
    let of = |session: &Session| {
        let handle = session.handle().unwrap();
        devices
            .iter()
            .find(|device| device.handle == handle)
            .unwrap()
    };
    assert_eq!(of(&idle).unused_for, Some(MINUTE * 12));
    assert_eq!(of(&used).unused_for, Some(Duration::ZERO));
    assert_eq!(
        devices[0].handle,
        used.handle().unwrap(),
        "the latest login first"
    );
}

#[tokio::test]
async fn names_of_our_own_cannot_be_set_read_or_removed() {
    let (shop, _) = shop(Policy::default());
    let mut session = logged_in(&shop, "17").await;
    let forged = session.set_bytes("\0auth", "x").unwrap_err();
    assert!(matches!(forged, FieldError::Reserved), "{forged:?}");
    assert_eq!(session.get_bytes("\0auth"), None);
    assert!(!session.remove("\0auth"));
    session.clear();
    let _ = commit(&shop, &mut session).await;
    assert_eq!(open(&shop, &session).await.user(), Some("17"));
}

#[cfg(feature = "json")]
#[tokio::test]
async fn a_flash_value_is_for_one_request() {
    let (shop, _) = shop(Policy::default());
    let mut session = Session::absent();
    session.set_flash("note", &"saved").unwrap();
    assert_eq!(session.state(), State::Dirty);
    let _ = commit(&shop, &mut session).await;

    let mut next = open(&shop, &session).await;
    assert_eq!(next.names().count(), 0);
    assert_eq!(
        next.take_flash::<String>("note").unwrap().as_deref(),
        Some("saved")
    );
    assert_eq!(next.take_flash::<String>("note").unwrap(), None);
    assert_eq!(commit(&shop, &mut next).await, Saved::Written);
    let mut later = open(&shop, &session).await;
    assert_eq!(later.take_flash_bytes("note"), None);

    later.set_flash("note", &1).unwrap();
    assert_eq!(later.take_flash::<i32>("note").unwrap(), Some(1));
    assert_eq!(
        later.state(),
        State::Clean,
        "left and taken within a request"
    );
    later.set_flash("note", &1).unwrap();
    assert!(matches!(
        later.take_flash::<String>("note"),
        Err(FieldError::Decode { .. })
    ));
    let long = "x".repeat(249);
    assert!(matches!(
        later.set_flash_bytes(&long, "x"),
        Err(FieldError::Name { len: 249 })
    ));
    later.set_flash_bytes(&long[..248], "x").unwrap();
    assert_eq!(commit(&shop, &mut later).await, Saved::Written);
}

/// Two requests change a field from `base`; what the store has after both.
async fn clash(rule: OnClash, ours: Option<&'static str>) -> Result<Option<Bytes>, CommitError> {
    let (shop, _) = shop(Policy::default().on_clash("field", rule));
    let session = anonymous(&shop, "field", "base").await;
    let (mut first, mut second) = (open(&shop, &session).await, open(&shop, &session).await);
    first.set_bytes("field", "theirs").unwrap();
    first.set_bytes("other", "theirs").unwrap();
    let _ = commit(&shop, &mut first).await;
    second.set_bytes("other", "ours").unwrap();
    match ours {
        Some(ours) => second.set_bytes("field", ours).unwrap(),
        None => assert!(second.remove("field")),
    }
    let outcome = shop.commit(&mut second).await;
    let seen = open(&shop, &session).await;
    let other = if outcome.is_ok() { "ours" } else { "theirs" };
    assert_eq!(seen.get_bytes("other").as_deref(), Some(other.as_bytes()));
    let _ = outcome?;
    assert_eq!(second.get_bytes("field"), seen.get_bytes("field"));
    Ok(seen.get_bytes("field"))
}

#[tokio::test]
async fn a_field_that_two_requests_changed_follows_its_rule() {
    let text = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    assert_eq!(
        clash(OnClash::LastWriter, Some("ours")).await.unwrap(),
        text("ours")
    );
    assert_eq!(clash(OnClash::LastWriter, None).await.unwrap(), None);
    assert_eq!(
        clash(OnClash::FirstWriter, Some("ours")).await.unwrap(),
        text("theirs")
    );
    assert_eq!(
        clash(OnClash::FirstWriter, None).await.unwrap(),
        text("theirs")
    );
    assert_eq!(
        clash(OnClash::Fail, Some("theirs")).await.unwrap(),
        text("theirs"),
        "both the same"
    );
    let error = clash(OnClash::Fail, Some("ours")).await.unwrap_err();
    assert!(
        matches!(&error, CommitError::Clash { field } if &**field == "field"),
        "{error:?}"
    );
    assert_eq!(error.retry(), Retry::NEVER);
    let both = OnClash::merge(|clash| {
        let sides = [clash.base, clash.theirs, clash.ours].map(|side| {
            side.map_or("-".into(), |side| {
                String::from_utf8_lossy(side).into_owned()
            })
        });
        Some(sides.join(",").into())
    });
    assert_eq!(
        clash(both.clone(), Some("ours")).await.unwrap(),
        text("base,theirs,ours")
    );
    assert_eq!(clash(both, None).await.unwrap(), text("base,theirs,-"));
    let neither = OnClash::merge(|_| None);
    assert_eq!(clash(neither, Some("ours")).await.unwrap(), None);
}

#[tokio::test]
async fn a_rule_for_all_fields_leaves_those_that_did_not_clash() {
    let (shop, _) = shop(
        Policy::default()
            .on_any_clash(OnClash::Fail)
            .on_clash("log", OnClash::LastWriter),
    );
    let session = anonymous(&shop, "field", "base").await;
    let (mut first, mut second) = (open(&shop, &session).await, open(&shop, &session).await);
    let mut third = open(&shop, &session).await;
    for (session, name) in [(&mut first, "a"), (&mut second, "b")] {
        session.set_bytes(name, "x").unwrap();
        session.set_bytes("log", name.to_owned()).unwrap();
        let _ = commit(&shop, session).await;
    }
    third.clear();
    third.set_bytes("a", "mine").unwrap();
    let clashed = shop.commit(&mut third).await.unwrap_err();
    assert!(matches!(&clashed, CommitError::Clash { field } if &**field == "a"));
}

#[tokio::test]
async fn an_update_may_refuse_and_then_changes_nothing() {
    let (shop, _) = shop(Policy::default());
    let mut session = anonymous(&shop, "coins", "xx").await;
    let spend = |session: &mut Session| {
        let coins = session.get_bytes("coins").unwrap_or_default();
        let left = coins.len().checked_sub(1).ok_or("no coins")?;
        session.set_bytes("coins", coins.slice(..left)).unwrap();
        Ok::<usize, &str>(left)
    };
    let mut other = open(&shop, &session).await;
    let _ = shop.try_update(&mut other, spend).await.unwrap();
    // On what the other has left, since this one's commit comes second.
    let (left, saved) = shop.try_update(&mut session, spend).await.unwrap();
    assert_eq!((left, saved), (0, Saved::Written));
    session.set_bytes("kept", "x").unwrap();
    let refused = shop.try_update(&mut session, spend).await.unwrap_err();
    assert!(matches!(refused, UpdateError::Refused("no coins")));
    assert_eq!(refused.retry(), Retry::NEVER);
    assert_eq!(
        session.state(),
        State::Dirty,
        "what was asked for before is still to be done"
    );
    assert_eq!(open(&shop, &session).await.get_bytes("kept"), None);

    // What the closure did before it refused is not to be done.
    let spends_and_refuses = |session: &mut Session| {
        session.set_bytes("spent", "x").unwrap();
        session.login(Login::new("17"));
        Err::<(), &str>("no coins")
    };
    let refused = shop.try_update(&mut session, spends_and_refuses).await;
    assert!(matches!(refused, Err(UpdateError::Refused("no coins"))));
    assert_eq!((session.get_bytes("spent"), session.user()), (None, None));
    assert_eq!(session.get_bytes("kept").unwrap(), "x");
}

#[tokio::test]
async fn a_session_ends_as_soon_as_it_was_told_to_and_no_later() {
    let (shop, clock) = shop(Policy::default());
    let mut session = Session::absent();
    session.end_within(HOUR);
    assert_eq!(
        session.state(),
        State::Absent,
        "a deadline alone makes no session"
    );
    session.login(Login::new("17"));
    let _ = commit(&shop, &mut session).await;
    assert_eq!(session.remaining().unwrap().absolute, HOUR);
    session.end_within(HOUR * 2);
    assert_eq!(session.state(), State::Dirty);
    let _ = commit(&shop, &mut session).await;
    assert_eq!(
        open(&shop, &session).await.remaining().unwrap().absolute,
        HOUR
    );
    // Of several the shortest stays.
    session.end_within(MINUTE * 5);
    session.end_within(MINUTE * 20);
    let _ = commit(&shop, &mut session).await;
    clock.advance(MINUTE * 5);
    assert_eq!(open(&shop, &session).await.state(), State::Absent);
}

#[tokio::test]
async fn a_login_begins_its_own_limits_where_visitors_have_others() {
    let policy = Policy::default()
        .idle(MINUTE * 30)
        .absolute(HOUR * 12)
        .anonymous(HOUR * 24, HOUR * 240);
    let (shop, clock) = shop(policy);
    let mut session = anonymous(&shop, "cart", "hammer").await;
    for _ in 0..5 {
        clock.advance(HOUR * 20);
        session = open(&shop, &session).await;
        assert_eq!(
            session.state(),
            State::Clean,
            "a visitor who comes back each day"
        );
    }
    session.login(Login::new("17"));
    let _ = commit(&shop, &mut session).await;
    let left = session.remaining().unwrap();
    assert_eq!((left.idle, left.absolute), (MINUTE * 30, HOUR * 12));
    clock.advance(MINUTE * 31);
    assert_eq!(open(&shop, &session).await.state(), State::Absent);
}

#[tokio::test]
async fn visitors_are_created_at_a_rate_and_logins_at_any() {
    let number = |number| NonZeroU32::new(number).unwrap();
    let (shop, clock) = shop(Policy::default().anonymous_rate(number(10), number(3)));
    for _ in 0..3 {
        anonymous(&shop, "cart", "x").await;
    }
    let mut session = Session::absent();
    session.set_bytes("cart", "x").unwrap();
    let refused = shop.commit(&mut session).await.unwrap_err();
    let after = Duration::from_millis(100);
    assert!(matches!(refused, CommitError::TooManyNew { after: told } if told == after));
    assert_eq!(refused.retry(), Retry::safe_after(after));
    logged_in(&shop, "17").await;
    clock.advance(after);
    assert_eq!(
        commit(&shop, &mut session).await,
        Saved::Created,
        "it kept its changes"
    );
}

#[tokio::test]
async fn a_session_has_as_many_fields_as_the_policy_allows() {
    let (shop, _) = shop(Policy::default().max_fields(2));
    let mut session = Session::absent();
    session.login(Login::new("17"));
    for name in ["a", "b", "c"] {
        session.set_bytes(name, "x").unwrap();
    }
    let refused = shop.commit(&mut session).await.unwrap_err();
    assert!(matches!(
        refused,
        CommitError::TooManyFields { count: 3, limit: 2 }
    ));
    session.remove("c");
    assert_eq!(commit(&shop, &mut session).await, Saved::Created);
}

#[tokio::test]
async fn a_users_name_that_no_store_could_keep_is_refused() {
    let (shop, _) = shop(Policy::default().max_len(usize::MAX));
    let mut session = Session::absent();
    session.login(Login::new("x".repeat(65_536)));
    let refused = shop.commit(&mut session).await.unwrap_err();
    assert!(matches!(
        refused,
        CommitError::TooLarge {
            len: 65_536,
            limit: 65_535
        }
    ));
}

/// The limits that the levels of ASVS name.
#[tokio::test]
async fn the_presets_end_logins_when_their_level_says() {
    let hours = |hours| HOUR * hours;
    for (policy, idle, absolute, most) in [
        (Policy::asvs_l1(), hours(24 * 7), hours(24 * 30), 100),
        (Policy::asvs_l2(), MINUTE * 30, hours(12), 16),
        (Policy::asvs_l3(), MINUTE * 15, hours(12), 4),
    ] {
        let (shop, clock) = shop(policy);
        let session = logged_in(&shop, "17").await;
        let left = session.remaining().unwrap();
        assert_eq!((left.idle, left.absolute), (idle, absolute));
        for _ in 0..most + 1 {
            logged_in(&shop, "17").await;
        }
        assert_eq!(shop.of_user("17").await.unwrap().len(), most);
        let used = logged_in(&shop, "18").await;
        let mut waited = Duration::ZERO;
        while waited + idle / 2 < absolute {
            clock.advance(idle / 2);
            waited += idle / 2;
            assert_eq!(open(&shop, &used).await.user(), Some("18"), "{waited:?}");
        }
        clock.advance(idle / 2);
        assert_eq!(open(&shop, &used).await.state(), State::Absent);
    }
}

/// The store did it, and the answer was lost. A login that is asked for then is not the one that was stored.
#[tokio::test]
async fn a_login_that_is_repeated_after_a_lost_answer_is_the_one_asked_for_last() {
    for second in ["alice", "bob"] {
        let shop = Sessions::new(Faulty::new(MemoryStore::new()), Policy::default());
        let mut session = Session::absent();
        session.set_bytes("cart", "x").unwrap();
        assert_eq!(shop.commit(&mut session).await.unwrap(), Saved::Created);
        session.login(Login::new("alice"));
        shop.store().inject(Faults::always(Fault::After));
        let error = shop.commit(&mut session).await.unwrap_err();
        assert_ne!(error.retry(), Retry::NEVER, "{error:?}");
        shop.store().heal();

        session.login(Login::new(second));
        assert_eq!(shop.commit(&mut session).await.unwrap(), Saved::Rotated);
        let id = session.id().unwrap().clone();
        let seen = shop.open(id.clone()).await.unwrap();
        assert_eq!(seen.user(), Some(second));
        // What another user left goes when a second one logs in.
        assert_eq!(seen.get_bytes("cart").is_some(), second == "alice");
        for user in ["alice", "bob"] {
            let listed = shop.store().by_user(&UserKey::of(user)).await.unwrap();
            let expected = Vec::from_iter((user == second).then(|| id.key()));
            assert_eq!(listed, expected, "{user}");
        }
    }
}

/// Who comes with the id of before a login, and logs in as well, is told that there is another id.
#[tokio::test]
async fn of_two_logins_into_one_session_the_second_is_told_of_the_first() {
    let (shop, _) = shop(Policy::default().sessions_per_user(Cap::reject(1)));
    let mut session = anonymous(&shop, "cart", "x").await;
    session.login(Login::new("alice"));
    let mut other = open(&shop, &session).await;
    other.login(Login::new("alice"));
    assert_eq!(commit(&shop, &mut other).await, Saved::Rotated);
    let outcome = shop.commit(&mut session).await;
    assert!(matches!(outcome, Err(CommitError::Superseded)));
    assert_eq!(open(&shop, &other).await.user(), Some("alice"));
}
