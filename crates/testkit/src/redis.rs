use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;
use crate::{Error, port, programs};

/// A running Redis (or Valkey) with an empty data set, which ends when this is dropped.
///
/// It writes nothing to disk unless it is told to by the arguments of [`Redis::start_with`].
///
/// ```no_run
/// # fn main() -> Result<(), purlin_testkit::Error> {
/// let redis = purlin_testkit::Redis::start()?;
/// println!("{}", redis.url()); // redis://127.0.0.1:…/
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the server ends when its handle is dropped"]
pub struct Redis {
    process: Process,
    program: PathBuf,
    arguments: Vec<String>,
    port: u16,
}

impl Redis {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] without a `redis-server` on the machine; [`Error::Start`], with the server's log,
    /// if it does not come up.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, as the command line of `redis-server` takes them:
    /// `["--appendonly", "yes"]`.
    ///
    /// # Errors
    ///
    /// As for [`Redis::start`]. An argument that the server does not know is an [`Error::Start`].
    pub fn start_with(arguments: &[&str]) -> Result<Self, Error> {
        let program = programs::redis()?;
        let arguments: Vec<_> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        port::start_on_free("redis-server", |port| {
            let process = Process::new("redis-server", "purlin-redis-", "TERM")?;
            let mut redis = Redis {
                process,
                program: program.clone(),
                arguments: arguments.clone(),
                port,
            };
            Ok(redis.launch()?.map(|()| redis))
        })
    }

    /// `redis://127.0.0.1:PORT/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The port it listens on, the same after a [`restart`](Redis::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process's number; `None` while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// What the server has written since it was last started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// `kill -9`. Returns when the process is gone; [`restart`](Redis::restart) brings it back. Does nothing to
    /// a server that is gone already.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the process outlives it.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Freezes the server: it keeps its connections and the system accepts new ones for it, but it answers none.
    /// Does nothing to a server that is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the process goes on running.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.pause()
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if the process stays frozen.
    pub fn resume(&self) -> Result<(), Error> {
        self.process.resume()
    }

    /// Starts the server again with its arguments on its port, after a [`kill`](Redis::kill) or an orderly stop if it
    /// still runs. What it had written to disk is there again.
    ///
    /// # Errors
    ///
    /// As for [`Redis::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop()?;
        crate::wait_until("a restart of redis-server on its port", || self.launch())
    }

    fn launch(&mut self) -> Result<Option<()>, Error> {
        let mut command = Command::new(&self.program);
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            // Nothing is saved, and the log goes to standard output.
            .args(["--save", "", "--appendonly", "no", "--logfile", ""])
            .arg("--dir")
            .arg(self.process.home().path())
            .args(&self.arguments)
            .env("LC_ALL", "C");
        // Written when the data is loaded and the port is bound, under every configuration.
        self.process.start(command, |process| {
            Ok(process.log().contains("Ready to accept connections"))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// The race for a port is lost in the server itself, and its answer to that must be recognised.
    #[test]
    fn a_taken_port_is_told_from_a_failure() -> Result<(), Error> {
        let winner = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = winner.local_addr().expect("it is bound").port();
        let process = Process::new("redis-server", "purlin-redis-", "TERM")?;
        let mut redis = Redis {
            process,
            program: programs::redis()?,
            arguments: Vec::new(),
            port,
        };
        assert_eq!(redis.launch()?, None);
        drop(winner);
        assert_eq!(redis.launch()?, Some(()));
        Ok(())
    }
}
