//! The content of a log entry: what was executed, with its events, as protobuf written and read by hand.
//!
//! Written by hand so that requests are appended to the open entry as they execute, and read without copying; the
//! layout is ordinary protobuf (FORMAT.md), so any tool can read it. Both directions live in this file.

use onebox_service::execute::Recorded;
use onebox_service::version::FIRST_VERSION;
use onebox_service::{EventId, TenantId, Time};

use crate::requests::Retention;

/// What kind of thing a record did; the numbers are in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// A method of the service.
    Call = 0,
    /// A tenant was created: its name is the record's request, its number the answer (8 bytes, big endian).
    CreateTenant = 1,
    /// A session was opened: its number is the answer (8 bytes, big endian).
    OpenSession = 2,
    /// A session was kept alive.
    TouchSession = 3,
    /// A request was withdrawn before it took effect.
    Withdraw = 4,
    /// A version of the service's apply was put in force: its number is the record's request (4 bytes, big endian).
    Activate = 5,
    /// A tenant was placed in another partition: its name is the record's request, the partition's number the answer (8 bytes, big endian).
    PlaceTenant = 6,
}

/// One executed request, borrowing from the entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'e> {
    /// What it did.
    pub kind: RecordKind,
    /// Whose rows it wrote.
    pub tenant: TenantId,
    /// Its session; 0 for none.
    pub session: u64,
    /// Its number in the session.
    pub sequence: u64,
    /// The session's acknowledgement that came with it.
    pub acknowledged_below: u64,
    /// The method's name.
    pub method: &'e str,
    /// The request as logged: secrets cleared.
    pub request: &'e [u8],
    /// Its idempotency key; empty for none.
    pub key: &'e str,
    /// Fingerprint of method and request, where there is a key.
    pub fingerprint: u128,
    /// The encoded response.
    pub answer: &'e [u8],
    /// The encoded events, one after the other, as repeated field 7 of the record.
    events: &'e [u8],
}

impl<'e> Record<'e> {
    /// Its events, in order.
    pub fn events(&self) -> impl Iterator<Item = (EventId, &'e [u8])> + use<'e> {
        Events(Wire(self.events))
    }
}

/// The head of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its time.
    pub time: Time,
    /// The version of apply that it was executed with: the platform's part.
    pub apply_version: u32,
    /// The version of the service's apply that was in force when it began.
    pub service_version: u32,
    /// The chain before it: of the state that it was executed on.
    pub chain_before: u128,
    /// The chain after it.
    pub chain_after: u128,
    /// What `random()` drew from.
    pub seed: u64,
    /// How long what it remembers is kept.
    pub retention: Retention,
}

/// The version of the platform's part of apply that this build writes.
pub const APPLY_VERSION: u32 = 1;

/// Builds the open entry.
#[derive(Debug, Default)]
pub struct EntryWriter {
    records: Vec<u8>,
    record: Vec<u8>,
    methods: Vec<&'static str>,
}

/// What is appended for one request.
#[derive(Debug)]
pub struct NewRecord<'r> {
    /// See [`Record::kind`].
    pub kind: RecordKind,
    /// See [`Record::tenant`].
    pub tenant: TenantId,
    /// See [`Record::session`].
    pub session: u64,
    /// See [`Record::sequence`].
    pub sequence: u64,
    /// See [`Record::acknowledged_below`].
    pub acknowledged_below: u64,
    /// See [`Record::method`].
    pub method: &'static str,
    /// See [`Record::request`].
    pub request: &'r [u8],
    /// See [`Record::key`].
    pub key: &'r str,
    /// See [`Record::fingerprint`].
    pub fingerprint: u128,
    /// See [`Record::answer`].
    pub answer: &'r [u8],
}

impl EntryWriter {
    /// Bytes of the records so far.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Forgets the records, keeping the memory.
    pub fn clear(&mut self) {
        self.records.clear();
        self.methods.clear();
    }

    /// Appends one executed request.
    pub fn push(&mut self, new: &NewRecord<'_>, events: &Recorded) {
        let method = self.methods.iter().position(|name| *name == new.method).unwrap_or_else(|| {
            self.methods.push(new.method);
            self.methods.len() - 1
        });
        let out = &mut self.record;
        out.clear();
        put_number(out, 1, new.tenant.0);
        put_number(out, 2, new.session);
        put_number(out, 3, new.sequence);
        put_number(out, 4, new.acknowledged_below);
        put_number(out, 5, method as u64);
        put_bytes(out, 6, new.request);
        for (id, event) in events.iter() {
            let length = 1 + number_len(u64::from(id.0)) + 1 + number_len(event.len() as u64) + event.len();
            put_head(out, 7, length);
            put_number_always(out, 1, u64::from(id.0));
            put_head(out, 2, event.len());
            out.extend_from_slice(event);
        }
        put_bytes(out, 8, new.answer);
        put_bytes(out, 9, new.key.as_bytes());
        if !new.key.is_empty() {
            put_bytes(out, 10, &new.fingerprint.to_le_bytes());
        }
        put_number(out, 11, new.kind as u64);
        put_head(&mut self.records, 7, self.record.len());
        self.records.extend_from_slice(&self.record);
    }

    /// The whole entry; the writer is empty after.
    pub fn seal(&mut self, head: &Head) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.records.len() + 96 + 24 * self.methods.len());
        put_fixed(&mut out, 1, head.time.0);
        put_number(&mut out, 2, u64::from(head.apply_version));
        put_bytes(&mut out, 3, &head.chain_before.to_le_bytes());
        put_bytes(&mut out, 4, &head.chain_after.to_le_bytes());
        for method in self.methods.drain(..) {
            // Also the empty name of the platform's own records: records count positions in this list.
            put_head(&mut out, 5, method.len());
            out.extend_from_slice(method.as_bytes());
        }
        put_fixed(&mut out, 6, head.seed);
        put_number(&mut out, 8, head.retention.session_idle);
        put_number(&mut out, 9, head.retention.idempotency);
        if head.service_version != FIRST_VERSION {
            put_number(&mut out, 10, u64::from(head.service_version));
        }
        out.append(&mut self.records);
        out
    }
}

/// A decoded entry: its head, and its records as they are walked.
#[derive(Debug)]
pub struct Entry<'e> {
    /// Its head.
    pub head: Head,
    methods: Vec<&'e str>,
    records: &'e [u8],
}

impl<'e> Entry<'e> {
    /// Reads an entry's head and checks where its records start.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn decode(bytes: &'e [u8]) -> Result<Entry<'e>, String> {
        let mut wire = Wire(bytes);
        let retention = Retention { session_idle: 0, idempotency: 0 };
        let service_version = FIRST_VERSION;
        let head = Head { time: Time(0), apply_version: 0, service_version, chain_before: 0, chain_after: 0, seed: 0, retention };
        let mut entry = Entry { head, methods: Vec::new(), records: &[] };
        loop {
            let rest = wire.0;
            let Some((field, value)) = wire.next()? else { return Ok(entry) };
            match (field, value) {
                (1, Value::Fixed(time)) => entry.head.time = Time(time),
                (2, Value::Number(version)) => entry.head.apply_version = version as u32,
                (3, Value::Bytes(bytes)) => entry.head.chain_before = number_of_16(bytes)?,
                (4, Value::Bytes(bytes)) => entry.head.chain_after = number_of_16(bytes)?,
                (5, Value::Bytes(bytes)) => entry.methods.push(text(bytes)?),
                (6, Value::Fixed(seed)) => entry.head.seed = seed,
                (8, Value::Number(micros)) => entry.head.retention.session_idle = micros,
                (9, Value::Number(micros)) => entry.head.retention.idempotency = micros,
                (10, Value::Number(version)) => entry.head.service_version = version as u32,
                (7, Value::Bytes(_)) => {
                    entry.records = rest;
                    return Ok(entry);
                }
                (field, _) => return Err(format!("unknown field {field} in an entry")),
            }
        }
    }

    /// Its records, in order.
    pub fn records(&self) -> impl Iterator<Item = Result<Record<'e>, String>> + '_ {
        let mut wire = Wire(self.records);
        std::iter::from_fn(move || match wire.next() {
            Ok(None) => None,
            Ok(Some((7, Value::Bytes(bytes)))) => Some(self.record(bytes)),
            Ok(Some((field, _))) => Some(Err(format!("field {field} after the records of an entry"))),
            Err(error) => Some(Err(error)),
        })
    }

    fn record(&self, bytes: &'e [u8]) -> Result<Record<'e>, String> {
        let mut record = Record {
            kind: RecordKind::Call,
            tenant: TenantId(0),
            session: 0,
            sequence: 0,
            acknowledged_below: 0,
            method: "",
            request: &[],
            key: "",
            fingerprint: 0,
            answer: &[],
            events: &[],
        };
        let mut method = 0;
        let mut wire = Wire(bytes);
        let (mut events_from, mut events_len) = (None, 0);
        loop {
            let at = bytes.len() - wire.0.len();
            let Some((field, value)) = wire.next()? else { break };
            match (field, value) {
                (1, Value::Number(tenant)) => record.tenant = TenantId(tenant),
                (2, Value::Number(session)) => record.session = session,
                (3, Value::Number(sequence)) => record.sequence = sequence,
                (4, Value::Number(below)) => record.acknowledged_below = below,
                (5, Value::Number(position)) => method = position as usize,
                (6, Value::Bytes(bytes)) => record.request = bytes,
                (7, Value::Bytes(_)) => {
                    events_from.get_or_insert(at);
                    events_len = bytes.len() - wire.0.len();
                }
                (8, Value::Bytes(bytes)) => record.answer = bytes,
                (9, Value::Bytes(bytes)) => record.key = text(bytes)?,
                (10, Value::Bytes(bytes)) => record.fingerprint = number_of_16(bytes)?,
                (11, Value::Number(kind)) => record.kind = kind_of(kind)?,
                (field, _) => return Err(format!("unknown field {field} in a record")),
            }
        }
        record.events = events_from.map_or(&[], |from| &bytes[from..events_len]);
        record.method =
            self.methods.get(method).copied().ok_or_else(|| format!("a record names method {method} of {}", self.methods.len()))?;
        Ok(record)
    }
}

fn kind_of(number: u64) -> Result<RecordKind, String> {
    match number {
        0 => Ok(RecordKind::Call),
        1 => Ok(RecordKind::CreateTenant),
        2 => Ok(RecordKind::OpenSession),
        3 => Ok(RecordKind::TouchSession),
        4 => Ok(RecordKind::Withdraw),
        5 => Ok(RecordKind::Activate),
        6 => Ok(RecordKind::PlaceTenant),
        other => Err(format!("unknown kind of record {other}")),
    }
}

struct Events<'e>(Wire<'e>);

impl<'e> Iterator for Events<'e> {
    type Item = (EventId, &'e [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        // The bounds of each event were checked when its record was read; what is inside is read leniently, and an
        // event of number 0 is refused by whoever applies it.
        let (_, Value::Bytes(bytes)) = self.0.next().ok()?? else { return None };
        let (mut id, mut data): (u64, &[u8]) = (0, &[]);
        let mut wire = Wire(bytes);
        while let Ok(Some((field, value))) = wire.next() {
            match (field, value) {
                (1, Value::Number(number)) => id = number,
                (2, Value::Bytes(bytes)) => data = bytes,
                (_, _) => id = 0,
            }
        }
        Some((EventId(u32::try_from(id).unwrap_or(0)), data))
    }
}

/// A cursor over protobuf fields.
struct Wire<'e>(&'e [u8]);

enum Value<'e> {
    Number(u64),
    Fixed(u64),
    Bytes(&'e [u8]),
}

impl<'e> Wire<'e> {
    fn next(&mut self) -> Result<Option<(u64, Value<'e>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let head = self.number()?;
        let value = match head & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Fixed(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes were taken"))),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            other => return Err(format!("wire type {other}")),
        };
        Ok(Some((head >> 3, value)))
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0u64;
        for (position, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f) << (7 * position);
            if byte & 0x80 == 0 {
                self.0 = &self.0[position + 1..];
                return Ok(number);
            }
        }
        Err("a number that does not end".to_owned())
    }

    fn take(&mut self, length: u64) -> Result<&'e [u8], String> {
        let length = usize::try_from(length).ok().filter(|length| *length <= self.0.len());
        let length = length.ok_or_else(|| "a field longer than what holds it".to_owned())?;
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Ok(taken)
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "text that is not UTF-8".to_owned())
}

fn number_of_16(bytes: &[u8]) -> Result<u128, String> {
    Ok(u128::from_le_bytes(bytes.try_into().map_err(|_| format!("{} bytes where 16 belong", bytes.len()))?))
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn number_len(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_number(out: &mut Vec<u8>, field: u8, number: u64) {
    if number != 0 {
        put_number_always(out, field, number);
    }
}

fn put_number_always(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3);
    put_varint(out, number);
}

fn put_fixed(out: &mut Vec<u8>, field: u8, number: u64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_head(out: &mut Vec<u8>, field: u8, length: usize) {
    out.push(field << 3 | 2);
    put_varint(out, length as u64);
}

fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_head(out, field, bytes.len());
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
