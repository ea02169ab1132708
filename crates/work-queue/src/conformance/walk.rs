use core::time::Duration;

use super::Harness;
use super::model::{Job as ModelJob, Model, State};
use crate::{
    DeadReason, Enqueued, Job, JobId, LeaseError, LeaseId, LeaseRequest, Limits, Nack, Nacked,
    QueueStore, Refusal,
};

/// One operation of a [`walk`]. Numbers that name a job or a lease count from the latest one, and wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Enqueues `count` jobs as a batch, or a single one outside a batch if it is 1. Keys are few, so that they meet
    /// again; an odd `key` is none.
    Enqueue {
        /// Jobs in the batch.
        count: u8,
        /// Of which key, if any.
        key: u8,
        /// Payload bytes.
        bytes: u8,
        /// For how many milliseconds to wait.
        delay_ms: u8,
    },
    /// Leases up to `max` jobs.
    Lease {
        /// How many.
        max: u8,
        /// For how many milliseconds.
        for_ms: u8,
    },
    /// Acks a lease.
    Ack(u8),
    /// Nacks a lease, to be tried again after milliseconds.
    Retry(u8, u8),
    /// Nacks a lease for good.
    Reject(u8),
    /// Releases a lease.
    Release(u8),
    /// Extends a lease by milliseconds.
    Extend(u8, u8),
    /// Redrives a job, dead or not.
    Redrive(u8),
    /// Discards a job, dead or not.
    Discard(u8),
    /// Lets milliseconds pass.
    Pass(u8),
    /// Closes the store and opens it again, if it can.
    Reopen,
}

impl Step {
    /// A step from any three numbers, for whatever draws them: a property test, a fuzzer, a generator.
    pub fn from_numbers(kind: u8, a: u8, b: u8) -> Step {
        match kind % 24 {
            0..=5 => Step::Enqueue {
                count: 1 + u8::from(kind % 24 == 5) * (a % 4),
                key: a,
                bytes: b,
                delay_ms: if b % 3 == 0 { a } else { 0 },
            },
            6..=10 => Step::Lease {
                max: a % 5,
                for_ms: b,
            },
            11..=13 => Step::Ack(a),
            14..=15 => Step::Retry(a, b),
            16 => Step::Reject(a),
            17 => Step::Release(a),
            18 => Step::Extend(a, b),
            19 => Step::Redrive(a),
            20 => Step::Discard(a),
            21..=22 => Step::Pass(b),
            _ => Step::Reopen,
        }
    }
}

/// Does the steps on an empty store and on a naive model of a queue, and compares all there is to see after each.
///
/// For a store whose clock moves by [`Harness::pass`] alone.
///
/// # Panics
///
/// If store and model disagree.
pub async fn walk<H: Harness>(harness: &H, steps: &[Step]) {
    let limits = Limits::default()
        .with_max_jobs(12)
        .with_max_bytes(160)
        .with_max_payload(100)
        .with_max_lease(Duration::from_millis(150))
        .with_key_window(Duration::from_millis(90))
        .with_max_keys(3);
    let mut walk = Walk {
        harness,
        store: harness.open(limits).await,
        model: Model::new(limits),
        ids: Vec::new(),
        leases: Vec::new(),
    };
    for step in steps {
        walk = walk.step(*step).await;
        walk.compare(*step).await;
    }
}

struct Walk<'a, H: Harness> {
    harness: &'a H,
    store: H::Store,
    model: Model,
    /// Every job there ever was.
    ids: Vec<JobId>,
    /// Every lease there ever was.
    leases: Vec<LeaseId>,
}

fn ms(millis: u8) -> Duration {
    Duration::from_millis(millis.into())
}

/// The `n`th latest.
fn latest<T: Copy>(all: &[T], n: u8) -> Option<T> {
    let back = usize::from(n) % all.len().max(1);
    all.iter().rev().nth(back).copied()
}

impl<H: Harness> Walk<'_, H> {
    async fn step(mut self, step: Step) -> Self {
        match step {
            Step::Enqueue {
                count,
                key,
                bytes,
                delay_ms,
            } => self.enqueue(count, key, bytes, ms(delay_ms)).await,
            Step::Lease { max, for_ms } => self.lease(max.into(), ms(for_ms)).await,
            Step::Ack(n) => self.ack(n).await,
            Step::Retry(n, delay) => self.nack(n, Nack::retry_after(ms(delay))).await,
            Step::Reject(n) => self.nack(n, Nack::dead_letter()).await,
            Step::Release(n) => self.nack(n, Nack::release()).await,
            Step::Extend(n, by) => self.extend(n, ms(by)).await,
            Step::Redrive(n) => self.redrive(n).await,
            Step::Discard(n) => self.discard(n).await,
            Step::Pass(time) => {
                self.harness.pass(ms(time)).await;
                self.model.pass(ms(time));
            }
            Step::Reopen => {
                self.store = match self.harness.reopen(self.store).await {
                    Ok(store) | Err(store) => store,
                };
            }
        }
        self
    }

    async fn enqueue(&mut self, count: u8, key: u8, bytes: u8, delay: Duration) {
        let key_of = |i: u8| match key.wrapping_add(i) % 12 {
            key if key % 2 == 0 => Some(format!("key {key}")),
            _ => None,
        };
        let bytes = usize::from(bytes) % 110;
        let max_attempts = 1 + u32::from(key % 3);
        let jobs: Vec<Job> = (0..count)
            .map(|i| {
                let job = Job::new(vec![i; bytes])
                    .with_delay(delay)
                    .with_max_attempts(max_attempts);
                match key_of(i) {
                    Some(key) => job.with_key(key),
                    None => job,
                }
            })
            .collect();
        let result = match jobs.as_slice() {
            [job] => match self.store.enqueue(job.clone()).await {
                Ok(enqueued) => Ok(vec![enqueued]),
                Err(error) => {
                    let (rejected, refusal) = error.into_parts();
                    assert_eq!(rejected, *job, "the job comes back");
                    Err(refusal)
                }
            },
            _ => self.store.enqueue_all(jobs.clone()).await.map_err(|error| {
                let (rejected, refusal) = error.into_parts();
                assert_eq!(rejected, jobs, "the jobs come back");
                refusal
            }),
        };

        let mut news: Vec<&Job> = Vec::new();
        for job in &jobs {
            let known = job.key().is_some_and(|key| {
                let key = core::str::from_utf8(key).expect("keys are text here");
                self.model.known(key).is_some() || news.iter().any(|new| new.key() == job.key())
            });
            if !known {
                news.push(job);
            }
        }
        let size = |job: &&Job| job.payload().len() + job.key().map_or(0, |key| key.len());
        let new_bytes: usize = news.iter().map(size).sum();
        let limits = self.model.limits;
        let enqueued = match result {
            Err(Refusal::TooLarge { .. }) => {
                assert!(
                    bytes > limits.max_payload(),
                    "{bytes} bytes are not too many"
                );
                return;
            }
            Err(Refusal::Full { jobs, bytes }) => {
                assert_eq!((jobs, bytes), (self.model.jobs.len(), self.model.bytes()));
                let fits = jobs + news.len() <= limits.max_jobs()
                    && bytes + new_bytes <= limits.max_bytes();
                assert!(!fits, "it is not full");
                return;
            }
            Err(other) => panic!("refused without cause: {other:?}"),
            Ok(enqueued) => enqueued,
        };
        assert!(bytes <= limits.max_payload(), "{bytes} bytes are too many");
        assert!(news.is_empty() || self.model.jobs.len() + news.len() <= limits.max_jobs());
        assert!(news.is_empty() || self.model.bytes() + new_bytes <= limits.max_bytes());
        assert_eq!(enqueued.len(), jobs.len());
        for (enqueued, job) in enqueued.iter().zip(&jobs) {
            self.enqueued(*enqueued, job, delay);
        }
    }

    fn enqueued(&mut self, enqueued: Enqueued, job: &Job, delay: Duration) {
        let key = job
            .key()
            .map(|key| String::from_utf8_lossy(key).into_owned());
        let known = key.as_ref().and_then(|key| self.model.known(key));
        if let Some(id) = known {
            assert_eq!(enqueued, Enqueued::Duplicate(id));
            return;
        }
        assert!(enqueued.is_new(), "{key:?} is not known");
        assert!(
            self.ids.last().is_none_or(|last| *last < enqueued.id()),
            "ids rise"
        );
        self.ids.push(enqueued.id());
        self.model.jobs.push(ModelJob {
            id: enqueued.id(),
            key,
            payload: job.payload().to_vec(),
            attempts: 0,
            max_attempts: job.max_attempts(),
            error: None,
            state: if delay.is_zero() {
                State::Ready { fresh: true }
            } else {
                State::Delayed(self.model.now + delay)
            },
        });
    }

    async fn lease(&mut self, max: usize, duration: Duration) {
        let request = LeaseRequest::new("walker", duration).with_max(max);
        let leased = self.store.lease(request).await.expect("the store works");
        let ready = |job: &&ModelJob| matches!(job.state, State::Ready { .. });
        let available = self.model.jobs.iter().filter(ready).count();
        assert_eq!(leased.len(), available.min(max), "as many as there are");
        let granted = duration.min(self.model.limits.max_lease());
        for leased in leased {
            let fence = self.leases.last().map_or(0, |lease| lease.fence());
            assert!(leased.fence() > fence, "fencing numbers rise");
            self.leases.push(leased.lease());
            let fresh = |job: &&ModelJob| job.state == State::Ready { fresh: true };
            let next_fresh = self.model.jobs.iter().find(fresh).map(|job| job.id);
            let now = self.model.now;
            let job = self.model.job(leased.id()).expect("the job is there");
            match job.state {
                State::Ready { fresh: true } => assert_eq!(Some(job.id), next_fresh, "in order"),
                State::Ready { fresh: false } => {}
                other => panic!("{} was handed out while {other:?}", job.id),
            }
            job.attempts += 1;
            job.state = State::Leased(leased.lease(), now + granted);
            assert_eq!(leased.attempt(), job.attempts);
            assert_eq!(leased.granted(), granted);
            assert_eq!(leased.job().payload(), &job.payload);
            assert_eq!(leased.job().max_attempts(), job.max_attempts);
            let key = job.key.as_ref().map(String::as_bytes);
            assert_eq!(leased.job().key().map(|key| &key[..]), key);
        }
        // A lease of zero has ended.
        self.model.pass(Duration::ZERO);
    }

    async fn ack(&mut self, n: u8) {
        let Some(lease) = latest(&self.leases, n) else {
            return;
        };
        let result = self.store.ack(lease).await;
        let held = self.held(lease, &result);
        if held {
            self.model.remove(lease.job());
        }
    }

    async fn nack(&mut self, n: u8, nack: Nack) {
        let Some(lease) = latest(&self.leases, n) else {
            return;
        };
        let error = format!("error {n}");
        let nack = nack.with_error(&error);
        let next = nack.next();
        let result = self.store.nack(lease, nack).await;
        if !self.held(lease, &result) {
            return;
        }
        let now = self.model.now;
        let job = self.model.job(lease.job()).expect("it is leased");
        job.error = Some(error);
        job.state = match next {
            crate::Next::Release => {
                job.attempts -= 1;
                State::Ready { fresh: false }
            }
            crate::Next::DeadLetter => State::Dead(DeadReason::Rejected),
            crate::Next::RetryAfter(_) if job.attempts >= job.max_attempts => {
                State::Dead(DeadReason::Failed)
            }
            crate::Next::RetryAfter(delay) if delay.is_zero() => State::Ready { fresh: false },
            crate::Next::RetryAfter(delay) => State::Delayed(now + delay),
        };
        let expected = match job.state {
            State::Dead(_) => Nacked::Dead,
            _ => Nacked::Again,
        };
        assert_eq!(result.ok(), Some(expected));
    }

    async fn extend(&mut self, n: u8, by: Duration) {
        let Some(lease) = latest(&self.leases, n) else {
            return;
        };
        let result = self.store.extend(lease, by).await;
        if !self.held(lease, &result) {
            return;
        }
        let now = self.model.now;
        let wanted = now + by.min(self.model.limits.max_lease());
        let job = self.model.job(lease.job()).expect("it is leased");
        if let State::Leased(_, until) = &mut job.state {
            *until = wanted.max(*until);
            assert_eq!(result.ok(), Some(*until - now));
        }
    }

    /// Whether the lease was valid, on which store and model must agree.
    fn held<T: core::fmt::Debug>(
        &mut self,
        lease: LeaseId,
        result: &Result<T, LeaseError>,
    ) -> bool {
        match (self.model.leased(lease), result) {
            (Some(_), Ok(_)) => true,
            (None, Err(LeaseError::LeaseLost { lease: lost })) => {
                assert_eq!(*lost, lease);
                false
            }
            (job, result) => panic!("{lease} of {job:?} was answered with {result:?}"),
        }
    }

    async fn redrive(&mut self, n: u8) {
        let Some(id) = latest(&self.ids, n) else {
            return;
        };
        let redriven = self.store.redrive(id).await.expect("the store works");
        let dead = |job: &&mut ModelJob| matches!(job.state, State::Dead(_));
        let job = self.model.job(id).filter(dead);
        assert_eq!(redriven, job.is_some());
        if let Some(job) = job {
            job.state = State::Ready { fresh: false };
            job.attempts = 0;
        }
    }

    async fn discard(&mut self, n: u8) {
        let Some(id) = latest(&self.ids, n) else {
            return;
        };
        let discarded = self.store.discard(id).await.expect("the store works");
        let dead = |job: &&mut ModelJob| matches!(job.state, State::Dead(_));
        assert_eq!(discarded, self.model.job(id).filter(dead).is_some());
        if discarded {
            self.model.remove(id);
        }
    }

    /// Compares everything that can be seen.
    async fn compare(&mut self, step: Step) {
        for id in &self.ids {
            let status = self.store.status(*id).await.expect("the store works");
            let now = self.model.now;
            match (self.model.job(*id), status) {
                (None, None) => {}
                (Some(job), Some(status)) => {
                    assert_eq!(status.attempts, job.attempts, "{id} after {step:?}");
                    assert!(
                        job.state.agrees(&status.state, now),
                        "after {step:?} {id} is {status:?}, not {:?} at {now:?}",
                        job.state
                    );
                }
                (job, status) => panic!("after {step:?} {id} is {status:?}, not {job:?}"),
            }
        }
        let letters = self.store.dead_letters(None, usize::MAX).await;
        let letters = letters.expect("the store works");
        let dead = |job: &&ModelJob| matches!(job.state, State::Dead(_));
        let expected: Vec<&ModelJob> = self.model.jobs.iter().filter(dead).collect();
        assert_eq!(letters.len(), expected.len(), "after {step:?}");
        for (letter, job) in letters.iter().zip(expected) {
            assert_eq!(letter.id(), job.id, "after {step:?}");
            assert_eq!(letter.job().payload(), &job.payload, "after {step:?}");
            assert_eq!(letter.attempts(), job.attempts, "after {step:?}");
            assert_eq!(letter.error(), job.error.as_deref(), "after {step:?}");
        }
        let due = self.store.next_due().await.expect("the store works");
        let late = due.is_some_and(|due| self.model.next_due().is_some_and(|real| due > real));
        assert!(
            !late,
            "after {step:?} the store looks again too late: {due:?}"
        );
    }
}
