//! What requests can rely on when calls of the store fail.

use super::super::{Fault, Faults, Faulty, Subject, Violation, expect};
use super::{Verdict, committed, id_of, logged_in, new_user, works};
use crate::auth::{Assurance, Login, SessionHandle};
use crate::error::{ErrorKind, StoreError};
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::{Session, State};
use crate::sessions::{CommitError, OpenError, RevokeError, Saved, Sessions};
use crate::store::SessionStore;

/// Line 6: an outage that begins at any call of any request, before the call's effect or after, is an error, logs nobody
/// out, and lets nobody in; and once it is over, the same request again does what it was to do, once.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn an_outage_at_any_call_logs_nobody_out<S: Subject>(subject: &S) -> Verdict {
    let store = Faulty::new(subject.store());
    an_outage_beneath_logs_nobody_out(&store, &[&store]).await
}

/// The same for a store that stands in front of others: the outage is theirs, of all at once, in the middle of what this one
/// asks of them. It may answer nevertheless, if it knows better, but never by "no session".
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the stores. They expire.
pub async fn an_outage_beneath_logs_nobody_out<S: SessionStore, B: SessionStore>(
    store: &S,
    beneath: &[&Faulty<B>],
) -> Verdict {
    for request in Request::ALL {
        for fault in [Fault::Before(ErrorKind::Unavailable), Fault::After] {
            // After so many calls of the request, until it makes no more.
            let mut well = 0;
            while breaks_off(store, beneath, request, fault, well).await? {
                well += 1;
            }
        }
    }
    Ok(())
}

/// S9: a store that is down means "logged out", or "come in". Here, whatever the kind of the error, it is neither, a logout
/// that failed is not told as one, and afterwards all is as before.
///
/// # Errors
///
/// The first [`Violation`](crate::conformance::Violation).
///
/// # Cancel safety
///
/// If the future is dropped, sessions of the test are left in the store. They expire.
pub async fn a_store_that_is_down_is_neither_no_session_nor_a_valid_one<S: Subject>(
    subject: &S,
) -> Verdict {
    let store = Faulty::new(subject.store());
    let sessions = Sessions::new(&store, Policy::default());
    let user = new_user()?;
    let mut session = logged_in(&sessions, &user).await?;
    let id = id_of(&session)?;
    for kind in [
        ErrorKind::Unavailable,
        ErrorKind::Interrupted,
        ErrorKind::Corrupt,
        ErrorKind::Other,
    ] {
        store.fail(kind);
        for id in [id.clone(), works(SessionId::random())?] {
            match sessions.open(id).await {
                Err(OpenError::Store(error)) => expect(PROMISE, error.kind(), kind)?,
                other => return Err(broken(other)),
            }
        }
        works(session.set_bytes("cart", format!("{kind:?}")))?;
        let mut newcomer = Session::absent();
        works(newcomer.set_bytes("cart", "x"))?;
        for session in [&mut session, &mut newcomer] {
            match sessions.commit(session).await {
                Err(CommitError::Store(error)) => expect(PROMISE, error.kind(), kind)?,
                other => return Err(broken(other)),
            }
        }
        let told = [
            sessions.devices(&session).await.map(drop).is_err(),
            sessions.end_all_of(&user).await.is_err(),
            sessions.logout_others(&session).await.is_err(),
            sessions.logout_everywhere(&mut session).await.is_err(),
        ];
        expect(PROMISE, told, [true; 4])?;
        expect(PROMISE, session.user(), Some(user.as_str()))?;
        let calls = store.calls();
        let without = works(sessions.commit(&mut Session::absent()).await)?;
        expect(PROMISE, (without, store.calls()), (Saved::Unchanged, calls))?;
        store.heal();
        let seen = works(sessions.open(id.clone()).await)?;
        expect(PROMISE, seen.user(), Some(user.as_str()))?;
        committed(&sessions, &mut session).await?;
    }
    Ok(())
}

const PROMISE: &str = "a store that fails is an error, logs nobody out and lets nobody in";

fn broken(answer: impl core::fmt::Debug) -> Violation {
    Violation {
        promise: PROMISE,
        detail: format!("{answer:?}"),
    }
}

/// What a user does in one request.
#[derive(Clone, Copy, Debug)]
enum Request {
    Looks,
    Begins,
    Writes,
    Moves,
    LogsIn,
    StepsUp,
    LogsOut,
    SeesDevices,
    EndsAnother,
    EndsOthers,
    EndsAll,
}

/// The user's session that makes the request, and another one.
struct Case {
    user: String,
    session: Session,
    id: SessionId,
    other: SessionId,
    others_handle: SessionHandle,
    newcomer: Session,
}

impl Case {
    async fn new<S: SessionStore>(sessions: &Sessions<S>) -> Result<Self, Violation> {
        let user = new_user()?;
        let other = logged_in(sessions, &user).await?;
        let mut session = Session::absent();
        works(session.set_bytes("cart", "hammer"))?;
        session.login(Login::new(user.as_str()));
        committed(sessions, &mut session).await?;
        let mut newcomer = Session::absent();
        works(newcomer.set_bytes("cart", "nails"))?;
        Ok(Case {
            id: id_of(&session)?,
            other: id_of(&other)?,
            others_handle: other.handle().ok_or_else(|| broken("no handle"))?,
            user,
            session,
            newcomer,
        })
    }
}

/// The request, with an outage after so many of its calls; whether it made so many. Then the same request again.
async fn breaks_off<S: SessionStore, B: SessionStore>(
    store: &S,
    beneath: &[&Faulty<B>],
    request: Request,
    fault: Fault,
    well: u64,
) -> Result<bool, Violation> {
    let sessions = Sessions::new(store, Policy::default());
    let mut case = Case::new(&sessions).await?;
    let failures = || beneath.iter().map(|store| store.failed()).sum::<u64>();
    let before = failures();
    for store in beneath {
        store.inject(Faults::always(fault).after(well));
    }
    let outcome = request.made(&sessions, &mut case).await;
    let is_out = failures() > before;
    let told = |detail: &dyn core::fmt::Debug| {
        broken(format!(
            "{request:?}, {fault:?} after {well} calls: {detail:?}"
        ))
    };
    match outcome {
        Ok(()) => {}
        Err(Failure::Store(error)) if is_out => {
            // Who asks to be logged out has no user in this request any more.
            let asked_to = matches!(request, Request::LogsOut);
            if !asked_to && case.session.user() != Some(&case.user) {
                return Err(told(&(error, "and the request has lost its user")));
            }
        }
        Err(Failure::Store(error)) => return Err(told(&error)),
        Err(Failure::Other(answer)) => return Err(told(&answer)),
    }
    if is_out {
        // Whoever comes meanwhile.
        match sessions.open(case.other.clone()).await {
            Err(OpenError::Store(_)) => {}
            Ok(seen) if seen.user() == Some(&case.user) => {}
            other => return Err(told(&other)),
        }
    }
    for store in beneath {
        store.heal();
    }
    match request.made(&sessions, &mut case).await {
        Ok(()) => {}
        Err(Failure::Store(error)) => return Err(told(&("and again", error))),
        Err(Failure::Other(answer)) => return Err(told(&("and again", answer))),
    }
    request
        .is_done(&sessions, &case)
        .await
        .map_err(|violation| told(&violation.detail))?;
    Ok(is_out)
}

enum Failure {
    Store(StoreError),
    /// What the caller would take for an answer.
    Other(String),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) => Failure::Store(error),
            other => Failure::Other(format!("{other:?}")),
        }
    }
}

impl From<CommitError> for Failure {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Failure::Store(error),
            other => Failure::Other(format!("{other:?}")),
        }
    }
}

impl From<RevokeError> for Failure {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Store(error) => Failure::Store(error),
            other => Failure::Other(format!("{other:?}")),
        }
    }
}

impl Request {
    const ALL: [Request; 11] = [
        Request::Looks,
        Request::Begins,
        Request::Writes,
        Request::Moves,
        Request::LogsIn,
        Request::StepsUp,
        Request::LogsOut,
        Request::SeesDevices,
        Request::EndsAnother,
        Request::EndsOthers,
        Request::EndsAll,
    ];

    async fn made<S: SessionStore>(
        self,
        sessions: &Sessions<S>,
        case: &mut Case,
    ) -> Result<(), Failure> {
        let session = &mut case.session;
        let other = |error| Failure::Other(format!("{error:?}"));
        match self {
            Request::Looks => {
                let seen = sessions.open(case.id.clone()).await?;
                if seen.user() != Some(&case.user) {
                    return Err(Failure::Other(format!("{seen:?}")));
                }
            }
            Request::Begins => {
                let _ = sessions.commit(&mut case.newcomer).await?;
            }
            Request::Writes => {
                session.set_bytes("late", "x").map_err(other)?;
                let _ = sessions.commit(session).await?;
            }
            Request::Moves => {
                session.rotate();
                let _ = sessions.commit(session).await?;
            }
            Request::LogsIn => {
                session.login(Login::new(case.user.as_str()));
                let _ = sessions.commit(session).await?;
            }
            Request::StepsUp => {
                let proven = session.step_up(Assurance::Two);
                proven.map_err(|error| Failure::Other(format!("{error:?}")))?;
                let _ = sessions.commit(session).await?;
            }
            Request::LogsOut => {
                session.logout();
                let _ = sessions.commit(session).await?;
            }
            Request::SeesDevices => {
                let seen = sessions.devices(session).await?;
                if seen.len() != 2 {
                    return Err(Failure::Other(format!("{seen:?}")));
                }
            }
            Request::EndsAnother => {
                let _ = sessions.end_device(&case.user, case.others_handle).await?;
            }
            Request::EndsOthers => {
                let _ = sessions.logout_others(session).await?;
            }
            Request::EndsAll => match sessions.logout_everywhere(session).await {
                // It was done at once.
                Err(RevokeError::LoggedOut) if session.state() == State::Destroyed => {}
                outcome => drop(outcome?),
            },
        }
        Ok(())
    }

    /// Whether all is as it should be after the request was made at least once, and repeated.
    async fn is_done<S: SessionStore>(self, sessions: &Sessions<S>, case: &Case) -> Verdict {
        let own = !matches!(self, Request::LogsOut | Request::EndsAll);
        let other = !matches!(
            self,
            Request::EndsAnother | Request::EndsOthers | Request::EndsAll
        );
        let user = Some(case.user.as_str());
        let seen = works(sessions.open(case.other.clone()).await)?;
        expect(PROMISE, seen.user(), user.filter(|_| other))?;
        let n_listed = works(sessions.of_user(&case.user).await)?.len();
        expect(PROMISE, n_listed, usize::from(own) + usize::from(other))?;
        if !own {
            let seen = works(sessions.open(case.id.clone()).await)?;
            return expect(PROMISE, seen.state(), State::Absent);
        }
        let seen = works(sessions.open(id_of(&case.session)?).await)?;
        let cart = seen.get_bytes("cart");
        let kept = (seen.user(), cart.as_deref());
        expect(PROMISE, kept, (user, Some(&b"hammer"[..])))?;
        match self {
            Request::Writes => {
                let late = seen.get_bytes("late");
                expect(PROMISE, late.as_deref(), Some(&b"x"[..]))
            }
            Request::StepsUp => expect(PROMISE, seen.require_assurance(Assurance::Two), Ok(())),
            Request::Begins => {
                let newcomer = works(sessions.open(id_of(&case.newcomer)?).await)?;
                expect(PROMISE, newcomer.user(), None)?;
                let cart = newcomer.get_bytes("cart");
                expect(PROMISE, cart.as_deref(), Some(&b"nails"[..]))
            }
            _ => Ok(()),
        }
    }
}
