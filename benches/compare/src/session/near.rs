//! Sessions kept close to the process, over the memory store: a load is a hit but for the first.

use std::future::pending;
use std::sync::Arc;

use purlin_session_store::{Invalidation, Invalidations, MemoryStore, Near, StoreError};

use super::ours::{self, BareStore};
use super::rounds::Contender;

type Kept = Near<Arc<MemoryStore>>;

/// A near cache that is told of changes, of which there are none by others.
pub(super) struct NearHit(BareStore<Arc<Kept>>);

pub(super) fn shared() -> Arc<Kept> {
    Arc::new(Near::builder().build(ours::memory_store()))
}

struct Nothing;

impl Invalidations for Nothing {
    async fn next(&mut self) -> Result<Invalidation, StoreError> {
        pending().await
    }
}

impl Contender for NearHit {
    const NAME: &'static str = "purlin, near cache by key";
    type Shared = Arc<Kept>;
    type Session = <BareStore<Arc<Kept>> as Contender>::Session;

    async fn connect(near: Self::Shared) -> Self {
        let followed = Arc::clone(&near);
        tokio::task::spawn_local(async move { followed.follow(Nothing).await });
        NearHit(BareStore::connect(near).await)
    }
    async fn create(&self) -> Self::Session {
        self.0.create().await
    }
    async fn load(&self, session: &Self::Session) {
        self.0.load(session).await;
    }
    async fn load_and_move(&self, session: &Self::Session) {
        self.0.load_and_move(session).await;
    }
    async fn save(&self, session: &mut Self::Session, value: u64) {
        self.0.save(session, value).await;
    }
}
