//! Which of a key's candidates become its replicas.

use core::ops::ControlFlow;

use purlin_core::NodeId;

use crate::nodes::Nodes;

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
}

impl Spread {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Spread::Anywhere => 0,
            Spread::Zones => 1,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Spread::Anywhere),
            1 => Some(Spread::Zones),
            _ => None,
        }
    }

    /// Writes the distinct nodes to take from `candidates`, which are indexes of nodes with a weight above
    /// 0, best first, perhaps with repetitions, and contain each such node once at least. Returns how many:
    /// as many as fit or as there are.
    ///
    /// The first candidate is always taken. Under `Zones` the candidates are gone through once for each
    /// number of replicas allowed in a zone, so that what is taken depends on their order alone: a lost
    /// node is replaced by the next one that is allowed, and the others stay.
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
            Spread::Zones => pick_by_zone(nodes, candidates, &mut into[..wanted]),
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

fn pick_by_zone(
    nodes: &Nodes,
    candidates: impl Iterator<Item = u32> + Clone,
    into: &mut [NodeId],
) -> usize {
    let mut found = 0;
    let mut per_zone = 0;
    while found < into.len() {
        per_zone += 1;
        // Once this many are found, all zones are as full as they may be, and only the next round finds more.
        let enough = into.len().min(nodes.reach(per_zone));
        let mut candidates = candidates.clone();
        while found < enough {
            let Some(index) = candidates.next() else {
                break;
            };
            let id = nodes.id(index);
            let taken = &into[..found];
            if !taken.contains(&id) && count_in_zone(nodes, taken, nodes.zone(index)) < per_zone {
                into[found] = id;
                found += 1;
            }
        }
    }
    found
}

fn count_in_zone(nodes: &Nodes, taken: &[NodeId], zone: u32) -> usize {
    taken
        .iter()
        .filter(|&&id| {
            nodes
                .index(id)
                .is_ok_and(|index| nodes.zone(index as u32) == zone)
        })
        .count()
}
