//! The hashes that other programs place keys by. Each is written from its published description, and held by
//! vectors from the programs themselves.

/// A byte as C's `char` gives it to arithmetic where `char` is signed, as on x86: what those programs do to
/// bytes above 127 there.
const fn signed(byte: u8) -> u32 {
    byte as i8 as u32
}

/// One-at-a-time (Jenkins, "A Hash Function for Hash Table Lookup", 1997).
pub(crate) fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0u32;
    for &byte in key {
        hash = hash.wrapping_add(signed(byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// `CRC32[n][b]` is what byte `b` does to a register that `n` more bytes pass through.
const CRC32: [[u32; 256]; 8] = {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        byte = 0;
        while byte < 256 {
            let crc = tables[n - 1][byte];
            tables[n][byte] = crc >> 8 ^ tables[0][crc as u8 as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
};

/// The CRC of IEEE 802.3, as zlib computes it.
pub(crate) fn crc32(key: &[u8]) -> u32 {
    !crc32_continued(u32::MAX, key)
}

/// A CRC that goes on from a register, neither of them complemented. Eight bytes at a time: they do not wait
/// for each other (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC
/// Generation", 2008).
pub(crate) fn crc32_continued(mut register: u32, bytes: &[u8]) -> u32 {
    let mut eights = bytes.chunks_exact(8);
    for eight in &mut eights {
        let [a, b, c, d] = register.to_le_bytes();
        let [e, f, g, h] = [eight[4], eight[5], eight[6], eight[7]];
        let first = [a ^ eight[0], b ^ eight[1], c ^ eight[2], d ^ eight[3]];
        let all = first.into_iter().chain([e, f, g, h]);
        register = all
            .zip(CRC32.iter().rev())
            .fold(0, |crc, (byte, table)| crc ^ table[usize::from(byte)]);
    }
    eights.remainder().iter().fold(register, |crc, &byte| {
        crc >> 8 ^ CRC32[0][usize::from(crc as u8 ^ byte)]
    })
}

/// What libmemcached and twemproxy call `crc`: fifteen bits of the CRC.
pub(crate) fn crc32_short(key: &[u8]) -> u32 {
    crc32(key) >> 16 & 0x7fff
}

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 {
                crc << 1 ^ 0x1021
            } else {
                crc << 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-16/XMODEM in a register of 32 bits, whose upper half twemproxy does not clear; the lower half is the
/// CRC that Redis uses.
pub(crate) fn crc16_wide(key: &[u8]) -> u32 {
    key.iter().fold(0u32, |crc, &byte| {
        crc << 8 ^ u32::from(CRC16[usize::from((crc >> 8) as u8 ^ byte)])
    })
}

/// FNV-1 and FNV-1a (Fowler, Noll and Vo), 32 bits.
pub(crate) fn fnv1_32(key: &[u8]) -> u32 {
    key.iter().fold(FNV_32_OFFSET, |hash, &byte| {
        hash.wrapping_mul(FNV_32_PRIME) ^ signed(byte)
    })
}

pub(crate) fn fnv1a_32(key: &[u8]) -> u32 {
    key.iter().fold(FNV_32_OFFSET, |hash, &byte| {
        (hash ^ signed(byte)).wrapping_mul(FNV_32_PRIME)
    })
}

/// The low half of 64-bit FNV-1.
pub(crate) fn fnv1_64(key: &[u8]) -> u32 {
    let step = |hash: u64, &byte: &u8| hash.wrapping_mul(FNV_64_PRIME) ^ byte as i8 as u64;
    key.iter().fold(FNV_64_OFFSET, step) as u32
}

/// What twemproxy calls `fnv1a_64`: each step is cut to 32 bits.
pub(crate) fn fnv1a_64_cut(key: &[u8]) -> u32 {
    let step = |hash: u32, &byte: &u8| (hash ^ signed(byte)).wrapping_mul(FNV_64_PRIME as u32);
    key.iter().fold(FNV_64_OFFSET as u32, step)
}

const FNV_32_OFFSET: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;
const FNV_64_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_64_PRIME: u64 = 0x0100_0000_01b3;

/// MurmurHash2 (Appleby), seeded by the length as twemproxy does.
pub(crate) fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let len = key.len() as u32;
    let mut hash = 0xdead_beef_u32.wrapping_mul(len) ^ len;
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let word = little_endian(word).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ word >> 24).wrapping_mul(M);
    }
    if !rest.is_empty() {
        hash = (hash ^ little_endian(rest)).wrapping_mul(M);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(M);
    hash ^ hash >> 15
}

/// SuperFastHash (Hsieh, 2004), started from 0.
pub(crate) fn hsieh(key: &[u8]) -> u32 {
    let mut hash = 0u32;
    let words = key.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        hash = hash.wrapping_add(little_endian(&word[..2]));
        hash = hash << 16 ^ little_endian(&word[2..]) << 11 ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match rest {
        [] => {}
        &[last] => {
            hash = hash.wrapping_add(u32::from(last));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        [pair @ .., _] if pair.len() == 1 => {
            hash = hash.wrapping_add(little_endian(rest));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [pair @ .., last] => {
            hash = hash.wrapping_add(little_endian(pair));
            hash ^= hash << 16;
            hash ^= signed(*last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
    }
    hash ^= hash << 3;
    hash = hash.wrapping_add(hash >> 5);
    hash ^= hash << 4;
    hash = hash.wrapping_add(hash >> 17);
    hash ^= hash << 25;
    hash.wrapping_add(hash >> 6)
}

/// Lookup3's `hashlittle` (Jenkins, 2006), started from 13.
pub(crate) fn lookup3(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32
        .wrapping_add(key.len() as u32)
        .wrapping_add(13);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = key;
    while rest.len() > 12 {
        a = a.wrapping_add(little_endian(&rest[..4]));
        b = b.wrapping_add(little_endian(&rest[4..8]));
        c = c.wrapping_add(little_endian(&rest[8..12]));
        for rotation in [[4, 6, 8], [16, 19, 4]] {
            a = a.wrapping_sub(c) ^ c.rotate_left(rotation[0]);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(rotation[1]);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(rotation[2]);
            b = b.wrapping_add(a);
        }
        rest = &rest[12..];
    }
    if rest.is_empty() {
        return c;
    }
    let mut last = [0; 12];
    last[..rest.len()].copy_from_slice(rest);
    a = a.wrapping_add(little_endian(&last[..4]));
    b = b.wrapping_add(little_endian(&last[4..8]));
    c = c.wrapping_add(little_endian(&last[8..]));
    let mixed =
        |into: u32, from: u32, rotation| (into ^ from).wrapping_sub(from.rotate_left(rotation));
    c = mixed(c, b, 14);
    a = mixed(a, c, 11);
    b = mixed(b, a, 25);
    c = mixed(c, b, 16);
    a = mixed(a, c, 4);
    b = mixed(b, a, 14);
    mixed(c, b, 24)
}

/// The hash of the sdbm database.
pub(crate) fn sdbm(key: &[u8]) -> u32 {
    key.iter().fold(0u32, |hash, &byte| {
        u32::from(byte)
            .wrapping_add(hash << 6)
            .wrapping_add(hash << 16)
            .wrapping_sub(hash)
    })
}

/// Bernstein's hash, by addition.
pub(crate) fn djb2(key: &[u8]) -> u32 {
    key.iter().fold(5381u32, |hash, &byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(byte))
    })
}

/// HAProxy's `wt6`.
pub(crate) fn wt6(key: &[u8]) -> u32 {
    let (mut low, mut high) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut turn, mut other) = (6, 18);
    for &byte in key {
        low = !(low ^ u32::from(byte));
        high = !high.wrapping_add(u32::from(byte));
        (low, high) = (high.rotate_left(turn), low.rotate_left(other));
        let mixed = (low >> 16 ^ high) & 0xffff;
        (turn, other) = (mixed & 0x1f, mixed >> 11);
    }
    low ^ high
}

/// Jenkins' six-shift integer hash, spread by HAProxy with one more multiplication.
pub(crate) fn avalanche(number: u32) -> u32 {
    let a = number.wrapping_add(0x7ed5_5d16).wrapping_add(number << 12);
    let a = a ^ 0xc761_c23c ^ a >> 19;
    let a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    let a = a.wrapping_add(0xd3a2_646c) ^ a << 9;
    let a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    let a = a ^ 0xb55a_4f09 ^ a >> 16;
    a.wrapping_mul(3_221_225_473)
}

/// Up to four bytes as a number.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u32::from(byte))
}

/// The token of a partition key in Cassandra and ScyllaDB under `Murmur3Partitioner`: the first half of
/// MurmurHash3 x64-128 (Appleby) with Java's signed bytes in the tail, and the one value that stands for
/// "before everything" replaced by the largest.
///
/// ```
/// assert_eq!(purlin_hash_ring::interop::cassandra_token(b"a"), -8_839_064_797_231_613_815);
/// ```
pub fn cassandra_token(key: &[u8]) -> i64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let first = |word: u64| word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let second = |word: u64| word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let word = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0, |word, &byte| word << 8 | u64::from(byte))
    };
    let (mut one, mut two) = (0u64, 0u64);
    let blocks = key.chunks_exact(16);
    let rest = blocks.remainder();
    for block in blocks {
        one ^= first(word(&block[..8]));
        one = one
            .rotate_left(27)
            .wrapping_add(two)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        two ^= second(word(&block[8..]));
        two = two
            .rotate_left(31)
            .wrapping_add(one)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    // The sign of a byte in the tail spreads over all bits above it.
    let tail = |bytes: &[u8]| {
        bytes
            .iter()
            .enumerate()
            .fold(0, |word, (i, &byte)| word ^ (byte as i8 as u64) << (8 * i))
    };
    let (low, high) = rest.split_at(rest.len().min(8));
    two ^= second(tail(high));
    one ^= first(tail(low));
    let len = key.len() as u64;
    one ^= len;
    two ^= len;
    one = one.wrapping_add(two);
    two = two.wrapping_add(one);
    let finish = |word: u64| {
        let word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        word ^ word >> 33
    };
    match finish(one).wrapping_add(finish(two)) as i64 {
        i64::MIN => i64::MAX,
        token => token,
    }
}

/// The slot of a key in Redis Cluster, one of 16 384: CRC-16/XMODEM of the key, or of its hash tag, which is
/// what stands between the first `{` and the first `}` behind it, if anything does.
///
/// ```
/// use purlin_hash_ring::interop::redis_slot;
///
/// assert_eq!(redis_slot(b"{user1000}.following"), redis_slot(b"{user1000}.followers"));
/// ```
pub fn redis_slot(key: &[u8]) -> u16 {
    (crc16_wide(hash_tag(key, b'{', b'}')) & 0x3fff) as u16
}

/// What stands between the first `open` and the first `close` behind it; the whole key if nothing does.
pub(crate) fn hash_tag(key: &[u8], open: u8, close: u8) -> &[u8] {
    let Some(start) = key.iter().position(|&byte| byte == open) else {
        return key;
    };
    let behind = &key[start + 1..];
    match behind.iter().position(|&byte| byte == close) {
        Some(len) if len > 0 => &behind[..len],
        _ => key,
    }
}
