//! What requests can rely on while the store is away.

use core::num::NonZeroU32;
use core::time::Duration;

use purlin_core::ManualClock;

use super::at_once::others_first;
use super::{Violation, expect};
use crate::auth::Login;
use crate::breaker::Breaker;
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::Session;
use crate::sessions::{CommitError, OpenError, RevokeError, Saved, Sessions};
use crate::store::SessionStore;

/// Line 6: while the server of a store is down, each request is told so, nobody is logged out, nobody else is let in, and
/// a request without a session goes on. After failures in a row the server is not asked; once it is up again, the session
/// is there, and takes what it could not be given before.
///
/// The store's server is given, with how to take it down and bring it up with what it had acknowledged; the store must
/// find it again by itself.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the server may be down, and a session is left in the store. It expires.
pub async fn an_outage_logs_nobody_out<S: SessionStore, V>(
    store: S,
    server: &mut V,
    take_down: impl FnOnce(&mut V),
    bring_up: impl FnOnce(&mut V),
) -> Result<(), Violation> {
    const PROMISE: &str = "a store that is away is an error, and logs nobody out";
    const PAUSE: Duration = Duration::from_secs(1);
    let clock = ManualClock::new();
    let store = Breaker::new(store)
        .failures(NonZeroU32::MIN.saturating_add(2))
        .pauses(PAUSE, PAUSE)
        .clock(clock.clone());
    let sessions = Sessions::new(store, Policy::default());
    let mut session = Session::absent();
    session.login(Login::new("17"));
    let saved = sessions.commit(&mut session).await;
    expect(PROMISE, works(saved)?, Saved::Created)?;
    let id = session.id().cloned().ok_or_else(|| broken("no id"))?;
    works(session.set_bytes("cart", "hammer"))?;

    take_down(server);
    for _ in 0..4 {
        for id in [id.clone(), works(SessionId::random())?] {
            match sessions.open(id).await {
                Err(OpenError::Store(error)) => is_away(&error)?,
                other => return Err(broken(&format!("{other:?}"))),
            }
        }
        match sessions.commit(&mut session).await {
            Err(CommitError::Store(error)) => is_away(&error)?,
            other => return Err(broken(&format!("{other:?}"))),
        }
        match sessions.logout_everywhere(&mut session).await {
            Err(RevokeError::Store(error)) => is_away(&error)?,
            other => return Err(broken(&format!("{other:?}"))),
        }
        expect(PROMISE, session.user(), Some("17"))?;
        let without = sessions.commit(&mut Session::absent()).await;
        expect(PROMISE, works(without)?, Saved::Unchanged)?;
    }
    let stats = sessions.store().stats();
    // Three calls failed, and then nobody waited for the server any more.
    let told = (stats.is_open, stats.opened, stats.refused);
    expect("a server that is down is not asked", told, (true, 1, 13))?;

    bring_up(server);
    let mut found = Err(broken("the store is not found again"));
    for _ in 0..LOOKS {
        clock.advance(PAUSE);
        match sessions.open(id.clone()).await {
            Ok(session) => {
                found = Ok(session);
                break;
            }
            Err(OpenError::Store(error)) => is_away(&error)?,
            Err(error) => return Err(broken(&format!("{error:?}"))),
        }
        others_first().await;
    }
    expect("what was acknowledged is there", found?.user(), Some("17"))?;
    let saved = works(sessions.commit(&mut session).await)?;
    expect("a commit can be tried again", saved, Saved::Written)?;
    let seen = works(sessions.open(id).await)?;
    let cart = seen.get_bytes("cart");
    expect(PROMISE, cart.as_deref(), Some(&b"hammer"[..]))
}

/// How often the server is looked for that is up again. A look that finds nothing takes as long as a connection does.
const LOOKS: usize = 10_000;

fn is_away(error: &StoreError) -> Result<(), Violation> {
    match error.kind() {
        ErrorKind::Unavailable | ErrorKind::Interrupted => Ok(()),
        _ => Err(broken(&format!("{error:?}"))),
    }
}

fn broken(detail: &str) -> Violation {
    Violation {
        promise: "a store that is away is an error, and logs nobody out",
        detail: detail.to_owned(),
    }
}

fn works<T, E: core::fmt::Debug>(answer: Result<T, E>) -> Result<T, Violation> {
    answer.map_err(|error| broken(&format!("{error:?}")))
}
