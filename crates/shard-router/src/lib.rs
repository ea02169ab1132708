//! Shard routing by a versioned map.
