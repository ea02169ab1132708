//! The bytes of a key.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A key whose home must be the same on every machine, in every process and in every version.
///
/// `std::hash::Hash` cannot promise that: what it feeds to a hasher depends on byte order, on the width of
/// `usize` and on the standard library's version. This trait gives a key one encoding as bytes, which
/// [`PlacementHash`](crate::PlacementHash) then hashes:
///
/// - integers are fixed-width little-endian, signed ones in two's complement. Width matters: `1u32` and
///   `1u64` are different keys. There is deliberately no `usize` and no float;
/// - `str` and byte strings are their bytes, so the two agree with each other;
/// - a UUID (feature `uuid`) is its 16 bytes in the order in which it is written;
/// - a tuple is its parts, each preceded by its length in bytes as a little-endian `u32`, so that
///   `("ab", "c")` and `("a", "bc")` differ. Nesting follows from that: an inner tuple is one part.
///
/// No type tags are written. The encoding is part of the crates' compatibility promise and is held by
/// golden vectors.
///
/// ```
/// use purlin_core::PlacementKey;
///
/// 258u16.with_key_bytes(|bytes| assert_eq!(bytes, [2, 1]));
/// ("ab", 1u8).with_key_bytes(|bytes| assert_eq!(bytes, b"\x02\0\0\0ab\x01\0\0\0\x01"));
/// ```
///
/// # Implementing
///
/// 1. Equal keys give equal bytes, and keys that must be told apart give different bytes.
/// 2. The bytes depend on nothing but the key: not on the machine, the process or the crate's version.
/// 3. `with` is called exactly once.
///
/// A struct usually forwards to a tuple of its fields:
///
/// ```
/// use purlin_core::PlacementKey;
///
/// struct OrderKey { tenant: u32, order: u64 }
///
/// impl PlacementKey for OrderKey {
///     fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
///         (self.tenant, self.order).with_key_bytes(with)
///     }
/// }
/// # OrderKey { tenant: 1, order: 2 }.with_key_bytes(|bytes| assert_eq!(bytes.len(), 20));
/// ```
pub trait PlacementKey {
    /// Calls `with` with the key's bytes. Allocates only for tuples longer than [`KeyBuffer::INLINE`] bytes.
    ///
    /// # Panics
    ///
    /// A tuple panics where one of its parts is longer than `u32::MAX` bytes.
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R;
}

macro_rules! integer_keys {
    ($($integer:ty)*) => {$(
        impl PlacementKey for $integer {
            #[inline]
            fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
                with(&self.to_le_bytes())
            }
        }
    )*};
}
integer_keys!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128);

impl PlacementKey for str {
    #[inline]
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(self.as_bytes())
    }
}

impl PlacementKey for [u8] {
    #[inline]
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(self)
    }
}

impl<const N: usize> PlacementKey for [u8; N] {
    #[inline]
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(self)
    }
}

#[cfg(feature = "uuid")]
#[cfg_attr(docsrs, doc(cfg(feature = "uuid")))]
impl PlacementKey for uuid::Uuid {
    #[inline]
    fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
        with(self.as_bytes())
    }
}

macro_rules! forwarded_keys {
    ($([$($generics:tt)*] $wrapper:ty;)*) => {$(
        impl<$($generics)*> PlacementKey for $wrapper {
            #[inline]
            fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
                (**self).with_key_bytes(with)
            }
        }
    )*};
}
forwarded_keys! {
    [K: PlacementKey + ?Sized] &K;
    [K: PlacementKey + ?Sized] Box<K>;
    [K: PlacementKey + ?Sized] Rc<K>;
    [K: PlacementKey + ?Sized] Arc<K>;
    [K: PlacementKey + ToOwned + ?Sized] Cow<'_, K>;
    [] String;
    [] Vec<u8>;
}

macro_rules! tuple_keys {
    ($(($($part:ident $index:tt),+))*) => {$(
        impl<$($part: PlacementKey),+> PlacementKey for ($($part,)+) {
            #[inline]
            fn with_key_bytes<R>(&self, with: impl FnOnce(&[u8]) -> R) -> R {
                let mut buffer = KeyBuffer::new();
                $(self.$index.with_key_bytes(|part| buffer.push_part(part));)+
                with(buffer.as_bytes())
            }
        }
    )*};
}
tuple_keys! {
    (A 0, B 1)
    (A 0, B 1, C 2)
    (A 0, B 1, C 2, D 3)
    (A 0, B 1, C 2, D 3, E 4)
    (A 0, B 1, C 2, D 3, E 4, F 5)
}

/// Collects the parts of a composite key, each preceded by its length, as the tuples do. Public for keys
/// whose number of parts is known only at run time.
///
/// ```
/// use purlin_core::{KeyBuffer, PlacementKey};
///
/// let mut buffer = KeyBuffer::new();
/// for part in ["eu", "berlin", "42"] {
///     buffer.push_part(part.as_bytes());
/// }
/// ("eu", "berlin", "42").with_key_bytes(|tuple| assert_eq!(buffer.as_bytes(), tuple));
/// ```
#[derive(Clone, Debug)]
pub struct KeyBuffer {
    /// The first `len` bytes are the key while `spill` is empty.
    inline: [u8; KeyBuffer::INLINE],
    len: usize,
    /// Holds the whole key once it has outgrown `inline`.
    spill: Vec<u8>,
}

impl KeyBuffer {
    /// Keys up to this many bytes need no allocation: room for a UUID and three integers with their lengths.
    pub const INLINE: usize = 64;

    /// An empty buffer.
    #[inline]
    pub const fn new() -> Self {
        KeyBuffer {
            inline: [0; KeyBuffer::INLINE],
            len: 0,
            spill: Vec::new(),
        }
    }

    /// Appends a part: its length as a little-endian `u32`, then its bytes.
    ///
    /// # Panics
    ///
    /// If the part is longer than `u32::MAX` bytes.
    #[inline]
    pub fn push_part(&mut self, part: &[u8]) {
        let len =
            u32::try_from(part.len()).expect("a part of a placement key is shorter than 4 GiB");
        self.push(&len.to_le_bytes());
        self.push(part);
    }

    /// The key so far.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        if self.spill.is_empty() {
            &self.inline[..self.len]
        } else {
            &self.spill
        }
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        if self.spill.is_empty() {
            if let Some(room) = self.inline[self.len..].get_mut(..bytes.len()) {
                room.copy_from_slice(bytes);
                self.len += bytes.len();
                return;
            }
            self.spill.extend_from_slice(&self.inline[..self.len]);
        }
        self.spill.extend_from_slice(bytes);
    }
}

impl Default for KeyBuffer {
    fn default() -> Self {
        KeyBuffer::new()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn bytes<K: PlacementKey + ?Sized>(key: &K) -> Vec<u8> {
        key.with_key_bytes(<[u8]>::to_vec)
    }

    #[test]
    fn text_and_bytes_agree_and_widths_differ() {
        assert_eq!(bytes("né"), bytes("né".as_bytes()));
        assert_eq!(bytes(&String::from("a")), bytes("a"));
        assert_eq!(bytes(&Cow::Borrowed("a")), bytes("a"));
        assert_ne!(bytes(&1u32), bytes(&1u64));
        assert_eq!(bytes(&-2i16), [0xfe, 0xff]);
    }

    #[test]
    fn tuples_delimit_their_parts() {
        assert_ne!(bytes(&("ab", "c")), bytes(&("a", "bc")));
        assert_ne!(bytes(&("a", "")), bytes(&("", "a")));
        assert_ne!(bytes(&(("a", "b"), "c")), bytes(&("a", "b", "c")));
    }

    #[test]
    fn a_key_that_outgrows_the_inline_buffer_is_the_same_key() {
        for len in [0, 1, 55, 56, 57, 64, 65, 300] {
            let part = vec![7u8; len];
            let mut expected = vec![];
            for part in [&part[..], b"x"] {
                expected.extend_from_slice(&(part.len() as u32).to_le_bytes());
                expected.extend_from_slice(part);
            }
            assert_eq!(bytes(&(&part[..], "x")), expected, "part of {len} bytes");
        }
    }

    #[test]
    fn empty_parts_after_a_spill_are_kept() {
        let long = [1u8; KeyBuffer::INLINE];
        assert_eq!(bytes(&(&long[..], "")).len(), 4 + long.len() + 4);
    }
}
