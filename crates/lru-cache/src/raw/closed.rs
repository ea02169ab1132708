//! Where no set stands open: without unsafe code, without threads, and under a model checker, which looks at the protocol by
//! itself. All reads take the lock.

use alloc::sync::Arc;
use core::convert::Infallible;

#[cfg(feature = "std")]
use equivalent::Equivalent;
#[cfg(feature = "std")]
use purlin_core::Tick;

#[cfg(feature = "std")]
use super::Print;
use super::{Block, Slots};

/// A block like any other.
pub(crate) type Open<K, V, S> = Block<(K, V), S>;

/// There is none.
#[derive(Debug)]
pub(crate) struct Home<K, V> {
    none: Infallible,
    of: core::marker::PhantomData<fn() -> (K, V)>,
}

/// What somebody who reads without the lock has to know of those who hold it.
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signs {
    pub(crate) latest: Tick,
    pub(crate) looks_at: Tick,
    pub(crate) heeds_order: bool,
    pub(crate) has_evicted: bool,
}

/// What came of a look without the lock.
#[cfg(feature = "std")]
#[expect(dead_code, reason = "nobody looks without the lock here")]
pub(crate) enum Read<V> {
    Found(V, bool),
    Absent,
    Ask,
}

impl<K, V> Home<K, V> {
    #[cfg(feature = "std")]
    pub(crate) fn new() -> Option<Arc<Self>> {
        None
    }

    #[cfg(feature = "std")]
    pub(crate) fn would_rather_be_asked(&self, _: Tick) -> bool {
        match self.none {}
    }

    #[cfg(feature = "std")]
    pub(crate) fn read<Q>(&self, _: &Q, _: Tick, _: impl Fn(u32, u8) -> (usize, Print)) -> Read<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        match self.none {}
    }
}

pub(crate) fn shared<K, V, S>(home: Arc<Home<K, V>>) -> <Open<K, V, S> as Slots<(K, V), S>>::Home {
    match home.none {}
}
