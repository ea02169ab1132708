#![doc = include_str!("../README.md")]
//!
//! # What is here
//!
#![cfg_attr(
    feature = "session",
    doc = "- [`RedisSessionStore`]: a [`SessionStore`](purlin_session_store::SessionStore) that many processes share."
)]
#![cfg_attr(
    feature = "session",
    doc = "- [`ConnectError`]: why a connection could not be set up."
)]
#![cfg_attr(
    feature = "cache",
    doc = "- [`RedisCache`]: a cache that many processes share, below the one in each; [`RedisCacheInvalidations`]: what changed in it."
)]
#![cfg_attr(
    feature = "near",
    doc = "- [`RedisInvalidations`]: what changed on the server, for [`Near`](purlin_session_store::Near)."
)]
//!
//! # What an acknowledgement means
//!
//! That the server has done it. Whether it survives the server is the server's configuration: `appendfsync always` is
//! the one that survives a power cut, and a failover to a replica may lose what the replica had not got. A session
//! that is lost is gone to everybody; none is revived, and no update is lost while the server lives.
//!
//! Set `maxmemory-policy noeviction`. A server that evicts keys ends sessions at random.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "cache")]
mod cache;
#[cfg(feature = "near")]
mod near;
#[cfg(feature = "session")]
mod session;
#[cfg(any(feature = "cache", feature = "near"))]
mod tracking;

#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use cache::{CacheError, RedisCache, RedisCacheBuilder, RedisCacheInvalidations, Stored};

#[cfg(feature = "near")]
#[cfg_attr(docsrs, doc(cfg(feature = "near")))]
pub use near::RedisInvalidations;
#[cfg(feature = "session")]
#[cfg_attr(docsrs, doc(cfg(feature = "session")))]
pub use session::{ConnectError, RedisSessionStore, RedisSessionStoreBuilder};
