//! Clients of one session, under one seed.

use std::cell::RefCell;
use std::ops::AddAssign;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use purlin_core::{ManualClock, Rng};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, Lifetime, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, Version,
};

use crate::network::{self, Mirror, Network, Shared, finish, new_key};

const HOUR: Duration = Duration::from_secs(3600);

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
    network: Shared,
    /// One for each client.
    mirrors: Vec<Mirror>,
    books: Rc<RefCell<Books>>,
}

impl World {
    pub(crate) fn new(seed: u64, n_stores: usize) -> Self {
        let mut rng = Rng::from_seed(seed);
        let network = Network::new(rng.fork(), n_stores);
        let mirrors = network::mirrors(&network, &ManualClock::new(), 4, n_stores, seed);
        World {
            seed,
            rng,
            network,
            mirrors,
            books: Rc::default(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        let key = self.key();
        self.books.borrow_mut().keys.push(key);
        let record = Record::new("", Lifetime::new(HOUR, HOUR));
        let created = finish(&self.network, async {
            // Until it is known: a call that was given up may have got through.
            loop {
                if let Ok(created) = self.mirrors[0].create(&key, record.clone()).await {
                    return created;
                }
            }
        });
        assert!(matches!(
            created,
            CreateOutcome::Created(Version::FIRST) | CreateOutcome::Collision
        ));
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
        while !clients.is_empty() {
            if self.rng.chance(0.02) {
                self.network.lock().turn(self.mirrors.len());
            }
            self.network.lock().step();
            let idx = self.rng.below(clients.len() as u64) as usize;
            let mut cx = Context::from_waker(Waker::noop());
            if clients[idx].as_mut().poll(&mut cx).is_ready() {
                drop(clients.swap_remove(idx));
            }
        }
        self.network.lock().heal();
        if self.rng.chance(0.5) {
            self.network.lock().flush();
        }
        finish(&self.network, self.check());
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
            let entry = loop {
                // Also now a call may be given up.
                if let Ok(entry) = self.mirrors[0].load(key, Slide::No).await {
                    break entry;
                }
            };
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

fn marks(entry: &Entry) -> Vec<u32> {
    let marks = entry.payload.chunks_exact(4);
    marks
        .map(|mark| u32::from_le_bytes(mark.try_into().unwrap()))
        .collect()
}

struct Client<'a> {
    mirror: &'a Mirror,
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
