//! Calls of several steps that break between any two of them.

use super::*;

/// A connection that breaks at a call of one's choice.
#[derive(Clone)]
struct Breaking {
    inner: MultiplexedConnection,
    /// Calls until it breaks.
    left: Arc<AtomicU32>,
    /// Whether the server still gets the command at which it breaks.
    delivers: bool,
}

impl ConnectionLike for Breaking {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let left = self.left.load(Ordering::SeqCst);
            let broken = || RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
            if left == 0 {
                return Err(broken());
            }
            self.left.store(left - 1, Ordering::SeqCst);
            if left > 1 {
                return self.inner.req_packed_command(cmd).await;
            }
            if self.delivers {
                self.inner.req_packed_command(cmd).await?;
            }
            Err(broken())
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.inner.req_packed_commands(cmd, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.inner.get_db()
    }
}

/// Whichever command of a rotation is the last that gets through, one key has the session afterwards and never two,
/// nothing that was acknowledged is lost, and a repeated rotation comes to its end.
#[tokio::test]
async fn a_rotation_that_breaks_anywhere_leaves_the_session_under_one_key() {
    let redis = Redis::start().unwrap();
    let whole = store(&redis);
    // So that the scripts are known, and every command is a step.
    let [old, new] = [key(), key()];
    let _ = whole.create(&old, record("x")).await.unwrap();
    let rotated = whole.rotate(&old, &new, Version::FIRST, record("y"), HOUR);
    assert_eq!(rotated.await.unwrap(), RotateOutcome::Rotated(Version(2)));

    let mut broken = 0;
    for at in 1..=4 {
        for (delivers, ending) in [(false, 0), (true, 0), (false, 1), (true, 1), (true, 2)] {
            let [old, new] = [key(), key()];
            let _ = whole.create(&old, record("old")).await.unwrap();
            let breaking = RedisSessionStore::builder().build(Breaking {
                inner: raw(&redis).await,
                left: Arc::new(AtomicU32::new(at)),
                delivers,
            });
            let outcome = breaking
                .rotate(&old, &new, Version::FIRST, record("new"), HOUR)
                .await;
            match &outcome {
                Ok(outcome) => assert_eq!(*outcome, RotateOutcome::Rotated(Version(2))),
                Err(error) => {
                    assert_eq!(error.retry().safety, Safety::IfIdempotent);
                    broken += 1;
                }
            }
            let what = format!("broken at {at}, delivered: {delivers}, {outcome:?}");
            match ending {
                // Somebody looks.
                0 => {
                    let seen = whole.load(&old, Slide::No).await.unwrap().unwrap();
                    assert_eq!(&seen.payload[..], b"old", "{what}");
                    let moved = whole.load(&new, Slide::No).await.unwrap();
                    match seen.superseded_by {
                        None => assert_eq!(moved, None, "{what}"),
                        Some(by) => {
                            assert_eq!(by, new, "{what}");
                            assert_eq!(&moved.unwrap().payload[..], b"new", "{what}");
                        }
                    }
                    assert!(outcome.is_err() || seen.superseded_by.is_some(), "{what}");
                }
                // The caller tries again.
                1 => {
                    let again = whole
                        .rotate(&old, &new, Version::FIRST, record("new"), HOUR)
                        .await
                        .unwrap();
                    let expected = [
                        RotateOutcome::Rotated(Version(2)),
                        RotateOutcome::Superseded(new),
                    ];
                    assert!(expected.contains(&again), "{what}: {again:?}");
                    let moved = whole.load(&new, Slide::No).await.unwrap().unwrap();
                    assert_eq!(
                        (&moved.payload[..], moved.version),
                        (&b"new"[..], Version(2))
                    );
                    assert!(moved.remaining.idle > HOUR - Duration::from_secs(60));
                }
                // Somebody logs out with the old cookie, and then nothing is left.
                _ => {
                    assert!(whole.delete(&old).await.unwrap(), "{what}");
                    for key in [&old, &new] {
                        assert_eq!(whole.load(key, Slide::No).await.unwrap(), None, "{what}");
                    }
                }
            }
        }
    }
    assert!(broken >= 10, "only {broken} rotations broke");
}

fn owned(user: UserKey, cap: Option<Cap>) -> Record {
    record("x").with_owner(Owner::User { user, cap })
}

async fn lives(store: &RedisSessionStore, key: &SessionKey) -> bool {
    let entry = store.load(key, Slide::No).await.unwrap();
    entry.is_some_and(|entry| entry.superseded_by.is_none())
}

/// A list that somebody deleted, or a server evicted, comes back as the sessions are used; so a revocation ends them.
#[tokio::test]
async fn a_list_that_was_lost_mends_itself_by_use() {
    let redis = Redis::start().unwrap();
    let (store, mut server, user) = (store(&redis), raw(&redis).await, UserKey::of("17"));
    let keys = [key(), key(), key()];
    let minute = Lifetime::new(HOUR / 60, HOUR);
    for key in &keys {
        let record = Record::new("x", minute).with_owner(Owner::User { user, cap: None });
        let _ = store.create(key, record).await.unwrap();
    }
    let name = [&b"purlin:session:user:"[..], user.as_bytes()].concat();
    let () = redis::cmd("DEL")
        .arg(&name)
        .query_async(&mut server)
        .await
        .unwrap();
    assert!(store.by_user(&user).await.unwrap().is_empty());
    // A slide that writes. Each session in use has one at least twenty times an idle window.
    let slide = Slide::To {
        idle: HOUR,
        min_gain: Duration::ZERO,
    };
    for key in &keys {
        assert!(store.load(key, slide).await.unwrap().is_some());
        assert!(store.by_user(&user).await.unwrap().contains(key));
    }
    let left: i64 = redis::cmd("PTTL")
        .arg(&name)
        .query_async(&mut server)
        .await
        .unwrap();
    assert!(
        left > 0 && Duration::from_millis(left as u64) <= HOUR,
        "it expires with the last session"
    );
    assert_eq!(store.revoke_user(&user, None).await.unwrap(), 3);
    for key in &keys {
        assert!(!lives(&store, key).await);
    }
}

/// Whichever command is the last that gets through, a session that lives is listed, a revocation ends it, and a name
/// without a session stands in nobody's way.
#[tokio::test]
async fn a_login_that_breaks_anywhere_leaves_no_session_that_is_on_no_list() {
    let redis = Redis::start().unwrap();
    let whole = store(&redis);
    let mut broken = 0;
    for at in 1..=9 {
        for (delivers, call) in [
            (false, 0),
            (true, 0),
            (false, 1),
            (true, 1),
            (false, 2),
            (true, 2),
        ] {
            let (user, [old, new, third]) = (UserKey::of(key().as_bytes()), [key(), key(), key()]);
            let cap = Some(Cap::evict_oldest(2));
            let (first, anonymous) = (key(), old);
            let _ = whole.create(&first, owned(user, cap)).await.unwrap();
            let _ = whole.create(&third, owned(user, cap)).await.unwrap();
            let _ = whole.create(&anonymous, record("a")).await.unwrap();
            let breaking = RedisSessionStore::builder().build(Breaking {
                inner: raw(&redis).await,
                left: Arc::new(AtomicU32::new(at)),
                delivers,
            });
            let failed = match call {
                0 => breaking.create(&new, owned(user, cap)).await.is_err(),
                1 => breaking
                    .rotate(&old, &new, Version::FIRST, owned(user, cap), HOUR)
                    .await
                    .is_err(),
                _ => breaking.revoke_user(&user, None).await.is_err(),
            };
            broken += u32::from(failed);
            let what =
                format!("call {call} broken at {at}, delivered: {delivers}, failed: {failed}");
            let listed = whole.by_user(&user).await.unwrap();
            let mut n_live = 0;
            for key in [&first, &third, &new] {
                let live = lives(&whole, key).await;
                assert_eq!(listed.contains(key), live, "{what}");
                n_live += usize::from(live);
            }
            assert!(n_live <= 2, "{what}");
            assert!(
                lives(&whole, &anonymous).await || lives(&whole, &new).await,
                "{what}"
            );
            // The next login is not kept out by what the broken one left.
            let next = key();
            let outcome = whole.create(&next, owned(user, cap)).await.unwrap();
            assert_eq!(outcome, CreateOutcome::Created(Version::FIRST), "{what}");
            let _ = whole.revoke_user(&user, None).await.unwrap();
            for key in [&first, &third, &new, &next] {
                assert!(!lives(&whole, key).await, "{what}");
            }
        }
    }
    assert!(broken >= 20, "only {broken} calls broke");
}
