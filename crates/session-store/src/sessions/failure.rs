//! Why a session could not be opened or committed.

use core::time::Duration;

use purlin_core::Retry;

use crate::error::StoreError;
use crate::fields::PayloadError;
use crate::id::EntropyError;

/// Why a session could not be opened. None of these means that there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store failed.
    #[error("the session could not be loaded")]
    Store(#[from] StoreError),
    /// The store holds something unreadable.
    #[error("the session could not be read")]
    Payload(#[from] PayloadError),
}

impl OpenError {
    /// Whether to try again, and when.
    pub fn retry(&self) -> Retry {
        match self {
            OpenError::Store(error) => error.retry(),
            OpenError::Payload(error) => error.retry(),
        }
    }
}

/// Why a session could not be committed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The session has ended since it was opened: by a logout, a revocation or its age. Nothing was written,
    /// and the id stays dead. Remove the cookie.
    #[error("the session has ended")]
    Gone,
    /// The session has got a new id since it was opened, by another request of the same client. Nothing was
    /// written. Leave the cookie alone: the client has the new one, or it is on its way.
    #[error("the session has got another id meanwhile")]
    Superseded,
    /// So many others commit to this session that every attempt came second.
    #[error("the session is being changed too fast: {attempts} attempts came second")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The user has as many sessions as they may, and an older one does not give way. Nothing was written.
    #[error("the user has as many sessions as they may")]
    AtCap,
    /// The fields together are larger than the policy allows.
    #[error("the session would take {len} bytes, more than {limit}")]
    TooLarge {
        /// What it would take.
        len: usize,
        /// What it may.
        limit: usize,
    },
    /// The session would have more fields than the policy allows.
    #[error("the session would have {count} fields, more than {limit}")]
    TooManyFields {
        /// How many it would have.
        count: usize,
        /// How many it may.
        limit: usize,
    },
    /// Somebody else changed a field first that may not be changed by two; see
    /// [`OnClash::Fail`](crate::OnClash::Fail). Nothing was written. Open the session again to see theirs.
    #[error("field `{field}` was changed by somebody else meanwhile")]
    Clash {
        /// The field.
        field: Box<str>,
    },
    /// More sessions without a login are being made than the policy allows.
    #[error("too many new sessions")]
    TooManyNew {
        /// When the next may be made.
        after: Duration,
    },
    /// What somebody else committed first cannot be read. It is left as it is.
    #[error("the session could not be read")]
    Payload(#[from] PayloadError),
    /// There was no new id to give.
    #[error("the session could not be given an id")]
    Entropy(#[from] EntropyError),
    /// The store failed.
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
}

impl CommitError {
    /// Whether to commit the session again, and when. Committing is idempotent, [`Sessions::update`](crate::Sessions::update) is not.
    pub fn retry(&self) -> Retry {
        match self {
            CommitError::Gone
            | CommitError::Superseded
            | CommitError::AtCap
            | CommitError::Clash { .. }
            | CommitError::TooManyFields { .. }
            | CommitError::TooLarge { .. } => Retry::NEVER,
            CommitError::TooManyNew { after } => Retry::safe_after(*after),
            CommitError::Contended { .. } => Retry::safe_after(Duration::from_millis(10)),
            CommitError::Payload(error) => error.retry(),
            CommitError::Entropy(error) => error.retry(),
            CommitError::Store(error) => error.retry(),
        }
    }
}

/// Why [`Sessions::try_update`](crate::Sessions::try_update) changed nothing.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "complete: the closure refused or the commit failed"
)]
pub enum UpdateError<E> {
    /// The closure refused, with this.
    #[error("the change was refused")]
    Refused(E),
    /// The commit failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl<E> UpdateError<E> {
    /// Whether to call again, and when. What the closure refused it will refuse again.
    pub fn retry(&self) -> Retry {
        match self {
            UpdateError::Refused(_) => Retry::NEVER,
            UpdateError::Commit(error) => error.retry(),
        }
    }
}
