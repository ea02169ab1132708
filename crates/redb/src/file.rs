//! Opening a database file so that no crash leaves one that blocks the next start.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use redb::{Database, DatabaseError, StorageError};

use crate::OpenError;

/// An open database, and the lock that makes it this process's own.
#[derive(Debug)]
pub(crate) struct OpenFile {
    // Dropped in this order: the database is closed before the lock is let go.
    pub(crate) database: Database,
    /// None for a database that is in no file, in tests.
    pub(crate) _lock: Option<File>,
}

/// Opens the database at `path`, or makes it with `prepare` if there is none.
///
/// The engine makes its files in place: a crash in the midst of that leaves one that it neither opens nor makes anew.
/// So ours are made under another name and get their own when they are whole. The steps, and what a crash after each
/// leaves:
///
/// 1. Lock `path.lock`. The lock goes with the process; the empty file stays, and means nothing.
/// 2. Make and fill `path.new`, over whatever a crash has left there. A crash leaves `path.new`, which nobody reads.
/// 3. Sync it. From here on a whole file of that name is on the disk.
/// 4. Rename it to `path`. A crash of the process leaves `path`, whole; one of the system leaves either name.
/// 5. Sync the directory, so that the name is on the disk before anything is acknowledged. This step is done for a
///    file that was there too, since the process that renamed it may have died before it got here.
pub(crate) fn open(
    path: &Path,
    cache_bytes: usize,
    prepare: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<OpenFile, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let lock = lock(path)?;
    let new = beside(path, ".new");
    // What a crash has left. An old one would be overwritten below, but also beside a file that is there it is litter.
    remove_if_there(&new).map_err(io_error)?;
    if is_missing_or_empty(path).map_err(io_error)? {
        make(&new, path, cache_bytes, prepare)?;
        File::open(&new)
            .and_then(|file| file.sync_all())
            .map_err(io_error)?;
        fs::rename(&new, path).map_err(io_error)?;
    }
    sync_directory(path).map_err(io_error)?;
    let database = Database::builder()
        .set_cache_size(cache_bytes)
        .open(path)
        .map_err(|error| open_error(path, error))?;
    Ok(OpenFile {
        database,
        _lock: Some(lock),
    })
}

/// Takes the lock, without waiting for it.
///
/// The engine locks its files too, but ours is renamed while another process may be about to make the same one; a lock
/// beside it covers all the steps.
fn lock(path: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io {
        path: path.to_owned(),
        source,
    };
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(path, ".lock"))
        .map_err(io_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Held {
            path: path.to_owned(),
        }),
        // A platform without file locks: the user is told in the README to see to it.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(error)) => Err(io_error(error)),
    }
}

/// Makes the database under its other name, whole and closed.
fn make(
    new: &Path,
    path: &Path,
    cache_bytes: usize,
    prepare: impl FnOnce(&Database) -> Result<(), redb::Error>,
) -> Result<(), OpenError> {
    let database = Database::builder()
        .set_cache_size(cache_bytes)
        .create(new)
        .map_err(|error| open_error(path, error))?;
    prepare(&database).map_err(|error| match error {
        redb::Error::Io(source) => OpenError::Io {
            path: path.to_owned(),
            source,
        },
        other => OpenError::Damaged {
            path: path.to_owned(),
            source: other.into(),
        },
    })
}

/// A file that is there and empty holds nothing that could be lost, and was made by something other than us: a `touch`,
/// or a library for temporary files. It is replaced.
fn is_missing_or_empty(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file() && metadata.len() == 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names in the directory of `path` durable.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere a directory cannot be opened as a file, and a rename is the file system's own business.
#[cfg(not(unix))]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// `path` with something at the end of its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn open_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            OpenError::Held { path }
        }
        // So the engine reports a file that does not begin as its files do.
        DatabaseError::Storage(StorageError::Io(source))
            if source.kind() == io::ErrorKind::InvalidData =>
        {
            OpenError::Damaged {
                path,
                source: source.into(),
            }
        }
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { path, source },
        other => OpenError::Damaged {
            path,
            source: other.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CACHE: usize = 1 << 20;

    fn in_a_folder(test: impl FnOnce(&Path)) {
        let folder = tempfile::tempdir().unwrap();
        test(&folder.path().join("a.redb"));
    }

    #[test]
    fn making_that_is_cut_short_leaves_no_file_and_can_be_done_again() {
        in_a_folder(|path| {
            let failed = open(path, CACHE, |_| Err(redb::Error::DatabaseClosed));
            assert!(matches!(failed, Err(OpenError::Damaged { .. })));
            assert!(!path.exists(), "a file has its name when it is whole");

            let died = std::panic::catch_unwind(|| {
                drop(open(path, CACHE, |database| {
                    let transaction = database.begin_write()?;
                    transaction.commit()?;
                    panic!("as if killed");
                }));
            });
            assert!(died.is_err());
            assert!(!path.exists(), "a file has its name when it is whole");

            let mut prepared = false;
            let opened = open(path, CACHE, |_| {
                prepared = true;
                Ok(())
            });
            assert!(opened.is_ok() && prepared && path.exists());
        });
    }

    #[test]
    fn a_file_that_is_there_is_not_made_again() {
        in_a_folder(|path| {
            drop(open(path, CACHE, |_| Ok(())).unwrap());
            drop(open(path, CACHE, |_| unreachable!("it is there")).unwrap());
        });
    }

    #[test]
    fn nobody_touches_a_file_that_another_is_making() {
        in_a_folder(|path| {
            let opened = open(path, CACHE, |_| {
                let second = open(path, CACHE, |_| unreachable!("it is locked"));
                assert!(matches!(second, Err(OpenError::Held { .. })));
                assert!(beside(path, ".new").exists(), "the half-made file stays");
                Ok(())
            });
            assert!(opened.is_ok());
        });
    }

    #[test]
    fn a_bare_name_is_in_the_working_directory() {
        assert!(sync_directory(Path::new("no-folder-named.redb")).is_ok());
        assert!(beside(Path::new("a"), ".lock") == Path::new("a.lock"));
    }
}
