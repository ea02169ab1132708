//! Cache-aside over PostgreSQL: one query a missing row however many ask, and a write that no slow read undoes.
//!
//! `cargo run --example cache_aside_postgres` starts a server of its own, for which PostgreSQL must be installed.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use purlin_lru_cache::{Backing, Cache, Through};
use purlin_testkit::Postgres;
use tokio_postgres::{Client, NoTls};

/// The table of users, over one connection. A service has a pool.
struct Users {
    client: Client,
    queries: AtomicU64,
}

impl Backing<i64, String> for Users {
    type Error = tokio_postgres::Error;

    async fn load(&self, id: &i64) -> Result<Option<String>, Self::Error> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let sql = "SELECT name FROM users WHERE id = $1";
        let row = self.client.query_opt(sql, &[id]).await?;
        row.map(|row| row.try_get(0)).transpose()
    }

    async fn store(&self, id: &i64, name: Option<&String>) -> Result<(), Self::Error> {
        let set =
            "INSERT INTO users (id, name) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET name = $2";
        match name {
            Some(name) => self.client.execute(set, &[id, name]).await?,
            None => {
                self.client
                    .execute("DELETE FROM users WHERE id = $1", &[id])
                    .await?
            }
        };
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = Postgres::start()?;
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await?;
    let connection = tokio::spawn(connection);
    client
        .batch_execute("CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL)")
        .await?;

    let users = Users {
        client,
        queries: AtomicU64::new(0),
    };
    let cache = Cache::builder()
        .entry_limit(10_000)
        // A bound on how long a write that went past this process stays unseen.
        .time_to_live(Duration::from_secs(60))
        .build();
    let users = Through::new(cache, users);

    users.write(&17, Some(&"Aroha".to_owned())).await?;
    // Four requests want the same row at once. One of them asks for it.
    let (a, b, c, d) = tokio::join!(
        users.get(&17),
        users.get(&17),
        users.get(&17),
        users.get(&17)
    );
    for name in [a?, b?, c?, d?] {
        assert_eq!(name.as_deref(), Some("Aroha"));
    }
    assert_eq!(users.backing().queries.load(Ordering::Relaxed), 1);

    // A read that began before a write, and ends after it, is not kept.
    users.cache().clear();
    let (before, written) = tokio::join!(users.get(&17), async {
        users.write(&17, Some(&"Mereana".to_owned())).await
    });
    written?;
    println!("during the write: {:?}", before?);
    assert_eq!(users.get(&17).await?.as_deref(), Some("Mereana"));

    users.write(&17, None).await?;
    assert_eq!(users.get(&17).await?, None);
    println!(
        "{} queries",
        users.backing().queries.load(Ordering::Relaxed)
    );

    drop(users);
    connection.await??;
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
