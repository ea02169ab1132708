//! Sessions on a disk that forgets what was not synced, and on one that fails.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use purlin_core::{ManualClock, Retry, Rng};
use purlin_session_store::{
    CommitOutcome, CreateOutcome, ErrorKind, Lifetime, Owner, Record, RotateOutcome, SessionId,
    SessionKey, Slide, StoreError, UserKey, Version,
};

use super::engine::Engine;
use super::{RedbSessionStore, layout};
use crate::file::OpenFile;
use crate::test_disk::{Disk, Survives, images};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// How many changes there are in a session's life: made, written, moved, and every other time ended.
const STEPS: usize = 4;

fn open(disk: &Disk) -> RedbSessionStore<ManualClock> {
    let file = OpenFile {
        database: disk.database(),
        _lock: None,
    };
    let limits = RedbSessionStore::builder().limits;
    let engine = Engine::on(Path::new("disk"), file, limits, ManualClock::new());
    let engine = engine.expect("a disk after a power cut holds sessions");
    RedbSessionStore { engine }
}

/// One of those who use the store at once. Their lives follow each other, so how many changes they have made tells what
/// there is of them.
#[derive(Clone, Copy, Debug)]
struct Tenant(u8);

impl Tenant {
    fn key(self, life: usize, moved: bool) -> SessionKey {
        let mut secret = [self.0; SessionId::LEN];
        secret[..8].copy_from_slice(&life.to_le_bytes());
        secret[8] = u8::from(moved);
        SessionId::from_secret_bytes(secret).key()
    }

    fn user(self) -> UserKey {
        UserKey::of([self.0])
    }

    fn record(self, life: usize, version: u64) -> Record {
        let owner = Owner::User {
            user: self.user(),
            cap: None,
        };
        Record::new(payload(life, version), Lifetime::new(HOUR, HOUR)).with_owner(owner)
    }

    /// The change of this number.
    fn step(self, store: &RedbSessionStore<ManualClock>, number: usize) -> Result<(), StoreError> {
        let life = number / STEPS;
        let [old, new] = [false, true].map(|moved| self.key(life, moved));
        match number % STEPS {
            0 => {
                let created = store.create(&old, self.record(life, 1))?;
                assert_eq!(created, CreateOutcome::Created(Version(1)));
            }
            1 => {
                let committed = store.commit(&old, Version(1), self.record(life, 2))?;
                assert_eq!(committed, CommitOutcome::Committed(Version(2)));
            }
            2 => {
                let record = self.record(life, 3);
                let moved = store.rotate(&old, &new, Version(2), record, HOUR)?;
                assert_eq!(moved, RotateOutcome::Rotated(Version(3)));
            }
            _ if life.is_multiple_of(2) => assert!(store.delete(&new)?),
            _ => {
                let committed = store.commit(&new, Version(3), self.record(life, 4))?;
                assert_eq!(committed, CommitOutcome::Committed(Version(4)));
            }
        }
        Ok(())
    }

    /// What there is after so many changes.
    fn live_after(self, changes: usize) -> Vec<(SessionKey, u64)> {
        let lives = 0..changes.div_ceil(STEPS);
        let stands = |life: usize| match changes - life * STEPS {
            1 => Some((self.key(life, false), 1)),
            2 => Some((self.key(life, false), 2)),
            3 => Some((self.key(life, true), 3)),
            _ if life.is_multiple_of(2) => None,
            _ => Some((self.key(life, true), 4)),
        };
        let mut live: Vec<_> = lives.filter_map(stands).collect();
        live.sort();
        live
    }

    /// What is found, by each of the keys that there can be after so many changes.
    fn found(
        self,
        store: &RedbSessionStore<ManualClock>,
        changes: usize,
    ) -> Vec<(SessionKey, u64)> {
        let mut found = Vec::new();
        for life in 0..changes.div_ceil(STEPS) {
            for moved in [false, true] {
                let key = self.key(life, moved);
                let entry = store.load(&key, Slide::No).unwrap();
                if let Some(entry) = entry.filter(|entry| entry.superseded_by.is_none()) {
                    let Version(version) = entry.version;
                    assert_eq!(entry.payload, payload(life, version), "payloads are whole");
                    found.push((key, version));
                }
            }
        }
        found.sort();
        found
    }

    /// On this disk there is what there was after the change that was acknowledged last, or after the one under way.
    fn assert_recovers(self, store: &RedbSessionStore<ManualClock>, told: usize, what: &str) {
        let found = self.found(store, told + 1);
        assert!(
            found == self.live_after(told) || found == self.live_after(told + 1),
            "{what}, {self:?}: found {found:?} after {told} changes"
        );
        let mut listed = store.by_user(&self.user()).unwrap();
        listed.sort();
        let live: Vec<_> = found.into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, live, "{what}, {self:?}: the list");
    }
}

fn payload(life: usize, version: u64) -> Vec<u8> {
    format!("{life}/{version} ").repeat(90).into_bytes()
}

/// Then the store works on.
fn assert_works(store: &RedbSessionStore<ManualClock>) {
    for number in 0..STEPS {
        Tenant(u8::MAX).step(store, number).unwrap();
    }
}

/// By one, whose commits are alone, and by three at once, who share them.
#[test]
fn what_was_acknowledged_survives_a_power_cut_and_what_was_not_is_whole_or_absent() {
    let mut looked_at = 0;
    for seed in 0_u64.. {
        if looked_at >= images(200) {
            break;
        }
        let tenants = [1, 3][seed as usize % 2];
        let disk = Disk::made(layout::make);
        let store = open(&disk);
        // Not the same beat as any commit's.
        let acknowledged = disk.cut_every(5 + seed % 8, tenants);
        thread::scope(|scope| {
            for (tenant, told) in acknowledged.iter().enumerate() {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..6 * STEPS {
                        Tenant(tenant as u8).step(store, number).unwrap();
                        told.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        let mut rng = Rng::from_seed(seed);
        let cuts = disk.cuts();
        assert!(!cuts.is_empty(), "whatever is acknowledged was synced");
        for (i, cut) in cuts.iter().enumerate() {
            let survives = Survives::ALL[i % Survives::ALL.len()];
            let what = format!("seed {seed}, cut {i}, {survives:?}");
            let store = open(&Disk::new(cut.image(survives, &mut rng)));
            for (tenant, told) in cut.acknowledged.iter().enumerate() {
                Tenant(tenant as u8).assert_recovers(&store, *told, &what);
            }
            assert_works(&store);
            looked_at += 1;
        }
    }
}

/// Line 6 for a store in a file. After a failed write or sync nothing is acknowledged on the same handle, and nothing is
/// said not to be there, though the disk works again: the system may have dropped what it could not write, and a later
/// sync does not bring that back.
#[test]
fn line_06_a_disk_that_fails_is_never_no_session_and_loses_nothing() {
    for fails_at in 1.. {
        let disk = Disk::made(layout::make);
        let (store, tenant) = (open(&disk), Tenant(0));
        disk.fail_at(fails_at);
        let failed =
            (0..3 * STEPS).find_map(|number| Some((number, tenant.step(&store, number).err()?)));
        let Some((told, error)) = failed else {
            // It is over before this operation comes.
            assert!(fails_at > 20, "only {fails_at} operations");
            return;
        };
        let what = format!("operation {fails_at} failed");
        assert_eq!(error.kind(), ErrorKind::Interrupted, "{what}");
        assert_eq!(error.retry(), Retry::NEVER, "{what}");
        for key in [tenant.key(0, false), tenant.key(9, false)] {
            let errors = [
                store.load(&key, Slide::No).map(drop),
                store.delete(&key).map(drop),
                store.by_user(&tenant.user()).map(drop),
                store.create(&key, tenant.record(9, 1)).map(drop),
            ];
            for error in errors {
                assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable, "{what}");
            }
        }
        drop(store);
        let store = open(&Disk::new(disk.durable()));
        tenant.assert_recovers(&store, told, &what);
        assert_works(&store);
    }
}
