//! The bytes of a [`JobRecord`].

use core::time::Duration;

use purlin_core::WallTime;

use super::{JobRecord, Phase, Until};
use crate::{DeadReason, JobId};

/// The format that `encode` writes. A reader knows this and every lower one.
const FORMAT: u8 = 1;

const READY: u8 = 0;
const DELAYED: u8 = 1;
const LEASED: u8 = 2;
const DEAD: u8 = 3;

const FAILED: u8 = 0;
const LOST: u8 = 1;
const REJECTED: u8 = 2;

/// Why bytes are no job record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A later version of this crate wrote it.
    #[error("the record has format {found}, and this version reads formats up to {FORMAT}")]
    Newer {
        /// The format found.
        found: u8,
    },
    /// It ends too early, goes on too long, or says what no version says.
    #[error("the record is damaged")]
    Damaged,
}

impl<'a> JobRecord<'a> {
    /// Appends the record to `out`, without its id, which is the key that a medium files it under.
    ///
    /// Format 1, integers little-endian: the format as u8; attempts and the most of them as u32; bytes of the payload as
    /// u64; key and error, each a u16 that is 0 for none and otherwise the length and one, then the bytes; the phase as
    /// u8: 0 ready, 1 delayed, then a time, 2 leased, then the fencing number as u64, the worker like a key, and a time,
    /// 3 dead, then the reason as u8: 0 failed, 1 lost, 2 rejected. A time is milliseconds since the Unix epoch as u64,
    /// then nanoseconds as u64 that are left at most, all ones for no bound.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        out.extend_from_slice(&self.attempts.to_le_bytes());
        out.extend_from_slice(&self.max_attempts.to_le_bytes());
        out.extend_from_slice(&(self.payload_bytes as u64).to_le_bytes());
        put_text(out, self.key);
        put_text(out, self.error.map(str::as_bytes));
        match self.phase {
            Phase::Ready => out.push(READY),
            Phase::Delayed(until) => {
                out.push(DELAYED);
                put_until(out, until);
            }
            Phase::Leased {
                fence,
                worker,
                until,
            } => {
                out.push(LEASED);
                out.extend_from_slice(&fence.to_le_bytes());
                put_text(out, Some(worker.as_bytes()));
                put_until(out, until);
            }
            Phase::Dead(reason) => {
                out.push(DEAD);
                out.push(match reason {
                    DeadReason::Failed => FAILED,
                    DeadReason::Lost => LOST,
                    DeadReason::Rejected => REJECTED,
                });
            }
        }
    }

    /// Reads what [`encode`](JobRecord::encode) wrote, for the job whose id it was filed under.
    ///
    /// # Errors
    ///
    /// [`RecordError`]. No bytes make it panic.
    pub fn decode(id: JobId, bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut reader = Reader(bytes);
        let format = reader.u8()?;
        if format > FORMAT {
            return Err(RecordError::Newer { found: format });
        }
        if format == 0 {
            return Err(RecordError::Damaged);
        }
        let record = JobRecord {
            id,
            attempts: reader.u32()?,
            max_attempts: reader.u32()?,
            payload_bytes: usize::try_from(reader.u64()?).map_err(|_| RecordError::Damaged)?,
            key: reader.text()?,
            error: reader.utf8()?,
            phase: reader.phase()?,
        };
        if reader.0.is_empty() {
            Ok(record)
        } else {
            Err(RecordError::Damaged)
        }
    }
}

/// # Panics
///
/// If the bytes are longer than `u16::MAX - 1`, which no key, name or error text is: each has its limit.
fn put_text(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let length = bytes.map_or(0, |bytes| bytes.len() + 1);
    let length = u16::try_from(length).expect("keys, names and error texts are cut far below this");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

impl Until {
    /// What is left at most, in nanoseconds; all ones for no bound.
    pub fn at_most_nanos(&self) -> u64 {
        u64::try_from(self.at_most.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The opposite of [`at_most_nanos`](Until::at_most_nanos).
    pub fn from_parts(date: WallTime, at_most_nanos: u64) -> Self {
        Until {
            date,
            at_most: match at_most_nanos {
                u64::MAX => Duration::MAX,
                nanos => Duration::from_nanos(nanos),
            },
        }
    }
}

fn put_until(out: &mut Vec<u8>, until: Until) {
    out.extend_from_slice(&until.date.as_unix_millis().to_le_bytes());
    out.extend_from_slice(&until.at_most_nanos().to_le_bytes());
}

/// The bytes still to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], RecordError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(RecordError::Damaged)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, RecordError> {
        self.array().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, RecordError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, RecordError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, RecordError> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match self.u16()? {
            0 => Ok(None),
            length => self.take(usize::from(length) - 1).map(Some),
        }
    }

    fn utf8(&mut self) -> Result<Option<&'a str>, RecordError> {
        self.text()?
            .map(core::str::from_utf8)
            .transpose()
            .map_err(|_| RecordError::Damaged)
    }

    fn until(&mut self) -> Result<Until, RecordError> {
        let date = WallTime::from_unix_millis(self.u64()?);
        Ok(Until::from_parts(date, self.u64()?))
    }

    fn phase(&mut self) -> Result<Phase<'a>, RecordError> {
        match self.u8()? {
            READY => Ok(Phase::Ready),
            DELAYED => self.until().map(Phase::Delayed),
            LEASED => Ok(Phase::Leased {
                fence: self.u64()?,
                worker: self.utf8()?.ok_or(RecordError::Damaged)?,
                until: self.until()?,
            }),
            DEAD => match self.u8()? {
                FAILED => Ok(Phase::Dead(DeadReason::Failed)),
                LOST => Ok(Phase::Dead(DeadReason::Lost)),
                REJECTED => Ok(Phase::Dead(DeadReason::Rejected)),
                _ => Err(RecordError::Damaged),
            },
            _ => Err(RecordError::Damaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: JobId = JobId::from_u64(5);

    fn encoded(record: &JobRecord<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        bytes
    }

    fn leased() -> JobRecord<'static> {
        JobRecord {
            id: ID,
            payload_bytes: 0x0102,
            key: Some(b"k"),
            attempts: 3,
            max_attempts: 20,
            error: Some(""),
            phase: Phase::Leased {
                fence: 7,
                worker: "w",
                until: Until {
                    date: WallTime::from_unix_millis(0x0a0b),
                    at_most: Duration::from_nanos(9),
                },
            },
        }
    }

    /// Files that exist must stay readable: these bytes never change.
    #[test]
    fn format_1_is_written_as_it_was() {
        #[rustfmt::skip]
        let golden = [
            1,
            3, 0, 0, 0,
            20, 0, 0, 0,
            2, 1, 0, 0, 0, 0, 0, 0,
            2, 0, b'k',
            1, 0,
            2,
            7, 0, 0, 0, 0, 0, 0, 0,
            2, 0, b'w',
            0x0b, 0x0a, 0, 0, 0, 0, 0, 0,
            9, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(encoded(&leased()), golden);
    }

    #[test]
    fn every_cut_and_every_addition_is_found() {
        let bytes = encoded(&leased());
        assert_eq!(JobRecord::decode(ID, &bytes), Ok(leased()));
        for end in 0..bytes.len() {
            let decoded = JobRecord::decode(ID, &bytes[..end]);
            assert_eq!(decoded, Err(RecordError::Damaged), "cut at {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(JobRecord::decode(ID, &longer), Err(RecordError::Damaged));
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let newer = JobRecord::decode(ID, &[2, 0, 0]);
        assert_eq!(newer, Err(RecordError::Newer { found: 2 }));
        assert_eq!(JobRecord::decode(ID, &[0]), Err(RecordError::Damaged));
    }

    fn until() -> impl Strategy<Value = Until> {
        (any::<u64>(), any::<u64>())
            .prop_map(|(date, left)| Until::from_parts(WallTime::from_unix_millis(date), left))
    }

    fn reason() -> impl Strategy<Value = DeadReason> {
        prop_oneof![
            Just(DeadReason::Failed),
            Just(DeadReason::Lost),
            Just(DeadReason::Rejected)
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in any::<(u32, u32, u32)>(),
            key in prop::option::of(prop::collection::vec(any::<u8>(), 0..=255)),
            error in prop::option::of("\\PC{0,60}"),
            worker in "\\PC{0,40}",
            (kind, fence, until, reason) in (0..4_u8, any::<u64>(), until(), reason()),
        ) {
            let record = JobRecord {
                id: ID,
                payload_bytes: numbers.0 as usize,
                key: key.as_deref(),
                attempts: numbers.1,
                max_attempts: numbers.2,
                error: error.as_deref(),
                phase: match kind {
                    0 => Phase::Ready,
                    1 => Phase::Delayed(until),
                    2 => Phase::Leased { fence, worker: &worker, until },
                    _ => Phase::Dead(reason),
                },
            };
            let bytes = encoded(&record);
            prop_assert_eq!(JobRecord::decode(ID, &bytes), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _: Result<_, _> = JobRecord::decode(ID, &bytes);
            // The same behind a valid first byte, which gets further.
            let _: Result<_, _> = JobRecord::decode(ID, &[&[1][..], &bytes].concat());
        }
    }
}
