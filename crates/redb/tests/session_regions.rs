//! Two regions with a file each: what one has not heard of survives a restart of the other.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::path::Path;

use purlin_core::{ManualClock, WallTime};
use purlin_redb::RedbSessionStore;
use purlin_session_store::regions::{RegionId, Regional};
use purlin_session_store::{Login, Policy, Session, SessionStore, Sessions};

const EAST: RegionId = RegionId(1);
const WEST: RegionId = RegionId(2);

type Region = Regional<RedbSessionStore<ManualClock>, ManualClock>;

fn open(id: RegionId, peer: RegionId, clock: &ManualClock, path: &Path) -> Region {
    let store = RedbSessionStore::builder().clock(clock.clone()).open(path);
    Regional::new(id, [peer], store.unwrap()).clock(clock.clone())
}

#[tokio::test]
async fn a_region_that_restarts_tells_what_it_had_not_told_and_remembers_what_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["east.redb", "west.redb"].map(|name| folder.path().join(name));
    let clock = ManualClock::at_wall(WallTime::from_unix_millis(1_700_000_000_000));
    let east = open(EAST, WEST, &clock, &paths[0]);
    let west = open(WEST, EAST, &clock, &paths[1]);

    let sessions = Sessions::new(&east, Policy::default()).with_clock(clock.clone());
    let mut session = Session::absent();
    session.set_bytes("cart", "hammer").unwrap();
    session.login(Login::new("alice"));
    let _ = sessions.commit(&mut session).await.unwrap();
    let id = session.id().unwrap().clone();
    drop(east);
    let east = open(EAST, WEST, &clock, &paths[0]);
    assert_eq!(east.exchange(WEST, &west).await.unwrap().told, 1);

    // Logged out in the west, which restarts before anybody hears of it.
    assert!(west.delete(&id.key()).await.unwrap());
    drop(west);
    let west = open(WEST, EAST, &clock, &paths[1]);
    // The east tells of its session again; and is told.
    let sessions = Sessions::new(&east, Policy::default()).with_clock(clock.clone());
    let mut session = sessions.open(id.clone()).await.unwrap();
    session.set_bytes("cart", "hammer, saw").unwrap();
    let _ = sessions.commit(&mut session).await.unwrap();
    east.exchange(WEST, &west).await.unwrap();
    assert!(
        west.by_user(&purlin_session_store::UserKey::of("alice"))
            .await
            .unwrap()
            .is_empty()
    );
    west.exchange(EAST, &east).await.unwrap();
    let session = sessions.open(id).await.unwrap();
    assert!(session.id().is_none(), "it was ended in the west");
}
