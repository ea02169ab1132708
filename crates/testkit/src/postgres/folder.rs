//! What is in a server's data folder.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Error;

/// What every server gets. A test's own settings come after these and win.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    // Test data need not outlive the machine. A killed process loses nothing by it: the system has the pages.
    ("fsync", "off"),
    ("shared_buffers", "16MB"),
    // In the folder rather than in /dev/shm, where a killed server would leave it behind.
    ("dynamic_shared_memory_type", "mmap"),
    // Vacuum at its own times would make plans and table sizes differ from run to run.
    ("autovacuum", "off"),
    ("max_wal_senders", "20"),
    // A standby that was killed or paused finds what it missed.
    ("wal_keep_size", "1GB"),
    // For pg_rewind, which brings a deposed primary back as a standby.
    ("wal_log_hints", "on"),
    // Standbys notice their primary's return, and it their progress, without long waits.
    ("wal_retrieve_retry_interval", "200ms"),
    ("wal_receiver_status_interval", "1s"),
    ("logging_collector", "off"),
];

pub(super) fn append_settings(file: &Path, settings: &[(&str, &str)]) -> Result<(), Error> {
    let mut text = std::fs::read_to_string(file).map_err(Error::io("read postgresql.conf"))?;
    for (name, value) in SETTINGS.iter().chain(settings) {
        text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    // Overwritten in place, so it keeps its owner.
    std::fs::write(file, text).map_err(Error::io("write postgresql.conf"))
}

/// Whether the server whose first process is `pid` takes connections: it says so in the last line of its pid file,
/// which is what `pg_ctl` waits for too.
pub(super) fn is_ready(data: &Path, pid: Option<u32>) -> bool {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return false;
    };
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let ours = pid.is_some_and(|pid| lines.first() == Some(&pid.to_string().as_str()));
    ours && lines.get(7) == Some(&"ready")
}

/// Removes the few bytes of System V shared memory by which PostgreSQL tells a second server in one folder from
/// a restart. A server that ends in any order does so itself and its pid file is gone; one that was killed leaves
/// them, and a machine holds only some thousands. The pid file's seventh line is their key and number.
pub(super) fn remove_shared_memory(data: &Path) {
    let Ok(text) = std::fs::read_to_string(data.join("postmaster.pid")) else {
        return;
    };
    if let Some(number) = text
        .lines()
        .nth(6)
        .and_then(|line| line.split_whitespace().nth(1))
    {
        // A machine without `ipcrm` keeps 56 bytes too many, which is no reason to fail a test.
        let _ = Command::new("ipcrm")
            .args(["-m", number])
            .stderr(Stdio::null())
            .status();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_that_of_our_own_process() {
        let data = tempfile::tempdir().expect("a temporary folder");
        assert!(!is_ready(data.path(), Some(42)), "there is no pid file yet");
        let note = |state: &str| {
            let text = format!("42\n/data\n1700000000\n18000\n\n127.0.0.1\n  1 2\n{state}\n");
            std::fs::write(data.path().join("postmaster.pid"), text)
                .expect("the folder can be written to");
        };
        note("starting");
        assert!(!is_ready(data.path(), Some(42)));
        note("ready   ");
        assert!(is_ready(data.path(), Some(42)));
        assert!(!is_ready(data.path(), Some(4)), "left by another process");
        assert!(!is_ready(data.path(), None));
    }

    #[test]
    fn later_settings_win_and_quotes_are_doubled() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("postgresql.conf");
        std::fs::write(&file, "# as installed\n").expect("the folder can be written to");
        append_settings(&file, &[("fsync", "on"), ("search_path", "it's")])
            .expect("the file is there");
        let text = std::fs::read_to_string(&file).expect("the file is there");
        assert!(text.starts_with("# as installed\n"));
        assert!(text.find("fsync = 'off'") < text.find("fsync = 'on'"));
        assert!(text.ends_with("search_path = 'it''s'\n"));
    }
}
