//! One server for all tests of a binary, with a database for each of them.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use purlin_postgres::{Clients, PostgresSessionStore};
use purlin_testkit::Postgres;
use tokio_postgres::{Client, NoTls};

/// Its watchdog ends it with this process.
static SERVER: LazyLock<Postgres> = LazyLock::new(|| Postgres::start().unwrap());

/// A database of the test's own.
pub(crate) struct Database {
    name: String,
}

impl Database {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        SERVER.query(&format!("CREATE DATABASE {name}")).unwrap();
        Database { name }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn url(&self) -> String {
        let address = SERVER.address();
        format!("postgres://postgres@{address}/{}", self.name)
    }

    pub(crate) async fn client(&self) -> Arc<Client> {
        connect(&self.url()).await
    }

    /// A store over one connection.
    pub(crate) async fn store(&self) -> PostgresSessionStore<Arc<Client>> {
        let store = PostgresSessionStore::new(self.client().await);
        store.migrate().await.unwrap();
        store
    }

    /// A store over so many connections, so that calls under way at once are so on the server.
    pub(crate) async fn pooled(&self, size: usize) -> PostgresSessionStore<Pool> {
        let mut clients = Vec::new();
        for _ in 0..size {
            clients.push(self.client().await);
        }
        let store = PostgresSessionStore::new(Pool {
            clients,
            next: AtomicUsize::new(0),
        });
        store.migrate().await.unwrap();
        store
    }

    /// The first column of the first row.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.client()
            .await
            .query_one(sql, &[])
            .await
            .unwrap()
            .get(0)
    }
}

pub(crate) async fn connect(url: &str) -> Arc<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    // It ends with an error when a test kills the server.
    tokio::spawn(async move { drop(connection.await) });
    Arc::new(client)
}

/// Connections taken in turn.
#[derive(Debug)]
pub(crate) struct Pool {
    clients: Vec<Arc<Client>>,
    next: AtomicUsize,
}

impl Clients for Pool {
    type Client = Arc<Client>;

    async fn client(&self) -> Result<Arc<Client>, Box<dyn Error + Send + Sync>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        Ok(Arc::clone(&self.clients[turn % self.clients.len()]))
    }
}
