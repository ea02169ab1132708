//! Clients who log in, log out and log out everywhere, under one seed; and somebody who knows what each was told.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use purlin_core::{Clock, ManualClock, Rng, Tick};
use purlin_session_store::{
    Cap, CommitOutcome, CreateOutcome, Entry, Lifetime, Owner, Record, RotateOutcome, SessionKey,
    SessionStore, Slide, UserKey,
};

use crate::network::{self, Mirror, Network, Shared, finish, new_key};

const HOUR: Duration = Duration::from_secs(3600);

/// How long a name without a session is kept on a list, and some more.
const MAKING: Duration = Duration::from_secs(3);

/// One user has no cap, one is refused the third session, and of one the oldest gives way to it.
const CAPS: [Option<Cap>; 3] = [None, Some(Cap::reject(2)), Some(Cap::evict_oldest(2))];

fn user(number: usize) -> UserKey {
    UserKey::of([number as u8])
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) logins: u64,
    pub(crate) revoked: u64,
    /// Sessions that a revocation which was acknowledged had to end.
    pub(crate) ended: u64,
    /// Writes and rotations that were told of an end.
    pub(crate) told: u64,
    pub(crate) listed: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    pub(crate) late: u64,
    /// Sessions that nobody was told of, and which are on no list.
    pub(crate) orphans: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.logins += other.logins;
        self.revoked += other.revoked;
        self.ended += other.ended;
        self.told += other.told;
        self.listed += other.listed;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.late += other.late;
        self.orphans += other.orphans;
    }
}

/// A login and what became of it, whatever keys it has had. Moments are counted in what was noted.
struct Told {
    user: usize,
    /// All keys that it may have had.
    keys: Vec<SessionKey>,
    /// The one that its client goes by.
    key: SessionKey,
    /// When the login was acknowledged.
    owned: Option<u64>,
    /// When something was begun that may end it.
    may_end: Option<u64>,
    /// When somebody was told that it has ended.
    ended: Option<u64>,
    /// The time at which a login or a move was begun of which nobody knows yet what came of it.
    moves: Option<Tick>,
}

#[derive(Default)]
struct Books {
    now: u64,
    told: Vec<Told>,
    by_key: BTreeMap<SessionKey, usize>,
    /// For each user the revocations under way, and the logins.
    revoking: [u32; 3],
    logging_in: [u32; 3],
    outcome: Outcome,
}

impl Books {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn may_end(&mut self, idx: usize, at: u64) {
        let told = &mut self.told[idx];
        told.may_end = Some(told.may_end.map_or(at, |before| before.min(at)));
    }

    fn has_ended(&mut self, idx: usize, at: u64) {
        let told = &mut self.told[idx];
        told.ended = Some(told.ended.map_or(at, |before| before.min(at)));
    }

    /// What is seen alive by a call that began at `at` has not ended before.
    fn is_alive(&self, idx: usize, at: u64, what: &str) {
        let told = &self.told[idx];
        let is_over = told.ended.is_some_and(|ended| ended <= at);
        assert!(!is_over, "{what} at {at}: back after its end");
    }

    /// Whether a session that nobody finds may have ended: something was to end it, or it moved so slowly that its place
    /// under a cap went to another.
    fn is_excused(&self, idx: usize, now: Tick) -> bool {
        let told = &self.told[idx];
        let is_slow = |since| now.since(since) > Duration::from_millis(1_900);
        let gave_way = CAPS[told.user].is_some() && told.moves.is_some_and(is_slow);
        told.may_end.is_some() || gave_way
    }

    fn of_user(&self, number: usize) -> Vec<usize> {
        let all = 0..self.told.len();
        all.filter(|&idx| self.told[idx].user == number).collect()
    }
}

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    clock: ManualClock,
    network: Shared,
    mirrors: Vec<Mirror>,
    books: Rc<RefCell<Books>>,
}

type Running<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

impl World {
    pub(crate) fn new(seed: u64, n_stores: usize) -> Self {
        let mut rng = Rng::from_seed(seed);
        let clock = ManualClock::new();
        let network = Network::new(rng.fork(), n_stores);
        let mirrors = network::mirrors(&network, &clock, 4, 3, seed);
        World {
            seed,
            rng,
            clock,
            network,
            mirrors,
            books: Rc::default(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        let seeds: Vec<u64> = self.mirrors.iter().map(|_| self.rng.next_u64()).collect();
        let mut clients: Vec<Running<'_>> = Vec::new();
        for (mirror, seed) in self.mirrors.iter().zip(seeds) {
            let client = Client {
                mirror,
                rng: Rng::from_seed(seed),
                clock: &self.clock,
                books: Rc::clone(&self.books),
            };
            clients.push(Box::pin(client.work()));
        }
        while !clients.is_empty() {
            if self.rng.chance(0.01) {
                self.network.lock().turn(self.mirrors.len());
            }
            if self.rng.chance(0.004) {
                self.clock
                    .advance(Duration::from_millis(self.rng.below(1_500)));
            }
            self.network.lock().step();
            let idx = self.rng.below(clients.len() as u64) as usize;
            let mut cx = Context::from_waker(Waker::noop());
            if clients[idx].as_mut().poll(&mut cx).is_ready() {
                drop(clients.swap_remove(idx));
            }
        }
        drop(clients);
        // Every store comes back with what it had.
        self.network.lock().heal();
        if self.rng.chance(0.5) {
            self.network.lock().flush();
        }
        // While the stores are compared with the books nothing moves.
        self.network.lock().holds_late = true;
        self.clock.advance(MAKING);
        finish(&self.network, self.check());
        let mut outcome = self.books.borrow().outcome;
        outcome.late = self.network.lock().arrived_late;
        outcome
    }

    /// What the books say is what the stores have; and then everybody logs out everywhere.
    async fn check(&self) {
        let (seed, mirror) = (self.seed, &self.mirrors[0]);
        let mut orphans = 0;
        for (number, cap) in CAPS.iter().enumerate() {
            let user = user(number);
            let sessions = self.books.borrow().of_user(number);
            let listed = in_the_end(|| mirror.by_user(&user)).await;
            let listed = listed.iter().map(|key| self.books.borrow().by_key[key]);
            let listed = BTreeSet::from_iter(listed);
            let mut n_live = 0;
            for idx in sessions {
                let live = self.live(idx).await;
                let books = self.books.borrow();
                let told = &books.told[idx];
                assert!(
                    live.len() <= 1 || told.moves.is_some(),
                    "seed {seed}: session {idx} under two keys"
                );
                assert!(
                    live.is_empty() || told.ended.is_none(),
                    "seed {seed}: session {idx} is back after its end"
                );
                if told.owned.is_some() {
                    let is_excused = books.is_excused(idx, self.clock.now());
                    assert!(
                        !live.is_empty() || is_excused,
                        "seed {seed}: session {idx} is lost"
                    );
                }
                // An end of which nobody was told may show at any look, and be new to the next.
                assert!(
                    !listed.contains(&idx) || !live.is_empty() || told.may_end.is_some(),
                    "seed {seed}: session {idx} is listed, and is not there"
                );
                for key in &live {
                    let is_known = told.owned.is_some() && *key == told.key;
                    let is_listed = listed.contains(&idx);
                    assert!(
                        is_listed || !is_known,
                        "seed {seed}: session {idx} is on no list"
                    );
                    orphans += u64::from(!is_listed);
                }
                n_live += usize::from(!live.is_empty() && listed.contains(&idx));
            }
            assert!(
                cap.is_none_or(|cap| n_live <= cap.limit()),
                "seed {seed}: above the cap"
            );

            let _ = in_the_end(|| mirror.revoke_user(&user, None)).await;
            self.network.lock().flush();
            // A login that nobody was told of may only now come to be.
            for key in in_the_end(|| mirror.by_user(&user)).await {
                let books = self.books.borrow();
                let told = &books.told[books.by_key[&key]];
                assert!(
                    told.owned.is_none(),
                    "seed {seed}: user {number} was logged out"
                );
            }
            let known: Vec<_> = self.books.borrow().of_user(number);
            for idx in known {
                let (owned, key) = {
                    let told = &self.books.borrow().told[idx];
                    (told.owned, told.key)
                };
                let live = self.live(idx).await;
                assert!(
                    owned.is_none() || !live.contains(&key),
                    "seed {seed}: session {idx} was logged out everywhere"
                );
            }
        }
        self.books.borrow_mut().outcome.orphans += orphans;
    }

    /// The keys under which a session lives.
    async fn live(&self, idx: usize) -> Vec<SessionKey> {
        let keys = self.books.borrow().told[idx].keys.clone();
        let mut live = Vec::new();
        for key in &keys {
            let entry = in_the_end(|| self.mirrors[0].load(key, Slide::No)).await;
            let entry = entry.filter(|entry| entry.superseded_by.is_none());
            live.extend(entry.map(|_| *key));
        }
        live
    }
}

/// Again until there is an answer: also a network without faults has calls that nobody waits for.
async fn in_the_end<T, E, F: Future<Output = Result<T, E>>>(call: impl Fn() -> F) -> T {
    loop {
        if let Ok(answer) = call().await {
            return answer;
        }
    }
}

struct Client<'a> {
    mirror: &'a Mirror,
    rng: Rng,
    clock: &'a ManualClock,
    books: Rc<RefCell<Books>>,
}

impl Client<'_> {
    async fn work(mut self) {
        for _ in 0..10 {
            match self.rng.below(20) {
                0..6 => self.login().await,
                6..14 => self.go_on().await,
                14..16 => self.list().await,
                _ => self.log_out_everywhere().await,
            }
        }
    }

    fn key(&mut self) -> SessionKey {
        new_key(&mut self.rng)
    }

    async fn login(&mut self) {
        let number = self.rng.below(3) as usize;
        let key = self.key();
        let owner = Owner::User {
            user: user(number),
            cap: CAPS[number],
        };
        let record = || Record::new("x", Lifetime::new(HOUR, HOUR)).with_owner(owner);
        let visitor = self.rng.chance(0.5).then(|| self.key());
        if let Some(before) = visitor {
            let visits = Record::new("a", Lifetime::new(HOUR, HOUR));
            if self.mirror.create(&before, visits).await.is_err() {
                return;
            }
        }
        let idx = self.begin_login(number, key);
        let made = match visitor {
            None => match self.mirror.create(&key, record()).await {
                Ok(CreateOutcome::Created(_)) => Some(true),
                Ok(CreateOutcome::Collision | CreateOutcome::AtCap) => Some(false),
                Err(_) => None,
            },
            // A caller that was told of a failure tries again, by the same new key.
            Some(before) => self.rotate(before, key, record()).await.map(|moved| {
                matches!(moved, RotateOutcome::Rotated(_))
                    || moved == RotateOutcome::Superseded(key)
            }),
        };
        let mut books = self.books.borrow_mut();
        let now = books.tick();
        books.logging_in[number] -= 1;
        match made {
            Some(true) => {
                if books.is_excused(idx, self.clock.now()) {
                    books.may_end(idx, now);
                }
                books.told[idx].owned = Some(now);
                books.told[idx].moves = None;
                books.outcome.logins += 1;
            }
            Some(false) => {
                books.has_ended(idx, now);
                books.outcome.refused += 1;
            }
            None => books.outcome.unknown += 1,
        }
    }

    fn begin_login(&self, number: usize, key: SessionKey) -> usize {
        let mut books = self.books.borrow_mut();
        let now = books.tick();
        let idx = books.told.len();
        books.told.push(Told {
            user: number,
            keys: vec![key],
            key,
            owned: None,
            may_end: None,
            ended: None,
            moves: Some(self.clock.now()),
        });
        books.by_key.insert(key, idx);
        let evicts = CAPS[number].is_some_and(|cap| cap == Cap::evict_oldest(2));
        if books.revoking[number] > 0 || evicts && books.logging_in[number] > 0 {
            books.may_end(idx, now);
        }
        if evicts {
            for other in books.of_user(number) {
                if other != idx {
                    books.may_end(other, now);
                }
            }
        }
        books.logging_in[number] += 1;
        idx
    }

    /// Rotates, and again if nobody knows what came of it.
    async fn rotate(
        &mut self,
        old: SessionKey,
        new: SessionKey,
        record: Record,
    ) -> Option<RotateOutcome> {
        let entry = self.mirror.load(&old, Slide::No).await.ok()??;
        if entry.superseded_by.is_some() {
            return None;
        }
        for _ in 0..3 {
            let again = record.clone();
            let moved = self.mirror.rotate(&old, &new, entry.version, again, HOUR);
            if let Ok(moved) = moved.await {
                return Some(moved);
            }
        }
        None
    }

    /// One of the sessions that somebody was told of.
    fn any(&mut self) -> Option<(usize, SessionKey)> {
        let books = self.books.borrow();
        let owned = (0..books.told.len()).filter(|&idx| books.told[idx].owned.is_some());
        let owned: Vec<usize> = owned.collect();
        if owned.is_empty() {
            return None;
        }
        let idx = owned[self.rng.below(owned.len() as u64) as usize];
        Some((idx, books.told[idx].key))
    }

    fn tick(&self) -> u64 {
        self.books.borrow_mut().tick()
    }

    async fn go_on(&mut self) {
        let Some((idx, key)) = self.any() else { return };
        let began = self.tick();
        let Ok(loaded) = self.mirror.load(&key, Slide::to(HOUR * 2)).await else {
            return;
        };
        match loaded {
            None => {
                let books = self.books.borrow();
                assert!(
                    books.is_excused(idx, self.clock.now()),
                    "session {idx} is lost"
                );
            }
            Some(entry) if entry.superseded_by.is_none() => {
                self.books.borrow().is_alive(idx, began, "seen");
                assert_eq!(entry.owner, Some(user(self.books.borrow().told[idx].user)));
                match self.rng.below(8) {
                    0..3 => self.write(idx, key, entry).await,
                    3..6 => self.step_up(idx, key).await,
                    6 => self.log_out(idx, key).await,
                    _ => {}
                }
            }
            Some(_) => {}
        }
    }

    async fn write(&mut self, idx: usize, key: SessionKey, entry: Entry) {
        let began = self.tick();
        let record = Record::new("y", Lifetime::new(HOUR, HOUR));
        let written = self.mirror.commit(&key, entry.version, record).await;
        let mut books = self.books.borrow_mut();
        match written {
            Ok(CommitOutcome::Committed(_)) => books.is_alive(idx, began, "written"),
            Ok(CommitOutcome::Conflict(_)) => books.is_alive(idx, began, "in conflict"),
            Ok(CommitOutcome::Gone) => {
                assert!(
                    books.is_excused(idx, self.clock.now()),
                    "session {idx} is gone"
                );
                books.outcome.told += 1;
            }
            Ok(CommitOutcome::Superseded(_)) => {}
            Err(_) => books.outcome.unknown += 1,
        }
    }

    async fn step_up(&mut self, idx: usize, key: SessionKey) {
        let new = self.key();
        let began = {
            let mut books = self.books.borrow_mut();
            books.by_key.insert(new, idx);
            let told = &mut books.told[idx];
            told.keys.push(new);
            told.moves.get_or_insert(self.clock.now());
            books.tick()
        };
        let record = Record::new("z", Lifetime::new(HOUR, HOUR));
        let moved = self.rotate(key, new, record).await;
        let mut books = self.books.borrow_mut();
        let now = books.tick();
        match moved {
            Some(RotateOutcome::Rotated(_)) => {
                books.is_alive(idx, began, "moved");
                books.told[idx].key = new;
            }
            Some(RotateOutcome::Superseded(by)) if by == new => books.told[idx].key = new,
            Some(RotateOutcome::Gone) => {
                assert!(
                    books.is_excused(idx, self.clock.now()),
                    "session {idx} is gone"
                );
                books.has_ended(idx, now);
                books.may_end(idx, now);
                books.outcome.told += 1;
            }
            Some(
                RotateOutcome::Conflict(_)
                | RotateOutcome::Superseded(_)
                | RotateOutcome::Collision,
            ) => {}
            Some(RotateOutcome::AtCap) => panic!("the session is the user's already"),
            None => books.outcome.unknown += 1,
        }
    }

    async fn log_out(&mut self, idx: usize, key: SessionKey) {
        {
            let mut books = self.books.borrow_mut();
            let now = books.tick();
            books.may_end(idx, now);
        }
        if self.mirror.delete(&key).await.is_ok() {
            let mut books = self.books.borrow_mut();
            let now = books.tick();
            books.has_ended(idx, now);
        }
    }

    async fn list(&mut self) {
        let number = self.rng.below(3) as usize;
        let began = self.tick();
        let Ok(listed) = self.mirror.by_user(&user(number)).await else {
            return;
        };
        let mut books = self.books.borrow_mut();
        books.outcome.listed += 1;
        let keys: BTreeSet<_> = listed.iter().collect();
        assert_eq!(keys.len(), listed.len(), "listed twice");
        let mut sessions = BTreeSet::new();
        for key in &listed {
            let idx = books.by_key[key];
            assert_eq!(books.told[idx].user, number);
            books.is_alive(idx, began, "listed");
            sessions.insert(idx);
        }
        let limit = CAPS[number].map_or(usize::MAX, |cap| cap.limit());
        assert!(sessions.len() <= limit, "{} sessions", sessions.len());
        for idx in books.of_user(number) {
            let told = &books.told[idx];
            let must_be = told.owned.is_some_and(|owned| owned <= began)
                && !books.is_excused(idx, self.clock.now());
            assert!(
                sessions.contains(&idx) || !must_be,
                "session {idx} is not listed"
            );
        }
    }

    async fn log_out_everywhere(&mut self) {
        let number = self.rng.below(3) as usize;
        let spared = self.any().filter(|_| self.rng.chance(0.4));
        let spared = spared.filter(|(idx, _)| self.books.borrow().told[*idx].user == number);
        let is_spared = |idx| spared.is_some_and(|(spared, _)| spared == idx);
        let began = {
            let mut books = self.books.borrow_mut();
            let now = books.tick();
            books.revoking[number] += 1;
            for idx in books.of_user(number) {
                if !is_spared(idx) {
                    books.may_end(idx, now);
                }
            }
            now
        };
        let except = spared.as_ref().map(|(_, key)| key);
        let revoked = self.mirror.revoke_user(&user(number), except).await;
        let mut books = self.books.borrow_mut();
        let now = books.tick();
        books.revoking[number] -= 1;
        if revoked.is_err() {
            books.outcome.unknown += 1;
            return;
        }
        books.outcome.revoked += 1;
        for idx in books.of_user(number) {
            let had = books.told[idx].owned.is_some_and(|owned| owned <= began);
            if had && !is_spared(idx) {
                books.outcome.ended += u64::from(books.told[idx].ended.is_none());
                books.has_ended(idx, now);
            }
        }
    }
}
