//! The queue: a job through its whole life in memory, and what durability costs alone and shared.

use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use purlin_redb::RedbQueue;
use purlin_work_queue::{Job, LeaseRequest, Limits, MemoryQueue};

/// What a job of a shop holds: an order's number and a few fields.
const PAYLOAD: &[u8] = &[7; 200];

fn memory(c: &mut Criterion) {
    let queue = MemoryQueue::new(Limits::default());
    let request = LeaseRequest::new("bench", Duration::from_secs(30));
    c.bench_function("work_queue/enqueue, lease, ack, memory", |b| {
        b.iter(|| {
            queue.enqueue(Job::new(PAYLOAD)).expect("there is room");
            let leased = queue.lease(&request);
            queue.ack(leased[0].lease()).expect("the lease is fresh");
        });
    });
    assert_eq!(queue.stats().jobs(), 0);
}

/// Jobs that are on the disk when `enqueue` returns, by the number of threads that wait for it side by side.
fn durable(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let mut group = c.benchmark_group("work_queue/enqueue, redb");
    group.sample_size(10);
    group.throughput(Throughput::Elements(1));
    for threads in [1_u64, 16] {
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            let path = folder.path().join(format!("{threads}.redb"));
            let queue = RedbQueue::builder()
                .limits(Limits::default())
                .open(path)
                .expect("a new file");
            b.iter_custom(|jobs| {
                let each = jobs.div_ceil(threads);
                let start = Instant::now();
                thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| {
                            for _ in 0..each {
                                queue.enqueue(Job::new(PAYLOAD)).expect("there is room");
                            }
                        });
                    }
                });
                let took = start.elapsed();
                drain(&queue);
                took
            });
        });
    }
    group.finish();
}

/// Empties the queue, outside what is timed, so that it never fills up.
fn drain(queue: &RedbQueue) {
    let request = LeaseRequest::new("bench", Duration::from_secs(60)).with_max(1_000);
    loop {
        let leased = queue.lease(&request).expect("the file answers");
        if leased.is_empty() {
            return;
        }
        for job in leased {
            queue.ack(job.lease()).expect("the lease is fresh");
        }
    }
}

criterion_group!(benches, memory, durable);
criterion_main!(benches);
