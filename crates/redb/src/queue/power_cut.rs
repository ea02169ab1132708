//! A disk that forgets what was not synced, and one that fails.
//!
//! `kill -9` does not test a sync: the system keeps what the process wrote. Here the engine runs on a disk in memory
//! that knows what has been synced, and at many points of a run the power goes out.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use purlin_work_queue::{
    ErrorKind, Job, JobId, JobState, LeaseError, LeaseId, LeaseRequest, Limits, ManualClock, Nack,
    Rng,
};
use redb::{Database, StorageBackend};

use super::engine::Engine;
use super::{RedbQueue, tables};
use crate::file::OpenFile;

/// A cut tears writes at this size.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What has been done since the last sync, in order.
    unsynced: Vec<Op>,
    /// How many operations there were.
    count: u64,
    /// Operations at which the power is cut, with how many of the user's operations were acknowledged by then.
    cuts: Cuts,
    /// The operation that fails, if any.
    fails_at: Option<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Default)]
struct Cuts {
    /// Every so many operations. 0 is never.
    every: u64,
    acknowledged: Arc<AtomicUsize>,
    taken: Vec<Cut>,
}

/// All there is to know of a disk at the moment of a power cut.
#[derive(Debug)]
struct Cut {
    durable: Vec<u8>,
    unsynced: Vec<Op>,
    acknowledged: usize,
}

/// What of the unsynced survives.
#[derive(Clone, Copy, Debug)]
enum Survives {
    Nothing,
    /// In order, up to a point.
    Prefix,
    /// Any sector, by the toss of a coin.
    Torn,
    /// The length of the file, and none of its bytes.
    Size,
    Everything,
}

impl Op {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Op::SetLen(len) => image.resize(*len, 0),
            Op::Write(offset, data) => {
                let end = offset + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Cut {
    fn image(&self, survives: Survives, rng: &mut Rng) -> Vec<u8> {
        let mut image = self.durable.clone();
        let prefix = rng.below(self.unsynced.len() as u64 + 1) as usize;
        for (i, op) in self.unsynced.iter().enumerate() {
            match (survives, op) {
                (Survives::Nothing, _) => {}
                (Survives::Prefix, _) if i >= prefix => {}
                (Survives::Prefix | Survives::Everything, _) => op.apply(&mut image),
                (Survives::Size | Survives::Torn, Op::SetLen(_)) => op.apply(&mut image),
                (Survives::Size, Op::Write(..)) => {}
                (Survives::Torn, Op::Write(offset, data)) => {
                    for (i, sector) in data.chunks(SECTOR).enumerate() {
                        if rng.chance(0.5) {
                            let at = offset + i * SECTOR;
                            Op::Write(at, sector.to_vec()).apply(&mut image);
                        }
                    }
                }
            }
        }
        image
    }
}

impl Disk {
    fn new(image: Vec<u8>) -> Self {
        Disk(Arc::new(Mutex::new(State {
            live: image.clone(),
            durable: image,
            ..State::default()
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation that changes the disk, and lets it fail or cuts the power before it.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.count += 1;
        let every = state.cuts.every;
        if every != 0 && state.count.is_multiple_of(every) {
            let cut = Cut {
                durable: state.durable.clone(),
                unsynced: state.unsynced.clone(),
                acknowledged: state.cuts.acknowledged.load(Ordering::SeqCst),
            };
            state.cuts.taken.push(cut);
        }
        if state.fails_at == Some(state.count) {
            return Err(io::Error::other("the disk failed, once"));
        }
        Ok(state)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let offset = offset as usize;
        let found = state.live.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        let op = Op::SetLen(len as usize);
        op.apply(&mut state.live);
        state.unsynced.push(op);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        let op = Op::Write(offset as usize, data.to_vec());
        op.apply(&mut state.live);
        state.unsynced.push(op);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operate()?;
        let state = &mut *state;
        for op in state.unsynced.drain(..) {
            op.apply(&mut state.durable);
        }
        Ok(())
    }
}

fn open(disk: Disk, clock: &ManualClock) -> RedbQueue<ManualClock> {
    let database = Database::builder()
        .set_cache_size(1 << 20)
        .create_with_backend(disk)
        .expect("a disk after a power cut opens");
    let file = OpenFile {
        database,
        _lock: None,
    };
    let limits = Limits::default().with_max_keys(5);
    let engine = Engine::on(Path::new("disk"), file, limits, clock.clone());
    RedbQueue {
        engine: engine.expect("a disk after a power cut holds a queue"),
    }
}

/// A disk with an empty queue on it, all of it synced: what making a file and renaming it leaves.
fn empty_disk() -> Disk {
    let disk = Disk::new(Vec::new());
    let database = Database::builder()
        .set_cache_size(1 << 20)
        .create_with_backend(disk.clone())
        .unwrap();
    tables::make(&database).unwrap();
    drop(database);
    let image = disk.state().live.clone();
    Disk::new(image)
}

/// What can be seen of every job there ever was, in the order of their ids.
type View = Vec<Option<(u32, String)>>;

fn view(queue: &RedbQueue<ManualClock>, jobs: u64) -> View {
    let status = |id| queue.status(JobId::from_u64(id)).unwrap();
    (1..=jobs)
        .map(|id| status(id).map(|status| (status.attempts, format!("{:?}", status.state))))
        .collect()
}

/// A run of random operations. Every call that returns `Ok` and changes something is followed by a look at all jobs.
struct Run {
    queue: RedbQueue<ManualClock>,
    clock: ManualClock,
    rng: Rng,
    jobs: u64,
    leases: Vec<LeaseId>,
}

impl Run {
    fn new(disk: Disk, seed: u64) -> Self {
        let clock = ManualClock::new();
        Run {
            queue: open(disk, &clock),
            clock,
            rng: Rng::from_seed(seed),
            jobs: 0,
            leases: Vec::new(),
        }
    }

    /// One operation; an error if the disk failed.
    fn step(&mut self) -> Result<(), ErrorKind> {
        let draw = self.rng.below(10);
        match draw {
            0..=3 => {
                let count = 1 + self.rng.below(3);
                let bytes = [10, 300, 9_000][self.rng.below(3) as usize];
                let jobs = (0..count)
                    .map(|i| {
                        let key = (self.jobs + i).to_le_bytes().to_vec();
                        Job::new(vec![7; bytes]).with_key(key).with_max_attempts(2)
                    })
                    .collect();
                // Known whatever comes of it, so that a view covers jobs whose enqueue was not acknowledged.
                self.jobs += count;
                let enqueued = self.queue.enqueue_all(jobs);
                enqueued.map(drop).map_err(|error| match error.refusal() {
                    purlin_work_queue::Refusal::Store(error) => error.kind(),
                    other => panic!("{other:?}"),
                })
            }
            4..=6 => {
                let request = LeaseRequest::new("w", Duration::from_secs(60)).with_max(2);
                let leased = self.queue.lease(&request).map_err(|error| error.kind())?;
                self.leases
                    .extend(leased.iter().map(|leased| leased.lease()));
                Ok(())
            }
            _ => {
                let Some(lease) = self.leases.pop() else {
                    return Ok(());
                };
                let result = match draw {
                    7 => {
                        let nack = Nack::retry_after(Duration::ZERO).with_error("no");
                        self.queue.nack(lease, nack).map(drop)
                    }
                    8 => self.queue.nack(lease, Nack::dead_letter()).map(drop),
                    _ => self.queue.ack(lease),
                };
                result.map_err(|error| match error {
                    LeaseError::Store(error) => error.kind(),
                    other => panic!("{other:?}"),
                })
            }
        }
    }

    fn view(&self) -> View {
        view(&self.queue, self.jobs)
    }
}

/// The queue on `image` is as it was after one of these operations: the last that was acknowledged, or the one that was
/// under way. Then it works on.
fn assert_recovers(image: Vec<u8>, clock: &ManualClock, jobs: u64, views: &[View], what: &str) {
    let queue = open(Disk::new(image), clock);
    let found = view(&queue, jobs);
    let expected = |view: &View| {
        // Jobs that were enqueued later are not there in an earlier view.
        let mut view = view.clone();
        view.resize(found.len(), None);
        view
    };
    assert!(
        views.iter().any(|view| expected(view) == found),
        "{what}: found {found:?}, not one of {views:?}"
    );
    let ready = format!("{:?}", JobState::Ready);
    let ready = found.iter().flatten().filter(|(_, state)| *state == ready);
    let ready = ready.count();
    let request = LeaseRequest::new("after", Duration::from_secs(1)).with_max(usize::MAX);
    let leased = queue.lease(&request).unwrap();
    assert_eq!(leased.len(), ready, "{what}: what is ready can be leased");
    for leased in leased {
        let payload = leased.job().payload();
        assert!(
            payload.iter().all(|byte| *byte == 7),
            "{what}: payloads are whole"
        );
        queue.ack(leased.lease()).unwrap();
    }
    queue.enqueue(Job::new("after")).unwrap();
}

/// How many images to look at; more of them in a long run.
fn images() -> usize {
    let images = std::env::var("PURLIN_POWER_CUTS").ok();
    images.map_or(400, |images| images.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_and_what_was_not_is_whole_or_absent() {
    let policies = [
        Survives::Nothing,
        Survives::Prefix,
        Survives::Torn,
        Survives::Size,
        Survives::Everything,
    ];
    let mut looked_at = 0;
    for seed in 0.. {
        if looked_at >= images() {
            break;
        }
        let disk = empty_disk();
        let acknowledged = Arc::new(AtomicUsize::new(0));
        disk.state().cuts = Cuts {
            // Not the same beat as any commit's.
            every: 5 + seed % 8,
            acknowledged: Arc::clone(&acknowledged),
            taken: Vec::new(),
        };
        let mut run = Run::new(disk.clone(), seed);
        let mut views = vec![run.view()];
        for _ in 0..40 {
            run.step().unwrap();
            views.push(run.view());
            acknowledged.fetch_add(1, Ordering::SeqCst);
        }
        let cuts = std::mem::take(&mut disk.state().cuts.taken);
        let mut rng = Rng::from_seed(seed);
        for (i, cut) in cuts.iter().enumerate() {
            let survives = policies[i % policies.len()];
            let end = views.len().min(cut.acknowledged + 2);
            assert_recovers(
                cut.image(survives, &mut rng),
                &run.clock,
                run.jobs,
                &views[cut.acknowledged..end],
                &format!("seed {seed}, cut {i}, {survives:?}"),
            );
            looked_at += 1;
        }
    }
}

/// After a failed write or sync nothing is acknowledged on the same handle, though the disk works again: the system may
/// have dropped what it could not write, and a later sync does not bring that back.
#[test]
fn a_disk_that_fails_once_ends_the_handle_and_loses_nothing() {
    for fails_at in 1.. {
        let disk = empty_disk();
        let mut run = Run::new(disk.clone(), 3);
        let first = disk.state().count;
        disk.state().fails_at = Some(first + fails_at);
        let mut views = vec![run.view()];
        let failed = (0..12).find_map(|_| match run.step() {
            Ok(()) => {
                views.push(run.view());
                None
            }
            Err(kind) => Some(kind),
        });
        let Some(kind) = failed else {
            // The run is over before this operation comes.
            assert!(fails_at > 20, "only {fails_at} operations");
            return;
        };
        assert_eq!(kind, ErrorKind::Storage, "operation {fails_at}");
        let lease = LeaseId::new(JobId::from_u64(1), 1);
        assert_eq!(run.queue.next_due().unwrap_err().kind(), ErrorKind::Closed);
        assert!(matches!(
            run.queue.ack(lease),
            Err(LeaseError::Store(error)) if error.kind() == ErrorKind::Closed
        ));
        let error = run.queue.enqueue(Job::new("late")).unwrap_err();
        assert_eq!(error.into_rejected().payload(), "late");

        // What the failed operation was to do may be on the disk or not.
        let before = views.last().unwrap().clone();
        let jobs = run.jobs;
        let after = {
            let mut replay = Run::new(empty_disk(), 3);
            (0..views.len()).for_each(|_| replay.step().unwrap());
            replay.view()
        };
        drop(run.queue);
        let image = disk.state().durable.clone();
        let what = format!("operation {fails_at} failed");
        assert_recovers(image, &run.clock, jobs, &[before, after], &what);
    }
}
