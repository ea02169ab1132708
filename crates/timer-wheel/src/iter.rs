//! Walking over all timers.

use core::fmt;

use crate::slab::{Slab, TimerId};
use crate::wheel::{Node, Wheel};

/// The timers of a wheel: id, deadline and item. Made by [`Wheel::iter`].
pub struct Iter<'a, T> {
    timers: &'a Slab<Node<T>>,
    next_idx: u32,
}

impl<'a, T> Iter<'a, T> {
    pub(crate) fn new(timers: &'a Slab<Node<T>>) -> Self {
        Iter {
            timers,
            next_idx: 0,
        }
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = (TimerId, u64, &'a T);

    fn next(&mut self) -> Option<Self::Item> {
        while self.next_idx < self.timers.end() {
            let id = self.timers.id_of(self.next_idx);
            self.next_idx += 1;
            if let Some(id) = id {
                return self
                    .timers
                    .get(id)
                    .map(|node| (id, node.deadline, &node.item));
            }
        }
        None
    }
}

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Iter {
            timers: self.timers,
            next_idx: self.next_idx,
        }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iter")
            .field("next_idx", &self.next_idx)
            .finish_non_exhaustive()
    }
}

/// Empties a wheel: each deadline with its item. Made by [`Wheel::drain`].
pub struct Drain<'a, T> {
    wheel: &'a mut Wheel<T>,
    next_idx: u32,
}

impl<'a, T> Drain<'a, T> {
    pub(crate) fn new(wheel: &'a mut Wheel<T>) -> Self {
        Drain { wheel, next_idx: 0 }
    }
}

impl<T> Iterator for Drain<'_, T> {
    type Item = (u64, T);

    fn next(&mut self) -> Option<(u64, T)> {
        while self.next_idx < self.wheel.timers.end() {
            let id = self.wheel.timers.id_of(self.next_idx);
            self.next_idx += 1;
            if let Some(id) = id {
                let deadline = self.wheel.deadline(id)?;
                return self.wheel.cancel(id).map(|item| (deadline, item));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.wheel.len(), Some(self.wheel.len()))
    }
}

impl<T> ExactSizeIterator for Drain<'_, T> {}

impl<T> Drop for Drain<'_, T> {
    fn drop(&mut self) {
        // An item whose drop panics leaves the rest in the wheel, which is whole.
        self.for_each(drop);
    }
}

impl<T> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("wheel", &self.wheel)
            .finish_non_exhaustive()
    }
}
