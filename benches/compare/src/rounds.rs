//! Timing in interleaved rounds.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

/// Something to time: a name, and a function that does its work once and says how long it took.
pub(crate) struct Timed<'a> {
    pub(crate) name: &'static str,
    pub(crate) once: Box<dyn FnMut() -> Duration + 'a>,
}

/// Runs every contender once a round, in turn, and gives each one's median in nanoseconds an operation.
pub(crate) fn medians(
    contenders: &mut [Timed<'_>],
    rounds: usize,
    ops: usize,
) -> Vec<(&'static str, f64)> {
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    // The first round warms caches and page tables up and is not counted.
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let took = (contender.once)();
            if round > 0 {
                times.push(took.as_nanos() as f64 / ops as f64);
            }
        }
    }
    contenders
        .iter()
        .zip(times)
        .map(|(contender, times)| (contender.name, median(times)))
        .collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 {
        times[middle]
    } else {
        (times[middle - 1] + times[middle]) / 2.0
    }
}

/// Runs `work(thread)` on `threads` threads that start together, and gives the time until the last is done.
pub(crate) fn together(threads: usize, work: impl Fn(usize) + Sync) -> Duration {
    let barrier = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let (barrier, work) = (&barrier, &work);
                scope.spawn(move || {
                    barrier.wait();
                    work(thread);
                })
            })
            .collect();
        barrier.wait();
        let start = Instant::now();
        for thread in running {
            thread.join().expect("a contender's thread does not panic");
        }
        start.elapsed()
    })
}
