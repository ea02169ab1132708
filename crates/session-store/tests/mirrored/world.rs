//! Clients, stores and a network, under one seed.

use std::cell::RefCell;
use std::future::poll_fn;
use std::ops::AddAssign;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::{ManualClock, NodeId, Rng};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Lifetime, MemoryStore, Mirrored, Record,
    RotateOutcome, SessionId, SessionKey, SessionStore, Slide, StoreError, UserKey, Version,
};

use crate::Turned;

const HOUR: Duration = Duration::from_secs(3600);

/// What the network does at present.
struct Weather {
    rng: Rng,
    /// Which stores do not answer: never a majority.
    down: Vec<bool>,
}

/// A store at the other end of the network.
struct Remote {
    id: usize,
    store: MemoryStore<ManualClock>,
    weather: Arc<Mutex<Weather>>,
}

impl Remote {
    /// Waits for a few turns of the others, and says what becomes of the message.
    async fn travel(&self) -> Result<(), StoreError> {
        let mut turns = self.weather.lock().rng.below(6);
        poll_fn(|_| {
            if turns == 0 {
                return Poll::Ready(());
            }
            turns -= 1;
            Poll::Pending
        })
        .await;
        let mut weather = self.weather.lock();
        if weather.down[self.id] {
            let kinds = [ErrorKind::Unavailable, ErrorKind::Interrupted];
            return Err(StoreError::new(kinds[weather.rng.below(2) as usize]));
        }
        Ok(())
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.travel().await?;
        let answer = call.await;
        // An answer that is lost on its way back: nobody knows that it was done.
        let back = self.travel().await;
        back.map_err(|_| StoreError::new(ErrorKind::Interrupted))?;
        answer
    }
}

impl SessionStore for Remote {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.call(self.store.create(key, record)).await
    }
    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.call(self.store.load(key, slide)).await
    }
    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.call(self.store.commit(key, expected, record)).await
    }
    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.call(self.store.rotate(old, new, expected, record, grace))
            .await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.call(self.store.delete(key)).await
    }
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.call(self.store.by_user(user)).await
    }
}

/// What the clients were told.
#[derive(Default)]
struct Books {
    /// Marks whose writing was acknowledged, at the version they were told.
    acknowledged: Vec<(Version, u32)>,
    /// Marks whose writing was refused.
    refused: Vec<u32>,
    /// The highest version that anybody was told of.
    seen: u64,
    /// Keys the session has had, as far as anybody was told; the last one is where clients go.
    keys: Vec<SessionKey>,
    /// Keys that a rotation may have moved it to without anybody being told.
    maybe: Vec<SessionKey>,
    deleted: bool,
    maybe_deleted: bool,
    next_mark: u32,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) acknowledged: u64,
    pub(crate) conflicts: u64,
    pub(crate) unknown: u64,
    pub(crate) rotated: u64,
    pub(crate) deleted: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.acknowledged += other.acknowledged;
        self.conflicts += other.conflicts;
        self.unknown += other.unknown;
        self.rotated += other.rotated;
        self.deleted += other.deleted;
    }
}

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    weather: Arc<Mutex<Weather>>,
    /// One for each client, as different processes have.
    mirrors: Vec<Mirrored<Arc<Remote>, Turned>>,
    books: Rc<RefCell<Books>>,
}

impl World {
    pub(crate) fn new(seed: u64, n_stores: usize) -> Self {
        let mut rng = Rng::from_seed(seed);
        let clock = ManualClock::new();
        let weather = Arc::new(Mutex::new(Weather {
            rng: rng.fork(),
            down: vec![false; n_stores],
        }));
        let remote = |id| {
            Arc::new(Remote {
                id,
                store: MemoryStore::builder()
                    .clock(clock.clone())
                    .shards(1)
                    .build(),
                weather: Arc::clone(&weather),
            })
        };
        let remotes: Vec<_> = (0..n_stores).map(remote).collect();
        let mirror = |client| {
            let named = remotes.iter().cloned().enumerate();
            let named = named.map(|(id, store)| (NodeId(id as u64), store));
            let mirror = Mirrored::new(Turned(n_stores as u64), named, n_stores);
            mirror.unwrap().seed(seed * 100 + client)
        };
        World {
            seed,
            rng,
            weather,
            mirrors: (0..4).map(mirror).collect(),
            books: Rc::default(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        let key = self.key();
        self.books.borrow_mut().keys.push(key);
        let created = {
            let mirror = &self.mirrors[0];
            let record = Record::new("", Lifetime::new(HOUR, HOUR));
            let mut create: Running<'_> = Box::pin(async move {
                let created = mirror.create(&key, record).await.unwrap();
                assert_eq!(created, CreateOutcome::Created(Version::FIRST));
            });
            finish(&mut create)
        };
        assert!(created);
        self.books.borrow_mut().seen = 1;

        let seeds: Vec<u64> = self.mirrors.iter().map(|_| self.rng.next_u64()).collect();
        let mut clients: Vec<Running<'_>> = Vec::new();
        for (mirror, seed) in self.mirrors.iter().zip(seeds) {
            let client = Client {
                mirror,
                rng: Rng::from_seed(seed),
                books: Rc::clone(&self.books),
            };
            clients.push(Box::pin(client.work()));
        }
        let n_stores = self.weather.lock().down.len() as u64;
        while !clients.is_empty() {
            if self.rng.chance(0.02) {
                // Another minority falls silent, or none.
                let mut weather = self.weather.lock();
                weather.down.fill(false);
                for _ in 0..self.rng.below(n_stores / 2 + 1) {
                    weather.down[self.rng.below(n_stores) as usize] = true;
                }
            }
            let idx = self.rng.below(clients.len() as u64) as usize;
            let mut cx = Context::from_waker(Waker::noop());
            if clients[idx].as_mut().poll(&mut cx).is_ready() {
                drop(clients.swap_remove(idx));
            }
        }
        self.weather.lock().down.fill(false);
        let mut end: Running<'_> = Box::pin(self.check());
        assert!(finish(&mut end));
        drop(end);
        self.books.borrow().outcome
    }

    fn key(&mut self) -> SessionKey {
        new_key(&mut self.rng)
    }

    /// What the books say is what the stores have.
    async fn check(&self) {
        let seed = self.seed;
        let keys = {
            let books = self.books.borrow();
            [&books.keys[..], &books.maybe].concat()
        };
        let mut live = Vec::new();
        for key in &keys {
            let entry = self.mirrors[0].load(key, Slide::No).await.unwrap();
            live.extend(entry.filter(|entry| entry.superseded_by.is_none()));
        }
        let books = self.books.borrow();
        if books.deleted {
            assert!(live.is_empty(), "seed {seed}: back after its end");
            return;
        }
        if live.is_empty() {
            assert!(books.maybe_deleted, "seed {seed}: lost");
            return;
        }
        assert_eq!(live.len(), 1, "seed {seed}: under two keys");
        let marks = marks(&live[0]);
        assert_eq!(live[0].version.0, marks.len() as u64 + 1, "seed {seed}");
        for (version, mark) in &books.acknowledged {
            let found = marks.get(version.0 as usize - 2);
            assert_eq!(found, Some(mark), "seed {seed}: {version} was acknowledged");
        }
        for mark in &books.refused {
            assert!(!marks.contains(mark), "seed {seed}: {mark} was refused");
        }
    }
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

fn finish(future: &mut Running<'_>) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    (0..1_000_000).any(|_| future.as_mut().poll(&mut cx).is_ready())
}

fn new_key(rng: &mut Rng) -> SessionKey {
    let mut bytes = [0; 32];
    bytes
        .chunks_exact_mut(8)
        .for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()));
    SessionId::from_secret_bytes(bytes).key()
}

fn marks(entry: &Entry) -> Vec<u32> {
    let marks = entry.payload.chunks_exact(4);
    marks
        .map(|mark| u32::from_le_bytes(mark.try_into().unwrap()))
        .collect()
}

struct Client<'a> {
    mirror: &'a Mirrored<Arc<Remote>, Turned>,
    rng: Rng,
    books: Rc<RefCell<Books>>,
}

impl Client<'_> {
    async fn work(mut self) {
        for _ in 0..8 {
            let (key, seen, had_ended) = {
                let books = self.books.borrow();
                (*books.keys.last().unwrap(), books.seen, books.deleted)
            };
            let Ok(loaded) = self.mirror.load(&key, Slide::to(HOUR)).await else {
                continue;
            };
            let Some(entry) = loaded else {
                let books = self.books.borrow();
                assert!(
                    books.deleted || books.maybe_deleted,
                    "no session, and no end"
                );
                continue;
            };
            if entry.superseded_by.is_some() {
                continue;
            }
            assert!(
                entry.version.0 >= seen,
                "{} after {seen} was seen",
                entry.version
            );
            assert!(!had_ended, "alive after its end");
            self.saw(entry.version);
            match self.rng.below(12) {
                0 => self.rotate(key, entry).await,
                1 if self.rng.chance(0.2) => self.delete(key).await,
                _ => self.commit(key, entry).await,
            }
        }
    }

    fn saw(&self, version: Version) {
        let mut books = self.books.borrow_mut();
        books.seen = books.seen.max(version.0);
    }

    fn marked(&self, entry: &Entry) -> (u32, Record) {
        let mut books = self.books.borrow_mut();
        books.next_mark += 1;
        let mark = books.next_mark;
        let mut payload = entry.payload.to_vec();
        payload.extend_from_slice(&mark.to_le_bytes());
        (mark, Record::new(payload, Lifetime::new(HOUR, HOUR)))
    }

    async fn commit(&mut self, key: SessionKey, entry: Entry) {
        let (mark, record) = self.marked(&entry);
        let answer = self.mirror.commit(&key, entry.version, record).await;
        let mut books = self.books.borrow_mut();
        match answer {
            Ok(CommitOutcome::Committed(version)) => {
                assert_eq!(version, entry.version.next());
                books.acknowledged.push((version, mark));
                books.seen = books.seen.max(version.0);
                books.outcome.acknowledged += 1;
            }
            Ok(CommitOutcome::Conflict(present)) => {
                assert!(present.version > entry.version);
                books.refused.push(mark);
                books.seen = books.seen.max(present.version.0);
                books.outcome.conflicts += 1;
            }
            Ok(CommitOutcome::Superseded(_)) => books.refused.push(mark),
            Ok(CommitOutcome::Gone) => assert!(books.deleted || books.maybe_deleted),
            Err(error) if error.kind() == ErrorKind::Unavailable => books.refused.push(mark),
            Err(_) => books.outcome.unknown += 1,
        }
    }

    async fn rotate(&mut self, key: SessionKey, entry: Entry) {
        let (mark, record) = self.marked(&entry);
        let new = new_key(&mut self.rng);
        self.books.borrow_mut().maybe.push(new);
        let rotated = self.mirror.rotate(&key, &new, entry.version, record, HOUR);
        let answer = rotated.await;
        let mut books = self.books.borrow_mut();
        match answer {
            Ok(RotateOutcome::Rotated(version)) => {
                books.maybe.retain(|key| *key != new);
                books.keys.push(new);
                books.acknowledged.push((version, mark));
                books.outcome.rotated += 1;
            }
            Ok(RotateOutcome::Conflict(_) | RotateOutcome::Superseded(_)) => {
                books.refused.push(mark);
            }
            Ok(RotateOutcome::Gone) => assert!(books.deleted || books.maybe_deleted),
            Ok(RotateOutcome::Collision | RotateOutcome::AtCap) => panic!("of a random key"),
            Err(_) => books.outcome.unknown += 1,
        }
    }

    async fn delete(&mut self, key: SessionKey) {
        self.books.borrow_mut().maybe_deleted = true;
        let answer = self.mirror.delete(&key).await;
        let mut books = self.books.borrow_mut();
        if let Ok(true) = answer {
            books.deleted = true;
            books.outcome.deleted += 1;
        }
    }
}
