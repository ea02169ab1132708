//! The compact form of another program's ring.

use alloc::vec::Vec;

use purlin_core::{Node, PlacementHash};

use super::{ForeignHash, ForeignRing, Libmemcached, Recipe, Twemproxy};
use crate::snapshot::{Decoder, Encoder};
use crate::{DecodeError, Spread};

/// The first bytes of every snapshot of another program's ring.
const MAGIC: [u8; 4] = *b"PLfr";

impl ForeignRing {
    /// The ring as bytes: which program's it is and how that was set, and the nodes. The points are made
    /// anew from them.
    ///
    /// All numbers are little-endian: the four bytes `PLfr`; the format, as in [other snapshots](crate#snapshots); the kind, which is 1 for
    /// libmemcached, 2 nginx, 3 twemproxy, 4 HAProxy, 5 npm's `hashring`; then for libmemcached a byte for
    /// the mode (1 modula, 2 ketama, 3 weighted, 4 spy) and one for its hash or 0, for twemproxy a byte for
    /// the hash, 1 for modula or 0, and 1 and the two characters of the tag or 0, for HAProxy the hash and 1
    /// for avalanche or 0, for npm the vnodes as `u32` and 1 for Python's way or 0; the nodes in the order of
    /// the list, as there; the XXH3-64 of everything before. A hash is its
    /// place in [`ForeignHash`], beginning at 1.
    pub fn to_bytes(&self) -> Vec<u8> {
        let begin = |kind| Encoder::begin(&MAGIC, kind, &self.nodes, Spread::Anywhere);
        let mut encoder;
        match self.recipe {
            Recipe::Libmemcached(mode) => {
                encoder = begin(1);
                let (number, hash) = match mode {
                    Libmemcached::Modula(hash) => (1, hash as u8),
                    Libmemcached::Ketama(hash) => (2, hash as u8),
                    Libmemcached::KetamaWeighted => (3, 0),
                    Libmemcached::Spy => (4, 0),
                };
                encoder.u8(number);
                encoder.u8(hash);
            }
            Recipe::Nginx => encoder = begin(2),
            Recipe::Twemproxy(pool) => {
                encoder = begin(3);
                encoder.u8(pool.hash as u8);
                encoder.u8(u8::from(pool.modula));
                encoder.u8(u8::from(pool.hash_tag.is_some()));
                pool.hash_tag
                    .into_iter()
                    .flatten()
                    .for_each(|byte| encoder.u8(byte));
            }
            Recipe::Haproxy {
                function,
                avalanche_keys,
            } => {
                encoder = begin(4);
                encoder.u8(function as u8);
                encoder.u8(u8::from(avalanche_keys));
            }
            Recipe::NpmHashring {
                vnodes,
                python_compatible,
            } => {
                encoder = begin(5);
                encoder.u32(vnodes);
                encoder.u8(u8::from(python_compatible));
            }
        }
        encoder.nodes(&self.nodes);
        encoder.finish()
    }

    /// Reads what [`to_bytes`](ForeignRing::to_bytes) wrote.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Never panics, whatever the bytes, and allocates no more than the limits on points
    /// allow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        // These rings hash keys in their own ways.
        let unused = PlacementHash::default();
        let mut decoder = Decoder::frame(bytes, &MAGIC, &unused)?;
        let ring = match decoder.algorithm() {
            1 => {
                let (mode, hash) = (decoder.u8()?, decoder.u8()?);
                let mode = match (mode, foreign_hash(hash)) {
                    (1, Some(hash)) => Libmemcached::Modula(hash),
                    (2, Some(hash)) => Libmemcached::Ketama(hash),
                    (3, None) if hash == 0 => Libmemcached::KetamaWeighted,
                    (4, None) if hash == 0 => Libmemcached::Spy,
                    _ => return Err(DecodeError::Malformed),
                };
                ForeignRing::libmemcached(mode, nodes(&mut decoder)?)
            }
            2 => ForeignRing::nginx(nodes(&mut decoder)?),
            3 => {
                let hash = foreign_hash(decoder.u8()?).ok_or(DecodeError::Malformed)?;
                let modula = flag(&mut decoder)?;
                let hash_tag = if flag(&mut decoder)? {
                    Some(*decoder.array()?)
                } else {
                    None
                };
                let pool = Twemproxy {
                    hash,
                    modula,
                    hash_tag,
                };
                ForeignRing::twemproxy(pool, nodes(&mut decoder)?)
            }
            4 => {
                let function = foreign_hash(decoder.u8()?).ok_or(DecodeError::Malformed)?;
                let avalanche_keys = flag(&mut decoder)?;
                ForeignRing::haproxy(function, avalanche_keys, nodes(&mut decoder)?)
            }
            5 => {
                let (vnodes, python_compatible) = (decoder.u32()?, flag(&mut decoder)?);
                ForeignRing::npm_hashring(vnodes, python_compatible, nodes(&mut decoder)?)
            }
            other => return Err(DecodeError::OtherAlgorithm(other)),
        };
        ring.map_err(DecodeError::Invalid)
    }
}

/// The last part of a snapshot. A node of weight 0 was left out of the ring, and so of the snapshot.
fn nodes(decoder: &mut Decoder<'_>) -> Result<Vec<Node>, DecodeError> {
    let nodes = decoder.read_nodes()?;
    if decoder.remaining() > 0 || nodes.iter().any(|node| node.weight.is_zero()) {
        return Err(DecodeError::Malformed);
    }
    Ok(nodes)
}

fn foreign_hash(number: u8) -> Option<ForeignHash> {
    ForeignHash::ALL
        .into_iter()
        .find(|&hash| hash as u8 == number)
}

fn flag(decoder: &mut Decoder<'_>) -> Result<bool, DecodeError> {
    match decoder.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::Malformed),
    }
}
