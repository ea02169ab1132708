//! The system's list of processes: whose child is alive, and which are stopped.

use std::path::Path;
use std::process::Command;

use crate::Error;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// The state's letter, as `ps` prints it.
    state: char,
}

impl Row {
    /// Whether it has not ended. A zombie has: what is left of it is a number for its parent to collect.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Whether it runs no instruction until it is told to continue.
    pub(crate) fn is_stopped(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }
}

/// All processes at this moment, from `/proc` where there is one (`ps` is not in every Linux image), else
/// from `ps`.
pub(crate) fn rows() -> Result<Vec<Row>, Error> {
    let proc = Path::new("/proc");
    if proc.join("self/stat").exists() {
        from_proc(proc)
    } else {
        from_ps()
    }
}

fn from_proc(proc: &Path) -> Result<Vec<Row>, Error> {
    let entries = std::fs::read_dir(proc).map_err(Error::io("list /proc"))?;
    // A process may end between the listing and the look at it; then there is no row to make.
    Ok(entries
        .flatten()
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()))
        })
        .filter_map(|entry| row_of_stat(&std::fs::read_to_string(entry.path().join("stat")).ok()?))
        .collect())
}

/// `pid (name) state parent …`, where the name may hold spaces and brackets of its own.
fn row_of_stat(stat: &str) -> Option<Row> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some(Row {
        pid: pid.parse().ok()?,
        parent: fields.next()?.parse().ok()?,
        state,
    })
}

fn from_ps() -> Result<Vec<Row>, Error> {
    let output = Command::new("ps")
        .args(["-A", "-o", "pid=,ppid=,state="])
        .output()
        .map_err(Error::io("run ps"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(row_of_ps)
        .collect())
}

fn row_of_ps(line: &str) -> Option<Row> {
    let mut fields = line.split_whitespace();
    let pid = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Row {
        pid,
        parent,
        state: fields.next()?.chars().next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let row = row_of_stat("42 (a) b (c) T 7 42 42 0 -1").expect("a whole row");
        assert_eq!(
            row,
            Row {
                pid: 42,
                parent: 7,
                state: 'T'
            }
        );
        assert!(row.is_stopped() && row.is_alive());
        assert_eq!(row_of_stat("42 (cut off"), None);
    }

    #[test]
    fn a_zombie_has_ended() {
        let row = row_of_ps("  42     7 Z+").expect("a whole row");
        assert_eq!(
            row,
            Row {
                pid: 42,
                parent: 7,
                state: 'Z'
            }
        );
        assert!(!row.is_alive());
    }

    #[test]
    fn this_process_is_in_the_table() {
        let rows = rows().expect("the table can be read");
        let this = rows
            .iter()
            .find(|row| row.pid == std::process::id())
            .expect("we run");
        assert!(this.is_alive() && !this.is_stopped());
        assert_eq!(this.parent, std::os::unix::process::parent_id());
    }
}
