//! Placements through serde: feature `serde`.
//!
//! The form has names where the compact one has places, and the same content: what the algorithm adds is in
//! `state` as hexadecimal digits, and `checksum` is that of the compact form. It is read by making the
//! compact form of it, so there is one decoder and one set of checks.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use purlin_core::{Node, PlacementHash};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fleet::Fleet;
use crate::nodes::Nodes;
use crate::points::MAX_OWNERS;
use crate::snapshot::{CHECKSUM_LEN, Encoder, FORMATS, format_of};
use crate::{
    Algorithm, Anchor, AnyPlacement, Jump, Maglev, Memento, MultiProbe, Rendezvous, Ring,
    SlotTable, Spread,
};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    format: u8,
    algorithm: Cow<'a, str>,
    hash: PlacementHash,
    version: u64,
    #[serde(default)]
    spread: Spread,
    nodes: Cow<'a, [Node]>,
    #[serde(default)]
    state: String,
    checksum: String,
}

impl Serialize for Spread {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Spread::Anywhere => "anywhere",
            Spread::Zones => "zones",
            Spread::ZonesAndRacks => "zones-and-racks",
        })
    }
}

impl<'de> Deserialize<'de> for Spread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match &*Cow::<'de, str>::deserialize(deserializer)? {
            "anywhere" => Ok(Spread::Anywhere),
            "zones" => Ok(Spread::Zones),
            "zones-and-racks" => Ok(Spread::ZonesAndRacks),
            _ => Err(D::Error::custom(
                "a spread is \"anywhere\", \"zones\" or \"zones-and-racks\"",
            )),
        }
    }
}

impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

/// Writes a placement from its compact form, which begins with what all have in common.
fn write<S: Serializer>(
    serializer: S,
    bytes: &[u8],
    algorithm: Algorithm,
    fleet: &Fleet,
) -> Result<S::Ok, S::Error> {
    let common = Encoder::new(algorithm, fleet).len();
    let (content, checksum) = bytes.split_at(bytes.len() - CHECKSUM_LEN);
    let form = Form {
        format: format_of(fleet.nodes.as_slice(), fleet.spread),
        algorithm: algorithm.name().into(),
        hash: fleet.hash,
        version: fleet.version,
        spread: fleet.spread,
        nodes: fleet.nodes.as_slice().into(),
        state: hexadecimal(&content[common..]),
        checksum: hexadecimal(checksum),
    };
    form.serialize(serializer)
}

/// Makes the compact form of what was read, and reads that.
fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AnyPlacement, D::Error> {
    let form = Form::deserialize(deserializer)?;
    if !FORMATS.contains(&form.format) {
        return Err(D::Error::custom(format!(
            "snapshot format {} is not known here",
            form.format
        )));
    }
    if form.format != format_of(&form.nodes, form.spread) {
        return Err(D::Error::custom(format!(
            "such content is not written in snapshot format {}",
            form.format
        )));
    }
    let algorithm: Algorithm = form.algorithm.parse().map_err(D::Error::custom)?;
    let nodes = Nodes::new(form.nodes.into_owned(), MAX_OWNERS).map_err(D::Error::custom)?;
    let fleet = Fleet {
        hash: form.hash,
        version: form.version,
        spread: form.spread,
        nodes,
    };
    let (state, checksum) = (bytes_of(&form.state), bytes_of(&form.checksum));
    let (Some(state), Some(checksum)) = (state, checksum) else {
        return Err(D::Error::custom(
            "state and checksum are hexadecimal digits, two a byte",
        ));
    };
    let bytes = Encoder::new(algorithm, &fleet).joined(&state, &checksum);
    AnyPlacement::from_bytes(&bytes, &form.hash).map_err(D::Error::custom)
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(digits, "{byte:02x}").expect("writing to a string does not fail");
    }
    digits
}

fn bytes_of(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs
        .map(|pair| Some((value(pair[0])? << 4 | value(pair[1])?) as u8))
        .collect()
}

macro_rules! through_forms {
    ($($name:ident)*) => {
        $(
            /// Written with names, for files that people read; see `to_bytes` for the compact form.
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    write(serializer, &self.to_bytes(), Algorithm::$name, &self.fleet)
                }
            }

            /// Fails for damaged or senseless content, and for another algorithm. The hash is whichever the
            /// content names: compare it with the one in use.
            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    match read(deserializer)? {
                        AnyPlacement::$name(placement) => Ok(placement),
                        other => Err(D::Error::custom(format!("a snapshot of a {}", other.algorithm()))),
                    }
                }
            }
        )*

        impl Serialize for AnyPlacement {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    $(AnyPlacement::$name(inner) => inner.serialize(serializer),)*
                }
            }
        }
    };
}
through_forms!(Ring Rendezvous SlotTable Jump Maglev Anchor Memento MultiProbe);

/// Reads any algorithm. The hash is whichever the content names: compare it with the one in use.
impl<'de> Deserialize<'de> for AnyPlacement {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer)
    }
}
