//! No file that a crash may leave blocks the next start, and no wrong file is taken for ours, or harmed.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

use purlin_redb::{OpenError, RedbQueue};
use purlin_work_queue::{Job, LeaseRequest, Safety};
use redb::TableDefinition;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.redb");
    (folder, path)
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A whole file with one job.
fn with_a_job(path: &Path) {
    let queue = RedbQueue::open(path).unwrap();
    queue.enqueue(Job::new("kept")).unwrap();
}

fn assert_has_the_job(path: &Path) {
    let queue = RedbQueue::open(path).unwrap();
    assert_eq!(queue.stats().jobs(), 1);
    let request = LeaseRequest::new("w", std::time::Duration::ZERO);
    let leased = queue.lease(&request).unwrap();
    assert_eq!(leased[0].job().payload(), "kept");
}

#[test]
fn a_new_file_leaves_itself_and_its_lock() {
    let (folder, path) = folder();
    with_a_job(&path);
    assert_eq!(names(&folder), ["queue.redb", "queue.redb.lock"]);
    assert_has_the_job(&path);
}

/// The engine neither opens nor makes anew a file that a crash has left half made. Ours are half made under another
/// name only, so whatever is there under it, at whatever length, the next start makes a new one.
#[test]
fn a_half_made_file_never_blocks_the_next_start() {
    let (whole_folder, whole) = folder();
    drop(RedbQueue::open(&whole).unwrap());
    let whole_bytes = fs::read(&whole).unwrap();
    drop(whole_folder);
    for len in [0, 1, 8, 9, 64, 320, 511, 512, 4096, 8192, whole_bytes.len()] {
        let (folder, path) = folder();
        let half_made = folder.path().join("queue.redb.new");
        fs::write(&half_made, &whole_bytes[..len]).unwrap();
        with_a_job(&path);
        assert_eq!(names(&folder), ["queue.redb", "queue.redb.lock"], "{len}");
        assert_has_the_job(&path);

        // And beside a file that is there.
        fs::write(&half_made, &whole_bytes[..len]).unwrap();
        assert_has_the_job(&path);
        assert_eq!(names(&folder), ["queue.redb", "queue.redb.lock"], "{len}");
    }
}

#[test]
fn an_empty_file_is_one_that_was_not_made_yet() {
    let (_folder, path) = folder();
    fs::write(&path, b"").unwrap();
    with_a_job(&path);
    assert_has_the_job(&path);
}

#[test]
fn a_file_that_is_open_elsewhere_is_held() {
    let (_folder, path) = folder();
    let queue = RedbQueue::open(&path).unwrap();
    let error = RedbQueue::open(&path).unwrap_err();
    assert!(matches!(&error, OpenError::Held { path: held } if *held == path));
    assert_eq!(error.retry().safety, Safety::Safe);
    // Also if somebody has tidied the lock away: the engine has one of its own.
    fs::remove_file(path.with_extension("redb.lock")).unwrap();
    assert!(matches!(
        RedbQueue::open(&path),
        Err(OpenError::Held { .. })
    ));
    drop(queue);
    drop(RedbQueue::open(&path).unwrap());
}

#[test]
fn what_is_no_queue_is_refused_and_left_as_it_is() {
    let (folder, path) = folder();
    let text = "not a database, and dear to somebody".repeat(200);
    fs::write(&path, &text).unwrap();
    assert!(matches!(
        RedbQueue::open(&path),
        Err(OpenError::Damaged { .. })
    ));
    assert_eq!(fs::read_to_string(&path).unwrap(), text);

    let other = folder.path().join("other.redb");
    let database = redb::Database::create(&other).unwrap();
    let table: TableDefinition<'_, u64, u64> = TableDefinition::new("somebody else's");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = RedbQueue::open(&other).unwrap_err();
    assert!(matches!(error, OpenError::NotAQueue { .. }), "{error}");
    assert_eq!(error.retry().safety, Safety::Never);
    let database = redb::Database::open(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    let value = redb::ReadableTable::get(&transaction.open_table(table).unwrap(), 1)
        .unwrap()
        .unwrap()
        .value();
    assert_eq!(value, 2);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let (_folder, path) = folder();
    with_a_job(&path);
    edit(&path, |transaction| {
        let meta: TableDefinition<'_, &str, u64> = TableDefinition::new("purlin.queue.meta");
        transaction
            .open_table(meta)
            .unwrap()
            .insert("format", 2)
            .unwrap();
    });
    let error = RedbQueue::open(&path).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn records_that_contradict_each_other_are_damage() {
    const META: TableDefinition<'_, &str, u64> = TableDefinition::new("purlin.queue.meta");
    const JOBS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purlin.queue.jobs");
    const PAYLOADS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("purlin.queue.payloads");
    type Damage = fn(&redb::WriteTransaction);
    let damages: [(&str, Damage); 6] = [
        ("a counter that would give an id again", |transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("next_job", 1).unwrap();
        }),
        ("a counter about to overflow", |transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            meta.insert("next_fence", u64::MAX).unwrap();
        }),
        ("a counter that is gone", |transaction| {
            let mut meta = transaction.open_table(META).unwrap();
            meta.remove("next_fence").unwrap();
        }),
        ("a record that is cut", |transaction| {
            let mut jobs = transaction.open_table(JOBS).unwrap();
            jobs.insert(1, &[1, 0, 0][..]).unwrap();
        }),
        ("a payload that is gone", |transaction| {
            transaction.open_table(PAYLOADS).unwrap().remove(1).unwrap();
        }),
        ("a table that is gone", |transaction| {
            transaction.delete_table(JOBS).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let (_folder, path) = folder();
        with_a_job(&path);
        edit(&path, damage);
        let error = RedbQueue::open(&path).expect_err(what);
        assert!(
            matches!(error, OpenError::Damaged { .. }),
            "{what}: {error:?}"
        );
    }
}

#[test]
fn a_directory_that_is_not_there_is_an_io_error_with_the_path() {
    let (_folder, path) = folder();
    let path = path.join("deeper");
    let error = RedbQueue::open(&path).unwrap_err();
    assert!(matches!(&error, OpenError::Io { path: named, .. } if *named == path));
    assert!(error.to_string().contains("deeper"));
}

/// Changes a file behind the queue's back.
fn edit(path: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}
