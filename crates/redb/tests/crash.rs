//! `kill -9` at random moments: what was acknowledged is there, what was done stays done, and the file always opens.
//!
//! The test runs itself again as a child process that uses the queue from several threads and reports each
//! acknowledgement, and kills it. `PURLIN_CRASH_ROUNDS` sets the number of rounds.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use purlin_redb::RedbQueue;
use purlin_work_queue::{Enqueued, Job, JobId, JobState, LeaseRequest, Limits, Nack, Next, Rng};

/// Names the folder in which a child is to work.
const CHILD: &str = "PURLIN_CRASH_FOLDER";
const ROUNDS: &str = "PURLIN_CRASH_ROUNDS";

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if let Some(folder) = std::env::var_os(CHILD) {
        return child(&PathBuf::from(folder));
    }
    let rounds = std::env::var(ROUNDS).map_or(20, |rounds| rounds.parse().unwrap());
    let mut rng = Rng::from_seed(20);
    let mut folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let (mut enqueued, mut acked) = (0, 0);
    for round in 0..rounds {
        if round % 5 == 0 {
            // A new folder, so that the making of a file is killed too.
            folder = tempfile::tempdir().unwrap();
            told = Told::default();
        }
        let mut child = start(folder.path(), round);
        // Every other round dies early: before, while and just after the file is made or opened.
        let wanted = if round % 2 == 0 { 1 } else { rng.below(300) };
        let mut heard = 0;
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        while heard < wanted {
            let line = output.next().expect("a child runs until it is killed");
            heard += u64::from(told.note(&line.unwrap()));
        }
        // Not on the heels of a line only.
        for _ in 0..rng.below(1_000_000) {
            std::hint::spin_loop();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had said when it died holds too.
        for line in output {
            told.note(&line.unwrap());
        }
        enqueued += told.jobs.len();
        acked += told.jobs.values().filter(|life| life.acked).count();
        told.check(&folder.path().join("queue.redb"), round);
    }
    assert!(enqueued > 10 * rounds as usize, "only {enqueued} jobs seen");
    assert!(acked > rounds as usize, "only {acked} acks seen");
}

fn start(folder: &Path, round: u64) -> Child {
    let name = thread::current().name().unwrap().to_owned();
    Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .env(ROUNDS, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child has said of one job.
#[derive(Debug, Default)]
struct Life {
    key: Option<String>,
    /// An ack was asked for, and was acknowledged.
    acking: bool,
    acked: bool,
    /// The same of a nack that kills the job.
    burying: bool,
    buried: bool,
    /// The highest attempt that was handed out.
    attempts: u32,
}

#[derive(Debug, Default)]
struct Told {
    jobs: BTreeMap<u64, Life>,
    highest_fence: u64,
}

impl Told {
    /// Takes a line in, and returns whether it was one of ours: the child's test harness says things too.
    fn note(&mut self, line: &str) -> bool {
        let Some(line) = line.strip_prefix("queue: ") else {
            return false;
        };
        let words: Vec<&str> = line.split(' ').collect();
        if words == ["opening"] {
            return true;
        }
        let id = words[1].parse().unwrap();
        let life = self.jobs.entry(id).or_default();
        match words[0] {
            "enqueued" => life.key = Some(words[2].to_owned()),
            "leased" => {
                let fence: u64 = words[2].parse().unwrap();
                self.highest_fence = self.highest_fence.max(fence);
                life.attempts = life.attempts.max(words[3].parse().unwrap());
            }
            "acking" => life.acking = true,
            "acked" => life.acked = true,
            "burying" => life.burying = true,
            "buried" => life.buried = true,
            other => panic!("{other}"),
        }
        true
    }

    fn check(&mut self, path: &Path, round: u64) {
        let queue = RedbQueue::open(path).unwrap_or_else(|error| {
            panic!("round {round}: the file does not open: {error} {error:?}")
        });
        for (id, life) in &self.jobs {
            let what = format!("round {round}, job {id}, {life:?}");
            let status = queue.status(JobId::from_u64(*id)).unwrap();
            match &status {
                None => assert!(life.acking, "{what}: lost"),
                Some(status) => {
                    assert!(!life.acked, "{what}: back from the dead, {status:?}");
                    assert!(status.attempts >= life.attempts, "{what}: {status:?}");
                    let dead = matches!(status.state, JobState::Dead { .. });
                    assert!(dead || !life.buried, "{what}: {status:?}");
                    assert!(!dead || life.burying, "{what}: {status:?}");
                }
            }
            if let Some(key) = &life.key {
                let again = queue.enqueue(Job::new("again").with_key(key.clone()));
                let expected = Enqueued::Duplicate(JobId::from_u64(*id));
                assert_eq!(again.unwrap(), expected, "{what}: the key is forgotten");
            }
        }
        // Leases and payloads of what is ready; then everything as it was.
        let request = LeaseRequest::new("check", Duration::from_secs(60)).with_max(usize::MAX);
        for leased in queue.lease(&request).unwrap() {
            assert!(leased.fence() > self.highest_fence, "round {round}");
            self.highest_fence = leased.fence();
            let key = leased.job().key().unwrap();
            let payload = leased.job().payload();
            assert_eq!(*payload, payload_of(std::str::from_utf8(key).unwrap()));
            let released = queue.nack(leased.lease(), Nack::release());
            released.unwrap();
        }
    }
}

fn payload_of(key: &str) -> Vec<u8> {
    key.repeat(1 + key.len() * 7 % 40).into_bytes()
}

/// Uses the queue until it is killed.
fn child(folder: &Path) {
    say("opening");
    let limits = Limits::default().with_key_window(Duration::MAX);
    let queue = RedbQueue::builder()
        .limits(limits)
        .open(folder.join("queue.redb"))
        .unwrap();
    // No other child of this folder has the same.
    let round: u64 = std::env::var(ROUNDS).unwrap().parse().unwrap();
    thread::scope(|scope| {
        for thread_idx in 0..2 {
            let queue = &queue;
            scope.spawn(move || produce(queue, &format!("{round}-{thread_idx}")));
            scope.spawn(move || work(queue, round * 2 + thread_idx));
        }
    });
}

fn produce(queue: &RedbQueue, name: &str) {
    for i in 0.. {
        while queue.stats().jobs() > 300 {
            thread::yield_now();
        }
        let keys: Vec<String> = (0..1 + i % 3).map(|j| format!("{name}-{i}-{j}")).collect();
        let job = |key: &String| Job::new(payload_of(key)).with_key(key.clone());
        let enqueued = queue.enqueue_all(keys.iter().map(job).collect()).unwrap();
        for (enqueued, key) in enqueued.iter().zip(&keys) {
            assert!(enqueued.is_new());
            say(&format!("enqueued {} {key}", enqueued.id().as_u64()));
        }
    }
}

fn work(queue: &RedbQueue, seed: u64) {
    let mut rng = Rng::from_seed(seed);
    let request = LeaseRequest::new("child", Duration::from_secs(3600)).with_max(3);
    loop {
        for leased in queue.lease(&request).unwrap() {
            let id = leased.id().as_u64();
            let (fence, attempt) = (leased.fence(), leased.attempt());
            say(&format!("leased {id} {fence} {attempt}"));
            let nack = match rng.below(10) {
                0 => Nack::dead_letter().with_error("no use"),
                1 => Nack::retry_after(Duration::ZERO).with_error("once more"),
                2 => continue, // Left to its lease.
                _ => {
                    say(&format!("acking {id}"));
                    queue.ack(leased.lease()).unwrap();
                    say(&format!("acked {id}"));
                    continue;
                }
            };
            let buries = nack.next() == Next::DeadLetter || leased.is_last_attempt();
            if buries {
                say(&format!("burying {id}"));
            }
            queue.nack(leased.lease(), nack).unwrap();
            if buries {
                say(&format!("buried {id}"));
            }
        }
    }
}

/// One line, in one write, so that it is there whole as soon as it is there.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone, and then so are we.
    if out
        .write_all(format!("queue: {line}\n").as_bytes())
        .is_err()
        || out.flush().is_err()
    {
        std::process::exit(0);
    }
}
