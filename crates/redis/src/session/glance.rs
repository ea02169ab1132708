//! A load that writes nothing, as a plain `GET`.
//!
//! A script costs the server several times what a `GET` does, and nearly all loads write nothing: a deadline is moved
//! at most twenty times an idle window. So the row is fetched as it lies, and the script is asked only if the row may
//! be due for something. That needs no script to be right: the row's key expires at its end by the server's own clock,
//! so a row that is there lives.
//!
//! What is left of a session's time, and whether a move would gain enough, needs the server's time. It is reckoned
//! from what the last script told, for a second at most; then one load goes by the script again. A server whose clock
//! is set anew can therefore have a deadline moved a second late; and the clocks of a cluster's servers should agree to
//! within a small part of the idle time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use purlin_core::{Clock, SystemClock, Tick};
use purlin_session_store::{Entry, Lifetime, Slide, UserKey, Version};

use super::scripts::{NEVER, millis};

/// The server's time, as reckoned here.
#[derive(Debug)]
pub(super) struct ServerTime {
    clock: SystemClock,
    began: Tick,
    /// By how many milliseconds the server's Unix time is ahead of the time since `began`; zero if it was never told.
    ahead: AtomicU64,
    /// When it was told, in milliseconds since `began`.
    told_at: AtomicU64,
}

/// How long the reckoning is good for.
const FRESH_MS: u64 = 1000;

impl ServerTime {
    pub(super) fn new() -> Self {
        let clock = SystemClock::new();
        ServerTime {
            began: clock.now(),
            clock,
            ahead: AtomicU64::new(0),
            told_at: AtomicU64::new(0),
        }
    }

    /// The server has just said that this is its time.
    pub(super) fn learn(&self, server_ms: u64) {
        let here = self.here();
        // Not one step, and need not be: the difference that was told before is as good but for the clocks' drift.
        self.told_at.store(here, Ordering::Relaxed);
        self.ahead
            .store(server_ms.saturating_sub(here), Ordering::Relaxed);
    }

    /// The server's time now, if it was told lately. Not later than it is, and earlier by a round trip at most.
    pub(super) fn now(&self) -> Option<u64> {
        let (ahead, here) = (self.ahead.load(Ordering::Relaxed), self.here());
        let age = here.saturating_sub(self.told_at.load(Ordering::Relaxed));
        (ahead > 0 && age < FRESH_MS).then(|| ahead.saturating_add(here))
    }

    fn here(&self) -> u64 {
        let elapsed = self.clock.now().since(self.began);
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether a `GET` is likely to do for this load, at the server's time of now.
pub(super) fn may_do(slide: Slide) -> bool {
    match slide {
        Slide::No => true,
        // A smaller gain than the reckoning's error is the script's to judge.
        Slide::To { min_gain, .. } => min_gain >= Duration::from_millis(2 * FRESH_MS),
    }
}

/// The session of a row, if it lives and nothing is to be written. None is for the script to say.
pub(super) fn read(row: Vec<u8>, now: u64, slide: Slide) -> Option<Entry> {
    let number = |from: usize| {
        let bytes = row.get(from..from + 8)?.try_into().ok()?;
        Some(u64::from_be_bytes(bytes))
    };
    let state = *row.first()?;
    let (version, till, absolute) = (number(1)?, number(9)?, number(17)?);
    let owner = match state {
        LIVE => None,
        OWNED => Some(UserKey::from_bytes(row.get(HEAD..HEAD + UserKey::LEN)?)?),
        _ => return None,
    };
    let payload_from = match owner {
        None => HEAD,
        Some(_) => HEAD + UserKey::LEN + 8,
    };
    if till <= now || payload_from > row.len() {
        return None;
    }
    if let Slide::To { idle, min_gain } = slide {
        let target = now.saturating_add(millis(idle)).min(NEVER).min(absolute);
        let gain = target.saturating_sub(till).saturating_add(FRESH_MS);
        if gain >= millis(min_gain) {
            return None;
        }
    }
    let left = |deadline: u64| match deadline {
        NEVER.. => Duration::MAX,
        _ => Duration::from_millis(deadline.saturating_sub(now)),
    };
    let remaining = Lifetime::new(left(till), left(absolute));
    let payload = Bytes::from(row).slice(payload_from..);
    Some(Entry::new(Version(version), payload, remaining).with_owner(owner))
}

/// The states of rows that live: nobody's, and somebody's.
const LIVE: u8 = 1;
const OWNED: u8 = 17;
/// The bytes before the owner or the payload.
const HEAD: usize = 33;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn row(state: u8, till: u64, absolute: u64, rest: &[u8]) -> Vec<u8> {
        let mut row = vec![state];
        for number in [7, till, absolute, 0] {
            row.extend_from_slice(&number.to_be_bytes());
        }
        row.extend_from_slice(rest);
        row
    }

    #[test]
    fn a_row_that_lives_is_read_as_the_script_would() {
        let now = 1_000_000;
        let entry = read(row(LIVE, now + 5, NEVER, b"cart"), now, Slide::No).unwrap();
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
        let entry = read(row(OWNED, now + 5, now + 9, &rest), now, Slide::No).unwrap();
        assert_eq!(
            (entry.owner, &entry.payload[..]),
            (Some(user), &b"cart"[..])
        );
        assert_eq!(entry.remaining.absolute, Duration::from_millis(9));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_script() {
        let now = 1_000_000;
        for state in [0, 2, 3, 4, 5, 16, 18, 19, 20, 255] {
            assert_eq!(
                read(row(state, now + 5, NEVER, &[0; 99]), now, Slide::No),
                None,
                "{state}"
            );
        }
        assert_eq!(
            read(row(LIVE, now, NEVER, b"cart"), now, Slide::No),
            None,
            "ended"
        );
        let whole = row(OWNED, now + 5, NEVER, &[0; 40]);
        for len in 0..whole.len() {
            assert_eq!(read(whole[..len].to_vec(), now, Slide::No), None, "{len}");
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
                now,
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
        assert_eq!(time.now(), None);
        time.learn(5_000);
        assert!(time.now().is_some_and(|now| (5_000..6_000).contains(&now)));
    }
}
