//! The queue on a disk that forgets what was not synced, and on one that fails.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use purlin_work_queue::{
    ErrorKind, Job, JobId, JobState, LeaseError, LeaseId, LeaseRequest, Limits, ManualClock, Nack,
    Rng,
};

use super::engine::Engine;
use super::{RedbQueue, tables};
use crate::file::OpenFile;
use crate::test_disk::{Disk, Survives, images};

fn open(disk: &Disk, clock: &ManualClock) -> RedbQueue<ManualClock> {
    let file = OpenFile {
        database: disk.database(),
        _lock: None,
    };
    let limits = Limits::default().with_max_keys(5);
    let engine = Engine::on(Path::new("disk"), file, limits, clock.clone());
    RedbQueue {
        engine: engine.expect("a disk after a power cut holds a queue"),
    }
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
            queue: open(&disk, &clock),
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
    let queue = open(&Disk::new(image), clock);
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

#[test]
fn what_was_acknowledged_survives_a_power_cut_and_what_was_not_is_whole_or_absent() {
    let mut looked_at = 0;
    for seed in 0.. {
        if looked_at >= images(400) {
            break;
        }
        let disk = Disk::made(tables::make);
        // Not the same beat as any commit's.
        let acknowledged = disk.cut_every(5 + seed % 8, 1);
        let mut run = Run::new(disk.clone(), seed);
        let mut views = vec![run.view()];
        for _ in 0..40 {
            run.step().unwrap();
            views.push(run.view());
            acknowledged[0].fetch_add(1, Ordering::SeqCst);
        }
        let cuts = disk.cuts();
        let mut rng = Rng::from_seed(seed);
        for (i, cut) in cuts.iter().enumerate() {
            let survives = Survives::ALL[i % Survives::ALL.len()];
            let acknowledged = cut.acknowledged[0];
            let end = views.len().min(acknowledged + 2);
            assert_recovers(
                cut.image(survives, &mut rng),
                &run.clock,
                run.jobs,
                &views[acknowledged..end],
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
        let disk = Disk::made(tables::make);
        let mut run = Run::new(disk.clone(), 3);
        disk.fail_at(fails_at);
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
            let mut replay = Run::new(Disk::made(tables::make), 3);
            (0..views.len()).for_each(|_| replay.step().unwrap());
            replay.view()
        };
        drop(run.queue);
        let image = disk.durable();
        let what = format!("operation {fails_at} failed");
        assert_recovers(image, &run.clock, jobs, &[before, after], &what);
    }
}
