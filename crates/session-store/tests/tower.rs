//! Sessions as middleware: what reaches the store, what reaches the client, and when.
#![cfg(feature = "tower")]
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "tower/site.rs"]
mod site;

use std::future::{pending, ready};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::header::{CACHE_CONTROL, HeaderMap, RETRY_AFTER, VARY};
use http::{Method, StatusCode};
use purlin_core::{Keyring, Safety, SealingKey};
use purlin_session_store::tower::{
    CSRF_HEADER, CommitOn, CurrentSession, SessionFailure, SessionSlot,
};
use purlin_session_store::{CommitError, CsrfTokens, ErrorKind, OpenError, Saved, Session, State};
use tower_service::Service;

use site::{Calls, Reply, Site, answer, codec, cookie_of, ok, opened, request};

/// Reads a field into the body.
async fn show(slot: SessionSlot) -> Reply {
    match slot.open().await {
        Ok(session) => ok(&text(&session, "cart")),
        Err(failure) => failure.response(),
    }
}

/// Puts something into the cart.
async fn put(slot: SessionSlot) -> Reply {
    let mut session = opened(slot).await;
    session.set_bytes("cart", "hammer").unwrap();
    ok("stored")
}

/// Gets a new id and a privilege.
async fn log_in(slot: SessionSlot) -> Reply {
    let mut session = opened(slot).await;
    session.set_bytes("user", "17").unwrap();
    session.rotate();
    ok("welcome")
}

async fn log_out(slot: SessionSlot) -> Reply {
    opened(slot).await.destroy();
    ok("bye")
}

fn text(session: &Session, field: &str) -> String {
    let value = session.get_bytes(field).unwrap_or_default();
    String::from_utf8(value.to_vec()).unwrap()
}

#[tokio::test]
async fn an_anonymous_request_makes_no_store_call() {
    let site = Site::new();
    let untouched = site.ask(None, |_| ready(ok("static page"))).await;
    assert!(untouched.headers().is_empty());
    let read = site.ask(None, show).await;
    assert_eq!((read.status(), read.body().as_str()), (StatusCode::OK, ""));
    assert_eq!(cookie_of(&read), None);
    let gone = site.ask(None, log_out).await;
    assert_eq!(cookie_of(&gone), None);
    assert_eq!(site.calls(), Calls::default());
}

#[tokio::test]
async fn a_request_that_does_not_ask_makes_no_store_call_whatever_its_cookie() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let answer = site.ask(Some(&cookie), |_| ready(ok("static page"))).await;
    assert!(answer.headers().is_empty());
    assert_eq!(site.calls(), Calls::default());
}

/// Also with a cookie that somebody made up: it never reaches the store, and its id is not adopted.
#[tokio::test]
async fn a_foreign_id_is_never_adopted() {
    let site = Site::new();
    let sealed_elsewhere =
        site::codec(9).encode(&purlin_session_store::SessionId::random().unwrap());
    for value in ["attacker-chosen-id", "", "\"x\"", &sealed_elsewhere] {
        let made_up = format!("__Host-id={value}");
        let read = site.ask(Some(&made_up), show).await;
        assert_eq!(read.status(), StatusCode::OK);
        assert_eq!(site.calls(), Calls::default());
        let stored = site.ask(Some(&made_up), put).await;
        assert_ne!(cookie_of(&stored).unwrap(), made_up);
        assert_eq!(
            site.take_calls(),
            Calls {
                loads: 0,
                writes: 1
            }
        );
    }
}

#[tokio::test]
async fn what_a_handler_stores_is_in_the_store_before_the_response_and_the_client_gets_a_cookie() {
    let site = Site::new();
    let stored = site
        .ask(None, |slot| async {
            let mut reply = put(slot).await;
            let wrong = "public, max-age=3600".parse().unwrap();
            reply.headers_mut().insert(CACHE_CONTROL, wrong);
            reply
        })
        .await;
    assert_eq!(stored.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(stored.headers()[VARY], "cookie");
    let cookie = cookie_of(&stored).unwrap();
    let value = cookie.strip_prefix("__Host-id=").unwrap();
    let id = codec(1).decode(value).unwrap().value;
    assert_eq!(
        text(&site.sessions.open(id).await.unwrap(), "cart"),
        "hammer"
    );

    site.take_calls();
    let read = site.ask(Some(&cookie), show).await;
    assert_eq!(read.body(), "hammer");
    assert_eq!(cookie_of(&read), None);
    assert!(!read.headers().contains_key(CACHE_CONTROL));
    assert_eq!(
        site.take_calls(),
        Calls {
            loads: 1,
            writes: 0
        },
        "a clean request writes nothing"
    );
}

#[tokio::test]
async fn a_vary_that_is_there_already_is_not_said_twice() {
    let site = Site::new();
    for said in ["*", "accept, Cookie"] {
        let read = site
            .ask(None, |slot| async move {
                let mut reply = show(slot).await;
                reply.headers_mut().insert(VARY, said.parse().unwrap());
                reply
            })
            .await;
        let all: Vec<_> = read.headers().get_all(VARY).iter().collect();
        assert_eq!(all, [said]);
    }
}

/// Two tabs at once, each with a field of its own.
#[tokio::test]
async fn two_requests_at_once_lose_no_update() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let set = |field: &'static str| {
        let meet = Arc::clone(&site.meet);
        move |slot: SessionSlot| async move {
            let mut session = opened(slot).await;
            meet.wait().await;
            session.set_bytes(field, "set").unwrap();
            ok("stored")
        }
    };
    let (one, two) = tokio::join!(
        site.ask(Some(&cookie), set("one")),
        site.ask(Some(&cookie), set("two"))
    );
    assert_eq!(
        (one.status(), two.status()),
        (StatusCode::OK, StatusCode::OK)
    );
    let session = site.open(&cookie).await;
    assert_eq!(session.names().collect::<Vec<_>>(), ["cart", "one", "two"]);
}

#[tokio::test]
async fn a_login_gives_a_new_cookie_and_the_old_one_gets_nothing() {
    let site = Site::new();
    let old = site.session_with("cart", "hammer").await;
    let welcome = site.ask(Some(&old), log_in).await;
    let new = cookie_of(&welcome).unwrap();
    assert_ne!(new, old);
    assert_eq!(text(&site.open(&new).await, "user"), "17");
    assert_eq!(text(&site.open(&old).await, "user"), "");
    let late = site.ask(Some(&old), show).await;
    assert_eq!(
        late.body(),
        "hammer",
        "within the grace it reads what was there"
    );
    assert_eq!(cookie_of(&late), None, "the client has the new cookie");
}

#[tokio::test]
async fn a_server_error_leaves_the_session_and_the_cookie_as_they_were() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let failed = site
        .ask(Some(&cookie), |slot| async {
            let mut reply = log_in(slot).await;
            *reply.status_mut() = StatusCode::BAD_GATEWAY;
            reply
        })
        .await;
    assert_eq!(
        (failed.status(), failed.body().as_str()),
        (StatusCode::BAD_GATEWAY, "welcome")
    );
    assert_eq!(cookie_of(&failed), None);
    assert_eq!(
        site.take_calls(),
        Calls {
            loads: 1,
            writes: 0
        }
    );
    let session = site.open(&cookie).await;
    assert_eq!(
        (text(&session, "cart"), text(&session, "user")),
        ("hammer".into(), "".into())
    );
    assert!(!session.is_superseded());
}

#[tokio::test]
async fn a_client_error_commits_and_so_does_a_server_error_when_told_to() {
    for (commit_on, status) in [
        (CommitOn::NotServerError, StatusCode::NOT_FOUND),
        (CommitOn::Always, StatusCode::INTERNAL_SERVER_ERROR),
    ] {
        let site = Site::with(|layer| layer.commit_on(commit_on));
        let reply = site
            .ask(None, |slot| async move {
                let mut reply = put(slot).await;
                *reply.status_mut() = status;
                reply
            })
            .await;
        assert_eq!(reply.status(), status);
        let cookie = cookie_of(&reply).unwrap();
        assert_eq!(text(&site.open(&cookie).await, "cart"), "hammer");
    }
}

/// What the handler has committed is so, and the client must hear of it.
#[tokio::test]
async fn a_commit_of_the_handlers_own_gives_the_cookie_even_with_a_server_error() {
    let site = Site::new();
    let old = site.session_with("cart", "hammer").await;
    let failed = site
        .ask(Some(&old), |slot| async {
            let mut session = opened(slot).await;
            session.rotate();
            assert_eq!(session.commit().await.unwrap(), Saved::Rotated);
            session.set_bytes("cart", "saw").unwrap();
            answer(StatusCode::INTERNAL_SERVER_ERROR, "sorry")
        })
        .await;
    let new = cookie_of(&failed).unwrap();
    assert_ne!(new, old);
    assert_eq!(text(&site.open(&new).await, "cart"), "hammer");
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_a_503_and_the_cookie_stays() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    site.fail_with(ErrorKind::Unavailable);
    let failed = site.ask(Some(&cookie), show).await;
    assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(failed.headers()[RETRY_AFTER], "1");
    assert_eq!(cookie_of(&failed), None);
    let failure = failed.extensions().get::<SessionFailure>().unwrap();
    assert!(
        matches!(failure, SessionFailure::Open(error) if matches!(**error, OpenError::Store(_)))
    );
    assert_eq!(failure.retry().safety, Safety::Safe);

    let anonymous = site.ask(None, show).await;
    assert_eq!(
        anonymous.status(),
        StatusCode::OK,
        "who has no session needs no store"
    );
    site.heal();
    assert_eq!(site.ask(Some(&cookie), show).await.body(), "hammer");
}

#[tokio::test]
async fn a_store_that_cannot_be_written_is_a_503_and_the_cookie_stays() {
    for kind in [ErrorKind::Interrupted, ErrorKind::Full, ErrorKind::Other] {
        let site = Site::new();
        let cookie = site.session_with("cart", "saw").await;
        for (cookie, handler) in [(None, true), (Some(&cookie), true), (Some(&cookie), false)] {
            let fails = |slot: SessionSlot| {
                let site = &site;
                async move {
                    let mut session = opened(slot).await;
                    session.set_bytes("cart", "hammer").unwrap();
                    if !handler {
                        session.rotate();
                    }
                    site.fail_with(kind);
                    ok("stored, or so the handler believes")
                }
            };
            let failed = site.ask(cookie.map(String::as_str), fails).await;
            assert_eq!(failed.status(), StatusCode::SERVICE_UNAVAILABLE, "{kind:?}");
            assert!(failed.headers().contains_key(RETRY_AFTER));
            assert_eq!(failed.body(), "");
            assert_eq!(cookie_of(&failed), None);
            site.heal();
        }
        assert_eq!(text(&site.open(&cookie).await, "cart"), "saw");
    }
}

#[tokio::test]
async fn a_session_that_was_ended_meanwhile_stays_dead_and_its_cookie_goes() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let interrupted = site
        .ask(Some(&cookie), |slot| {
            let site = &site;
            let cookie = cookie.as_str();
            async move {
                let mut session = opened(slot).await;
                session.set_bytes("cart", "saw").unwrap();
                let bye = site.ask(Some(cookie), log_out).await;
                assert_eq!(cookie_of(&bye).unwrap(), "__Host-id=");
                ok("stored, or so the handler believes")
            }
        })
        .await;
    assert_eq!(interrupted.status(), StatusCode::CONFLICT);
    assert_eq!(cookie_of(&interrupted).unwrap(), "__Host-id=");
    assert_eq!(interrupted.headers()[CACHE_CONTROL], "no-store");
    let failure = interrupted.extensions().get::<SessionFailure>().unwrap();
    assert!(
        matches!(failure, SessionFailure::Commit(error) if matches!(**error, CommitError::Gone))
    );
    assert_eq!(site.open(&cookie).await.state(), State::Absent);
    assert_eq!(
        site.sessions.store().store().stats().created,
        1,
        "nothing was made in its place"
    );
}

#[tokio::test]
async fn a_session_that_got_a_new_id_meanwhile_leaves_the_cookie_alone() {
    let site = Site::new();
    let old = site.session_with("cart", "hammer").await;
    let overtaken = site
        .ask(Some(&old), |slot| {
            let (site, old) = (&site, old.as_str());
            async move {
                let mut session = opened(slot).await;
                session.set_bytes("cart", "saw").unwrap();
                assert!(cookie_of(&site.ask(Some(old), log_in).await).is_some());
                ok("stored, or so the handler believes")
            }
        })
        .await;
    assert_eq!(overtaken.status(), StatusCode::CONFLICT);
    assert_eq!(cookie_of(&overtaken), None);
}

/// Nobody knows whether its session has ended or has a newer id, whose cookie a removal would take away.
#[tokio::test]
async fn a_cookie_whose_session_is_not_found_is_left_alone() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let _ = site.ask(Some(&cookie), log_out).await;
    let read = site.ask(Some(&cookie), show).await;
    assert_eq!((read.status(), read.body().as_str()), (StatusCode::OK, ""));
    assert_eq!(cookie_of(&read), None);
    let again = site.ask(Some(&cookie), put).await;
    assert_ne!(
        cookie_of(&again).unwrap(),
        cookie,
        "a new session has a new id"
    );
}

#[tokio::test]
async fn a_cookie_of_a_key_on_its_way_out_is_given_anew() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let id = codec(1)
        .decode(&cookie["__Host-id=".len()..])
        .unwrap()
        .value;
    let of_old_key = format!("__Host-id={}", site::codec(0).encode(&id));
    let read = site.ask(Some(&of_old_key), show).await;
    assert_eq!(read.body(), "hammer");
    let renewed = cookie_of(&read).unwrap();
    assert_eq!(
        codec(1)
            .decode(&renewed["__Host-id=".len()..])
            .unwrap()
            .value
            .key(),
        id.key()
    );
    assert!(
        !codec(1)
            .decode(&renewed["__Host-id=".len()..])
            .unwrap()
            .outdated
    );
}

#[tokio::test]
async fn the_cookie_is_found_among_others_and_over_several_headers() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    for headers in [
        vec![format!("theme=dark; {cookie}; lang=mi")],
        vec!["theme=dark".to_owned(), format!("lang=mi;{cookie}")],
        vec![format!(
            "__Host-id=planted; x__Host-id=y; __Host-idx=z;{cookie} "
        )],
    ] {
        let mut request = request(None);
        for header in headers {
            let value = header.parse().unwrap();
            request.headers_mut().append(http::header::COOKIE, value);
        }
        let read = site.service(show).call(request).await.unwrap();
        assert_eq!(read.body(), "hammer");
    }
}

#[tokio::test]
async fn the_cookie_is_kept_by_the_browser_only_when_asked_for() {
    let forgets = Site::new().ask(None, put).await;
    let header = forgets.headers()[http::header::SET_COOKIE]
        .to_str()
        .unwrap();
    assert!(!header.contains("Max-Age"), "{header}");
    let site = Site::with(|layer| layer.max_age(Duration::from_secs(3600)));
    let keeps = site.ask(None, put).await;
    let header = keeps.headers()[http::header::SET_COOKIE].to_str().unwrap();
    assert!(header.contains("; Max-Age=3600;"), "{header}");
}

/// A middleware looks, a handler changes: one load and one commit.
#[tokio::test]
async fn one_request_has_one_session_and_one_holder_at_a_time() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let reply = site
        .ask(Some(&cookie), |slot| async move {
            let first = slot.open().await.unwrap();
            let second = slot.open().await.unwrap_err();
            assert!(matches!(second, SessionFailure::InUse));
            drop(first);
            let mut third = slot.open().await.unwrap();
            third.set_bytes("cart", "saw").unwrap();
            drop(third);
            assert_eq!(text(&slot.open().await.unwrap(), "cart"), "saw");
            ok("")
        })
        .await;
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(
        site.take_calls(),
        Calls {
            loads: 1,
            writes: 1
        }
    );
}

/// Its changes might come after the client was told that all is stored.
#[tokio::test]
async fn a_session_that_outlives_the_handler_is_an_error_and_not_a_loss() {
    let site = Site::new();
    let kept = std::sync::Mutex::new(None::<(CurrentSession, SessionSlot)>);
    let reply = site
        .ask(None, |slot| async {
            let session = opened(slot.clone()).await;
            *kept.lock().unwrap() = Some((session, slot));
            ok("")
        })
        .await;
    assert_eq!(reply.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(matches!(
        reply.extensions().get(),
        Some(SessionFailure::InUse)
    ));
    let (session, slot) = kept.lock().unwrap().take().unwrap();
    drop(session);
    assert!(matches!(slot.open().await, Err(SessionFailure::Closed)));
}

#[tokio::test]
async fn an_open_that_was_dropped_leaves_the_slot_as_it_was() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let reply = site
        .ask(Some(&cookie), |slot| {
            let site = &site;
            async move {
                site.stall(true);
                {
                    let mut open = Box::pin(slot.open());
                    let mut context = Context::from_waker(Waker::noop());
                    assert!(open.as_mut().poll(&mut context).is_pending());
                }
                site.stall(false);
                show(slot).await
            }
        })
        .await;
    assert_eq!(reply.body(), "hammer");
}

/// As when the client hangs up.
#[tokio::test]
async fn a_response_that_is_dropped_before_its_handler_ends_stores_nothing() {
    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    {
        let hangs = |slot: SessionSlot| async {
            let mut session = opened(slot).await;
            session.set_bytes("cart", "saw").unwrap();
            pending::<Reply>().await
        };
        let mut service = site.service(hangs);
        let mut response = Box::pin(service.call(request(Some(&cookie))));
        let mut context = Context::from_waker(Waker::noop());
        assert!(response.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(text(&site.open(&cookie).await, "cart"), "hammer");
    assert_eq!(site.take_calls().writes, 0);
}

#[test]
fn a_failure_shows_no_cookie_and_no_field() {
    let site = Site::new();
    let layer = site.layer();
    let shown = format!("{layer:?} {:?}", SessionFailure::NoLayer);
    assert!(!shown.contains("hammer"));
    assert_eq!(
        SessionFailure::NoLayer.status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(SessionFailure::InUse.retry().safety, Safety::Never);
}

/// A page of another site makes the browser send the cookie, and cannot know the token.
#[tokio::test]
async fn a_request_that_changes_something_needs_its_sessions_token() {
    let ring = Keyring::new([SealingKey::new(1, [1; 32])]).unwrap();
    let site = Site::with(|layer| layer.csrf(CsrfTokens::new(ring)));
    let (mine, other) = (
        site.session_with("cart", "hammer").await,
        site.session_with("cart", "saw").await,
    );
    let token_of = async |cookie: &str| {
        let page = site.ask(Some(cookie), |slot| async move {
            let token = opened(slot).await.csrf_token().unwrap();
            ok(&token.unwrap())
        });
        page.await.into_body()
    };
    let (token, of_other) = (token_of(&mine).await, token_of(&other).await);
    for (method, cookie, header, status) in [
        (Method::GET, Some(&mine), None, StatusCode::OK),
        (Method::HEAD, None, None, StatusCode::OK),
        (Method::POST, Some(&mine), Some(&token), StatusCode::OK),
        (Method::POST, Some(&mine), None, StatusCode::FORBIDDEN),
        (
            Method::DELETE,
            Some(&mine),
            Some(&of_other),
            StatusCode::FORBIDDEN,
        ),
        (
            Method::PUT,
            Some(&other),
            Some(&token),
            StatusCode::FORBIDDEN,
        ),
        (Method::POST, None, Some(&token), StatusCode::FORBIDDEN),
    ] {
        let said = format!("{method} {cookie:?} {header:?}");
        let mut headers = HeaderMap::new();
        if let Some(token) = header {
            headers.insert(CSRF_HEADER, token.parse().unwrap());
        }
        let reply = site
            .ask(cookie.map(String::as_str), |slot| async move {
                match opened(slot).await.checked(&method, &headers) {
                    Ok(mut session) => {
                        session.set_bytes("cart", "nails").unwrap();
                        ok("stored")
                    }
                    Err(failure) => failure.response(),
                }
            })
            .await;
        assert_eq!(reply.status(), status, "{said}");
        assert!(status == StatusCode::OK || cookie_of(&reply).is_none());
    }
    assert_eq!(text(&site.open(&other).await, "cart"), "saw");
}

/// What a login grants is not to be had with the token of before.
#[tokio::test]
async fn a_token_ends_with_the_id() {
    let ring = Keyring::new([SealingKey::new(1, [1; 32])]).unwrap();
    let site = Site::with(|layer| layer.csrf(CsrfTokens::new(ring)));
    let reply = site.ask(None, |slot| async {
        let mut session = opened(slot).await;
        assert!(
            session.csrf_token().unwrap().is_none(),
            "there is no id yet"
        );
        session.set_bytes("cart", "hammer").unwrap();
        let _ = session.commit().await.unwrap();
        let token = session.csrf_token().unwrap().unwrap();
        assert!(session.is_csrf_token(&token));
        session.rotate();
        let _ = session.commit().await.unwrap();
        assert!(!session.is_csrf_token(&token));
        ok("")
    });
    assert_eq!(reply.await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_layer_without_tokens_checks_nothing_silently() {
    let site = Site::new();
    let reply = site.ask(None, |slot| async {
        let session = opened(slot).await;
        assert!(!session.is_csrf_token(""));
        let failure = session
            .checked(&Method::GET, &HeaderMap::new())
            .unwrap_err();
        assert!(matches!(failure, SessionFailure::NoCsrfTokens));
        failure.response()
    });
    assert_eq!(reply.await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_arguments_are_had_with_a_layer_and_a_typed_failure_without() {
    use axum_core::extract::FromRequestParts;
    use axum_core::response::IntoResponse;

    let (mut bare, ()) = request(None).into_parts();
    let failure = CurrentSession::from_request_parts(&mut bare, &())
        .await
        .unwrap_err();
    assert!(matches!(failure, SessionFailure::NoLayer));
    assert_eq!(
        failure.into_response().status(),
        StatusCode::INTERNAL_SERVER_ERROR
    );

    let site = Site::new();
    let cookie = site.session_with("cart", "hammer").await;
    let reply = site
        .ask(Some(&cookie), |slot| async {
            let (mut parts, ()) = request(None).into_parts();
            parts.extensions.insert(slot);
            let session = CurrentSession::from_request_parts(&mut parts, &()).await;
            ok(&text(&session.unwrap(), "cart"))
        })
        .await;
    assert_eq!(reply.body(), "hammer");
}
