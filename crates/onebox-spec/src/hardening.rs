//! The ways of running a spec that must make no difference. Each is a promise of the platform, or a duty of the author's
//! `apply`, tried on the author's own examples; together they take well under a millisecond a spec.
//!
//! A mode takes back what it did before the next one begins, and so do those that end early.

use std::borrow::Cow;

use onebox_service::Fact;
use onebox_service::spec::{Spec, Then};
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};
use prost_reflect::{Kind, MessageDescriptor};

use crate::run::{Mode, Problem, Runner, Verdict};
use crate::stage::{AS_GIVEN, Home, TenantRows};
use crate::{Catalogue, Mistake, Stage};

/// The tenant in which the same goes on beside a spec.
const NEIGHBOUR: &str = "a-neighbour-of-the-spec";
/// Numbers that protobuf keeps from every schema: no message has these fields.
const NEWER_NUMBER: u32 = 19_998;
const NEWER_TEXT: u32 = 19_999;

/// What a spec did when it was run entry by entry.
struct Record {
    given: Option<Vec<u8>>,
    asked: Option<Vec<u8>>,
    digests: (u128, u128),
    rows: TenantRows,
}

/// Runs a spec in every mode but the plain one, in which it ended with `got`.
pub(crate) fn run(runner: &mut Runner, spec: &Spec, got: &Then) -> Verdict {
    let record = twice(runner, spec, got);
    runner.stage.clear();
    let record = record?;
    let replayed = replayed(runner, spec, got, &record);
    runner.twin.clear();
    replayed?;
    let newer = newer_fields(runner, spec, got, &record);
    runner.stage.clear();
    newer?;
    restarted(runner, spec, got, &record)?;
    for (name, other) in [(&*spec.tenant, NEIGHBOUR), (NEIGHBOUR, &*spec.tenant)] {
        let beside = beside(runner, spec, got, (name, other), &record);
        runner.stage.clear();
        beside?;
    }
    Ok(())
}

/// Sends the request again, while its entry is open and after: the same answer, and nothing more happens.
fn twice(runner: &mut Runner, spec: &Spec, got: &Then) -> Result<Record, Box<Problem>> {
    let mode = Mode::Twice;
    let (mistake, fault) = (Problem::mistake(mode), Problem::fault(mode));
    let home = runner.stage.set_up(spec, AS_GIVEN).map_err(&mistake)?;
    let given = runner.stage.seal().map_err(&fault)?;
    let first = runner.stage.ask(spec, &home).map_err(&mistake)?;
    runner.compare(mode, spec, got, first)?;
    let rows = runner.stage.rows(home.tenant).map_err(&fault)?;
    let expected = repeated(runner, spec, got);
    let again = runner.stage.ask(spec, &home).map_err(&mistake)?;
    runner.compare(mode, spec, &expected, again)?;
    let asked = runner.stage.seal().map_err(&fault)?;
    let digests = runner.stage.digests();
    let again = runner.stage.ask(spec, &home).map_err(&mistake)?;
    runner.compare(mode, spec, &expected, again)?;
    unchanged(runner, mode, &rows, &runner.stage.rows(home.tenant).map_err(&fault)?)?;
    Ok(Record { given, asked, digests, rows })
}

/// What a request is answered that took effect before: the same, but for what may not be stored.
fn repeated(runner: &Runner, spec: &Spec, got: &Then) -> Then {
    match got {
        Then::Returns { response, events } if !events.is_empty() => {
            Then::Returns { response: runner.service.loggable_response(spec.method, response).into_owned(), events: Vec::new() }
        }
        Then::Returns { .. } | Then::Refused(_) => got.clone(),
    }
}

/// Applies the entries to a state that executed none of it: the same chain and digest.
fn replayed(runner: &mut Runner, spec: &Spec, got: &Then, record: &Record) -> Verdict {
    let mode = Mode::Replayed;
    let mistake = Problem::mistake(mode);
    let home = set_up_from(&mut runner.twin, spec, record.given.as_deref()).map_err(&mistake)?;
    match &record.asked {
        Some(entry) => runner.twin.replay(entry).map_err(&mistake)?,
        None => {
            let told = runner.twin.ask(spec, &home).map_err(&mistake)?;
            runner.compare(mode, spec, got, told)?;
        }
    }
    if runner.twin.digests() != record.digests {
        return Err(Box::new(Problem::words(mode, "the replay leads to another state than the request did")));
    }
    Ok(())
}

/// Lets happen what is given by replaying its entry. A counter that the spec sets is in no entry, so it is set up anew.
fn set_up_from(stage: &mut Stage, spec: &Spec, given: Option<&[u8]>) -> Result<Home, Mistake> {
    if spec.next_id.is_some() {
        let home = stage.set_up(spec, AS_GIVEN)?;
        stage.seal()?;
        return Ok(home);
    }
    stage.begin(spec);
    if let Some(entry) = given {
        stage.replay(entry)?;
    }
    stage.home(&spec.tenant, 0)
}

/// Gives the events as a newer schema might have recorded them.
fn newer_fields(runner: &mut Runner, spec: &Spec, got: &Then, record: &Record) -> Verdict {
    let mode = Mode::NewerFields;
    let (mistake, fault) = (Problem::mistake(mode), Problem::fault(mode));
    let catalogue = runner.catalogue.clone();
    let home = runner.stage.set_up(spec, &|fact| Cow::Owned(newer(&catalogue, fact))).map_err(&mistake)?;
    let told = runner.stage.ask(spec, &home).map_err(&mistake)?;
    runner.compare(mode, spec, got, told)?;
    unchanged(runner, mode, &record.rows, &runner.stage.rows(home.tenant).map_err(&fault)?)
}

/// Replays what is given, commits it, reads it as readers do, writes it to the base and starts again from there.
fn restarted(runner: &Runner, spec: &Spec, got: &Then, record: &Record) -> Verdict {
    let mode = Mode::Restarted;
    let (mistake, fault) = (Problem::mistake(mode), Problem::fault(mode));
    let mut stage = Stage::new(runner.service.clone()).map_err(&fault)?;
    let home = set_up_from(&mut stage, spec, record.given.as_deref()).map_err(&mistake)?;
    let view = stage.commit(spec);
    let reads = runner.catalogue.schema.info(spec.method).read_only;
    if reads {
        runner.compare(mode, spec, got, stage.ask_view(spec, &home, &view).map_err(&mistake)?)?;
    }
    drop(view);
    let mut stage = stage.restarted(spec).map_err(&fault)?;
    let told = stage.ask(spec, &home).map_err(&mistake)?;
    runner.compare(mode, spec, got, told)?;
    unchanged(runner, mode, &record.rows, &stage.rows(home.tenant).map_err(&fault)?)
}

/// Runs the spec in the tenant `name` while the same goes on in `other`, step by step: neither sees the other.
fn beside(runner: &mut Runner, spec: &Spec, got: &Then, (name, other): (&str, &str), record: &Record) -> Verdict {
    let mode = Mode::BesideATenant;
    let (mistake, fault) = (Problem::mistake(mode), Problem::fault(mode));
    let stage = &mut runner.stage;
    stage.begin(spec);
    let homes = [stage.home(name, 0).map_err(&mistake)?, stage.home(other, 1).map_err(&mistake)?];
    for position in 0..spec.given.len() {
        for home in &homes {
            stage.given(spec, home, position..position + 1, AS_GIVEN).map_err(&mistake)?;
        }
    }
    for home in &homes {
        stage.set_counter(spec, home).map_err(&mistake)?;
    }
    let [home, other] = &homes;
    let others_before = stage.rows(other.tenant).map_err(&fault)?;
    let told = stage.ask(spec, home).map_err(&mistake)?;
    let others_after = stage.rows(other.tenant).map_err(&fault)?;
    // The other tenant's request draws other random numbers, so only its absence from this tenant is looked at.
    stage.ask(spec, other).map_err(&mistake)?;
    let rows = stage.rows(home.tenant).map_err(&fault)?;
    runner.compare(mode, spec, got, told)?;
    unchanged(runner, mode, &others_before, &others_after)?;
    unchanged(runner, mode, &record.rows, &rows)
}

fn unchanged(runner: &Runner, mode: Mode, expected: &TenantRows, got: &TenantRows) -> Verdict {
    if expected == got {
        return Ok(());
    }
    let differs = |one: &TenantRows, other: &TenantRows| one.iter().find(|row| !other.contains(row)).map(|row| row.0.clone());
    let key = differs(expected, got).or_else(|| differs(got, expected)).unwrap_or_default();
    Err(Box::new(Problem::words(mode, format!("other rows are there afterwards: {} differs", table_of(&runner.catalogue, &key)))))
}

/// Says which table a key without its tenant is of.
fn table_of(catalogue: &Catalogue, key: &[u8]) -> String {
    let starts = |table: u32| {
        let mut head = Vec::new();
        onebox_service::keyspace::pack_onto(&table, &mut head);
        key.starts_with(&head)
    };
    match catalogue.schema.tables.iter().find(|table| starts(table.id)) {
        Some(table) => format!("a row or an index entry of the table {}", table.name),
        None => "the tenant's id counter".to_owned(),
    }
}

/// An event with unknown fields, in its messages too.
fn newer(catalogue: &Catalogue, fact: &Fact) -> Vec<u8> {
    match catalogue.event(fact.event) {
        Some(descriptor) => with_newer_fields(&descriptor, &fact.bytes).unwrap_or_else(|| fact.bytes.clone()),
        None => fact.bytes.clone(),
    }
}

/// `None` if the bytes are not a message, which applying them will tell.
fn with_newer_fields(descriptor: &MessageDescriptor, mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    while bytes.has_remaining() {
        let (number, wire) = decode_key(&mut bytes).ok()?;
        encode_key(number, wire, &mut out);
        let length = match wire {
            WireType::Varint => {
                encode_varint(decode_varint(&mut bytes).ok()?, &mut out);
                continue;
            }
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::LengthDelimited => usize::try_from(decode_varint(&mut bytes).ok()?).ok()?,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (value, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let inner = descriptor.get_field(number).filter(|field| !field.is_map()).map(|field| field.kind());
        let value = match inner {
            Some(Kind::Message(inner)) => Cow::Owned(with_newer_fields(&inner, value)?),
            Some(_) | None => Cow::Borrowed(value),
        };
        if wire == WireType::LengthDelimited {
            encode_varint(value.len() as u64, &mut out);
        }
        out.extend_from_slice(&value);
    }
    encode_key(NEWER_NUMBER, WireType::Varint, &mut out);
    encode_varint(7, &mut out);
    encode_key(NEWER_TEXT, WireType::LengthDelimited, &mut out);
    encode_varint(5, &mut out);
    out.extend_from_slice(b"newer");
    Some(out)
}
