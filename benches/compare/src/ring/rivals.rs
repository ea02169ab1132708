//! The rivals as contenders, each used as its documentation says.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasherDefault, Hash};
use std::net::{Ipv4Addr, SocketAddr};

use hrw_hash::{HrwNode, HrwNodes};
use maglev::ConsistentHasher;
use purlin_core::{NodeId, PlacementHash};
use rendezvous_hash::{Capacity, DefaultNodeHasher, IdNode, RendezvousNodes, WeightedNode};

use super::contender::{Contender, Member};

/// Virtual nodes, or points, for each unit of weight: what ketama settled on.
const POINTS: u32 = 160;

const NETWORK: u32 = 0x0a00_0000;

/// A node's address.
pub(crate) fn address(id: u32) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::from(NETWORK + id), 11_211))
}

fn id(address: &SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(address) => u32::from(*address.ip()) - NETWORK,
        SocketAddr::V6(_) => u32::MAX,
    }
}

/// The first three distinct ones.
fn distinct(nodes: impl Iterator<Item = u32>, into: &mut [NodeId; 3]) -> Option<usize> {
    let mut found = 0;
    for node in nodes.map(|node| NodeId(u64::from(node))) {
        if !into[..found].contains(&node) {
            into[found] = node;
            found += 1;
            if found == into.len() {
                break;
            }
        }
    }
    Some(found)
}

pub(crate) struct Pingora(pingora_ketama::Continuum);

impl Contender for Pingora {
    const NAME: &'static str = "pingora-ketama 0.9";
    const WEIGHTS: bool = true;

    fn build(fleet: &[Member]) -> Self {
        let buckets: Vec<_> = fleet
            .iter()
            .map(|member| pingora_ketama::Bucket::new(address(member.id), member.weight))
            .collect();
        Pingora(pingora_ketama::Continuum::new(&buckets))
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        self.0.node(&key.to_le_bytes()).as_ref().map_or(0, id)
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0.node(key.as_bytes()).as_ref().map_or(0, id)
    }
    #[inline]
    fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
        distinct(self.0.node_iter(&key.to_le_bytes()).map(id), into)
    }
}

/// Virtual nodes are the caller's to make: here pairs of a node and a number.
pub(crate) struct Hashring(hashring::HashRing<(u32, u32)>);

impl Contender for Hashring {
    const NAME: &'static str = "hashring 0.3";
    const WEIGHTS: bool = true;

    fn build(fleet: &[Member]) -> Self {
        let mut ring = hashring::HashRing::new();
        // One call, since every single `add` sorts the ring again.
        ring.batch_add(
            fleet
                .iter()
                .flat_map(|&member| virtual_nodes(member))
                .collect(),
        );
        Hashring(ring)
    }
    fn add(&mut self, member: Member) -> bool {
        self.0.batch_add(virtual_nodes(member).collect());
        true
    }
    fn remove(&mut self, id: u32) -> bool {
        // Those that it has not are passed over; no weight here is above 4.
        for point in 0..POINTS * 4 {
            self.0.remove(&(id, point));
        }
        true
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        self.0.get(&key).map_or(0, |node| node.0)
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0.get(&key).map_or(0, |node| node.0)
    }
    // Its replicas are virtual nodes, not distinct nodes, and each call clones the ring.
}

fn virtual_nodes(member: Member) -> impl Iterator<Item = (u32, u32)> {
    (0..POINTS * member.weight).map(move |point| (member.id, point))
}

/// A function from a hash and the number of buckets. Nodes other than the last leave by the last one's
/// taking their place.
macro_rules! jump_crate {
    ($name:ident, $title:literal, |$key:ident, $n:ident| $bucket:expr, |$text:ident, $hash:ident| $text_bucket:expr) => {
        pub(crate) struct $name {
            row: Vec<u32>,
            hash: PlacementHash,
        }

        impl Contender for $name {
            const NAME: &'static str = $title;

            fn build(fleet: &[Member]) -> Self {
                $name {
                    row: fleet.iter().map(|member| member.id).collect(),
                    hash: PlacementHash::default(),
                }
            }
            fn add(&mut self, member: Member) -> bool {
                self.row.push(member.id);
                true
            }
            fn remove(&mut self, id: u32) -> bool {
                let at = self.row.iter().position(|&node| node == id);
                at.map(|at| self.row.swap_remove(at)).is_some()
            }
            #[inline]
            fn owner(&self, $key: u64) -> u32 {
                let $n = self.row.len();
                self.row[($bucket) as usize]
            }
            #[inline]
            fn owner_of_text(&self, $text: &'static str) -> u32 {
                let ($hash, $n) = (&self.hash, self.row.len());
                self.row[($text_bucket) as usize]
            }
        }
    };
}

jump_crate!(
    JumpConsistentHash,
    "jump-consistent-hash 0.1",
    |key, n| jump_consistent_hash::hash(key, n),
    |text, hash| jump_consistent_hash::hash(hash.of(text), n)
);
jump_crate!(
    Jumpch,
    "jumpch 2.0",
    |key, n| jumpch::hash(key, n as u32),
    |text, hash| jumpch::hash(hash.of(text), n as u32)
);
jump_crate!(
    Jumphash,
    "jumphash 0.1",
    |key, n| jumphash::JumpHasher::new_with_keys(1, 2).slot(&key, n as u32),
    |text, _hash| jumphash::JumpHasher::new_with_keys(1, 2).slot(&text, n as u32)
);
jump_crate!(
    JumpBackHash,
    "jump-back-hash 0.1",
    |key, n| jump_back_hash::bucket(&mut Draws(key), n as u32),
    |text, hash| jump_back_hash::bucket(&mut Draws(hash.of(text)), n as u32)
);

/// SplitMix64, which starts at once, in the shape that jump-back-hash asks for.
struct Draws(u64);

impl rand_core::RngCore for Draws {
    #[inline]
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }
    #[inline]
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn fill_bytes(&mut self, into: &mut [u8]) {
        rand_core::impls::fill_bytes_via_next(self, into);
    }
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

/// About a hundred entries a node, as the paper advises, and as many with one node more or less: tables of
/// different sizes have nothing in common. The crates take the next prime.
fn maglev_size(fleet: &[Member]) -> usize {
    fleet.len().next_power_of_two() * 100
}

pub(crate) struct Maglev(maglev::Maglev<u32>);

impl Contender for Maglev {
    const NAME: &'static str = "maglev 0.2";
    /// It writes all permutations down while it builds: 80 GB for 10 000 nodes.
    const MOST_NODES: u32 = 1_000;

    fn build(fleet: &[Member]) -> Self {
        let nodes = fleet.iter().map(|member| member.id);
        Maglev(maglev::Maglev::with_capacity(nodes, maglev_size(fleet)))
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        self.0.get(&key).copied().unwrap_or(0)
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

pub(crate) struct MaglevHash(maglev_hash::MaglevTable<u32>);

impl Contender for MaglevHash {
    const NAME: &'static str = "maglev-hash 0.1";

    fn build(fleet: &[Member]) -> Self {
        let nodes = fleet.iter().map(|member| member.id).collect();
        MaglevHash(maglev_hash::MaglevTable::with_capacity(
            nodes,
            maglev_size(fleet),
        ))
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        self.0.get(&key).copied().unwrap_or(0)
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0.get(&key).copied().unwrap_or(0)
    }
    #[inline]
    fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
        distinct(self.0.get_top_k(&key, 3).into_iter().copied(), into)
    }
}

/// One table for each kind of key, as its type asks for.
pub(crate) struct AnchorHash {
    numbers: anchorhash::AnchorHash<u64, u32, SameHasher>,
    texts: anchorhash::AnchorHash<&'static str, u32, SameHasher>,
}

/// Its default draws a seed for each process.
type SameHasher = BuildHasherDefault<DefaultHasher>;

fn anchor_of<K: Hash>(fleet: &[Member]) -> anchorhash::AnchorHash<K, u32, SameHasher> {
    anchorhash::Builder::with_hasher(SameHasher::default())
        .with_resources(fleet.iter().map(|member| member.id))
        .build((fleet.len() * 2) as u16)
}

impl Contender for AnchorHash {
    const NAME: &'static str = "anchorhash 0.2";

    fn build(fleet: &[Member]) -> Self {
        AnchorHash {
            numbers: anchor_of(fleet),
            texts: anchor_of(fleet),
        }
    }
    fn add(&mut self, member: Member) -> bool {
        self.numbers.add_resource(member.id).is_ok() && self.texts.add_resource(member.id).is_ok()
    }
    fn remove(&mut self, id: u32) -> bool {
        self.numbers.remove_resource(&id).is_ok() && self.texts.remove_resource(&id).is_ok()
    }
    #[inline]
    fn owner(&self, key: u64) -> u32 {
        self.numbers.get_resource(key).copied().unwrap_or(0)
    }
    #[inline]
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.texts.get_resource(key).copied().unwrap_or(0)
    }
}

pub(crate) struct RendezvousHash(RendezvousNodes<WeightedNode<IdNode<u32>>, DefaultNodeHasher>);

fn weighted(member: Member) -> WeightedNode<IdNode<u32>> {
    let capacity = Capacity::new(f64::from(member.weight)).expect("a weight here is above 0");
    WeightedNode::new(IdNode::new(member.id), capacity)
}

impl Contender for RendezvousHash {
    const NAME: &'static str = "rendezvous_hash 0.3";
    const MOST_NODES: u32 = 1_000;
    const WEIGHTS: bool = true;

    fn build(fleet: &[Member]) -> Self {
        let mut nodes = RendezvousNodes::new(DefaultNodeHasher::new());
        for &member in fleet {
            nodes.insert(weighted(member));
        }
        RendezvousHash(nodes)
    }
    fn add(&mut self, member: Member) -> bool {
        self.0.insert(weighted(member));
        true
    }
    fn remove(&mut self, id: u32) -> bool {
        self.0.remove(&id).is_some()
    }
    fn owner(&self, key: u64) -> u32 {
        self.0
            .calc_candidates(&key)
            .next()
            .map_or(0, |node| *node.node)
    }
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0
            .calc_candidates(&key)
            .next()
            .map_or(0, |node| *node.node)
    }
    fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
        distinct(self.0.calc_candidates(&key).map(|node| *node.node), into)
    }
}

#[derive(PartialEq, Eq)]
struct Server {
    id: u32,
    weight: u32,
}

impl Hash for Server {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl HrwNode for Server {
    fn capacity(&self) -> usize {
        self.weight as usize
    }
}

pub(crate) struct HrwHash(HrwNodes<Server>);

impl Contender for HrwHash {
    const NAME: &'static str = "hrw-hash 2.0";
    const MOST_NODES: u32 = 1_000;
    const WEIGHTS: bool = true;

    fn build(fleet: &[Member]) -> Self {
        HrwHash(HrwNodes::new(fleet.iter().map(|member| Server {
            id: member.id,
            weight: member.weight,
        })))
    }
    fn owner(&self, key: u64) -> u32 {
        self.0.sorted(&key).next().map_or(0, |server| server.id)
    }
    fn owner_of_text(&self, key: &'static str) -> u32 {
        self.0.sorted(&key).next().map_or(0, |server| server.id)
    }
    fn copies(&self, key: u64, into: &mut [NodeId; 3]) -> Option<usize> {
        distinct(self.0.sorted(&key).map(|server| server.id), into)
    }
}
