//! Work that survives a crash: jobs in a file, a process that dies over one of them, and the next process that
//! finishes all of them, each with one effect.
//!
//! `cargo run --example durable_jobs`

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use purlin_redb::{OffloadedQueue, RedbQueue};
use purlin_work_queue::{Failure, Job, LeaseRequest, Leased, Worker};
use tokio::sync::Notify;

const MAILS: usize = 20;

/// The world outside, which must see each mail once. What it has seen it recognises by the job's key.
#[derive(Default)]
struct Outbox {
    sent: Mutex<BTreeSet<Vec<u8>>>,
    all_sent: Notify,
}

impl Outbox {
    fn send(&self, leased: &Leased) -> Result<(), Failure> {
        let key = leased
            .job()
            .key()
            .ok_or_else(|| Failure::never("a mail without a key"))?;
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        if !sent.insert(key.to_vec()) {
            println!("{} was sent before the crash", leased.id());
        }
        if sent.len() == MAILS {
            self.all_sent.notify_one();
        }
        Ok(())
    }
}

/// The first process: it accepts orders, begins with a mail, and dies before it can say that it is done.
fn first_process(file: &Path, outbox: &Outbox) -> Result<(), Box<dyn Error>> {
    let queue = RedbQueue::open(file)?;
    for order in 0..MAILS {
        let mail = Job::new(format!("your order {order}")).with_key(format!("order-{order}"));
        queue.enqueue(mail)?;
    }
    let leased = queue.lease(&LeaseRequest::new("mailer-1", Duration::from_millis(200)))?;
    for leased in &leased {
        outbox.send(leased).map_err(|failure| failure.to_string())?;
    }
    // No ack: this is where the power goes out.
    Ok(())
}

/// The next process: a worker until everything is done.
async fn next_process(file: &Path, outbox: Arc<Outbox>) -> Result<(), Box<dyn Error>> {
    let queue = OffloadedQueue::new(RedbQueue::open(file)?);
    let worker = Worker::builder("mailer-2").concurrency(4).build();
    let mailing = Arc::clone(&outbox);
    let handler = move |leased: Leased| {
        let outbox = Arc::clone(&mailing);
        async move { outbox.send(&leased) }
    };
    let watched = queue.clone();
    let done = async {
        outbox.all_sent.notified().await;
        // The mail of the crash is in the outbox and still in the queue, until its lease has ended.
        while watched.stats().jobs() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let report = worker.run(queue, handler, done).await?;
    println!("{} mails done after the crash", report.done);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mails.redb");
    let outbox = Arc::new(Outbox::default());
    first_process(&file, &outbox)?;
    next_process(&file, Arc::clone(&outbox)).await?;
    let sent = outbox
        .sent
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .len();
    assert_eq!(sent, MAILS);
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
