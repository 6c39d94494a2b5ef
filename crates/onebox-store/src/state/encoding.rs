//! The bytes of the base: rows and the record about all of them, as FORMAT.md's section 'The base' lays them out.
//!
//! Pure functions of bytes; this file does not know what stores them. Whatever is read is checked: a row or a record
//! that comes out is the one that went in.

use crc_fast::{CrcAlgorithm, Digest};
use onebox_service::{Fault, FaultKind};

use super::digest::{Chain, StateDigest, row_image};
use super::{Applied, NodeId};
use crate::{LogIndex, Term};
use onebox_service::Time;

/// The file that holds the base.
pub(crate) const BASE_FILE: &str = "base.redb";

/// The version of row and record that this build writes.
pub(crate) const FORMAT_VERSION: u32 = 1;

const CHECKSUM_BYTES: usize = 4;
const FIXED_BYTES: usize = 92;
const NO_MEMBERSHIP: u32 = u32::MAX;

/// The record that is written with every change of the base, in the same durable transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) node: NodeId,
    pub(crate) applied: Applied,
    pub(crate) chain: Chain,
    pub(crate) digest: StateDigest,
    pub(crate) rows: u64,
    pub(crate) membership: Option<Vec<u8>>,
}

impl Meta {
    /// What a base holds before anything was applied.
    pub(crate) fn of_nothing(node: NodeId) -> Meta {
        let (chain, digest) = (Chain::default(), StateDigest::default());
        Meta { node, applied: Applied::default(), chain, digest, rows: 0, membership: None }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let membership = self.membership.as_deref().unwrap_or_default();
        let membership_len = u32::try_from(membership.len()).expect("a membership record is short");
        let mut out = Vec::with_capacity(FIXED_BYTES + membership.len());
        out.extend_from_slice(&[0; CHECKSUM_BYTES]);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.node.0.to_le_bytes());
        out.extend_from_slice(&self.applied.index.0.to_le_bytes());
        out.extend_from_slice(&self.applied.term.0.to_le_bytes());
        out.extend_from_slice(&self.applied.time.0.to_le_bytes());
        out.extend_from_slice(&self.chain.0.to_le_bytes());
        out.extend_from_slice(&self.digest.0.to_le_bytes());
        out.extend_from_slice(&self.rows.to_le_bytes());
        let stated = if self.membership.is_some() { membership_len } else { NO_MEMBERSHIP };
        out.extend_from_slice(&stated.to_le_bytes());
        assert_eq!(out.len(), FIXED_BYTES, "the record's fixed part is {FIXED_BYTES} bytes");
        out.extend_from_slice(membership);
        let checksum = crc_fast::crc32_iscsi(&out[CHECKSUM_BYTES..]);
        out[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Meta, Fault> {
        let damaged = |what: &str| Err(damage("read", format!("the record of the applied position: {what}")));
        let Some((checksum, rest)) = bytes.split_at_checked(CHECKSUM_BYTES) else { return damaged("it is cut short") };
        if checksum != crc_fast::crc32_iscsi(rest).to_le_bytes() {
            return damaged("its checksum differs");
        }
        let mut fields = Fields { rest };
        let version = fields.next().map(u32::from_le_bytes);
        if let Some(version) = version.filter(|version| *version != FORMAT_VERSION) {
            let detail = format!("it is of format {version}; this build reads format {FORMAT_VERSION}: start a build that reads {version}");
            return Err(Fault::new(FaultKind::Version, "open", BASE_FILE, detail));
        }
        fields.meta().map_or_else(|| damaged("its length is wrong"), Ok)
    }
}

/// The rest of a record, taken from the front.
struct Fields<'a> {
    rest: &'a [u8],
}

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*first)
    }

    fn meta(&mut self) -> Option<Meta> {
        let node = NodeId(u128::from_le_bytes(self.next()?));
        let index = LogIndex(u64::from_le_bytes(self.next()?));
        let term = Term(u64::from_le_bytes(self.next()?));
        let time = Time(u64::from_le_bytes(self.next()?));
        let chain = Chain(u128::from_le_bytes(self.next()?));
        let digest = StateDigest(u128::from_le_bytes(self.next()?));
        let rows = u64::from_le_bytes(self.next()?);
        let membership = match u32::from_le_bytes(self.next()?) {
            NO_MEMBERSHIP => None,
            len if len as usize == self.rest.len() => Some(std::mem::take(&mut self.rest).to_vec()),
            _ => return None,
        };
        self.rest.is_empty().then_some(Meta { node, applied: Applied { index, term, time }, chain, digest, rows, membership })
    }
}

/// The stored form of a row's value: the value, then the CRC32C of the row's image. `scratch` is reused.
pub(crate) fn stored_row<'s>(key: &[u8], value: &[u8], scratch: &'s mut Vec<u8>) -> &'s [u8] {
    row_image(key, value, scratch);
    let checksum = crc_fast::crc32_iscsi(scratch);
    scratch.extend_from_slice(&checksum.to_le_bytes());
    &scratch[4 + key.len()..]
}

/// The value in the stored form of the row at `key`, checked.
pub(crate) fn value_of<'s>(key: &[u8], stored: &'s [u8]) -> Result<&'s [u8], Fault> {
    let Some((value, checksum)) = stored.split_last_chunk::<CHECKSUM_BYTES>() else {
        return Err(damage("read", format!("the row at {} is cut short", describe(key))));
    };
    let mut crc = Digest::new(CrcAlgorithm::Crc32Iscsi);
    crc.update(&(key.len() as u32).to_le_bytes());
    crc.update(key);
    crc.update(value);
    let (computed, found) = (crc.finalize() as u32, u32::from_le_bytes(*checksum));
    if computed != found {
        let detail = format!("the row at {}: its checksum is {found:08x}, its bytes give {computed:08x}", describe(key));
        return Err(damage("read", detail));
    }
    Ok(value)
}

/// A fault of a base that is not this node's: whole, so that moving it aside is not the way out.
pub(crate) fn foreign(owner: NodeId, node: NodeId) -> Fault {
    let detail = format!("it belongs to node {owner}, and this is node {node}: give each node its own data directory");
    Fault::new(FaultKind::Foreign, "open", BASE_FILE, detail)
}

/// A fault of damaged bytes in the base, with the way out.
pub(crate) fn damage(operation: &'static str, detail: String) -> Fault {
    let way_out = "move it aside and start again: it is rebuilt from history and log";
    Fault::new(FaultKind::Damage, operation, BASE_FILE, format!("{detail}; {way_out}"))
}

/// A key in words: tenant, table and index where it starts with them, and the rest in hexadecimal.
pub(crate) fn describe(key: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut rest = key;
    let head: Option<Vec<u64>> = (0..3).map(|_| unpack_number(&mut rest)).collect();
    match head.as_deref() {
        Some([tenant, table, index]) => format!("tenant {tenant}, table {table}, index {index}, key {}", hex(rest)),
        Some(_) | None => format!("key {}", hex(key)),
    }
}

/// Takes one packed unsigned number: a byte 0x14 + n, then n bytes, most significant first.
fn unpack_number(rest: &mut &[u8]) -> Option<u64> {
    let (code, tail) = rest.split_first()?;
    let (number, tail) = tail.split_at_checked(usize::from(code.checked_sub(0x14).filter(|len| *len <= 8)?))?;
    *rest = tail;
    Some(number.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use onebox_service::{TenantId, keyspace};

    #[test]
    fn a_key_is_told_in_words() {
        let key = keyspace::key(TenantId(1), 300, 0, &(7u64,));
        assert_eq!(describe(&key), "tenant 1, table 300, index 0, key 1507");
        assert_eq!(describe(&[0xab, 0xcd]), "key abcd");
        assert_eq!(describe(&[]), "key ");
    }

    const GOLDEN: &str = include_str!("../../tests/golden/base-v1.txt");

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn version_1_is_written_and_read_as_it_ever_was() {
        let applied = Applied { index: LogIndex(0x0102_0304), term: Term(5), time: Time(1_700_000_000_000_000) };
        let (chain, digest) = (Chain(u128::MAX - 1), StateDigest(0x1122_3344));
        let none = Meta { node: NodeId(7 << 100), applied, chain, digest, rows: 9, membership: None };
        let some = Meta { membership: Some(vec![0xaa, 0xbb]), ..none.clone() };
        let key = keyspace::key(TenantId(1), 300, 0, &("name",));
        let mut scratch = Vec::new();
        let row = stored_row(&key, b"value", &mut scratch);
        assert_eq!(value_of(&key, row), Ok(&b"value"[..]));
        let written = format!("key {}\nrow {}\nrecord {}\nrecord {}\n", hex(&key), hex(row), hex(&none.encode()), hex(&some.encode()));
        assert_eq!(written, GOLDEN);
        assert_eq!([Meta::decode(&none.encode()), Meta::decode(&some.encode())], [Ok(none), Ok(some)]);
    }

    #[test]
    fn a_record_comes_back_as_it_went_in_and_every_flipped_bit_is_seen() {
        for membership in [None, Some(vec![]), Some(vec![1, 2, 3])] {
            let applied = Applied { index: LogIndex(7), term: Term(2), time: Time(99) };
            let meta = Meta { applied, rows: 3, membership, ..Meta::of_nothing(NodeId(5)) };
            let bytes = meta.encode();
            assert_eq!(Meta::decode(&bytes), Ok(meta));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Meta::decode(&flipped).unwrap_err().kind, FaultKind::Damage, "bit {bit}");
            }
            for len in 0..bytes.len() {
                assert!(Meta::decode(&bytes[..len]).is_err(), "cut to {len} bytes");
            }
        }
    }

    #[test]
    fn a_newer_record_is_a_matter_of_version() {
        let mut bytes = Meta::of_nothing(NodeId(5)).encode();
        bytes[4..8].copy_from_slice(&2u32.to_le_bytes());
        let checksum = crc_fast::crc32_iscsi(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        assert_eq!(Meta::decode(&bytes).unwrap_err().kind, FaultKind::Version);
    }
}
