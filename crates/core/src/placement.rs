use crate::{NodeId, PlacementKey};

/// Which nodes own a key.
///
/// Implemented by the rings and tables of `purlin-hash-ring`; used by shard routers, balancers and mirrored
/// stores. The trait is object-safe, so a placement can be chosen at run time.
///
/// 1. Answers depend on the placement's value and the key alone: not on the machine, the process or the
///    order in which nodes were added, unless the algorithm's history is part of its value.
/// 2. `owner` is the first of `replicas`.
/// 3. `replicas` are distinct nodes, most preferred first.
/// 4. A node of weight 0 owns nothing.
/// 5. `owner(key)` is `owner_of_hash(hash_key(key))`, and likewise for replicas.
///
/// ```
/// use purlin_core::{NodeId, Placement, PlacementHash};
///
/// /// Two nodes, told apart by the lowest bit of the hash.
/// struct Halves(PlacementHash);
///
/// impl Placement for Halves {
///     fn hash_key(&self, key: &[u8]) -> u64 {
///         self.0.of_bytes(key)
///     }
///     fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
///         Some(NodeId(hash & 1))
///     }
///     fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
///         let both = [NodeId(hash & 1), NodeId(!hash & 1)];
///         let n = into.len().min(both.len());
///         into[..n].copy_from_slice(&both[..n]);
///         n
///     }
/// }
///
/// let halves = Halves(PlacementHash::default());
/// let mut nodes = [NodeId(0); 3];
/// assert_eq!(halves.replicas(b"user:17", &mut nodes), 2);
/// assert_eq!(halves.owner(b"user:17"), Some(nodes[0]));
/// assert_eq!(halves.owner_of("user:17"), Some(nodes[0]));
/// ```
pub trait Placement {
    /// The hash this placement takes of a key's bytes. Placements that interoperate with another program
    /// use that program's hash here, so a ready hash fits only the placement that made it, or one with an
    /// equal hash.
    fn hash_key(&self, key: &[u8]) -> u64;

    /// The node that owns the keys of this hash, or `None` where no node takes any.
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId>;

    /// Writes the nodes that hold the keys of this hash to the front of `into`, and returns how many: the
    /// length of `into`, or fewer where there are not that many nodes. Does not allocate. What lies behind
    /// the returned count is left as it was.
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize;

    /// The node that owns a key given as bytes.
    fn owner(&self, key: &[u8]) -> Option<NodeId> {
        self.owner_of_hash(self.hash_key(key))
    }

    /// The nodes that hold a key given as bytes; see [`replicas_of_hash`](Placement::replicas_of_hash).
    fn replicas(&self, key: &[u8], into: &mut [NodeId]) -> usize {
        self.replicas_of_hash(self.hash_key(key), into)
    }

    /// The node that owns a typed key.
    fn owner_of<K: PlacementKey + ?Sized>(&self, key: &K) -> Option<NodeId>
    where
        Self: Sized,
    {
        key.with_key_bytes(|bytes| self.owner(bytes))
    }

    /// The nodes that hold a typed key; see [`replicas_of_hash`](Placement::replicas_of_hash).
    fn replicas_of<K: PlacementKey + ?Sized>(&self, key: &K, into: &mut [NodeId]) -> usize
    where
        Self: Sized,
    {
        key.with_key_bytes(|bytes| self.replicas(bytes, into))
    }
}

macro_rules! forwarded_placement {
    ($($pointer:ty),*) => {$(
        impl<P: Placement + ?Sized> Placement for $pointer {
            fn hash_key(&self, key: &[u8]) -> u64 {
                (**self).hash_key(key)
            }
            fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
                (**self).owner_of_hash(hash)
            }
            fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
                (**self).replicas_of_hash(hash, into)
            }
            fn owner(&self, key: &[u8]) -> Option<NodeId> {
                (**self).owner(key)
            }
            fn replicas(&self, key: &[u8], into: &mut [NodeId]) -> usize {
                (**self).replicas(key, into)
            }
        }
    )*};
}
forwarded_placement!(&P, alloc::boxed::Box<P>, alloc::sync::Arc<P>);

#[cfg(test)]
mod tests {
    use super::Placement;

    #[test]
    fn a_placement_can_be_chosen_at_run_time() {
        fn object(_: &dyn Placement) {}
        let _ = object;
    }
}
