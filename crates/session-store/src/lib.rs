#![cfg_attr(feature = "json", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "json"),
    doc = "Server-side sessions without lost updates. The full page needs feature `json`."
)]
//!
//! # The parts
//!
//! | part | what it does |
//! |---|---|
//! | [`SessionId`], [`SessionKey`] | the client's secret of 256 bits, and its SHA-256, which is all a store ever sees |
//! | [`SessionStore`], [`DynSessionStore`] | the contract of a store: versions, and outcomes with names |
//! | [`MemoryStore`] | a store in this process, bounded in entries and bytes |
//! | [`Session`] | one session within a request: fields, and what is to become of it |
//! | [`Mirrored`] | several stores as one, of which a minority may die |
//! | [`regions::Regional`] | a store in each of several data centres, each of which goes on alone and tells the others |
//! | [`regions::Replica`] | a session that merges with what was written of it elsewhere |
//! | [`Breaker`] | a store that is not asked while it does not answer |
#![cfg_attr(
    feature = "near",
    doc = "| [`Near`], [`Invalidations`] | sessions kept close, with a bound on how stale they can be |"
)]
//! | [`Sessions`], [`Policy`] | opening and committing sessions, with changes made again where somebody else was first |
//! | [`Login`], [`Device`], [`Assurance`] | who is logged in, how surely, and where else |
//! | [`UserKey`], [`Owner`], [`Cap`] | whose a session is, as stores see it, and how many a user may have |
//! | [`OnClash`] | what becomes of a field that two requests changed |
#![cfg_attr(
    feature = "keyring",
    doc = "| [`CookieCodec`], [`CookieAttributes`] | sealed cookies, with keys that rotate |"
)]
#![cfg_attr(
    feature = "tower",
    doc = "| [`tower::SessionLayer`], [`tower::CurrentSession`] | sessions as middleware, and as an argument of handlers |"
)]
//!
//! # What goes wrong elsewhere, and why it cannot here
//!
//! *Lost updates.* Two requests load a session, each changes something, both save. Where a save writes the
//! whole session, the second undoes the first, and nobody is told. Here every write names the version it was
//! made from. If it is no longer the present one, the store hands over what is, and [`Sessions::commit`] puts
//! the request's changes on top of it, field by field.
//!
//! *Logout undone.* A request is under way when the user logs out, and its save, an "insert or update",
//! brings the session back. Here only [`create`](SessionStore::create) makes a session, under a fresh id;
//! every other write answers [`Gone`](CommitOutcome::Gone) if there is none.
//!
//! *Fixation.* An attacker plants an id and waits for the login. Ids that this service did not issue are
//! never adopted, and [`Session::rotate`] moves the session to a new id in one step: at no instant does the
//! old id have the new privileges, and at none does neither id work. Requests that were on their way with the
//! old id can read for a few seconds what was there before.
//!
//! *Privileges that come back.* Who is logged in lives beside the fields, and changes together with the id or
//! not at all ([`Session::login`], [`Session::step_up`]). A request that is late finds that its id is not the
//! session's any more, so it can restore nothing.
//!
//! *Revocation that misses one.* A session is on its user's list before it can be loaded and until it has
//! ended, so [`Sessions::logout_everywhere`] and its like reach also what is being made or moved meanwhile.
//!
//! *Failure taken for absence.* A store that cannot be reached is an error. It is never an empty session,
//! which somebody would then save over the real one.
//!
//! *Sessions for ever.* Each has an idle deadline that moves with use, and an absolute one that nothing moves
//! out. Use is written down at most twenty times an idle window, however many requests there are, and a
//! request that changes nothing writes nothing else.
//!
//! # Checking a store of one's own
//!
//! Feature `test-util` has module `conformance`: the contract of [`SessionStore`] as a suite, including every
//! order in which two requests can take three steps each. It needs nothing of this crate's own store.
//!
//! # Cost
//!
//! The crate waits for nothing but the store, starts no thread and names no runtime. Opening a session is one
//! call of the store; the payload is not decoded, but searched where it lies when a field is asked for.
//! Hashing an id is one SHA-256 of 32 bytes.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth;
mod breaker;
mod bucket;
mod clash;
#[cfg(feature = "test-util")]
#[cfg_attr(docsrs, doc(cfg(feature = "test-util")))]
pub mod conformance;
#[cfg(feature = "keyring")]
mod cookie;
#[cfg(feature = "keyring")]
mod csrf;
mod error;
mod fields;
mod id;
mod memory;
mod mirrored;
#[cfg(feature = "near")]
mod near;
mod policy;
pub mod regions;
mod session;
mod sessions;
mod slide;
mod store;
#[cfg(feature = "tower")]
#[cfg_attr(docsrs, doc(cfg(feature = "tower")))]
pub mod tower;
mod user;

pub use auth::{Assurance, AuthError, HandleError, Login, SessionHandle};
pub use breaker::{Breaker, BreakerOpen, BreakerStats};
pub use clash::{Clash, Merge, OnClash};
#[cfg(feature = "keyring")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyring")))]
pub use cookie::{
    CookieAttributeError, CookieAttributes, CookieBuilder, CookieCodec, CookieError, Opened,
    SameSite, TokenTooLong,
};
#[cfg(feature = "keyring")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyring")))]
pub use csrf::CsrfTokens;
pub use error::{ErrorKind, StoreError};
pub use fields::PayloadError;
pub use id::{EntropyError, SessionId, SessionKey};
pub use memory::{Builder, MemoryStore, Stats};
pub use mirrored::{MirrorError, Mirrored};
#[cfg(feature = "near")]
#[cfg_attr(docsrs, doc(cfg(feature = "near")))]
pub use near::{Invalidation, Invalidations, Near, NearBuilder, NearStats};
pub use policy::{Policy, WhenCorrupt};
pub use session::{FieldError, Session, State};
pub use sessions::{CommitError, Device, OpenError, RevokeError, Saved, Sessions, UpdateError};
pub use store::{
    BoxFuture, CommitOutcome, CreateOutcome, DynSessionStore, Entry, Lifetime, Record,
    RotateOutcome, SessionStore, Slide, Swept, Version,
};
pub use user::{Cap, Owner, UserKey, WhenFull};
