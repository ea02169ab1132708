//! R9: the same owner for every key as the real programs gave.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use purlin_core::{Node, NodeId, Placement, Weight};
use purlin_hash_ring::interop::{
    ForeignHash, ForeignRing, Libmemcached, Twemproxy, cassandra_token, redis_slot,
};
use purlin_hash_ring::{BuildError, DecodeError, Plan, Ranges, diff, evenly, jump, moves, shares};
use serde_json::Value;

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn cases(vectors: &Value) -> &[Value] {
    vectors["cases"].as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// The case's servers as nodes, numbered by their place.
fn nodes(case: &Value, name: impl Fn(&Value) -> String) -> Vec<Node> {
    let server = |(id, server): (u64, &Value)| {
        let weight = server["weight"].as_u64().unwrap() as u32;
        Node::new(NodeId(id), name(server)).with_weight(Weight(weight))
    };
    (0..)
        .zip(case["servers"].as_array().unwrap())
        .map(server)
        .collect()
}

fn host_and_port(server: &Value) -> String {
    format!("{}:{}", text(&server["host"]), server["port"])
}

/// Compares the owner of each key; `expected` makes of the recorded answer a node's place.
fn agree(
    case: &Value,
    ring: &ForeignRing,
    answers: &str,
    expected: impl Fn(&Value) -> u64,
) -> usize {
    let keys = case["keys"].as_array().unwrap();
    let answers = case[answers].as_array().unwrap();
    assert_eq!(keys.len(), answers.len());
    for (key, answer) in keys.iter().zip(answers) {
        let owner = ring.owner(text(key).as_bytes());
        assert_eq!(
            owner,
            Some(NodeId(expected(answer))),
            "{key} in {}",
            case["servers"]
        );
    }
    keys.len()
}

fn index(answer: &Value) -> u64 {
    answer.as_u64().unwrap()
}

#[test]
fn ring_r9_libmemcached_in_all_modes() {
    let mut n_keys = 0;
    let file = vectors(include_str!("vectors/libmemcached.json"));
    for case in cases(&file) {
        let hash = match text(&case["hash"]) {
            "default(one-at-a-time)" => ForeignHash::OneAtATime,
            "md5" => ForeignHash::Md5,
            "crc" => ForeignHash::Crc32Short,
            other => panic!("unknown hash {other}"),
        };
        let mode = match text(&case["mode"]) {
            "modula" => Libmemcached::Modula(hash),
            "ketama" => Libmemcached::Ketama(hash),
            "ketama_weighted" => Libmemcached::KetamaWeighted,
            "spy" => Libmemcached::Spy,
            other => panic!("unknown mode {other}"),
        };
        let ring = ForeignRing::libmemcached(mode, nodes(case, host_and_port)).unwrap();
        n_keys += agree(case, &ring, "owner", index);
    }
    assert_eq!(n_keys, 35 * 120);
}

#[test]
fn ring_r9_nginx() {
    let mut n_keys = 0;
    let file = vectors(include_str!("vectors/nginx_chash.json"));
    for case in cases(&file) {
        let servers = nodes(case, |server| text(&server["server"]).to_string());
        let ring = ForeignRing::nginx(servers.clone()).unwrap();
        // The answer is an address, which has the default port where the configuration has none.
        n_keys += agree(case, &ring, "upstream_addr", |answer| {
            let address = text(answer);
            let found = servers
                .iter()
                .find(|node| node.name == address || format!("{}:80", node.name) == address);
            found.unwrap().id.0
        });
    }
    assert_eq!(n_keys, 9 * 120);
}

#[test]
fn ring_r9_twemproxy_with_its_hashes_names_and_tags() {
    let mut n_keys = 0;
    let file = vectors(include_str!("vectors/twemproxy.json"));
    for case in cases(&file) {
        let hash = match text(&case["hash"]) {
            "md5" => ForeignHash::Md5,
            "fnv1a_64" => ForeignHash::Fnv1a64,
            "fnv1_32" => ForeignHash::Fnv1_32,
            "crc32a" => ForeignHash::Crc32,
            "crc16" => ForeignHash::Crc16,
            "murmur" => ForeignHash::Murmur,
            "hsieh" => ForeignHash::Hsieh,
            "jenkins" => ForeignHash::Jenkins,
            "one_at_a_time" => ForeignHash::OneAtATime,
            other => panic!("unknown hash {other}"),
        };
        let pool = match text(&case["distribution"]) {
            "ketama" => Twemproxy::ketama(hash),
            "modula" => Twemproxy::modula(hash),
            other => panic!("unknown distribution {other}"),
        };
        let pool = match case["hash_tag"].as_str() {
            Some(tag) => pool.with_hash_tag(tag.as_bytes().try_into().unwrap()),
            None => pool,
        };
        let name = |server: &Value| {
            server["name"]
                .as_str()
                .unwrap_or(text(&server["addr"]))
                .to_string()
        };
        let ring = ForeignRing::twemproxy(pool, nodes(case, name)).unwrap();
        n_keys += agree(case, &ring, "owner", index);
    }
    assert_eq!(n_keys, 1105);
}

#[test]
fn ring_r9_haproxy() {
    let mut n_keys = 0;
    let file = vectors(include_str!("vectors/haproxy_chash.json"));
    for case in cases(&file) {
        let words: Vec<&str> = text(&case["hash_type"]).split(' ').collect();
        let function = match words[1] {
            "sdbm" => ForeignHash::Sdbm,
            "djb2" => ForeignHash::Djb2,
            "wt6" => ForeignHash::Wt6,
            "crc32" => ForeignHash::Crc32,
            other => panic!("unknown function {other}"),
        };
        let servers = case["servers"].as_array().unwrap();
        let id = |server: &Value| NodeId(server["id"].as_u64().unwrap());
        let weight = |server: &Value| Weight(server["weight"].as_u64().unwrap() as u32);
        let nodes = servers
            .iter()
            .map(|server| Node::new(id(server), "").with_weight(weight(server)));
        let ring = ForeignRing::haproxy(function, words.contains(&"avalanche"), nodes).unwrap();
        n_keys += agree(case, &ring, "owner", |answer| {
            id(&servers[index(answer) as usize]).0
        });
    }
    assert_eq!(n_keys, 7 * 120);
}

#[test]
fn ring_r9_npm_hashring_with_its_ranges() {
    let mut n_keys = 0;
    let file = vectors(include_str!("vectors/npm_hashring.json"));
    for case in cases(&file) {
        let servers = nodes(case, host_and_port);
        let vnodes = case["opts"]["vnode count"].as_u64().unwrap_or(40) as u32;
        let python = case["opts"]["compatibility"] == "hash_ring";
        let ring = ForeignRing::npm_hashring(vnodes, python, servers.clone()).unwrap();
        let place = |answer: &Value| {
            servers
                .iter()
                .find(|node| node.name == text(answer))
                .unwrap()
                .id
                .0
        };
        n_keys += agree(case, &ring, "owner", place);
        for (key, first3) in case["keys"]
            .as_array()
            .unwrap()
            .iter()
            .zip(case["first3"].as_array().unwrap())
        {
            let expected: Vec<NodeId> = first3
                .as_array()
                .unwrap()
                .iter()
                .map(|name| NodeId(place(name)))
                .collect();
            let mut into = [NodeId(u64::MAX); 3];
            let found = ring.replicas(text(key).as_bytes(), &mut into);
            assert_eq!(into[..found], expected, "{key}");
        }
    }
    assert_eq!(n_keys, 12 * 100);
}

#[test]
fn ring_r9_redis_slots() {
    let file = vectors(include_str!("vectors/redis_keyslot.json"));
    let (texts, bytes) = (
        file["text"].as_array().unwrap(),
        file["hex"].as_array().unwrap(),
    );
    assert_eq!((texts.len(), bytes.len()), (380, 60));
    for case in texts {
        assert_eq!(
            u64::from(redis_slot(text(&case[0]).as_bytes())),
            index(&case[1]),
            "{case}"
        );
    }
    for case in bytes {
        assert_eq!(
            u64::from(redis_slot(&hex(text(&case[0])))),
            index(&case[1]),
            "{case}"
        );
    }
}

#[test]
fn ring_r9_guava_jump() {
    let file = vectors(include_str!("vectors/jump_guava.json"));
    assert!(cases(&file).len() >= 400);
    for case in cases(&file) {
        let key: u64 = text(&case[0]).parse().unwrap();
        assert_eq!(
            u64::from(jump(key, index(&case[1]) as u32)),
            index(&case[2]),
            "{case}"
        );
    }
    for (key, n, bucket) in [
        (1, 1, 0),
        (42, 57, 43),
        (0xDEAD_10CC, 666, 361),
        (256, 1024, 520),
    ] {
        assert_eq!(jump(key, n), bucket);
    }
}

#[test]
fn ring_r9_cassandra_tokens() {
    let file = vectors(include_str!("vectors/cassandra_murmur3.json"));
    assert_eq!(cases(&file).len(), 264);
    for case in cases(&file) {
        assert_eq!(
            cassandra_token(&hex(text(&case[0]))).to_string(),
            text(&case[1]),
            "{case}"
        );
    }
}

fn hex(digits: &str) -> Vec<u8> {
    let byte = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Check values that the published descriptions of these hashes give for "123456789" or "a".
#[test]
fn hashes_without_vectors_have_their_published_values() {
    assert_eq!(ForeignHash::Crc32.of(b"123456789"), 0xcbf4_3926);
    assert_eq!(ForeignHash::Crc32Short.of(b"123456789"), 0x4bf4);
    assert_eq!(ForeignHash::Crc16.of(b"123456789") & 0xffff, 0x31c3);
    assert_eq!(ForeignHash::Fnv1a32.of(b"a"), 0xe40c_292c);
    assert_eq!(ForeignHash::Fnv1_32.of(b"a"), 0x050c_5d7e);
    assert_eq!(ForeignHash::Fnv1_64.of(b"a"), 0x8601_b7be);
}

#[test]
fn the_edges_have_answers() {
    let nobody = ForeignRing::nginx([]).unwrap();
    let mut into = [NodeId(0); 2];
    assert_eq!(nobody.owner(b"key"), None);
    assert_eq!(nobody.replicas(b"key", &mut into), 0);
    let none = ForeignRing::libmemcached(Libmemcached::Modula(ForeignHash::Md5), []).unwrap();
    assert_eq!(none.owner(b"key"), None);

    let node =
        |id, weight| Node::new(NodeId(id), format!("h{id}:11211")).with_weight(Weight(weight));
    let one = ForeignRing::haproxy(ForeignHash::Sdbm, true, [node(1, 0), node(2, 1)]).unwrap();
    assert_eq!(one.replicas(b"key", &mut into), 1);
    assert_eq!(into[0], NodeId(2));
    let twice = ForeignRing::npm_hashring(40, false, [node(1, 1), node(1, 1)]).unwrap_err();
    assert_eq!(twice, BuildError::DuplicateNode(node(1, 1)));
    let heavy = [node(1, u32::MAX), node(2, 1)];
    let pool = Twemproxy::modula(ForeignHash::Md5);
    assert!(matches!(
        ForeignRing::nginx(heavy.clone()),
        Err(BuildError::TooManyPoints { .. })
    ));
    assert!(matches!(
        ForeignRing::twemproxy(pool, heavy.clone()),
        Err(BuildError::TooManyPoints { .. })
    ));
    assert!(matches!(
        ForeignRing::haproxy(ForeignHash::Wt6, false, heavy.clone()),
        Err(BuildError::TooManyPoints { .. })
    ));
    // Ketama's points are shares, so even such weights fit; the light node has none.
    let ketama = ForeignRing::libmemcached(Libmemcached::KetamaWeighted, heavy).unwrap();
    assert_eq!(ketama.replicas(b"key", &mut into), 1);
    let many = ForeignRing::npm_hashring(u32::MAX, false, [node(1, 1)]);
    assert!(matches!(many, Err(BuildError::TooManyPoints { .. })));
}

/// One ring of each program, and of each way of choosing.
fn one_of_each(n: u64) -> Vec<ForeignRing> {
    let nodes = || {
        (1..=n).map(|id| {
            Node::new(NodeId(100 - id), format!("10.0.0.{id}:11211"))
                .with_weight(Weight(1 + id as u32 % 3))
        })
    };
    let tagged = Twemproxy::ketama(ForeignHash::Fnv1a64).with_hash_tag(*b"{}");
    [
        ForeignRing::libmemcached(Libmemcached::Modula(ForeignHash::Md5), nodes()),
        ForeignRing::libmemcached(Libmemcached::Ketama(ForeignHash::Crc32Short), nodes()),
        ForeignRing::libmemcached(Libmemcached::KetamaWeighted, nodes()),
        ForeignRing::libmemcached(Libmemcached::Spy, nodes()),
        ForeignRing::nginx(nodes()),
        ForeignRing::twemproxy(tagged, nodes()),
        ForeignRing::twemproxy(Twemproxy::modula(ForeignHash::Hsieh), nodes()),
        ForeignRing::haproxy(ForeignHash::Djb2, true, nodes()),
        ForeignRing::npm_hashring(40, true, nodes()),
    ]
    .map(Result::unwrap)
    .into()
}

#[test]
fn ring_r8_rings_of_other_programs_come_back_whole() {
    for ring in one_of_each(5) {
        let bytes = ring.to_bytes();
        assert_eq!(ForeignRing::from_bytes(&bytes).as_ref(), Ok(&ring));
        for at in 0..bytes.len() {
            assert!(
                ForeignRing::from_bytes(&bytes[..at]).is_err(),
                "cut to {at}"
            );
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(ForeignRing::from_bytes(&changed).is_err(), "byte {at}");
        }
    }
    // The documented layout, byte by byte.
    let node = Node::new(NodeId(258), "h:80").with_weight(Weight(3));
    let ring = ForeignRing::haproxy(ForeignHash::Wt6, true, [node]).unwrap();
    let mut content =
        b"PLfr\x01\x04\x0f\x01\x01\0\0\0\x02\x01\0\0\0\0\0\0\x03\0\0\0\x04\0\0\0h:80\0".to_vec();
    let sum = purlin_core::PlacementHash::xxh3(0).of_bytes(&content);
    content.extend_from_slice(&sum.to_le_bytes());
    assert_eq!(ring.to_bytes(), content);
    // A snapshot of our own placements is none of these.
    let ours = purlin_hash_ring::Ring::from_nodes([]).unwrap().to_bytes();
    assert_eq!(
        ForeignRing::from_bytes(&ours),
        Err(DecodeError::NotASnapshot)
    );
}

/// Ranges hold from end to end and no further, and a difference is exactly what moves.
#[test]
fn ring_r7_rings_of_other_programs_have_ranges() {
    for (old, new) in one_of_each(5).into_iter().zip(one_of_each(6)) {
        let Some((before, after)) = old.ranges().zip(new.ranges()) else {
            assert!(
                old.ranges().is_none() && new.ranges().is_none(),
                "modula has none"
            );
            continue;
        };
        let (mut start, mut n_ranges) = (0, 0);
        let replicas = |hash| {
            let mut into = [NodeId(0); 3];
            (old.replicas_of_hash(hash, &mut into), into)
        };
        loop {
            let end = before.range_end(start);
            assert!(end >= start && end <= before.last_hash());
            for hash in [start + (end - start) / 2, end] {
                assert_eq!(replicas(hash), replicas(start));
            }
            n_ranges += 1;
            if end == before.last_hash() {
                break;
            }
            start = end + 1;
        }
        assert!(n_ranges > 100);
        let sum: f64 = shares(&before).iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9);

        let listed: Vec<_> = diff(before, after, 2).collect();
        let is_listed = |hash: u64| listed.iter().any(|change| change.hashes.contains(&hash));
        for key in 0..500u32 {
            let hash = old.hash_key(&key.to_le_bytes());
            assert_eq!(is_listed(hash), moves(&old, &new, hash, 2), "{hash:x}");
        }
        for change in listed.iter().take(200) {
            for hash in [*change.hashes.start(), *change.hashes.end()] {
                assert!(moves(&old, &new, hash, 2), "{hash:x}");
            }
        }
        assert!(!Plan::new(listed, evenly(1 << 40)).steps().is_empty());
    }
}
