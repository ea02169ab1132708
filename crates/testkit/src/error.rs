use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use purlin_core::Retry;

/// Why a server could not be had, or did not do what it was told.
///
/// Its `Debug` form is the message with its causes, line breaks and all, because that is what a failed
/// `unwrap` or a test that returns `Result` prints.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program that the test needs is not on this machine.
    #[error(
        "{program} is not installed (looked in {}); {remedy}, or run ci/test.sh, which does",
        list(searched)
    )]
    NotInstalled {
        /// The program, or the one of several that was looked for first.
        program: &'static str,
        /// The folders that were looked into.
        searched: Vec<PathBuf>,
        /// What to install.
        remedy: &'static str,
    },
    /// The test runs as root, PostgreSQL refuses to, and the machine has no account to run it as.
    #[error(
        "PostgreSQL does not run as root, and /etc/passwd has none of {accounts:?} to run it as"
    )]
    NoAccount {
        /// The accounts that were looked for.
        accounts: &'static [&'static str],
    },
    /// The operating system refused something.
    #[error("could not {doing}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A server ended instead of getting ready.
    #[error("{server} ended while starting ({status}); it said:\n{log}")]
    Start {
        /// The program.
        server: &'static str,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its output.
        log: String,
    },
    /// Every port that was tried was taken between its choice and the server's start.
    #[error("no free port for {server} in {tries} tries")]
    NoFreePort {
        /// The program.
        server: &'static str,
        /// How many ports were tried.
        tries: usize,
    },
    /// A tool (`initdb`, `psql` …) reported a failure.
    #[error("{command} failed ({status}); it said:\n{output}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// Its output and error output.
        output: String,
    },
    /// A tool answered with something that has no meaning here.
    #[error("{what} answered {answer:?}")]
    Answer {
        /// What was asked.
        what: String,
        /// The answer.
        answer: String,
    },
    /// Something that was waited for did not happen in time.
    #[error("{what} did not happen within {after:?}{}", said(log))]
    Timeout {
        /// The condition.
        what: String,
        /// How long was waited.
        after: Duration,
        /// The server's output up to then, empty where no single server was waited for.
        log: String,
    },
}

impl Error {
    /// Whether the same call may be made again. Only a wait that ran out is worth another try; everything else
    /// needs somebody to change the machine or the call.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Error::Timeout { .. } => Retry::if_idempotent_after(Duration::ZERO),
            Error::NoFreePort { .. } => Retry::NOW,
            Error::NotInstalled { .. }
            | Error::NoAccount { .. }
            | Error::Io { .. }
            | Error::Start { .. }
            | Error::Command { .. }
            | Error::Answer { .. } => Retry::NEVER,
        }
    }

    /// For `map_err`: the operating system refused `doing`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            doing: doing.into(),
            source,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn list(folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    if folders.is_empty() {
        "no folder at all".to_owned()
    } else {
        folders.join(", ")
    }
}

fn said(log: &str) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; the server said:\n{log}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_says_what_to_do() {
        let error = Error::NotInstalled {
            program: "redis-server",
            searched: vec![PathBuf::from("/opt/a"), PathBuf::from("/opt/b")],
            remedy: "install redis",
        };
        assert_eq!(
            format!("{error:?}"),
            "redis-server is not installed (looked in /opt/a, /opt/b); install redis, or run ci/test.sh, which does"
        );
        assert_eq!(error.retry(), Retry::NEVER);
    }

    #[test]
    fn the_debug_form_names_the_cause() {
        let error = Error::io("open the door")(io::Error::other("it is locked"));
        assert_eq!(
            format!("{error:?}"),
            "could not open the door: it is locked"
        );
    }
}
