//! Where nodes stand, and how many of them may be chosen side by side.

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use purlin_core::Node;

/// The failure domains of some nodes, as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// In the order of the nodes.
    places: Vec<Place>,
    /// In which replicas are chosen that are spread over zones alone.
    by_zone: Vec<Round>,
    /// In which they are chosen where racks count too; empty if no node names one, which is the same rounds.
    by_rack: Vec<Round>,
    /// How many nodes take keys.
    n_weighted: u32,
}

/// Where one node stands. Nodes of one zone have one number there, and of one rack here. A node of no zone has a
/// zone of its own and a node of no rack a rack of its own; no rack is in two zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) zone: u32,
    pub(crate) rack: u32,
}

/// One time through the candidates, in which a node is taken if there are fewer in its zone and rack so far.
///
/// Rounds are in an order in which each finds something if enough is asked for: no node is the second in its
/// zone while a zone has none, and among those that may be the second, none the second in its rack while
/// another rack has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) per_zone: u32,
    pub(crate) per_rack: u32,
    /// How many nodes with a weight above 0 there can be after this round.
    pub(crate) reach: u32,
}

impl Places {
    pub(crate) fn of(nodes: &[Node]) -> Self {
        let mut zones = BTreeMap::new();
        let mut racks = BTreeMap::new();
        // How many nodes take keys, by the number of a zone, and by that of a rack with its zone.
        let mut in_zone: Vec<u32> = Vec::new();
        let mut in_rack: Vec<(u32, u32)> = Vec::new();
        let mut places = Vec::with_capacity(nodes.len());
        for node in nodes {
            let fresh = in_zone.len() as u32;
            let zone = match &node.zone {
                Some(zone) => *zones.entry(zone).or_insert(fresh),
                None => fresh,
            };
            if zone == fresh {
                in_zone.push(0);
            }
            let fresh = in_rack.len() as u32;
            let rack = match &node.rack {
                Some(rack) => *racks.entry((zone, rack)).or_insert(fresh),
                None => fresh,
            };
            if rack == fresh {
                in_rack.push((zone, 0));
            }
            let taker = u32::from(!node.weight.is_zero());
            in_zone[zone as usize] += taker;
            in_rack[rack as usize].1 += taker;
            places.push(Place { zone, rack });
        }
        let by_rack = if racks.is_empty() {
            Vec::new()
        } else {
            rounds_by_rack(in_zone.len(), in_rack)
        };
        Places {
            places,
            n_weighted: in_zone.iter().sum(),
            by_zone: rounds_by_zone(&mut in_zone),
            by_rack,
        }
    }

    #[inline]
    pub(crate) fn at(&self, index: u32) -> Place {
        self.places[index as usize]
    }

    pub(crate) fn rounds_by_zone(&self) -> &[Round] {
        &self.by_zone
    }

    pub(crate) fn rounds_by_zone_and_rack(&self) -> &[Round] {
        if self.by_rack.is_empty() {
            &self.by_zone
        } else {
            &self.by_rack
        }
    }

    #[inline]
    pub(crate) fn n_weighted(&self) -> usize {
        self.n_weighted as usize
    }
}

/// One round for each number of nodes in a zone, given the sizes of the zones.
fn rounds_by_zone(sizes: &mut [u32]) -> Vec<Round> {
    sizes.sort_unstable();
    let (mut reach, mut exhausted) = (0, 0);
    let largest = sizes.last().copied().unwrap_or(0);
    let round = |taken| {
        // A zone gives one more as long as it has more than were taken.
        exhausted += sizes[exhausted..].partition_point(|&size| size <= taken);
        reach += (sizes.len() - exhausted) as u32;
        Round {
            per_zone: taken + 1,
            per_rack: u32::MAX,
            reach,
        }
    };
    (0..largest).map(round).collect()
}

/// The rounds where racks count, given the zone and the size of each rack.
///
/// A zone gives its nodes one after the other from its least used racks. So its nodes are its racks' first ones,
/// then the second ones of those racks that have two, and so on, and which round each is found in follows from
/// the sizes alone: the `i`-th of the zone, if it is the `j`-th of its rack, in the round that allows just `i` and
/// `j`.
fn rounds_by_rack(n_zones: usize, mut in_rack: Vec<(u32, u32)>) -> Vec<Round> {
    in_rack.sort_unstable();
    // How many the zones have given so far.
    let mut given: Vec<u32> = vec![0; n_zones];
    let mut found: BTreeMap<(u32, u32), u32> = BTreeMap::new();
    let mut per_rack = 0;
    while !in_rack.is_empty() {
        in_rack.retain(|&(_, size)| size > per_rack);
        per_rack += 1;
        for &(zone, _) in &in_rack {
            let per_zone = &mut given[zone as usize];
            *per_zone += 1;
            *found.entry((*per_zone, per_rack)).or_default() += 1;
        }
    }
    let mut reach = 0;
    let round = |((per_zone, per_rack), n)| {
        reach += n;
        Round {
            per_zone,
            per_rack,
            reach,
        }
    };
    found.into_iter().map(round).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_zone(sizes: &mut [u32]) -> Vec<u32> {
        let rounds = rounds_by_zone(sizes);
        assert!((1..).zip(&rounds).all(|(i, round)| round.per_zone == i));
        rounds.into_iter().map(|round| round.reach).collect()
    }

    #[test]
    fn zones_give_one_node_each_and_round() {
        assert_eq!(by_zone(&mut []), []);
        assert_eq!(by_zone(&mut [0, 0]), []);
        assert_eq!(by_zone(&mut [1, 1, 1]), [3]);
        assert_eq!(by_zone(&mut [3, 1, 0, 2]), [3, 5, 6]);
    }

    #[test]
    fn racks_give_one_node_each_before_a_second() {
        let rounds = |n_zones, racks: &[(u32, u32)]| -> Vec<(u32, u32, u32)> {
            rounds_by_rack(n_zones, racks.to_vec())
                .into_iter()
                .map(|round| (round.per_zone, round.per_rack, round.reach))
                .collect()
        };
        assert_eq!(rounds(0, &[]), []);
        assert_eq!(rounds(1, &[(0, 0)]), []);
        // One zone of racks of 3 and 1; one of a rack of 2.
        assert_eq!(
            rounds(2, &[(0, 3), (0, 1), (1, 2)]),
            [(1, 1, 2), (2, 1, 3), (2, 2, 4), (3, 2, 5), (4, 3, 6)]
        );
    }
}
