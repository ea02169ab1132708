//! The timer wheel: what a timer costs to set, to cancel, and to fire among a million.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use purlin_core::Rng;
use purlin_timer_wheel::Wheel;

const TIMERS: usize = 1_000_000;

/// A wheel of a million timers spread over an hour of milliseconds.
fn full_wheel() -> Wheel<usize> {
    let mut rng = Rng::from_seed(1);
    let mut wheel = Wheel::new(0);
    for item in 0..TIMERS {
        wheel.insert(1 + rng.below(3_600_000), item);
    }
    wheel
}

/// Set and cancel one timer beside a million others: a request that answers before its timeout.
fn set_and_cancel(c: &mut Criterion) {
    let mut wheel = full_wheel();
    let mut deadlines = Rng::from_seed(2);
    c.bench_function("timer_wheel/set and cancel, 1M waiting", |b| {
        b.iter(|| {
            let id = wheel.insert(1 + deadlines.below(3_600_000), 0);
            assert_eq!(wheel.cancel(black_box(id)), Some(0));
        });
    });
}

/// Everything fires at one tick: ten thousand cache entries loaded together. Work a call stays at the budget.
fn burst(c: &mut Criterion) {
    c.bench_function("timer_wheel/one call of budget 64 while 10k are due", |b| {
        b.iter_batched_ref(
            || {
                let mut wheel = Wheel::with_capacity(0, 10_000);
                for item in 0..10_000 {
                    wheel.insert(1_000, item);
                }
                wheel
            },
            |wheel| {
                let done = wheel.advance(1_000, 64, |item| {
                    black_box(item);
                });
                assert!(done.fired <= 64);
            },
            BatchSize::LargeInput,
        );
    });
}

/// A second of time passes for a million timers.
fn turn(c: &mut Criterion) {
    let mut group = c.benchmark_group("timer_wheel");
    group.sample_size(20);
    group.bench_function("fire an hour of 1M timers", |b| {
        b.iter_batched_ref(
            full_wheel,
            |wheel| {
                let mut fired = 0;
                for now in (0..=3_600_000).step_by(1_000) {
                    wheel.advance(now, usize::MAX, |_| fired += 1);
                }
                assert_eq!(fired, TIMERS);
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, set_and_cancel, burst, turn);
criterion_main!(benches);
