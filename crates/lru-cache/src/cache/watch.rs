use alloc::vec::Vec;

use equivalent::Equivalent;

/// Entries that were shown to somebody who will come back to them: which of them were written to meanwhile.
///
/// Under the lock of the shard whose entries they are. It costs a write nothing while nobody watches.
#[derive(Debug)]
pub(super) struct Watches<K> {
    watched: Vec<Watch<K>>,
    next_id: u64,
}

/// The entries of one who looks.
#[derive(Debug)]
pub(super) struct Watch<K> {
    id: u64,
    keys: Vec<K>,
    /// Whether the entry of each key is another by now, or gone.
    written: Vec<bool>,
}

impl<K> Watches<K> {
    pub(super) fn new() -> Self {
        Watches {
            watched: Vec::new(),
            next_id: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }

    /// Begins to watch these keys, under the lock under which their entries were seen.
    pub(super) fn begin(&mut self, keys: Vec<K>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let written = keys.iter().map(|_| false).collect();
        self.watched.push(Watch { id, keys, written });
        id
    }

    /// Ends it. What this returns owns keys, so it must be dropped after the lock.
    pub(super) fn end(&mut self, id: u64) -> Option<Watch<K>> {
        let at = self.watched.iter().position(|watch| watch.id == id)?;
        Some(self.watched.swap_remove(at))
    }

    /// Takes note of a write to a key.
    #[inline]
    pub(super) fn written<Q>(&mut self, key: &Q)
    where
        Q: Equivalent<K> + ?Sized,
    {
        for watch in &mut self.watched {
            for (other, written) in watch.keys.iter().zip(&mut watch.written) {
                *written = *written || key.equivalent(other);
            }
        }
    }

    /// Takes note that all entries leave.
    pub(super) fn all_written(&mut self) {
        for watch in &mut self.watched {
            watch.written.fill(true);
        }
    }
}

impl<K> Watch<K> {
    /// Whether the entry with this number is the one that was seen, if it is there.
    pub(super) fn is_untouched(&self, n: usize) -> bool {
        !self.written[n]
    }
}
