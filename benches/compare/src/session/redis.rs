//! Stores on one Redis server, which runs on the same processors.

use std::error::Error;

use purlin_redis::RedisSessionStore;
use purlin_testkit::Redis;

use super::floors::BareRedis;
use super::ours::Ours;
use super::rivals::{ActixSession, TowerRedis};
use super::rounds::{self, Running};

pub(super) fn print(rounds: usize, ops: usize) -> Result<(), Box<dyn Error>> {
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
        rounds::print(&title, contenders, rounds, ops.max(tasks))?;
    }
    Ok(())
}
