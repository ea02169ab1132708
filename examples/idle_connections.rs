//! Ten thousand connections, each closed when it has been idle for a minute: one wheel, constant time a use, and
//! never more than a bounded piece of work at once.
//!
//! `cargo run --example idle_connections`

use std::collections::HashMap;

use purlin_core::Rng;
use purlin_timer_wheel::{TimerId, Wheel};

/// Ticks of this program are seconds.
const IDLE_SECONDS: u64 = 60;

/// Units of work a second that the event loop can spare.
const BUDGET: usize = 500;

/// The connections that are open, and when each must close.
struct Connections {
    wheel: Wheel<u32>,
    timers: HashMap<u32, TimerId>,
}

impl Connections {
    /// A connection was opened or used.
    fn used(&mut self, connection: u32, now: u64) {
        if let Some(timer) = self.timers.remove(&connection) {
            self.wheel.cancel(timer);
        }
        let timer = self.wheel.insert(now + IDLE_SECONDS, connection);
        self.timers.insert(connection, timer);
    }

    /// One second of the event loop. Returns how many connections were closed.
    fn second(&mut self, now: u64) -> usize {
        let timers = &mut self.timers;
        let before = timers.len();
        self.wheel.advance(now, BUDGET, |connection| {
            timers.remove(&connection);
        });
        before - timers.len()
    }
}

fn main() {
    let mut connections = Connections {
        wheel: Wheel::new(0),
        timers: HashMap::new(),
    };
    let mut rng = Rng::from_seed(1);
    for connection in 0..10_000 {
        connections.used(connection, 0);
    }

    let mut most = 0;
    for now in 1..=300 {
        // A few clients are busy, the rest fell asleep.
        for _ in 0..200 {
            connections.used(rng.below(500) as u32, now);
        }
        most = most.max(connections.second(now));
    }
    println!(
        "{} connections are left; at most {most} were closed in one second",
        connections.timers.len()
    );
    assert!(most <= BUDGET);
    assert!(connections.timers.len() <= 500);
}

#[test]
fn runs() {
    main();
}
