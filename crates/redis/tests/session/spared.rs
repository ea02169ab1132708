//! A session that is spared by a revocation, and moves while that is under way.

use std::sync::Mutex;

use super::*;

/// A connection whose commands go one by one when they are let.
#[derive(Clone)]
struct Gated {
    inner: MultiplexedConnection,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate(Mutex<State>);

#[derive(Default)]
struct State {
    /// How many commands may go; none is all.
    left: Option<usize>,
    n_waiting: usize,
}

impl Gate {
    fn let_go(&self, commands: Option<usize>) {
        self.0.lock().unwrap().left = commands;
    }

    /// Whether a command waits that nobody lets go.
    fn is_stopped(&self) -> bool {
        let state = self.0.lock().unwrap();
        state.left == Some(0) && state.n_waiting > 0
    }

    async fn pass(&self) {
        self.0.lock().unwrap().n_waiting += 1;
        loop {
            {
                let mut state = self.0.lock().unwrap();
                if state.left != Some(0) {
                    state.left = state.left.map(|left| left - 1);
                    state.n_waiting -= 1;
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

impl ConnectionLike for Gated {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.gate.pass().await;
            self.inner.req_packed_command(cmd).await
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.inner.req_packed_commands(cmd, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

async fn gated(redis: &Redis) -> (RedisSessionStore<Gated>, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let store = RedisSessionStore::builder().build(Gated {
        inner: raw(redis).await,
        gate: Arc::clone(&gate),
    });
    (store, gate)
}

/// The first commands of a move, the first ones of a revocation that spares the session, then the rest of the move, and then
/// the rest of the revocation: for each number of either.
#[tokio::test]
async fn a_spared_session_that_moves_during_a_revocation_goes_on() {
    let redis = Redis::start().unwrap();
    let whole = store(&redis);
    let (mover, moving) = gated(&redis).await;
    let (revoker, revoking) = gated(&redis).await;
    let mut moved = 0;
    for n_moves in 0..8 {
        for n_revokes in 0..10 {
            let user = UserKey::of(key().as_bytes());
            let owner = Owner::User { user, cap: None };
            let [mine, new, other] = [key(), key(), key()];
            for key in [&mine, &other] {
                let _ = whole
                    .create(key, record("x").with_owner(owner))
                    .await
                    .unwrap();
            }
            moving.let_go(Some(n_moves));
            let (store, (from, to)) = (mover.clone(), (mine, new));
            let rotation = tokio::spawn(async move {
                store
                    .rotate(&from, &to, Version::FIRST, record("y"), HOUR)
                    .await
            });
            while !moving.is_stopped() && !rotation.is_finished() {
                tokio::task::yield_now().await;
            }
            revoking.let_go(Some(n_revokes));
            let store = revoker.clone();
            let revocation =
                tokio::spawn(async move { store.revoke_user(&user, Some(&mine)).await });
            while !revoking.is_stopped() && !revocation.is_finished() {
                tokio::task::yield_now().await;
            }
            moving.let_go(None);
            let rotated = rotation.await.unwrap().unwrap();
            revoking.let_go(None);
            assert_eq!(revocation.await.unwrap().unwrap(), 1, "the other one");

            let what = format!("{n_moves} commands, {n_revokes} commands, {rotated:?}");
            let seen = whole.load(&mine, Slide::No).await.unwrap();
            let present = match rotated {
                RotateOutcome::Rotated(_) => {
                    moved += 1;
                    assert_eq!(seen.unwrap().superseded_by, Some(new), "{what}");
                    new
                }
                // The new key was listed and had nothing yet: it gets nothing, and the caller takes another.
                RotateOutcome::Collision => mine,
                other => panic!("{other:?}: {what}"),
            };
            assert!(
                whole.load(&present, Slide::No).await.unwrap().is_some(),
                "{what}"
            );
            assert_eq!(whole.by_user(&user).await.unwrap(), [present], "{what}");
        }
    }
    assert!(moved > 60, "{moved} of 80");
}
