//! `city`: the whole workspace at work in one process, and an oracle beside it.
//!
//! ```text
//! cargo run --release --example city
//! ```
//!
//! It is a shop, with everything a growing service needs and nothing to install. All tiers talk over real
//! loopback sockets:
//!
//! ```text
//!   driver            open loop, plays all the visitors, latency from the moment a request was due
//!     │ HTTP/1.1
//!   front             purlin-balancer: two choices, sealed sticky cookie, retry elsewhere where it is safe
//!     │ HTTP/1.1
//!   app-1 .. app-4    purlin-session-store: shared store, sealed cookie, conflicts replayed
//!     │               purlin-lru-cache: a page cache a node, one load a page
//!     │               purlin-work-queue on purlin-redb: orders, kept before they are acknowledged
//!     │ frames
//!   4 shards          purlin-shard-router: a versioned map, and a guard at each copy
//!     × 3 copies      purlin-replica-router: lag-aware reads, tokens, the primary when none is fresh enough
//! ```
//!
//! Every copy of a shard is a redb file of its own. Replicas pull their primary's log over a socket and apply
//! it late by `--lag-ms`. Three workers take the orders from the queue and book them in the shards, where a
//! ledger makes a second delivery harmless.
//!
//! # What comes in
//!
//! With `--trace FILE`, an access trace: a list of bare ids, and every key of the run is one of them, in its
//! order. [`replay`] says how an id becomes a user, a product and a session. Without it, traffic of the city's
//! own: [`shop`].
//!
//! # What is promised
//!
//! [`oracle`] watches five invariants throughout, with books of its own. Any violation ends the run with exit
//! code 1 and the story of the key, user or job in question. An oracle that cannot fail proves nothing, so
//! `--sabotage` breaks each of the five on purpose, and a test shows that each is noticed. `--kill app-2@5s`
//! stops a node for real, and nothing but its cache is lost.
//!
//! # Reading order
//!
//! [`world`] puts the pieces together. [`app`] is the shop itself, and what one would copy first: sessions,
//! cache, shards and queue in one service. [`shards`] is its database client, [`jobs`] its queue,
//! [`visitors`] its sessions, [`front`] the balancer before it.
#![forbid(unsafe_code)]

pub mod app;
pub mod browser;
pub mod cli;
pub mod database;
pub mod driver;
pub mod flags;
pub mod front;
pub mod http_pool;
pub mod jobs;
pub mod oracle;
pub mod page;
pub mod primary;
pub mod replay;
pub mod replica;
pub mod report;
pub mod row;
pub mod sabotage;
pub mod server;
pub mod settings;
pub mod shard_client;
pub mod shard_server;
pub mod shards;
pub mod shop;
pub mod traffic;
pub mod visitors;
pub mod wire;
pub mod world;
