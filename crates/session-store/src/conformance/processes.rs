//! What processes can rely on that share the server of a store: one function a promise.
//!
//! Each function starts the test that called it twice more, as processes of their own, which do what their name in the
//! environment says. [`conformance_processes!`](crate::conformance_processes) makes a test of each function.

mod process;
mod task;

use core::fmt;
use core::future::Future;
use core::slice;
use core::time::Duration;
use std::env;

use self::process::{Process, begin};
use self::task::{DONE, Task};
use super::{Violation, expect};
use crate::auth::Login;
use crate::id::SessionId;
use crate::policy::Policy;
use crate::session::{Session, State};
use crate::sessions::{Saved, Sessions};
use crate::store::SessionStore;
use crate::user::Cap;

pub use self::task::{is_started, work};

/// A server that processes share, and the store over it.
pub trait Shared: Sync {
    /// The store of one process.
    type Store: SessionStore;

    /// What another process is told, so that it finds the server: an address, say. One line.
    fn address(&self) -> String;

    /// A store over connections of this process's own.
    fn connect(address: &str) -> impl Future<Output = Self::Store> + Send;
}

/// A test for each function of [`processes`](crate::conformance::processes), over the
/// [`Shared`](crate::conformance::processes::Shared) that an expression makes anew for each, and whose type stands before
/// it. The expression may await, and is not run in the processes that the tests start. The tests run on tokio, so the
/// crate that calls this has it with its feature `macros`.
///
/// ```no_run
/// use purlin_session_store::MemoryStore;
/// use purlin_session_store::conformance::processes::Shared;
///
/// struct Server { address: String }
///
/// impl Shared for Server {
///     type Store = MemoryStore; // Yours, which many processes can share.
///     fn address(&self) -> String { self.address.clone() }
///     async fn connect(_address: &str) -> MemoryStore { MemoryStore::new() }
/// }
///
/// purlin_session_store::conformance_processes!(Server: Server { address: "127.0.0.1:7000".to_owned() });
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_processes {
    ($server:ty: $start:expr) => {
        $crate::conformance_processes! { $server: $start;
            line_01_processes_lose_no_update: no_update_is_lost(2), no_update_is_lost($crate::conformance::processes::requests());
            line_02_processes_count_exactly: a_counter_is_exact(2), a_counter_is_exact($crate::conformance::processes::requests());
            line_03_a_logout_in_one_process_ends_what_another_is_writing: a_logout_ends_what_another_is_writing();
            line_04_an_id_works_while_another_process_logs_in: an_id_works_while_another_logs_in();
            line_07_processes_that_are_killed_lose_nothing: what_is_killed_loses_nothing();
            line_08_a_revocation_in_one_process_reaches_another: a_revocation_reaches_another();
            line_12_a_cap_holds_over_processes: a_cap_holds();
        }
    };
    ($server:ty: $start:expr; $($name:ident: $($line:ident($($arg:expr),*)),+;)*) => {$(
        #[tokio::test]
        async fn $name() {
            if $crate::conformance::processes::is_started() {
                return $crate::conformance::processes::work::<$server>().await;
            }
            let server = $start;
            let test = concat!(module_path!(), "::", stringify!($name));
            $(
                let verdict = $crate::conformance::processes::$line(&server, test $(, $arg)*).await;
                assert!(verdict.is_ok(), "{verdict:?}");
            )+
        }
    )*};
}

/// How many requests at once the tests make: 32, or what `PURLIN_CONFORMANCE_REQUESTS` says.
///
/// # Panics
///
/// If that is no number.
pub fn requests() -> usize {
    env::var("PURLIN_CONFORMANCE_REQUESTS").map_or(32, |requests| {
        requests
            .parse()
            .expect("PURLIN_CONFORMANCE_REQUESTS is a number")
    })
}

type Verdict = Result<(), Violation>;

/// Line 1: of `n` requests at once in two processes, each of which sets a field of its own, every field is there.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the processes end. Sessions are left in the store; they expire.
pub async fn no_update_is_lost<S: Shared>(server: &S, test: &str, n: usize) -> Verdict {
    let sessions = sessions(server).await;
    let id = id_of(&begun(&sessions).await?)?;
    in_both(server, test, Task::Fields, &id, n / 2)?;
    let session = works(sessions.open(id).await)?;
    expect("no update is lost", session.names().count(), n + 1)
}

/// Line 2: `n` requests at once in two processes count one field up, and the sum is exact.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the processes end. Sessions are left in the store; they expire.
pub async fn a_counter_is_exact<S: Shared>(server: &S, test: &str, n: usize) -> Verdict {
    let sessions = sessions(server).await;
    let id = id_of(&begun(&sessions).await?)?;
    in_both(server, test, Task::Count, &id, n / 2)?;
    let session = works(sessions.open(id).await)?;
    expect("a counter is exact", counted(&session), n)
}

/// Line 3: another process goes on writing and asking for a new id while its user logs out everywhere in this one. It is
/// told so, and nothing is back.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the process ends. Sessions are left in the store; they expire.
pub async fn a_logout_ends_what_another_is_writing<S: Shared>(server: &S, test: &str) -> Verdict {
    const PROMISE: &str = "a logout in one process ends what another is writing";
    let sessions = sessions(server).await;
    // What the other one is about to do at the moment, to write or to move, is chance.
    for _ in 0..4 {
        let (user, id) = logged_in(&sessions).await?;
        let mut writer = Process::start(server, test, Task::Write, &id, 0)?;
        begin(slice::from_mut(&mut writer))?;
        for _ in 0..20 {
            writer.hear(DONE)?;
        }
        let ended = works(sessions.end_all_of(&user).await)?;
        expect(PROMISE, ended >= 1, true)?;
        // It ends by itself, with what it was told.
        writer.finish()?;
        let seen = works(sessions.open(id).await)?;
        expect(PROMISE, seen.state(), State::Absent)?;
        expect(PROMISE, works(sessions.of_user(&user).await)?.len(), 0)?;
    }
    Ok(())
}

/// Line 4: another process goes on using an id while somebody logs in under it here. It finds the session all the time,
/// and never the login.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the process ends. Sessions are left in the store; they expire.
pub async fn an_id_works_while_another_logs_in<S: Shared>(server: &S, test: &str) -> Verdict {
    let sessions = sessions(server).await;
    let mut session = begun(&sessions).await?;
    let mut reader = Process::start(server, test, Task::Look, &id_of(&session)?, 0)?;
    begin(slice::from_mut(&mut reader))?;
    for _ in 0..20 {
        reader.hear(DONE)?;
    }
    session.login(Login::new(new_user()?));
    let saved = works(sessions.commit(&mut session).await)?;
    expect("a login rotates", saved, Saved::Rotated)?;
    // It ends by itself, once it has seen that it came with an old id.
    reader.finish()?;
    let seen = works(sessions.open(id_of(&session)?).await)?;
    expect("the new id has the login", seen.user(), session.user())
}

/// Line 7: two processes count, and both are killed in the midst of it. Nothing that either was told is stored is lost.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the processes end. Sessions are left in the store; they expire.
pub async fn what_is_killed_loses_nothing<S: Shared>(server: &S, test: &str) -> Verdict {
    const PROMISE: &str = "what was acknowledged outlives the process that was told so";
    let sessions = sessions(server).await;
    let id = id_of(&begun(&sessions).await?)?;
    let mut processes = [
        Process::start(server, test, Task::CountOn, &id, 0)?,
        Process::start(server, test, Task::CountOn, &id, 0)?,
    ];
    begin(&mut processes)?;
    let mut told = 0;
    for process in &mut processes {
        for _ in 0..40 {
            process.hear(DONE)?;
        }
        told += 40 + process.kill()?;
    }
    let counted = counted(&works(sessions.open(id).await)?);
    // Each may have died between the commit and the word of it.
    let found = (told..=told + 2).contains(&counted);
    expect(PROMISE, (found, counted), (true, counted))
}

/// Line 8: another process goes on reading a session while its user's sessions are ended here, and soon finds it ended; also
/// if it keeps sessions near, which has to do with a connection for reports.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the process ends. Sessions are left in the store; they expire.
pub async fn a_revocation_reaches_another<S: Shared>(server: &S, test: &str) -> Verdict {
    let sessions = sessions(server).await;
    let (user, id) = logged_in(&sessions).await?;
    let mut reader = Process::start(server, test, Task::Read, &id, 0)?;
    begin(slice::from_mut(&mut reader))?;
    reader.hear(DONE)?;
    let ended = works(sessions.end_all_of(&user).await)?;
    expect("a revocation ends the session", ended, 1)?;
    reader.finish()
}

/// Line 12: two processes log one user in again and again, and neither ever sees more sessions than the cap.
///
/// # Errors
///
/// The first [`Violation`].
///
/// # Cancel safety
///
/// If the future is dropped, the processes end. Sessions are left in the store; they expire.
pub async fn a_cap_holds<S: Shared>(server: &S, test: &str) -> Verdict {
    let sessions = sessions(server).await;
    let (user, id) = logged_in(&sessions).await?;
    in_both(server, test, Task::LogIn, &id, 20)?;
    let left = works(sessions.of_user(&user).await)?.len();
    expect("a cap holds over processes", left, CAP as usize)
}

const CAP: u32 = 3;

fn policy() -> Policy {
    Policy::default()
        // Processes may be slow, and a grace that is over is not what is looked at here.
        .grace(Duration::from_secs(50))
        .sessions_per_user(Cap::evict_oldest(CAP))
}

async fn sessions<S: Shared>(server: &S) -> Sessions<S::Store> {
    Sessions::new(S::connect(&server.address()).await, policy())
}

/// A session with one field.
async fn begun<S: SessionStore>(sessions: &Sessions<S>) -> Result<Session, Violation> {
    let mut session = Session::absent();
    works(session.set_bytes("first", "1"))?;
    committed(sessions, &mut session).await?;
    Ok(session)
}

async fn logged_in<S: SessionStore>(
    sessions: &Sessions<S>,
) -> Result<(String, SessionId), Violation> {
    let (user, mut session) = (new_user()?, Session::absent());
    session.login(Login::new(user.as_str()));
    committed(sessions, &mut session).await?;
    let id = id_of(&session)?;
    Ok((user, id))
}

/// Makes the session.
async fn committed<S: SessionStore>(sessions: &Sessions<S>, session: &mut Session) -> Verdict {
    let saved = works(sessions.commit(session).await)?;
    expect("a first change makes a session", saved, Saved::Created)
}

fn counted(session: &Session) -> usize {
    let count = session.get_bytes("count").unwrap_or_default();
    core::str::from_utf8(&count)
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(0)
}

/// Two processes at once, each with its share, to their end.
fn in_both<S: Shared>(server: &S, test: &str, task: Task, id: &SessionId, share: usize) -> Verdict {
    let mut processes = [
        Process::start(server, test, task, id, share)?,
        Process::start(server, test, task, id, share)?,
    ];
    begin(&mut processes)?;
    processes.iter_mut().try_for_each(Process::finish)
}

fn new_user() -> Result<String, Violation> {
    Ok(format!("{:?}", works(SessionId::random())?.secret_bytes()))
}

fn works<T, E: fmt::Debug>(answer: Result<T, E>) -> Result<T, Violation> {
    answer.map_err(|error| Violation {
        promise: "a store that works does not fail",
        detail: format!("{error:?}"),
    })
}

fn id_of(session: &Session) -> Result<SessionId, Violation> {
    session.id().cloned().ok_or_else(|| Violation {
        promise: "a committed session has an id",
        detail: format!("{session:?}"),
    })
}
