//! The simulated fleet.

mod chance;
mod drivers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use purlin_shard_router::{
    Admit, Guard, InstallErrorKind, PlacementHash, Refusal, Route, Router, Shard, ShardId,
    ShardMap, Slot, SlotMove, SlotState,
};

pub(crate) use self::chance::{Chance, Seen};
use self::drivers::{Copying, Driver};

const N_SHARDS: u32 = 3;
const N_SLOTS: u32 = 4;
const N_CLIENTS: usize = 3;

type Key = u64;
type Write = u64;

/// A shard's process and its storage, which outlives the process.
struct Server {
    guard: Guard,
    /// The writes to each key, in order. A slot's rows are those of its keys.
    rows: BTreeMap<Key, Vec<Write>>,
}

/// A request on its way.
#[derive(Clone, Copy)]
struct Request {
    key: Key,
    write: Write,
    route: Route,
}

/// Something a server has admitted and is at.
struct Work {
    server: usize,
    task: Task,
    /// Held until the work has ended.
    _admit: Admit,
}

enum Task {
    Write {
        key: Key,
        write: Write,
    },
    /// Written, but the client has not heard.
    Answer {
        key: Key,
        write: Write,
    },
    Clear {
        slot: Slot,
        attempt: u64,
    },
    Import {
        key: Key,
        rows: Vec<Write>,
        attempt: u64,
    },
    CleanUp {
        slot: Slot,
    },
}

pub(crate) struct World {
    chance: Chance,
    /// What the store has ever held, newest last.
    history: Vec<Arc<ShardMap>>,
    /// Proposals that are still on their way to the store, their drivers past waiting.
    late: Vec<Arc<ShardMap>>,
    servers: Vec<Server>,
    clients: Vec<Router>,
    keys: Vec<Key>,
    requests: Vec<Request>,
    work: Vec<Work>,
    drivers: Vec<Driver>,
    acknowledged: BTreeMap<Key, Vec<Write>>,
    next_number: u64,
    seen: Seen,
}

impl World {
    pub(crate) fn new(chance: Chance) -> World {
        let shards = (1..=N_SHARDS).map(|n| Shard::new(ShardId(n), format!("db-{n}")));
        let map = ShardMap::builder(shards).slot_count(N_SLOTS).even_split();
        let map = Arc::new(map.unwrap());
        let server = |n| Server {
            guard: Guard::new(ShardId(n), Arc::clone(&map)),
            rows: BTreeMap::new(),
        };
        // Two keys in each slot.
        let keys_of = |slot| (0..).filter(move |key| map_slot(key) == slot).take(2);
        World {
            chance,
            history: vec![Arc::clone(&map)],
            late: Vec::new(),
            servers: (1..=N_SHARDS).map(server).collect(),
            clients: (0..N_CLIENTS)
                .map(|_| Router::new(Arc::clone(&map)))
                .collect(),
            keys: (0..N_SLOTS).flat_map(|n| keys_of(Slot(n))).collect(),
            requests: Vec::new(),
            work: Vec::new(),
            drivers: Vec::new(),
            acknowledged: BTreeMap::new(),
            next_number: 0,
            seen: Seen::default(),
        }
    }

    /// Whether a script has choices left.
    pub(crate) fn goes_on(&self) -> bool {
        match &self.chance {
            Chance::Seeded(_) => true,
            Chance::Scripted { script, at } => *at < script.len(),
        }
    }

    /// One event, and the check that holds after each.
    pub(crate) fn happen(&mut self) {
        match self.chance.below(64) {
            0..8 => self.send(),
            8..20 => self.deliver(),
            20..36 => self.work(),
            36..54 => self.drive(),
            54..57 => self.tell_a_client(),
            57..59 => self.tell_a_server(),
            59..61 => self.begin(),
            61 => self.arrive_late(),
            62 => self.change_mind(),
            _ => match self.chance.below(4) {
                0 => self.crash_a_driver(),
                1 => self.restart_a_server(),
                _ => {}
            },
        }
        self.check_owners();
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn newest(&self) -> Arc<ShardMap> {
        Arc::clone(self.history.last().unwrap())
    }

    /// A map as somebody may have it who has not heard the latest.
    fn some_map(&mut self) -> Arc<ShardMap> {
        let age = self.chance.below(self.history.len().min(6));
        Arc::clone(&self.history[self.history.len() - 1 - age])
    }

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.chance.below(len))
    }

    // Clients.

    fn send(&mut self) {
        let client = self.chance.below(N_CLIENTS);
        let key = self.keys[self.chance.below(self.keys.len())];
        let write = self.number();
        let route = self.clients[client].route(&key);
        self.requests.push(Request { key, write, route });
    }

    fn deliver(&mut self) {
        let Some(at) = self.pick(self.requests.len()) else {
            return;
        };
        let request = self.requests.swap_remove(at);
        let mut server = index(request.route.shard());
        if self.chance.one_in(16) {
            server = self.chance.below(self.servers.len());
        }
        let guard = &self.servers[server].guard;
        match guard.admit_key(&request.key, request.route) {
            Ok(admit) => {
                self.check_rows(server, request.key);
                let Request { key, write, .. } = request;
                self.start(server, Task::Write { key, write }, admit);
            }
            Err(refusal) => self.refused(request, refusal),
        }
    }

    fn refused(&mut self, request: Request, refusal: Refusal) {
        self.seen.note(match refusal {
            Refusal::Stale { .. } => "stale",
            Refusal::Frozen { .. } => "frozen",
            Refusal::WrongShard { .. } => "wrong shard",
            Refusal::Behind { .. } => "behind",
            other => panic!("an honest client was told: {other}"),
        });
        let route = match self.chance.below(4) {
            0 => return, // Gives up.
            1 => request.route,
            2 => refusal.redirect().unwrap_or(request.route),
            _ => self.newest().route(&request.key),
        };
        // Refused means that nothing happened, so the same write may be sent again.
        self.requests.push(Request { route, ..request });
    }

    fn tell_a_client(&mut self) {
        let map = self.some_map();
        let client = self.chance.below(N_CLIENTS);
        if let Err(error) = self.clients[client].install(map) {
            assert!(
                matches!(error.kind(), InstallErrorKind::Older { .. }),
                "{error:?}"
            );
        }
    }

    // Servers.

    fn tell_a_server(&mut self) {
        let map = self.some_map();
        let server = self.chance.below(self.servers.len());
        if let Err(error) = self.servers[server].guard.install(map) {
            assert!(
                matches!(error.kind(), InstallErrorKind::Older { .. }),
                "{error:?}"
            );
        }
    }

    /// The process ends with everything it was at. The next one starts from the newest map.
    fn restart_a_server(&mut self) {
        let server = self.chance.below(self.servers.len());
        self.work.retain(|work| work.server != server);
        let shard = ShardId(server as u32 + 1);
        self.servers[server].guard = Guard::new(shard, self.newest());
        for at in 0..self.drivers.len() {
            if self.drivers[at].moving.to() == shard {
                let attempt = self.number();
                self.drivers[at].copying = Copying::new(attempt);
            }
        }
        self.seen.note("restarted");
    }

    fn start(&mut self, server: usize, task: Task, admit: Admit) {
        self.work.push(Work {
            server,
            task,
            _admit: admit,
        });
    }

    fn work(&mut self) {
        let Some(at) = self.pick(self.work.len()) else {
            return;
        };
        let rows = &mut self.servers[self.work[at].server].rows;
        match &mut self.work[at].task {
            &mut Task::Write { key, write } => {
                let row = rows.entry(key).or_default();
                assert!(!row.contains(&write), "write {write} applied twice");
                row.push(write);
                self.work[at].task = Task::Answer { key, write };
                return;
            }
            &mut Task::Answer { key, write } => {
                self.acknowledged.entry(key).or_default().push(write);
                self.seen.note("acknowledged");
            }
            &mut Task::Clear { slot, attempt } => {
                rows.retain(|key, _| map_slot(key) != slot);
                self.report(attempt);
            }
            Task::Import {
                key,
                rows: copied,
                attempt,
            } => {
                let attempt = *attempt;
                rows.insert(*key, std::mem::take(copied));
                self.report(attempt);
            }
            &mut Task::CleanUp { slot } => {
                rows.retain(|key, _| map_slot(key) != slot);
                self.seen.note("cleaned up");
            }
        }
        self.work.swap_remove(at);
    }

    // Checks.

    fn check_owners(&self) {
        for slot in (0..N_SLOTS).map(Slot) {
            let owns = |server: &&Server| server.guard.state(slot) == Some(SlotState::Owned);
            let owners: Vec<_> = self.servers.iter().filter(owns).collect();
            assert!(owners.len() <= 1, "{slot} has {} owners", owners.len());
        }
    }

    /// Whoever is admitted to a key finds what was acknowledged.
    fn check_rows(&self, server: usize, key: Key) {
        let none = Vec::new();
        let rows = self.servers[server].rows.get(&key).unwrap_or(&none);
        for write in self.acknowledged.get(&key).unwrap_or(&none) {
            assert!(rows.contains(write), "write {write} of key {key} is lost");
        }
        let distinct: BTreeSet<_> = rows.iter().collect();
        assert_eq!(distinct.len(), rows.len(), "key {key} has a write twice");
    }

    /// The faults end: everything under way comes to its end, and the fleet must be whole.
    pub(crate) fn settle(mut self) -> Seen {
        if let Chance::Scripted { at, .. } = self.chance {
            // A script that has ended makes the same choice for ever, which no fleet comes to rest by.
            self.chance = Chance::seeded(at as u64);
        }
        self.drivers.clear();
        for slot in (0..N_SLOTS).map(Slot) {
            let Ok(moving) = SlotMove::take_over(&self.newest(), slot) else {
                continue;
            };
            let attempt = self.number();
            let mut driver = Driver::new(moving, attempt);
            if self.chance.one_in(2) {
                driver.moving.abort().unwrap();
            }
            self.drivers.push(driver);
            let mut patience = 10_000;
            while !self.drivers.is_empty() {
                self.drive();
                self.work();
                self.check_owners();
                patience -= 1;
                assert!(patience > 0, "the move of {slot} does not end");
            }
        }
        while !self.work.is_empty() {
            self.work();
        }
        let newest = self.newest();
        assert_eq!(newest.moving().count(), 0);
        for server in &self.servers {
            server.guard.install(Arc::clone(&newest)).unwrap();
            assert_eq!(server.guard.stats().in_flight, 0);
        }
        self.check_owners();
        for &key in &self.keys {
            let route = newest.route(&key);
            let server = index(route.shard());
            assert!(self.servers[server].guard.admit_key(&key, route).is_ok());
            self.check_rows(server, key);
        }
        self.seen
    }
}

fn index(shard: ShardId) -> usize {
    shard.0 as usize - 1
}

/// The slot of a key, which is the same in every map of the world.
fn map_slot(key: &Key) -> Slot {
    let hash = PlacementHash::default().of(key);
    Slot((hash >> 62) as u32)
}
