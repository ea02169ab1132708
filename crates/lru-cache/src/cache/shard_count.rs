use crate::policy::Policy;

/// How many shards a cache with this limit has: as many as were asked for, or else some a hardware thread, as long
/// as each gets `min_limit`.
pub(crate) fn shard_count(
    asked: Option<usize>,
    policy: Policy,
    limit: usize,
    min_limit: usize,
    max_default: usize,
) -> usize {
    let wanted = asked.unwrap_or_else(|| {
        let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
        let a_thread = match policy {
            Policy::Lru => SHARDS_PER_THREAD_IN_ORDER,
            _ => SHARDS_PER_THREAD,
        };
        let busy = threads.saturating_mul(a_thread);
        busy.min(max_default).min(limit / min_limit)
    });
    // A shard without a part of the limit could store nothing.
    let wanted = wanted.min(limit).clamp(1, MAX_SHARDS);
    1 << wanted.ilog2()
}

/// Sets decide each for itself and shards lend each other room, so more shards cost some idle memory and nothing else:
/// so many that two threads seldom meet, and seldom fetch the lock that the other has just had.
const SHARDS_PER_THREAD: usize = 64;

/// With `n` busy threads on random shards, one finds its shard taken with chance below `(n - 1) / 4n`, under a
/// quarter. More shards make each one's order coarser.
const SHARDS_PER_THREAD_IN_ORDER: usize = 4;

/// Below the 16 bits of the hash that choose a shard; a shard takes 300 bytes or so when empty.
const MAX_SHARDS: usize = 512;
