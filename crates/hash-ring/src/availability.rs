//! The arithmetic of mirroring: what is lost when nodes are.

/// The expected part of all keys that cannot be served when `lost_zones` of `zones` equal zones, chosen at
/// random, are down and, in the zones that are left, `lost_nodes` of the nodes, chosen at random.
///
/// Each key has `copies` copies on distinct nodes, spread over zones as [`Spread::Zones`](crate::Spread) does,
/// and can be served while at least `needed` of them are up: 1 for mirrored caches, a majority for a quorum.
/// Each zone has `nodes_per_zone` nodes. `None` if that does not describe a fleet: no zones or no nodes,
/// more losses than there are zones or nodes, more copies than nodes, or `needed` outside `1..=copies`.
///
/// The result is exact but for floating point: copies fall into zones as evenly as they can, zones fail as
/// whole, and nodes by the hypergeometric distribution. Takes O(copies³) at most.
///
/// # The RAID table of service tiers
///
/// What a tier of `copies` buys, in the words of disks:
///
/// | tier | copies, needed | like | survives | room used |
/// |---|---|---|---|---|
/// | cache, striped | 1, 1 | RAID 0 | nothing: `1/n` of the keys a node | 1 × |
/// | mirrored | 2, 1 | RAID 1 | any one node or zone | 2 × |
/// | triple mirror | 3, 1 | RAID 1 with three disks | any two | 3 × |
/// | quorum | 3, 2 | RAID 6's promise | any one, with agreement on the newest value | 3 × |
/// | wide quorum | 5, 3 | none | any two, with agreement | 5 × |
///
/// ```
/// use purlin_hash_ring::{Loss, expected_unavailable};
///
/// let loss = Loss { zones: 3, nodes_per_zone: 4, lost_zones: 1, lost_nodes: 0 };
/// assert_eq!(expected_unavailable(loss, 3, 2), Some(0.0)); // A quorum outlives a zone.
/// assert_eq!(expected_unavailable(loss, 1, 1).map(|part| (part * 3.0).round()), Some(1.0));
/// ```
pub fn expected_unavailable(loss: Loss, copies: u32, needed: u32) -> Option<f64> {
    let Loss {
        zones,
        nodes_per_zone,
        lost_zones,
        lost_nodes,
    } = loss;
    let n_nodes = u64::from(zones) * u64::from(nodes_per_zone);
    let left = u64::from(zones.checked_sub(lost_zones)?) * u64::from(nodes_per_zone);
    let describes = n_nodes > 0
        && u64::from(copies) <= n_nodes
        && (1..=copies).contains(&needed)
        && u64::from(lost_nodes) <= left;
    if !describes {
        return None;
    }
    // `rich` zones have one copy more than the others.
    let (each, rich) = (copies / zones, copies % zones);
    let mut unserved = 0.0;
    for lost_rich in 0..=lost_zones.min(rich) {
        let chance = hypergeometric(
            u64::from(zones),
            u64::from(rich),
            u64::from(lost_zones),
            u64::from(lost_rich),
        );
        if chance == 0.0 {
            continue;
        }
        let copies_left = copies - lost_zones * each - lost_rich;
        for lost_copies in 0..=copies_left.min(lost_nodes) {
            if copies_left - lost_copies < needed {
                let nodes = hypergeometric(
                    left,
                    u64::from(copies_left),
                    u64::from(lost_nodes),
                    u64::from(lost_copies),
                );
                unserved += chance * nodes;
            }
        }
    }
    Some(unserved)
}

/// What a fleet has, and what it has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "four numbers that a caller names; any value has an answer"
)]
pub struct Loss {
    /// How many zones there are.
    pub zones: u32,
    /// How many nodes are in each.
    pub nodes_per_zone: u32,
    /// How many zones are down.
    pub lost_zones: u32,
    /// How many nodes are down in the zones that are left.
    pub lost_nodes: u32,
}

/// The chance that of `drawn` items out of `all`, of which `marked` are marked, exactly `hit` are.
fn hypergeometric(all: u64, marked: u64, drawn: u64, hit: u64) -> f64 {
    if hit > marked || hit > drawn || drawn - hit > all - marked {
        return 0.0;
    }
    // C(marked, hit) · C(all − marked, drawn − hit) / C(all, drawn), as a product whose factors stay near 1:
    // the marked items are drawn or spared one after the other, in any of C(marked, hit) orders.
    let mut chance = 1.0;
    let (mut drawn_left, mut spared_left) = (drawn as f64, (all - drawn) as f64);
    for item in 0..marked {
        let left = (all - item) as f64;
        if item < hit {
            chance *= drawn_left / left * (marked - item) as f64 / (hit - item) as f64;
            drawn_left -= 1.0;
        } else {
            chance *= spared_left / left;
            spared_left -= 1.0;
        }
    }
    chance
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    /// Beside every way of losing nodes, counted one by one.
    #[test]
    fn small_fleets_agree_with_counting() {
        let (zones, nodes_per_zone) = (3u32, 2u32);
        let n = zones * nodes_per_zone;
        for copies in 1..=n {
            for needed in 1..=copies {
                for lost_zones in 0..=zones {
                    for lost_nodes in 0..=(zones - lost_zones) * nodes_per_zone {
                        let (mut bad, mut all) = (0u32, 0u32);
                        // Node i is in zone i % 3, so a key on the first `copies` nodes is spread.
                        for down_zones in
                            (0..1u32 << zones).filter(|set| set.count_ones() == lost_zones)
                        {
                            for down in (0..1u32 << n).filter(|set| set.count_ones() == lost_nodes)
                            {
                                let in_down_zone =
                                    |node: u32| down_zones >> (node % zones) & 1 == 1;
                                if (0..n).any(|node| down >> node & 1 == 1 && in_down_zone(node)) {
                                    continue;
                                }
                                let up = (0..copies)
                                    .filter(|&node| down >> node & 1 == 0 && !in_down_zone(node))
                                    .count();
                                all += 1;
                                bad += u32::from((up as u32) < needed);
                            }
                        }
                        let loss = Loss {
                            zones,
                            nodes_per_zone,
                            lost_zones,
                            lost_nodes,
                        };
                        let counted = f64::from(bad) / f64::from(all);
                        let found = expected_unavailable(loss, copies, needed)
                            .expect("it describes a fleet");
                        assert!(
                            (counted - found).abs() < 1e-9,
                            "{loss:?}, {needed} of {copies}: {counted} {found}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn nonsense_has_no_answer_and_large_fleets_do() {
        let loss = Loss {
            zones: 3,
            nodes_per_zone: 4,
            lost_zones: 1,
            lost_nodes: 2,
        };
        assert_eq!(expected_unavailable(loss, 0, 1), None);
        assert_eq!(expected_unavailable(loss, 3, 0), None);
        assert_eq!(expected_unavailable(loss, 3, 4), None);
        assert_eq!(expected_unavailable(loss, 13, 1), None);
        assert_eq!(
            expected_unavailable(
                Loss {
                    lost_zones: 4,
                    ..loss
                },
                3,
                1
            ),
            None
        );
        assert_eq!(
            expected_unavailable(
                Loss {
                    lost_nodes: 9,
                    ..loss
                },
                3,
                1
            ),
            None
        );
        assert_eq!(expected_unavailable(Loss { zones: 0, ..loss }, 3, 1), None);
        let many = Loss {
            zones: 1,
            nodes_per_zone: 10_000,
            lost_zones: 0,
            lost_nodes: 2,
        };
        let pair = expected_unavailable(many, 2, 1).expect("it describes a fleet");
        assert!(
            (pair / (2.0 / (10_000.0 * 9_999.0)) - 1.0).abs() < 1e-9,
            "{pair}"
        );
    }
}
