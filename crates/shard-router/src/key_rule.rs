/// Which bytes of a key choose its slot. Part of a map, because two programs that differ in it would look
/// for the same key in different places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum KeyRule {
    /// All of them.
    #[default]
    WholeKey,
    /// What stands between the first `{` and the first `}` behind it, as Redis Cluster has it; all of them
    /// where there is no such pair or nothing in between. `{user:7}:cart` and `{user:7}:orders` then share a
    /// slot. For text keys: in the bytes of a number these two marks mean nothing and turn up by chance.
    HashTag,
}

impl KeyRule {
    pub(crate) const ALL: [KeyRule; 2] = [KeyRule::WholeKey, KeyRule::HashTag];

    /// The rule's number in the compact form of a map.
    pub(crate) const fn code(self) -> u8 {
        match self {
            KeyRule::WholeKey => 0,
            KeyRule::HashTag => 1,
        }
    }

    /// The part of a key that is hashed.
    #[inline]
    pub(crate) fn hashed_part(self, key: &[u8]) -> &[u8] {
        match self {
            KeyRule::WholeKey => key,
            KeyRule::HashTag => tag(key).unwrap_or(key),
        }
    }
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let behind = &key[open + 1..];
    let len = behind.iter().position(|&byte| byte == b'}')?;
    (len > 0).then(|| &behind[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of the Redis Cluster specification, and the edges around them.
    #[test]
    fn hash_tags_follow_the_rule_of_redis() {
        for (key, part) in [
            ("{user1000}.following", "user1000"),
            ("{user1000}.followers", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("", ""),
            ("{", "{"),
            ("}", "}"),
            ("}{", "}{"),
            ("{}", "{}"),
            ("a}b{c}d", "c"),
            ("{a", "{a"),
            ("a}", "a}"),
            ("{a}", "a"),
        ] {
            let hashed = KeyRule::HashTag.hashed_part(key.as_bytes());
            assert_eq!(hashed, part.as_bytes(), "{key:?}");
            assert_eq!(
                KeyRule::WholeKey.hashed_part(key.as_bytes()),
                key.as_bytes()
            );
        }
    }
}
