//! Rings of other programs, so that a service can share their caches: feature `interop`.
//!
//! A [`ForeignRing`] places keys exactly as memcached clients on libmemcached, nginx, twemproxy, HAProxy or
//! npm's `hashring` do; [`redis_slot`] and [`cassandra_token`] give the slots and tokens of those systems.
//! Guava's `Hashing.consistentHash` is [`jump`](crate::jump). All are held by vectors taken from the real
//! programs. They keep those programs' faults: points of 32 bits collide, and in ketama a new weight moves points
//! of other nodes. New fleets are better served by the placements of the crate itself.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use purlin_core::{Node, NodeId, Placement};

use self::hashes::{avalanche, crc32, crc32_continued, hash_tag};
pub use self::hashes::{cassandra_token, redis_slot};
use self::md5::md5;
use crate::BuildError;
use crate::points::{MAX_OWNERS, MAX_POINTS, Points, owner, point};

mod hashes;
mod md5;
mod ranges;
mod snapshot;

pub use self::ranges::ForeignRanges;

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
            ForeignHash::Crc32 => crc32(key),
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
}

impl ForeignHash {
    /// In the order of their numbers in snapshots, which begin at 1.
    const ALL: [ForeignHash; 15] = [
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

/// How libmemcached distributes keys: `MEMCACHED_BEHAVIOR_DISTRIBUTION` and its companions. A node's name is
/// `host:port`; a port of 11211, or none, is left out of what is hashed, except by `Spy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Libmemcached {
    /// The hash modulo the number of servers. Weights are not used.
    Modula(ForeignHash),
    /// Consistent ketama without weights: a hundred points a server, by the same hash as the keys, which is
    /// one-at-a-time unless the program was told otherwise.
    Ketama(ForeignHash),
    /// Weighted ketama: points and keys by MD5, 160 points on average.
    KetamaWeighted,
    /// The way of the Java client spymemcached, with one-at-a-time.
    Spy,
}

/// How a twemproxy pool distributes keys. A node's name is the server's name in the pool, or `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Twemproxy {
    /// `hash:` of the pool.
    pub hash: ForeignHash,
    /// Whether `distribution:` is `modula`; otherwise it is `ketama`.
    pub modula: bool,
    /// The two characters of `hash_tag:`.
    pub hash_tag: Option<[u8; 2]>,
}

impl Twemproxy {
    /// A ketama pool with this hash and no hash tag.
    pub const fn ketama(hash: ForeignHash) -> Self {
        Twemproxy {
            hash,
            modula: false,
            hash_tag: None,
        }
    }

    /// A modula pool with this hash and no hash tag.
    pub const fn modula(hash: ForeignHash) -> Self {
        Twemproxy {
            hash,
            modula: true,
            hash_tag: None,
        }
    }

    /// The same pool with a hash tag, such as `*b"{}"`.
    pub const fn with_hash_tag(self, hash_tag: [u8; 2]) -> Self {
        Twemproxy {
            hash_tag: Some(hash_tag),
            ..self
        }
    }
}

/// A ring of another program.
///
/// Replicas are the next distinct nodes on the circle, or in the list where there is no circle. Lookups do
/// not allocate. A node of weight 0 is left out, as if it were not in the other program's list.
///
/// A change of the fleet is another value, built from the new list, as those programs do it;
/// [`ranges`](ForeignRing::ranges) lets [`diff`](crate::diff) list what moves between the two, and
/// [`to_bytes`](ForeignRing::to_bytes) carries a ring to another process.
///
/// ```
/// use purlin_core::{Node, NodeId, Placement};
/// use purlin_hash_ring::interop::{ForeignRing, Libmemcached};
///
/// let nodes = ["10.0.0.1:11211", "10.0.0.2:11211"].into_iter().zip(1..).map(|(name, id)| Node::new(NodeId(id), name));
/// let ring = ForeignRing::libmemcached(Libmemcached::KetamaWeighted, nodes)?;
/// assert!(ring.owner_of("user:17").is_some());
/// # Ok::<(), purlin_hash_ring::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ForeignRing {
    /// What it was made by, and can be made again by.
    recipe: Recipe,
    nodes: Vec<Node>,
    hash: ForeignHash,
    /// HAProxy's second hash.
    avalanche: bool,
    hash_tag: Option<[u8; 2]>,
    choice: Choice,
}

/// Which program's ring it is, as its user set it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Recipe {
    Libmemcached(Libmemcached),
    Nginx,
    Twemproxy(Twemproxy),
    Haproxy {
        function: ForeignHash,
        avalanche_keys: bool,
    },
    NpmHashring {
        vnodes: u32,
        python_compatible: bool,
    },
}

/// How a hash finds its node. Owners are places in the list of nodes.
#[derive(Clone, Debug, PartialEq)]
enum Choice {
    /// The first point at or after it.
    Next(Points),
    /// The nearer of the points on either side.
    Nearest(Points),
    /// The entry whose number is the remainder.
    Remainder(Vec<u32>),
}

impl ForeignRing {
    /// The ring of libmemcached's clients.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyPoints`] or [`BuildError::TooManyNodes`].
    pub fn libmemcached(
        mode: Libmemcached,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Self, BuildError> {
        let nodes = listed(nodes)?;
        let mut points = Vec::new();
        let hash = match mode {
            Libmemcached::Modula(hash) => {
                let all = (0..nodes.len() as u32).collect();
                let recipe = Recipe::Libmemcached(mode);
                return Ok(ForeignRing::of(recipe, nodes, hash, Choice::Remainder(all)));
            }
            Libmemcached::Ketama(hash) => {
                each_point_name(
                    &nodes,
                    |_| 100,
                    memcached_name,
                    |owner, name| {
                        points.push(point32(hash.of(name), owner));
                    },
                )?;
                hash
            }
            Libmemcached::KetamaWeighted => {
                let counts = ketama_counts(&nodes);
                each_point_name(
                    &nodes,
                    |i| counts[i],
                    memcached_name,
                    |owner, name| {
                        points.extend(md5(name).map(|hash| point32(hash, owner)));
                    },
                )?;
                ForeignHash::Md5
            }
            Libmemcached::Spy => {
                let hash = ForeignHash::OneAtATime;
                each_point_name(
                    &nodes,
                    |_| 100,
                    spy_name,
                    |owner, name| {
                        points.push(point32(hash.of(name), owner));
                    },
                )?;
                hash
            }
        };
        Ok(ForeignRing::of(
            Recipe::Libmemcached(mode),
            nodes,
            hash,
            Choice::Next(Points::from_unsorted(&points)),
        ))
    }

    /// The ring of nginx's `hash … consistent`, and of Perl's Cache::Memcached::Fast. A node's name is the text
    /// of its `server` line: `host:80` and `host` differ.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyPoints`] or [`BuildError::TooManyNodes`].
    pub fn nginx(nodes: impl IntoIterator<Item = Node>) -> Result<Self, BuildError> {
        let nodes = listed(nodes)?;
        check_points(nodes.iter().map(|node| u64::from(node.weight.0) * 160))?;
        let mut points = Vec::new();
        for (owner, node) in (0..).zip(&nodes) {
            let (host, port) = nginx_parts(&node.name);
            let base = crc32_continued(u32::MAX, host.as_bytes());
            let base = crc32_continued(crc32_continued(base, &[0]), port.as_bytes());
            let mut previous = 0u32;
            for _ in 0..node.weight.0 * 160 {
                previous = !crc32_continued(base, &previous.to_le_bytes());
                points.push(point32(previous, owner));
            }
        }
        Ok(ForeignRing::of(
            Recipe::Nginx,
            nodes,
            ForeignHash::Crc32,
            Choice::Next(Points::from_unsorted(&points)),
        ))
    }

    /// The ring of a twemproxy pool.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyPoints`] or [`BuildError::TooManyNodes`].
    pub fn twemproxy(
        pool: Twemproxy,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Self, BuildError> {
        let nodes = listed(nodes)?;
        let choice = if pool.modula {
            check_points(nodes.iter().map(|node| u64::from(node.weight.0)))?;
            // The program sorts a pool's servers by name when it reads them.
            let mut order: Vec<u32> = (0..nodes.len() as u32).collect();
            order.sort_by(|&a, &b| nodes[a as usize].name.cmp(&nodes[b as usize].name));
            let entries =
                |&owner: &u32| core::iter::repeat_n(owner, nodes[owner as usize].weight.0 as usize);
            Choice::Remainder(order.iter().flat_map(entries).collect())
        } else {
            let counts = ketama_counts(&nodes);
            let mut points = Vec::new();
            each_point_name(
                &nodes,
                |i| counts[i],
                plain_name,
                |owner, name| {
                    points.extend(md5(name).map(|hash| point32(hash, owner)));
                },
            )?;
            Choice::Next(Points::from_unsorted(&points))
        };
        Ok(ForeignRing {
            hash_tag: pool.hash_tag,
            ..ForeignRing::of(Recipe::Twemproxy(pool), nodes, pool.hash, choice)
        })
    }

    /// The tree of HAProxy's `hash-type consistent <function> [avalanche]`. A node's id is the server's id;
    /// its name is not used.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyPoints`] or [`BuildError::TooManyNodes`].
    pub fn haproxy(
        function: ForeignHash,
        avalanche_keys: bool,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Self, BuildError> {
        let nodes = listed(nodes)?;
        check_points(nodes.iter().map(|node| u64::from(node.weight.0) * 16))?;
        let mut points = Vec::new();
        for (owner, node) in (0..).zip(&nodes) {
            // A server's points are numbered from 4 096 times its id.
            let first = (node.id.0 as u32).wrapping_mul(4096);
            points.extend(
                (0..node.weight.0 * 16).map(|i| point32(avalanche(first.wrapping_add(i)), owner)),
            );
        }
        let choice = Choice::Nearest(Points::from_unsorted(&points));
        let recipe = Recipe::Haproxy {
            function,
            avalanche_keys,
        };
        Ok(ForeignRing {
            avalanche: avalanche_keys,
            ..ForeignRing::of(recipe, nodes, function, choice)
        })
    }

    /// The ring of npm's `hashring`, which npm's `memcached` uses, with `vnodes` names a server (40 if its
    /// user said nothing), four points a name, or three in its compatibility with Python's `hash_ring`. A
    /// node's name is `host:port`.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooManyPoints`] or [`BuildError::TooManyNodes`].
    pub fn npm_hashring(
        vnodes: u32,
        python_compatible: bool,
        nodes: impl IntoIterator<Item = Node>,
    ) -> Result<Self, BuildError> {
        let nodes = listed(nodes)?;
        let total: f64 = nodes.iter().map(|node| f64::from(node.weight.0)).sum();
        // The program counts in doubles, in this order.
        let count = |i: usize| {
            let share: f64 = f64::from(nodes[i].weight.0) / total;
            (share * f64::from(vnodes) * nodes.len() as f64) as u32
        };
        let per_name = if python_compatible { 3 } else { 4 };
        let mut points = Vec::new();
        each_point_name(&nodes, count, plain_name, |owner, name| {
            points.extend(
                md5(name)
                    .into_iter()
                    .take(per_name)
                    .map(|hash| point32(hash, owner)),
            );
        })?;
        let recipe = Recipe::NpmHashring {
            vnodes,
            python_compatible,
        };
        Ok(ForeignRing::of(
            recipe,
            nodes,
            ForeignHash::Md5,
            Choice::Next(Points::from_unsorted(&points)),
        ))
    }

    fn of(recipe: Recipe, nodes: Vec<Node>, hash: ForeignHash, choice: Choice) -> Self {
        ForeignRing {
            recipe,
            nodes,
            hash,
            avalanche: false,
            hash_tag: None,
            choice,
        }
    }

    /// The nodes with a weight above 0, in the order in which they were given.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Where in the points, or entries, a hash finds its node; `None` if there is none.
    #[inline]
    fn place(&self, hash: u64) -> Option<usize> {
        match &self.choice {
            Choice::Remainder(entries) => (hash as u32 as usize).checked_rem(entries.len()),
            Choice::Next(points) => {
                (points.len() > 0).then(|| points.successor(hash << 32) % points.len())
            }
            Choice::Nearest(points) => (points.len() > 0).then(|| {
                let next = points.successor(hash << 32) % points.len();
                let previous = next.checked_sub(1).unwrap_or(points.len() - 1);
                let hash = hash as u32;
                let at = |place: usize| (points.at(place) >> 32) as u32;
                // At equal distance the one before has it.
                if hash.wrapping_sub(at(previous)) <= at(next).wrapping_sub(hash) {
                    previous
                } else {
                    next
                }
            }),
        }
    }
}

/// Hashes are the other program's 32 bits.
impl Placement for ForeignRing {
    fn hash_key(&self, key: &[u8]) -> u64 {
        let key = self
            .hash_tag
            .map_or(key, |[open, close]| hash_tag(key, open, close));
        let hash = self.hash.of(key);
        u64::from(if self.avalanche {
            avalanche(hash)
        } else {
            hash
        })
    }

    #[inline]
    fn owner_of_hash(&self, hash: u64) -> Option<NodeId> {
        let place = self.place(hash)?;
        let owner = match &self.choice {
            Choice::Remainder(entries) => entries[place],
            Choice::Next(points) | Choice::Nearest(points) => owner(points.at(place)),
        };
        Some(self.nodes[owner as usize].id)
    }

    fn replicas_of_hash(&self, hash: u64, into: &mut [NodeId]) -> usize {
        let Some(place) = self.place(hash) else {
            return 0;
        };
        match &self.choice {
            Choice::Remainder(entries) => {
                let (before, after) = entries.split_at(place);
                self.distinct(after.iter().chain(before).copied(), into)
            }
            Choice::Next(points) | Choice::Nearest(points) => {
                self.distinct(points.walk_from(place), into)
            }
        }
    }
}

impl ForeignRing {
    fn distinct(&self, owners: impl Iterator<Item = u32>, into: &mut [NodeId]) -> usize {
        let wanted = into.len().min(self.nodes.len());
        let mut found = 0;
        for owner in owners {
            if found == wanted {
                break;
            }
            let id = self.nodes[owner as usize].id;
            if !into[..found].contains(&id) {
                into[found] = id;
                found += 1;
            }
        }
        found
    }
}

/// A point at a place on a circle of 2^32.
fn point32(hash: u32, owner: u32) -> u64 {
    point(u64::from(hash) << 32, owner)
}

/// The nodes that the other program would list.
fn listed(nodes: impl IntoIterator<Item = Node>) -> Result<Vec<Node>, BuildError> {
    let mut listed: Vec<Node> = Vec::new();
    let mut ids = alloc::collections::BTreeSet::new();
    for node in nodes {
        if !ids.insert(node.id) {
            return Err(BuildError::DuplicateNode(node));
        }
        if !node.weight.is_zero() {
            listed.push(node);
        }
    }
    if listed.len() > MAX_OWNERS {
        return Err(BuildError::TooManyNodes {
            nodes: listed.len(),
            limit: MAX_OWNERS,
        });
    }
    Ok(listed)
}

fn check_points(counts: impl Iterator<Item = u64>) -> Result<(), BuildError> {
    let points = counts.fold(0u64, u64::saturating_add);
    if points <= MAX_POINTS as u64 {
        Ok(())
    } else {
        Err(BuildError::TooManyPoints {
            points,
            limit: MAX_POINTS,
        })
    }
}

/// How many names each node has in weighted ketama: its share of forty a node, in single precision and with
/// a little added, as the C programs count. Double precision places a few keys in a thousand elsewhere.
fn ketama_counts(nodes: &[Node]) -> Vec<u32> {
    // The programs add weights in 32 bits without a check; sums beyond that are nobody's.
    let total = nodes
        .iter()
        .map(|node| u64::from(node.weight.0))
        .sum::<u64>() as f32;
    let count = |node: &Node| {
        let share = node.weight.0 as f32 / total;
        let scaled = share * 160.0 / 4.0 * nodes.len() as f32;
        (f64::from(scaled) + 0.000_000_000_1) as f32 as u32
    };
    nodes.iter().map(count).collect()
}

/// Calls `each` with the name of each point, or group of points, of each node: the node's name, a hyphen and
/// a number.
fn each_point_name(
    nodes: &[Node],
    count: impl Fn(usize) -> u32,
    name: impl Fn(&mut String, &Node),
    mut each: impl FnMut(u32, &[u8]),
) -> Result<(), BuildError> {
    check_points((0..nodes.len()).map(|i| u64::from(count(i)) * 4))?;
    let mut text = String::new();
    for (owner, node) in nodes.iter().enumerate() {
        text.clear();
        name(&mut text, node);
        text.push('-');
        let stem = text.len();
        for i in 0..count(owner) {
            text.truncate(stem);
            write!(text, "{i}").expect("writing to a string does not fail");
            each(owner as u32, text.as_bytes());
        }
    }
    Ok(())
}

fn plain_name(text: &mut String, node: &Node) {
    text.push_str(&node.name);
}

/// `host` for the default port, else `host:port`.
fn memcached_name(text: &mut String, node: &Node) {
    text.push_str(node.name.strip_suffix(":11211").unwrap_or(&node.name));
}

/// `/host:port`, with the default port where none is given.
fn spy_name(text: &mut String, node: &Node) {
    text.push('/');
    text.push_str(&node.name);
    if !node.name.contains(':') {
        text.push_str(":11211");
    }
}

/// The host and the port that nginx hashes: digits behind the last colon are the port, and a path of a
/// socket is a host without one.
fn nginx_parts(server: &str) -> (&str, &str) {
    if let Some(path) = server.strip_prefix("unix:") {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}
