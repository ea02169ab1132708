//! The words of commands.

use std::io::Write;

use redis::{RedisWrite, ToRedisArgs};

/// One word in several pieces, which are written one behind the other into the command and nowhere before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined<'a, const N: usize>(pub(super) [&'a [u8]; N]);

impl<const N: usize> Joined<'_, N> {
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }
}

impl<const N: usize> ToRedisArgs for Joined<'_, N> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut word = out.writer_for_next_arg();
        for piece in self.0 {
            // A command is in memory, which takes all.
            let _ = word.write_all(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_one_word() {
        let word = Joined([b"new:", b"", b"17"]);
        assert_eq!(word.len(), 6);
        let mut command = redis::cmd("SET");
        command.arg(word).arg(Joined([])).arg("x");
        assert_eq!(
            command.get_packed_command(),
            b"*4\r\n$3\r\nSET\r\n$6\r\nnew:17\r\n$0\r\n\r\n$1\r\nx\r\n"
        );
    }
}
