use alloc::boxed::Box;
#[cfg(feature = "std")]
use alloc::vec::Vec;

use purlin_core::Tick;

use super::Sets;
use super::extras::Extras;
use super::group::Group;
#[cfg(feature = "std")]
use crate::engine::Kind;
use crate::raw::Slots;

impl<K, V, B: Slots<(K, V), Extras>> Sets<K, V, B> {
    /// A walk is in the order of positions, which stays when the table doubles meanwhile; so it meets each entry
    /// that stays exactly once.
    #[cfg(feature = "std")]
    pub(crate) fn walk(
        &self,
        from: u64,
        kind: Kind,
        now: Tick,
        most: usize,
        mut each: impl FnMut(&K, &V),
    ) -> Option<u64> {
        let mut met = 0;
        let (mut from, mut looked_at) = (from, 0);
        let bits = 16 - self.doublings;
        let end = (self.groups.len() as u64) << bits;
        while from < end {
            let set = (from >> bits) as usize;
            let group = &self.groups[set];
            let mut ahead: Vec<(u64, usize)> = (0..group.len())
                .map(|at| (self.position(set, at).into(), at))
                .filter(|&(position, _)| position >= from)
                .collect();
            ahead.sort_unstable();
            let mut before = None;
            for (position, at) in ahead {
                // Those of one position go together, for a walk cannot go on between them.
                if met >= most && before != Some(position) {
                    return Some(position);
                }
                before = Some(position);
                let entry = match kind {
                    Kind::Living => group.living(at, &self.expiry, now),
                    Kind::Kept => group.unspent(at, &self.expiry, now),
                };
                if let Some((key, value)) = entry {
                    each(key, value);
                    met += 1;
                }
            }
            from = (set as u64 + 1) << bits;
            looked_at += 1;
            if met >= most || looked_at >= most {
                break;
            }
        }
        (from < end).then_some(from)
    }

    pub(crate) fn iter(&self, now: Tick) -> Iter<'_, K, V, B> {
        Iter {
            sets: self,
            now,
            set: 0,
            at: 0,
            left: self.len(),
        }
    }
}

/// What [`Sets`] held when they were cleared.
#[derive(Debug)]
pub(crate) struct Cleared<K, V, B>(pub(super) Box<[Group<K, V, B>]>);

impl<K, V, B: Slots<(K, V), Extras>> Cleared<K, V, B> {
    pub(crate) fn for_each(&self, mut each: impl FnMut(&K, &V)) {
        for group in &self.0 {
            for at in 0..group.len() {
                let (key, value) = group.entry(at);
                each(key, value);
            }
        }
    }
}

/// The entries of [`Sets`] that are not over, set by set.
pub(crate) struct Iter<'a, K, V, B: Slots<(K, V), Extras>> {
    sets: &'a Sets<K, V, B>,
    now: Tick,
    set: usize,
    at: usize,
    left: usize,
}

impl<'a, K, V, B: Slots<(K, V), Extras>> Iterator for Iter<'a, K, V, B> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            let group = self.sets.groups.get(self.set)?;
            if self.at == group.len() {
                (self.set, self.at) = (self.set + 1, 0);
                continue;
            }
            let entry = group.living(self.at, &self.sets.expiry, self.now);
            self.at += 1;
            self.left -= 1;
            if entry.is_some() {
                return entry;
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
