//! Stores on one Redis server, which runs on the same processors.

use std::error::Error;

use purlin_redis::RedisSessionStore;
use purlin_testkit::Redis;

use super::floors::BareRedis;
use super::ours::Ours;
use super::rivals::{ActixSession, TowerRedis};
use super::rounds::{self, Running};
use super::targets::Targets;

pub(super) fn print(
    rounds: usize,
    ops: usize,
    targets: &mut Targets,
) -> Result<(), Box<dyn Error>> {
    let server = Redis::start()?;
    let url = server.url();
    for (tasks, ops) in [(32, ops), (1, ops / 10)] {
        let contenders = vec![
            Running::start::<BareRedis>(url.clone(), tasks)?,
            Running::start::<Ours<RedisSessionStore>>(url.clone(), tasks)?,
            Running::start::<TowerRedis>(url.clone(), tasks)?,
            Running::start::<ActixSession>(url.clone(), tasks)?,
        ];
        let title = format!(
            "Redis, 2 threads with a connection each, {tasks} requests under way on either"
        );
        let ratios = rounds::print(&title, contenders, rounds, ops.max(tasks))?;
        if let (32, [load, moved, commit, _]) = (tasks, &ratios[1][..]) {
            targets.at_least("Redis: load, beside GET", 0.90, *load);
            targets.at_least(
                "Redis: load that moves the deadline, beside GETEX",
                0.85,
                *moved,
            );
            targets.at_least("Redis: commit, beside SET", 0.50, *commit);
        }
    }
    Ok(())
}
