//! R8: what fuzzing started from and what it found, replayed: every file in `regressions/inputs` is an input of
//! the fuzz target `placement_decode`. A new find goes there, under a name that tells its story.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "regressions/check.rs"]
mod check;

use std::fs;
use std::path::{Path, PathBuf};

use purlin_core::{Node, NodeId, Rack, Weight, Zone};
use purlin_hash_ring::interop::{ForeignHash, ForeignRing, Libmemcached, Twemproxy};
use purlin_hash_ring::{Algorithm, AnyPlacement, SlotTable, Spread};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/regressions/inputs")
}

#[test]
fn ring_r8_every_kept_input_has_an_answer() {
    let (mut placements, mut foreign, mut neither) = (0, 0, 0);
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let taken = check::check(&fs::read(&path).unwrap());
        // The names say what each is, so that a file that has lost its point shows.
        match name.split('-').next() {
            Some("placement") => {
                assert!(taken.placement, "{name}");
                placements += 1;
            }
            Some("foreign") => {
                assert!(taken.foreign, "{name}");
                foreign += 1;
            }
            _ => {
                assert!(!taken.placement && !taken.foreign, "{name}: {taken:?}");
                neither += 1;
            }
        }
    }
    assert!(placements >= Algorithm::ALL.len() && foreign > 0 && neither > 0);
}

/// The inputs that are snapshots are what today's writers write; `PURLIN_WRITE_INPUTS=1` writes them.
#[test]
fn ring_r8_kept_snapshots_are_what_is_written_today() {
    let nodes = || {
        (1..=4u64).map(|id| {
            Node::new(NodeId(id), format!("h{id}:11211"))
                .with_weight(Weight(1))
                .with_zone(Zone::new(if id < 3 { "a" } else { "b" }))
        })
    };
    let mut inputs: Vec<(String, Vec<u8>)> = Vec::new();
    for algorithm in Algorithm::ALL {
        let placement = match algorithm {
            Algorithm::SlotTable => SlotTable::builder()
                .slot_bits(4)
                .replica_lists(3)
                .spread(Spread::Zones)
                .nodes(nodes())
                .build()
                .unwrap()
                .into(),
            _ => AnyPlacement::from_nodes(algorithm, nodes()).unwrap(),
        };
        let later = placement.without(NodeId(2));
        inputs.push((format!("placement-{algorithm}"), later.to_bytes()));
        // The body alone is what mutations get furthest with: the frame around it is made anew.
        let bytes = later.to_bytes();
        let body = [&bytes[5..6], &bytes[24..bytes.len() - 8]].concat();
        inputs.push((format!("placement-body-{algorithm}"), body));
    }
    let racked = SlotTable::builder()
        .slot_bits(4)
        .spread(Spread::ZonesAndRacks)
        .nodes(nodes().map(|node| node.with_rack(Rack::new("r"))))
        .build()
        .unwrap()
        .to_bytes();
    let body = [&racked[5..6], &racked[24..racked.len() - 8]].concat();
    inputs.push(("placement-racks".to_owned(), racked));
    inputs.push(("placement-body-racks".to_owned(), body));
    let tagged = Twemproxy::ketama(ForeignHash::Murmur).with_hash_tag(*b"{}");
    for (name, ring) in [
        (
            "libmemcached",
            ForeignRing::libmemcached(Libmemcached::KetamaWeighted, nodes()),
        ),
        (
            "modula",
            ForeignRing::libmemcached(Libmemcached::Modula(ForeignHash::Crc16), nodes()),
        ),
        ("nginx", ForeignRing::nginx(nodes())),
        ("twemproxy", ForeignRing::twemproxy(tagged, nodes())),
        (
            "haproxy",
            ForeignRing::haproxy(ForeignHash::Sdbm, true, nodes()),
        ),
        ("npm", ForeignRing::npm_hashring(3, false, nodes())),
        (
            "racks",
            ForeignRing::nginx(nodes().map(|node| node.with_rack(Rack::new("r")))),
        ),
    ] {
        let bytes = ring.unwrap().to_bytes();
        inputs.push((
            format!("foreign-body-{name}"),
            bytes[5..bytes.len() - 8].to_vec(),
        ));
    }
    inputs.push(("none-empty".to_owned(), Vec::new()));
    inputs.push(("none-magic-alone".to_owned(), b"PLpl\x01".to_vec()));
    for (name, bytes) in inputs {
        let path = folder().join(&name);
        if std::env::var_os("PURLIN_WRITE_INPUTS").is_some() {
            fs::write(&path, &bytes).unwrap();
        }
        assert_eq!(fs::read(path).unwrap(), bytes, "{name}");
    }
}
