//! How a process learns that a session has changed elsewhere.

use crate::error::StoreError;
use crate::id::SessionKey;

/// Reports of sessions that changed, as a store sends them: Redis by its tracking of keys, PostgreSQL by `NOTIFY`.
///
/// 1. The source hears of every change that is made from before it is handed to [`Near::follow`](crate::Near::follow).
/// 2. It reports each session that was written, moved or ended, by whomever, and may report more than that.
/// 3. When it may have missed a report, it fails, and is then over. A source that cannot tell by itself that its
///    connection is dead asks for a sign of life every second or so.
pub trait Invalidations: Send {
    /// The next report.
    ///
    /// # Errors
    ///
    /// If reports may have been missed. It is not asked again after that.
    ///
    /// # Cancel safety
    ///
    /// It is not asked again after its future was dropped, so it may lose a report then.
    fn next(&mut self) -> impl Future<Output = Result<Invalidation, StoreError>> + Send;
}

/// What has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: a session, or nobody knows which"
)]
pub enum Invalidation {
    /// The session of this key.
    Key(SessionKey),
    /// Any: the server was emptied, say.
    All,
}
