//! One cache out of several machines'.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use purlin_core::sync::Mutex;
use purlin_core::{CacheStore, Clock, NodeId, Placement, PlacementKey, Retry, SystemClock, Tick};

use crate::cache::Cache;

/// A node of a [`Cluster`]: a cache on another machine, that can also be emptied.
pub trait CacheNode<K, V>: CacheStore<K, V> {
    /// Forgets everything. A node that could not be reached is emptied before it is used again, because it may have
    /// kept what was removed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, some of the values may have been forgotten.
    fn clear(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

impl<K, V, S, C> CacheNode<K, V> for Cache<K, V, S, C>
where
    Cache<K, V, S, C>: CacheStore<K, V>,
{
    async fn clear(&self) -> Result<(), Self::Error> {
        Cache::clear(self);
        Ok(())
    }
}

macro_rules! forwarded_node {
    ($($pointer:ty),*) => {$(
        impl<K: Send + Sync, V: Send, N: CacheNode<K, V>> CacheNode<K, V> for $pointer {
            fn clear(&self) -> impl Future<Output = Result<(), Self::Error>> + Send {
                (**self).clear()
            }
        }
    )*};
}
forwarded_node!(&N, Arc<N>);

/// One cache out of those of several machines: each key has its home on some of them, by a [`Placement`], and when one
/// does not answer the next in line takes its place.
///
/// With `copies` of one, a node's keys are gone with it, and are loaded anew onto its neighbours; with two, they are
/// found there. It is the way of memcached's clients, and with a placement that agrees with theirs (of
/// `purlin-hash-ring`'s module `interop`) the same keys are found on the same servers.
///
/// # Nodes that fail
///
/// A node that fails a call is left alone for a pause, and its keys go to the next nodes in line, as many as
/// [`spread`](Cluster::spread) allows. When the pause is over, the next call that needs it *empties* it first and then
/// uses it: while it was away its values may have been written or removed elsewhere, and a cache may forget but not
/// answer what was removed. A call fails only if no node in line answers.
///
/// This is each client's own view. If a node is cut off from one client and not from another, the second may be
/// answered what the first has removed, until the value expires there or the first one is back and empties it. Give values
/// a time to live; no cache without a common opinion of who is alive can promise more.
///
/// # Cost
///
/// A look-up asks one node, or more if it fails or has nothing and there are further copies. An insert writes the copies
/// one after the other; a removal goes to every node in line.
///
/// ```
/// use purlin_core::{CacheStore, NodeId};
/// use purlin_lru_cache::{Cache, Cluster};
/// # struct All;
/// # impl purlin_core::Placement for All {
/// #     fn hash_key(&self, _: &[u8]) -> u64 { 0 }
/// #     fn owner_of_hash(&self, _: u64) -> Option<NodeId> { Some(NodeId(1)) }
/// #     fn replicas_of_hash(&self, _: u64, into: &mut [NodeId]) -> usize {
/// #         into.iter_mut().zip(1..=3).map(|(node, id)| *node = NodeId(id)).count()
/// #     }
/// # }
/// # let ring = All;
/// // `ring` is any placement; in place of the caches stand clients of three machines.
/// let nodes = (1..=3).map(|id| (NodeId(id), Cache::<String, u64>::new(1_000)));
/// let cluster = Cluster::new(ring, nodes).copies(2);
/// # async fn run<C: CacheStore<String, u64>>(cluster: C) -> Result<(), C::Error> {
/// cluster.insert("answer".to_owned(), 42).await?;
/// assert_eq!(cluster.get(&"answer".to_owned()).await?, Some(42));
/// # Ok(())
/// # }
/// # let _ = run(cluster);
/// ```
pub struct Cluster<N, P, C = SystemClock> {
    placement: P,
    nodes: BTreeMap<NodeId, Member<N>>,
    copies: usize,
    spread: usize,
    pause: Duration,
    clock: C,
}

struct Member<N> {
    node: N,
    /// Set while the node is away, to the end of its pause.
    away_until: Mutex<Option<Tick>>,
}

/// No node in line could be asked.
#[derive(Debug)]
#[non_exhaustive]
pub struct ClusterError<E> {
    /// What the last one that was asked failed with. None if all were being left alone, or there are none.
    pub source: Option<E>,
}

impl<E> ClusterError<E> {
    /// A cache's calls are harmless twice; a node comes back after its pause.
    pub const fn retry(&self) -> Retry {
        Retry::if_idempotent_after(Duration::from_secs(1))
    }
}

impl<E> fmt::Display for ClusterError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no node of the cache could be asked")
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ClusterError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.source.as_ref().map(|error| error as _)
    }
}

/// The most nodes in line for a key.
const MAX_SPREAD: usize = 8;

impl<N, P> Cluster<N, P> {
    /// A cluster of these nodes: one copy of each value, on the first of three nodes in line that answers; a node that
    /// fails is left alone for one second.
    pub fn new(placement: P, nodes: impl IntoIterator<Item = (NodeId, N)>) -> Self {
        let member = |(id, node)| {
            let member = Member {
                node,
                away_until: Mutex::new(None),
            };
            (id, member)
        };
        Cluster {
            placement,
            nodes: nodes.into_iter().map(member).collect(),
            copies: 1,
            spread: 3,
            pause: Duration::from_secs(1),
            clock: SystemClock::default(),
        }
    }
}

impl<N, P, C> Cluster<N, P, C> {
    /// How many nodes hold each value, 1 to 8.
    #[must_use]
    pub fn copies(mut self, copies: usize) -> Self {
        self.copies = copies.clamp(1, MAX_SPREAD);
        self.spread = self.spread.max(self.copies);
        self
    }

    /// How many nodes are in line for a key, its copies and those that stand in for them: `copies` to 8.
    #[must_use]
    pub fn spread(mut self, spread: usize) -> Self {
        self.spread = spread.clamp(self.copies, MAX_SPREAD);
        self
    }

    /// How long a node that failed is left alone.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The clock that pauses are measured by, in place of the operating system's.
    #[must_use]
    pub fn clock<C2>(self, clock: C2) -> Cluster<N, P, C2> {
        Cluster {
            placement: self.placement,
            nodes: self.nodes,
            copies: self.copies,
            spread: self.spread,
            pause: self.pause,
            clock,
        }
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&N> {
        self.nodes.get(&id).map(|member| &member.node)
    }

    /// The nodes that are being left alone, or were and have not been needed since.
    pub fn away(&self) -> impl Iterator<Item = NodeId> {
        let away = |member: &Member<N>| member.away_until.lock().is_some();
        let nodes = self.nodes.iter();
        nodes
            .filter(move |(_, member)| away(member))
            .map(|(id, _)| *id)
    }
}

impl<N, P: Placement, C: Clock> Cluster<N, P, C> {
    /// The nodes in line for a key.
    fn line<K: PlacementKey>(&self, key: &K) -> Box<[&Member<N>]> {
        let mut ids = [NodeId(0); MAX_SPREAD];
        let ids = &mut ids[..self.spread];
        let n = key.with_key_bytes(|bytes| self.placement.replicas(bytes, ids));
        ids[..n]
            .iter()
            .filter_map(|id| self.nodes.get(id))
            .collect()
    }

    /// Asks a node, which is emptied first if it was away. None if it is being left alone.
    async fn ask<K, V, T>(
        &self,
        member: &Member<N>,
        call: impl Future<Output = Result<T, N::Error>>,
    ) -> Option<Result<T, N::Error>>
    where
        N: CacheNode<K, V>,
    {
        let away_until = *member.away_until.lock();
        if let Some(until) = away_until {
            let now = self.clock.now();
            // A clock that steps back would prolong the pause by as much.
            if now < until && until.since(now) <= self.pause {
                return None;
            }
            // Nobody else uses it before it is empty: whoever comes meanwhile finds another pause.
            self.leave_alone(member);
            if let Err(error) = member.node.clear().await {
                self.leave_alone(member);
                return Some(Err(error));
            }
            *member.away_until.lock() = None;
        }
        let answer = call.await;
        if answer.is_err() {
            self.leave_alone(member);
        }
        Some(answer)
    }

    fn leave_alone(&self, member: &Member<N>) {
        let until = self.clock.now().after(self.pause);
        *member.away_until.lock() = Some(until);
    }
}

impl<K, V, N, P, C> CacheStore<K, V> for Cluster<N, P, C>
where
    K: PlacementKey + Clone + Send + Sync,
    V: Clone + Send + Sync,
    N: CacheNode<K, V>,
    P: Placement + Send + Sync,
    C: Clock + Send + Sync,
{
    type Error = ClusterError<N::Error>;

    async fn get(&self, key: &K) -> Result<Option<V>, Self::Error> {
        let mut source = None;
        let mut asked = 0;
        for member in &self.line(key) {
            match self.ask(member, member.node.get(key)).await {
                Some(Ok(Some(value))) => return Ok(Some(value)),
                Some(Ok(None)) => asked += 1,
                Some(Err(error)) => source = Some(error),
                None => {}
            }
            if asked == self.copies {
                break;
            }
        }
        if asked > 0 {
            Ok(None)
        } else {
            Err(ClusterError { source })
        }
    }

    async fn insert(&self, key: K, value: V) -> Result<(), Self::Error> {
        let mut source = None;
        let mut stored = 0;
        for member in &self.line(&key) {
            if stored < self.copies {
                let insert = member.node.insert(key.clone(), value.clone());
                match self.ask(member, insert).await {
                    Some(Ok(())) => stored += 1,
                    Some(Err(error)) => source = Some(error),
                    None => {}
                }
            } else {
                // It may have stood in for another, and would answer the older value when it does so again.
                let _ = self.ask(member, member.node.remove(&key)).await;
            }
        }
        if stored > 0 {
            Ok(())
        } else {
            Err(ClusterError { source })
        }
    }

    async fn remove(&self, key: &K) -> Result<(), Self::Error> {
        let mut source = None;
        let mut asked = 0;
        for member in &self.line(key) {
            match self.ask(member, member.node.remove(key)).await {
                Some(Ok(())) => asked += 1,
                // It is emptied before it is used again.
                Some(Err(error)) => source = Some(error),
                None => {}
            }
        }
        if asked > 0 {
            Ok(())
        } else {
            Err(ClusterError { source })
        }
    }
}

impl<N, P: fmt::Debug, C> fmt::Debug for Cluster<N, P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("placement", &self.placement)
            .field("nodes", &self.nodes.len())
            .field("copies", &self.copies)
            .finish_non_exhaustive()
    }
}
