#![doc = include_str!("../README.md")]
//!
//! # Positions, tokens, forks
//!
//! A group's log has positions that grow within an **epoch**, one primary's term. A [`Token`] is a position of an
//! epoch: the proof that a write was acknowledged there. A replica that has come to a token's position has the
//! write, whatever any clock says; that is all reading one's own writes needs, and a token is small enough for
//! the client to carry from one instance to another.
//!
//! A promotion ends an epoch and **forks** the log: the new primary's log agrees with the old one up to the
//! position at which it was promoted ([`Router::promote`]). A position of an ended epoch is a position of the present
//! log exactly if it lies at or before every fork since. So of a token of an ended epoch the router says one of
//! three things, and never guesses:
//!
//! - its write was kept: any replica that has come to its position serves it;
//! - its write was **lost**: [`ReadError::WriteLost`], since no answer would be right and no waiting helps;
//! - its epoch is not one it knows: [`ReadError::EpochAhead`] or [`ReadError::EpochUnknown`].
//!
//! The same rule judges replicas. One that has come further than the fork in the old epoch has diverged, and equal
//! numbers mean different writes; it serves nothing until it has been rewound.
//!
//! # Ages
//!
//! An age is measured by the log as well. The router remembers when the primary stood where. A replica that
//! has come to where the primary stood at some time holds everything committed until then, however long ago either
//! was asked. So a replica of an idle primary stays fresh, one whose replay has stopped grows old, and the
//! replicas' own idea of their lag is not asked. Ticks are of the router's own clock, from before a probe was
//! sent, so neither the servers' clocks nor the probes' duration can make an answer look younger than it is.
//!
//! # What holds
//!
//! 1. **No read is older than it asked**, provided observations are true, a log goes back only at a fork, and the
//!    router has been told of promotions or has seen a node in a later epoch. Before either, a deposed primary that
//!    still answers probes cannot be told from a primary: give writes' epochs to the store to check, which
//!    [`WriteRoute::epoch`] and [`ReadRoute::epoch`] are for.
//! 2. **Not knowing is never fresh.** A replica that was never observed, whose probe failed or returned no number, or
//!    whose last observation is too old, serves nothing, not even reads that ask for nothing.
//! 3. **Writes go to the primary of the latest epoch** that was told of, and to nobody once a later one has been
//!    seen: two that claim to be the primary never both get writes from one router that knows of both.
//! 4. A replica that failed serves again after some good observations in a row, so one that flaps stays out.
//! 5. Every route that is not what was wanted says why ([`Reason`], [`Shortfall`]).
//! 6. Routes take no lock: they read an immutable view behind an atomic pointer. A promotion that has returned is
//!    seen by every later route, whole.
//!
//! A client's own [`TokenSet`] keeps its furthest token alone. A client that writes in a new epoch before it has
//! read replaces the token of the old one and is not told if that write was lost.
//!
//! # Cost
//!
//! A route reads the clock once and picks among the replicas as `purlin-balancer` does. An observation copies the view:
//! a hundred bytes a member, under a lock that only observations and promotions take.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod consistency;
mod error;
mod history;
mod lineage;
mod member;
mod observation;
mod route;
mod router;
mod stats;
mod view;

pub use builder::Builder;
pub use consistency::{Consistency, Read};
pub use error::{MembersError, ObserveError, PromoteError, ReadError, WriteError};
pub use observation::{Observation, Standing};
pub use purlin_balancer::Policy;
pub use purlin_core::{GroupId, Health, Node, NodeId, Token, TokenSet, Weight};
pub use route::{ReadRoute, Reason, Shortfall, WriteRoute};
pub use router::Router;
pub use stats::{MemberStatus, Stats};
