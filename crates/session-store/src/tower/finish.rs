//! From the handler's response to the client's: commit, then the cookie.

use http::Response;
use http::header::{CACHE_CONTROL, HeaderMap, HeaderValue, SET_COOKIE, VARY};

use super::slot::{Held, Left, SessionSlot};
use super::{CommitOn, SessionFailure, Setup};
use crate::session::Wish;

pub(super) async fn finish<B: Default>(
    slot: &SessionSlot,
    mut response: Response<B>,
) -> Response<B> {
    let mut held = match slot.close() {
        Left::Unopened => return response,
        Left::StillLent => return SessionFailure::InUse.response(),
        Left::Opened(held) => held,
    };
    let setup = slot.setup();
    let commits = match setup.commit_on {
        CommitOn::Always => true,
        CommitOn::NotServerError => !response.status().is_server_error(),
    };
    if commits {
        if let Err(error) = setup.sessions.commit(&mut held.session).await {
            response = SessionFailure::commit(error).response();
        }
    }
    let headers = response.headers_mut();
    vary_by_cookie(headers);
    // Also after a failure: the handler may have committed something by itself before.
    if let Some(cookie) = news(setup, &held).and_then(|text| HeaderValue::try_from(text).ok()) {
        headers.append(SET_COOKIE, cookie);
        // Over whatever the handler says: a cache that kept this would give the session to others.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// The cookie that the client needs, if its own is not the right one any more.
fn news(setup: &Setup, held: &Held) -> Option<String> {
    let (session, presented) = (&held.session, held.presented.as_ref());
    match session.id() {
        Some(id) => {
            let is_right = presented.is_some_and(|presented| {
                // An old id within its grace keeps its old cookie: the client has a newer one.
                presented.key == id.key() && (!presented.outdated || session.is_superseded())
            });
            (!is_right).then(|| setup.cookies.set_cookie(id, setup.max_age))
        }
        // A cookie whose session was not found is left alone: it may be an old one, long overtaken, whose
        // removal would take the new one away.
        None => {
            (session.wish == Wish::Ended && presented.is_some()).then(|| setup.cookies.removal())
        }
    }
}

/// What was read from the session depends on the cookie.
fn vary_by_cookie(headers: &mut HeaderMap) {
    let is_said = headers.get_all(VARY).iter().any(|value| {
        value.to_str().is_ok_and(|names| {
            names.split(',').any(|name| {
                matches!(name.trim(), "*") || name.trim().eq_ignore_ascii_case("cookie")
            })
        })
    });
    if !is_said {
        headers.append(VARY, HeaderValue::from_static("cookie"));
    }
}
