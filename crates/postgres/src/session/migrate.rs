//! The tables and functions, and how they come into a database.

use purlin_core::Retry;
use tokio_postgres::Client;

use super::PostgresSessionStore;
use super::clients::Clients;

impl<P> PostgresSessionStore<P> {
    /// The migrations from nothing to what this version needs, in order, for a tool of one's own: each in a
    /// transaction. Each may be run again, and by several servers at once. What is called `purlin_session…` in the
    /// schema is theirs. A migration that was published never changes; what comes later is one more of them.
    pub const MIGRATIONS: &'static [&'static str] = &[include_str!("migration_1.sql")];
}

impl<P: Clients> PostgresSessionStore<P> {
    /// Brings the tables and functions in the first schema of the search path up to this version, if they are not. Any
    /// number of processes may call it at once, at each start.
    ///
    /// # Errors
    ///
    /// [`MigrateError`]. Nothing was changed then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the migration is done or not; call again.
    pub async fn migrate(&self) -> Result<(), MigrateError> {
        let client = self.clients.client().await.map_err(MigrateError::Client)?;
        let client: &Client = &client;
        let known = Self::MIGRATIONS.len();
        let found = format_of(client).await.map_err(MigrateError::Server)?;
        if found > known {
            return Err(MigrateError::Newer { found, known });
        }
        // Each in a transaction of its own, which waits for that of another process and then changes nothing.
        for migration in &Self::MIGRATIONS[found..] {
            let script = format!("BEGIN;\n{migration}\nCOMMIT;");
            if let Err(error) = client.batch_execute(&script).await {
                // Without this the connection stays in the failed transaction. If it fails too, the connection is lost,
                // and the first error says more.
                let _ = client.batch_execute("ROLLBACK").await;
                return Err(MigrateError::Server(error));
            }
        }
        Ok(())
    }
}

/// How many migrations the tables have had.
async fn format_of(client: &Client) -> Result<usize, tokio_postgres::Error> {
    let rows = client
        .query_typed("SELECT to_regclass('purlin_session_meta') IS NOT NULL", &[])
        .await?;
    if !rows.first().is_some_and(|row| row.get(0)) {
        return Ok(0);
    }
    let rows = client
        .query_typed("SELECT format FROM purlin_session_meta", &[])
        .await?;
    let format: i32 = match rows.first() {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    Ok(usize::try_from(format).unwrap_or(0))
}

/// Why the tables could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// There was no connection.
    #[error("no connection for the migration")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server refused. Nothing was changed.
    #[error("the migration failed")]
    Server(#[source] tokio_postgres::Error),
    /// A later version has been here.
    #[error("the tables have format {found}, and this version knows formats up to {known}")]
    Newer {
        /// The format found.
        found: usize,
        /// The highest format known.
        known: usize,
    },
}

impl MigrateError {
    /// A connection may be there later, and a migration may be run again; the format needs somebody to look.
    pub fn retry(&self) -> Retry {
        match self {
            MigrateError::Client(_) => Retry::safe_after(std::time::Duration::from_millis(100)),
            MigrateError::Server(_) => {
                Retry::if_idempotent_after(std::time::Duration::from_millis(100))
            }
            MigrateError::Newer { .. } => Retry::NEVER,
        }
    }
}
