use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::account::Account;
use crate::{Error, programs};

/// PostgreSQL's programs, and whom to run them as.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    bin: PathBuf,
    /// `None` where they may run as whoever we are.
    pub(super) account: Option<Account>,
}

impl Installation {
    /// `ours` is a folder that this process made.
    pub(super) fn find(ours: &Path) -> Result<Self, Error> {
        Ok(Installation {
            bin: programs::postgres()?,
            account: Account::for_programs_that_refuse_root(ours)?,
        })
    }

    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        // A developer's own settings (PGHOST, PGOPTIONS, PGSERVICE …) are for other servers than ours.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"PG"))
        {
            command.env_remove(name);
        }
        // Messages that can be searched for, whatever language the machine speaks.
        command.env("LC_ALL", "C");
        if let Some(account) = self.account {
            account.run(&mut command);
        }
        command
    }

    /// Runs a tool in `home` to its end and returns what it wrote to standard output.
    pub(super) fn run(
        &self,
        home: &Path,
        name: &str,
        arguments: impl FnOnce(&mut Command),
    ) -> Result<String, Error> {
        let mut command = self.program(name);
        arguments(&mut command);
        let output = command
            .current_dir(home)
            .env("HOME", home)
            .stdin(Stdio::null())
            .output()
            .map_err(Error::io(format!("start {name}")))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(text);
        }
        let words: Vec<_> = std::iter::once(OsStr::new(name))
            .chain(command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        Err(Error::Command {
            command: words.join(" "),
            status: output.status,
            output: text + &String::from_utf8_lossy(&output.stderr),
        })
    }
}
