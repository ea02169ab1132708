//! Placement is a promise across machines and versions: these outputs come from other implementations of the
//! same specifications and from the encoding's definition, and must hold on 32-bit and big-endian targets too
//! (`ci/miri.sh`).
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use purlin_core::{PlacementHash, PlacementKey};

const SEED: u64 = 0x9e37_79b1_85eb_ca87;

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|i| (131 * i + 7) as u8).collect()
}

#[test]
fn hashes_agree_with_other_implementations() {
    let sip_key = std::array::from_fn(|i| i as u8);
    let hashes = [
        PlacementHash::xxh3(0),
        PlacementHash::xxh3(SEED),
        PlacementHash::xxh64(0),
        PlacementHash::xxh64(SEED),
        PlacementHash::siphash24(sip_key),
    ];
    let mut checked = 0;
    for line in include_str!("golden/hashes.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut fields = line.split(' ');
        let len: usize = fields.next().unwrap().parse().unwrap();
        let message = message(len);
        for hash in hashes {
            let expected = u64::from_str_radix(fields.next().unwrap(), 16).unwrap();
            assert_eq!(hash.of_bytes(&message), expected, "{hash} of {len} bytes");
            checked += 1;
        }
    }
    assert_eq!(checked, 81 * hashes.len());
}

#[test]
fn keys_keep_their_encoding_and_their_hash() {
    #[track_caller]
    fn check<K: PlacementKey + ?Sized>(key: &K, bytes: &[u8], hash: u64) {
        key.with_key_bytes(|encoded| assert_eq!(encoded, bytes));
        assert_eq!(PlacementHash::default().of(key), hash);
    }
    check(&1u8, &[1], 0xe12e_f9d2_eb86_ceeb);
    check(&258u16, &[2, 1], 0x66e9_c4aa_7c53_ef78);
    check(&-2i16, &[0xfe, 0xff], 0x00e7_cbba_5da9_e337);
    check(&70_000u32, &[0x70, 0x11, 1, 0], 0xa4a9_8a4e_8929_0d5c);
    check(&-1i64, &[0xff; 8], 0x5111_c7e4_7d78_4413);
    check(&42u64, &[42, 0, 0, 0, 0, 0, 0, 0], 0xd5a6_f8c8_38df_27c8);
    check(
        &1u128,
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        0x26f2_a114_8cf5_2011,
    );
    check("user:17", b"user:17", 0x70d4_be0d_2e04_ed42);
    check(
        &("eu", 17u64),
        b"\x02\0\0\0eu\x08\0\0\0\x11\0\0\0\0\0\0\0",
        0xda6a_72f9_0730_179a,
    );
    check(
        &(("a", "b"), "c"),
        b"\x0a\0\0\0\x01\0\0\0a\x01\0\0\0b\x01\0\0\0c",
        0x9e20_fef2_106a_4105,
    );
}

#[test]
fn the_names_and_bytes_of_hashes_are_frozen() {
    let sip = PlacementHash::siphash24(std::array::from_fn(|i| i as u8));
    let cases = [
        (
            PlacementHash::default(),
            "xxh3-64:1:0",
            "0101".to_owned() + &"00".repeat(16),
        ),
        (
            PlacementHash::xxh64(SEED),
            "xxh64:1:9e3779b185ebca87",
            "030187caeb85b179379e".to_owned() + &"00".repeat(8),
        ),
        (
            sip,
            "siphash-2-4:1:f0e0d0c0b0a09080706050403020100",
            "0201000102030405060708090a0b0c0d0e0f".to_owned(),
        ),
    ];
    for (hash, name, hex) in cases {
        assert_eq!(hash.to_string(), name);
        assert_eq!(name.parse(), Ok(hash));
        let bytes = hash.to_bytes();
        assert_eq!(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
            hex
        );
        assert_eq!(PlacementHash::from_bytes(&bytes), Ok(hash));
    }
}

#[test]
fn unknown_hashes_are_refused() {
    for text in [
        "",
        "xxh3-64",
        "xxh3-64:1",
        "xxh3-64:2:0",
        "xxh3-64:1:",
        "xxh3-64:1:10000000000000000",
        "md5:1:0",
        "xxh3-64:1:0:0",
    ] {
        assert!(text.parse::<PlacementHash>().is_err(), "{text:?}");
    }
    let mut bytes = PlacementHash::default().to_bytes();
    bytes[1] = 2;
    assert!(
        PlacementHash::from_bytes(&bytes).is_err(),
        "a later version"
    );
    bytes[1] = 1;
    bytes[17] = 1;
    assert!(
        PlacementHash::from_bytes(&bytes).is_err(),
        "a seed too wide for XXH3"
    );
}

#[test]
fn another_seed_is_a_mismatch_and_shows_no_key() {
    let ours = PlacementHash::siphash24([1; 16]);
    assert_eq!(ours.ensure_same(&ours), Ok(()));
    let error = ours
        .ensure_same(&PlacementHash::siphash24([2; 16]))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "placed by siphash-2-4 with another seed than ours"
    );
    assert!(format!("{error:?}").contains("PlacementHash(siphash-2-4, ..)"));
    let error = ours.ensure_same(&PlacementHash::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "placed by xxh3-64, but siphash-2-4 is in use"
    );
}
