//! Random operations beside a naive version.

use std::collections::BTreeMap;

use proptest::prelude::*;
use purlin_core::{GroupId, KeyBuffer, PlacementKey, Token, TokenSet};

proptest! {
    #[test]
    fn a_token_set_keeps_the_furthest_token_of_each_group(
        tokens in prop::collection::vec((0u32..6, 0u64..3, any::<u64>()), 0..40)
    ) {
        let mut set = TokenSet::new();
        let mut model: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        for (group, epoch, position) in tokens {
            set.record(Token::new(GroupId(group), epoch, position));
            let furthest = model.entry(group).or_default();
            *furthest = (epoch, position).max(*furthest);
        }
        let expected: Vec<Token> =
            model.into_iter().map(|(group, (epoch, position))| Token::new(GroupId(group), epoch, position)).collect();
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), expected);
        prop_assert_eq!(set.to_string().parse::<TokenSet>(), Ok(set));
    }

    #[test]
    fn no_text_makes_the_token_parser_panic(text in "[0-9a-fA-F.+-]{0,60}") {
        if let Ok(set) = text.parse::<TokenSet>() {
            prop_assert_eq!(set.to_string().parse::<TokenSet>(), Ok(set));
        }
    }

    #[test]
    fn different_lists_of_parts_have_different_bytes(
        a in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        b in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
    ) {
        let encode = |parts: &[Vec<u8>]| {
            let mut buffer = KeyBuffer::new();
            parts.iter().for_each(|part| buffer.push_part(part));
            buffer.as_bytes().to_vec()
        };
        prop_assert_eq!(a == b, encode(&a) == encode(&b));
    }

    #[test]
    fn a_tuple_is_the_list_of_its_parts(a in ".{0,80}", b in any::<u64>(), c in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut buffer = KeyBuffer::new();
        buffer.push_part(a.as_bytes());
        buffer.push_part(&b.to_le_bytes());
        buffer.push_part(&c);
        (a, b, c).with_key_bytes(|tuple| assert_eq!(tuple, buffer.as_bytes()));
    }
}
