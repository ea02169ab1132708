//! A network under a seed: calls wait and overtake each other, get lost on either way, and arrive after their caller has
//! given up.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::{ManualClock, NodeId, Rng};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, ErrorKind, MemoryStore, Mirrored, Record, RotateOutcome,
    SessionId, SessionKey, SessionStore, Slide, StoreError, UserKey, Version,
};

use crate::Turned;

/// A mirror as one process has it.
pub(crate) type Mirror = Mirrored<Remote, Turned>;

/// The stores, and what is under way to and from them.
pub(crate) struct Network {
    rng: Rng,
    parcels: Vec<Parcel>,
    /// Calls whose callers have given up, and which arrive all the same, much later.
    late: Vec<Parcel>,
    /// Whether what is late waits for `flush`.
    pub(crate) holds_late: bool,
    /// Which stores neither hear nor answer.
    pub(crate) down: Vec<bool>,
    /// Which clients and stores do not reach each other.
    pub(crate) cut: Vec<(usize, usize)>,
    pub(crate) arrived_late: u64,
}

struct Parcel {
    client: usize,
    store: usize,
    /// Whether it is on its way back.
    answers: bool,
    call: Box<dyn Call>,
}

/// A network that clients share.
pub(crate) type Shared = Arc<Mutex<Network>>;

impl Network {
    pub(crate) fn new(rng: Rng, n_stores: usize) -> Shared {
        Arc::new(Mutex::new(Network {
            rng,
            parcels: Vec::new(),
            late: Vec::new(),
            holds_late: false,
            down: vec![false; n_stores],
            cut: Vec::new(),
            arrived_late: 0,
        }))
    }

    /// All lines are whole and all stores up; what is late stays late.
    pub(crate) fn heal(&mut self) {
        self.down.fill(false);
        self.cut.clear();
    }

    /// Another minority falls silent, or none, and other lines are cut.
    pub(crate) fn turn(&mut self, n_clients: usize) {
        self.heal();
        let n_stores = self.down.len() as u64;
        for _ in 0..self.rng.below(n_stores / 2 + 1) {
            self.down[self.rng.below(n_stores) as usize] = true;
        }
        for _ in 0..self.rng.below(3) {
            let client = self.rng.below(n_clients as u64) as usize;
            self.cut.push((client, self.rng.below(n_stores) as usize));
        }
    }

    /// Something happens to one of the calls under way.
    pub(crate) fn step(&mut self) {
        if !self.holds_late && !self.late.is_empty() && self.rng.chance(0.02) {
            let idx = self.rng.below(self.late.len() as u64) as usize;
            let mut parcel = self.late.swap_remove(idx);
            if !self.down[parcel.store] {
                parcel.call.arrive();
                self.arrived_late += 1;
            }
        }
        if self.parcels.is_empty() {
            return;
        }
        let idx = self.rng.below(self.parcels.len() as u64) as usize;
        let Parcel {
            client,
            store,
            answers,
            ..
        } = self.parcels[idx];
        let is_lost = self.down[store] || self.cut.contains(&(client, store));
        let kinds = [ErrorKind::Unavailable, ErrorKind::Interrupted];
        match (answers, is_lost) {
            (false, true) => {
                let kind = kinds[self.rng.below(2) as usize];
                self.parcels.swap_remove(idx).call.fail(kind);
            }
            (false, false) if self.rng.chance(0.02) => {
                // The caller does not wait any longer.
                let mut parcel = self.parcels.swap_remove(idx);
                parcel.call.fail(ErrorKind::Interrupted);
                self.late.push(parcel);
            }
            (false, false) => {
                let parcel = &mut self.parcels[idx];
                parcel.call.arrive();
                parcel.answers = true;
            }
            (true, true) => self
                .parcels
                .swap_remove(idx)
                .call
                .fail(ErrorKind::Interrupted),
            (true, false) => self.parcels.swap_remove(idx).call.answer(),
        }
    }

    /// What is late arrives now.
    pub(crate) fn flush(&mut self) {
        for mut parcel in std::mem::take(&mut self.late) {
            parcel.call.arrive();
            self.arrived_late += 1;
        }
    }
}

/// One call of a store, on its way.
trait Call: Send {
    /// It is done, by the store.
    fn arrive(&mut self);
    /// The caller hears what came of it.
    fn answer(&mut self);
    /// The caller hears that it failed.
    fn fail(&mut self, kind: ErrorKind);
}

type Slot<T> = Arc<Mutex<Option<Result<T, StoreError>>>>;

struct Calling<T, F> {
    call: Option<F>,
    answer: Option<Result<T, StoreError>>,
    slot: Slot<T>,
}

impl<T: Send, F: FnOnce() -> Result<T, StoreError> + Send> Call for Calling<T, F> {
    fn arrive(&mut self) {
        self.answer = self.call.take().map(|call| call());
    }

    fn answer(&mut self) {
        *self.slot.lock() = self.answer.take();
    }

    fn fail(&mut self, kind: ErrorKind) {
        *self.slot.lock() = Some(Err(StoreError::new(kind)));
    }
}

/// A store as a client has it, at the other end of the network.
pub(crate) struct Remote {
    client: usize,
    id: usize,
    store: Arc<MemoryStore<ManualClock>>,
    network: Shared,
}

impl Remote {
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&MemoryStore<ManualClock>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (slot, store) = (Slot::default(), Arc::clone(&self.store));
        let calling = Calling {
            call: Some(move || call(&store)),
            answer: None,
            slot: Arc::clone(&slot),
        };
        self.network.lock().parcels.push(Parcel {
            client: self.client,
            store: self.id,
            answers: false,
            call: Box::new(calling),
        });
        // Whoever runs the world polls without being woken.
        poll_fn(|_| match slot.lock().take() {
            Some(answer) => Poll::Ready(answer),
            None => Poll::Pending,
        })
        .await
    }
}

/// The memory store answers at the first poll.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the memory store waits for nothing"),
    }
}

impl SessionStore for Remote {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        let key = *key;
        self.call(move |store| now(store.create(&key, record)))
            .await
    }
    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let key = *key;
        self.call(move |store| now(store.load(&key, slide))).await
    }
    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let key = *key;
        self.call(move |store| now(store.commit(&key, expected, record)))
            .await
    }
    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let (old, new) = (*old, *new);
        self.call(move |store| now(store.rotate(&old, &new, expected, record, grace)))
            .await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        let key = *key;
        self.call(move |store| now(store.delete(&key))).await
    }
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let user = *user;
        self.call(move |store| now(store.by_user(&user))).await
    }
}

/// A mirror for each client, as different processes have, with each session in `copies` of the stores.
pub(crate) fn mirrors(
    network: &Shared,
    clock: &ManualClock,
    n_clients: usize,
    copies: usize,
    seed: u64,
) -> Vec<Mirror> {
    let store = |_| {
        let store = MemoryStore::builder().clock(clock.clone()).shards(1);
        Arc::new(store.build())
    };
    let n_stores = network.lock().down.len();
    let stores: Vec<_> = (0..n_stores).map(store).collect();
    let mirror = |client| {
        let remotes = stores.iter().enumerate().map(|(id, store)| {
            let remote = Remote {
                client,
                id,
                store: Arc::clone(store),
                network: Arc::clone(network),
            };
            (NodeId(id as u64), remote)
        });
        let mirror = Mirrored::new(Turned(n_stores as u64), remotes, copies);
        mirror.unwrap().seed(seed * 100 + client as u64)
    };
    (0..n_clients).map(mirror).collect()
}

/// Runs to its end what has the network to itself.
pub(crate) fn finish<T>(network: &Shared, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        network.lock().step();
    }
    panic!("it does not come to an end");
}

pub(crate) fn new_key(rng: &mut Rng) -> SessionKey {
    let mut bytes = [0; 32];
    bytes
        .chunks_exact_mut(8)
        .for_each(|part| part.copy_from_slice(&rng.next_u64().to_le_bytes()));
    SessionId::from_secret_bytes(bytes).key()
}
