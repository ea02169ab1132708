//! Whoever is to be spared by a revocation is spared, wherever their session moves meanwhile, on a store that relies on
//! the default of `revoke_user`.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Mutex;
use std::time::Duration;

use purlin_session_store::{
    CommitOutcome, CreateOutcome, Entry, Lifetime, MemoryStore, Owner, Record, RotateOutcome,
    SessionId, SessionKey, SessionStore, Slide, StoreError, UserKey, Version,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

fn key() -> SessionKey {
    SessionId::random().unwrap().key()
}

fn record() -> Record {
    Record::new("x", Lifetime::new(HOUR, HOUR))
}

/// A store on which sessions move just before some of the calls.
struct Walked {
    store: MemoryStore,
    state: Mutex<State>,
}

struct State {
    n_calls: usize,
    /// Before which calls which session moves.
    moves: Vec<(usize, usize)>,
    /// Where the sessions are, and their versions.
    sessions: Vec<(SessionKey, Version)>,
}

impl Walked {
    /// Two sessions of a user.
    async fn new(user: UserKey, moves: Vec<(usize, usize)>) -> Self {
        let store = MemoryStore::builder().build();
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let (key, owner) = (key(), Owner::User { user, cap: None });
            let _ = store
                .create(&key, record().with_owner(owner))
                .await
                .unwrap();
            sessions.push((key, Version::FIRST));
        }
        let state = Mutex::new(State {
            n_calls: 0,
            moves,
            sessions,
        });
        Walked { store, state }
    }

    fn at(&self, session: usize) -> SessionKey {
        self.state.lock().unwrap().sessions[session].0
    }

    async fn next(&self) {
        let moved: Vec<_> = {
            let mut state = self.state.lock().unwrap();
            state.n_calls += 1;
            let State { n_calls, moves, .. } = &*state;
            let due = moves.iter().filter(|(call, _)| call == n_calls);
            due.map(|(_, session)| (*session, state.sessions[*session]))
                .collect()
        };
        for (session, (old, version)) in moved {
            let new = key();
            let rotated = self.store.rotate(&old, &new, version, record(), HOUR).await;
            // One that has ended stays where it was.
            if let RotateOutcome::Rotated(version) = rotated.unwrap() {
                self.state.lock().unwrap().sessions[session] = (new, version);
            }
        }
    }
}

impl SessionStore for Walked {
    async fn create(&self, key: &SessionKey, record: Record) -> Result<CreateOutcome, StoreError> {
        self.store.create(key, record).await
    }
    async fn load(&self, key: &SessionKey, slide: Slide) -> Result<Option<Entry>, StoreError> {
        self.next().await;
        self.store.load(key, slide).await
    }
    async fn touch(&self, key: &SessionKey, slide: Slide) -> Result<bool, StoreError> {
        self.store.touch(key, slide).await
    }
    async fn commit(
        &self,
        key: &SessionKey,
        expected: Version,
        record: Record,
    ) -> Result<CommitOutcome, StoreError> {
        self.store.commit(key, expected, record).await
    }
    async fn rotate(
        &self,
        old: &SessionKey,
        new: &SessionKey,
        expected: Version,
        record: Record,
        grace: Duration,
    ) -> Result<RotateOutcome, StoreError> {
        self.store.rotate(old, new, expected, record, grace).await
    }
    async fn delete(&self, key: &SessionKey) -> Result<bool, StoreError> {
        self.next().await;
        self.store.delete(key).await
    }
    async fn by_user(&self, user: &UserKey) -> Result<Vec<SessionKey>, StoreError> {
        self.next().await;
        self.store.by_user(user).await
    }
}

/// Every way in which the two sessions move up to three times before the first nine calls.
#[tokio::test]
async fn whoever_is_spared_is_spared_wherever_they_move_meanwhile() {
    const CALLS: usize = 9;
    let user = UserKey::of("17");
    let steps: Vec<_> = (1..=CALLS)
        .flat_map(|call| [(call, 0), (call, 1)])
        .collect();
    let mut n = 0;
    for first in 0..steps.len() {
        for second in first..steps.len() {
            for third in second..steps.len() {
                let moves = vec![steps[first], steps[second], steps[third]];
                let store = Walked::new(user, moves.clone()).await;
                let (spared, doomed) = (store.at(0), store.at(1));
                let ended = store.revoke_user(&user, Some(&spared)).await.unwrap();
                assert_eq!(ended, 1, "{moves:?}");
                let found = store.store.load(&store.at(0), Slide::No).await.unwrap();
                let found = found.unwrap_or_else(|| panic!("it was ended: {moves:?}"));
                assert_eq!(found.superseded_by, None);
                for key in [doomed, store.at(1)] {
                    assert_eq!(
                        store.store.load(&key, Slide::No).await.unwrap(),
                        None,
                        "{moves:?}"
                    );
                }
                n += 1;
            }
        }
    }
    assert_eq!(n, 1140);
}
