use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Items in numbered slots, linked from the newest to the oldest.
///
/// An item keeps its number until it is taken out, so tables and timers can name it by that. Freed slots are used
/// again before the vector grows; the vector never shrinks.
#[derive(Debug)]
pub(super) struct Slots<T> {
    nodes: Vec<Node<T>>,
    /// The first free slot, or `NONE`. The others follow by `older`.
    free: u32,
    /// `NONE` if nothing is listed, and then so is `oldest`.
    newest: u32,
    oldest: u32,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    /// `None` in a free slot.
    item: Option<T>,
    newer: u32,
    older: u32,
}

/// No slot.
const NONE: u32 = u32::MAX;

impl<T> Slots<T> {
    /// The most items there can be, one for each number that is not `NONE`.
    pub(super) const MAX: usize = NONE as usize;

    pub(super) const fn new() -> Self {
        Slots {
            nodes: Vec::new(),
            free: NONE,
            newest: NONE,
            oldest: NONE,
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// The item in a slot that may be free or not exist.
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.nodes.get(at as usize)?.item.as_ref()
    }

    /// Numbers of slots ever used: every item's number is below this.
    pub(super) fn end(&self) -> u32 {
        // `push` never makes more than `MAX` nodes.
        self.nodes.len() as u32
    }

    /// Puts an item in a free slot, as the newest. The caller has made room below `MAX`.
    pub(super) fn push(&mut self, item: T) -> u32 {
        let at = match self.free {
            NONE => {
                assert!(self.nodes.len() < Self::MAX, "room was made before");
                self.nodes.push(Node {
                    item: None,
                    newer: NONE,
                    older: NONE,
                });
                (self.nodes.len() - 1) as u32
            }
            free => {
                self.free = self.nodes[free as usize].older;
                free
            }
        };
        self.nodes[at as usize].item = Some(item);
        self.link_newest(at);
        self.len += 1;
        at
    }

    /// Makes the item in a used slot the newest.
    #[inline]
    pub(super) fn touch(&mut self, at: u32) {
        if self.newest != at {
            self.unlink(at);
            self.link_newest(at);
        }
    }

    /// Takes the item out of a used slot.
    pub(super) fn take(&mut self, at: u32) -> T {
        self.unlink(at);
        self.len -= 1;
        let node = &mut self.nodes[at as usize];
        node.older = self.free;
        self.free = at;
        node.item.take().expect(LISTED)
    }

    /// All items, newest first, each with its number.
    pub(super) fn iter(&self) -> Recency<'_, T> {
        Recency {
            slots: self,
            next: self.newest,
            left: self.len,
        }
    }

    fn link_newest(&mut self, at: u32) {
        let before = self.newest;
        let node = &mut self.nodes[at as usize];
        node.newer = NONE;
        node.older = before;
        match before {
            NONE => self.oldest = at,
            before => self.nodes[before as usize].newer = at,
        }
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Node { newer, older, .. } = self.nodes[at as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.nodes[older as usize].newer = newer,
        }
    }
}

/// Why an item must be there: numbers are handed out by `push` and forgotten by whoever calls `take`.
const LISTED: &str = "a listed slot holds an item";

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: u32) -> &T {
        self.nodes[at as usize].item.as_ref().expect(LISTED)
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    #[inline]
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.nodes[at as usize].item.as_mut().expect(LISTED)
    }
}

/// The items of [`Slots`], newest first.
#[derive(Debug)]
pub(crate) struct Recency<'a, T> {
    slots: &'a Slots<T>,
    next: u32,
    left: usize,
}

impl<'a, T> Iterator for Recency<'a, T> {
    type Item = (u32, &'a T);

    fn next(&mut self) -> Option<(u32, &'a T)> {
        if self.next == NONE {
            return None;
        }
        let at = self.next;
        self.next = self.slots.nodes[at as usize].older;
        self.left -= 1;
        Some((at, &self.slots[at]))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(slots: &Slots<char>) -> Vec<char> {
        slots.iter().map(|(_, &item)| item).collect()
    }

    #[test]
    fn items_stand_from_newest_to_oldest_and_freed_slots_are_used_again() {
        let mut slots = Slots::new();
        let a = slots.push('a');
        let b = slots.push('b');
        let c = slots.push('c');
        assert_eq!(order(&slots), ['c', 'b', 'a']);
        slots.touch(a);
        slots.touch(a);
        assert_eq!(order(&slots), ['a', 'c', 'b']);
        assert_eq!(slots.oldest(), Some(b));

        assert_eq!(slots.take(c), 'c');
        assert_eq!(order(&slots), ['a', 'b']);
        assert_eq!((slots.get(c), slots.get(99)), (None, None));
        assert_eq!(slots.push('d'), c);
        assert_eq!(slots.end(), 3);
        assert_eq!(order(&slots), ['d', 'a', 'b']);

        for at in [b, c, a] {
            slots.take(at);
        }
        assert_eq!((slots.len(), slots.oldest()), (0, None));
        assert_eq!(slots.iter().size_hint(), (0, Some(0)));
    }
}
