//! The suite against the memory store, and against stores that break their word.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purlin_core::{Clock, ManualClock};
use purlin_session_store::conformance::{Model, Subject, Violation, check, walk};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, DynSessionStore, Entry, MemoryStore, Owner, Record,
    RotateOutcome, SessionKey, SessionStore, Slide, StoreError, UserKey, Version,
};

const RETENTION: Duration = Duration::from_secs(300);

struct Under<S> {
    store: S,
    clock: ManualClock,
}

impl<S: SessionStore> Subject for Under<S> {
    type Store = S;
    fn store(&self) -> &S {
        &self.store
    }
    fn retention(&self) -> Duration {
        RETENTION
    }
    fn unit(&self) -> Duration {
        Duration::from_millis(1)
    }
    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

fn memory(shards: usize) -> Under<MemoryStore<ManualClock>> {
    let clock = ManualClock::new();
    let store = MemoryStore::builder()
        .clock(clock.clone())
        .shards(shards)
        .retention(RETENTION)
        .build();
    Under { store, clock }
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract_with_one_shard_and_with_many() {
    for shards in [1, 64] {
        let report = check(&memory(shards)).await.unwrap();
        assert_eq!(report.interleavings, 2 * 16 * 16 * 10);
        assert_eq!(report.calls, report.interleavings * 6);
        assert_eq!(report.promises, 26);
    }
}

/// The other stores take this walk too.
#[tokio::test]
async fn the_memory_store_walks_with_the_model() {
    for seed in 0..40 {
        let verdict = walk(&memory(4), seed, 80).await;
        assert!(verdict.is_ok(), "seed {seed}: {verdict:?}");
    }
}

#[tokio::test]
async fn the_contract_holds_through_the_object() {
    let Under { store, clock } = memory(4);
    let store: Arc<dyn DynSessionStore> = Arc::new(store);
    check(&Under { store, clock }).await.unwrap();
}

/// The model is a store too, so the promises and the model agree with each other.
#[tokio::test]
async fn the_model_keeps_the_contract() {
    let clock = ManualClock::new();
    let store = ModelStore {
        model: Mutex::new(Model::new(RETENTION)),
        clock: clock.clone(),
    };
    check(&Under { store, clock }).await.unwrap();
}

struct ModelStore {
    model: Mutex<Model>,
    clock: ManualClock,
}

impl SessionStore for ModelStore {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        Ok(self
            .model
            .lock()
            .unwrap()
            .create(self.clock.now(), key, record))
    }
    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        Ok(self
            .model
            .lock()
            .unwrap()
            .load(self.clock.now(), key, slide))
    }
    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        Ok(self
            .model
            .lock()
            .unwrap()
            .commit(self.clock.now(), key, expected, record))
    }
    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let mut model = self.model.lock().unwrap();
        Ok(model.rotate(self.clock.now(), old, new, expected, record, grace))
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        Ok(self.model.lock().unwrap().delete(self.clock.now(), key))
    }
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        Ok(self.model.lock().unwrap().by_user(self.clock.now(), user))
    }
}

/// What real stores have been seen to do wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// A commit writes whatever the version.
    LastWriterWins,
    /// A commit to a session that has ended makes it anew.
    Upsert,
    /// A conflict is reported as success.
    SilentLoss,
    /// A deleted key can be created again.
    NoTombstone,
    /// Delete says yes and does nothing.
    DeleteIsALie,
    /// A load without slide slides.
    EveryLoadSlides,
    /// Nothing ever slides.
    NoLoadSlides,
    /// Under the old key one sees what the rotation wrote.
    OldKeySeesTheNew,
    /// A rotation begins the absolute time anew.
    RotationRenews,
    /// A rotation deletes first and creates later, so the old key is dead at once.
    NoGrace,
    /// A commit counts the version up by two.
    VersionSkips,
    /// The payload is cut at a zero byte.
    CStrings,
    /// One session of each user is not listed.
    ListForgetsOne,
    /// One session of each user is listed twice.
    ListRepeats,
    /// Users see the sessions of others.
    ListOfEverybody,
    /// No session is spared.
    RevocationSparesNothing,
    /// Sessions go on after they were revoked.
    RevocationIsALie,
    /// Answers to several loads do not stand beside their questions.
    ManyLoadsSkipTheAbsent,
    /// Nobody counts a user's sessions.
    NoCap,
    /// A commit that names an owner changes it.
    OwnerChangesWithAnyWrite,
}

struct Faulty {
    inner: MemoryStore<ManualClock>,
    fault: Fault,
    /// Sessions that a fault brought into being beside the store.
    beside: Mutex<HashMap<SessionKey, Entry>>,
    listed: Mutex<std::collections::BTreeSet<SessionKey>>,
}

impl SessionStore for Faulty {
    async fn create(
        &self,
        key: &SessionKey,
        mut record: Record,
    ) -> Result<CreateOutcome, StoreError> {
        if self.fault == Fault::CStrings {
            if let Some(end) = record.payload.iter().position(|byte| *byte == 0) {
                record.payload.truncate(end);
            }
        }
        if let (Fault::NoCap, Owner::User { cap, .. }) = (self.fault, &mut record.owner) {
            *cap = None;
        }
        let outcome = self.inner.create(key, record).await?;
        let live = self.inner.load(key, Slide::No).await?.is_some();
        if self.fault == Fault::NoTombstone && !live {
            return Ok(CreateOutcome::Created(Version::FIRST));
        }
        Ok(outcome)
    }

    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        let beside = self.beside.lock().unwrap().get(key).cloned();
        if let (Some(entry), false) = (beside, self.fault == Fault::OwnerChangesWithAnyWrite) {
            return Ok(Some(entry));
        }
        let slide = match self.fault {
            Fault::EveryLoadSlides => Slide::To {
                idle: Duration::MAX,
                min_gain: Duration::ZERO,
            },
            Fault::NoLoadSlides => Slide::No,
            _ => slide,
        };
        let mut entry = self.inner.load(key, slide).await?;
        if let (Some(entry), Some(beside)) = (&mut entry, self.beside.lock().unwrap().get(key)) {
            entry.owner = beside.owner;
        }
        match entry.as_ref().and_then(|entry| entry.superseded_by) {
            Some(new) if self.fault == Fault::OldKeySeesTheNew => {
                self.inner.load(&new, Slide::No).await
            }
            _ => Ok(entry),
        }
    }

    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        let outcome = self.inner.commit(key, expected, record.clone()).await?;
        match (outcome, self.fault) {
            (CommitOutcome::Conflict(entry), Fault::LastWriterWins) => {
                self.inner.commit(key, entry.version, record).await
            }
            (CommitOutcome::Conflict(entry), Fault::SilentLoss) => {
                Ok(CommitOutcome::Committed(entry.version))
            }
            (CommitOutcome::Gone, Fault::Upsert) => {
                let entry = Entry::new(Version::FIRST, record.payload, record.lifetime);
                self.beside.lock().unwrap().insert(*key, entry);
                Ok(CommitOutcome::Committed(Version::FIRST))
            }
            (CommitOutcome::Committed(version), Fault::OwnerChangesWithAnyWrite) => {
                let entry = Entry::new(version, "", record.lifetime);
                let entry = entry.with_owner(record.owner.after(None));
                self.beside.lock().unwrap().insert(*key, entry);
                Ok(CommitOutcome::Committed(version))
            }
            (CommitOutcome::Committed(version), Fault::VersionSkips) => {
                self.inner.commit(key, version, record).await
            }
            (outcome, _) => Ok(outcome),
        }
    }

    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        let grace = if self.fault == Fault::NoGrace {
            Duration::ZERO
        } else {
            grace
        };
        let outcome = self
            .inner
            .rotate(old, new, expected, record.clone(), grace)
            .await?;
        if let (RotateOutcome::Rotated(version), Fault::RotationRenews) = (&outcome, self.fault) {
            let entry = Entry::new(*version, record.payload, record.lifetime);
            self.beside.lock().unwrap().insert(*new, entry);
        }
        Ok(outcome)
    }

    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        if self.fault == Fault::DeleteIsALie {
            return Ok(self.inner.load(key, Slide::No).await?.is_some());
        }
        self.inner.delete(key).await
    }

    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        let mut keys = self.inner.by_user(user).await?;
        match self.fault {
            Fault::ListForgetsOne => drop(keys.pop()),
            Fault::ListRepeats => keys.extend(keys.first().copied()),
            Fault::ListOfEverybody => keys = self.listed_for_all(keys),
            _ => {}
        }
        Ok(keys)
    }

    async fn revoke_user(
        &self,
        user: &UserKey,
        except: Option<&SessionKey>,
    ) -> Result<usize, StoreError> {
        match self.fault {
            Fault::RevocationSparesNothing => self.inner.revoke_user(user, None).await,
            Fault::RevocationIsALie => Ok(self.inner.by_user(user).await?.len()),
            _ => self.inner.revoke_user(user, except).await,
        }
    }

    async fn load_many(&self, keys: &[SessionKey]) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut entries = self.inner.load_many(keys).await?;
        if self.fault == Fault::ManyLoadsSkipTheAbsent {
            entries.retain(Option::is_some);
        }
        Ok(entries)
    }
}

impl Faulty {
    /// One index for all users.
    fn listed_for_all(&self, keys: Vec<SessionKey>) -> Vec<SessionKey> {
        let mut all = self.listed.lock().unwrap();
        all.extend(keys);
        all.iter().copied().collect()
    }
}

async fn verdict(fault: Fault) -> Result<(), Violation> {
    let Under { store, clock } = memory(4);
    let store = Faulty {
        inner: store,
        fault,
        beside: Mutex::default(),
        listed: Mutex::default(),
    };
    check(&Under { store, clock }).await.map(drop)
}

/// A suite that cannot fail proves nothing.
#[tokio::test]
async fn every_broken_promise_is_found() {
    for fault in [
        Fault::LastWriterWins,
        Fault::Upsert,
        Fault::SilentLoss,
        Fault::NoTombstone,
        Fault::DeleteIsALie,
        Fault::EveryLoadSlides,
        Fault::NoLoadSlides,
        Fault::OldKeySeesTheNew,
        Fault::RotationRenews,
        Fault::NoGrace,
        Fault::VersionSkips,
        Fault::CStrings,
        Fault::ListForgetsOne,
        Fault::ListRepeats,
        Fault::ListOfEverybody,
        Fault::RevocationSparesNothing,
        Fault::RevocationIsALie,
        Fault::ManyLoadsSkipTheAbsent,
        Fault::NoCap,
        Fault::OwnerChangesWithAnyWrite,
    ] {
        let violation = verdict(fault)
            .await
            .expect_err(&format!("{fault:?} passed"));
        assert!(!violation.detail.is_empty(), "{fault:?}: {violation}");
    }
}
