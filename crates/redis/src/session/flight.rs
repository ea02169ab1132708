//! One message on its way: what was asked by several calls goes out as one pipeline, and the answers are sorted.

use std::sync::Arc;
use std::time::Duration;

use purlin_session_store::SessionKey;
use redis::aio::ConnectionLike;
use redis::{Pipeline, RedisError, Value};

use super::batch::{Answer, Ask, Failed};
use super::rows::Rows;
use super::swap::{Swaps, Together};

/// Sends the asks, and sorts the answers.
pub(super) async fn fly<C: ConnectionLike>(
    mut connection: C,
    limit: Duration,
    rows: Arc<Rows>,
    swaps: Arc<Swaps>,
    asks: Vec<Option<Ask>>,
) -> Result<Vec<Option<Answer>>, Failed> {
    let load = Load::pack(asks, &rows, &swaps);
    match tokio::time::timeout(limit, load.deliver(&mut connection, &rows, &swaps)).await {
        Ok(answers) => answers.map_err(Failed::Client),
        Err(_) => Err(Failed::TimedOut(limit)),
    }
}

/// What one message has in it.
struct Load {
    pipeline: Pipeline,
    n_commands: usize,
    parts: Vec<Part>,
    /// Two rows or more, which are fetched by one command before the commits.
    fetched: Vec<SessionKey>,
    /// Two commits or more, which end the pipeline.
    together: Option<Together>,
}

/// Where the answer to an ask is to be found.
#[derive(Clone, Copy)]
enum Part {
    /// There was no ask.
    Nowhere,
    /// The next answers, one or two.
    Next(usize),
    /// One of the rows that are fetched at once.
    Row,
    /// The next answer, and one of these rows.
    NextAndRow,
    /// One of those that go together.
    Together,
}

impl Load {
    fn pack(asks: Vec<Option<Ask>>, rows: &Rows, swaps: &Swaps) -> Load {
        let is_swap = |ask: &&Option<Ask>| matches!(ask, Some(Ask::Swap(_)));
        let n_swaps = asks.iter().filter(is_swap).count();
        let is_row = |ask: &&Option<Ask>| matches!(ask, Some(Ask::Row(_) | Ask::RowMoved(..)));
        let n_rows = asks.iter().filter(is_row).count();
        let fetches = n_rows > 1 && rows.may_go_together();
        let mut pipeline = Pipeline::with_capacity(asks.len() * 2);
        let mut n_commands = 0;
        let mut add = |command| {
            pipeline.add_command(command);
            n_commands += 1;
        };
        let mut fetched = Vec::with_capacity(n_rows);
        let mut grouped = Vec::with_capacity(n_swaps);
        let mut parts = Vec::with_capacity(asks.len());
        for ask in asks {
            parts.push(match ask {
                None => Part::Nowhere,
                Some(Ask::One(command)) => {
                    add(command);
                    Part::Next(1)
                }
                Some(Ask::Row(key)) if fetches => {
                    fetched.push(key);
                    Part::Row
                }
                Some(Ask::Row(key)) => {
                    add(rows.get(&key));
                    Part::Next(1)
                }
                Some(Ask::RowMoved(key, end)) => {
                    add(rows.move_end(&key, end));
                    if fetches {
                        fetched.push(key);
                        Part::NextAndRow
                    } else {
                        add(rows.get(&key));
                        Part::Next(2)
                    }
                }
                Some(Ask::Swap(swap)) if n_swaps > 1 => {
                    grouped.push(swap);
                    Part::Together
                }
                Some(Ask::Swap(swap)) => {
                    add(swaps.alone(&swap));
                    Part::Next(1)
                }
            });
        }
        if !fetched.is_empty() {
            add(rows.get_all(&fetched));
        }
        let together = (n_swaps > 1).then(|| {
            let together = swaps.together(grouped);
            swaps.sets(&together).for_each(&mut add);
            add(swaps.script(&together));
            together
        });
        Load {
            pipeline,
            n_commands,
            parts,
            fetched,
            together,
        }
    }

    async fn deliver<C: ConnectionLike>(
        self,
        connection: &mut C,
        rows: &Rows,
        swaps: &Swaps,
    ) -> Result<Vec<Option<Answer>>, RedisError> {
        let answers = connection.req_packed_commands(&self.pipeline, 0, self.n_commands);
        let mut answers = answers.await?;
        let mut outcomes = Vec::new();
        if let Some(together) = &self.together {
            let mut outcome = answers.pop().unwrap_or(Value::Nil);
            answers.truncate(answers.len().saturating_sub(together.len()));
            if matches!(&outcome, Value::ServerError(error) if error.code() == "NOSCRIPT") {
                let script = swaps.script_in_full(together);
                outcome = connection.req_packed_command(&script).await?;
            }
            outcomes = swaps.outcomes(together.len(), &outcome);
            if matches!(outcome, Value::ServerError(_)) {
                // Best effort: what stays ends when its session would have.
                let withdrawal = swaps.withdrawal(together);
                let withdrawal = connection.req_packed_commands(&withdrawal, 0, together.len());
                let _ = withdrawal.await;
            }
        }
        let mut found = Vec::new();
        if !self.fetched.is_empty() {
            let answer = answers.pop().unwrap_or(Value::Nil);
            found = match rows.answers(self.fetched.len(), answer) {
                Some(found) => found,
                None => self.fetch_each(connection, rows).await?,
            };
        }
        let (mut answers, mut outcomes) = (answers.into_iter(), outcomes.into_iter());
        let mut found = found.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let answer = |part| match part {
            Part::Nowhere => None,
            Part::Next(1) => Some((next(), Value::Nil)),
            Part::Next(_) => Some((next(), next())),
            Part::Row => Some((found.next().unwrap_or(Value::Okay), Value::Nil)),
            Part::NextAndRow => Some((next(), found.next().unwrap_or(Value::Okay))),
            Part::Together => Some((outcomes.next().unwrap_or(Value::Nil), Value::Nil)),
        };
        Ok(self.parts.into_iter().map(answer).collect())
    }

    /// The rows by a command each, from a server that does not let them be fetched together.
    async fn fetch_each<C: ConnectionLike>(
        &self,
        connection: &mut C,
        rows: &Rows,
    ) -> Result<Vec<Value>, RedisError> {
        let n = self.fetched.len();
        let mut each = Pipeline::with_capacity(n);
        for key in &self.fetched {
            each.add_command(rows.get(key));
        }
        connection.req_packed_commands(&each, 0, n).await
    }
}
