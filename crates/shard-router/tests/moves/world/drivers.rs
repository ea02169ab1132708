//! What the drivers of moves do, one thing at a time, and everything that goes wrong meanwhile.

use std::sync::Arc;

use purlin_shard_router::{MapVersion, MoveError, ShardId, ShardMap, Slot, SlotMove, Step};

use super::{N_SHARDS, N_SLOTS, Task, World, index, map_slot};

const MAX_DRIVERS: usize = 3;

pub(super) struct Driver {
    pub(super) moving: SlotMove,
    /// The map read from the store, by now perhaps not its newest.
    read: Option<Arc<ShardMap>>,
    proposal: Option<Arc<ShardMap>>,
    pub(super) copying: Copying,
}

/// How far a driver's copy is. An attempt has a number, by which its imports report back.
#[derive(Clone, Copy)]
pub(super) struct Copying {
    attempt: u64,
    cleared: bool,
    asked: bool,
    outstanding: usize,
}

impl Driver {
    pub(super) fn new(moving: SlotMove, attempt: u64) -> Self {
        Driver {
            moving,
            read: None,
            proposal: None,
            copying: Copying::new(attempt),
        }
    }
}

impl Copying {
    pub(super) fn new(attempt: u64) -> Self {
        Copying {
            attempt,
            cleared: false,
            asked: false,
            outstanding: 0,
        }
    }
}

impl World {
    pub(super) fn begin(&mut self) {
        if self.drivers.len() >= MAX_DRIVERS {
            return;
        }
        let map = self.some_map();
        let slot = Slot(self.chance.below(N_SLOTS as usize) as u32);
        let to = ShardId(1 + self.chance.below(N_SHARDS as usize) as u32);
        let now = map.assignment(slot).unwrap();
        let moving = if now.moving_to.is_some() {
            self.seen.note("taken over");
            SlotMove::take_over(&map, slot)
        } else if self.chance.one_in(3) {
            SlotMove::plan(&map, map.slots_of(now.owner), to)
        } else {
            SlotMove::plan(&map, [slot], to)
        };
        if let Ok(moving) = moving {
            let attempt = self.number();
            self.drivers.push(Driver::new(moving, attempt));
        }
    }

    pub(super) fn crash_a_driver(&mut self) {
        if let Some(at) = self.pick(self.drivers.len()) {
            let crashed = self.drivers.swap_remove(at);
            // What it sent to the store may arrive all the same, and its imports go on.
            self.late.extend(crashed.proposal);
        }
    }

    pub(super) fn change_mind(&mut self) {
        if let Some(at) = self.pick(self.drivers.len()) {
            // Not possible any more once the commit is published.
            let Ok(_) = self.drivers[at].moving.abort() else {
                return;
            };
            self.late.extend(self.drivers[at].proposal.take());
        }
    }

    pub(super) fn arrive_late(&mut self) {
        if let Some(at) = self.pick(self.late.len()) {
            let proposal = self.late.swap_remove(at);
            self.compare_and_swap(proposal);
        }
    }

    /// The store: takes a map if it follows its newest.
    fn compare_and_swap(&mut self, proposal: Arc<ShardMap>) -> bool {
        let follows = proposal.version().0 == self.newest().version().0 + 1;
        if follows {
            self.history.push(proposal);
        }
        follows
    }

    pub(super) fn drive(&mut self) {
        let Some(at) = self.pick(self.drivers.len()) else {
            return;
        };
        let mut driver = self.drivers.swap_remove(at);
        if self.drive_one(&mut driver) {
            self.drivers.push(driver);
        }
    }

    /// One thing that a driver does. Returns whether it goes on.
    fn drive_one(&mut self, driver: &mut Driver) -> bool {
        let (from, to) = (driver.moving.from(), driver.moving.to());
        match driver.moving.step() {
            Step::Freeze | Step::Commit | Step::Thaw => return self.publish(driver),
            Step::Drain { at } => {
                let shard = if self.chance.one_in(2) { from } else { to };
                let newest = self.newest();
                let guard = &self.servers[index(shard)].guard;
                if guard.version() < at {
                    guard.install(newest).unwrap();
                } else if guard.is_drained(driver.moving.slots()) {
                    driver.moving.drained(shard, guard.version()).unwrap();
                } else {
                    self.seen.note("waited for a drain");
                }
            }
            Step::Copy { epoch } => return self.copy(driver, epoch),
            Step::Open { at } | Step::Release { at } | Step::Reopen { at } => {
                let opening = matches!(driver.moving.step(), Step::Open { .. });
                let shard = if opening { to } else { from };
                let newest = self.newest();
                let guard = &self.servers[index(shard)].guard;
                if guard.version() < at {
                    guard.install(newest).unwrap();
                } else {
                    driver.moving.installed(shard, guard.version()).unwrap();
                }
            }
            Step::Done => {
                self.seen.note("done");
                self.clean_up(driver, from);
                return false;
            }
            Step::Aborted => {
                self.seen.note("aborted");
                self.clean_up(driver, to);
                return false;
            }
        }
        true
    }

    /// A step of reading the store, proposing, or swapping.
    fn publish(&mut self, driver: &mut Driver) -> bool {
        if let Some(proposal) = driver.proposal.take() {
            driver.read = None;
            match self.chance.below(8) {
                // Taken, or not, and nobody hears of it.
                0 => drop(self.compare_and_swap(proposal)),
                1 => self.late.push(proposal),
                2 => {}
                _ => {
                    if self.compare_and_swap(proposal) {
                        driver.moving.published().unwrap();
                    }
                }
            }
        } else if let Some(read) = driver.read.take() {
            match driver.moving.propose(&read) {
                Ok(Some(map)) => driver.proposal = Some(Arc::new(map)),
                Ok(None) => self.seen.note("found out"),
                Err(MoveError::Overtaken) => {
                    self.seen.note("overtaken");
                    return false;
                }
                Err(other) => panic!("{other}"),
            }
        } else {
            driver.read = Some(self.newest());
        }
        true
    }

    fn copy(&mut self, driver: &mut Driver, epoch: MapVersion) -> bool {
        if driver.copying.outstanding > 0 {
            return true;
        }
        if driver.copying.asked && driver.copying.cleared {
            driver.moving.copied().unwrap();
            return true;
        }
        let target = index(driver.moving.to());
        let attempt = driver.copying.attempt;
        let mut tasks = Vec::new();
        if driver.copying.cleared {
            driver.copying.asked = true;
            let source = &self.servers[index(driver.moving.from())];
            for &key in &self.keys {
                let slot = map_slot(&key);
                if driver.moving.slots().contains(&slot) {
                    let rows = source.rows.get(&key).cloned().unwrap_or_default();
                    tasks.push((slot, Task::Import { key, rows, attempt }));
                }
            }
        } else {
            driver.copying.cleared = true;
            for &slot in driver.moving.slots() {
                tasks.push((slot, Task::Clear { slot, attempt }));
            }
        }
        for (slot, task) in tasks {
            match self.servers[target].guard.admit_import(slot, epoch) {
                Ok(admit) => self.start(target, task, admit),
                Err(_overtaken) => {
                    self.seen.note("import refused");
                    return false;
                }
            }
            driver.copying.outstanding += 1;
        }
        true
    }

    /// A part of a copy has been carried out, for whichever driver is still waiting for it.
    pub(super) fn report(&mut self, attempt: u64) {
        let mut drivers = self.drivers.iter_mut();
        if let Some(driver) = drivers.find(|it| it.copying.attempt == attempt) {
            driver.copying.outstanding -= 1;
        }
    }

    fn clean_up(&mut self, driver: &Driver, loser: ShardId) {
        let map = self.some_map();
        for &slot in driver.moving.slots() {
            let epoch = map.assignment(slot).unwrap().epoch;
            match self.servers[index(loser)].guard.admit_cleanup(slot, epoch) {
                Ok(admit) => self.start(index(loser), Task::CleanUp { slot }, admit),
                Err(_) => self.seen.note("clean-up refused"),
            }
        }
    }
}
