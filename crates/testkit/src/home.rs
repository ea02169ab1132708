use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::Error;
use crate::account::Account;

const WATCHDOG: &str = include_str!("watchdog.sh");

/// The folder of a server, gone when this is dropped, and also when the test process ends without dropping it.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    /// A shell that waits for the other end of its standard input, which only this process holds, to close.
    watchdog: Child,
}

impl Home {
    /// A new folder. `stop_signal` is what ends the server that will live there; see [`Home::lodger`].
    pub(crate) fn new(prefix: &str, stop_signal: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .tempdir()
            .map_err(Error::io("make a temporary folder"))?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "purlin-watchdog"])
            .arg(folder.path())
            .arg(stop_signal)
            .stdin(Stdio::piped())
            // Whoever reads our output must not wait for the watchdog to close it.
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt from the terminal ends the test, not the one who cleans up behind it.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start sh"))?;
        Ok(Home { folder, watchdog })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn give_to(&self, account: Account) -> Result<(), Error> {
        account.own(self.path())
    }

    /// Notes which process lives here, for the watchdog to end if we cannot; `None` when it has ended.
    pub(crate) fn lodger(&self, pid: Option<u32>) -> Result<(), Error> {
        let note: PathBuf = self.path().join("pid");
        match pid {
            Some(pid) => {
                std::fs::write(note, pid.to_string()).map_err(Error::io("note the server's pid"))
            }
            None => std::fs::remove_file(note).map_err(Error::io("forget the server's pid")),
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A watchdog that has gone already hears no word, and needs none. `wait` closes the pipe.
        if let Some(mut pipe) = self.watchdog.stdin.take() {
            let _ = pipe.write_all(b"done\n");
        }
        let _ = self.watchdog.wait();
    }
}
