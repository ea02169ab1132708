//! What stands behind a cache, and how it is written to.

mod behind;
mod through;

use alloc::sync::Arc;

pub use behind::{FlushError, Full, WriteBehind};
pub use through::Through;

/// Where the values really are: a table of a database, say.
pub trait Backing<K, V>: Send + Sync {
    /// How it fails.
    type Error: Send + Sync + 'static;

    /// The value of a key, if there is one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect but that the answer is lost.
    fn load(&self, key: &K) -> impl Future<Output = Result<Option<V>, Self::Error>> + Send;

    /// Replaces the value of a key, or removes it, for None.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the value may or may not have been replaced.
    fn store(
        &self,
        key: &K,
        value: Option<&V>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

macro_rules! forwarded_backing {
    ($($pointer:ty),*) => {$(
        impl<K: Sync, V: Sync, B: Backing<K, V>> Backing<K, V> for $pointer {
            type Error = B::Error;

            fn load(&self, key: &K) -> impl Future<Output = Result<Option<V>, B::Error>> + Send {
                (**self).load(key)
            }

            fn store(
                &self,
                key: &K,
                value: Option<&V>,
            ) -> impl Future<Output = Result<(), B::Error>> + Send {
                (**self).store(key, value)
            }
        }
    )*};
}
forwarded_backing!(&B, Arc<B>);
