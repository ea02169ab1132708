//! Which types may be read while they are written: those that are bytes and nothing else.

use core::any::TypeId;
use core::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8,
    NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};

use crate::raw::identity::id_of;

/// Whether a type is a number, `bool`, `char`, or a short array of bytes. Of such a value all bytes are initialised, no two
/// places of it overlap, a copy of the bytes is a copy of the value, and none of them is a pointer, for which the number of its
/// address would not do. Without specialisation in the language, types are compared as they are when the program runs.
pub(super) fn is_plain<T>() -> bool {
    let id = id_of::<T>();
    macro_rules! is_one_of {
        ($($plain:ty),*) => { false $(|| id == TypeId::of::<$plain>())* };
    }
    is_one_of!(
        u8,
        u16,
        u32,
        u64,
        u128,
        usize,
        i8,
        i16,
        i32,
        i64,
        i128,
        isize,
        f32,
        f64,
        bool,
        char,
        NonZeroU8,
        NonZeroU16,
        NonZeroU32,
        NonZeroU64,
        NonZeroU128,
        NonZeroUsize,
        NonZeroI8,
        NonZeroI16,
        NonZeroI32,
        NonZeroI64,
        NonZeroI128,
        NonZeroIsize,
        [u8; 4],
        [u8; 6],
        [u8; 8],
        [u8; 12],
        [u8; 16],
        [u8; 20],
        [u8; 24],
        [u8; 32],
        [u16; 8],
        [u32; 2],
        [u32; 4],
        [u64; 2],
        [u64; 3],
        [u64; 4]
    )
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::is_plain;

    #[derive(Clone, Copy)]
    #[expect(dead_code, reason = "a type to ask about")]
    struct Padded(u8, u32);

    fn of_borrowed<'a>(_: &'a str) -> bool {
        is_plain::<&'a u64>() || is_plain::<&'a str>() || is_plain::<(u64, &'a u8)>()
    }

    #[test]
    fn numbers_are_and_what_owns_borrows_or_has_padding_is_not() {
        assert!(is_plain::<u64>() && is_plain::<f32>() && is_plain::<[u8; 16]>());
        assert!(is_plain::<bool>() && is_plain::<char>());
        assert!(!is_plain::<String>() && !is_plain::<Padded>() && !is_plain::<()>());
        assert!(!is_plain::<Option<u32>>() && !is_plain::<*const u8>() && !is_plain::<(u8, u32)>());
        assert!(!is_plain::<&'static u64>() && !of_borrowed(&String::from("borrowed")));
    }
}
