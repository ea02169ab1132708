//! What is below a session library: the client without a session, and the map without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dashmap::DashMap;
use purlin_core::{Clock, SystemClock, Tick};
use redis::aio::MultiplexedConnection;

use super::document::json_len;
use super::rounds::Contender;

/// Half an hour.
const IDLE_MS: u64 = 30 * 60 * 1000;

/// One connection of the redis crate that all tasks of a thread share: `GET`, `GETEX`, `SET`.
pub(super) struct BareRedis {
    connection: MultiplexedConnection,
    value: Vec<u8>,
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Contender for BareRedis {
    const NAME: &'static str = "redis crate, GET, GETEX, SET";
    type Shared = String;
    type Session = String;

    async fn connect(url: String) -> Self {
        let client = redis::Client::open(url).expect("a good address");
        let connection = client.get_multiplexed_async_connection().await;
        BareRedis {
            connection: connection.expect("the server is there"),
            value: vec![b'x'; json_len()],
        }
    }
    async fn create(&self) -> String {
        let key = format!("bare:{:032}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut command = redis::cmd("SET");
        command
            .arg(&key)
            .arg(&self.value)
            .arg("NX")
            .arg("PX")
            .arg(IDLE_MS);
        let done: Option<String> = command
            .query_async(&mut self.connection.clone())
            .await
            .expect("the server answers");
        assert_eq!(done.as_deref(), Some("OK"));
        key
    }
    async fn load(&self, key: &String) {
        let value: Vec<u8> = redis::cmd("GET")
            .arg(key)
            .query_async(&mut self.connection.clone())
            .await
            .expect("the server answers");
        assert_eq!(value.len(), self.value.len());
    }
    async fn load_and_move(&self, key: &String) {
        let value: Vec<u8> = redis::cmd("GETEX")
            .arg(key)
            .arg("PX")
            .arg(IDLE_MS)
            .query_async(&mut self.connection.clone())
            .await
            .expect("the server answers");
        assert_eq!(value.len(), self.value.len());
    }
    async fn save(&self, key: &mut String, _: u64) {
        let mut command = redis::cmd("SET");
        command.arg(&*key).arg(&self.value).arg("PX").arg(IDLE_MS);
        command
            .exec_async(&mut self.connection.clone())
            .await
            .expect("the server answers");
    }
}

/// A map of shared bytes and deadlines.
pub(super) struct BareMap {
    map: SharedMap,
    clock: SystemClock,
    value: Bytes,
}

type SharedMap = Arc<DashMap<i128, (Tick, Bytes)>>;

impl BareMap {
    fn after_half_an_hour(&self) -> Tick {
        self.clock
            .now()
            .after(std::time::Duration::from_millis(IDLE_MS))
    }
}

impl Contender for BareMap {
    const NAME: &'static str = "dashmap of shared bytes";
    type Shared = SharedMap;
    type Session = i128;

    async fn connect(map: Self::Shared) -> Self {
        BareMap {
            map,
            clock: SystemClock::new(),
            value: vec![b'x'; json_len()].into(),
        }
    }
    async fn create(&self) -> i128 {
        // Odd multiples spread the keys as random ones would be.
        let key = i128::from(NEXT.fetch_add(1, Ordering::Relaxed))
            .wrapping_mul(0x1e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.map.insert(
            key,
            (
                self.after_half_an_hour(),
                Bytes::copy_from_slice(&self.value),
            ),
        );
        key
    }
    async fn load(&self, key: &i128) {
        let now = self.clock.now();
        let value = self
            .map
            .get(key)
            .filter(|entry| entry.0 > now)
            .map(|entry| entry.1.clone());
        assert_eq!(value.expect("it lives").len(), self.value.len());
    }
    async fn load_and_move(&self, key: &i128) {
        let until = self.after_half_an_hour();
        let mut entry = self.map.get_mut(key).expect("it lives");
        entry.0 = until;
        assert_eq!(entry.1.clone().len(), self.value.len());
    }
    async fn save(&self, key: &mut i128, _: u64) {
        let value = (
            self.after_half_an_hour(),
            Bytes::copy_from_slice(&self.value),
        );
        self.map.insert(*key, value);
    }
}
