use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::Error;
use crate::home::Home;
use crate::process_table::{self, Row};
use crate::wait::{PATIENCE, within};

/// How long an orderly stop may take before it is forced.
const ORDERLY_STOP: Duration = Duration::from_secs(5);

/// A server process in its folder, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    /// `None` after it was stopped or killed.
    child: Option<Child>,
    server: &'static str,
    /// The signal that ends the server at once and in good order.
    stop_signal: &'static str,
    home: Home,
}

impl Process {
    /// Nothing yet but a folder for it.
    pub(crate) fn new(
        server: &'static str,
        prefix: &str,
        stop_signal: &'static str,
    ) -> Result<Self, Error> {
        Ok(Process {
            child: None,
            server,
            stop_signal,
            home: Home::new(prefix, stop_signal)?,
        })
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The process's number; `None` after it was stopped or killed.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// What the server has written since it was last started.
    pub(crate) fn log(&self) -> String {
        // The text goes into error messages: bytes that are no text, or a missing file, are no further error.
        std::fs::read(self.log_path())
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// Starts the server and waits until `ready` says so. `None` if it ended because its port was taken.
    pub(crate) fn start(
        &mut self,
        mut command: Command,
        mut ready: impl FnMut(&Self) -> Result<bool, Error>,
    ) -> Result<Option<()>, Error> {
        let log = File::create(self.log_path()).map_err(Error::io("make the server's log"))?;
        let same_log = log
            .try_clone()
            .map_err(Error::io("open the server's log twice"))?;
        let child = command
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(same_log)
            // An interrupt from the terminal is for the test process; the servers follow it in good order.
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("start {}", self.server)))?;
        let pid = child.id();
        // Kept before anything can fail, so that it is ended with us whatever happens.
        self.child = Some(child);
        self.home.lodger(Some(pid))?;

        let outcome = within(PATIENCE, || {
            if let Some(status) = self.ended()? {
                return Ok(Some(Some(status)));
            }
            Ok(ready(self)?.then_some(None))
        })?;
        match outcome {
            Some(None) => Ok(Some(())),
            Some(Some(_)) if self.log().contains("Address already in use") => Ok(None),
            Some(Some(status)) => Err(Error::Start {
                server: self.server,
                status,
                log: self.log(),
            }),
            None => {
                let log = self.log();
                self.kill()?;
                Err(Error::Timeout {
                    what: format!("the start of {}", self.server),
                    after: PATIENCE,
                    log,
                })
            }
        }
    }

    /// Ends the server and its children as a crash would: nothing is flushed, nobody is told.
    pub(crate) fn kill(&mut self) -> Result<(), Error> {
        let Some(child) = &mut self.child else {
            return Ok(());
        };
        // Stopped first, so that it starts no child between the listing and the kill.
        let family = freeze(child.id())?;
        send("KILL", &family)?;
        child
            .wait()
            .map_err(Error::io(format!("wait for {}", self.server)))?;
        self.child = None;
        self.home.lodger(None)?;
        wait_for(&format!("the end of {}", self.server), &family, |row| {
            !row.is_alive()
        })
    }

    /// Stops every thread of the server and its children where they are.
    pub(crate) fn pause(&self) -> Result<(), Error> {
        self.pid().map_or(Ok(()), |pid| freeze(pid).map(drop))
    }

    /// Lets a paused server go on.
    pub(crate) fn resume(&self) -> Result<(), Error> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let family = family(pid)?;
        send("CONT", &family)?;
        wait_for(
            &format!("the awakening of {}", self.server),
            &family,
            |row| !row.is_stopped(),
        )
    }

    /// Ends the server in good order, or by force if it takes too long.
    pub(crate) fn stop(&mut self) -> Result<(), Error> {
        let Some(pid) = self.pid() else { return Ok(()) };
        self.resume()?;
        send(self.stop_signal, &[pid])?;
        match within(ORDERLY_STOP, || self.ended())? {
            Some(_) => Ok(()),
            None => self.kill(),
        }
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let status = child
            .try_wait()
            .map_err(Error::io(format!("look after {}", self.server)))?;
        if status.is_some() {
            self.child = None;
            self.home.lodger(None)?;
        }
        Ok(status)
    }

    fn log_path(&self) -> PathBuf {
        self.home.path().join("log")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop().is_err() {
            // Whatever kept the orderly way from working, the process itself is still ours to end and collect.
            if let Some(child) = &mut self.child {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A process and its children. PostgreSQL gives each child a process group of its own, so groups do not help.
fn family(pid: u32) -> Result<Vec<u32>, Error> {
    let rows = process_table::rows()?;
    let children = rows
        .iter()
        .filter(|row| row.parent == pid)
        .map(|row| row.pid);
    Ok(std::iter::once(pid).chain(children).collect())
}

/// Stops a process and then its children, so that none is born unseen. Returns all of them.
fn freeze(pid: u32) -> Result<Vec<u32>, Error> {
    let stopped = |row: &Row| row.is_stopped() || !row.is_alive();
    send("STOP", &[pid])?;
    wait_for("the stop of a server", &[pid], stopped)?;
    let family = family(pid)?;
    send("STOP", &family)?;
    wait_for("the stop of a server's children", &family, stopped)?;
    Ok(family)
}

/// Sends a signal by the shell's own `kill`: the standard library sends none but SIGKILL, the program `kill` is
/// not in every Linux image, and a dependency for one call would be the larger price.
fn send(signal: &str, pids: &[u32]) -> Result<(), Error> {
    // A process may end before it is told to; whoever cares waits for the state it wants.
    Command::new("sh")
        .args(["-c", "kill -s \"$@\"", "kill", signal])
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status()
        .map(drop)
        .map_err(Error::io("start sh"))
}

/// Waits until all of `pids` are as wanted. One that is not in the table any more is as anybody wants it.
fn wait_for(what: &str, pids: &[u32], wanted: impl Fn(&Row) -> bool) -> Result<(), Error> {
    let found = within(PATIENCE, || {
        let rows = process_table::rows()?;
        Ok(rows
            .iter()
            .filter(|row| pids.contains(&row.pid))
            .all(&wanted)
            .then_some(()))
    })?;
    found.ok_or_else(|| Error::Timeout {
        what: what.to_owned(),
        after: PATIENCE,
        log: String::new(),
    })
}
