use std::path::PathBuf;

use purlin_core::Retry;

/// Why a file could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another handle in this one, has the file open.
    #[error("{} is held by another process or handle", path.display())]
    Held {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database, and not one of a queue.
    #[error("{} is not a queue's file", path.display())]
    NotAQueue {
        /// The file.
        path: PathBuf,
    },
    /// The file is a database, and not one of sessions.
    #[error("{} is not a session store's file", path.display())]
    NotSessions {
        /// The file.
        path: PathBuf,
    },
    /// A later version wrote the file.
    #[error("{} has format {found}, and this version reads formats up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The highest format known.
        known: u64,
    },
    /// What stands in the file is not what was written, or the file is no database at all. It was not changed.
    #[error("{} is damaged, or no database", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The operating system refused.
    #[error("{} cannot be opened", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
}

impl OpenError {
    /// Whether, and when, to try again. A file that is held may be free later; the rest needs somebody to look.
    pub fn retry(&self) -> Retry {
        match self {
            OpenError::Held { .. } => Retry::safe_after(std::time::Duration::from_millis(100)),
            OpenError::NotAQueue { .. }
            | OpenError::NotSessions { .. }
            | OpenError::Newer { .. }
            | OpenError::Damaged { .. }
            | OpenError::Io { .. } => Retry::NEVER,
        }
    }
}
