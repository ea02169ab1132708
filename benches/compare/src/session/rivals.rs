//! The libraries that people use today, by their stores, as their middleware drives these.

use std::collections::HashMap;

use actix_session::storage::{
    RedisSessionStore as ActixRedis, SessionKey as ActixKey, SessionStore as ActixStore,
};
use serde_json::Value;
use tower_sessions::cookie::time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::{MemoryStore, SessionStore};
use tower_sessions_moka_store::MokaStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::clients::Client;
use tower_sessions_redis_store::fred::interfaces::ClientLike;
use tower_sessions_redis_store::fred::types::config::Config;

use super::document::{READ, fields};
use super::rounds::Contender;

/// A store of tower-sessions.
pub(super) struct TowerSessions<S> {
    pub(super) store: S,
    document: HashMap<String, Value>,
}

impl<S> TowerSessions<S> {
    fn new(store: S) -> Self {
        TowerSessions {
            store,
            document: document(),
        }
    }
}

pub(super) type TowerMemory = TowerSessions<MemoryStore>;
pub(super) type TowerMoka = TowerSessions<MokaStore>;
pub(super) type TowerRedis = TowerSessions<RedisStore<Client>>;

/// The document as tower-sessions holds it.
pub(super) fn document() -> HashMap<String, Value> {
    let owned = fields().into_iter();
    owned
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What its middleware sets by default is two weeks.
fn half_an_hour_from_now() -> OffsetDateTime {
    OffsetDateTime::now_utc() + Duration::minutes(30)
}

pub(super) fn tower_record(data: HashMap<String, Value>) -> Record {
    Record {
        id: Id::default(),
        data,
        expiry_date: half_an_hour_from_now(),
    }
}

impl<S: SessionStore> TowerSessions<S> {
    async fn new_record(&self) -> Record {
        let mut record = tower_record(self.document.clone());
        self.store
            .create(&mut record)
            .await
            .expect("the store answers");
        record
    }

    async fn loaded(&self, id: &Id) -> Record {
        let record = self.store.load(id).await.expect("the store answers");
        let record = record.expect("it lives");
        assert!(record.data[READ].is_u64());
        record
    }

    async fn load_and_save(&self, id: &Id) {
        let mut record = self.loaded(id).await;
        record.expiry_date = half_an_hour_from_now();
        self.store.save(&record).await.expect("the store answers");
    }

    async fn save_record(&self, record: &mut Record, value: u64) {
        record.data.insert(READ.to_owned(), value.into());
        record.expiry_date = half_an_hour_from_now();
        self.store.save(record).await.expect("the store answers");
    }
}

/// The client of tower-sessions' Redis store.
pub(super) async fn fred(url: &str) -> Client {
    let config = Config::from_url(url).expect("a good address");
    let client = Client::new(config, None, None, None);
    client.init().await.expect("the server is there");
    client
}

macro_rules! tower_contender {
    ($contender:ty, $name:literal, $shared:ty, $connect:expr) => {
        impl Contender for $contender {
            const NAME: &'static str = $name;
            type Shared = $shared;
            type Session = Record;

            async fn connect(shared: $shared) -> Self {
                let connect = $connect;
                TowerSessions::new(connect(shared).await)
            }
            async fn create(&self) -> Record {
                self.new_record().await
            }
            async fn load(&self, record: &Record) {
                self.loaded(&record.id).await;
            }
            async fn load_and_move(&self, record: &Record) {
                self.load_and_save(&record.id).await;
            }
            async fn save(&self, record: &mut Record, value: u64) {
                self.save_record(record, value).await;
            }
        }
    };
}

tower_contender!(
    TowerMemory,
    "tower-sessions 0.14, memory",
    MemoryStore,
    |store| async { store }
);
tower_contender!(
    TowerMoka,
    "tower-sessions 0.14, moka",
    MokaStore,
    |store| async { store }
);
tower_contender!(
    TowerRedis,
    "tower-sessions 0.14, Redis (fred)",
    String,
    |url: String| async move { RedisStore::new(fred(&url).await) }
);

/// The Redis store of actix-session.
pub(super) struct ActixSession {
    pub(super) store: ActixRedis,
    document: HashMap<String, String>,
}

/// A session, and the key that its cookie has.
pub(super) struct ActixVisit {
    key: Option<ActixKey>,
    state: HashMap<String, String>,
}

pub(super) fn actix_state() -> HashMap<String, String> {
    fields()
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_string()))
        .collect()
}

impl ActixSession {
    async fn loaded(&self, visit: &ActixVisit) {
        let key = visit.key.as_ref().expect("a session has a key");
        let state = self.store.load(key).await.expect("the store answers");
        let state = state.expect("it lives");
        serde_json::from_str::<u64>(&state[READ]).expect("a number");
    }
}

impl Contender for ActixSession {
    const NAME: &'static str = "actix-session 0.11, Redis";
    type Shared = String;
    type Session = ActixVisit;

    async fn connect(url: String) -> Self {
        let store = ActixRedis::new(url).await;
        ActixSession {
            store: store.expect("the server is there"),
            document: actix_state(),
        }
    }
    async fn create(&self) -> ActixVisit {
        let state = self.document.clone();
        let key = self.store.save(state.clone(), &Duration::minutes(30)).await;
        ActixVisit {
            key: Some(key.expect("the store answers")),
            state,
        }
    }
    async fn load(&self, visit: &ActixVisit) {
        self.loaded(visit).await;
    }
    async fn load_and_move(&self, visit: &ActixVisit) {
        self.loaded(visit).await;
        let key = visit.key.as_ref().expect("a session has a key");
        let moved = self.store.update_ttl(key, &Duration::minutes(30)).await;
        moved.expect("the store answers");
    }
    async fn save(&self, visit: &mut ActixVisit, value: u64) {
        visit.state.insert(READ.to_owned(), value.to_string());
        let key = visit.key.take().expect("a session has a key");
        let key = self
            .store
            .update(key, visit.state.clone(), &Duration::minutes(30))
            .await;
        visit.key = Some(key.expect("the store answers"));
    }
}
