//! The compact form of a map.
//!
//! Numbers are little-endian; a *varint* is LEB128, seven bits a byte, in its shortest form.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `PLSM` |
//! | 1 | format number, 1 |
//! | 1 | key rule |
//! | 1 | number of slots, as a power of two |
//! | 18 | hash: algorithm, its version, seed |
//! | 8 | map version |
//! | varint | number of shards; then for each, by rising number: |
//! | 4, 1, n | its number, the length of its name, its name in UTF-8 |
//! | | then runs of slots until all have an owner, each: |
//! | varint | how many slots |
//! | varint | the owner, as an index into the shards |
//! | varint | 0, or one more than the index of the shard the slots are moving to |
//! | varint | map version less epoch |
//! | 8 | XXH3-64 with seed 0 of all the bytes before |
//!
//! Runs are as long as they can be and nothing follows the checksum, so that equal maps have equal bytes and
//! the other way round.

use purlin_core::{ParseHashError, PlacementHash, Retry};

use super::runs::Run;
use super::{Assignment, Keying, checked_shards};
use crate::{KeyRule, MapError, MapVersion, Shard, ShardId, ShardMap};

/// Why bytes are not a map.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They do not begin as a map does.
    #[error("not a shard map")]
    NotAMap,
    /// They are in a format of a later release.
    #[error("shard map of format {found}, which this release cannot read")]
    Format {
        /// The format's number.
        found: u8,
    },
    /// The bytes end too early.
    #[error("the shard map ends too early")]
    Truncated,
    /// The bytes were changed after they were written.
    #[error("the checksum of the shard map does not match")]
    Checksum,
    /// The map was made with a hash this release does not know.
    #[error("the shard map was made with an unknown hash")]
    Hash(#[source] ParseHashError),
    /// The map was made with a key rule this release does not know.
    #[error("the shard map was made with unknown key rule {found}")]
    KeyRule {
        /// The rule's number.
        found: u8,
    },
    /// The same map would be written differently: whoever wrote this does not follow the format.
    #[error("the shard map is not in the form it would be written in")]
    NotCanonical,
    /// The bytes are in order, but there is no such map.
    #[error("the shard map contradicts itself")]
    Invalid(#[from] MapError),
}

impl DecodeError {
    /// Never: the same bytes fail the same way.
    pub fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl ShardMap {
    /// The compact form: format number, hash, table, checksum. It is read by every later release of this crate.
    /// A few bytes a run of slots: about 100 bytes for 4 shards split evenly, up to 64 KiB where a placement has
    /// scattered 16,384 slots. It contains the hash's seed, which for SipHash is a secret.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[FORMAT, self.keying.rule.code(), self.keying.bits as u8]);
        out.extend_from_slice(&self.keying.hash.to_bytes());
        out.extend_from_slice(&self.version.0.to_le_bytes());
        put_varint(&mut out, self.shards.len() as u64);
        for shard in &self.shards {
            out.extend_from_slice(&shard.id().0.to_le_bytes());
            out.push(shard.name().len() as u8); // At most `MAX_NAME_LEN`, which is 255.
            out.extend_from_slice(shard.name().as_bytes());
        }
        for Run { len, assignment } in self.runs() {
            let to = assignment.moving_to.map_or(0, |to| 1 + self.index_of(to));
            put_varint(&mut out, u64::from(len));
            put_varint(&mut out, self.index_of(assignment.owner));
            put_varint(&mut out, to);
            put_varint(&mut out, self.version.0 - assignment.epoch.0);
        }
        let checksum = CHECKSUM.of_bytes(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads the compact form. Meant for bytes from anywhere: it never panics, and allocates at most 4 MiB
    /// and some ten times the length of the bytes.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for anything but the exact bytes [`encode`](ShardMap::encode) gives for some map.
    pub fn decode(bytes: &[u8]) -> Result<ShardMap, DecodeError> {
        let mut reader = Reader { rest: bytes };
        if reader.array()? != MAGIC {
            return Err(DecodeError::NotAMap);
        }
        let found = reader.byte()?;
        if found != FORMAT {
            return Err(DecodeError::Format { found });
        }
        let (body, checksum) = bytes
            .split_last_chunk::<CHECKSUM_LEN>()
            .ok_or(DecodeError::Truncated)?;
        if CHECKSUM.of_bytes(body) != u64::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        // Not to underflow: the checksum may overlap what was read so far in a very short input.
        let rest = body.get(HEADER_LEN..).ok_or(DecodeError::Truncated)?;
        let map = read_body(&mut Reader { rest })?;
        Ok(map)
    }

    /// The place of a shard of this map in `shards`.
    fn index_of(&self, id: ShardId) -> u64 {
        let at = self.shards.binary_search_by_key(&id, Shard::id);
        at.expect("owners and targets are in the map") as u64
    }
}

const MAGIC: [u8; 4] = *b"PLSM";
const FORMAT: u8 = 1;
const HEADER_LEN: usize = MAGIC.len() + 1;
const CHECKSUM: PlacementHash = PlacementHash::xxh3(0);
const CHECKSUM_LEN: usize = 8;

/// What stands between the format number and the checksum.
fn read_body(reader: &mut Reader<'_>) -> Result<ShardMap, DecodeError> {
    let found = reader.byte()?;
    let rule = KeyRule::ALL
        .into_iter()
        .find(|rule| rule.code() == found)
        .ok_or(DecodeError::KeyRule { found })?;
    let bits = u32::from(reader.byte()?);
    let slot_count = 1u32.checked_shl(bits).unwrap_or(0); // No number of slots is 0, so it is refused below.
    let hash = PlacementHash::from_bytes(&reader.array()?).map_err(DecodeError::Hash)?;
    let keying = Keying::new(hash, rule, slot_count)?;
    let version = MapVersion(u64::from_le_bytes(reader.array()?));
    let shards = read_shards(reader)?;
    let runs = read_runs(reader, version, slot_count, &shards)?;
    if !reader.rest.is_empty() {
        return Err(DecodeError::NotCanonical);
    }
    Ok(ShardMap::from_runs(version, keying, shards, runs)?)
}

fn read_shards(reader: &mut Reader<'_>) -> Result<Box<[Shard]>, DecodeError> {
    let count = reader.varint()?;
    // Grows as shards are found, whatever the count says.
    let mut shards: Vec<Shard> = Vec::new();
    for _ in 0..count {
        let id = ShardId(u32::from_le_bytes(reader.array()?));
        let len = usize::from(reader.byte()?);
        let name = std::str::from_utf8(reader.take(len)?).map_err(|_| DecodeError::NotCanonical)?;
        if shards.last().is_some_and(|last| last.id() >= id) {
            return Err(DecodeError::NotCanonical);
        }
        shards.push(Shard::new(id, name));
    }
    Ok(checked_shards(shards)?)
}

fn read_runs(
    reader: &mut Reader<'_>,
    version: MapVersion,
    slot_count: u32,
    shards: &[Shard],
) -> Result<Vec<Run>, DecodeError> {
    let shard_at = |index: u64| {
        let shard = usize::try_from(index).ok().and_then(|at| shards.get(at));
        shard.map(Shard::id).ok_or(DecodeError::NotCanonical)
    };
    let mut runs: Vec<Run> = Vec::new();
    let mut left = slot_count;
    while left > 0 {
        let len = u32::try_from(reader.varint()?).unwrap_or(u32::MAX);
        let owner = shard_at(reader.varint()?)?;
        let moving_to = match reader.varint()? {
            0 => None,
            behind => Some(shard_at(behind - 1)?),
        };
        let age = reader.varint()?;
        let epoch = version.0.checked_sub(age).map(MapVersion);
        let assignment = Assignment {
            owner,
            epoch: epoch.ok_or(DecodeError::NotCanonical)?,
            moving_to,
        };
        let repeats = |last: &Run| last.assignment == assignment;
        if !(1..=left).contains(&len) || runs.last().is_some_and(repeats) {
            return Err(DecodeError::NotCanonical);
        }
        left -= len;
        runs.push(Run { len, assignment });
    }
    Ok(runs)
}

/// What is still to be read.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            // Bits pushed out at the top, or a last byte that adds nothing.
            if placed >> shift != bits || (byte == 0 && shift > 0) {
                return Err(DecodeError::NotCanonical);
            }
            value |= placed;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::NotCanonical)
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back_and_have_one_form_only() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader { rest: &bytes };
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.rest.is_empty());
            for end in 0..bytes.len() {
                let mut cut = Reader {
                    rest: &bytes[..end],
                };
                assert_eq!(cut.varint(), Err(DecodeError::Truncated), "{value} cut");
            }
        }
        let too_wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &too_wide,
            &[0xff; 11],
        ] {
            let mut reader = Reader { rest: bytes };
            assert_eq!(
                reader.varint(),
                Err(DecodeError::NotCanonical),
                "{bytes:x?}"
            );
        }
    }
}
