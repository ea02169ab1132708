//! A server that is killed or frozen is an error and never "no session", and what it acknowledged is there later.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::Safety;
use purlin_postgres::{Clients, PostgresSessionStore};
use purlin_session_store::conformance::an_outage_logs_nobody_out;
use purlin_session_store::{
    ErrorKind, Lifetime, Record, SessionId, SessionStore, Slide, StoreError, Version,
};
use purlin_testkit::Postgres;
use tokio_postgres::{Client, NoTls};

/// A connection for each call.
struct Anew(String);

impl Clients for Anew {
    type Client = Arc<Client>;

    async fn client(&self) -> Result<Arc<Client>, Box<dyn Error + Send + Sync>> {
        let (client, connection) = tokio_postgres::connect(&self.0, NoTls).await?;
        // It ends with an error when the server does.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Arc::new(client))
    }
}

async fn store(postgres: &Postgres) -> PostgresSessionStore<Arc<Client>> {
    let client = Anew(postgres.url()).client().await.unwrap();
    let store = PostgresSessionStore::new(client);
    store.migrate().await.unwrap();
    store
}

/// Within the limit a call has an answer: an error that says so.
async fn fails_in_time<T: std::fmt::Debug>(
    call: impl Future<Output = Result<T, StoreError>>,
) -> StoreError {
    tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .expect("a call does not hang")
        .expect_err("a store that cannot be asked does not answer")
}

#[tokio::test]
async fn an_outage_is_an_error_and_what_was_acknowledged_is_there_later() {
    let hour = Duration::from_secs(60 * 60);
    let record = |payload: &'static str| Record::new(payload, Lifetime::new(hour, hour));
    let mut postgres = Postgres::start().unwrap();
    let (store, one) = (store(&postgres).await, SessionId::random().unwrap().key());
    let store = store.timeout(Duration::from_millis(300));
    let _ = store.create(&one, record("x")).await.unwrap();

    postgres.pause().unwrap();
    let error = fails_in_time(store.commit(&one, Version::FIRST, record("y"))).await;
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    assert_eq!(error.retry().safety, Safety::IfIdempotent);
    postgres.resume().unwrap();

    postgres.kill().unwrap();
    let error = fails_in_time(store.load(&one, Slide::No)).await;
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    postgres.restart().unwrap();
    let again = self::store(&postgres).await;
    assert!(again.load(&one, Slide::No).await.unwrap().is_some());
}

#[tokio::test]
async fn line_06_an_outage_logs_nobody_out() {
    let mut postgres = Postgres::start().unwrap();
    let store = PostgresSessionStore::new(Anew(postgres.url()));
    store.migrate().await.unwrap();
    let verdict = an_outage_logs_nobody_out(
        store,
        &mut postgres,
        |postgres| postgres.kill().unwrap(),
        |postgres| postgres.restart().unwrap(),
    )
    .await;
    assert!(verdict.is_ok(), "{verdict:?}");
}
