//! Placements through serde.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod common;

use common::{hashes, node, nodes};
use purlin_core::{NodeId, Placement, PlacementHash, Rack, Zone};
use purlin_hash_ring::{Algorithm, AnyPlacement, Ring, SlotTable, Spread};
use serde_json::{Value, json};

fn with_history(algorithm: Algorithm) -> AnyPlacement {
    let placement = AnyPlacement::from_nodes(algorithm, nodes(6)).unwrap();
    placement
        .without(NodeId(2))
        .without(NodeId(5))
        .with(node(9, 1))
        .unwrap()
}

#[test]
fn ring_r8_every_algorithm_comes_back_with_its_history() {
    for algorithm in Algorithm::ALL {
        let placement = with_history(algorithm);
        let text = serde_json::to_string(&placement).unwrap();
        let copy: AnyPlacement = serde_json::from_str(&text).unwrap();
        assert_eq!(copy, placement, "{algorithm}");
        assert!(hashes(200).all(|hash| copy.owner_of_hash(hash) == placement.owner_of_hash(hash)));
        assert_eq!(
            serde_json::to_value(algorithm).unwrap(),
            json!(algorithm.name())
        );
        assert_eq!(
            serde_json::from_value::<Algorithm>(json!(algorithm.name())).unwrap(),
            algorithm
        );
    }
}

/// The form is a promise: what was written once must be read for ever.
#[test]
fn ring_r8_the_form_is_frozen() {
    let ring = Ring::builder()
        .hash(PlacementHash::xxh3(255))
        .version(7)
        .spread(Spread::Zones)
        .node(node(1, 2).with_zone(Zone::new("a")))
        .build()
        .unwrap();
    let form = serde_json::to_value(&ring).unwrap();
    assert_eq!(
        form,
        json!({
            "format": 1,
            "algorithm": "ring",
            "hash": "xxh3-64:1:ff",
            "version": 7,
            "spread": "zones",
            "nodes": [{ "id": 1, "name": "node-1", "weight": 2, "zone": "a" }],
            "state": "a0000000",
            "checksum": form["checksum"],
        })
    );
    let bytes = ring.to_bytes();
    let sum: String = bytes[bytes.len() - 8..]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(form["checksum"], json!(sum));
}

#[test]
fn ring_r8_the_form_with_racks_is_frozen() {
    let ring = Ring::builder()
        .spread(Spread::ZonesAndRacks)
        .node(
            node(1, 2)
                .with_zone(Zone::new("a"))
                .with_rack(Rack::new("r")),
        )
        .node(node(2, 1))
        .build()
        .unwrap();
    let form = serde_json::to_value(&ring).unwrap();
    assert_eq!(
        form,
        json!({
            "format": 2,
            "algorithm": "ring",
            "hash": "xxh3-64:1:0",
            "version": 1,
            "spread": "zones-and-racks",
            "nodes": [
                { "id": 1, "name": "node-1", "weight": 2, "zone": "a", "rack": "r" },
                { "id": 2, "name": "node-2", "weight": 1, "zone": null },
            ],
            "state": "a0000000",
            "checksum": form["checksum"],
        })
    );
    assert_eq!(serde_json::from_value::<Ring>(form.clone()).unwrap(), ring);
    let mut older = form;
    older["format"] = json!(1);
    let error = serde_json::from_value::<Ring>(older)
        .unwrap_err()
        .to_string();
    assert!(error.contains("format 1"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let table = SlotTable::builder()
        .slot_bits(4)
        .nodes(nodes(3))
        .build()
        .unwrap();
    let form = serde_json::to_value(&table).unwrap();
    let error = |change: &dyn Fn(&mut Value)| {
        let mut form = form.clone();
        change(&mut form);
        serde_json::from_value::<SlotTable>(form)
            .unwrap_err()
            .to_string()
    };
    assert!(error(&|form| form["version"] = json!(2)).contains("checksum"));
    assert!(error(&|form| form["nodes"][0]["weight"] = json!(5)).contains("checksum"));
    assert!(error(&|form| form["nodes"][1]["id"] = json!(1)).contains("there already"));
    assert!(error(&|form| form["format"] = json!(2)).contains("format 2"));
    assert!(error(&|form| form["format"] = json!(3)).contains("format 3"));
    assert!(error(&|form| form["algorithm"] = json!("ketama")).contains("algorithm"));
    assert!(error(&|form| form["spread"] = json!("wide")).contains("spread"));
    assert!(error(&|form| form["state"] = json!("0")).contains("hexadecimal"));
    assert!(error(&|form| form["state"] = json!("zz")).contains("hexadecimal"));
    assert!(error(&|form| form["extra"] = json!(0)).contains("extra"));
    let ring = serde_json::to_string(&Ring::from_nodes(nodes(1)).unwrap()).unwrap();
    assert!(
        serde_json::from_str::<SlotTable>(&ring)
            .unwrap_err()
            .to_string()
            .contains("a snapshot of a ring")
    );
}
