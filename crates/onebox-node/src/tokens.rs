//! Position tokens, as callers see them: opaque text that names a partition's log and an index in it.

use onebox_store::LogIndex;
use onebox_store::names::NodeId;

/// Writes and reads the tokens of one installation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    /// Tells tokens of one installation from those of another.
    mark: u16,
}

impl Tokens {
    /// Of the node that began the installation.
    pub(crate) fn of(first: NodeId) -> Tokens {
        Tokens { mark: (first.0 >> 64) as u16 }
    }

    pub(crate) fn write(self, partition: u32, index: LogIndex) -> String {
        format!("{:04x}-{partition:x}-{:x}", self.mark, index.0)
    }

    /// The partition and the index, if the token is one of this installation.
    pub(crate) fn read(self, token: &str) -> Option<(u32, LogIndex)> {
        let mut parts = token.split('-').skip(1);
        let partition = u32::from_str_radix(parts.next()?, 16).ok()?;
        let index = LogIndex(u64::from_str_radix(parts.next()?, 16).ok()?);
        // Comparing with what would be written refuses every other spelling too.
        (parts.next().is_none() && self.write(partition, index) == token).then_some((partition, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_no_other_does() {
        let tokens = Tokens::of(NodeId(0x1234 << 64));
        let token = tokens.write(10, LogIndex(77));
        assert_eq!(token, "1234-a-4d");
        assert_eq!(tokens.read(&token), Some((10, LogIndex(77))));
        for other in ["", "4d", "1234-0-4D", "1234-0-04d", "1234-01-4d", "1235-0-4d", "1234-0-4d-", "1234-0-+4d"] {
            assert_eq!(tokens.read(other), None, "{other}");
        }
    }
}
