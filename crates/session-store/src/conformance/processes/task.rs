//! What a process does that was started by another one.

use core::fmt;
use core::time::Duration;
use std::env;
use std::io::{self, BufRead, Write};

use purlin_core::{Clock, SystemClock};

use super::{CAP, Shared, Verdict, counted, policy, works};
use crate::auth::Login;
use crate::conformance::at_once::all;
use crate::conformance::at_once::others_first;
use crate::conformance::expect;
use crate::id::SessionId;
use crate::session::{Session, State};
use crate::sessions::{CommitError, Saved, Sessions};
use crate::store::SessionStore;

/// Names the task, the session, how much there is to do, and the server.
pub(super) const TASK: &str = "PURLIN_CONFORMANCE_TASK";

/// Whether this process was started by one of the functions.
pub fn is_started() -> bool {
    env::var_os(TASK).is_some()
}

/// Does what the process was started for.
///
/// # Panics
///
/// If it was started for nothing, or finds a violation; which the one that started it is told by its end.
///
/// # Cancel safety
///
/// None: it is all that the process is for.
pub async fn work<S: Shared>() {
    let told = env::var(TASK).unwrap_or_default();
    let mut words = told.splitn(4, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (task, secret, share, address) = (word(), word(), word(), word());
    let id = read_secret(secret).expect("a session, from the one that started this process");
    let share: usize = share.parse().expect("a number, from the same");
    let sessions = Sessions::new(S::connect(address).await, policy());
    let verdict = match Task::ALL.into_iter().find(|one| one.to_string() == task) {
        Some(Task::Fields) => set_fields(&sessions, &id, share).await,
        Some(Task::Count) => count_up(&sessions, &id, share).await,
        Some(Task::CountOn) => count_on(&sessions, id).await,
        Some(Task::Write) => write_until_gone(&sessions, id).await,
        Some(Task::Look) => look_until_superseded(&sessions, id).await,
        Some(Task::Read) => read_until_ended(&sessions, id).await,
        Some(Task::LogIn) => log_in(&sessions, id, share).await,
        None => panic!("no such task: {task}"),
    };
    assert!(verdict.is_ok(), "{verdict:?}");
}

/// What a process is started for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    Fields,
    Count,
    CountOn,
    Write,
    Look,
    Read,
    LogIn,
}

impl Task {
    const ALL: [Task; 7] = [
        Task::Fields,
        Task::Count,
        Task::CountOn,
        Task::Write,
        Task::Look,
        Task::Read,
        Task::LogIn,
    ];
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Requests at once, which have all read the same session: each sets a field of its own.
async fn set_fields<S: SessionStore>(sessions: &Sessions<S>, id: &SessionId, n: usize) -> Verdict {
    let mut opened = Vec::new();
    for _ in 0..n {
        opened.push(works(sessions.open(id.clone()).await)?);
    }
    wait_to_begin();
    let writes = opened.into_iter().enumerate().map(|(i, mut session)| {
        async move {
            // Of this process's own.
            let field = format!("{} {i}", std::process::id());
            works(session.set_bytes(&field, "x"))?;
            loop {
                match sessions.commit(&mut session).await {
                    Err(CommitError::Contended { .. }) => {}
                    outcome => return works(outcome),
                }
            }
        }
    });
    for outcome in all(writes).await {
        expect("no update is lost", outcome?, Saved::Written)?;
    }
    Ok(())
}

/// Requests at once that count one field up.
async fn count_up<S: SessionStore>(sessions: &Sessions<S>, id: &SessionId, n: usize) -> Verdict {
    let mut opened = Vec::new();
    for _ in 0..n {
        opened.push(works(sessions.open(id.clone()).await)?);
    }
    wait_to_begin();
    let counts = opened
        .into_iter()
        .map(|mut session| async move { count_once(sessions, &mut session).await });
    all(counts).await.into_iter().collect()
}

async fn count_once<S: SessionStore>(sessions: &Sessions<S>, session: &mut Session) -> Verdict {
    let count = |session: &mut Session| {
        let count = counted(session) + 1;
        session.set_bytes("count", count.to_string())
    };
    loop {
        match sessions.update(session, count).await {
            Err(CommitError::Contended { .. }) => {}
            outcome => return works(works(outcome)?.0),
        }
    }
}

/// Counts, and says each time that it has, until it is killed.
async fn count_on<S: SessionStore>(sessions: &Sessions<S>, id: SessionId) -> Verdict {
    let mut session = works(sessions.open(id).await)?;
    wait_to_begin();
    loop {
        count_once(sessions, &mut session).await?;
        say(DONE);
    }
}

/// Writes, and every third time asks for a new id, until it is told that the session has ended.
async fn write_until_gone<S: SessionStore>(sessions: &Sessions<S>, id: SessionId) -> Verdict {
    let mut session = works(sessions.open(id).await)?;
    wait_to_begin();
    // An end, for a store that never tells.
    for number in 0..100_000 {
        works(session.set_bytes("number", number.to_string()))?;
        if number % 3 == 2 {
            session.rotate();
        }
        match sessions.commit(&mut session).await {
            Err(CommitError::Gone) => break,
            outcome => works(outcome).map(|_saved| ())?,
        }
        say(DONE);
    }
    expect("what ended is dead", session.state(), State::Destroyed)
}

/// Uses an id, until it is told that it is an old one.
async fn look_until_superseded<S: SessionStore>(sessions: &Sessions<S>, id: SessionId) -> Verdict {
    const PROMISE: &str = "while a session gets a new id, the old one reads what was there before";
    wait_to_begin();
    loop {
        let session = works(sessions.open(id.clone()).await)?;
        let seen = session.get_bytes("first");
        expect(PROMISE, seen.as_deref(), Some(&b"1"[..]))?;
        expect("the old id gets no privileges", session.user(), None)?;
        if session.is_superseded() {
            return Ok(());
        }
        say(DONE);
        others_first().await;
    }
}

/// Uses a session until it has ended; and says so once it has been used so often that whatever keeps sessions keeps it.
async fn read_until_ended<S: SessionStore>(sessions: &Sessions<S>, id: SessionId) -> Verdict {
    wait_to_begin();
    let clock = SystemClock::new();
    let mut told_at = None;
    for reads in 0_u64.. {
        let seen = works(sessions.open(id.clone()).await)?;
        if seen.state() == State::Absent {
            break;
        }
        if reads == 5_000 {
            say(DONE);
            told_at = Some(clock.now());
        }
        let since = told_at.map_or(Duration::ZERO, |told_at| clock.now().since(told_at));
        let soon = since < Duration::from_secs(30);
        expect("a revocation reaches other processes", soon, true)?;
        others_first().await;
    }
    expect("it was not ended before it was", told_at.is_some(), true)
}

/// Logs the user of a session in again and again, and counts their sessions.
async fn log_in<S: SessionStore>(sessions: &Sessions<S>, id: SessionId, n: usize) -> Verdict {
    let session = works(sessions.open(id).await)?;
    let user = session.user().unwrap_or_default().to_owned();
    wait_to_begin();
    for _ in 0..n {
        let mut session = Session::absent();
        session.login(Login::new(user.as_str()));
        let saved = works(sessions.commit(&mut session).await)?;
        expect("a login makes a session", saved, Saved::Created)?;
        let present = works(sessions.of_user(&user).await)?.len();
        let holds = present <= CAP as usize;
        expect(
            "a cap holds over processes",
            (holds, present),
            (true, present),
        )?;
    }
    Ok(())
}

pub(super) const READY: &str = "ready";
pub(super) const DONE: &str = "done";

/// One line of its own in one write, so that it is there whole as soon as it is there: the harness writes too. Whether
/// anybody still listens is all the same.
fn say(word: &str) {
    let mut output = io::stdout().lock();
    let _ = output.write_all(format!("\n{word}\n").as_bytes());
    let _ = output.flush();
}

fn wait_to_begin() {
    say(READY);
    let _ = io::stdin().lock().read_line(&mut String::new());
}

fn read_secret(hex: &str) -> Option<SessionId> {
    let mut secret = [0; SessionId::LEN];
    for (byte, digits) in secret.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    (hex.len() == 2 * SessionId::LEN).then(|| SessionId::from_secret_bytes(secret))
}
