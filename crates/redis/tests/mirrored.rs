//! Sessions mirrored over three real servers, each of which is killed in turn.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use purlin_core::{NodeId, Placement};
use purlin_redis::RedisSessionStore;
use purlin_session_store::{
    CommitOutcome, CreateOutcome, Lifetime, Mirrored, Record, SessionId, SessionKey, SessionStore,
    Slide, Version,
};
use purlin_testkit::Redis;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// All sessions on all three.
#[derive(Debug)]
struct Three;

impl Placement for Three {
    fn hash_key(&self, _: &[u8]) -> u64 {
        0
    }
    fn owner_of_hash(&self, _: u64) -> Option<NodeId> {
        Some(NodeId(0))
    }
    fn replicas_of_hash(&self, _: u64, into: &mut [NodeId]) -> usize {
        let nodes = (0..3).map(NodeId);
        into.iter_mut()
            .zip(nodes)
            .map(|(place, node)| *place = node)
            .count()
    }
}

type Store = Mirrored<RedisSessionStore, Three>;

/// A process's own connections.
fn process(servers: &[Redis]) -> Store {
    let stores = servers.iter().zip(0..).map(|(server, id)| {
        let store = RedisSessionStore::builder()
            .timeout(Duration::from_millis(300))
            .connect(&server.url());
        (NodeId(id), store.unwrap())
    });
    Mirrored::new(Three, stores, 3).unwrap()
}

fn record(marks: &[u64]) -> Record {
    let payload: Vec<u8> = marks.iter().flat_map(|mark| mark.to_le_bytes()).collect();
    Record::new(payload, Lifetime::new(HOUR, HOUR))
}

fn marks(payload: &[u8]) -> Vec<u64> {
    let marks = payload.chunks_exact(8);
    marks
        .map(|mark| u64::from_le_bytes(mark.try_into().unwrap()))
        .collect()
}

/// Adds marks to a session until told to stop. Those that were acknowledged.
async fn write(
    store: Arc<Store>,
    key: SessionKey,
    next: Arc<AtomicU64>,
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> BTreeSet<u64> {
    let mut mine = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(Some(entry)) = store.load(&key, Slide::to(HOUR)).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let mut marks = marks(&entry.payload);
        let mark = next.fetch_add(1, Ordering::Relaxed);
        marks.push(mark);
        let answer = store.commit(&key, entry.version, record(&marks)).await;
        if let Ok(CommitOutcome::Committed(_)) = answer {
            mine.insert(mark);
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    mine
}

async fn until(mut condition: impl FnMut() -> bool) {
    let limit = tokio::time::timeout(Duration::from_secs(60), async {
        let mut pause = tokio::time::interval(Duration::from_millis(2));
        while !condition() {
            pause.tick().await;
        }
    });
    limit.await.expect("it does not happen");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_server_is_killed_in_turn_and_no_acknowledged_commit_is_lost() {
    // What they had is there again after they were killed: a store that forgets is another matter.
    let durable = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut servers: Vec<Redis> = (0..3)
        .map(|_| Redis::start_with(&durable).unwrap())
        .collect();
    let processes = [process(&servers), process(&servers)].map(Arc::new);
    let keys: Vec<SessionKey> = (0..3).map(|_| SessionId::random().unwrap().key()).collect();
    for key in &keys {
        let created = processes[0].create(key, record(&[])).await.unwrap();
        assert_eq!(created, CreateOutcome::Created(Version::FIRST));
    }
    let (next, total) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for key in &keys {
        for process in &processes {
            let writer = write(
                Arc::clone(process),
                *key,
                Arc::clone(&next),
                Arc::clone(&total),
                Arc::clone(&stop),
            );
            writers.push((*key, tokio::spawn(writer)));
        }
    }
    for round in 0..6 {
        let more = total.load(Ordering::Relaxed) + 30;
        until(|| total.load(Ordering::Relaxed) >= more).await;
        let victim = &mut servers[round % 3];
        victim.kill().unwrap();
        // They go on without it.
        let more = total.load(Ordering::Relaxed) + 30;
        until(|| total.load(Ordering::Relaxed) >= more).await;
        victim.restart().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged: Vec<(SessionKey, BTreeSet<u64>)> = Vec::new();
    for (key, writer) in writers {
        acknowledged.push((key, writer.await.unwrap()));
    }
    println!("{} commits acknowledged", total.load(Ordering::Relaxed));

    // Whichever server is away at the end.
    for away in 0..3 {
        servers[away].kill().unwrap();
        let reader = process(&servers);
        for (key, marks_of) in &acknowledged {
            let entry = reader.load(key, Slide::No).await.unwrap().unwrap();
            let present: BTreeSet<u64> = marks(&entry.payload).into_iter().collect();
            assert!(present.is_superset(marks_of), "without server {away}");
        }
        servers[away].restart().unwrap();
    }
    assert!(process(&servers).delete(&keys[0]).await.unwrap());
    for away in 0..3 {
        servers[away].kill().unwrap();
        let reader = process(&servers);
        assert_eq!(reader.load(&keys[0], Slide::No).await.unwrap(), None);
        servers[away].restart().unwrap();
    }
}
