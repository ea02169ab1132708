//! Which of a key's candidates become its replicas.

use core::ops::ControlFlow;

use purlin_core::NodeId;

use crate::nodes::Nodes;
use crate::places::{Place, Round};

/// Where the replicas of a key may stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spread {
    /// On any distinct nodes.
    #[default]
    Anywhere,
    /// In as many zones as there are: no two replicas in one zone until every zone has one, no three until
    /// every zone that can has two, and so on. A node of no zone counts as a zone of its own.
    Zones,
    /// As over `Zones`, and where a zone must hold more than one, in as many of its racks as there are: among the
    /// nodes that zones allow, none in a rack with more replicas than another's. A node of no rack, or of no zone,
    /// counts as a rack of its own.
    ///
    /// ```
    /// use purlin_core::{Node, NodeId, Rack, Zone};
    /// use purlin_hash_ring::{Ring, Spread};
    ///
    /// // Two zones of two racks of two nodes.
    /// let nodes = (0..8u64).map(|i| {
    ///     let (zone, rack) = (Zone::new(format!("zone-{}", i / 4)), Rack::new(format!("rack-{}", i / 2)));
    ///     Node::new(NodeId(i), format!("db-{i}")).with_zone(zone).with_rack(rack)
    /// });
    /// let ring = Ring::builder().spread(Spread::ZonesAndRacks).nodes(nodes).build()?;
    /// let mut copies = [NodeId(0); 4];
    /// ring.replicas("user:17", &mut copies);
    /// let mut racks = copies.map(|id| id.0 / 2);
    /// racks.sort();
    /// assert_eq!(racks, [0, 1, 2, 3]); // One copy in each rack, and so two in each zone.
    /// # Ok::<(), purlin_hash_ring::BuildError>(())
    /// ```
    ZonesAndRacks,
}

impl Spread {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Spread::Anywhere => 0,
            Spread::Zones => 1,
            Spread::ZonesAndRacks => 2,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Spread::Anywhere),
            1 => Some(Spread::Zones),
            2 => Some(Spread::ZonesAndRacks),
            _ => None,
        }
    }

    /// Writes the distinct nodes to take from `candidates`, which are indexes of nodes with a weight above
    /// 0, best first, perhaps with repetitions, and contain each such node once at least. Returns how many:
    /// as many as fit or as there are.
    ///
    /// The first candidate is always taken. Where replicas are spread the candidates are gone through once for
    /// each number of them allowed in a zone, or in a zone and a rack, so that what is taken depends on their
    /// order alone: a lost node is replaced by the next one that is allowed, and the others stay. (Racks lie in
    /// zones, so this is a greedy choice under limits on a laminar family of sets, where one element less changes
    /// the best choice by one.)
    #[inline]
    pub(crate) fn pick(
        self,
        nodes: &Nodes,
        candidates: impl Iterator<Item = u32> + Clone,
        into: &mut [NodeId],
    ) -> usize {
        let wanted = into.len().min(nodes.n_weighted());
        match self {
            Spread::Anywhere => pick_distinct(nodes, candidates, &mut into[..wanted]),
            Spread::Zones => {
                let rounds = nodes.places().rounds_by_zone();
                pick_by_rounds(nodes, rounds, candidates, &mut into[..wanted])
            }
            Spread::ZonesAndRacks => {
                let rounds = nodes.places().rounds_by_zone_and_rack();
                pick_by_rounds(nodes, rounds, candidates, &mut into[..wanted])
            }
        }
    }
}

/// Asks for no candidate that it does not need: the next one may cost a pass over all nodes.
#[inline]
fn pick_distinct(
    nodes: &Nodes,
    mut candidates: impl Iterator<Item = u32>,
    into: &mut [NodeId],
) -> usize {
    if into.is_empty() {
        return 0;
    }
    let mut found = 0;
    // The iterator runs the loop: on a circle that is two plain loops instead of a question at each step
    // whether the end was passed.
    let full = candidates.try_for_each(|index| {
        let id = nodes.id(index);
        if !into[..found].contains(&id) {
            into[found] = id;
            found += 1;
        }
        if found < into.len() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    debug_assert!(full.is_break(), "there are as many candidates as wanted");
    found
}

fn pick_by_rounds(
    nodes: &Nodes,
    rounds: &[Round],
    candidates: impl Iterator<Item = u32> + Clone,
    into: &mut [NodeId],
) -> usize {
    let mut found = 0;
    for round in rounds {
        // Once this many are found, all is as full as this round allows, and only the next one finds more.
        let enough = into.len().min(round.reach as usize);
        let mut candidates = candidates.clone();
        while found < enough {
            let Some(index) = candidates.next() else {
                break;
            };
            let id = nodes.id(index);
            let taken = &into[..found];
            if !taken.contains(&id) && is_allowed(nodes, round, taken, nodes.places().at(index)) {
                into[found] = id;
                found += 1;
            }
        }
        if found == into.len() {
            break;
        }
    }
    found
}

/// Whether a round has room at a place beside what is taken.
fn is_allowed(nodes: &Nodes, round: &Round, taken: &[NodeId], place: Place) -> bool {
    let places = taken
        .iter()
        .filter_map(|&id| nodes.index(id).ok())
        .map(|index| nodes.places().at(index as u32));
    let (mut in_zone, mut in_rack) = (0, 0);
    for other in places {
        in_zone += u32::from(other.zone == place.zone);
        in_rack += u32::from(other.rack == place.rack);
    }
    in_zone < round.per_zone && in_rack < round.per_rack
}
