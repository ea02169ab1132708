//! How evenly keys lie, and which move.

use std::time::Instant;

use super::contender::{Contender, Member, fleet};

/// Of some keys among some nodes.
#[derive(Clone, Debug)]
pub(crate) struct Movement {
    /// How many keys were looked up: fewer where a lookup is slow.
    pub(crate) keys: usize,
    /// The fullest node's keys, as a multiple of its share by weight.
    pub(crate) peak: f64,
    /// One node comes.
    pub(crate) add: Moved,
    /// One of the middle goes.
    pub(crate) remove: Moved,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    /// Keys that moved, as a multiple of those that had to: the new node's share, or what the old one held.
    pub(crate) to_least: f64,
    /// The part of all keys that moved between two nodes that nothing happened to.
    pub(crate) stray: f64,
}

impl Movement {
    /// For a table: peak, and both changes with what went astray.
    pub(crate) fn cells(&self) -> [String; 5] {
        let percent = |part: f64| format!("{:.2}", part * 100.0);
        [
            format!("{:.3}", self.peak),
            format!("{:.2}", self.add.to_least),
            percent(self.add.stray),
            format!("{:.2}", self.remove.to_least),
            percent(self.remove.stray),
        ]
    }
}

/// Seconds to spend on looking all keys up once.
const PATIENCE: f64 = 0.4;

pub(crate) fn movement<C: Contender>(n: u32, weighted: bool, keys: &[u64]) -> Movement {
    let members = fleet(n, weighted);
    let mut contender = C::build(&members);
    let trial = 512;
    let start = Instant::now();
    let owners = |contender: &C, keys: &[u64]| -> Vec<u32> {
        keys.iter().map(|&key| contender.owner(key)).collect()
    };
    owners(&contender, &keys[..trial]);
    let affordable = PATIENCE / (start.elapsed().as_secs_f64() / trial as f64);
    let keys = &keys[..(affordable as usize).clamp(trial, keys.len())];

    let before = owners(&contender, keys);
    let total: u32 = members.iter().map(|member| member.weight).sum();
    let peak = peak(&members, total, &before);

    let newcomer = Member { id: n, weight: 1 };
    let after = {
        let mut larger = members.clone();
        larger.push(newcomer);
        if contender.add(newcomer) {
            let after = owners(&contender, keys);
            contender.remove(n);
            after
        } else {
            owners(&C::build(&larger), keys)
        }
    };
    let share = f64::from(newcomer.weight) / f64::from(total + newcomer.weight);
    let add = moved(&before, &after, share * keys.len() as f64, |_, after| {
        after == n
    });

    let gone = n / 2;
    let after = {
        let smaller: Vec<Member> = members
            .iter()
            .copied()
            .filter(|member| member.id != gone)
            .collect();
        // Built anew, because the newcomer that came and went may have left traces in a history.
        let mut contender = C::build(&members);
        if contender.remove(gone) {
            owners(&contender, keys)
        } else {
            owners(&C::build(&smaller), keys)
        }
    };
    let held = before.iter().filter(|&&owner| owner == gone).count();
    let remove = moved(&before, &after, held as f64, |before, _| before == gone);
    Movement {
        keys: keys.len(),
        peak,
        add,
        remove,
    }
}

fn peak(members: &[Member], total: u32, owners: &[u32]) -> f64 {
    let mut loads = vec![0u32; members.len()];
    owners.iter().for_each(|&owner| loads[owner as usize] += 1);
    let share = |member: &Member| f64::from(member.weight) / f64::from(total) * owners.len() as f64;
    members
        .iter()
        .zip(loads)
        .map(|(member, load)| f64::from(load) / share(member))
        .fold(0.0, f64::max)
}

fn moved(before: &[u32], after: &[u32], least: f64, had_to: impl Fn(u32, u32) -> bool) -> Moved {
    let changes = before
        .iter()
        .zip(after)
        .filter(|(before, after)| before != after);
    let (mut all, mut stray) = (0u32, 0u32);
    for (&before, &after) in changes {
        all += 1;
        stray += u32::from(!had_to(before, after));
    }
    Moved {
        to_least: f64::from(all) / least,
        stray: f64::from(stray) / before.len() as f64,
    }
}
