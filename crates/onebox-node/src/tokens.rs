//! Position tokens, as callers see them: opaque text that names a partition's log and an index in it.

use onebox_store::LogIndex;
use onebox_store::names::NodeId;

use crate::link::PARTITION;

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

    pub(crate) fn write(self, index: LogIndex) -> String {
        format!("{:04x}-{PARTITION:x}-{:x}", self.mark, index.0)
    }

    /// The index, if the token is one of this installation.
    pub(crate) fn read(self, token: &str) -> Option<LogIndex> {
        let mut parts = token.split('-');
        let index = parts.nth(2)?;
        let index = LogIndex(u64::from_str_radix(index, 16).ok()?);
        // Comparing with what would be written refuses every other spelling too.
        (parts.next().is_none() && self.write(index) == token).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_and_no_other_does() {
        let tokens = Tokens::of(NodeId(0x1234 << 64));
        let token = tokens.write(LogIndex(77));
        assert_eq!(token, "1234-0-4d");
        assert_eq!(tokens.read(&token), Some(LogIndex(77)));
        for other in ["", "4d", "1234-0-4D", "1234-0-04d", "1234-1-4d", "1235-0-4d", "1234-0-4d-", "1234-0-+4d"] {
            assert_eq!(tokens.read(other), None, "{other}");
        }
    }
}
