//! On a connection that answers when it is told to.

use std::future::poll_fn;

use purlin_session_store::SessionId;
use redis::{Pipeline, RedisFuture, cmd};
use tokio::sync::Semaphore;

use super::super::scripts::Scripts;
use super::*;

/// Answers each command by its first argument, a message for each permit.
#[derive(Clone)]
struct Echo {
    /// The number of commands of each message.
    messages: Arc<Mutex<Vec<usize>>>,
    permits: Arc<Semaphore>,
}

impl Echo {
    fn new(permits: usize) -> Self {
        Echo {
            messages: Arc::default(),
            permits: Arc::new(Semaphore::new(permits)),
        }
    }

    fn messages(&self) -> Vec<usize> {
        locked(&self.messages).clone()
    }
}

impl ConnectionLike for Echo {
    fn req_packed_command<'a>(&'a mut self, _: &'a Cmd) -> RedisFuture<'a, Value> {
        unreachable!("messages are of many commands")
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        locked(&self.messages).push(count);
        Box::pin(async move {
            self.permits.acquire().await.unwrap().forget();
            let text = |arg: redis::Arg<&[u8]>| match arg {
                redis::Arg::Simple(text) => Value::BulkString(text.to_vec()),
                _ => unreachable!("nothing is scanned"),
            };
            let echo = |cmd: &Cmd| {
                let mut texts = cmd.args_iter().map(text);
                match texts.next() {
                    Some(name) if name == bulk("MGET") => Value::Array(texts.collect()),
                    _ => texts.next().expect("a text"),
                }
            };
            Ok(pipeline.cmd_iter().map(echo).collect())
        })
    }

    fn get_db(&self) -> i64 {
        0
    }
}

fn batches() -> Batches {
    let swaps = Swaps::new(Arc::new(Scripts::new()), b"p:");
    Batches::new(Arc::new(Rows::new(b"p:")), swaps)
}

fn ping(text: &str) -> Cmd {
    let mut ping = cmd("PING");
    ping.arg(text);
    ping
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn key(number: u8) -> SessionKey {
    SessionId::from_secret_bytes([number; 32]).key()
}

/// What stands for a session's row where all is echoed.
fn name(number: u8) -> Value {
    Value::BulkString([b"p:", &key(number).as_bytes()[..]].concat())
}

const LONG: Duration = Duration::from_secs(60);

fn call<'a>(batches: &'a Batches, echo: &'a Echo, text: &str) -> Call<'a, Echo> {
    batches.ask(echo, LONG, Ask::One(ping(text)))
}

/// Polls a call once, which does not complete it.
async fn poll_once(call: &mut Call<'_, Echo>) {
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *call).poll(cx))).await;
    assert!(polled.is_pending());
}

#[tokio::test]
async fn calls_made_at_once_share_a_message_and_each_has_its_own_answer() {
    let (batches, echo) = (batches(), Echo::new(2));
    let two = batches.ask(&echo, LONG, Ask::RowMoved(key(1), 7));
    let (one, two, three) =
        tokio::join!(call(&batches, &echo, "a"), two, call(&batches, &echo, "d"),);
    assert_eq!(one.unwrap(), (bulk("a"), Value::Nil));
    assert_eq!(two.unwrap(), (name(1), name(1)));
    assert_eq!(three.unwrap(), (bulk("d"), Value::Nil));
    let alone = call(&batches, &echo, "e").await;
    assert_eq!(alone.unwrap(), (bulk("e"), Value::Nil));
    assert_eq!(echo.messages(), [4, 1]);
}

#[tokio::test]
async fn tasks_that_run_at_once_share_messages_of_a_bounded_size() {
    let (batches, echo) = (Arc::new(batches()), Echo::new(usize::MAX >> 4));
    let tasks: Vec<_> = (0..2 * MAX_CALLS + 5)
        .map(|idx| {
            let (batches, echo) = (Arc::clone(&batches), echo.clone());
            tokio::spawn(async move {
                let text = idx.to_string();
                let answer = call(&batches, &echo, &text).await;
                assert_eq!(answer.unwrap().0, bulk(&text));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(echo.messages(), [MAX_CALLS, MAX_CALLS, 5]);
}

#[tokio::test]
async fn rows_are_fetched_at_once_and_each_call_gets_its_own() {
    let (batches, echo) = (batches(), Echo::new(2));
    let ask = |ask| batches.ask(&echo, LONG, ask);
    let (row, other, moved, commit, commit_too, last) = tokio::join!(
        ask(Ask::Row(key(1))),
        call(&batches, &echo, "a"),
        ask(Ask::RowMoved(key(2), 7)),
        ask(Ask::Swap(Swap::sample(8))),
        ask(Ask::Swap(Swap::sample(9))),
        ask(Ask::Row(key(3))),
    );
    assert_eq!(row.unwrap(), (name(1), Value::Nil));
    assert_eq!(other.unwrap(), (bulk("a"), Value::Nil));
    assert_eq!(moved.unwrap(), (name(2), name(2)));
    assert_eq!(last.unwrap(), (name(3), Value::Nil));
    // The script's number is not what is echoed.
    assert_eq!(commit.unwrap().0, Value::Okay);
    assert_eq!(commit_too.unwrap().0, Value::Okay);
    // A text, a move, the rows, two new rows and the script.
    assert_eq!(echo.messages(), [6]);
    // Where nothing else is loaded it is a `GET`, whose nil is told as it is.
    assert_eq!(ask(Ask::Row(key(4))).await.unwrap(), (name(4), Value::Nil));
}

/// Their rows are long, and the script's answer has a bit for each.
#[tokio::test]
async fn commits_share_shorter_messages() {
    let (batches, echo) = (Arc::new(batches()), Echo::new(usize::MAX >> 4));
    let mut tasks = Vec::new();
    for number in 0..2 * MAX_SWAPS as u8 + 2 {
        let (batches, echo) = (Arc::clone(&batches), echo.clone());
        tasks.push(tokio::spawn(async move {
            let swap = Ask::Swap(Swap::sample(number));
            batches.ask(&echo, LONG, swap).await
        }));
    }
    for task in tasks {
        // The script's number is not what is echoed.
        assert_eq!(task.await.unwrap().unwrap().0, Value::Okay);
    }
    assert_eq!(echo.messages(), [MAX_SWAPS + 1, MAX_SWAPS + 1, 2 + 1]);
}

#[tokio::test]
async fn a_call_that_is_dropped_before_it_was_sent_is_not_and_the_others_are() {
    let (batches, echo) = (batches(), Echo::new(2));
    let (mut first, mut second) = (call(&batches, &echo, "a"), call(&batches, &echo, "b"));
    poll_once(&mut first).await;
    poll_once(&mut second).await;
    drop(first);
    assert_eq!(second.await.unwrap().0, bulk("b"));
    assert_eq!(echo.messages(), [1]);

    let mut alone = call(&batches, &echo, "c");
    poll_once(&mut alone).await;
    drop(alone);
    assert_eq!(call(&batches, &echo, "d").await.unwrap().0, bulk("d"));
    assert_eq!(echo.messages(), [1, 1]);
}

/// The one who would have sent is gone, and nobody else is polled of their own accord.
#[tokio::test]
async fn somebody_is_woken_to_send_when_the_sender_is_dropped() {
    let (batches, echo) = (Arc::new(batches()), Echo::new(1));
    let mut first = call(&batches, &echo, "a");
    poll_once(&mut first).await;
    let task = tokio::spawn({
        let (batches, echo) = (Arc::clone(&batches), echo.clone());
        async move { call(&batches, &echo, "b").await }
    });
    while locked(&batches.gathering).as_ref().unwrap().asks.len() < 2 {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert_eq!(task.await.unwrap().unwrap().0, bulk("b"));
}

#[tokio::test]
async fn a_call_that_is_dropped_on_the_way_takes_nobody_with_it() {
    let (batches, echo) = (Arc::new(batches()), Echo::new(0));
    let mut first = call(&batches, &echo, "a");
    poll_once(&mut first).await;
    let task = tokio::spawn({
        let (batches, echo) = (Arc::clone(&batches), echo.clone());
        async move { call(&batches, &echo, "b").await }
    });
    while locked(&batches.gathering).as_ref().unwrap().asks.len() < 2 {
        tokio::task::yield_now().await;
    }
    poll_once(&mut first).await;
    assert_eq!(echo.messages(), [2], "the first one sent both");
    drop(first);
    echo.permits.add_permits(1);
    assert_eq!(task.await.unwrap().unwrap().0, bulk("b"));
}

#[tokio::test]
async fn no_answer_in_time_is_told_to_all() {
    let (batches, echo) = (batches(), Echo::new(0));
    let limit = Duration::from_millis(1);
    let ask = |text| batches.ask(&echo, limit, Ask::One(ping(text)));
    let (one, two) = tokio::join!(ask("a"), ask("b"));
    assert_eq!(one.unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(two.unwrap_err().kind(), ErrorKind::Interrupted);
}

#[test]
fn runtimes_share_no_message() {
    let (batches, echo) = (batches(), Echo::new(2));
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (here, there) = (runtime(), runtime());
    let mut first = call(&batches, &echo, "a");
    here.block_on(poll_once(&mut first));
    // Nobody over there would send what was added to the message from here.
    let second = async { tokio::time::timeout(LONG / 6, call(&batches, &echo, "b")).await };
    let second = there.block_on(second).expect("it waits for nobody");
    assert_eq!(second.unwrap().0, bulk("b"));
    assert_eq!(here.block_on(first).unwrap().0, bulk("a"));
    assert_eq!(echo.messages(), [1, 1]);
}
