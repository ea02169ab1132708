//! A disk in memory that knows what has been synced, for tests of power cuts and of failures.
//!
//! `kill -9` does not test a sync: the system keeps what the process wrote. On this disk the power goes out at many points
//! of a run, and what was not synced is lost, torn, or there.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use purlin_core::Rng;
use redb::{Database, StorageBackend};

/// A cut tears writes at this size.
const SECTOR: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct Disk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What has been done since the last sync, in order.
    unsynced: Vec<Op>,
    /// How many operations there were.
    count: u64,
    /// Where the power is cut, and what was left then.
    cuts: Cuts,
    /// The operation that fails, if any.
    fails_at: Option<u64>,
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Default)]
struct Cuts {
    /// Every so many operations. 0 is never.
    every: u64,
    acknowledged: Acknowledged,
    taken: Vec<Cut>,
}

/// How many operations each of its users was told are done. They count themselves.
pub(crate) type Acknowledged = Arc<Vec<AtomicUsize>>;

/// All there is to know of a disk at the moment of a power cut.
#[derive(Debug)]
pub(crate) struct Cut {
    durable: Vec<u8>,
    unsynced: Vec<Op>,
    /// By user.
    pub(crate) acknowledged: Vec<usize>,
}

/// What of the unsynced survives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survives {
    Nothing,
    /// In order, up to a point.
    Prefix,
    /// Any sector, by the toss of a coin.
    Torn,
    /// The length of the file, and none of its bytes.
    Size,
    Everything,
}

impl Survives {
    pub(crate) const ALL: [Survives; 5] = [
        Survives::Nothing,
        Survives::Prefix,
        Survives::Torn,
        Survives::Size,
        Survives::Everything,
    ];
}

impl Op {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Op::SetLen(len) => image.resize(*len, 0),
            Op::Write(offset, data) => {
                let end = offset + data.len();
                if image.len() < end {
                    image.resize(end, 0);
                }
                image[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl Cut {
    /// What is found when the power is back.
    pub(crate) fn image(&self, survives: Survives, rng: &mut Rng) -> Vec<u8> {
        let mut image = self.durable.clone();
        let prefix = rng.below(self.unsynced.len() as u64 + 1) as usize;
        for (i, op) in self.unsynced.iter().enumerate() {
            match (survives, op) {
                (Survives::Nothing, _) => {}
                (Survives::Prefix, _) if i >= prefix => {}
                (Survives::Prefix | Survives::Everything, _) => op.apply(&mut image),
                (Survives::Size | Survives::Torn, Op::SetLen(_)) => op.apply(&mut image),
                (Survives::Size, Op::Write(..)) => {}
                (Survives::Torn, Op::Write(offset, data)) => {
                    for (i, sector) in data.chunks(SECTOR).enumerate() {
                        if rng.chance(0.5) {
                            let at = offset + i * SECTOR;
                            Op::Write(at, sector.to_vec()).apply(&mut image);
                        }
                    }
                }
            }
        }
        image
    }
}

impl Disk {
    pub(crate) fn new(image: Vec<u8>) -> Self {
        Disk(Arc::new(Mutex::new(State {
            live: image.clone(),
            durable: image,
            ..State::default()
        })))
    }

    /// A disk with what `make` leaves in a new database, all of it synced: what making a file and renaming it leaves.
    pub(crate) fn made(make: impl FnOnce(&Database) -> Result<(), redb::Error>) -> Self {
        let disk = Disk::new(Vec::new());
        make(&disk.database()).expect("a disk that works");
        let image = disk.state().live.clone();
        Disk::new(image)
    }

    /// The database on the disk.
    pub(crate) fn database(&self) -> Database {
        Database::builder()
            .set_cache_size(1 << 20)
            .create_with_backend(self.clone())
            .expect("a disk after a power cut opens")
    }

    /// Cuts the power every so many operations, as many users as there are.
    pub(crate) fn cut_every(&self, every: u64, users: usize) -> Acknowledged {
        let acknowledged: Acknowledged =
            Arc::new((0..users).map(|_| AtomicUsize::new(0)).collect());
        self.state().cuts = Cuts {
            every,
            acknowledged: Arc::clone(&acknowledged),
            taken: Vec::new(),
        };
        acknowledged
    }

    pub(crate) fn cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.state().cuts.taken)
    }

    /// Lets the operation fail that comes so many after the last one.
    pub(crate) fn fail_at(&self, operation: u64) {
        let mut state = self.state();
        state.fails_at = Some(state.count + operation);
    }

    /// What has been synced.
    pub(crate) fn durable(&self) -> Vec<u8> {
        self.state().durable.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under it")
    }

    /// Counts an operation that changes the disk, and lets it fail or cuts the power before it.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.count += 1;
        let told = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        let every = state.cuts.every;
        if every != 0 && state.count.is_multiple_of(every) {
            let cut = Cut {
                durable: state.durable.clone(),
                unsynced: state.unsynced.clone(),
                acknowledged: state.cuts.acknowledged.iter().map(told).collect(),
            };
            state.cuts.taken.push(cut);
        }
        if state.fails_at == Some(state.count) {
            return Err(io::Error::other("the disk failed, once"));
        }
        Ok(state)
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let offset = offset as usize;
        let found = state.live.get(offset..offset + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.operate()?;
        let op = Op::SetLen(len as usize);
        op.apply(&mut state.live);
        state.unsynced.push(op);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.operate()?;
        let op = Op::Write(offset as usize, data.to_vec());
        op.apply(&mut state.live);
        state.unsynced.push(op);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.operate()?;
        let state = &mut *state;
        for op in state.unsynced.drain(..) {
            op.apply(&mut state.durable);
        }
        Ok(())
    }
}

/// How many images to look at; more of them in a long run.
pub(crate) fn images(usually: usize) -> usize {
    let images = std::env::var("PURLIN_POWER_CUTS").ok();
    images.map_or(usually, |images| images.parse().expect("a number"))
}
