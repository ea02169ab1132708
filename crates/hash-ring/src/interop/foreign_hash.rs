use super::hashes;
use super::md5::md5;

/// A hash of keys that another program offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ForeignHash {
    /// The first four bytes of MD5.
    Md5 = 1,
    /// Jenkins' one-at-a-time, libmemcached's default.
    OneAtATime = 2,
    /// Fifteen bits of CRC-32: `crc` of libmemcached, `crc32` of twemproxy.
    Crc32Short = 3,
    /// CRC-32: `crc32a` of twemproxy, `crc32` of HAProxy.
    Crc32 = 4,
    /// `crc16` of twemproxy.
    Crc16 = 5,
    /// `fnv1_64` of twemproxy.
    Fnv1_64 = 6,
    /// `fnv1a_64` of twemproxy, which is cut to 32 bits at each step.
    Fnv1a64 = 7,
    /// `fnv1_32` of twemproxy.
    Fnv1_32 = 8,
    /// `fnv1a_32` of twemproxy.
    Fnv1a32 = 9,
    /// `hsieh` of twemproxy.
    Hsieh = 10,
    /// `murmur` of twemproxy.
    Murmur = 11,
    /// `jenkins` of twemproxy.
    Jenkins = 12,
    /// `sdbm` of HAProxy, its default.
    Sdbm = 13,
    /// `djb2` of HAProxy.
    Djb2 = 14,
    /// `wt6` of HAProxy.
    Wt6 = 15,
}

impl ForeignHash {
    /// The hash of a key.
    pub fn of(self, key: &[u8]) -> u32 {
        match self {
            ForeignHash::Md5 => md5(key)[0],
            ForeignHash::OneAtATime => hashes::one_at_a_time(key),
            ForeignHash::Crc32Short => hashes::crc32_short(key),
            ForeignHash::Crc32 => hashes::crc32(key),
            ForeignHash::Crc16 => hashes::crc16_wide(key),
            ForeignHash::Fnv1_64 => hashes::fnv1_64(key),
            ForeignHash::Fnv1a64 => hashes::fnv1a_64_cut(key),
            ForeignHash::Fnv1_32 => hashes::fnv1_32(key),
            ForeignHash::Fnv1a32 => hashes::fnv1a_32(key),
            ForeignHash::Hsieh => hashes::hsieh(key),
            ForeignHash::Murmur => hashes::murmur2(key),
            ForeignHash::Jenkins => hashes::lookup3(key),
            ForeignHash::Sdbm => hashes::sdbm(key),
            ForeignHash::Djb2 => hashes::djb2(key),
            ForeignHash::Wt6 => hashes::wt6(key),
        }
    }

    /// In the order of their numbers in snapshots, which begin at 1.
    pub(super) const ALL: [ForeignHash; 15] = [
        ForeignHash::Md5,
        ForeignHash::OneAtATime,
        ForeignHash::Crc32Short,
        ForeignHash::Crc32,
        ForeignHash::Crc16,
        ForeignHash::Fnv1_64,
        ForeignHash::Fnv1a64,
        ForeignHash::Fnv1_32,
        ForeignHash::Fnv1a32,
        ForeignHash::Hsieh,
        ForeignHash::Murmur,
        ForeignHash::Jenkins,
        ForeignHash::Sdbm,
        ForeignHash::Djb2,
        ForeignHash::Wt6,
    ];
}
