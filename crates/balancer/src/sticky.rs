//! A client's node as text that only we can write.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use purlin_core::{Clock, Keyring, NodeId, SystemClock, WallTime};

/// Writes a client's node into a sealed text and reads it back, for a cookie or a header.
///
/// The text is 100 hexadecimal digits. It shows the node's number to whoever holds it, so number nodes at
/// random if the size or order of the fleet is not the clients' business; it never holds an address. It
/// cannot be written or changed without a key of the [`Keyring`], and ends of itself. It is not bound to a
/// client: whoever copies it goes to the same node, which affinity allows.
///
/// Text that is broken, forged, too old, or sealed for another purpose is no error but the same as none: the
/// client is bound anew.
///
/// ```
/// use purlin_balancer::{Balancer, Policy, StickyCodec};
/// use purlin_core::{Keyring, Node, NodeId, SealingKey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let codec = StickyCodec::new("app-node", Keyring::new([SealingKey::new(1, [7; 32])])?);
/// let balancer = Balancer::new(Policy::default(), [Node::new(NodeId(4), "a"), Node::new(NodeId(9), "b")])?;
///
/// let cookie = codec.seal(NodeId(9));
/// let bound = codec.open(&cookie).map(|binding| binding.node);
/// let sticky = balancer.pick_sticky(bound)?;
/// assert_eq!(sticky.pick.id(), NodeId(9));
/// assert!(codec.open("forged").is_none());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StickyCodec<C = SystemClock> {
    purpose: Arc<str>,
    keyring: Arc<Keyring>,
    max_age: Duration,
    clock: C,
}

impl StickyCodec {
    /// How long a binding lasts unless told otherwise: a day, after which a client is balanced anew, so that
    /// no uneven spread lasts for ever.
    pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);

    /// A codec that seals for a purpose, such as the cookie's name: a text sealed for one is none for another.
    pub fn new(purpose: impl Into<Arc<str>>, keyring: impl Into<Arc<Keyring>>) -> Self {
        StickyCodec {
            purpose: purpose.into(),
            keyring: keyring.into(),
            max_age: Self::DEFAULT_MAX_AGE,
            clock: SystemClock::new(),
        }
    }
}

impl<C> StickyCodec<C> {
    /// The same codec with another age at which bindings end.
    #[must_use]
    pub fn with_max_age(self, max_age: Duration) -> Self {
        StickyCodec { max_age, ..self }
    }

    /// The same codec under another clock.
    #[must_use]
    pub fn with_clock<D>(self, clock: D) -> StickyCodec<D> {
        let StickyCodec {
            purpose,
            keyring,
            max_age,
            ..
        } = self;
        StickyCodec {
            purpose,
            keyring,
            max_age,
            clock,
        }
    }
}

impl<C: Clock> StickyCodec<C> {
    /// The text that binds a client to a node from now until the greatest age.
    pub fn seal(&self, node: NodeId) -> String {
        let mut payload = [FORMAT; PAYLOAD_LEN];
        payload[1..9].copy_from_slice(&node.0.to_le_bytes());
        payload[9..].copy_from_slice(&self.clock.wall().as_unix_millis().to_le_bytes());
        to_hex(&self.keyring.seal(&self.purpose, &payload))
    }

    /// What a text binds its client to, or `None` where that is nothing. Any text is allowed; the cost is that
    /// of one seal at most.
    pub fn open(&self, text: &str) -> Option<Binding> {
        let sealed = from_hex::<SEALED_LEN>(text)?;
        let payload: &[u8; PAYLOAD_LEN] =
            self.keyring.open(&self.purpose, &sealed)?.try_into().ok()?;
        let (&format, rest) = payload.split_first()?;
        let (node, since) = rest.split_first_chunk::<8>()?;
        let since = WallTime::from_unix_millis(u64::from_le_bytes(since.try_into().ok()?));
        // A text from the future is one from before the wall clock was set back: its age counts from now.
        let age = self.clock.wall().since(since);
        if format != FORMAT || age > self.max_age {
            return None;
        }
        Some(Binding {
            node: NodeId(u64::from_le_bytes(*node)),
            is_due: age > self.max_age / 2 || self.keyring.is_outdated(&sealed),
        })
    }
}

impl<C> fmt::Debug for StickyCodec<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StickyCodec")
            .field("purpose", &self.purpose)
            .field("keyring", &self.keyring)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
}

/// What a sealed text says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Binding {
    /// The node its client is bound to. Sealed by us, and yet it may have left the fleet since.
    pub node: NodeId,
    /// Whether to seal it anew with this answer: it is past half its life, or its key no longer seals.
    pub is_due: bool,
}

/// The first byte of a payload: its layout. Then the node and the wall time in milliseconds at which it was
/// sealed, each as eight bytes little-endian.
const FORMAT: u8 = 1;
const PAYLOAD_LEN: usize = 1 + 8 + 8;
const SEALED_LEN: usize = Keyring::OVERHEAD + PAYLOAD_LEN;

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(HEX_DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

/// Exactly what [`to_hex`] writes for `N` bytes, so that one binding has one text.
fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4) | nibble(pair[1])?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
