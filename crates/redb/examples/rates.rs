//! How fast the durable queue is on this machine, beside the disk alone. All in one run, since disks differ by more than
//! queues do.
//!
//! `cargo run --release -p purlin-redb --example rates [FOLDER]`, with a folder on the disk to be measured.

use std::error::Error;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use purlin_redb::RedbQueue;
use purlin_work_queue::{Clock, Job, LeaseRequest, Limits, SystemClock};

const PAYLOAD_BYTES: usize = 1024;
const EACH: Duration = Duration::from_secs(3);
const THREADS: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = match std::env::args_os().nth(1) {
        Some(parent) => tempfile::tempdir_in(parent)?,
        None => tempfile::tempdir()?,
    };
    println!("| what, {PAYLOAD_BYTES} bytes a job | a second | beside the disk |");
    println!("|---|---|---|");
    let disk = disk(folder.path())?;
    let row = |what: &str, rate: f64| println!("| {what} | {rate:.0} | {:.2} |", rate / disk);
    row("append and sync, the disk alone", disk);

    let queue = RedbQueue::builder()
        .limits(
            Limits::default()
                .with_max_jobs(usize::MAX)
                .with_max_bytes(usize::MAX),
        )
        .open(folder.path().join("queue.redb"))?;
    let one = request();
    row(
        "enqueue, one thread",
        rate(|| queue.enqueue(job()).map(|_| 1).map_err(Into::into))?,
    );
    row(
        "lease and ack, one thread",
        rate(|| {
            let leased = queue.lease(&one)?;
            leased
                .iter()
                .try_for_each(|leased| queue.ack(leased.lease()))?;
            Ok(leased.len() as u64)
        })?,
    );
    row(
        "enqueue, one thread, 100 a batch",
        rate(|| {
            let batch = (0..100).map(|_| job()).collect();
            Ok(queue.enqueue_all(batch)?.len() as u64)
        })?,
    );
    for max in [1, 10] {
        let what = format!("done, {THREADS} producers and {THREADS} workers, {max} a lease");
        row(&what, together(&queue, &request().with_max(max)));
    }
    Ok(())
}

fn job() -> Job {
    Job::new(vec![1; PAYLOAD_BYTES])
}

fn request() -> LeaseRequest {
    LeaseRequest::new("rates", Duration::from_secs(600))
}

/// Appends to a file whose blocks are there already, which is as fast as the disk will go.
fn disk(folder: &Path) -> Result<f64, Box<dyn Error>> {
    let mut file = File::create(folder.join("disk"))?;
    file.write_all(&vec![0; 64 << 20])?;
    file.sync_all()?;
    file.rewind()?;
    rate(|| {
        file.write_all(&[1; PAYLOAD_BYTES])?;
        file.sync_data()?;
        Ok(1)
    })
}

/// Does something for a while, and returns how much of it a second.
fn rate(mut some: impl FnMut() -> Result<u64, Box<dyn Error>>) -> Result<f64, Box<dyn Error>> {
    let clock = SystemClock::new();
    let mut count = 0;
    while clock.now().as_nanos() < EACH.as_nanos() as u64 {
        count += some()?;
    }
    Ok(count as f64 / Duration::from_nanos(clock.now().as_nanos()).as_secs_f64())
}

/// Jobs done a second while as many threads produce as work.
fn together(queue: &RedbQueue, request: &LeaseRequest) -> f64 {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let clock = SystemClock::new();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    queue
                        .enqueue(job())
                        .expect("there is room, and the disk works");
                }
            });
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for leased in queue.lease(request).expect("the disk works") {
                        queue.ack(leased.lease()).expect("the lease is fresh");
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        thread::sleep(EACH);
        stop.store(true, Ordering::Relaxed);
    });
    done.into_inner() as f64 / Duration::from_nanos(clock.now().as_nanos()).as_secs_f64()
}
