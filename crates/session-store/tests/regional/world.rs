//! Regions with clients that do things at once, over lines that are cut and lose, repeat and delay what is said, and
//! stores that fail; processes die in the middle of what they do. In the end all lines are whole, and what everybody was
//! told is compared with what is there.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::AddAssign;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use purlin_core::sync::Mutex;
use purlin_core::{Clock, ManualClock, Rng, Tick, WallTime};
use purlin_session_store::conformance::{Faults, Faulty};
use purlin_session_store::regions::{RegionId, RegionLink, Regional};
use purlin_session_store::{
    Entry, Login, MemoryStore, Policy, Saved, Session, SessionId, SessionKey, SessionStore,
    Sessions, Slide, UserKey,
};

const MINUTE: Duration = Duration::from_secs(60);
const IDLE: Duration = Duration::from_secs(30 * 60);
const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// What deadlines may differ by between regions.
const MARGIN: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sessions: u64,
    pub(crate) writes: u64,
    pub(crate) rotations: u64,
    pub(crate) ends: u64,
    pub(crate) revocations: u64,
    pub(crate) messages: u64,
    pub(crate) lost: u64,
    pub(crate) deaths: u64,
    /// Sessions that live in the end.
    pub(crate) live: u64,
    /// Of those, how many have two ids.
    pub(crate) forked: u64,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Outcome) {
        self.sessions += other.sessions;
        self.writes += other.writes;
        self.rotations += other.rotations;
        self.ends += other.ends;
        self.revocations += other.revocations;
        self.messages += other.messages;
        self.lost += other.lost;
        self.deaths += other.deaths;
        self.live += other.live;
        self.forked += other.forked;
    }
}

type Store = Arc<Faulty<MemoryStore<ManualClock>>>;
type Region = Regional<Store, ManualClock>;

/// A region, and its processes.
#[derive(Clone)]
struct Site {
    id: RegionId,
    number: usize,
    clock: ManualClock,
    store: Store,
    peers: Vec<RegionId>,
    processes: Vec<Process>,
}

#[derive(Clone)]
struct Process {
    region: Arc<Region>,
    sessions: Arc<Sessions<Arc<Region>, ManualClock>>,
}

/// What was said of a session.
#[derive(Default)]
struct Story {
    ids: Vec<SessionId>,
    user: Option<usize>,
    /// Since when somebody was told that the user has it.
    owned: Option<u64>,
    /// Somebody was told that it has ended.
    ended: bool,
    /// In these regions.
    ended_in: Vec<usize>,
    /// A revocation that it was there before, and that did not spare it.
    revoked: bool,
    /// How often it was tried to log in where nobody was: more than one leaves several logins, each with what its region
    /// knew of revocations.
    logins: u32,
    fields: Vec<String>,
    /// In which regions it was written, moved, or seen to be over without an end.
    written_in: Vec<usize>,
    moved_in: Vec<usize>,
    idled: bool,
    /// The lowest absolute deadline that somebody was told of, and the lowest that was asked for.
    limit: Option<WallTime>,
    asked_limit: Option<WallTime>,
}

impl Story {
    /// Whether it was written in one region while another one moved it, or was over in one before that had told of what
    /// was written there.
    fn may_have_crossed(&self) -> bool {
        let mut places = self.written_in.clone();
        places.extend(&self.moved_in);
        places.sort_unstable();
        places.dedup();
        self.idled || !self.moved_in.is_empty() && places.len() > 1
    }
}

#[derive(Default)]
struct Books {
    time: u64,
    stories: Vec<Story>,
    outcome: Outcome,
    /// Where a session was seen to live, and until when without use and at most.
    seen: BTreeMap<(usize, SessionKey), (Tick, Tick)>,
    n_names: u64,
}

impl Books {
    fn tick(&mut self) -> u64 {
        self.time += 1;
        self.time
    }
}

/// The lines between the regions.
struct Lines {
    rng: Rng,
    cut: Vec<(RegionId, RegionId)>,
    is_poor: bool,
    late: Vec<(usize, Bytes)>,
}

#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

/// The line from one region to another.
struct Line {
    from: RegionId,
    to: Site,
    lines: Arc<Mutex<Lines>>,
    books: Arc<Mutex<Books>>,
}

impl RegionLink for Line {
    type Error = Lost;

    async fn deliver(&self, message: Bytes) -> Result<(), Lost> {
        self.books.lock().outcome.messages += 1;
        let (is_lost, answer_is_lost) = {
            let mut lines = self.lines.lock();
            let is_cut = lines.cut.contains(&(self.from, self.to.id))
                || lines.cut.contains(&(self.to.id, self.from));
            let poor = if lines.is_poor { 0.3 } else { 0.0 };
            if !is_cut && lines.rng.chance(poor) {
                lines.late.push((self.to.number, message.clone()));
            }
            (is_cut || lines.rng.chance(poor), lines.rng.chance(poor))
        };
        if is_lost {
            self.books.lock().outcome.lost += 1;
            return Err(Lost);
        }
        wait().await;
        self.to.processes[0]
            .region
            .receive(message)
            .await
            .map_err(|_| Lost)?;
        if answer_is_lost { Err(Lost) } else { Ok(()) }
    }
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) struct World {
    seed: u64,
    rng: Rng,
    sites: Vec<Site>,
    lines: Arc<Mutex<Lines>>,
    books: Arc<Mutex<Books>>,
    tasks: Vec<Task>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = Rng::from_seed(seed);
        let n_regions = 2 + rng.below(2);
        let ids = || (1..=n_regions).map(|id| RegionId(id as u16));
        let sites = ids().enumerate().map(|(number, id)| {
            // Clocks are up to half an hour apart.
            let wall = 1_000_000_000_000 + rng.below(30 * 60_000);
            let clock = ManualClock::at_wall(WallTime::from_unix_millis(wall));
            let memory = MemoryStore::builder().clock(clock.clone()).build();
            let store = Arc::new(Faulty::new(memory).giving_way());
            Site {
                id,
                number,
                clock,
                store,
                peers: ids().filter(|peer| *peer != id).collect(),
                processes: Vec::new(),
            }
            .with_process(rng.next_u64())
            .with_process(rng.next_u64())
        });
        let sites = sites.collect();
        let lines = Lines {
            rng: Rng::from_seed(seed ^ 1),
            cut: Vec::new(),
            is_poor: false,
            late: Vec::new(),
        };
        World {
            seed,
            rng,
            sites,
            lines: Arc::new(Mutex::new(lines)),
            books: Arc::default(),
            tasks: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        for _ in 0..12 {
            for _ in 0..8 {
                self.happen();
            }
            self.finish();
            self.look();
            let time = match self.rng.below(12) {
                0..6 => Duration::from_secs(self.rng.below(20)),
                6..11 => MINUTE * self.rng.below(12) as u32,
                _ => MINUTE * self.rng.below(120) as u32,
            };
            self.pass(time);
        }
        self.heal();
        self.check();
        self.books.lock().outcome
    }

    fn pass(&self, time: Duration) {
        self.sites.iter().for_each(|site| site.clock.advance(time));
    }

    /// Something begins, and something goes on.
    fn happen(&mut self) {
        let at = self.rng.below(self.sites.len() as u64) as usize;
        match self.rng.below(20) {
            0..11 => {
                let process = self.rng.below(2) as usize;
                let client = Client {
                    site: self.sites[at].clone(),
                    process,
                    rng: Rng::from_seed(self.rng.next_u64()),
                    books: Arc::clone(&self.books),
                };
                self.tasks.push(Box::pin(client.act()));
            }
            11..15 => self.tell(at),
            15 => {
                let mut lines = self.lines.lock();
                if !lines.late.is_empty() {
                    let idx = self.rng.below(lines.late.len() as u64) as usize;
                    let (to, message) = lines.late.swap_remove(idx);
                    let site = self.sites[to].clone();
                    self.tasks.push(Box::pin(async move {
                        let _ = site.processes[0].region.receive(message).await;
                    }));
                }
            }
            16 => {
                let other = self.rng.below(self.sites.len() as u64) as usize;
                let ends = (self.sites[at].id, self.sites[other].id);
                self.lines.lock().cut.push(ends);
            }
            17 => {
                let mut lines = self.lines.lock();
                lines.is_poor = self.rng.chance(0.5);
                if self.rng.chance(0.5) {
                    lines.cut.clear();
                }
            }
            18 => {
                let faults = Faults::by_chance(self.rng.next_u64(), 0.1);
                if self.rng.chance(0.5) {
                    self.sites[at].store.inject(faults);
                } else {
                    self.sites[at].store.heal();
                }
            }
            _ if !self.tasks.is_empty() => {
                // The process dies in the middle of it.
                let idx = self.rng.below(self.tasks.len() as u64) as usize;
                drop(self.tasks.swap_remove(idx));
                self.books.lock().outcome.deaths += 1;
            }
            _ => {}
        }
        for _ in 0..self.rng.below(40) {
            self.step();
        }
    }

    fn tell(&mut self, from: usize) {
        let site = self.sites[from].clone();
        let process = self.rng.below(2) as usize;
        for to in 0..self.sites.len() {
            if to == from {
                continue;
            }
            let line = Line {
                from: site.id,
                to: self.sites[to].clone(),
                lines: Arc::clone(&self.lines),
                books: Arc::clone(&self.books),
            };
            let site = site.clone();
            self.tasks.push(Box::pin(async move {
                let peer = line.to.id;
                let _ = site.processes[process].region.exchange(peer, line).await;
            }));
        }
    }

    /// One of those that are under way gets one call further.
    fn step(&mut self) {
        if self.tasks.is_empty() {
            return;
        }
        let idx = self.rng.below(self.tasks.len() as u64) as usize;
        let mut cx = Context::from_waker(Waker::noop());
        if self.tasks[idx].as_mut().poll(&mut cx).is_ready() {
            drop(self.tasks.swap_remove(idx));
        }
    }

    fn finish(&mut self) {
        while !self.tasks.is_empty() {
            self.step();
        }
    }

    fn here<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut cx = Context::from_waker(Waker::noop());
        loop {
            if let Poll::Ready(answer) = call.as_mut().poll(&mut cx) {
                return answer;
            }
        }
    }

    /// What lives under an id, as the region sees it when its store is well.
    fn live(&self, site: &Site, id: &SessionId) -> Option<Entry> {
        let faults = site.store.heal();
        let region = &site.processes[0].region;
        let entry = self.here(region.load(&id.key(), Slide::No)).unwrap();
        faults
            .into_iter()
            .for_each(|faults| site.store.inject(faults));
        entry.filter(|entry| entry.superseded_by.is_none())
    }

    /// What holds in every region at every quiet moment.
    fn look(&mut self) {
        let (seed, n_stories) = (self.seed, self.books.lock().stories.len());
        for number in 0..n_stories {
            let (ids, ended_in) = {
                let story = &self.books.lock().stories[number];
                (story.ids.clone(), story.ended_in.clone())
            };
            for (at, site) in self.sites.iter().enumerate() {
                for id in &ids {
                    let live = self.live(site, id);
                    let mut books = self.books.lock();
                    let Some(entry) = live else {
                        let was_live = books.seen.remove(&(at, id.key())).is_some();
                        books.stories[number].idled |= was_live;
                        continue;
                    };
                    assert!(
                        !ended_in.contains(&at),
                        "seed {seed}: session {number} is back in region {at}, where it was ended"
                    );
                    let now = site.clock.now();
                    let until = now.after(entry.remaining.absolute);
                    let deadlines = (now.after(entry.remaining.idle), until);
                    let before = books.seen.insert((at, id.key()), deadlines);
                    // It may have come back from elsewhere by now.
                    let was_over = before.is_some_and(|(idle, _)| idle <= now);
                    books.stories[number].idled |= was_over;
                    let before = before.map(|(_, until)| until.after(Duration::from_millis(2)));
                    assert!(
                        before.is_none_or(|before| until <= before),
                        "seed {seed}: the deadline of session {number} moved out in region {at}"
                    );
                }
            }
        }
    }

    /// Lines and stores are well, and everybody tells everything.
    fn heal(&mut self) {
        let late = std::mem::take(&mut self.lines.lock().late);
        for site in &self.sites {
            site.store.heal();
        }
        {
            let mut lines = self.lines.lock();
            lines.cut.clear();
            lines.is_poor = false;
        }
        for (to, message) in late {
            let region = &self.sites[to].processes[0].region;
            self.here(region.receive(message)).unwrap();
        }
        for round in 0.. {
            assert!(round < 12, "seed {}: they never stop telling", self.seed);
            self.pass(Duration::from_secs(11));
            let mut is_quiet = true;
            for from in &self.sites {
                for to in self.sites.iter().filter(|to| to.id != from.id) {
                    let line = Line {
                        from: from.id,
                        to: to.clone(),
                        lines: Arc::clone(&self.lines),
                        books: Arc::clone(&self.books),
                    };
                    let region = &from.processes[0].region;
                    let told = self.here(region.exchange(to.id, line)).unwrap();
                    is_quiet &= told.told == 0 && told.waiting == 0;
                }
            }
            if is_quiet {
                break;
            }
        }
        self.look();
    }

    fn check(&self) {
        let seed = self.seed;
        let stories = std::mem::take(&mut self.books.lock().stories);
        let mut n_live = 0;
        let mut n_forked = 0;
        for (number, story) in stories.iter().enumerate() {
            let mut leaves = 0;
            for id in &story.ids {
                let seen = self.sites.iter().map(|site| self.live(site, id));
                let seen: Vec<Option<Entry>> = seen.collect();
                self.agree(number, &seen);
                let Some((at, entry)) = seen
                    .iter()
                    .enumerate()
                    .find_map(|(at, entry)| Some((at, entry.as_ref()?)))
                else {
                    continue;
                };
                leaves += 1;
                assert!(
                    !story.ended,
                    "seed {seed}: session {number} survived a logout"
                );
                let owned = story
                    .user
                    .is_some_and(|user| entry.owner == Some(key_of(user)));
                assert!(
                    !story.revoked || !owned || story.logins > 1,
                    "seed {seed}: session {number} survived a logout everywhere"
                );
                let until = self.sites[at].clock.wall().after(entry.remaining.absolute);
                let limit = story.limit.unwrap_or(WallTime::MAX).after(MARGIN);
                assert!(
                    until <= limit,
                    "seed {seed}: session {number} outlives its limit"
                );
                let asked = story.asked_limit.unwrap_or(WallTime::MAX);
                assert!(
                    until.after(MARGIN) >= asked,
                    "seed {seed}: session {number} ends before anybody asked for it"
                );
                self.complete(number, story, entry);
            }
            n_live += u64::from(leaves > 0);
            n_forked += u64::from(leaves > 1);
            let places: std::collections::BTreeSet<_> = story.moved_in.iter().collect();
            assert!(
                leaves <= 1 || places.len() > 1,
                "seed {seed}: session {number} has {leaves} ids"
            );
        }
        let mut books = self.books.lock();
        books.outcome.sessions = stories.len() as u64;
        (books.outcome.live, books.outcome.forked) = (n_live, n_forked);
    }

    /// All regions have the same under an id, but for what is over by the clock of one and not by another's.
    fn agree(&self, number: usize, seen: &[Option<Entry>]) {
        let seed = self.seed;
        let idle_until =
            |at: usize, entry: &Entry| self.sites[at].clock.wall().after(entry.remaining.idle);
        for (one, mine) in seen.iter().enumerate() {
            let Some(mine) = mine else { continue };
            for (other, theirs) in seen.iter().enumerate() {
                let Some(theirs) = theirs else {
                    assert!(
                        idle_until(one, mine) <= self.sites[other].clock.wall().after(MARGIN),
                        "seed {seed}: session {number} lives in {one} and not in {other}"
                    );
                    continue;
                };
                assert_eq!(
                    (&mine.payload, mine.owner),
                    (&theirs.payload, theirs.owner),
                    "seed {seed}: session {number} differs between {one} and {other}"
                );
                assert!(
                    idle_until(one, mine) <= idle_until(other, theirs).after(MARGIN),
                    "seed {seed}: session {number} was used in {one}, and {other} never heard"
                );
            }
        }
    }

    /// What was acknowledged is there.
    fn complete(&self, number: usize, story: &Story, entry: &Entry) {
        if story.may_have_crossed() {
            return;
        }
        for field in &story.fields {
            let name = field.as_bytes();
            let is_there = entry.payload.windows(name.len()).any(|part| part == name);
            assert!(
                is_there,
                "seed {}: session {number} lost its field {field}",
                self.seed
            );
        }
    }
}

fn key_of(user: usize) -> UserKey {
    UserKey::of(user.to_string())
}

impl Site {
    fn with_process(mut self, seed: u64) -> Self {
        let region = Regional::new(self.id, self.peers.iter().copied(), Arc::clone(&self.store));
        let region = Arc::new(region.clock(self.clock.clone()).seed(seed));
        let policy = Policy::default()
            .idle(IDLE)
            .absolute(ABSOLUTE)
            .unlimited_sessions_per_user();
        let sessions = Sessions::new(Arc::clone(&region), policy)
            .with_clock(self.clock.clone())
            .with_seeded_ids(seed ^ 2);
        self.processes.push(Process {
            region,
            sessions: Arc::new(sessions),
        });
        self
    }
}

/// A request.
struct Client {
    site: Site,
    process: usize,
    rng: Rng,
    books: Arc<Mutex<Books>>,
}

impl Client {
    async fn act(mut self) {
        let n_stories = self.books.lock().stories.len() as u64;
        if n_stories == 0 || n_stories < 6 && self.rng.chance(0.15) {
            return self.begin().await;
        }
        let number = self.rng.below(n_stories) as usize;
        let id = {
            let books = self.books.lock();
            let ids = &books.stories[number].ids;
            // Mostly the latest.
            let back = if self.rng.chance(0.8) {
                1
            } else {
                1 + self.rng.below(ids.len() as u64) as usize
            };
            ids[ids.len() - back].clone()
        };
        match self.rng.below(24) {
            0..4 => drop(self.sessions().open(id).await),
            4..12 => self.write(number, id).await,
            12..16 => self.move_on(number, id).await,
            16..18 => self.limit(number, id).await,
            18..20 => self.log_out(number, id).await,
            20..22 => self.log_out_everywhere(number).await,
            _ => self.log_out_others(number, id).await,
        }
    }

    fn sessions(&self) -> Arc<Sessions<Arc<Region>, ManualClock>> {
        Arc::clone(&self.site.processes[self.process].sessions)
    }

    async fn begin(&mut self) {
        let mut session = Session::absent();
        session.set_bytes("first", "x").unwrap();
        let saved = self.sessions().commit(&mut session).await;
        if let (Ok(Saved::Created), Some(id)) = (saved, session.id()) {
            let wall = self.site.clock.wall().after(ABSOLUTE);
            let mut books = self.books.lock();
            books.stories.push(Story {
                ids: vec![id.clone()],
                limit: Some(wall),
                asked_limit: Some(wall),
                ..Story::default()
            });
        }
    }

    /// The session, if it can be written.
    async fn open(&self, id: SessionId) -> Option<Session> {
        let session = self.sessions().open(id).await.ok()?;
        (session.id().is_some() && !session.is_superseded()).then_some(session)
    }

    async fn write(&mut self, number: usize, id: SessionId) {
        let Some(mut session) = self.open(id).await else {
            return;
        };
        let field = {
            let mut books = self.books.lock();
            books.stories[number].written_in.push(self.site.number);
            books.n_names += 1;
            format!("<{}>", books.n_names)
        };
        session.set_bytes(&field, "x").unwrap();
        session.set_bytes("last", field.clone()).unwrap();
        let saved = self.sessions().commit(&mut session).await;
        if let Ok(Saved::Written) = saved {
            let mut books = self.books.lock();
            books.stories[number].fields.push(field);
            books.outcome.writes += 1;
        }
    }

    async fn move_on(&mut self, number: usize, id: SessionId) {
        let Some(mut session) = self.open(id).await else {
            return;
        };
        let user = {
            let mut books = self.books.lock();
            let story = &mut books.stories[number];
            story.moved_in.push(self.site.number);
            // A rotation asks for no more than the policy gives, from now by this region's clock.
            let wall = self.site.clock.wall().after(ABSOLUTE);
            story.asked_limit = story.asked_limit.min(Some(wall));
            let is_login = self.rng.chance(0.7);
            story.logins += u32::from(is_login && session.user().is_none());
            is_login.then(|| *story.user.get_or_insert(number % 2))
        };
        match user {
            Some(user) => session.login(Login::new(user.to_string())),
            None => session.rotate(),
        }
        let saved = self.sessions().commit(&mut session).await;
        let mut books = self.books.lock();
        if let (Ok(Saved::Rotated), Some(id)) = (saved, session.id()) {
            let now = books.tick();
            let story = &mut books.stories[number];
            story.ids.push(id.clone());
            if user.is_some() {
                story.owned.get_or_insert(now);
            }
            books.outcome.rotations += 1;
        }
    }

    async fn limit(&mut self, number: usize, id: SessionId) {
        let Some(mut session) = self.open(id).await else {
            return;
        };
        let within = MINUTE * (60 + self.rng.below(600) as u32);
        let wall = self.site.clock.wall().after(within);
        session.end_within(within);
        {
            let story = &mut self.books.lock().stories[number];
            story.written_in.push(self.site.number);
            story.asked_limit = story.asked_limit.min(Some(wall));
        }
        if let Ok(Saved::Written) = self.sessions().commit(&mut session).await {
            let story = &mut self.books.lock().stories[number];
            story.limit = story.limit.min(Some(wall));
        }
    }

    async fn log_out(&mut self, number: usize, id: SessionId) {
        let region = &self.site.processes[self.process].region;
        if let Ok(true) = region.delete(&id.key()).await {
            let mut books = self.books.lock();
            books.stories[number].ended = true;
            books.stories[number].ended_in.push(self.site.number);
            books.outcome.ends += 1;
        }
    }

    /// The sessions of the user that this one has, which somebody was told of.
    fn known(&self, number: usize) -> Option<(usize, Vec<usize>)> {
        let books = self.books.lock();
        let user = books.stories[number].user?;
        let known = books.stories.iter().enumerate();
        let known = known.filter(|(_, story)| story.user == Some(user) && story.owned.is_some());
        Some((user, known.map(|(number, _)| number).collect()))
    }

    async fn log_out_everywhere(&mut self, number: usize) {
        let Some((user, known)) = self.known(number) else {
            return;
        };
        if self.sessions().end_all_of(&user.to_string()).await.is_ok() {
            self.revoked(known);
        }
    }

    async fn log_out_others(&mut self, number: usize, id: SessionId) {
        let Some((_, mut known)) = self.known(number) else {
            return;
        };
        let Some(session) = self
            .open(id)
            .await
            .filter(|session| session.user().is_some())
        else {
            return;
        };
        known.retain(|other| *other != number);
        if self.sessions().logout_others(&session).await.is_ok() {
            self.revoked(known);
        }
    }

    fn revoked(&self, known: Vec<usize>) {
        let mut books = self.books.lock();
        for number in known {
            books.stories[number].revoked = true;
        }
        books.outcome.revocations += 1;
    }
}

/// Lets others go first.
async fn wait() {
    let mut has_waited = false;
    poll_fn(|_| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        Poll::Pending
    })
    .await;
}
