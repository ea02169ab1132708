//! Each program's way to lay its nodes out.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

use purlin_core::Node;

use super::hashes::{avalanche, crc32_continued};
use super::md5::md5;
use super::{Choice, ForeignHash, ForeignRing, Recipe};
use crate::BuildError;
use crate::points::{MAX_OWNERS, MAX_POINTS, Points, point};

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
