//! Requests that load one session at the same moment, each to add a field of its own: how many of the fields are
//! there in the end, and how many requests were told that theirs is not.

use std::error::Error;
use std::num::NonZeroU32;

use actix_session::storage::{RedisSessionStore as ActixRedis, SessionStore as ActixStore};
use purlin_redis::RedisSessionStore;
use purlin_session_store::{Policy, Saved, Session, SessionStore as OurStore, Sessions};
use purlin_testkit::Redis;
use tower_sessions::SessionStore;
use tower_sessions::cookie::time::Duration;
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::RedisStore;

use super::rivals::{actix_state, document, fred, tower_record};
use super::targets::Targets;
use crate::table::Table;

pub(super) fn print(targets: &mut Targets) -> Result<(), Box<dyn Error>> {
    let server = Redis::start()?;
    let url = server.url();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut table = Table::new(["store", "requests", "lost", "told so"]);
    runtime.block_on(async {
        for n in [2, 32, 256] {
            let attempts = NonZeroU32::new(n as u32).ok_or("at least one request")?;
            let policy = || Policy::default().attempts(attempts);
            let memory = purlin_session_store::MemoryStore::new();
            let redis = RedisSessionStore::builder().connect(&url)?;
            for (name, (lost, told)) in [
                (
                    "purlin, memory",
                    ours(n, Sessions::new(memory, policy())).await?,
                ),
                (
                    "purlin, Redis",
                    ours(n, Sessions::new(redis, policy())).await?,
                ),
                (
                    "tower-sessions 0.14, memory",
                    tower(n, tower_sessions::MemoryStore::default()).await?,
                ),
                (
                    "tower-sessions 0.14, moka",
                    tower(n, MokaStore::new(None)).await?,
                ),
                (
                    "tower-sessions 0.14, Redis (fred)",
                    tower(n, RedisStore::new(fred(&url).await)).await?,
                ),
                (
                    "actix-session 0.11, Redis",
                    actix(
                        n,
                        ActixRedis::new(url.clone())
                            .await
                            .map_err(|error| error.to_string())?,
                    )
                    .await?,
                ),
            ] {
                if n == 256 && name.starts_with("purlin") {
                    let what = format!("{name}: updates lost of 256 at once");
                    targets.at_most(&what, 0.0, lost as f64);
                }
                table.row([
                    name.to_owned(),
                    n.to_string(),
                    lost.to_string(),
                    told.to_string(),
                ]);
            }
        }
        Ok::<_, Box<dyn Error>>(())
    })?;
    table.print("Lost updates: requests at once on one session, each adding a field");
    Ok(())
}

/// Fields lost, and requests that were told.
type Lost = (usize, usize);

fn field(i: usize) -> String {
    format!("field {i}")
}

async fn ours<S: OurStore>(n: usize, sessions: Sessions<S>) -> Result<Lost, Box<dyn Error>> {
    let mut first = Session::absent();
    first.set("first", &0)?;
    let _: Saved = sessions.commit(&mut first).await?;
    let id = first.id().ok_or("just created")?;
    let mut requests = Vec::new();
    for i in 0..n {
        let mut session = sessions.open(id.clone()).await?;
        session.set(&field(i), &i)?;
        requests.push(session);
    }
    let mut told = 0;
    for request in &mut requests {
        told += usize::from(sessions.commit(request).await.is_err());
    }
    let last = sessions.open(id.clone()).await?;
    let lost = (0..n)
        .filter(|&i| last.get_bytes(&field(i)).is_none())
        .count();
    Ok((lost, told))
}

async fn tower<S: SessionStore>(n: usize, store: S) -> Result<Lost, Box<dyn Error>> {
    let mut first = tower_record(document());
    store.create(&mut first).await?;
    let mut requests = Vec::new();
    for i in 0..n {
        let mut record = store.load(&first.id).await?.ok_or("just created")?;
        record.data.insert(field(i), i.into());
        requests.push(record);
    }
    let mut told = 0;
    for request in &requests {
        told += usize::from(store.save(request).await.is_err());
    }
    let last = store.load(&first.id).await?.ok_or("just saved")?;
    let lost = (0..n)
        .filter(|&i| !last.data.contains_key(&field(i)))
        .count();
    Ok((lost, told))
}

async fn actix(n: usize, store: ActixRedis) -> Result<Lost, Box<dyn Error>> {
    let ttl = Duration::minutes(30);
    let mut key = store.save(actix_state(), &ttl).await?;
    let mut requests = Vec::new();
    for i in 0..n {
        let mut state = store.load(&key).await?.ok_or("just created")?;
        state.insert(field(i), i.to_string());
        requests.push(state);
    }
    let mut told = 0;
    for state in requests {
        let text = key.as_ref().to_owned();
        key = match store.update(key, state, &ttl).await {
            Ok(key) => key,
            Err(_) => {
                told += 1;
                text.try_into()?
            }
        };
    }
    let last = store.load(&key).await?.ok_or("just saved")?;
    let lost = (0..n).filter(|&i| !last.contains_key(&field(i))).count();
    Ok((lost, told))
}
