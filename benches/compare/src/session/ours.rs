//! Purlin's stores as contenders.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use purlin_redis::RedisSessionStore;
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Lifetime, MemoryStore, Policy, Record, Saved, Session, SessionId,
    SessionKey, SessionStore, Sessions, Slide, Version,
};

use serde_json::Value;

use super::document::{READ, fields, json_len};
use super::rounds::Contender;

/// [`Sessions`] over a store.
pub(super) struct Ours<S> {
    sessions: Arc<Sessions<S>>,
    document: Vec<(&'static str, Value)>,
}

/// A session, and the id that the next request comes with.
pub(super) struct Visit {
    id: SessionId,
    session: Session,
}

impl<S: SessionStore> Ours<S> {
    async fn new_visit(&self) -> Visit {
        let mut session = Session::absent();
        for (name, value) in &self.document {
            session.set(name, value).expect("a short name");
        }
        let saved = self.sessions.commit(&mut session).await;
        assert_eq!(saved.expect("the store has room"), Saved::Created);
        let id = session.id().expect("just created").clone();
        Visit { id, session }
    }

    async fn open(&self, visit: &Visit) {
        let session = self.sessions.open(visit.id.clone()).await;
        let session = session.expect("the store answers");
        assert!(session.get::<u64>(READ).expect("a number").is_some());
    }

    /// By the store's own call, since [`Sessions::open`] moves the deadline only where that gains something.
    async fn load_and_move(&self, visit: &Visit) {
        let slide = Slide::To {
            idle: Duration::from_secs(30 * 60),
            min_gain: Duration::ZERO,
        };
        let entry = self.sessions.store().load(&visit.id.key(), slide).await;
        let entry = entry.expect("the store answers").expect("it lives");
        assert!(entry.payload.len() > 100);
    }

    async fn commit(&self, visit: &mut Visit, value: u64) {
        // Never what is there already, which would be no change.
        let value =
            value + u64::from(visit.session.get::<u64>(READ).expect("a number") == Some(value));
        visit.session.set(READ, &value).expect("a short name");
        let saved = self.sessions.commit(&mut visit.session).await;
        assert_eq!(saved.expect("nobody else writes"), Saved::Written);
    }
}

macro_rules! contender {
    ($store:ty, $name:literal, $shared:ty, $connect:expr) => {
        impl Contender for Ours<$store> {
            const NAME: &'static str = $name;
            type Shared = $shared;
            type Session = Visit;

            async fn connect(shared: $shared) -> Self {
                let connect: fn($shared) -> Arc<Sessions<$store>> = $connect;
                Ours {
                    sessions: connect(shared),
                    document: fields(),
                }
            }
            async fn create(&self) -> Visit {
                self.new_visit().await
            }
            async fn load(&self, visit: &Visit) {
                self.open(visit).await;
            }
            async fn load_and_move(&self, visit: &Visit) {
                Ours::load_and_move(self, visit).await;
            }
            async fn save(&self, visit: &mut Visit, value: u64) {
                self.commit(visit, value).await;
            }
        }
    };
}

contender!(RedisSessionStore, "purlin, Redis", String, |url| {
    let store = RedisSessionStore::builder()
        .connect(&url)
        .expect("a good address");
    Arc::new(Sessions::new(store, Policy::default()))
});
contender!(
    Arc<MemoryStore>,
    "purlin, memory",
    Arc<Sessions<Arc<MemoryStore>>>,
    |shared| shared
);

/// A memory store for a comparison: larger than any of them needs.
pub(super) fn memory_store() -> Arc<MemoryStore> {
    let store = MemoryStore::builder()
        .max_entries(4_000_000)
        .max_bytes(16 << 30)
        .build();
    Arc::new(store)
}

/// Sessions over such a store.
pub(super) fn memory() -> Arc<Sessions<Arc<MemoryStore>>> {
    Arc::new(Sessions::new(memory_store(), Policy::default()))
}

/// A store by itself, asked by key: what is left when the session around it costs nothing.
pub(super) struct BareStore<S = Arc<MemoryStore>> {
    store: S,
    payload: Bytes,
}

impl<S: SessionStore> BareStore<S> {
    fn record(&self) -> Record {
        let lifetime = Lifetime::new(
            Duration::from_secs(30 * 60),
            Duration::from_secs(12 * 60 * 60),
        );
        // As a session writes it: bytes of its own.
        Record::new(Bytes::copy_from_slice(&self.payload), lifetime)
    }

    async fn loaded(&self, key: &SessionKey, slide: Slide) {
        let entry = self.store.load(key, slide).await;
        let entry = entry.expect("the store answers").expect("it lives");
        assert_eq!(entry.payload.len(), self.payload.len());
    }
}

impl<S: SessionStore + Clone + 'static> Contender for BareStore<S> {
    const NAME: &'static str = "purlin, memory, the store by key";
    type Shared = S;
    type Session = (SessionKey, Version);

    async fn connect(store: Self::Shared) -> Self {
        BareStore {
            store,
            payload: vec![b'x'; json_len()].into(),
        }
    }
    async fn create(&self) -> Self::Session {
        let key = SessionId::random().expect("there is entropy").key();
        let created = self.store.create(&key, self.record()).await;
        let created = created.expect("the store has room");
        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
        (key, Version::FIRST)
    }
    async fn load(&self, (key, _): &Self::Session) {
        self.loaded(key, Slide::No).await;
    }
    async fn load_and_move(&self, (key, _): &Self::Session) {
        let slide = Slide::To {
            idle: Duration::from_secs(30 * 60),
            min_gain: Duration::ZERO,
        };
        self.loaded(key, slide).await;
    }
    async fn save(&self, (key, version): &mut Self::Session, _: u64) {
        let outcome = self.store.commit(key, *version, self.record()).await;
        *version = version.next();
        let outcome = outcome.expect("the store has room");
        assert_eq!(outcome, CommitOutcome::Committed(*version));
    }
}
