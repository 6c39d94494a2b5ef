//! The values of the platform's own rows, as bytes. Layouts are in FORMAT.md; numbers are little endian.
//!
//! These bytes come from rows whose checksums were verified, so one that does not decode is a bug and panics.

use onebox_service::Time;

/// A session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionRow {
    /// No request below this is answered again.
    pub(crate) acknowledged_below: u64,
    /// Every row of answers is at or above this; what was removed below need not be walked over. Never above
    /// `acknowledged_below`, because a row may still come at any sequence from there on.
    pub(crate) answers_from: u64,
    /// When it expires.
    pub(crate) expires: Time,
}

impl SessionRow {
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.acknowledged_below.to_le_bytes());
        out[8..16].copy_from_slice(&self.answers_from.to_le_bytes());
        out[16..].copy_from_slice(&self.expires.0.to_le_bytes());
        out
    }

    pub(crate) fn decode(value: &[u8]) -> SessionRow {
        let mut rest = value;
        SessionRow { acknowledged_below: take_u64(&mut rest), answers_from: take_u64(&mut rest), expires: Time(take_u64(&mut rest)) }
    }
}

/// What an idempotency key was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) fingerprint: u128,
    pub(crate) expires: Time,
    pub(crate) answer: Vec<u8>,
}

impl KeyRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.answer.len());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.expires.0.to_le_bytes());
        out.extend_from_slice(&self.answer);
        out
    }

    pub(crate) fn decode(value: &[u8]) -> KeyRow {
        let mut rest = value;
        let fingerprint = u128::from_le_bytes(take(&mut rest, 16).try_into().expect("16 bytes were taken"));
        KeyRow { fingerprint, expires: Time(take_u64(&mut rest)), answer: rest.to_vec() }
    }
}

/// One of the answers in a row of answers: sequence, method's name, response, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerRow {
    pub(crate) method: String,
    pub(crate) answer: Vec<u8>,
}

impl AnswerRow {
    /// Appends an answer to a row.
    pub(crate) fn append(row: &mut Vec<u8>, sequence: u64, method: &str, answer: &[u8]) {
        row.extend_from_slice(&sequence.to_le_bytes());
        row.extend_from_slice(&(method.len() as u16).to_le_bytes());
        row.extend_from_slice(method.as_bytes());
        row.extend_from_slice(&(answer.len() as u32).to_le_bytes());
        row.extend_from_slice(answer);
    }

    /// The answer to `sequence`, if it is in the row.
    pub(crate) fn find(row: &[u8], sequence: u64) -> Option<AnswerRow> {
        each(row)
            .find(|(number, _, _)| *number == sequence)
            .map(|(_, method, answer)| AnswerRow { method: String::from_utf8_lossy(method).into_owned(), answer: answer.to_vec() })
    }

    /// The sequences in a row, in the order in which they took effect.
    pub(crate) fn sequences(row: &[u8]) -> impl Iterator<Item = u64> {
        each(row).map(|(sequence, _, _)| sequence)
    }

    /// The highest sequence in a row; 0 for an empty one.
    pub(crate) fn highest(row: &[u8]) -> u64 {
        AnswerRow::sequences(row).max().unwrap_or(0)
    }
}

fn each(row: &[u8]) -> impl Iterator<Item = (u64, &[u8], &[u8])> {
    let mut rest = row;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let sequence = take_u64(&mut rest);
        let method_len = u16::from_le_bytes(take(&mut rest, 2).try_into().expect("2 bytes were taken"));
        let method = take(&mut rest, usize::from(method_len));
        let answer_len = u32::from_le_bytes(take(&mut rest, 4).try_into().expect("4 bytes were taken"));
        Some((sequence, method, take(&mut rest, answer_len as usize)))
    })
}

fn take<'r>(rest: &mut &'r [u8], length: usize) -> &'r [u8] {
    assert!(length <= rest.len(), "a platform row ends early: {length} bytes wanted, {} left", rest.len());
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn take_u64(rest: &mut &[u8]) -> u64 {
    u64::from_le_bytes(take(rest, 8).try_into().expect("8 bytes were taken"))
}
