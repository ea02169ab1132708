//! Regions that hear of each other late, twice, out of order or not at all, with clocks that are wrong; and somebody who
//! knows what each of them wrote.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::time::Duration;

use purlin_core::{Rng, WallTime};
use purlin_session_store::regions::{RegionId, Replica, Writer};

const MINUTE_MS: u64 = 60_000;
const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) ended: u64,
    /// Writes of a field that did not know of another one.
    pub(crate) conflicts: u64,
    pub(crate) lost_messages: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.ended += other.ended;
        self.conflicts += other.conflicts;
        self.lost_messages += other.lost_messages;
    }
}

struct Region {
    replica: Option<Replica>,
    /// Its clock against the true time, which wanders.
    skew_ms: i64,
    /// The lowest absolute deadline it ever showed, and whether it ever knew of an end.
    absolute: WallTime,
    had_ended: bool,
    /// For each field the number of the last write it knows of, by the books.
    known: BTreeMap<u8, Vec<usize>>,
}

/// A write of a field, as the books have it.
struct Write {
    field: u8,
    /// Writes that its author knew of.
    after: Vec<usize>,
}

struct Message {
    to: usize,
    replica: Replica,
    known: BTreeMap<u8, Vec<usize>>,
}

struct World {
    seed: u64,
    rng: Rng,
    now_ms: u64,
    regions: Vec<Region>,
    /// Links that are cut, as pairs of regions.
    cut: Vec<(usize, usize)>,
    messages: Vec<Message>,
    writes: Vec<Write>,
    lowest_limit: WallTime,
    latest_use: WallTime,
    any_end: bool,
    outcome: Outcome,
}

pub(crate) fn run(seed: u64) -> Outcome {
    let mut rng = Rng::from_seed(seed);
    let n_regions = 2 + rng.below(2) as usize;
    let regions = (0..n_regions).map(|_| Region {
        replica: None,
        skew_ms: rng.below(2 * 60 * MINUTE_MS) as i64 - 60 * MINUTE_MS as i64,
        absolute: WallTime::MAX,
        had_ended: false,
        known: BTreeMap::new(),
    });
    let regions = regions.collect();
    let mut world = World {
        seed,
        rng,
        now_ms: 1_000 * MINUTE_MS,
        regions,
        cut: Vec::new(),
        messages: Vec::new(),
        writes: Vec::new(),
        lowest_limit: WallTime::MAX,
        latest_use: WallTime::UNIX_EPOCH,
        any_end: false,
        outcome: Outcome::default(),
    };
    world.begin();
    for _ in 0..60 {
        world.event();
        world.check_each();
    }
    world.heal();
    world.check_end();
    world.outcome
}

impl World {
    fn begin(&mut self) {
        let by = self.by(0);
        let replica = Replica::new(by, IDLE, ABSOLUTE);
        self.lowest_limit = replica.absolute_until();
        self.latest_use = replica.idle_until();
        self.regions[0].replica = Some(replica);
    }

    fn by(&self, region: usize) -> Writer {
        let now = self.now_ms as i64 + self.regions[region].skew_ms;
        Writer {
            region: RegionId(region as u16),
            now: WallTime::from_unix_millis(now as u64),
        }
    }

    fn event(&mut self) {
        self.now_ms += self.rng.below(MINUTE_MS / 2);
        let at = self.rng.below(self.regions.len() as u64) as usize;
        match self.rng.below(100) {
            0..40 => self.change(at),
            40..60 => self.send(at),
            60..85 => self.deliver(),
            85..90 => {
                let step = self.rng.below(20 * MINUTE_MS) as i64 - 10 * MINUTE_MS as i64;
                self.regions[at].skew_ms += step;
            }
            90..95 => {
                let other = self.rng.below(self.regions.len() as u64) as usize;
                self.cut.push((at, other));
            }
            _ => self.cut.clear(),
        }
    }

    fn change(&mut self, at: usize) {
        let by = self.by(at);
        let region = &mut self.regions[at];
        let Some(replica) = &mut region.replica else {
            return;
        };
        let ended = replica.has_ended();
        match self.rng.below(40) {
            0..20 => {
                let field = self.rng.below(3) as u8;
                let number = self.writes.len();
                let value = (number as u64).to_le_bytes().to_vec();
                let set = replica.set(by, &field.to_string(), value);
                assert_eq!(set.is_err(), ended, "seed {}", self.seed);
                if !ended {
                    let known = region.known.entry(field).or_default();
                    let after = known.clone();
                    known.push(number);
                    self.writes.push(Write { field, after });
                }
            }
            20..32 => {
                let before = replica.idle_until();
                if replica.slide(by, IDLE).is_ok() {
                    assert!(replica.idle_until() >= before, "seed {}", self.seed);
                    self.latest_use = self.latest_use.max(replica.idle_until());
                }
            }
            32..35 => {
                let _ = replica.grant(by, "user");
            }
            35 => {
                let _ = replica.renounce(by);
            }
            36 | 37 => {
                let limit = by
                    .now
                    .after(Duration::from_millis(self.rng.below(900 * MINUTE_MS)));
                replica.limit(by, limit);
                self.lowest_limit = self.lowest_limit.min(replica.absolute_until());
            }
            38 => {
                replica.end(by);
                self.any_end = true;
            }
            _ => {}
        }
    }

    fn send(&mut self, from: usize) {
        let to = self.rng.below(self.regions.len() as u64) as usize;
        let Some(replica) = self.regions[from].replica.clone() else {
            return;
        };
        let is_cut = self.cut.contains(&(from, to)) || self.cut.contains(&(to, from));
        if is_cut || self.rng.chance(0.1) {
            self.outcome.lost_messages += 1;
            return;
        }
        let copies = 1 + self.rng.below(2);
        for _ in 0..copies {
            self.messages.push(Message {
                to,
                replica: replica.clone(),
                known: self.regions[from].known.clone(),
            });
        }
    }

    fn deliver(&mut self) {
        if self.messages.is_empty() {
            return;
        }
        let idx = self.rng.below(self.messages.len() as u64) as usize;
        let message = self.messages.swap_remove(idx);
        self.hear(message);
    }

    fn hear(&mut self, message: Message) {
        // By way of its bytes, as between data centres.
        let heard = Replica::from_bytes(message.replica.to_bytes()).unwrap();
        let region = &mut self.regions[message.to];
        match &mut region.replica {
            Some(replica) => {
                replica.merge(&heard);
            }
            empty => *empty = Some(heard),
        }
        for (field, writes) in message.known {
            let known = region.known.entry(field).or_default();
            for write in writes {
                if !known.contains(&write) {
                    known.push(write);
                }
            }
        }
    }

    /// What holds in each region at each moment.
    fn check_each(&mut self) {
        for region in &mut self.regions {
            let Some(replica) = &region.replica else {
                continue;
            };
            let seed = self.seed;
            assert!(
                replica.absolute_until() <= region.absolute,
                "seed {seed}: moved out"
            );
            assert!(
                replica.idle_until() <= replica.absolute_until(),
                "seed {seed}"
            );
            assert!(
                replica.idle_until() <= self.latest_use,
                "seed {seed}: from nowhere"
            );
            assert!(
                replica.has_ended() || !region.had_ended,
                "seed {seed}: back from its end"
            );
            region.absolute = replica.absolute_until();
            region.had_ended = replica.has_ended();
            if region.had_ended {
                continue;
            }
            // A write is in sight unless a later one is: none that its author knew of is left over.
            for (field, known) in &region.known {
                let value = replica
                    .get(&field.to_string())
                    .expect("set, and never removed");
                let shown = u64::from_le_bytes(value[..].try_into().unwrap()) as usize;
                assert!(known.contains(&shown), "seed {seed}");
                let overtaken = known
                    .iter()
                    .any(|&write| self.writes[write].after.contains(&shown));
                assert!(
                    !overtaken,
                    "seed {seed}: field {field} shows what was overwritten"
                );
            }
        }
    }

    /// The lines are back, and everybody hears of everything.
    fn heal(&mut self) {
        self.cut.clear();
        let left = std::mem::take(&mut self.messages);
        left.into_iter().for_each(|message| self.hear(message));
        for _ in 0..2 {
            for from in 0..self.regions.len() {
                for to in 0..self.regions.len() {
                    if let Some(replica) = self.regions[from].replica.clone() {
                        let known = self.regions[from].known.clone();
                        self.hear(Message { to, replica, known });
                    }
                }
            }
        }
        self.check_each();
    }

    fn check_end(&mut self) {
        let seed = self.seed;
        let first = self.regions[0].replica.as_ref().unwrap();
        for region in &self.regions {
            assert_eq!(
                region.replica.as_ref(),
                Some(first),
                "seed {seed}: they differ"
            );
        }
        assert_eq!(
            first.has_ended(),
            self.any_end,
            "seed {seed}: a logout wins, and nothing else ends"
        );
        assert_eq!(first.absolute_until(), self.lowest_limit, "seed {seed}");
        assert_eq!(
            first.idle_until(),
            self.latest_use.min(self.lowest_limit),
            "seed {seed}"
        );
        self.outcome.ended = u64::from(self.any_end);
        let is_conflict = |one: &Write, number: usize, other: &Write, other_number: usize| {
            one.field == other.field
                && !one.after.contains(&other_number)
                && !other.after.contains(&number)
        };
        for (number, write) in self.writes.iter().enumerate() {
            let others = self.writes.iter().enumerate().take(number);
            let conflicts = others.filter(|(at, other)| is_conflict(write, number, other, *at));
            self.outcome.conflicts += u64::from(conflicts.count() > 0);
        }
    }
}
