//! One message on its way: what was asked by several calls goes out as one pipeline, and the answers are sorted.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::{Pipeline, RedisError, Value};

use super::batch::{Answer, Ask, Failed};
use super::swap::{Swaps, Together};

/// Sends the asks, and sorts the answers.
pub(super) async fn fly<C: ConnectionLike>(
    mut connection: C,
    limit: Duration,
    swaps: Arc<Swaps>,
    asks: Vec<Option<Ask>>,
) -> Result<Vec<Option<Answer>>, Failed> {
    let load = Load::pack(asks, &swaps);
    match tokio::time::timeout(limit, load.deliver(&mut connection, &swaps)).await {
        Ok(answers) => answers.map_err(Failed::Client),
        Err(_) => Err(Failed::TimedOut(limit)),
    }
}

/// What one message has in it.
struct Load {
    pipeline: Pipeline,
    n_commands: usize,
    parts: Vec<Part>,
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
    /// One of those that go together.
    Together,
}

impl Load {
    fn pack(asks: Vec<Option<Ask>>, swaps: &Swaps) -> Load {
        let is_swap = |ask: &&Option<Ask>| matches!(ask, Some(Ask::Swap(_)));
        let n_swaps = asks.iter().filter(is_swap).count();
        let mut pipeline = Pipeline::with_capacity(asks.len() * 2);
        let mut n_commands = 0;
        let mut add = |command| {
            pipeline.add_command(command);
            n_commands += 1;
        };
        let mut grouped = Vec::with_capacity(n_swaps);
        let mut parts = Vec::with_capacity(asks.len());
        for ask in asks {
            parts.push(match ask {
                None => Part::Nowhere,
                Some(Ask::One(command)) => {
                    add(command);
                    Part::Next(1)
                }
                Some(Ask::Two(first, second)) => {
                    add(first);
                    add(second);
                    Part::Next(2)
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
            together,
        }
    }

    async fn deliver<C: ConnectionLike>(
        self,
        connection: &mut C,
        swaps: &Swaps,
    ) -> Result<Vec<Option<Answer>>, RedisError> {
        let answers = connection.req_packed_commands(&self.pipeline, 0, self.n_commands);
        let mut answers = answers.await?;
        let mut outcomes = Vec::new();
        if let Some(together) = &self.together {
            let mut outcome = answers.pop().unwrap_or(Value::Nil);
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
        let (mut answers, mut outcomes) = (answers.into_iter(), outcomes.into_iter());
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let answer = |part| match part {
            Part::Nowhere => None,
            Part::Next(1) => Some((next(), Value::Nil)),
            Part::Next(_) => Some((next(), next())),
            Part::Together => Some((outcomes.next().unwrap_or(Value::Nil), Value::Nil)),
        };
        Ok(self.parts.into_iter().map(answer).collect())
    }
}
