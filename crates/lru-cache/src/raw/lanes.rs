//! Searches of a column, many slots at once where the processor has instructions for it.

#[cfg(not(all(target_arch = "x86_64", target_feature = "sse2", not(purlin_safe))))]
pub(crate) use self::plain::{find_word, has_word, oldest};
#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(purlin_safe)))]
pub(crate) use self::sse2::{find_word, has_word, oldest};

mod plain {
    /// The place of the least order among the slots whose note is `is` under `mask`. All orders differ, and none
    /// is the largest number. There are `most` such slots, or fewer.
    pub(crate) fn oldest(
        notes: &[u8],
        orders: &[u16],
        mask: u8,
        is: u8,
        _most: usize,
    ) -> Option<usize> {
        let slots = notes.iter().zip(orders).enumerate();
        slots
            .filter(|(_, (note, _))| **note & mask == is)
            .min_by_key(|(_, (_, order))| **order)
            .map(|(at, _)| at)
    }

    /// Whether one of these words is the one wanted.
    pub(crate) fn has_word(words: &[u16], wanted: u16) -> bool {
        words.contains(&wanted)
    }

    /// The place of the first of these words that is the one wanted.
    pub(crate) fn find_word(words: &[u16], wanted: u16) -> Option<usize> {
        words.iter().position(|&word| word == wanted)
    }
}

#[cfg(all(target_arch = "x86_64", target_feature = "sse2", not(purlin_safe)))]
mod sse2 {
    #![allow(
        unsafe_code,
        reason = "instructions of the processor, on lanes within slices"
    )]

    use core::arch::x86_64 as simd;

    /// Words at once, and twice as many bytes.
    const LANES: usize = 8;

    /// As the plain one.
    #[inline]
    pub(crate) fn oldest(
        notes: &[u8],
        orders: &[u16],
        mask: u8,
        is: u8,
        most: usize,
    ) -> Option<usize> {
        let len = orders.len();
        if most <= FEW && (2 * LANES..=64).contains(&len) && notes.len() >= len {
            return oldest_of_few(notes, orders, mask, is);
        }
        oldest_of_many(notes, orders, mask, is)
    }

    /// So many orders are looked at one by one in less time than all.
    const FEW: usize = 12;

    /// By the bits of those whose note fits.
    #[inline]
    fn oldest_of_few(notes: &[u8], orders: &[u16], mask: u8, is: u8) -> Option<usize> {
        let len = orders.len();
        assert!((2 * LANES..=64).contains(&len) && notes.len() >= len);
        let mut fits = 0u64;
        let mut from = 0;
        loop {
            // SAFETY: the instructions are of the target. The load is of 16 notes from `from` on, and `from + 16 <= len`.
            let bits = unsafe {
                let note = simd::_mm_loadu_si128(notes.as_ptr().add(from).cast());
                let note = simd::_mm_and_si128(note, simd::_mm_set1_epi8(mask as i8));
                simd::_mm_movemask_epi8(simd::_mm_cmpeq_epi8(note, simd::_mm_set1_epi8(is as i8)))
            };
            fits |= u64::from(bits as u32) << from;
            if from + 2 * LANES == len {
                break;
            }
            // The last sixteen may be in part those before.
            from = (from + 2 * LANES).min(len - 2 * LANES);
        }
        // The order and, below it, the place.
        let mut least = u32::MAX;
        while fits != 0 {
            let at = fits.trailing_zeros();
            // SAFETY: a bit is set for a place below `len` only.
            let order = unsafe { *orders.get_unchecked(at as usize) };
            least = least.min(u32::from(order) << 8 | at);
            fits &= fits - 1;
        }
        (least != u32::MAX).then_some((least & 63) as usize)
    }

    #[inline(never)]
    fn oldest_of_many(notes: &[u8], orders: &[u16], mask: u8, is: u8) -> Option<usize> {
        let len = orders.len();
        if len < LANES || notes.len() < len {
            return super::plain::oldest(notes, orders, mask, is, len);
        }
        // SAFETY: the instructions are of the target. Each load is of 8 notes or 8 orders from `from` on, and
        // `from + 8 <= len`.
        let least = unsafe {
            let (mask, is) = (
                simd::_mm_set1_epi8(mask as i8),
                simd::_mm_set1_epi8(is as i8),
            );
            let nobody = simd::_mm_set1_epi8(-1);
            let mut all = nobody;
            let mut from = 0;
            loop {
                let note = simd::_mm_loadl_epi64(notes.as_ptr().add(from).cast());
                let order = simd::_mm_loadu_si128(orders.as_ptr().add(from).cast());
                let fits = simd::_mm_cmpeq_epi8(simd::_mm_and_si128(note, mask), is);
                let fits = simd::_mm_unpacklo_epi8(fits, fits);
                all = least_of(
                    all,
                    simd::_mm_or_si128(order, simd::_mm_xor_si128(fits, nobody)),
                );
                if from + LANES == len {
                    break;
                }
                // The last eight may be in part those before.
                from = (from + LANES).min(len - LANES);
            }
            let all = least_of(all, simd::_mm_srli_si128::<8>(all));
            let all = least_of(all, simd::_mm_srli_si128::<4>(all));
            let all = least_of(all, simd::_mm_srli_si128::<2>(all));
            simd::_mm_extract_epi16::<0>(all) as u16
        };
        if least == u16::MAX {
            return None;
        }
        find_word(orders, least)
    }

    /// The lesser of each pair. SSE2 has that for signed words only.
    ///
    /// # Safety
    ///
    /// None beyond the instructions of the target.
    #[inline]
    unsafe fn least_of(a: simd::__m128i, b: simd::__m128i) -> simd::__m128i {
        // SAFETY: the instructions are of the target.
        unsafe { simd::_mm_sub_epi16(a, simd::_mm_subs_epu16(a, b)) }
    }

    /// As the plain one, and with one branch for all words where most often none is.
    #[inline(always)]
    pub(crate) fn has_word(words: &[u16], wanted: u16) -> bool {
        let len = words.len();
        if len < 2 * LANES {
            return super::plain::has_word(words, wanted);
        }
        // SAFETY: the instructions are of the target. The loads are of 16 words from `from` on, and
        // `from + 16 <= len`.
        unsafe {
            let wanted = simd::_mm_set1_epi16(wanted as i16);
            let same = |from: usize| {
                let words = simd::_mm_loadu_si128(words.as_ptr().add(from).cast());
                simd::_mm_cmpeq_epi16(words, wanted)
            };
            let mut any = simd::_mm_setzero_si128();
            let mut from = 0;
            loop {
                let two = simd::_mm_or_si128(same(from), same(from + LANES));
                any = simd::_mm_or_si128(any, two);
                if from + 2 * LANES == len {
                    break;
                }
                // The last sixteen may be in part those before.
                from = (from + 2 * LANES).min(len - 2 * LANES);
            }
            simd::_mm_movemask_epi8(any) != 0
        }
    }

    /// As the plain one.
    #[inline]
    pub(crate) fn find_word(words: &[u16], wanted: u16) -> Option<usize> {
        let len = words.len();
        if len < 2 * LANES {
            return super::plain::find_word(words, wanted);
        }
        let mut from = 0;
        loop {
            // SAFETY: the instructions are of the target, and `from + 16 <= len`.
            let same = unsafe {
                let wanted = simd::_mm_set1_epi16(wanted as i16);
                let first = words.as_ptr().add(from);
                let low = simd::_mm_cmpeq_epi16(simd::_mm_loadu_si128(first.cast()), wanted);
                let second = first.add(LANES);
                let high = simd::_mm_cmpeq_epi16(simd::_mm_loadu_si128(second.cast()), wanted);
                simd::_mm_movemask_epi8(simd::_mm_packs_epi16(low, high))
            };
            if same != 0 {
                return Some(from + same.trailing_zeros() as usize);
            }
            if from + 2 * LANES == len {
                return None;
            }
            from = (from + 2 * LANES).min(len - 2 * LANES);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use purlin_core::Rng;

    use super::*;

    #[test]
    fn all_at_once_is_as_one_by_one() {
        let mut rng = Rng::from_seed(8);
        for _ in 0..if cfg!(miri) { 50 } else { 5_000 } {
            let len = rng.below(80);
            let start = rng.below(60_000) as u16;
            let mut orders: Vec<u16> = (0..len as u16).map(|n| start + 7 * n).collect();
            let notes: Vec<u8> = (0..len).map(|_| rng.next_u64() as u8 & 15).collect();
            for n in (1..orders.len()).rev() {
                orders.swap(n, rng.below(n as u64 + 1) as usize);
            }
            let (mask, is) = (rng.next_u64() as u8 & 15, rng.next_u64() as u8 & 15);
            let fits = notes
                .iter()
                .filter(|&note| note & mask == is & mask)
                .count();
            let found = oldest(&notes, &orders, mask, is & mask, fits);
            let plainly = plain::oldest(&notes, &orders, mask, is & mask, fits);
            assert_eq!(found, plainly);
            let wanted = start + rng.below(8 * 50) as u16;
            assert_eq!(has_word(&orders, wanted), orders.contains(&wanted));
            assert_eq!(
                find_word(&orders, wanted),
                plain::find_word(&orders, wanted)
            );
        }
    }
}
