//! What the types promise.

use purlin_core::{ManualClock, SystemClock};
use purlin_session_store::*;
use static_assertions::{assert_impl_all, assert_not_impl_any, assert_obj_safe};

assert_obj_safe!(DynSessionStore);
assert_impl_all!(MemoryStore<SystemClock>: SessionStore, DynSessionStore, Send, Sync);
assert_impl_all!(MemoryStore<ManualClock>: SessionStore);
assert_impl_all!(std::sync::Arc<MemoryStore>: SessionStore);
assert_impl_all!(std::sync::Arc<dyn DynSessionStore>: SessionStore, Send, Sync);
assert_impl_all!(&'static dyn DynSessionStore: SessionStore);
assert_impl_all!(Session: Send, Sync);
assert_impl_all!(Sessions<MemoryStore>: Send, Sync);

// A secret cannot be printed or compared by accident.
assert_not_impl_any!(SessionId: std::fmt::Display, PartialEq, std::hash::Hash, Copy);
assert_not_impl_any!(SessionKey: std::fmt::Display);

/// The futures can be sent to another thread, through the object too.
#[test]
fn futures_are_sendable() {
    fn sendable<T: Send>(value: T) {
        drop(value);
    }
    let sessions = Sessions::new(MemoryStore::new(), Policy::default());
    let mut session = Session::absent();
    sendable(sessions.commit(&mut session));
    sendable(sessions.update(&mut session, |_| ()));
    sendable(sessions.open(SessionId::from_secret_bytes([0; 32])));
    let object: std::sync::Arc<dyn DynSessionStore> = std::sync::Arc::new(MemoryStore::new());
    sendable(Sessions::new(object, Policy::default()).open(SessionId::from_secret_bytes([0; 32])));
}

/// Neither ids, keys nor contents appear in what a log might print.
#[test]
fn debug_output_shows_no_secret() {
    let id = SessionId::from_secret_bytes([b'S'; 32]);
    let lifetime = Lifetime::new(std::time::Duration::ZERO, std::time::Duration::MAX);
    let mut session = Session::absent();
    session.set_bytes("field", "SSSS").expect("a good name");
    let printed = format!(
        "{id:?} {:?} {:?} {:?} {:?}",
        id.key(),
        Record::new("SSSS", lifetime),
        Entry::new(Version::FIRST, "SSSS", lifetime),
        session,
    );
    assert!(
        !printed.contains("SSSS") && !printed.contains("83, 83"),
        "{printed}"
    );
    assert!(printed.len() < 600, "{printed}");
}
