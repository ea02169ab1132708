//! Where the servers' programs are installed.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::Error;

/// Redis, or Valkey, which speaks the same protocol and takes the same arguments.
const REDIS: &[&str] = &["redis-server", "valkey-server"];

/// What a PostgreSQL folder must hold to be of use. Taking all of them from one folder keeps their versions
/// alike: a machine often has a newer `psql` than server, or clients without a server.
const POSTGRES: &[&str] = &["postgres", "initdb", "pg_basebackup", "psql"];

/// Folders outside `PATH` in which packages put programs.
const FOLDERS: &[&str] = &[
    "/usr/bin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/usr/local/pgsql/bin",
];

/// Packages that keep a folder for each version of PostgreSQL: the folder above, and how the version's own
/// begins. Debian; Red Hat; Homebrew on both kinds of Mac; Postgres.app.
const VERSIONED: &[(&str, &str)] = &[
    ("/usr/lib/postgresql", ""),
    ("/usr", "pgsql-"),
    ("/opt/homebrew/opt", "postgresql@"),
    ("/usr/local/opt", "postgresql@"),
    ("/Applications/Postgres.app/Contents/Versions", ""),
];

/// The `redis-server` to start.
pub(crate) fn redis() -> Result<PathBuf, Error> {
    redis_in(
        search_path()
            .chain(FOLDERS.iter().map(PathBuf::from))
            .collect(),
    )
}

/// The folder with PostgreSQL's programs: one of `PATH`, or else the highest version that is installed.
pub(crate) fn postgres() -> Result<PathBuf, Error> {
    let versioned = VERSIONED
        .iter()
        .flat_map(|(parent, prefix)| newest_first(Path::new(parent), prefix));
    postgres_in(
        search_path()
            .chain(versioned)
            .chain(FOLDERS.iter().map(PathBuf::from))
            .collect(),
    )
}

fn redis_in(searched: Vec<PathBuf>) -> Result<PathBuf, Error> {
    searched
        .iter()
        .flat_map(|folder| REDIS.iter().map(|name| folder.join(name)))
        .find(|program| is_program(program))
        .ok_or(Error::NotInstalled {
            program: "redis-server",
            searched,
            remedy: "install it (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis)",
        })
}

fn postgres_in(searched: Vec<PathBuf>) -> Result<PathBuf, Error> {
    searched.iter().find(|folder| holds_all(folder, POSTGRES)).cloned().ok_or(Error::NotInstalled {
        program: "PostgreSQL (postgres, initdb, pg_basebackup and psql in one folder)",
        searched,
        remedy: "install it (Debian, Ubuntu: apt-get install postgresql; macOS: brew install postgresql)",
    })
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .collect::<Vec<_>>()
        .into_iter()
}

/// The `bin` folders of `parent/{prefix}{version}`, the highest version first. A parent that does not exist has
/// none.
fn newest_first(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            Some((
                version(&entry.file_name(), prefix)?,
                entry.path().join("bin"),
            ))
        })
        .collect();
    found.sort_by(|(left, _), (right, _)| right.cmp(left));
    found.into_iter().map(|(_, bin)| bin).collect()
}

/// A version as numbers, since "15" is above "9.6" and text says otherwise.
fn version(name: &OsStr, prefix: &str) -> Option<Vec<u32>> {
    name.to_str()?
        .strip_prefix(prefix)?
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}

fn holds_all(folder: &Path, programs: &[&str]) -> bool {
    programs
        .iter()
        .all(|program| is_program(&folder.join(program)))
}

fn is_program(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(folder: &Path, programs: &[&str]) {
        std::fs::create_dir_all(folder).expect("a temporary folder can be written to");
        for program in programs {
            let path = folder.join(program);
            std::fs::write(&path, "").expect("a temporary folder can be written to");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755))
                .expect("the file is ours");
        }
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for name in ["9.6", "15", "14", "doc", "16beta"] {
            install(&root.path().join(name).join("bin"), POSTGRES);
        }
        let found = newest_first(root.path(), "");
        let expected: Vec<_> = ["15", "14", "9.6"]
            .iter()
            .map(|name| root.path().join(name).join("bin"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_prefix_is_part_of_the_name() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for name in ["postgresql@14", "postgresql@17", "redis@7", "postgresql"] {
            install(&root.path().join(name).join("bin"), POSTGRES);
        }
        let found = newest_first(root.path(), "postgresql@");
        assert_eq!(
            found,
            [
                root.path().join("postgresql@17/bin"),
                root.path().join("postgresql@14/bin")
            ]
        );
        assert!(newest_first(&root.path().join("absent"), "").is_empty());
    }

    #[test]
    fn clients_alone_are_no_server() {
        let root = tempfile::tempdir().expect("a temporary folder");
        install(root.path(), &["psql", "pg_basebackup"]);
        assert!(!holds_all(root.path(), POSTGRES));
        install(root.path(), &["postgres", "initdb"]);
        assert!(holds_all(root.path(), POSTGRES));
    }

    #[test]
    fn the_first_folder_that_has_it_wins() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let folders: Vec<_> = ["a", "b", "c"]
            .iter()
            .map(|name| root.path().join(name))
            .collect();
        install(&folders[1], &["valkey-server"]);
        install(&folders[2], &["redis-server"]);
        install(&folders[2], POSTGRES);
        assert_eq!(
            redis_in(folders.clone()).expect("it is there"),
            folders[1].join("valkey-server")
        );
        assert_eq!(
            postgres_in(folders.clone()).expect("it is there"),
            folders[2]
        );
    }

    #[test]
    fn a_machine_without_them_gets_to_know_what_to_install() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for missing in [
            redis_in(vec![root.path().to_owned()]),
            postgres_in(vec![root.path().to_owned()]),
        ] {
            let message = format!("{:?}", missing.expect_err("the folder is empty"));
            assert!(
                message.contains("ci/test.sh") && message.contains("apt-get install"),
                "{message}"
            );
            assert!(
                message.contains(&root.path().display().to_string()),
                "{message}"
            );
        }
    }

    #[test]
    fn a_file_that_cannot_be_run_is_no_program() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join("psql");
        std::fs::write(&path, "").expect("a temporary folder can be written to");
        assert!(!is_program(&path));
        assert!(!is_program(root.path()));
    }
}
