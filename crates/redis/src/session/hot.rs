//! The calls that services make all the time, each in one round trip and with as little work for the server as it
//! can be asked for: a load that writes nothing, a load that moves the deadline, and a commit that nobody was faster
//! than. All need the server's time, as reckoned here; see [`glance`]. What they cannot tell is left to the scripts that
//! can tell everything.

use std::sync::atomic::Ordering;
use std::time::Duration;

use purlin_session_store::{Entry, ErrorKind, Record, SessionKey, Slide, StoreError, Version};
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisError, Script, ServerErrorKind, Value};

use super::RedisSessionStore;
use super::batch::{Answer, Ask};
use super::failure::store_error;
use super::glance::{self, Head, Now, digits};
use super::rows::NIL_OR_OTHER;
use super::scripts::{NEVER, Reply, decimal, millis};
use super::swap::Swap;

/// What could be told without the script that can tell everything.
pub(super) enum Glance {
    Answer(Option<Entry>),
    /// There may be something to write, the row is not plain, or the time is not known.
    AskTheScript,
}

impl<C: ConnectionLike + Clone + Send + Sync + 'static> RedisSessionStore<C> {
    /// [`load`](purlin_session_store::SessionStore::load), as far as it can be told from the row.
    pub(super) async fn glance(
        &self,
        key: &SessionKey,
        slide: Slide,
    ) -> Result<Glance, StoreError> {
        let Some(now) = self.server_time().now() else {
            return Ok(Glance::AskTheScript);
        };
        match slide {
            Slide::To { idle, .. } if self.moves_the_key(slide) => {
                self.load_and_move(key, idle, now).await
            }
            _ if glance::may_do(slide) => self.load_in_place(key, slide, now).await,
            Slide::No | Slide::To { .. } => Ok(Glance::AskTheScript),
        }
    }

    async fn load_in_place(
        &self,
        key: &SessionKey,
        slide: Slide,
        now: Now,
    ) -> Result<Glance, StoreError> {
        let (row, _) = self.ask(Ask::Row(*key)).await?;
        let row = self.row_for_certain(key, row).await?;
        let Some(row) = row_of(row)? else {
            return Ok(Glance::Answer(None));
        };
        let Some(head) = Head::of(&row) else {
            return Ok(Glance::AskTheScript);
        };
        if let Some(heads) = self.heads().filter(|_| !head.late) {
            heads.remember_load(key, head);
        }
        Ok(match glance::read(head, row, now, slide) {
            Some(entry) => Glance::Answer(Some(entry)),
            None => Glance::AskTheScript,
        })
    }

    /// What a `GET` answers, where rows that were fetched together may have left that open.
    async fn row_for_certain(&self, key: &SessionKey, row: Value) -> Result<Value, StoreError> {
        if row != NIL_OR_OTHER {
            return Ok(row);
        }
        let (row, _) = self.ask(Ask::One(self.rows().get(key))).await?;
        Ok(row)
    }

    /// Whether a load that slides so is to move the key's end, and not what the row says of it.
    pub(super) fn moves_the_key(&self, slide: Slide) -> bool {
        // Relaxed: it says which of two ways is faster here, and both are right.
        matches!(
            slide,
            Slide::To {
                min_gain: Duration::ZERO,
                ..
            }
        ) && !self.is_old_server().load(Ordering::Relaxed)
    }

    /// Where every use is to be written down, whatever it gains: that is the key's end, which one command moves, if the
    /// row says that it counts. A row that does not say so, is told to by the script.
    async fn load_and_move(
        &self,
        key: &SessionKey,
        idle: Duration,
        now: Now,
    ) -> Result<Glance, StoreError> {
        let end = now.deadline(idle);
        let (moved, row) = self.ask(Ask::RowMoved(*key, end)).await?;
        let moved = match checked(moved) {
            Ok(moved) => moved == Value::Int(1),
            // Before Redis 7 a key's end could not be moved only outwards.
            Err(error) if error.code() == Some("ERR") => {
                self.is_old_server().store(true, Ordering::Relaxed);
                return Ok(Glance::AskTheScript);
            }
            Err(error) => return Err(store_error(error)),
        };
        let row = self.row_for_certain(key, row).await?;
        let row = match checked(row) {
            Err(error) if error.code() == Some("WRONGTYPE") => return Ok(Glance::AskTheScript),
            row => row_of(row.map_err(store_error)?)?,
        };
        let Some(row) = row else {
            return Ok(Glance::Answer(None));
        };
        // Where it was not moved, it is later already, and the script knows by how much.
        let found = glance::read_moved(row, now, end).filter(|_| moved);
        let Some((entry, owned)) = found else {
            return Ok(Glance::AskTheScript);
        };
        if let Some(owned) = owned {
            // The load has happened. A list that cannot be mended now is at the next slide.
            let _ = self.relist(&owned, key, entry.remaining.absolute).await;
        }
        Ok(Glance::Answer(Some(entry)))
    }

    /// A commit, by text alone if the time is known and the absolute deadline stays.
    pub(super) async fn run_commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: &Record,
    ) -> Result<Reply, StoreError> {
        let lifetime = record.lifetime;
        let now = self.server_time().now();
        let Some(now) = now.filter(|_| lifetime.absolute == Duration::MAX) else {
            let args = [
                &decimal(expected)[..],
                &decimal(millis(lifetime.idle)),
                &decimal(millis(lifetime.absolute)),
                &record.payload,
            ];
            return self.run_settled(&self.scripts().commit, key, &args).await;
        };
        let till = now.deadline(lifetime.idle);
        if let Some(reply) = self.swapped(key, expected, till, now, record).await? {
            return Ok(reply);
        }
        let args = [
            &expected.0.to_be_bytes()[..],
            &expected.next().0.to_be_bytes(),
            &digits(till),
            &record.payload,
            &digits(now.at_most),
        ];
        let script = &self.scripts().commit_plain;
        let reply = self.run_settled(script, key, &args).await?;
        if let Reply::Committed(head) = reply {
            self.remember(key, head);
        }
        Ok(reply)
    }

    /// A commit that goes together with those of other calls, if the head of the row is remembered. None if it has not
    /// happened, and the script has to say why.
    async fn swapped(
        &self,
        key: &SessionKey,
        expected: Version,
        till: u64,
        now: Now,
        record: &Record,
    ) -> Result<Option<Reply>, StoreError> {
        let Some((batches, heads)) = self.batches().zip(self.heads()) else {
            return Ok(None);
        };
        let before = heads.of(key).filter(|head| head.version == expected);
        let Some(before) = before.filter(|_| batches.swaps().may_do()) else {
            return Ok(None);
        };
        let after = before.committed(till);
        // What is left on its way must end some day.
        if after.till == NEVER {
            return Ok(None);
        }
        let swap = Swap {
            key: *key,
            before,
            after,
            payload: record.payload.clone(),
            latest: now.at_most,
        };
        let (answer, _) = self.ask(Ask::Swap(swap)).await?;
        let answer = match checked(answer) {
            Ok(answer) => answer,
            Err(error) if is_no_script(&error) => return Ok(None),
            Err(error) => return Err(store_error(error)),
        };
        let reply = match answer {
            Value::Nil => return Ok(None),
            Value::Int(1) => Reply::Committed(Some(after)),
            answer => Reply::parse(answer)?,
        };
        match reply {
            Reply::Committed(head) => self.remember(key, head),
            // For the way that settles it.
            Reply::Prepared(_) => return Ok(None),
            _ => {}
        }
        Ok(Some(reply))
    }

    /// Notes the head of a row for the commit that may follow.
    fn remember(&self, key: &SessionKey, head: Option<Head>) {
        if let (Some(heads), Some(head)) = (self.heads(), head.filter(|head| !head.late)) {
            heads.remember(key, head);
        }
    }

    /// What a script answers, which is sent to the server first if it does not have it.
    pub(super) async fn invoke(
        &self,
        script: &Script,
        name: &[u8],
        args: &[&[u8]],
    ) -> Result<Value, StoreError> {
        let (answer, _) = self.ask(Ask::One(evalsha(script, name, args))).await?;
        match answer.extract_error() {
            Err(error) if is_no_script(&error) => {
                self.send_script(script).await?;
                let (answer, _) = self.ask(Ask::One(evalsha(script, name, args))).await?;
                answer.extract_error().map_err(store_error)
            }
            answer => answer.map_err(store_error),
        }
    }

    async fn send_script(&self, script: &Script) -> Result<(), StoreError> {
        let load = script.prepare_invoke();
        let mut connection = self.connection().clone();
        self.in_time(load.load_async(&mut connection)).await?;
        Ok(())
    }

    /// Asks the server: with what others ask at the same moment, if the connection takes that.
    async fn ask(&self, ask: Ask) -> Result<Answer, StoreError> {
        if let Some(batches) = self.batches() {
            let limit = self.settings().timeout;
            return batches.ask(self.connection(), limit, ask).await;
        }
        let mut connection = self.connection().clone();
        self.in_time(async {
            let (first, second) = match ask {
                Ask::One(only) => {
                    return Ok((connection.req_packed_command(&only).await?, Value::Nil));
                }
                Ask::Row(key) => {
                    let get = self.rows().get(&key);
                    return Ok((connection.req_packed_command(&get).await?, Value::Nil));
                }
                Ask::RowMoved(key, end) => (self.rows().move_end(&key, end), self.rows().get(&key)),
                // Only where messages are shared.
                Ask::Swap(_) => return Ok((Value::Nil, Value::Nil)),
            };
            let mut both = Pipeline::with_capacity(2);
            both.add_command(first);
            both.add_command(second);
            let answers = connection.req_packed_commands(&both, 0, 2).await?;
            let mut answers = answers.into_iter();
            let mut next = || answers.next().unwrap_or(Value::Nil);
            Ok((next(), next()))
        })
        .await
    }
}

/// A value that is no error.
fn checked(value: Value) -> Result<Value, RedisError> {
    match value {
        Value::ServerError(error) => Err(error.into()),
        value => Ok(value),
    }
}

/// What a `GET` answers.
fn row_of(value: Value) -> Result<Option<Vec<u8>>, StoreError> {
    match checked(value).map_err(store_error)? {
        Value::Nil => Ok(None),
        Value::BulkString(row) => Ok(Some(row)),
        _ => Err(StoreError::new(ErrorKind::Corrupt)),
    }
}

fn is_no_script(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Room for the bytes of a call's words beside its arguments: the name of the command and a script's hash.
pub(super) const WORDS: usize = 64;

/// A call of a script on one key by its hash, made in one piece. The client's own way copies each argument first.
pub(super) fn evalsha(script: &Script, name: &[u8], args: &[&[u8]]) -> Cmd {
    let len = args.iter().map(|arg| arg.len()).sum::<usize>();
    let mut call = Cmd::with_capacity(4 + args.len(), WORDS + name.len() + len);
    call.arg("EVALSHA")
        .arg(script.get_hash())
        .arg("1")
        .arg(name);
    for arg in args {
        call.arg(*arg);
    }
    call
}
