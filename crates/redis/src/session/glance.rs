//! What a row tells by itself, and the server's time.
//!
//! A script costs the server several times what a `GET` does, and nearly all loads write nothing: a deadline is moved
//! at most twenty times an idle window. So the row is fetched as it lies, and a script is asked only if the row may be
//! due for something. That needs no script to be right: the row's key expires at its end by the server's own clock, so a
//! row that is there lives. And where a script is needed, most of what it costs is numbers: to ask the time, to unpack
//! and to pack. So the deadline of a commit is reckoned here as well, and the script compares text.
//!
//! The reckoning is from what the last answer told, for a second at most; then one call goes by the script that asks the
//! time. It is behind by a round trip at most, of which those that took long are not believed, and ahead by what the
//! clocks drift apart in a second. A server whose
//! clock is set anew can therefore have a deadline moved by as much for a second; never before the one that was there,
//! and never past the absolute one. The clocks of a cluster's servers should agree to within a small part of the idle
//! time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes};
use purlin_core::{Clock, SystemClock, Tick};
use purlin_session_store::{Entry, Lifetime, Slide, Version};

use super::owned::Owned;
use super::scripts::{NEVER, millis};

/// The server's time, as reckoned here.
#[derive(Debug)]
pub(super) struct ServerTime<K = SystemClock> {
    clock: K,
    began: Tick,
    /// By how many milliseconds the server's Unix time is ahead of the time since `began`; zero if it was never told.
    ahead: AtomicU64,
    /// When it was told, in milliseconds since `began`.
    told_at: AtomicU64,
    /// How long the answer was on its way, in milliseconds.
    late: AtomicU64,
}

/// How long the reckoning is good for.
const FRESH_MS: u64 = 1000;

/// By how much it may be behind. A server that is further away than that is asked for its time by each call.
const LATE_MS: u64 = 25;

/// The server's time, as well as it is known. Deadlines are made from the earlier and what is left of them is told by
/// the later, so that nobody is promised time that is not there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at_least: u64,
    pub(super) at_most: u64,
}

impl Now {
    /// The deadline so far from now.
    pub(super) fn deadline(self, length: Duration) -> u64 {
        self.at_least.saturating_add(millis(length)).min(NEVER)
    }
}

/// When the server was asked for its time, in milliseconds since `began`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked(u64);

impl ServerTime {
    pub(super) fn new() -> Self {
        ServerTime::on(SystemClock::new())
    }
}

impl<K: Clock> ServerTime<K> {
    fn on(clock: K) -> Self {
        ServerTime {
            began: clock.now(),
            clock,
            ahead: AtomicU64::new(0),
            told_at: AtomicU64::new(0),
            late: AtomicU64::new(0),
        }
    }

    /// The moment before the server is asked for its time.
    pub(super) fn asked(&self) -> Asked {
        Asked(self.here())
    }

    /// The server has just said that this is its time. What took long to arrive is not believed.
    pub(super) fn learn(&self, asked: Asked, server_ms: u64) {
        let here = self.here();
        let late = here.saturating_sub(asked.0);
        if late > LATE_MS {
            return;
        }
        // Not one step, and need not be: the difference that was told before is as good but for the clocks' drift.
        self.told_at.store(here, Ordering::Relaxed);
        self.late.store(late, Ordering::Relaxed);
        self.ahead
            .store(server_ms.saturating_sub(here), Ordering::Relaxed);
    }

    /// The server's time now, if it was told lately.
    pub(super) fn now(&self) -> Option<Now> {
        let (ahead, here) = (self.ahead.load(Ordering::Relaxed), self.here());
        let age = here.saturating_sub(self.told_at.load(Ordering::Relaxed));
        if ahead == 0 || age >= FRESH_MS {
            return None;
        }
        let at_least = ahead.saturating_add(here);
        // Two more, as both clocks' milliseconds were cut.
        let late = self.late.load(Ordering::Relaxed) + 2;
        Some(Now {
            at_least,
            at_most: at_least.saturating_add(late),
        })
    }

    fn here(&self) -> u64 {
        let elapsed = self.clock.now().since(self.began);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether a `GET` is likely to do for this load.
pub(super) fn may_do(slide: Slide) -> bool {
    match slide {
        Slide::No => true,
        // A smaller gain than the reckoning's error is the server's to judge.
        Slide::To { min_gain, .. } => min_gain >= Duration::from_millis(2 * FRESH_MS),
    }
}

/// The session of a row with this head, if it lives and nothing is to be written. None is for the script to say.
pub(super) fn read(head: Head, row: Vec<u8>, now: Now, slide: Slide) -> Option<Entry> {
    if head.late || head.till <= now.at_least {
        return None;
    }
    if let Slide::To { idle, min_gain } = slide {
        let target = now.deadline(idle).min(head.absolute);
        let gain = target.saturating_sub(head.till).saturating_add(FRESH_MS);
        if gain >= millis(min_gain) {
            return None;
        }
    }
    Some(head.entry(row, head.till, now))
}

/// The session of a row whose key's end was just moved to a time, and whose it is. None, if that did not move the
/// session's deadline: then the row does not say that its key's end is what counts, or it is past its absolute deadline.
pub(super) fn read_moved(row: Vec<u8>, now: Now, end: u64) -> Option<(Entry, Option<Owned>)> {
    let head = Head::of(&row)?;
    if !head.late || head.absolute <= now.at_most {
        return None;
    }
    let till = end.min(head.absolute);
    Some((head.entry(row, till, now), head.owner))
}

/// What stands before the payload of a row that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) version: Version,
    pub(super) till: u64,
    absolute: u64,
    owner: Option<Owned>,
    /// Whether the key's end may be later than `till`, and is meant.
    pub(super) late: bool,
    len: usize,
}

impl Head {
    /// The most bytes that it has.
    pub(super) const MOST: usize = HEAD + Owned::LEN;

    pub(super) fn of(row: &[u8]) -> Option<Head> {
        let version = row.get(1..9)?.try_into().map(u64::from_be_bytes).ok()?;
        let (till, absolute) = (time(row.get(9..22)?)?, time(row.get(22..HEAD)?)?);
        let state = *row.first()?;
        let (owner, len) = match state & !LATE {
            LIVE => (None, HEAD),
            OWNED => {
                let end = HEAD + Owned::LEN;
                (Owned::parse(row.get(HEAD..end)?).ok()?, end)
            }
            _ => return None,
        };
        Some(Head {
            version: Version(version),
            till,
            absolute,
            owner,
            late: state & LATE != 0,
            len,
        })
    }

    /// As rows begin.
    pub(super) fn write(&self, row: &mut Vec<u8>) {
        let state = if self.owner.is_some() { OWNED } else { LIVE };
        row.push(state + if self.late { LATE } else { 0 });
        row.extend_from_slice(&self.version.0.to_be_bytes());
        row.extend_from_slice(&digits(self.till));
        row.extend_from_slice(&digits(self.absolute));
        if let Some(owned) = self.owner {
            row.extend_from_slice(&owned.bytes());
        }
    }

    /// After a commit that asks for this idle deadline: never earlier than the one that was there, and never past the
    /// absolute one.
    pub(super) fn committed(self, till: u64) -> Head {
        Head {
            version: self.version.next(),
            till: till.max(self.till).min(self.absolute),
            ..self
        }
    }

    /// The session of the row that this is the head of, with this idle deadline.
    fn entry(&self, row: Vec<u8>, till: u64, now: Now) -> Entry {
        let left = |deadline: u64| match deadline {
            NEVER.. => Duration::MAX,
            _ => Duration::from_millis(deadline.saturating_sub(now.at_most)),
        };
        let remaining = Lifetime::new(left(till), left(self.absolute));
        let mut payload = Bytes::from(row);
        payload.advance(self.len);
        let user = self.owner.map(|owned| owned.user);
        Entry::new(self.version, payload, remaining).with_owner(user)
    }
}

/// A time as rows have it. What is later than never is never.
pub(super) fn digits(time: u64) -> [u8; 13] {
    let mut digits = [b'0'; 13];
    let mut rest = time.min(NEVER);
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

/// The time of these digits.
fn time(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |time: u64, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        Some(time * 10 + u64::from(digit))
    })
}

/// The states of rows that live: nobody's, and somebody's.
const LIVE: u8 = 1;
const OWNED: u8 = 17;
/// The states are greater by this where the key's end may be later than the row's.
const LATE: u8 = 32;
/// The bytes before the owner or the payload.
const HEAD: usize = 35;

#[cfg(test)]
mod tests {
    use purlin_core::ManualClock;
    use purlin_session_store::UserKey;

    use super::*;

    const MINUTE: u64 = 60_000;

    fn at(now: u64) -> Now {
        Now {
            at_least: now,
            at_most: now,
        }
    }

    fn row(state: u8, till: u64, absolute: u64, rest: &[u8]) -> Vec<u8> {
        let mut row = vec![state];
        row.extend_from_slice(&7_u64.to_be_bytes());
        row.extend_from_slice(&digits(till));
        row.extend_from_slice(&digits(absolute));
        row.extend_from_slice(rest);
        row
    }

    fn read(row: Vec<u8>, now: Now, slide: Slide) -> Option<Entry> {
        super::read(Head::of(&row)?, row, now, slide)
    }

    #[test]
    fn a_time_is_thirteen_digits_whatever_it_is() {
        for (number, text) in [
            (0, b"0000000000000"),
            (1_234_567_890_123, b"1234567890123"),
            (NEVER, b"9999999999999"),
            (NEVER + 1, b"9999999999999"),
            (u64::MAX, b"9999999999999"),
        ] {
            assert_eq!(&digits(number), text);
            assert_eq!(time(&digits(number)), Some(number.min(NEVER)));
        }
    }

    #[test]
    fn a_row_that_lives_is_read_as_the_script_would() {
        let now = 1_000_000;
        let entry = read(row(LIVE, now + 5, NEVER, b"cart"), at(now), Slide::No).unwrap();
        assert_eq!(
            (entry.version, &entry.payload[..]),
            (Version(7), &b"cart"[..])
        );
        assert_eq!(
            entry.remaining,
            Lifetime::new(Duration::from_millis(5), Duration::MAX)
        );
        assert_eq!(entry.owner, None);
        let user = UserKey::of("alice");
        let rest = [user.as_bytes(), &[0; 8][..], b"cart"].concat();
        let row = row(OWNED, now + 5, now + 9, &rest);
        let owned = Head::of(&row).unwrap().owner;
        let entry = read(row, at(now), Slide::No).unwrap();
        assert_eq!(
            owned.map(|owned| (owned.user, owned.since)),
            Some((user, [0; 8]))
        );
        assert_eq!(
            (entry.owner, &entry.payload[..]),
            (Some(user), &b"cart"[..])
        );
        assert_eq!(entry.remaining.absolute, Duration::from_millis(9));
    }

    /// What is left is not overstated, and a deadline not either.
    #[test]
    fn time_that_may_have_passed_is_not_promised() {
        let now = Now {
            at_least: 1_000,
            at_most: 1_020,
        };
        let entry = read(row(LIVE, 1_500, 1_600, b""), now, Slide::No).unwrap();
        let ms = Duration::from_millis;
        assert_eq!(entry.remaining, Lifetime::new(ms(480), ms(580)));
        assert_eq!(now.deadline(ms(100)), 1_100);
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_script() {
        let now = 1_000_000;
        for state in [0, 2, 3, 4, 5, 16, 18, 19, 20, 33, 49, 255] {
            assert_eq!(
                read(row(state, now + 5, NEVER, &[0; 99]), at(now), Slide::No),
                None,
                "{state}"
            );
        }
        assert_eq!(
            read(row(LIVE, now, NEVER, b"cart"), at(now), Slide::No),
            None,
            "ended"
        );
        let whole = row(OWNED, now + 5, NEVER, &[0; 40]);
        for len in 0..whole.len() {
            assert_eq!(
                read(whole[..len].to_vec(), at(now), Slide::No),
                None,
                "{len}"
            );
        }
    }

    #[test]
    fn a_key_whose_end_was_moved_counts_only_where_the_row_says_so() {
        let now = 1_000_000;
        let moved = |state: u8, absolute| {
            let row = row(state, now - 5, absolute, &[0; 41]);
            read_moved(row, at(now), now + 30 * MINUTE)
        };
        for state in [0, LIVE, OWNED, 2, 34, 35, 36, 65] {
            assert_eq!(moved(state, NEVER), None, "{state}");
        }
        let (entry, owned) = moved(LIVE + LATE, now + MINUTE).unwrap();
        let minute = Duration::from_secs(60);
        assert_eq!(entry.remaining, Lifetime::new(minute, minute));
        assert_eq!((entry.payload.len(), owned), (41, None));
        assert_eq!(moved(LIVE + LATE, now), None, "ended");
        let (entry, owned) = moved(OWNED + LATE, NEVER).unwrap();
        assert_eq!((entry.payload.len(), owned.is_some()), (1, true));
    }

    #[test]
    fn a_head_is_written_as_it_was_read_and_a_commit_moves_it_on() {
        let now = 1_000_000;
        for (state, rest) in [(LIVE, 0), (OWNED, 40), (LIVE + LATE, 0), (OWNED + LATE, 40)] {
            let row = row(state, now, now + 9, &vec![0; rest]);
            let head = Head::of(&row).unwrap();
            let mut written = Vec::new();
            head.write(&mut written);
            assert_eq!(written, row, "{state}");
            for (asked, till) in [(now - 1, now), (now + 5, now + 5), (now + 10, now + 9)] {
                let after = head.committed(asked);
                assert_eq!((after.version, after.till), (Version(8), till));
                assert_eq!((after.absolute, after.owner), (head.absolute, head.owner));
            }
        }
    }

    #[test]
    fn a_move_that_may_gain_enough_is_left_to_the_script() {
        let now = 1_000_000;
        let slide = Slide::To {
            idle: Duration::from_secs(30 * 60),
            min_gain: Duration::from_secs(90),
        };
        let with = |gain: u64, absolute| {
            read(
                row(LIVE, now + 30 * MINUTE - gain, absolute, b""),
                at(now),
                slide,
            )
        };
        assert!(with(0, NEVER).is_some());
        assert!(with(88_999, NEVER).is_some());
        assert!(
            with(89_000, NEVER).is_none(),
            "within the reckoning's error"
        );
        assert!(with(25 * MINUTE, NEVER).is_none());
        // The absolute deadline leaves nothing to gain.
        assert!(with(25 * MINUTE, now + 5 * MINUTE).is_some());
    }

    #[test]
    fn a_time_that_was_never_told_is_not_reckoned_with() {
        let time = ServerTime::new();
        assert!(time.now().is_none());
        let asked = time.asked();
        time.learn(asked, 5_000);
        assert!(
            time.now()
                .is_some_and(|now| (5_000..6_000).contains(&now.at_least))
        );
    }

    #[test]
    fn a_time_that_was_long_on_its_way_is_not_reckoned_with() {
        let clock = ManualClock::new();
        let time = ServerTime::on(clock.clone());
        let asked = time.asked();
        clock.advance(Duration::from_millis(26));
        time.learn(asked, 5_000);
        assert!(time.now().is_none());
        let asked = time.asked();
        clock.advance(Duration::from_millis(25));
        time.learn(asked, 6_000);
        let now = time.now().unwrap();
        assert_eq!((now.at_least, now.at_most), (6_000, 6_027));
        clock.advance(Duration::from_millis(999));
        assert_eq!(time.now().unwrap().at_least, 6_999);
        clock.advance(Duration::from_millis(1));
        assert!(time.now().is_none(), "too long ago");
    }
}
