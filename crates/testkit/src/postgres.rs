mod folder;
mod installation;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use self::installation::Installation;
use crate::process::Process;
use crate::{Error, port, wait_until};

/// A running PostgreSQL server (version 14 or later) with an empty database `postgres` and the superuser
/// `postgres`, who needs no password from loopback. It ends when this is dropped.
///
/// `fsync` is off unless [`Postgres::start_with`] says otherwise: `kill` loses nothing by that, only a crash of
/// the machine would.
///
/// ```no_run
/// # fn main() -> Result<(), purlin_testkit::Error> {
/// let postgres = purlin_testkit::Postgres::start()?;
/// assert_eq!(postgres.query("select 1 + 1")?, "2");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "the server ends when its handle is dropped"]
pub struct Postgres {
    process: Process,
    installation: Installation,
    port: u16,
    /// What the server calls itself, and by which a primary knows its standby.
    name: String,
}

impl Postgres {
    /// Starts a server and waits until it takes connections.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] without PostgreSQL on the machine; [`Error::Start`] or [`Error::Command`], with what
    /// the programs said, if it does not come up.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// Starts a server with settings as `postgresql.conf` takes them: `[("fsync", "on")]`.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start`]. A setting that the server does not know is an [`Error::Start`].
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, Error> {
        Self::start_from("primary", |installation, home, data| {
            installation.run(home, "initdb", |initdb| {
                initdb
                    .args([
                        "--username=postgres",
                        "--auth=trust",
                        "--encoding=UTF8",
                        "--locale=C",
                        "--no-sync",
                        "-D",
                    ])
                    .arg(data);
            })?;
            folder::append_settings(&data.join("postgresql.conf"), settings)
        })
    }

    /// Starts a streaming standby of `primary` from a copy of it, under a name of its own.
    pub(crate) fn standby_of(primary: &Postgres, name: &str) -> Result<Self, Error> {
        // The names of the connection go into the standby's configuration with it.
        let connection = format!(
            "host=127.0.0.1 port={} user=postgres application_name={name}",
            primary.port
        );
        Self::start_from(name, |installation, home, data| {
            installation
                .run(home, "pg_basebackup", |copy| {
                    copy.args([
                        "--write-recovery-conf",
                        "--wal-method=stream",
                        "--checkpoint=fast",
                        "--no-sync",
                        "-d",
                    ])
                    .arg(&connection)
                    .arg("-D")
                    .arg(data);
                })
                .map(drop)
        })
    }

    /// Makes a data folder by `fill` and starts a server in it.
    fn start_from(
        name: &str,
        fill: impl Fn(&Installation, &Path, &Path) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        // Immediate shutdown: no checkpoint, no waiting for clients, and nothing of it is left in the system.
        let process = Process::new("postgres", "purlin-postgres-", "QUIT")?;
        let installation = Installation::find(process.home().path())?;
        if let Some(account) = installation.account {
            process.home().give_to(account)?;
        }
        fill(&installation, process.home().path(), &data_folder(&process))?;
        let mut postgres = Postgres {
            process,
            installation,
            port: 0,
            name: name.to_owned(),
        };
        postgres.port = port::start_on_free("postgres", |port| {
            postgres.port = port;
            Ok(postgres.launch()?.map(|()| port))
        })?;
        Ok(postgres)
    }

    /// `postgres://postgres@127.0.0.1:PORT/postgres`.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.address())
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The port it listens on, the same after a [`restart`](Postgres::restart).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The number of the server's first process; `None` while it is killed.
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// What the server has written since it was last started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The name under which a primary lists this server in `pg_stat_replication.application_name`: `standby0` and
    /// so on, which is also what `synchronous_standby_names` takes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL by `psql` and returns the rows, one a line, columns parted by `|`. For setting a test up and looking
    /// at its outcome; a new connection each time costs some ten milliseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] with the server's message if it refuses a statement or cannot be reached.
    pub fn query(&self, sql: &str) -> Result<String, Error> {
        let answer = self
            .installation
            .run(self.process.home().path(), "psql", |psql| {
                psql.args([
                    "--no-psqlrc",
                    "--quiet",
                    "--tuples-only",
                    "--no-align",
                    "--set=ON_ERROR_STOP=1",
                ])
                .args(["--dbname", &self.url(), "--command", sql]);
            })?;
        Ok(answer.trim_end_matches('\n').to_owned())
    }

    /// The position in the log up to which this primary has written, as the number of bytes that
    /// `purlin_core::Token` carries.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::query`]; a standby has no such position and refuses.
    pub fn wal_position(&self) -> Result<u64, Error> {
        self.position("pg_current_wal_lsn()")
    }

    /// The position in the log up to which this standby shows its primary's writes.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::query`]; a server that was never a standby has no such position: [`Error::Answer`].
    pub fn replay_position(&self) -> Result<u64, Error> {
        self.position("pg_last_wal_replay_lsn()")
    }

    /// Waits until this standby shows everything up to `position`, a [`wal_position`](Postgres::wal_position) of its
    /// primary.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] after a minute, and those of [`Postgres::query`].
    pub fn wait_for_replay(&self, position: u64) -> Result<(), Error> {
        wait_until(&format!("replay of {position} on {}", self.name), || {
            Ok((self.replay_position()? >= position).then_some(()))
        })
    }

    /// `kill -9` of all the server's processes. Returns when they are gone; [`restart`](Postgres::restart) brings the
    /// server back with what was committed. Does nothing to a server that is gone already.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if a process outlives it.
    pub fn kill(&mut self) -> Result<(), Error> {
        self.process.kill()
    }

    /// Freezes all the server's processes: it keeps its connections and the system accepts new ones for it, but it
    /// answers none. Does nothing to a server that is gone.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if a process goes on running.
    pub fn pause(&self) -> Result<(), Error> {
        self.process.pause()
    }

    /// Lets a paused server go on.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] if a process stays frozen.
    pub fn resume(&self) -> Result<(), Error> {
        self.process.resume()
    }

    /// Starts the server again on its port and data, after a [`kill`](Postgres::kill) or an immediate shutdown if it
    /// still runs.
    ///
    /// # Errors
    ///
    /// As for [`Postgres::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop()?;
        wait_until("a restart of postgres on its port", || self.launch())
    }

    fn launch(&mut self) -> Result<Option<()>, Error> {
        let data = data_folder(&self.process);
        let mut command = self.installation.program("postgres");
        command
            .arg("-D")
            .arg(&data)
            .args(["-p", &self.port.to_string()]);
        command.args(["-c", &format!("cluster_name={}", self.name)]);
        self.process.start(command, |process| {
            Ok(folder::is_ready(&data, process.pid()))
        })
    }

    fn position(&self, function: &str) -> Result<u64, Error> {
        let answer = self.query(&format!("select {function} - '0/0'::pg_lsn"))?;
        answer.parse().map_err(|_| Error::Answer {
            what: format!("{function} on {}", self.name),
            answer,
        })
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = data_folder(&self.process);
        // Stopped here rather than by its own drop, which comes after this one, and tries again what failed here.
        let _ = self.process.stop();
        folder::remove_shared_memory(&data);
    }
}

fn data_folder(process: &Process) -> PathBuf {
    process.home().path().join("data")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::process_table;

    /// The race for a port is lost in the server itself, and its answer to that must be recognised.
    #[test]
    fn a_taken_port_is_told_from_a_failure() -> Result<(), Error> {
        let mut postgres = Postgres::start()?;
        postgres.process.stop()?;
        let winner = TcpListener::bind(postgres.address()).expect("the server left its port");
        assert_eq!(postgres.launch()?, None);
        drop(winner);
        assert_eq!(postgres.launch()?, Some(()));
        Ok(())
    }

    /// The connections belong to the children: a server whose first process alone is stopped still answers on
    /// them, and one whose first process alone is killed still writes.
    #[test]
    fn pause_and_kill_reach_every_process() -> Result<(), Error> {
        let mut postgres = Postgres::start()?;
        let family = |pid| -> Result<Vec<_>, Error> {
            let rows = process_table::rows()?.into_iter();
            Ok(rows
                .filter(|row| row.pid == pid || row.parent == pid)
                .collect())
        };
        let pid = postgres.pid().expect("it runs");
        postgres.pause()?;
        let paused = family(pid)?;
        assert!(paused.len() > 3, "only {paused:?}");
        assert!(
            paused.iter().all(process_table::Row::is_stopped),
            "{paused:?}"
        );
        postgres.resume()?;
        assert!(family(pid)?.iter().all(|row| !row.is_stopped()));

        postgres.kill()?;
        let rows = process_table::rows()?;
        let left: Vec<_> = rows
            .iter()
            .filter(|row| paused.iter().any(|before| before.pid == row.pid) && row.is_alive())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        Ok(())
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_killed_server_leaves_no_shared_memory_behind() -> Result<(), Error> {
        // The second column is the segment's number.
        let exists = |number: &str| {
            let table = std::fs::read_to_string("/proc/sysvipc/shm").expect("Linux has this table");
            table
                .lines()
                .any(|line| line.split_whitespace().nth(1) == Some(number))
        };
        let mut postgres = Postgres::start()?;
        let note = std::fs::read_to_string(data_folder(&postgres.process).join("postmaster.pid"));
        let note = note.expect("a running server has a pid file");
        let number = note
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1))
            .expect("key and number");
        assert!(exists(number));
        postgres.kill()?;
        assert!(exists(number), "the kill was too gentle");
        drop(postgres);
        assert!(!exists(number));
        Ok(())
    }
}
