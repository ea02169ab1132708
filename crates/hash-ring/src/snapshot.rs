//! The compact form of a placement: bytes that another process reads.

use alloc::vec::Vec;
use core::fmt;

use purlin_core::{HashMismatch, Node, NodeId, PlacementHash, Rack, Retry, Weight, Zone};

use crate::fleet::Fleet;
use crate::{Algorithm, BuildError, Builder, Spread};

/// The first bytes of every snapshot.
const MAGIC: [u8; 4] = *b"PLpl";

/// The layouts below. A reader refuses what it does not know.
pub(crate) const FORMATS: core::ops::RangeInclusive<u8> = 1..=2;

/// The first format that knows enough: the second one added racks. Whoever has none is read by everybody.
pub(crate) fn format_of(nodes: &[Node], spread: Spread) -> u8 {
    let racks = spread == Spread::ZonesAndRacks || nodes.iter().any(|node| node.rack.is_some());
    1 + u8::from(racks)
}

/// A snapshot ends with this many bytes of checksum.
#[cfg(feature = "serde")]
pub(crate) const CHECKSUM_LEN: usize = 8;

/// The least a node takes: id, weight, a name's length, no zone or rack.
const MIN_NODE_LEN: usize = 8 + 4 + 4 + 1;

/// Why bytes are not a snapshot that can be used here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes do not begin as a snapshot does.
    NotASnapshot,
    /// A format this version of the crate does not know: the writer is newer.
    UnknownFormat(u8),
    /// The snapshot is of another algorithm than the one asked for, by its number in the format.
    OtherAlgorithm(u8),
    /// The checksum does not fit: bytes were lost or changed on the way.
    Damaged,
    /// The checksum fits, and the content makes no sense: not written by this crate.
    Malformed,
    /// Made with another hash than the caller's: every key would be looked for in the wrong place.
    HashMismatch(HashMismatch),
    /// Made with a hash this version of the crate does not know.
    UnknownHash,
    /// The content describes a placement that cannot be built.
    Invalid(BuildError),
}

impl DecodeError {
    /// [`Retry::NEVER`]: the same bytes fail again. Fetch the snapshot anew.
    pub const fn retry(&self) -> Retry {
        Retry::NEVER
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::NotASnapshot => f.write_str("not a placement snapshot"),
            DecodeError::UnknownFormat(format) => {
                write!(f, "snapshot format {format} is not known here")
            }
            DecodeError::OtherAlgorithm(number) => {
                write!(f, "a snapshot of another algorithm (number {number})")
            }
            DecodeError::Damaged => f.write_str("the snapshot's checksum does not fit"),
            DecodeError::Malformed => f.write_str("the snapshot's content makes no sense"),
            DecodeError::HashMismatch(_) => f.write_str("the snapshot was made with another hash"),
            DecodeError::UnknownHash => {
                f.write_str("the snapshot was made with a hash not known here")
            }
            DecodeError::Invalid(_) => {
                f.write_str("the snapshot describes a placement that cannot be built")
            }
        }
    }
}

impl core::error::Error for DecodeError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            DecodeError::HashMismatch(mismatch) => Some(mismatch),
            DecodeError::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

/// Writes a snapshot.
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    /// Begins with what every algorithm has.
    pub(crate) fn new(algorithm: Algorithm, fleet: &Fleet) -> Self {
        let nodes = fleet.nodes.as_slice();
        let mut encoder = Encoder::begin(&MAGIC, algorithm as u8, nodes, fleet.spread);
        encoder.bytes.extend_from_slice(&fleet.hash.to_bytes());
        encoder.u64(fleet.version);
        encoder.u8(fleet.spread.code());
        encoder.nodes(nodes);
        encoder
    }

    /// Begins with what every frame has.
    pub(crate) fn begin(magic: &[u8; 4], kind: u8, nodes: &[Node], spread: Spread) -> Self {
        let mut encoder = Encoder {
            bytes: Vec::with_capacity(64 + nodes.len() * 48),
        };
        encoder.bytes.extend_from_slice(magic);
        encoder.u8(format_of(nodes, spread));
        encoder.u8(kind);
        encoder
    }

    pub(crate) fn nodes(&mut self, nodes: &[Node]) {
        self.length(nodes.len());
        for node in nodes {
            self.u64(node.id.0);
            self.u32(node.weight.0);
            self.text(&node.name);
            self.u8(u8::from(node.zone.is_some()) | u8::from(node.rack.is_some()) << 1);
            if let Some(zone) = &node.zone {
                self.text(zone.name());
            }
            if let Some(rack) = &node.rack {
                self.text(rack.name());
            }
        }
    }

    pub(crate) fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    pub(crate) fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Numbers, behind how many there are.
    pub(crate) fn list(&mut self, numbers: &[u32]) {
        self.length(numbers.len());
        for &number in numbers {
            self.u32(number);
        }
    }

    fn length(&mut self, len: usize) {
        self.u32(
            u32::try_from(len)
                .expect("placements have fewer than 2^24 nodes, and names are shorter than 4 GiB"),
        );
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// How many bytes have been written.
    #[cfg(feature = "serde")]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Ends with content and a checksum from elsewhere.
    #[cfg(feature = "serde")]
    pub(crate) fn joined(mut self, content: &[u8], checksum: &[u8]) -> Vec<u8> {
        self.bytes.extend_from_slice(content);
        self.bytes.extend_from_slice(checksum);
        self.bytes
    }

    /// Ends with the checksum.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let sum = checksum(&self.bytes);
        self.u64(sum);
        self.bytes
    }
}

/// Reads a snapshot, in the order in which [`Encoder`] wrote it.
pub(crate) struct Decoder<'a> {
    /// What is still to be read, without the checksum.
    rest: &'a [u8],
    format: u8,
    algorithm: u8,
    hash: PlacementHash,
    version: u64,
    spread: Spread,
    nodes: Vec<Node>,
}

impl<'a> Decoder<'a> {
    /// Checks the frame and reads what every algorithm has.
    pub(crate) fn open(bytes: &'a [u8], hash: &PlacementHash) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::frame(bytes, &MAGIC, hash)?;
        let found =
            PlacementHash::from_bytes(decoder.array()?).map_err(|_| DecodeError::UnknownHash)?;
        hash.ensure_same(&found)
            .map_err(DecodeError::HashMismatch)?;
        decoder.version = decoder.u64()?;
        decoder.spread = Spread::from_code(decoder.u8()?).ok_or(DecodeError::Malformed)?;
        decoder.nodes = decoder.read_nodes()?;
        // A value has one form, so that equal snapshots are equal bytes.
        if !decoder.nodes.is_sorted_by_key(|node| node.id) {
            return Err(DecodeError::Malformed);
        }
        Ok(decoder)
    }

    /// Checks the frame and reads the kind of what is in it.
    pub(crate) fn frame(
        bytes: &'a [u8],
        magic: &[u8; 4],
        hash: &PlacementHash,
    ) -> Result<Self, DecodeError> {
        let Some((head, rest)) = bytes.split_first_chunk::<4>() else {
            return Err(DecodeError::NotASnapshot);
        };
        if head != magic {
            return Err(DecodeError::NotASnapshot);
        }
        // The format comes first, as a later one may keep its checksum elsewhere.
        let format = match rest.first() {
            Some(format) if FORMATS.contains(format) => *format,
            Some(&format) => return Err(DecodeError::UnknownFormat(format)),
            None => return Err(DecodeError::Damaged),
        };
        let Some((content, sum)) = rest[1..].split_last_chunk::<8>() else {
            return Err(DecodeError::Damaged);
        };
        if checksum(&bytes[..bytes.len() - sum.len()]) != u64::from_le_bytes(*sum) {
            return Err(DecodeError::Damaged);
        }
        let (spread, nodes) = (Spread::default(), Vec::new());
        let mut decoder = Decoder {
            rest: content,
            format,
            algorithm: 0,
            hash: *hash,
            version: 0,
            spread,
            nodes,
        };
        decoder.algorithm = decoder.u8()?;
        Ok(decoder)
    }

    /// Refuses another algorithm than this one.
    pub(crate) fn expect(self, algorithm: Algorithm) -> Result<Self, DecodeError> {
        if self.algorithm == algorithm as u8 {
            Ok(self)
        } else {
            Err(DecodeError::OtherAlgorithm(self.algorithm))
        }
    }

    pub(crate) fn read_nodes(&mut self) -> Result<Vec<Node>, DecodeError> {
        let n_nodes = self.u32()? as usize;
        // Each takes some bytes, so a false count cannot ask for more memory than the bytes account for.
        if n_nodes > self.rest.len() / MIN_NODE_LEN {
            return Err(DecodeError::Malformed);
        }
        let mut nodes = Vec::with_capacity(n_nodes);
        for _ in 0..n_nodes {
            let id = NodeId(self.u64()?);
            let weight = Weight(self.u32()?);
            let mut node = Node::new(id, self.text()?).with_weight(weight);
            let domains = self.u8()?;
            if domains > 3 {
                return Err(DecodeError::Malformed);
            }
            if domains & 1 != 0 {
                node = node.with_zone(Zone::new(self.text()?));
            }
            if domains & 2 != 0 {
                node = node.with_rack(Rack::new(self.text()?));
            }
            nodes.push(node);
        }
        // A value has one form: the format that it needs and no later one.
        if self.format != format_of(&nodes, self.spread) {
            return Err(DecodeError::Malformed);
        }
        Ok(nodes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], DecodeError> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(|bytes| u16::from_le_bytes(*bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(|bytes| u32::from_le_bytes(*bytes))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(|bytes| u64::from_le_bytes(*bytes))
    }

    pub(crate) fn list(&mut self) -> Result<Vec<u32>, DecodeError> {
        let len = self.u32()? as usize;
        if len > self.rest.len() / 4 {
            return Err(DecodeError::Malformed);
        }
        (0..len).map(|_| self.u32()).collect()
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.u32()? as usize;
        let (text, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Malformed)?;
        self.rest = rest;
        core::str::from_utf8(text).map_err(|_| DecodeError::Malformed)
    }

    /// The number of the algorithm whose snapshot this is.
    pub(crate) fn algorithm(&self) -> u8 {
        self.algorithm
    }

    /// How many bytes are still to be read: a bound on what a count in them may ask for.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// A builder of what was read, once everything has been.
    pub(crate) fn finish<O>(self, options: O) -> Result<Builder<O>, DecodeError> {
        if !self.rest.is_empty() {
            return Err(DecodeError::Malformed);
        }
        let Decoder {
            hash,
            version,
            spread,
            nodes,
            ..
        } = self;
        Ok(Builder {
            hash,
            version,
            spread,
            nodes,
            options,
        })
    }
}

/// Finds damage, not malice: snapshots from strangers need a signature around them.
fn checksum(bytes: &[u8]) -> u64 {
    PlacementHash::xxh3(0).of_bytes(bytes)
}
