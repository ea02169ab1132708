//! Rings of other programs, so that a service can share their caches: feature `interop`.
//!
//! A [`ForeignRing`] places keys exactly as memcached clients on libmemcached, nginx, twemproxy, HAProxy or
//! npm's `hashring` do; [`redis_slot`] and [`cassandra_token`] give the slots and tokens of those systems.
//! Guava's `Hashing.consistentHash` is [`jump`](crate::jump). All are held by vectors taken from the real
//! programs. They keep those programs' faults: points of 32 bits collide, and in ketama a new weight moves points
//! of other nodes. New fleets are better served by the placements of the crate itself.

use alloc::vec::Vec;

use purlin_core::{Node, NodeId, Placement};

pub use self::foreign_hash::ForeignHash;
use self::hashes::{avalanche, hash_tag};
pub use self::hashes::{cassandra_token, redis_slot};
pub use self::programs::{Libmemcached, Twemproxy};
pub use self::ranges::ForeignRanges;
use crate::points::{Points, owner};

mod foreign_hash;
mod hashes;
mod md5;
mod programs;
mod ranges;
mod snapshot;

/// A ring of another program.
///
/// Replicas are the next distinct nodes on the circle, or in the list where there is no circle. Lookups do
/// not allocate. A node of weight 0 is left out, as if it were not in the other program's list.
///
/// A change of the fleet is another value, built from the new list, as those programs do it;
/// [`ranges`](ForeignRing::ranges) lets [`diff`](crate::diff) list what moves between the two, and
/// [`to_bytes`](ForeignRing::to_bytes) carries a ring to another process.
///
/// ```
/// use purlin_core::{Node, NodeId, Placement};
/// use purlin_hash_ring::interop::{ForeignRing, Libmemcached};
///
/// let nodes = ["10.0.0.1:11211", "10.0.0.2:11211"].into_iter().zip(1..).map(|(name, id)| Node::new(NodeId(id), name));
/// let ring = ForeignRing::libmemcached(Libmemcached::KetamaWeighted, nodes)?;
/// assert!(ring.owner_of("user:17").is_some());
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRing {
    /// What it was made by, and can be made again by.
    recipe: Recipe,
    nodes: Vec<Node>,
    hash: ForeignHash,
    /// HAProxy's second hash.
    avalanche: bool,
    hash_tag: Option<[u8; 2]>,
    choice: Choice,
}

/// Which program's ring it is, as its user set it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recipe {
    Libmemcached(Libmemcached),
    Nginx,
    Twemproxy(Twemproxy),
    Haproxy {
        function: ForeignHash,
        avalanche_keys: bool,
    },
    NpmHashring {
        vnodes: u32,
        python_compatible: bool,
    },
}

/// How a hash finds its node. Owners are places in the list of nodes.
#[derive(Clone, Debug, PartialEq)]
enum Choice {
    /// The first point at or after it.
    Next(Points),
    /// The nearer of the points on either side.
    Nearest(Points),
    /// The entry whose number is the remainder.
    Remainder(Vec<u32>),
}

impl ForeignRing {
    fn of(recipe: Recipe, nodes: Vec<Node>, hash: ForeignHash, choice: Choice) -> Self {
        ForeignRing {
            recipe,
            nodes,
            hash,
            avalanche: false,
            hash_tag: None,
            choice,
        }
    }

    /// The nodes with a weight above 0, in the order in which they were given.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where in the points, or entries, a hash finds its node; `None` if there is none.
    #[inline]
    fn place(&self, hash: u64) -> Option<usize> {
        match &self.choice {
            Choice::Remainder(entries) => (hash as u32 as usize).checked_rem(entries.len()),
            Choice::Next(points) => {
                (points.len() > 0).then(|| points.successor(hash << 32) % points.len())
            }
            Choice::Nearest(points) => (points.len() > 0).then(|| {
                let next = points.successor(hash << 32) % points.len();
                let previous = next.checked_sub(1).unwrap_or(points.len() - 1);
                let hash = hash as u32;
                let at = |place: usize| (points.at(place) >> 32) as u32;
                // At equal distance the one before has it.
                if hash.wrapping_sub(at(previous)) <= at(next).wrapping_sub(hash) {
                    previous
                } else {
                    next
                }
            }),
        }
    }
}

/// Hashes are the other program's 32 bits.
impl Placement for ForeignRing {
    fn hash_key(&self, key: &[u8]) -> u64 {
        let key = self
            .hash_tag
            .map_or(key, |[open, close]| hash_tag(key, open, close));
        let hash = self.hash.of(key);
        u64::from(if self.avalanche {
            avalanche(hash)
        } else {
            hash
        })
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        let place = self.place(hash)?;
        let owner = match &self.choice {
            Choice::Remainder(entries) => entries[place],
            Choice::Next(points) | Choice::Nearest(points) => owner(points.at(place)),
        };
        Some(self.nodes[owner as usize].id)
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let Some(place) = self.place(hash) else {
            return 0;
        };
        match &self.choice {
            Choice::Remainder(entries) => {
                let (before, after) = entries.split_at(place);
                self.distinct(after.iter().chain(before).copied(), into)
            }
            Choice::Next(points) | Choice::Nearest(points) => {
                self.distinct(points.walk_from(place), into)
            }
        }
    }
}

impl ForeignRing {
    fn distinct(&self, owners: impl Iterator<Item = u32>, into: &mut [NodeId]) -> usize {
        let wanted = into.len().min(self.nodes.len());
        let mut found = 0;
        for owner in owners {
            if found == wanted {
                break;
            }
            let id = self.nodes[owner as usize].id;
            if !into[..found].contains(&id) {
                into[found] = id;
                found += 1;
            }
        }
        found
    }
}
