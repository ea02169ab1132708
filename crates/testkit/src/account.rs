use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::Error;

/// Accounts that PostgreSQL may run as when the test runs as root, in the order of preference. The first two
/// come with a PostgreSQL package; `nobody` is everywhere.
const CANDIDATES: &[&str] = &["postgres", "_postgres", "nobody"];

/// An unprivileged account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account for programs that refuse root, or `None` where the test does not run as root and they can
    /// run as whoever we are. `ours` is something this process made: its owner tells who we are.
    pub(crate) fn for_programs_that_refuse_root(ours: &Path) -> Result<Option<Self>, Error> {
        let owner = std::fs::metadata(ours)
            .map_err(Error::io(format!("look at {}", ours.display())))?
            .uid();
        if owner != 0 {
            return Ok(None);
        }
        let passwd =
            std::fs::read_to_string("/etc/passwd").map_err(Error::io("read /etc/passwd"))?;
        Self::find(&passwd).map(Some).ok_or(Error::NoAccount {
            accounts: CANDIDATES,
        })
    }

    fn find(passwd: &str) -> Option<Self> {
        CANDIDATES.iter().find_map(|name| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                (fields.next()? == *name).then_some(())?;
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                (uid != 0).then_some(Account { uid, gid })
            })
        })
    }

    /// Makes `command` run as this account. The standard library drops root's supplementary groups with it.
    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or folder to this account.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io(format!(
            "give {} to user {}",
            path.display(),
            self.uid
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_account_wins_whatever_the_order_of_the_file() {
        let passwd = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65533::/:/bin/false\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(Account::find(passwd), Some(Account { uid: 101, gid: 104 }));
    }

    #[test]
    fn malformed_and_privileged_lines_are_passed_over() {
        let passwd = "postgres:x:0:0::/:/bin/sh\n_postgres\nnobody:x:-2:-2::/:/bin/false\n\nnobody:x:99:98::/:\n";
        assert_eq!(Account::find(passwd), Some(Account { uid: 99, gid: 98 }));
        assert_eq!(Account::find(""), None);
    }
}
