//! Tests of the entry's bytes: against themselves, against protobuf as FORMAT.md has it, against damage, and as they are.

use std::borrow::Cow;

use expect_test::expect;
use onebox_service::execute;
use onebox_service::keyspace::EachRow;
use onebox_service::{Apply, BadRequest, Event, Fault, Keyspace, KeyspaceMut, MethodId, Outcome, Reader, Rows, Schema, Service, Tx};
use prost::Message as _;

use super::*;

/// The messages of FORMAT.md, read and written by a library that knows nothing of this file.
mod by_format {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Entry {
        #[prost(fixed64, tag = "1")]
        pub(super) time: u64,
        #[prost(uint32, tag = "2")]
        pub(super) apply_version: u32,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) chain_before: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")]
        pub(super) chain_after: Vec<u8>,
        #[prost(string, repeated, tag = "5")]
        pub(super) methods: Vec<String>,
        #[prost(fixed64, tag = "6")]
        pub(super) seed: u64,
        #[prost(uint64, tag = "8")]
        pub(super) session_idle: u64,
        #[prost(uint64, tag = "9")]
        pub(super) idempotency: u64,
        #[prost(uint32, tag = "10")]
        pub(super) service_version: u32,
        #[prost(message, repeated, tag = "7")]
        pub(super) records: Vec<Record>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Record {
        #[prost(uint64, tag = "1")]
        pub(super) tenant: u64,
        #[prost(uint64, tag = "2")]
        pub(super) session: u64,
        #[prost(uint64, tag = "3")]
        pub(super) sequence: u64,
        #[prost(uint64, tag = "4")]
        pub(super) acknowledged_below: u64,
        #[prost(uint32, tag = "5")]
        pub(super) method: u32,
        #[prost(bytes = "vec", tag = "6")]
        pub(super) request: Vec<u8>,
        #[prost(message, repeated, tag = "7")]
        pub(super) events: Vec<Event>,
        #[prost(bytes = "vec", tag = "8")]
        pub(super) answer: Vec<u8>,
        #[prost(string, tag = "9")]
        pub(super) key: String,
        #[prost(bytes = "vec", tag = "10")]
        pub(super) fingerprint: Vec<u8>,
        #[prost(uint32, tag = "11")]
        pub(super) kind: u32,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Event {
        #[prost(uint32, tag = "1")]
        pub(super) id: u32,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) data: Vec<u8>,
    }
}

/// Numbers drawn from a seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Small and large numbers, and those at the ends of their encodings.
    fn number(&mut self) -> u64 {
        let bits = self.below(65) as u32;
        let number = self.below(u64::MAX);
        if bits == 0 { 0 } else { number >> (64 - bits) }
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = [0, 1, 5, 127, 128, 300, 20_000][self.below(7) as usize];
        (0..length).map(|_| self.below(256) as u8).collect()
    }

    fn record(&mut self, methods: u64) -> by_format::Record {
        let key = if self.below(2) == 0 { String::new() } else { "ключ ".repeat(1 + self.below(4) as usize) };
        let fingerprint = if key.is_empty() { Vec::new() } else { (0..16).map(|_| self.below(256) as u8).collect() };
        let events = (0..self.below(4)).map(|_| by_format::Event { id: EVENTS[self.below(5) as usize], data: self.bytes() });
        let events = events.collect();
        by_format::Record {
            tenant: self.number(),
            session: self.number(),
            sequence: self.number(),
            acknowledged_below: self.number(),
            method: self.below(methods) as u32,
            request: self.bytes(),
            events,
            answer: self.bytes(),
            key,
            fingerprint,
            kind: self.below(4) as u32,
        }
    }

    fn entry(&mut self) -> by_format::Entry {
        let records: Vec<_> = (0..1 + self.below(5)).map(|_| self.record(3)).collect();
        // The writer lists methods in the order in which records first name them.
        let mut order: Vec<u32> = Vec::new();
        let records = records.into_iter().map(|record| {
            let position = order.iter().position(|method| *method == record.method).unwrap_or_else(|| {
                order.push(record.method);
                order.len() - 1
            });
            by_format::Record { method: position as u32, ..record }
        });
        let records = records.collect();
        by_format::Entry {
            time: self.number(),
            apply_version: 1,
            service_version: [0, 2, u32::MAX][self.below(3) as usize],
            chain_before: (0..16).map(|_| 1 + self.below(255) as u8).collect(),
            chain_after: (0..16).map(|_| 1 + self.below(255) as u8).collect(),
            methods: order.iter().map(|method| METHODS[*method as usize].to_owned()).collect(),
            seed: self.number(),
            session_idle: self.number(),
            idempotency: self.number(),
            records,
        }
    }
}

const METHODS: [&str; 3] = ["", "Set", "AMethodWithALongName"];

/// The numbers of events: at the ends of their encodings.
const EVENTS: [u32; 5] = [1, 127, 128, 300, u32::MAX];

/// Events with any data, recorded as a feature records them.
fn recorded(events: &[by_format::Event]) -> Recorded {
    let mut recorded = Recorded::default();
    let request = by_format::Record { events: events.to_vec(), ..by_format::Record::default() }.encode_to_vec();
    let budget = crate::Limits::default().budget;
    let context = execute::Context { tenant: TenantId(1), now: Time(0), seed: 0, budget };
    execute::execute(&Recorder, MethodId(0), &request, &mut NoRows, &context, &mut recorded).expect("it only records");
    recorded
}

/// An event whose encoding is any bytes.
#[derive(Debug, Default)]
struct Raw<const ID: u32>(Vec<u8>);

impl<const ID: u32> prost::Message for Raw<ID> {
    fn encode_raw(&self, buf: &mut impl prost::bytes::BufMut) {
        buf.put_slice(&self.0);
    }
    fn merge_field(
        &mut self,
        _: u32,
        _: prost::encoding::WireType,
        _: &mut impl prost::bytes::Buf,
        _: prost::encoding::DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        unreachable!("nothing decodes it")
    }
    fn encoded_len(&self) -> usize {
        self.0.len()
    }
    fn clear(&mut self) {}
}

impl<const NUMBER: u32> Event for Raw<NUMBER> {
    const ID: EventId = EventId(NUMBER);
    const NAME: &'static str = "Raw";
    fn new_ids(&self, _: &mut dyn FnMut(u64)) {}
}

impl<const NUMBER: u32> Apply for Raw<NUMBER> {
    fn apply(self, _: &mut Rows<'_>) {}
}

struct Recorder;

impl Service for Recorder {
    fn execute(&self, _: MethodId, tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        for event in by_format::Record::decode(request).expect("the test encoded it").events {
            match event.id {
                1 => tx.record(Raw::<1>(event.data)),
                127 => tx.record(Raw::<127>(event.data)),
                128 => tx.record(Raw::<128>(event.data)),
                300 => tx.record(Raw::<300>(event.data)),
                u32::MAX => tx.record(Raw::<{ u32::MAX }>(event.data)),
                other => panic!("event {other} is not among the tests' numbers"),
            }
        }
        Ok(Vec::new())
    }
    fn schema(&self) -> &'static Schema {
        unreachable!("the tests record and nothing else")
    }
    fn query(&self, _: MethodId, _: &Reader<'_>, _: &[u8]) -> Outcome<Vec<u8>> {
        unreachable!("the tests record and nothing else")
    }
    fn apply(&self, _: EventId, _: &[u8], _: &mut Rows<'_>) -> Result<(), String> {
        unreachable!("the tests record and nothing else")
    }
    fn request_from_json(&self, _: MethodId, _: &[u8], _: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("the tests record and nothing else")
    }
    fn request_from_binary(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, BadRequest> {
        unreachable!("the tests record and nothing else")
    }
    fn loggable_request<'r>(&self, _: MethodId, _: &'r [u8]) -> Cow<'r, [u8]> {
        unreachable!("the tests record and nothing else")
    }
    fn loggable_response<'r>(&self, _: MethodId, _: &'r [u8]) -> Cow<'r, [u8]> {
        unreachable!("the tests record and nothing else")
    }
    fn response_to_json(&self, _: MethodId, _: &[u8]) -> Result<Vec<u8>, String> {
        unreachable!("the tests record and nothing else")
    }
    fn specs(&self) -> Vec<onebox_service::Spec> {
        Vec::new()
    }
    fn refusal_to_json(&self, _: &str, _: &[u8]) -> Option<Vec<u8>> {
        unreachable!("the tests record and nothing else")
    }
}

struct NoRows;

impl Keyspace for NoRows {
    fn get(&self, _: &[u8]) -> Result<Option<onebox_service::Bytes>, Fault> {
        Ok(None)
    }
    fn scan(&self, _: &[u8], _: &[u8], _: &mut EachRow<'_>) -> Result<(), Fault> {
        Ok(())
    }
}

impl KeyspaceMut for NoRows {
    fn put(&mut self, _: &[u8], _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
    fn delete(&mut self, _: &[u8]) -> Result<(), Fault> {
        Ok(())
    }
}

/// The entry as this file's writer writes it.
fn written(entry: &by_format::Entry) -> Vec<u8> {
    let mut writer = EntryWriter::default();
    for record in &entry.records {
        let name = METHODS.iter().find(|name| **name == entry.methods[record.method as usize]).expect("a known method");
        let new = NewRecord {
            kind: kind_of(u64::from(record.kind)).expect("a known kind"),
            tenant: TenantId(record.tenant),
            session: record.session,
            sequence: record.sequence,
            acknowledged_below: record.acknowledged_below,
            method: name,
            request: &record.request,
            key: &record.key,
            fingerprint: number_of_16(&record.fingerprint).unwrap_or(0),
            answer: &record.answer,
        };
        writer.push(&new, &recorded(&record.events));
    }
    let head = Head {
        time: Time(entry.time),
        apply_version: entry.apply_version,
        service_version: entry.service_version.max(1),
        chain_before: number_of_16(&entry.chain_before).expect("16 bytes"),
        chain_after: number_of_16(&entry.chain_after).expect("16 bytes"),
        seed: entry.seed,
        retention: Retention { session_idle: entry.session_idle, idempotency: entry.idempotency },
    };
    let bytes = writer.seal(&head);
    assert_eq!(writer.len(), 0, "a sealed writer is empty");
    bytes
}

/// The entry as this file's reader reads it.
fn read(bytes: &[u8]) -> Result<by_format::Entry, String> {
    let entry = Entry::decode(bytes)?;
    let mut records = Vec::new();
    for record in entry.records() {
        let record = record?;
        let method = entry.methods.iter().position(|name| *name == record.method).expect("its method is listed");
        let events = record.events().map(|(id, data)| by_format::Event { id: id.0, data: data.to_vec() });
        let fingerprint = if record.key.is_empty() { Vec::new() } else { record.fingerprint.to_le_bytes().to_vec() };
        records.push(by_format::Record {
            tenant: record.tenant.0,
            session: record.session,
            sequence: record.sequence,
            acknowledged_below: record.acknowledged_below,
            method: method as u32,
            request: record.request.to_vec(),
            events: events.collect(),
            answer: record.answer.to_vec(),
            key: record.key.to_owned(),
            fingerprint,
            kind: record.kind as u32,
        });
    }
    let Head { time, apply_version, service_version, chain_before, chain_after, seed, retention } = entry.head;
    Ok(by_format::Entry {
        time: time.0,
        apply_version,
        // The first is not written.
        service_version: if service_version == 1 { 0 } else { service_version },
        chain_before: chain_before.to_le_bytes().to_vec(),
        chain_after: chain_after.to_le_bytes().to_vec(),
        methods: entry.methods.iter().map(|name| (*name).to_owned()).collect(),
        seed,
        session_idle: retention.session_idle,
        idempotency: retention.idempotency,
        records,
    })
}

#[test]
fn entries_are_read_as_they_were_written_here_and_by_any_protobuf() {
    for seed in 1..=300 {
        let entry = Chance(seed).entry();
        let bytes = written(&entry);
        assert_eq!(read(&bytes).as_ref(), Ok(&entry), "seed {seed}: by this reader");
        assert_eq!(by_format::Entry::decode(&bytes[..]).as_ref(), Ok(&entry), "seed {seed}: by the messages of FORMAT.md");
    }
}

#[test]
fn a_writer_is_used_again_and_again() {
    let mut writer = EntryWriter::default();
    let retention = Retention { session_idle: 0, idempotency: 0 };
    let head = Head { time: Time(1), apply_version: 1, service_version: 1, chain_before: 2, chain_after: 3, seed: 4, retention };
    let mut new = NewRecord {
        kind: RecordKind::Call,
        tenant: TenantId(1),
        session: 1,
        sequence: 1,
        acknowledged_below: 0,
        method: "Set",
        request: &[],
        key: "",
        fingerprint: 0,
        answer: &[],
    };
    writer.push(&new, &Recorded::default());
    let first = writer.seal(&head);
    new.method = "Get";
    writer.push(&new, &Recorded::default());
    let second = writer.seal(&head);
    let methods = [first, second].map(|bytes| read(&bytes).expect("it is whole").methods);
    assert_eq!(methods, [["Set"], ["Get"]], "names of the entry before are forgotten");
}

#[test]
fn an_entry_cut_anywhere_is_refused_or_ends_at_a_record() {
    let entry = Chance(77).entry();
    let bytes = written(&entry);
    let mut whole = 0;
    for length in 0..bytes.len() {
        if let Ok(cut) = read(&bytes[..length]) {
            whole += 1;
            assert!(cut.records.len() < entry.records.len() && entry.records.starts_with(&cut.records), "cut at {length}");
        }
    }
    // Between fields of the head, and between records; the log's own checksum keeps a cut entry from getting here.
    assert!(whole < 20, "{whole} cuts are not noticed");
}

#[test]
fn flipped_bits_never_panic() {
    let mut refused = 0;
    for seed in 500..540 {
        let mut chance = Chance(seed);
        let bytes = written(&chance.entry());
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..=chance.below(3) {
                // Near the front as often as anywhere: there the structure is.
                let reach = if chance.below(2) == 0 { 120.min(damaged.len()) } else { damaged.len() };
                damaged[chance.below(reach as u64) as usize] ^= 1 << chance.below(8);
            }
            refused += usize::from(read(&damaged).is_err());
        }
    }
    assert!(refused > 1000, "{refused} of 16,000 were noticed");
}

#[test]
fn what_this_version_does_not_write_is_refused() {
    #[track_caller]
    fn check(entry: &by_format::Entry, also: &[u8], words: &str) {
        let bytes = [&entry.encode_to_vec(), also].concat();
        assert_eq!(read(&bytes), Err(words.to_owned()));
    }
    let sound = Chance(3).entry();
    let with = |change: &dyn Fn(&mut by_format::Record)| {
        let mut entry = sound.clone();
        change(entry.records.last_mut().expect("it has a record"));
        // Records come last in what is written; the library sorts by number, so the head's late fields go.
        by_format::Entry { session_idle: 0, idempotency: 0, service_version: 0, ..entry }
    };
    check(&with(&|record| record.kind = 7), &[], "unknown kind of record 7");
    check(&with(&|record| record.method = 9), &[], &format!("a record names method 9 of {}", sound.methods.len()));
    check(&with(&|record| record.fingerprint = vec![1; 15]), &[], "15 bytes where 16 belong");
    check(&with(&|_| {}), &[0x60, 1], "field 12 after the records of an entry");
    check(&by_format::Entry { records: Vec::new(), ..sound.clone() }, &[0x60, 1], "unknown field 12 in an entry");
    check(&with(&|_| {}), &[0x3a, 2, 0x60, 1], "unknown field 12 in a record");
    check(&with(&|_| {}), &[0x3d, 0, 0, 0, 0], "wire type 5");
    check(&with(&|_| {}), &[0xff; 10], "a number that does not end");
    check(&with(&|_| {}), &[0x3a, 5, 1], "a field longer than what holds it");
    check(&with(&|_| {}), &[0x3a, 3, 0x4a, 1, 0xff], "text that is not UTF-8");
}

#[test]
fn golden_bytes() {
    let event = |id, data: &[u8]| by_format::Event { id, data: data.to_vec() };
    let nothing = by_format::Record::default();
    let call = by_format::Record {
        tenant: 1,
        session: 2,
        sequence: 300,
        acknowledged_below: 299,
        method: 1,
        request: b"request".to_vec(),
        events: vec![event(1, b"event"), event(300, b"")],
        answer: b"answer".to_vec(),
        key: "key".to_owned(),
        fingerprint: (1..=16).collect(),
        ..nothing.clone()
    };
    let opened = by_format::Record { answer: 7u64.to_be_bytes().to_vec(), kind: 2, ..nothing };
    let entry = by_format::Entry {
        time: 1_700_000_000_000_000,
        apply_version: 1,
        service_version: 0,
        chain_before: vec![0xaa; 16],
        chain_after: vec![0xbb; 16],
        methods: ["", "Set"].map(str::to_owned).to_vec(),
        seed: 0x0102_0304_0506_0708,
        session_idle: 3_600_000_000,
        idempotency: 86_400_000_000,
        records: vec![opened, call],
    };
    let hex: Vec<String> = written(&entry).chunks(32).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    expect![[r#"
        0900401e18240a060010011a10aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2210bb
        bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb2a002a0353657431080706050403020140
        80c8ceb40d4880c0ddeec1023a0c4208000000000000000758023a4608011002
        18ac0220ab0228013207726571756573743a09080112056576656e743a0508ac
        0212004206616e737765724a036b657952100102030405060708090a0b0c0d0e
        0f10"#]]
    .assert_eq(&hex.join("\n"));
}
