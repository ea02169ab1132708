mod answer;
mod clients;
mod failure;
mod migrate;

use std::fmt;
use std::time::Duration;

use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Owner, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, StoreError, Swept, UserKey, Version, WhenFull,
};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use self::answer::{Answer, corrupt};
pub use self::clients::Clients;
use self::failure::{TimedOut, store_error};
pub use self::migrate::MigrateError;

/// Sessions in PostgreSQL, shared by any number of processes.
///
/// Each call is one round trip, in a transaction of its own. The server's clock decides when a session ends. What has
/// ended is gone to every call at once, and its row goes with the next [`sweep`](SessionStore::sweep), which somebody
/// has to call: once a minute by any of the processes is enough.
///
/// # Cancel safety
///
/// A call whose future is dropped before its first poll has done nothing. After that the server may do what it was
/// sent, as a whole or not at all; and the connection goes on to serve others.
pub struct PostgresSessionStore<P> {
    clients: P,
    retention: Duration,
    timeout: Duration,
    max_payload: usize,
}

impl<P> PostgresSessionStore<P> {
    /// The store over these connections. Its tables are made by [`migrate`](PostgresSessionStore::migrate), once.
    pub fn new(clients: P) -> Self {
        PostgresSessionStore {
            clients,
            retention: Duration::from_secs(5 * 60),
            timeout: Duration::from_secs(5),
            max_payload: 16 << 10,
        }
    }

    /// How long a key is remembered after its session was deleted or rotated away, and thus the longest grace of a
    /// rotation. The default is 5 minutes.
    #[must_use]
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// How long a call may take, waiting for a connection included: five seconds unless told otherwise. After that it
    /// is answered with [`ErrorKind::Interrupted`], or [`ErrorKind::Unavailable`] if there was no connection.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest payload of one session, in bytes. The default is 16 KiB.
    #[must_use]
    pub fn max_payload(mut self, max_payload: usize) -> Self {
        self.max_payload = max_payload;
        self
    }
}

impl<P: Clients> PostgresSessionStore<P> {
    async fn rows(
        &self,
        sql: &'static str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, StoreError> {
        let mut asked = false;
        let call = async {
            let client = self
                .clients
                .client()
                .await
                .map_err(|error| StoreError::new(ErrorKind::Unavailable).with_source(error))?;
            asked = true;
            client.query_typed(sql, params).await.map_err(store_error)
        };
        match tokio::time::timeout(self.timeout, call).await {
            Ok(result) => result,
            Err(_) => {
                let kind = if asked {
                    ErrorKind::Interrupted
                } else {
                    ErrorKind::Unavailable
                };
                Err(StoreError::new(kind).with_source(TimedOut(self.timeout)))
            }
        }
    }

    async fn answer(
        &self,
        sql: &'static str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Answer, StoreError> {
        let rows = self.rows(sql, params).await?;
        Answer::parse(rows.first().ok_or_else(corrupt)?)
    }

    async fn loaded(
        &self,
        key: &SessionKey,
        slide: Slide,
        bare: bool,
    ) -> Result<Option<Entry>, StoreError> {
        let (idle, min_gain) = match slide {
            Slide::No => (None, 0),
            Slide::To { idle, min_gain } => (Some(micros(idle)), micros(min_gain)),
        };
        let key = &key.as_bytes()[..];
        let answer = self
            .answer(
                "SELECT * FROM purlin_session_load_1($1, $2, $3, $4)",
                &[
                    (&key, Type::BYTEA),
                    (&idle, Type::INT8),
                    (&min_gain, Type::INT8),
                    (&bare, Type::BOOL),
                ],
            )
            .await?;
        Ok(answer.loaded())
    }

    fn admit(&self, record: &Record) -> Result<(), StoreError> {
        if record.payload.len() > self.max_payload {
            return Err(StoreError::new(ErrorKind::TooLarge).with_record(record.clone()));
        }
        Ok(())
    }
}

/// The error, with the record if the kind is one that gives it back.
fn with_record(error: StoreError, record: &Record) -> StoreError {
    match error.kind() {
        ErrorKind::Full => error.with_record(record.clone()),
        _ => error,
    }
}

/// A duration as the functions take it: microseconds, rounded up; the highest number is for ever.
fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1000)).unwrap_or(i64::MAX)
}

/// Whose a session becomes, as the functions take it.
struct Heir {
    /// 0 for whose it was, 1 for nobody's, 2 for the user's.
    change: i32,
    user: Option<UserKey>,
    most: Option<i64>,
    evicts: bool,
}

impl Heir {
    fn of(owner: Owner) -> Self {
        let (change, user, cap) = match owner {
            Owner::Unchanged => (0, None, None),
            Owner::Nobody => (1, None, None),
            Owner::User { user, cap } => (2, Some(user), cap),
        };
        Heir {
            change,
            user,
            most: cap.map(|cap| i64::from(cap.max.get())),
            evicts: cap.is_some_and(|cap| cap.when_full == WhenFull::EvictOldest),
        }
    }

    fn user(&self) -> Option<&[u8]> {
        self.user.as_ref().map(|user| &user.as_bytes()[..])
    }
}

fn version_number(version: Version) -> i64 {
    // No session gets there; one that did would be at no version that anybody can name.
    i64::try_from(version.0).unwrap_or(-1)
}

impl<P: Clients> SessionStore for PostgresSessionStore<P> {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.admit(&record)?;
        let heir = Heir::of(record.owner);
        let answer = self
            .answer(
                "SELECT * FROM purlin_session_create_1($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    (&&key.as_bytes()[..], Type::BYTEA),
                    (&micros(record.lifetime.idle), Type::INT8),
                    (&micros(record.lifetime.absolute), Type::INT8),
                    (&&record.payload[..], Type::BYTEA),
                    (&heir.user(), Type::BYTEA),
                    (&heir.most, Type::INT8),
                    (&heir.evicts, Type::BOOL),
                    (&micros(self.retention), Type::INT8),
                ],
            )
            .await;
        match answer.map_err(|error| with_record(error, &record))? {
            Answer::Done(version) => Ok(CreateOutcome::Created(version)),
            Answer::AtCap => Ok(CreateOutcome::AtCap),
            Answer::Taken => Ok(CreateOutcome::Collision),
            Answer::Nothing | Answer::Live(_) | Answer::Rotated { .. } => Err(corrupt()),
        }
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.loaded(key, slide, false).await
    }

    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        Ok(self.loaded(key, slide, true).await?.is_some())
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.admit(&record)?;
        let answer = self
            .answer(
                "SELECT * FROM purlin_session_commit_1($1, $2, $3, $4, $5)",
                &[
                    (&&key.as_bytes()[..], Type::BYTEA),
                    (&version_number(expected), Type::INT8),
                    (&micros(record.lifetime.idle), Type::INT8),
                    (&micros(record.lifetime.absolute), Type::INT8),
                    (&&record.payload[..], Type::BYTEA),
                ],
            )
            .await;
        match answer.map_err(|error| with_record(error, &record))? {
            Answer::Done(version) => Ok(CommitOutcome::Committed(version)),
            Answer::Live(present) => Ok(CommitOutcome::Conflict(present)),
            Answer::Rotated { by: Some(by), .. } => Ok(CommitOutcome::Superseded(by)),
            Answer::Rotated { by: None, .. } | Answer::Nothing => Ok(CommitOutcome::Gone),
            Answer::Taken | Answer::AtCap => Err(corrupt()),
        }
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.admit(&record)?;
        let heir = Heir::of(record.owner);
        let answer = self
            .answer(
                "SELECT * FROM purlin_session_rotate_1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
                &[
                    (&&old.as_bytes()[..], Type::BYTEA),
                    (&&new.as_bytes()[..], Type::BYTEA),
                    (&version_number(expected), Type::INT8),
                    (&micros(record.lifetime.idle), Type::INT8),
                    (&micros(record.lifetime.absolute), Type::INT8),
                    (&&record.payload[..], Type::BYTEA),
                    (&micros(grace), Type::INT8),
                    (&heir.change, Type::INT4),
                    (&heir.user(), Type::BYTEA),
                    (&heir.most, Type::INT8),
                    (&heir.evicts, Type::BOOL),
                    (&micros(self.retention), Type::INT8),
                ],
            )
            .await;
        match answer.map_err(|error| with_record(error, &record))? {
            Answer::Done(version) => Ok(RotateOutcome::Rotated(version)),
            Answer::Live(present) => Ok(RotateOutcome::Conflict(present)),
            Answer::Rotated { by: Some(by), .. } => Ok(RotateOutcome::Superseded(by)),
            Answer::Taken => Ok(RotateOutcome::Collision),
            Answer::AtCap => Ok(RotateOutcome::AtCap),
            Answer::Rotated { by: None, .. } | Answer::Nothing => Ok(RotateOutcome::Gone),
        }
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let rows = self
            .rows(
                "SELECT purlin_session_delete_1($1, $2)",
                &[
                    (&&key.as_bytes()[..], Type::BYTEA),
                    (&micros(self.retention), Type::INT8),
                ],
            )
            .await?;
        let row = rows.first().ok_or_else(corrupt)?;
        row.try_get(0).map_err(store_error)
    }

    /// One look at a partial index, which has the user's live sessions side by side.
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let user = &user.as_bytes()[..];
        let rows = self
            .rows(
                "SELECT purlin_session_by_user_1($1)",
                &[(&user, Type::BYTEA)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let key: &[u8] = row.try_get(0).map_err(store_error)?;
                SessionKey::from_bytes(key).ok_or_else(corrupt)
            })
            .collect()
    }

    /// One round trip, and one transaction: all of them end at the same moment.
    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        let user = &user.as_bytes()[..];
        let except = except.map(|key| &key.as_bytes()[..]);
        let rows = self
            .rows(
                "SELECT purlin_session_revoke_1($1, $2, $3)",
                &[
                    (&user, Type::BYTEA),
                    (&except, Type::BYTEA),
                    (&micros(self.retention), Type::INT8),
                ],
            )
            .await?;
        let ended: i64 = rows
            .first()
            .ok_or_else(corrupt)?
            .try_get(0)
            .map_err(store_error)?;
        usize::try_from(ended).map_err(|_| corrupt())
    }

    /// One round trip for every 500 keys.
    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut entries = Vec::with_capacity(keys.len());
        for keys in keys.chunks(LOADED_PER_CALL) {
            let asked: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
            let rows = self
                .rows(
                    "SELECT * FROM purlin_session_load_many_1($1)",
                    &[(&asked, Type::BYTEA_ARRAY)],
                )
                .await?;
            if rows.len() != keys.len() {
                return Err(corrupt());
            }
            for row in &rows {
                entries.push(Answer::parse(row)?.loaded());
            }
        }
        Ok(entries)
    }

    /// A round trip, and a transaction, for every 500 rows looked at.
    async fn sweep(&self, budget: usize) -> Result<Swept, StoreError> {
        let mut removed = 0;
        let mut left = budget;
        while left > 0 {
            let share = left.min(SWEPT_PER_CALL);
            let asked = i64::try_from(share).unwrap_or(i64::MAX);
            let rows = self
                .rows(
                    "SELECT removed, looked_at FROM purlin_session_sweep_1($1)",
                    &[(&asked, Type::INT8)],
                )
                .await?;
            let row = rows.first().ok_or_else(corrupt)?;
            let number = |idx: usize| {
                let number: i64 = row.try_get(idx).map_err(store_error)?;
                Ok::<_, StoreError>(usize::try_from(number).unwrap_or(0))
            };
            removed += number(0)?;
            if number(1)? < share {
                return Ok(Swept {
                    removed,
                    caught_up: true,
                });
            }
            left -= share;
        }
        Ok(Swept {
            removed,
            caught_up: false,
        })
    }
}

/// How many sessions are asked for in one call.
const LOADED_PER_CALL: usize = 500;

/// How many rows are swept in one transaction, which holds their locks for so long.
const SWEPT_PER_CALL: usize = 500;

impl<P> fmt::Debug for PostgresSessionStore<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSessionStore")
            .field("retention", &self.retention)
            .field("timeout", &self.timeout)
            .field("max_payload", &self.max_payload)
            .finish_non_exhaustive()
    }
}
