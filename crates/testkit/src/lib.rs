#![doc = include_str!("../README.md")]
//!
//! # What a handle promises
//!
//! 1. When `start` returns, the server answers on a free loopback port, and it is our server: readiness is read
//!    from its own log or pid file, never from whoever happens to answer on the port. If somebody else takes
//!    the port first, the next one is tried.
//! 2. When the handle is dropped, the server and its children have ended and its folder is gone. That holds
//!    for a paused or killed server too.
//! 3. When the test process dies without dropping anything (`kill -9`, an abort, a handle in a `static`), a
//!    small shell process notices and does the same within seconds. See `watchdog.sh`.
//! 4. `kill` is `kill -9` of the server and all of its children; `pause` stops all of them as a frozen machine
//!    would, with its connections open; `restart` brings the server back with its data on its old port.
//! 5. A missing program is [`Error::NotInstalled`], which says what to install. Tests fail with it; nothing is
//!    skipped in silence.
//!
//! Nothing waits for a time to pass. Each wait is for a condition, with a deadline, through [`wait_until`].
//!
//! # Running as root
//!
//! PostgreSQL refuses to run as root. Its programs then run as the first of the accounts `postgres` and
//! `nobody` that the machine has, in a folder that belongs to this account. The folder is made where temporary
//! files go (`TMPDIR`), which that account must be able to reach.
//!
//! # Cost
//!
//! On two busy cores, a Redis took 0.1 to 0.3 s from its start to its end, a PostgreSQL primary 1 to 2 s, and each
//! standby added under one. Share a cluster between the tests of a file by means of a `static`, which promise 3
//! makes safe.
#![cfg(unix)]
#![forbid(unsafe_code)]

mod account;
mod cluster;
mod error;
mod home;
mod port;
mod postgres;
mod process;
mod process_table;
mod programs;
mod redis;
mod wait;

pub use cluster::PostgresCluster;
pub use error::Error;
pub use postgres::Postgres;
pub use redis::Redis;
pub use wait::wait_until;
