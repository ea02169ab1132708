//! Sessions in memory: what a request pays that only reads, that writes, and that counts up.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use purlin_session_store::{MemoryStore, Policy, Saved, Session, SessionId, Sessions};
use tokio::runtime::{Builder, Runtime};

const SESSIONS: usize = 10_000;

fn filled(runtime: &Runtime) -> (Sessions<MemoryStore>, Vec<SessionId>) {
    let sessions = Sessions::new(MemoryStore::new(), Policy::default());
    let ids = runtime.block_on(async {
        let mut ids = Vec::with_capacity(SESSIONS);
        for user in 0..SESSIONS {
            let mut session = Session::absent();
            session
                .set_bytes("user", user.to_string())
                .expect("a short name");
            session
                .set_bytes("cart", vec![7; 200])
                .expect("a short name");
            let saved = sessions.commit(&mut session).await;
            assert_eq!(saved.expect("the store has room"), Saved::Created);
            ids.push(session.id().expect("just created").clone());
        }
        ids
    });
    (sessions, ids)
}

fn requests(c: &mut Criterion) {
    let runtime = Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers");
    let (sessions, ids) = filled(&runtime);
    let mut visitors = ids.iter().cycle();
    let mut group = c.benchmark_group("session_store");
    group.bench_function("open and read a field, memory", |b| {
        b.iter(|| {
            let id = visitors.next().cloned().expect("ids go round");
            let session = runtime
                .block_on(sessions.open(id))
                .expect("the store answers");
            assert!(black_box(session.get_bytes("user")).is_some());
        });
    });
    group.bench_function("open, set a field, commit, memory", |b| {
        b.iter(|| {
            let id = visitors.next().cloned().expect("ids go round");
            runtime.block_on(async {
                let mut session = sessions.open(id).await.expect("the store answers");
                session
                    .set_bytes("seen", "product 17")
                    .expect("a short name");
                sessions
                    .commit(&mut session)
                    .await
                    .expect("nobody else writes")
            })
        });
    });
    let mut views = 0_u64;
    group.bench_function("open, count up by update, memory", |b| {
        b.iter(|| {
            views += 1;
            let id = visitors.next().cloned().expect("ids go round");
            let saved = runtime.block_on(async {
                let mut session = sessions.open(id).await.expect("the store answers");
                let count = |session: &mut Session| session.set_bytes("views", views.to_string());
                sessions
                    .update(&mut session, count)
                    .await
                    .expect("nobody else writes")
                    .1
            });
            assert_eq!(saved, Saved::Written);
        });
    });
    group.finish();
}

criterion_group!(benches, requests);
criterion_main!(benches);
