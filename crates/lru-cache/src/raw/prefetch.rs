//! Asks the processor to fetch memory that will be wanted soon. A hint: it changes nothing, and is none elsewhere.

#![allow(
    unsafe_code,
    reason = "an instruction of the processor; and values seen as the types that they are known to be"
)]

#[cfg(feature = "std")]
use alloc::boxed::Box;
#[cfg(feature = "std")]
use alloc::string::String;
#[cfg(feature = "std")]
use alloc::sync::Arc;
#[cfg(feature = "std")]
use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::any::TypeId;

#[cfg(feature = "std")]
use super::identity::id_of;

/// The line of memory with this address, which need not be anybody's.
#[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
#[inline]
pub(super) fn prefetch(line: *const u8) {
    use core::arch::x86_64 as simd;
    // SAFETY: the instruction is of the target, and a hint without access to memory.
    unsafe { simd::_mm_prefetch::<{ simd::_MM_HINT_T0 }>(line.cast()) }
}

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
#[inline]
pub(super) fn prefetch(_: *const u8) {}

/// What will be touched of the heap when this value is dropped, if it is of one of the types that are most often keys or
/// values: the start of its block, and what the allocator has before that.
#[cfg(feature = "std")]
#[inline]
pub(crate) fn prefetch_owned<T>(value: &T) {
    if let Some(start) = owned(value) {
        prefetch(start.wrapping_sub(BEFORE));
        prefetch(start);
    }
}

/// Counts of an `Arc`, or what an allocator knows of a block.
#[cfg(feature = "std")]
const BEFORE: usize = 2 * size_of::<usize>();

#[cfg(feature = "std")]
#[inline]
fn owned<T>(value: &T) -> Option<*const u8> {
    // Known when the program is compiled, so that of all this one instruction is left, or none.
    let id = id_of::<T>();
    macro_rules! among {
        ($($owner:ty),*) => {
            $(if id == TypeId::of::<$owner>() {
                // SAFETY: it is of this type, which borrows nothing, by its identity.
                let owner = unsafe { &*core::ptr::from_ref(value).cast::<$owner>() };
                return Some(owner.as_ptr().cast());
            })*
        };
    }
    among!(String, Vec<u8>, Box<str>, Box<[u8]>, Arc<str>, Arc<[u8]>);
    None
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use alloc::borrow::ToOwned;

    use super::*;

    #[test]
    fn it_is_known_where_texts_and_bytes_are_and_nothing_of_others() {
        let text = "a text".to_owned();
        assert_eq!(owned(&text), Some(text.as_ptr()));
        let bytes = text.clone().into_bytes();
        assert_eq!(owned(&bytes), Some(bytes.as_ptr()));
        let shared: Arc<str> = text.as_str().into();
        assert_eq!(owned(&shared), Some(shared.as_ptr()));
        let of_borrowed = |text: &str| owned(&text).is_some() || owned(&[text]).is_some();
        assert!(!of_borrowed(&text));
        assert_eq!(owned(&text.as_ptr().addr()), None);
        prefetch_owned(&text);
        prefetch_owned(&String::new());
    }
}
