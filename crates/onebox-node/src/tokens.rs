//! Position tokens and request ids, as callers see them: opaque text that names a partition, and an index or a request in it.

use onebox_service::attempt::RequestId;
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

/// A request's id, as callers are told it. Sessions are numbered by each partition on its own.
pub(crate) fn request_id(partition: u32, partitions: u32, id: RequestId) -> String {
    if partitions == 1 { id.to_string() } else { format!("p{partition:x}-{id}") }
}

/// The partition and the request that an id names.
pub(crate) fn parse_request_id(text: &str, partitions: u32) -> Option<(u32, RequestId)> {
    if partitions == 1 {
        return Some((0, RequestId::parse(text)?));
    }
    let (partition, id) = text.strip_prefix('p')?.split_once('-')?;
    let partition = u32::from_str_radix(partition, 16).ok().filter(|partition| *partition < partitions)?;
    let id = RequestId::parse(id)?;
    // Comparing with what would be written refuses every other spelling too.
    (request_id(partition, partitions, id) == text).then_some((partition, id))
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
