//! The slot table.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use purlin_core::{Node, NodeId, Placement, PlacementHash};

use self::lists::ReplicaLists;
pub use self::options::SlotOptions;
use self::quota::quotas;
use self::rows::{KEPT, Rows};
use crate::fleet::{Fleet, fleet_methods};
use crate::mix::nth;
use crate::nodes::Nodes;
use crate::rank::Ranking;
use crate::snapshot::{Decoder, Encoder};
use crate::{Algorithm, BuildError, Builder, DecodeError};

mod lists;
mod matching;
mod options;
mod quota;
mod rows;

/// Slots name nodes by 16 bits; the last value says that nobody owns the slot. It is no node's index, since a table
/// has at most that many nodes.
const NOBODY: u16 = u16::MAX;

/// How many nodes a table can name.
pub(crate) const MAX_NODES: usize = NOBODY as usize;

/// Tables have at most 2 to this many slots.
const MAX_BITS: u32 = 24;

/// More replicas of a slot than this are not listed.
const MAX_LISTED: u8 = 16;

/// Two levels: a frozen function from key to slot, and a small table from slot to node that is changed by
/// moving as few slots as possible.
///
/// A key's slot is the top bits of its hash, so it never changes. The table is rebalanced when nodes come,
/// go or change weight: each node has its exact share of the slots but for rounding, and only slots that
/// must move do (the method of largest remainders, applied to what is there). The idea is as old as Redis
/// Cluster's slots and virtual buckets; balance and minimal movement together are what rings, Maglev and
/// bounded partition tables each give up one of.
///
/// - **Cost**: a lookup is the hash and two loads, one of which is nearly always in the first-level cache.
///   2 bytes a slot: 128 KiB for up to 2 730 nodes. A change takes O(slots). The first time that two or three
///   replicas of a slot are asked for they take O(n); they are kept in 4 bytes a slot, and take two loads more
///   than an owner from then on, or three from 1 024 nodes on. More than three take O(n) each time, unless lists
///   are made ahead ([`replica_lists`](Builder::replica_lists), 2 bytes a slot and replica from four on).
/// - **Balance**: no node has more than `1 + n/slots` times its share, whatever the weights, and none less
///   than its share rounded down to whole slots.
/// - **Disruption**: minimal to within rounding for any sequence of adding, removing and reweighting. In a
///   replica set a lost member is replaced and the others stay.
/// - **The price is history**: the table depends on the changes that led to it, so a fleet must share it
///   ([`to_bytes`](SlotTable::to_bytes)). A fleet without a shared map takes [`history_free`](SlotTable::history_free),
///   or another algorithm.
/// - **Take it** wherever a map is shared anyway: it is the default.
///
/// ```
/// use purlin_core::{Node, NodeId};
/// use purlin_hash_ring::SlotTable;
///
/// let table = SlotTable::from_nodes((1..=10).map(|i| Node::new(NodeId(i), format!("db-{i}"))))?;
/// let larger = table.with(Node::new(NodeId(11), "db-11"))?;
/// let moved = (0..table.n_slots()).filter(|&slot| table.slot_owner(slot) != larger.slot_owner(slot));
/// assert_eq!(moved.count(), 65_536 / 11);
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct SlotTable {
    pub(crate) fleet: Fleet,
    /// A slot is the top `bits` of a hash.
    bits: u32,
    /// The index of each slot's node, or `NOBODY`. All or none are `NOBODY`.
    owners: Vec<u16>,
    /// The order of the nodes behind a slot's owner.
    ranking: Ranking,
    /// How many replicas of each slot were made ahead. Up to three are in `rows`, more in `lists` too.
    listed: u8,
    lists: Option<ReplicaLists>,
    /// The first three replicas of slots that were asked for, or of all if they were made ahead.
    rows: Rows,
}

fleet_methods!(SlotTable);

impl SlotTable {
    /// A table of these nodes with the default hash and number of slots.
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn from_nodes(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        SlotTable::builder().nodes(nodes).build()
    }

    /// A table that depends on the nodes alone, for fleets that share no map: every process that knows the
    /// nodes makes the same one.
    ///
    /// Slots and nodes are matched as in college admissions (Gale and Shapley, 1962): each slot prefers
    /// nodes by rendezvous, each node prefers slots by the same costs and takes its quota. The result is
    /// the one stable matching, whatever the order of proposals, so a node that comes or goes displaces
    /// slots only along chains. Balance is that of the other mode. The chains lengthen as nodes have fewer
    /// slots: with 65 536, an eleventh node moves 1.03 times what it must, a hundred and first 1.3 times, and
    /// a thousand and first 4.5 times; take more slots for more nodes, or a [`Ring`](crate::Ring), which
    /// moves the least. Building takes O(slots × nodes).
    ///
    /// # Errors
    ///
    /// See [`Builder::build`](Builder#method.build).
    pub fn history_free(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        SlotTable::builder().nodes(nodes).build_history_free()
    }

    /// Chooses the hash, the number of slots, the spread of replicas and how many are listed.
    pub fn builder() -> Builder<SlotOptions> {
        Builder::default()
    }

    /// The table with one more node, or with this one in the place of its namesake. Only slots that the new
    /// shares ask for move.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyNodes`].
    pub fn with(&self, node: Node) -> Result<Self, BuildError> {
        let (nodes, _, _) = self.fleet.nodes.with(node, MAX_NODES)?;
        Ok(self.changed(nodes))
    }

    /// The table without a node: only its slots move. Equal to this one if there is no such node.
    #[must_use]
    pub fn without(&self, id: NodeId) -> Self {
        match self.fleet.nodes.index(id) {
            Ok(index) => self.changed(self.fleet.nodes.without(index)),
            Err(_) => self.clone(),
        }
    }

    /// The table for another set of nodes, by one change: what several nodes that come and go together need,
    /// and no slot moves twice.
    ///
    /// # Errors
    ///
    /// [`BuildError::DuplicateNode`] or [`BuildError::TooManyNodes`].
    pub fn with_nodes(&self, nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        Ok(self.changed(Nodes::new(nodes.into_iter().collect(), MAX_NODES)?))
    }

    /// The same placement with twice the slots, each split in two halves of one owner. No key moves; later
    /// changes can balance more finely. Replica lists behind the owner are made anew for each half.
    ///
    /// # Errors
    ///
    /// [`BuildError::SlotBits`] if there are 2²⁴ slots already.
    pub fn doubled(&self) -> Result<Self, BuildError> {
        if self.bits == MAX_BITS {
            return Err(BuildError::SlotBits(self.bits + 1));
        }
        let owners = self
            .owners
            .iter()
            .flat_map(|&owner| [owner, owner])
            .collect();
        let fleet = self.fleet.next(self.fleet.nodes.clone());
        Ok(SlotTable::of(
            fleet,
            self.bits + 1,
            self.listed(),
            owners,
            self.ranking.clone(),
        ))
    }

    fn changed(&self, nodes: Nodes) -> Self {
        // What the old index of a node is now, if it is still there.
        let moved: Vec<Option<u16>> = self
            .nodes()
            .iter()
            .map(|node| nodes.index(node.id).ok().map(|index| index as u16))
            .collect();
        let owners = self
            .owners
            .iter()
            .map(|&owner| moved.get(usize::from(owner)).copied().flatten())
            .collect();
        SlotTable::rebalanced(self.fleet.next(nodes), self.bits, self.listed(), owners)
    }

    /// Brings each node to its quota by taking slots from those above theirs.
    fn rebalanced(fleet: Fleet, bits: u32, listed: u8, mut owners: Vec<Option<u16>>) -> Self {
        let nodes = fleet.nodes.as_slice();
        let mut have = vec![0u32; nodes.len()];
        for owner in owners.iter().flatten() {
            have[usize::from(*owner)] += 1;
        }
        let mut quotas = quotas(1 << bits, nodes, &have);
        // Slots are visited in a scrambled order, so that what a node gives up lies all over the table: every
        // slot once, because the step is odd.
        let scrambled = (0..owners.len()).map(|i| i.wrapping_mul(SCRAMBLE) & (owners.len() - 1));
        let mut free = Vec::new();
        for slot in scrambled {
            match owners[slot].map(|owner| &mut quotas[usize::from(owner)]) {
                Some(left) if *left > 0 => *left -= 1,
                _ => free.push(slot),
            }
        }
        let mut takers: Vec<(u16, u32)> = (0..).zip(quotas).filter(|&(_, left)| left > 0).collect();
        let mut turn = 0;
        for slot in free {
            if takers.is_empty() {
                owners[slot] = None;
                continue;
            }
            turn %= takers.len();
            let (owner, left) = &mut takers[turn];
            owners[slot] = Some(*owner);
            *left -= 1;
            if *left == 0 {
                takers.remove(turn);
            } else {
                turn += 1;
            }
        }
        let owners = owners
            .into_iter()
            .map(|owner| owner.unwrap_or(NOBODY))
            .collect();
        let ranking = Ranking::new(&fleet.nodes, fleet.hash);
        SlotTable::of(fleet, bits, listed, owners, ranking)
    }

    fn of(fleet: Fleet, bits: u32, listed: u8, owners: Vec<u16>, ranking: Ranking) -> Self {
        let rows = Rows::new(&fleet.nodes, owners.len());
        let mut table = SlotTable {
            fleet,
            bits,
            owners,
            ranking,
            listed,
            lists: None,
            rows,
        };
        if listed > 1 {
            for slot in 0..table.n_slots() {
                table.know(slot);
            }
        }
        if usize::from(listed) > KEPT {
            let lists = ReplicaLists::new(&table, usize::from(listed));
            table.lists = Some(lists);
        }
        table
    }

    /// How many slots there are.
    pub fn n_slots(&self) -> u32 {
        1 << self.bits
    }

    /// The slot of a hash.
    #[inline]
    pub fn slot_of_hash(&self, hash: u64) -> u32 {
        (hash >> (64 - self.bits)) as u32
    }

    /// The owner of a slot; `None` if no node takes keys, or there is no such slot.
    #[inline]
    pub fn slot_owner(&self, slot: u32) -> Option<NodeId> {
        self.fleet.nodes.get(self.owner_index(slot))
    }

    /// The index of a slot's node. `NOBODY`, at which no table has a node, if there is none.
    #[inline]
    fn owner_index(&self, slot: u32) -> u16 {
        self.owners.get(slot as usize).copied().unwrap_or(NOBODY)
    }

    /// How many replicas of each slot are listed ahead.
    pub fn listed(&self) -> u8 {
        self.listed
    }

    /// A slot's owner, then all others in the slot's own order; the owner comes again among them.
    fn candidates(&self, slot: u32) -> impl Iterator<Item = u32> + Clone {
        let owner = self.owners[slot as usize];
        let owner = (owner != NOBODY).then_some(u32::from(owner));
        owner.into_iter().chain(self.ranking.order(slot_hash(slot)))
    }

    /// Works a slot's replicas out.
    fn pick(&self, slot: u32, into: &mut [NodeId]) -> usize {
        self.fleet
            .spread
            .pick(&self.fleet.nodes, self.candidates(slot), into)
    }

    /// Up to three replicas of a slot that are not known yet, or are not there.
    #[cold]
    #[inline(never)]
    fn new_replicas(&self, slot: u32, into: &mut [NodeId]) -> usize {
        let nodes = &self.fleet.nodes;
        let [second, third] = self.rows.followers(slot);
        let mut row = [self.owner_index(slot), second, third];
        // Whoever there is must be in the row.
        let wanted = into.len().min(nodes.n_weighted());
        if row[..wanted].contains(&NOBODY) {
            row = self.know(slot);
        }
        lists::write(nodes, &row, into)
    }

    /// A slot's replicas, if they are not just two or three.
    #[inline(never)]
    fn many_replicas(&self, slot: u32, into: &mut [NodeId]) -> usize {
        match &self.lists {
            _ if into.len() <= 1 => {
                lists::write(&self.fleet.nodes, &[self.owner_index(slot)], into)
            }
            Some(lists) if into.len() <= usize::from(self.listed) => {
                lists::write(&self.fleet.nodes, lists.of(slot), into)
            }
            _ => self.pick(slot, into),
        }
    }

    /// Works a slot's first replicas out, and keeps them from now on.
    fn know(&self, slot: u32) -> [u16; KEPT] {
        let nodes = &self.fleet.nodes;
        let mut ids = [NodeId(0); KEPT];
        let found = self.pick(slot, &mut ids);
        let mut row = [NOBODY; KEPT];
        for (index, id) in row.iter_mut().zip(&ids[..found]) {
            *index = nodes.index(*id).map_or(NOBODY, |index| index as u16);
        }
        self.rows.set(slot, row);
        row
    }

    /// The table as bytes: what all placements have, then the slot bits and the number of listed replicas as
    /// a byte each, and the index of each slot's node as `u16`, 65 535 for none.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Algorithm::SlotTable, &self.fleet);
        encoder.u8(self.bits as u8);
        encoder.u8(self.listed());
        for &owner in &self.owners {
            encoder.u16(owner);
        }
        encoder.finish()
    }

    /// Reads what [`to_bytes`](SlotTable::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes, and takes no more memory than a few times theirs,
    /// apart from the replica lists, which are made anew.
    pub fn from_bytes(bytes: &[u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        SlotTable::read(Decoder::open(bytes, hash)?.expect(Algorithm::SlotTable)?)
    }

    pub(crate) fn read(mut decoder: Decoder<'_>) -> Result<Self, DecodeError> {
        let bits = u32::from(decoder.u8()?);
        let listed = decoder.u8()?;
        if listed > MAX_LISTED {
            return Err(DecodeError::Malformed);
        }
        let options = SlotOptions {
            bits: Some(bits),
            listed,
        };
        let bits = options.bits(0).map_err(DecodeError::Invalid)?;
        let mut owners = Vec::with_capacity(decoder.remaining() / 2);
        for _ in 0..1u32 << bits {
            owners.push(decoder.u16()?);
        }
        let (fleet, _) = decoder
            .finish(options)?
            .into_parts(MAX_NODES)
            .map_err(DecodeError::Invalid)?;
        let nodes = fleet.nodes.as_slice();
        let owned = fleet.nodes.n_weighted() > 0;
        let fits = |&owner: &u16| match nodes.get(usize::from(owner)) {
            Some(node) => !node.weight.is_zero(),
            None => !owned && owner == NOBODY,
        };
        if !owners.iter().all(fits) {
            return Err(DecodeError::Malformed);
        }
        let ranking = Ranking::new(&fleet.nodes, fleet.hash);
        Ok(SlotTable::of(fleet, bits, listed, owners, ranking))
    }
}

/// A hash that stands for a slot where nodes are ranked for it. Frozen.
fn slot_hash(slot: u32) -> u64 {
    nth(0, u64::from(slot) + 1)
}

/// An odd number near the golden section of 2^32, whose multiples visit slots far from each other.
const SCRAMBLE: usize = 0x9e37_79b1;

impl Placement for SlotTable {
    #[inline]
    fn hash_key(&self, key: &[u8]) -> u64 {
        self.fleet.hash.of_bytes(key)
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        self.slot_owner(self.slot_of_hash(hash))
    }

    #[inline]
    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let slot = self.slot_of_hash(hash);
        let (2 | KEPT) = into.len() else {
            return self.many_replicas(slot, into);
        };
        // Three copies are what most stores keep, or two. Known ones are loads and nothing else.
        let owner = || self.owner_index(slot);
        let Some(ids) = self.rows.three(slot, &self.fleet.nodes, owner) else {
            return self.new_replicas(slot, into);
        };
        match into {
            [first, second, third] => [*first, *second, *third] = ids,
            _ => into.copy_from_slice(&ids[..2]),
        }
        into.len()
    }
}

impl fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SlotTable")
            .field("fleet", &self.fleet)
            .field("n_slots", &self.n_slots())
            .field("listed", &self.listed())
            .finish()
    }
}
