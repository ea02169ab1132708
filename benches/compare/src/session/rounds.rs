//! The same work for each contender: two threads with a runtime each, and some requests under way on either.

use std::error::Error;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::table::Table;

/// A way to keep sessions. Every answer is checked.
pub(super) trait Contender: Sized + 'static {
    /// As the tables call it.
    const NAME: &'static str;
    /// What all threads share.
    type Shared: Clone + Send + 'static;
    /// What a client's request knows of its session.
    type Session: 'static;

    /// What one thread has: a connection, or nothing.
    async fn connect(shared: Self::Shared) -> Self;
    /// Stores a new session with the document in it.
    async fn create(&self) -> Self::Session;
    /// Finds the session and reads one field of it, as every request does.
    async fn load(&self, session: &Self::Session);
    /// The same, with the idle deadline moved out in the store, whether or not that is due.
    async fn load_and_move(&self, session: &Self::Session);
    /// Stores the session with one field changed.
    async fn save(&self, session: &mut Self::Session, value: u64);
}

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Create,
    Load,
    LoadAndMove,
    Save,
}

impl Work {
    pub(super) const ALL: [Work; 4] = [Work::Load, Work::LoadAndMove, Work::Save, Work::Create];

    fn head(self) -> &'static str {
        match self {
            Work::Create => "create",
            Work::Load => "load",
            Work::LoadAndMove => "load + moved deadline",
            Work::Save => "commit",
        }
    }
}

const THREADS: usize = 2;
/// Sessions of one task for each kind of work, used in turn. No kind meets those of another, as a session is used in one way:
/// a store may keep one whose deadline is always moved otherwise.
const SESSIONS: usize = 64;

/// A thread, with what it is told to do and how long that took.
type Worker = (Sender<(Work, usize)>, Receiver<Duration>, JoinHandle<()>);

/// A contender that waits for work.
pub(super) struct Running {
    name: &'static str,
    threads: Vec<Worker>,
}

impl Running {
    /// Connects, and creates the sessions of `tasks` tasks a thread.
    pub(super) fn start<C: Contender>(
        shared: C::Shared,
        tasks: usize,
    ) -> Result<Self, Box<dyn Error>> {
        let threads = (0..THREADS)
            .map(|_| {
                let (give, work) = channel();
                let (done, took) = channel();
                let shared = shared.clone();
                let runtime = Builder::new_current_thread().enable_all().build()?;
                let thread = std::thread::spawn(move || {
                    runtime.block_on(
                        LocalSet::new().run_until(serve::<C>(shared, tasks, &work, &done)),
                    );
                });
                // The first answer says that it is ready.
                Ok((give, took, thread))
            })
            .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
        for (_, ready, _) in &threads {
            ready.recv()?;
        }
        Ok(Running {
            name: C::NAME,
            threads,
        })
    }

    /// The time until the last thread is done with its `ops`.
    fn once(&self, work: Work, ops: usize) -> Result<Duration, Box<dyn Error>> {
        for (give, _, _) in &self.threads {
            give.send((work, ops))?;
        }
        let mut longest = Duration::ZERO;
        for (_, took, _) in &self.threads {
            longest = longest.max(took.recv()?);
        }
        Ok(longest)
    }

    fn stop(self) {
        for (give, _, thread) in self.threads {
            drop(give);
            if thread.join().is_err() {
                eprintln!("compare: {} panicked", self.name);
            }
        }
    }
}

async fn serve<C: Contender>(
    shared: C::Shared,
    tasks: usize,
    work: &Receiver<(Work, usize)>,
    done: &Sender<Duration>,
) {
    let contender = Rc::new(C::connect(shared).await);
    let mut sessions = Vec::new();
    for _ in 0..tasks {
        let mut of_task = Vec::with_capacity(SESSIONS * Work::ALL.len());
        for _ in 0..SESSIONS * Work::ALL.len() {
            of_task.push(contender.create().await);
        }
        sessions.push(of_task);
    }
    if done.send(Duration::ZERO).is_err() {
        return;
    }
    while let Ok((work, ops)) = work.recv() {
        let start = Instant::now();
        let running: Vec<_> = sessions
            .drain(..)
            .map(|of_task| {
                tokio::task::spawn_local(request_loop(
                    Rc::clone(&contender),
                    work,
                    ops / tasks,
                    of_task,
                ))
            })
            .collect();
        for task in running {
            sessions.push(task.await.expect("a contender does not panic"));
        }
        if done.send(start.elapsed()).is_err() {
            return;
        }
    }
}

async fn request_loop<C: Contender>(
    contender: Rc<C>,
    work: Work,
    ops: usize,
    mut sessions: Vec<C::Session>,
) -> Vec<C::Session> {
    for op in 0..ops {
        let idx = work as usize * SESSIONS + op % SESSIONS;
        match work {
            Work::Create => sessions[idx] = contender.create().await,
            Work::Load => contender.load(&sessions[idx]).await,
            Work::LoadAndMove => contender.load_and_move(&sessions[idx]).await,
            Work::Save => contender.save(&mut sessions[idx], op as u64).await,
        }
    }
    sessions
}

/// Medians beside the first contender's, in the order of [`Work::ALL`].
pub(super) type Ratios = Vec<f64>;

/// Runs every contender once a round with each kind of work, and prints the medians in thousands a second, with
/// their ratio to the first contender's, which are also returned. Then all are stopped.
pub(super) fn print(
    title: &str,
    contenders: Vec<Running>,
    rounds: usize,
    ops: usize,
) -> Result<Vec<Ratios>, Box<dyn Error>> {
    let mut rates = vec![vec![Vec::new(); Work::ALL.len()]; contenders.len()];
    // The first round warms up and is not counted.
    for round in 0..=rounds {
        for (work_idx, work) in Work::ALL.into_iter().enumerate() {
            for (contender, rates) in contenders.iter().zip(&mut rates) {
                // Fewer of what leaves something behind.
                let ops = if work == Work::Create { ops / 8 } else { ops };
                let took = contender.once(work, ops)?;
                if round > 0 {
                    rates[work_idx].push((THREADS * ops) as f64 / took.as_secs_f64() / 1000.0);
                }
            }
        }
    }
    let medians: Vec<Vec<f64>> = rates
        .into_iter()
        .map(|works| works.into_iter().map(median).collect())
        .collect();
    let mut table = Table::new(["store"].into_iter().chain(Work::ALL.map(Work::head)));
    for (contender, own) in contenders.iter().zip(&medians) {
        let cells = own
            .iter()
            .zip(&medians[0])
            .map(|(own, first)| format!("{own:.0} ({:.2})", own / first));
        table.row([contender.name.to_owned()].into_iter().chain(cells));
    }
    table.print(&format!(
        "{title}: thousands a second, and the ratio to the first row"
    ));
    contenders.into_iter().for_each(Running::stop);
    let beside_first = |own: &Vec<f64>| {
        own.iter()
            .zip(&medians[0])
            .map(|(own, first)| own / first)
            .collect()
    };
    Ok(medians.iter().map(beside_first).collect())
}

pub(super) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
