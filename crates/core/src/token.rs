//! The proof of a write, carried to whoever reads next.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A replication group: one primary and its replicas. With shards, usually the shard's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct GroupId(pub u32);

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {}", self.0)
    }
}

/// How far a group's log had come when a write was acknowledged. Whoever shows it is not to be answered by a
/// replica that has come less far.
///
/// Positions grow within an epoch, and an epoch is one primary's term. A later epoch is further than an
/// earlier one, whatever the positions, which is how the derived order compares them within a group; what a
/// token of an ended epoch proves is for the replica router to say, since the log may have been cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Token {
    /// The group whose log this is.
    pub group: GroupId,
    /// The primary's term.
    pub epoch: u64,
    /// Where in the log: a log sequence number, a transaction counter. Only its order matters.
    pub position: u64,
}

impl Token {
    /// The token of `position` in `epoch` of `group`.
    pub const fn new(group: GroupId, epoch: u64, position: u64) -> Self {
        Token {
            group,
            epoch,
            position,
        }
    }
}

/// The furthest token of each group a client has seen: what a session or a cookie carries.
///
/// At most [`TokenSet::MAX_GROUPS`] groups are kept, so that the set fits a cookie.
///
/// ```
/// use purlin_core::{GroupId, Token, TokenSet};
///
/// let mut seen = TokenSet::new();
/// seen.record(Token::new(GroupId(2), 1, 500));
/// seen.record(Token::new(GroupId(2), 1, 400)); // Older news changes nothing.
/// assert_eq!(seen.get(GroupId(2)).map(|token| token.position), Some(500));
///
/// let carried = seen.to_string();
/// assert_eq!(carried, "2.1.1f4");
/// assert_eq!(carried.parse::<TokenSet>().unwrap(), seen);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSet {
    /// Sorted by group, one token a group.
    tokens: Vec<Token>,
}

impl TokenSet {
    /// How many groups a set holds at most. Sixty-four tokens take up to 2.7 kB as text, and in practice about
    /// 1 kB; a browser's limit for a cookie is 4 kB.
    pub const MAX_GROUPS: usize = 64;

    /// A set that asks for nothing.
    pub const fn new() -> Self {
        TokenSet { tokens: Vec::new() }
    }

    /// Remembers a token, unless one at least as far is already known for its group.
    ///
    /// Returns false, and remembers nothing, if the token's group would be one too many. The caller must then
    /// make that group's reads safe in another way: by reading from its primary.
    #[must_use = "a token that was not recorded protects no read"]
    pub fn try_record(&mut self, token: Token) -> bool {
        match self
            .tokens
            .binary_search_by_key(&token.group, |known| known.group)
        {
            Ok(at) => {
                let known = &mut self.tokens[at];
                *known = token.max(*known);
            }
            Err(_) if self.tokens.len() >= Self::MAX_GROUPS => return false,
            Err(at) => self.tokens.insert(at, token),
        }
        true
    }

    /// [`try_record`](TokenSet::try_record) for sets that are known to be small: those of fewer than
    /// [`MAX_GROUPS`](TokenSet::MAX_GROUPS) groups in all.
    ///
    /// # Panics
    ///
    /// If the token's group would be one too many.
    pub fn record(&mut self, token: Token) {
        assert!(
            self.try_record(token),
            "more than {} groups in one token set",
            Self::MAX_GROUPS
        );
    }

    /// The token of a group, if one was recorded.
    pub fn get(&self, group: GroupId) -> Option<Token> {
        let at = self
            .tokens
            .binary_search_by_key(&group, |token| token.group)
            .ok()?;
        Some(self.tokens[at])
    }

    /// The tokens, by group.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Token> + '_ {
        self.tokens.iter().copied()
    }

    /// How many groups have a token.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether the set asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

/// `group.epoch.position` in hexadecimal, joined by `-`: letters a cookie may hold as they are.
impl fmt::Display for TokenSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, token) in self.tokens.iter().enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            write!(
                f,
                "{:x}.{:x}.{:x}",
                token.group.0, token.epoch, token.position
            )?;
        }
        Ok(())
    }
}

impl FromStr for TokenSet {
    type Err = ParseTokenError;

    /// Reads what `Display` writes. The text proves nothing by itself: a client can write any it likes, so
    /// seal it before it leaves the house.
    fn from_str(text: &str) -> Result<Self, ParseTokenError> {
        let mut set = TokenSet::new();
        if text.is_empty() {
            return Ok(set);
        }
        for part in text.split('-') {
            let token = parse_token(part).ok_or(ParseTokenError(()))?;
            if !set.try_record(token) {
                return Err(ParseTokenError(()));
            }
        }
        Ok(set)
    }
}

fn parse_token(text: &str) -> Option<Token> {
    let mut fields = text.split('.');
    let group = u32::try_from(parse_hex(fields.next()?)?).ok()?;
    let (epoch, position) = (parse_hex(fields.next()?)?, parse_hex(fields.next()?)?);
    fields
        .next()
        .is_none()
        .then(|| Token::new(GroupId(group), epoch, position))
}

fn parse_hex(text: &str) -> Option<u64> {
    // `from_str_radix` takes a leading plus sign, which we never write.
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()
}

/// Text that is not a token set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseTokenError(());

impl fmt::Display for ParseTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a token set (expected group.epoch.position in hexadecimal, joined by '-')")
    }
}

impl core::error::Error for ParseTokenError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(group: u32, epoch: u64, position: u64) -> Token {
        Token::new(GroupId(group), epoch, position)
    }

    #[test]
    fn a_later_epoch_is_further_whatever_the_position() {
        let mut set = TokenSet::new();
        set.record(token(1, 1, 900));
        set.record(token(1, 2, 3));
        set.record(token(1, 1, 901));
        assert_eq!(set.get(GroupId(1)), Some(token(1, 2, 3)));
    }

    #[test]
    fn a_full_set_still_advances_the_groups_it_knows() {
        let mut set = TokenSet::new();
        for group in 0..TokenSet::MAX_GROUPS as u32 {
            set.record(token(group, 1, 1));
        }
        assert!(!set.try_record(token(1_000, 1, 1)));
        assert!(set.try_record(token(5, 1, 2)));
        assert_eq!(set.len(), TokenSet::MAX_GROUPS);
    }

    #[test]
    fn text_that_is_no_token_set_is_refused() {
        for text in [
            "-",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.g",
            "+1.2.3",
            "1..3",
            "100000000.1.1",
            "1.1.1-",
            "1.1.1 ",
        ] {
            assert!(text.parse::<TokenSet>().is_err(), "{text:?}");
        }
        assert_eq!("".parse(), Ok(TokenSet::new()));
    }
}
