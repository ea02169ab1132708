//! A session in several data centres at once, each of which can write while it does not hear from the others.
//!
//! [`Regional`] is a [`SessionStore`](crate::SessionStore) in front of a region's own store, and what a service uses: it
//! notes what changes, tells the other regions, and merges what they tell. [`Replica`] is what merges, for whoever stores
//! and sends it in another way.
//!
//! A store with one truth for two continents costs a round trip between them at every write, or stops when the line does.
//! The other way is that each region has a [`Replica`] of its own, writes to it, and sends it to the others now and then;
//! whoever receives one [`merge`](Replica::merge)s it. The merge is commutative, associative and idempotent, so that
//! replicas which have heard of the same writes are equal, in whatever order, however often and by whatever way they
//! heard of them.
//!
//! What two regions wrote without knowing of each other is settled by what it is:
//!
//! | what | who wins |
//! |---|---|
//! | the end of the session | an end, for ever: nothing written anywhere undoes a logout |
//! | the absolute deadline | the earliest |
//! | the idle deadline | the latest use, and never past the absolute deadline |
//! | a field | the last writer, by hybrid logical time and then by region |
//! | privileges | the highest epoch; at equal epochs giving them up wins, and then the last writer |
//!
//! *Hybrid logical time* (Kulkarni and others, "Logical Physical Clocks", 2014) is wall time where that moves on, and
//! counts on where it does not: a write that was made with another one in sight is later, whatever the regions' clocks
//! say. Of two writes that did not know of each other, the one by the faster clock wins.
//!
//! A *privilege epoch* is one more than the one in sight, so a login that saw a logout of privileges is above it, and of
//! two that did not see each other the one that gives up wins. Whoever logs in rotates the id as well; that is not done
//! here, since another id is another session with a replica of its own.
//!
//! # What is lost
//!
//! A region that dies takes along what it had not sent. Of two writes of one field that crossed, one is gone, without an
//! error; fields that must not be lost belong in a store of one truth. An end that was not sent yet is not known
//! elsewhere: until it arrives, other regions serve the session. A session that its idle deadline ended here and that was
//! used there is alive again when that is heard of; one that was ended is not.
//!
//! # Forgetting
//!
//! A replica that has ended must be kept, and sent, until its absolute deadline has passed in every region: longer than
//! the skew of their clocks beyond it, and no partition can bring it back, since whoever has an old replica sees by that
//! deadline that it is over. A session without an absolute deadline would have to be kept for ever, so there is none.
//! `Regional` keeps no replicas that have ended but a record of the end for that long.

mod codec;
mod regional;
mod replica;
mod time;

pub use regional::{ExchangeError, Exchanged, ReceiveError, Received, RegionLink, Regional};
pub use replica::{EndedError, Replica, SetError};
pub use time::{RegionId, Seen, Writer};
