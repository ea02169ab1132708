//! What to keep, without the keys and values themselves: state machines over hashes, deterministic from a seed.
//!
//! A cache is cut into sets of a few dozen entries, and everything a policy decides it decides within one [`set`]:
//! who is a newcomer on probation (the window), who has proved itself (main), who was thrown out lately (the
//! ghosts), and who has to leave. How it decides is an [`arm`]: a handful of parameters of one mechanism, among them
//! exact least recently used, S3-FIFO, TinyLFU and LIRS as far as they fit in a set.
//!
//! No arm is best for all loads. So a sample of the keys also runs through a [`shadow`] for each arm, a small cache
//! of hashes alone, and the [`selector`] moves the real cache to an arm once it is ahead by more than chance.

pub(crate) mod arm;
pub(crate) mod selector;
pub(crate) mod set;
mod shadow;
mod sketch;

/// A hash as sets have it: 32 bits, of which the highest choose the set and the lowest are the tag. Mixed apart
/// from what chooses a shard, so that the keys of one shard still fill all of its sets.
#[inline]
pub(crate) fn short_hash(hash: u64) -> u32 {
    ((hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

#[cfg(test)]
mod tests;
