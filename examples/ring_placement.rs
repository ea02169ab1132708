//! Where keys live among cache servers that come and go: the same answer in every process, and only the keys that
//! must move do.
//!
//! `cargo run --example ring_placement`

use std::error::Error;

use purlin_core::{Node, NodeId, Weight};
use purlin_hash_ring::Ring;

const KEYS: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    let servers = (1..=4).map(|number| Node::new(NodeId(number), format!("cache-{number}:11211")));
    let ring = Ring::from_nodes(servers)?;

    // A fifth server of twice the size joins. Its share is 2 of 6.
    let fifth = Node::new(NodeId(5), "cache-5:11211").with_weight(Weight(2));
    let larger = ring.with(fifth)?;

    let mut moved = 0;
    for key in 0..KEYS {
        let (before, after) = (ring.owner(&key), larger.owner(&key));
        if before != after {
            assert_eq!(
                after,
                Some(NodeId(5)),
                "a key moves to the new server or not at all"
            );
            moved += 1;
        }
    }
    println!(
        "{:.1} % of the keys moved; a third had to",
        f64::from(moved) * 100.0 / f64::from(KEYS)
    );

    // Two copies of each key, on two servers. One that is down is skipped by asking for the next.
    let mut copies = [NodeId(0); 2];
    let n_copies = larger.replicas("user:17", &mut copies);
    println!("user:17 is on {:?}", &copies[..n_copies]);

    // Another process gets the ring as bytes and answers alike. One that hashes keys otherwise would be refused.
    let elsewhere = Ring::from_bytes(&larger.to_bytes(), &larger.hash())?;
    assert_eq!(elsewhere.owner("user:17"), larger.owner("user:17"));
    Ok(())
}

#[test]
fn runs() -> Result<(), Box<dyn Error>> {
    main()
}
