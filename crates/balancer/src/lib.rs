#![doc = include_str!("../README.md")]
//!
//! # How a pick is made
//!
//! The endpoints are an immutable snapshot behind an atomic pointer ([`Endpoints`]). Making it does the work
//! once: who takes requests at all, and one round of smooth weighted round robin over them. A pick then is
//! one atomic add for its turn and a look-up or two:
//!
//! - [`Policy::RoundRobin`] takes the slot of its turn (nginx's smooth weighted order, exactly);
//! - [`Policy::PowerOfTwoChoices`] takes two random slots, which draws endpoints in proportion to weight, and
//!   of the two endpoints the one with fewer requests in flight for its weight (Mitzenmacher 2001; for unequal
//!   weights Wieder 2007).
//!
//! The [`Pick`] is the guard that counts the request as in flight until dropped.
//!
//! # What holds
//!
//! 1. An endpoint that is down, or of weight 0, is picked by nobody; one that is draining by requests bound to
//!    it only. The exceptions have names: [`NoneUp::Spread`], and [`Balancer::pick_node`], which heeds no
//!    weight.
//! 2. While any endpoint takes a request that the caller's exclusions allow, there is a pick. Otherwise there
//!    is a typed error that says which of the reasons it was.
//! 3. Picks alive and requests counted in flight agree, through panics, cancelled futures, changes of weight
//!    and health, and the removal of the endpoint.
//! 4. A pick sees one snapshot whole: a change of many endpoints at once is never seen half done.
//! 5. No lock is taken by a pick, and none is held while the caller's predicate runs.
//!
//! # When not to use it
//!
//! To choose by key so that each key has one home, use `purlin-hash-ring` itself;
//! [`pick_for_key`](Balancer::pick_for_key) is for keys that any endpoint could serve and one serves best. To
//! keep state on the node a client sticks to and nowhere else, use nothing: that state is lost with the node.
//! A whole proxy, with its connections and its protocols, is not here.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod balancer;
mod chance;
mod endpoint;
mod endpoints;
mod error;
mod pick;
mod policy;
mod schedule;
mod stats;
#[cfg(feature = "keyring")]
mod sticky;

pub use balancer::{Balancer, Builder};
pub use endpoint::Endpoint;
pub use endpoints::Endpoints;
pub use error::{EndpointsError, PickError};
pub use pick::{Pick, Stickiness, StickyPick};
pub use policy::{NoneUp, Policy};
pub use purlin_core::{Health, Node, NodeId, Weight};
pub use stats::Stats;
#[cfg(feature = "keyring")]
#[cfg_attr(docsrs, doc(cfg(feature = "keyring")))]
pub use sticky::{Binding, StickyCodec};
