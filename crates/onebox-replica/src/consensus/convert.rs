//! Between the consensus library's types and ours.

use bytes::Bytes;
use onebox_store::log::LogEntry;
use onebox_store::{LogIndex, Term};
use prost::Message as _;
use raft::eraftpb::{self, ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, EntryType, MessageType};

use crate::membership::{Change, Membership, PeerId};
use crate::peer::{ConsensusKind, ConsensusMessage, PeerBody, PeerMessage, SentEntry};

/// What kind of data an entry has, as the log stores it.
const KIND_DATA: u8 = 0;
const KIND_CHANGE_OLD: u8 = 1;
const KIND_CHANGE: u8 = 2;

fn kind_of(entry: &eraftpb::Entry) -> u8 {
    match entry.get_entry_type() {
        EntryType::EntryNormal => KIND_DATA,
        EntryType::EntryConfChange => KIND_CHANGE_OLD,
        EntryType::EntryConfChangeV2 => KIND_CHANGE,
    }
}

/// Whether the log's kind is one that this version writes.
pub(super) fn is_known_kind(kind: u32) -> bool {
    kind == u32::from(KIND_DATA) || kind == u32::from(KIND_CHANGE)
}

pub(super) fn log_entry(entry: &eraftpb::Entry) -> LogEntry {
    LogEntry { index: LogIndex(entry.index), term: Term(entry.term), kind: kind_of(entry), data: entry.data.to_vec() }
}

pub(super) fn library_entry(entry: LogEntry) -> eraftpb::Entry {
    made(entry.index.0, entry.term.0, entry.kind, entry.data.into())
}

fn made(index: u64, term: u64, kind: u8, data: Bytes) -> eraftpb::Entry {
    let kind = match kind {
        KIND_DATA => EntryType::EntryNormal,
        KIND_CHANGE => EntryType::EntryConfChangeV2,
        other => panic!("entry {index} has kind {other}, which this version does not write"),
    };
    let mut out = eraftpb::Entry { term, index, data, ..Default::default() };
    out.set_entry_type(kind);
    out
}

pub(super) fn conf_state(membership: &Membership) -> ConfState {
    ConfState {
        voters: membership.voters.clone(),
        learners: membership.learners.clone(),
        voters_outgoing: membership.voters_outgoing.clone(),
        learners_next: membership.learners_next.clone(),
        auto_leave: membership.auto_leave,
        ..Default::default()
    }
}

pub(super) fn change(change: Change) -> ConfChangeV2 {
    let (kind, peer) = match change {
        Change::AddLearner(peer) => (ConfChangeType::AddLearnerNode, peer),
        Change::Promote(peer) => (ConfChangeType::AddNode, peer),
        Change::Remove(peer) => (ConfChangeType::RemoveNode, peer),
    };
    let mut one = ConfChangeSingle { node_id: peer.0, ..Default::default() };
    one.set_change_type(kind);
    let mut out = ConfChangeV2 { changes: vec![one].into(), ..Default::default() };
    // Always in two halves: one way through the code, and the one that is right for any change.
    out.set_transition(ConfChangeTransition::Implicit);
    out
}

/// The data of an entry that changes the membership, which the library wrote at the leader.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredChange {
    #[prost(int32, tag = "1")]
    transition: i32,
    #[prost(message, repeated, tag = "2")]
    changes: Vec<StoredSingle>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct StoredSingle {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(uint64, tag = "2")]
    peer: u64,
}

/// Reads the data of an entry that changes the membership. Without changes it is the second half of one.
pub(super) fn stored_change(data: &[u8]) -> Result<ConfChangeV2, String> {
    let stored = StoredChange::decode(data).map_err(|error| format!("a change of the membership cannot be read: {error}"))?;
    let mut changes = Vec::new();
    for single in stored.changes {
        let mut one = ConfChangeSingle { node_id: single.peer, ..Default::default() };
        one.set_change_type(match single.kind {
            0 => ConfChangeType::AddNode,
            1 => ConfChangeType::RemoveNode,
            2 => ConfChangeType::AddLearnerNode,
            other => return Err(format!("a change of the membership has kind {other}")),
        });
        changes.push(one);
    }
    let mut out = ConfChangeV2 { changes: changes.into(), ..Default::default() };
    out.set_transition(match stored.transition {
        0 => ConfChangeTransition::Auto,
        1 => ConfChangeTransition::Implicit,
        2 => ConfChangeTransition::Explicit,
        other => return Err(format!("a change of the membership has transition {other}")),
    });
    Ok(out)
}

const KINDS: [(ConsensusKind, MessageType); 9] = [
    (ConsensusKind::Append, MessageType::MsgAppend),
    (ConsensusKind::AppendResponse, MessageType::MsgAppendResponse),
    (ConsensusKind::RequestVote, MessageType::MsgRequestVote),
    (ConsensusKind::RequestVoteResponse, MessageType::MsgRequestVoteResponse),
    (ConsensusKind::RequestPreVote, MessageType::MsgRequestPreVote),
    (ConsensusKind::RequestPreVoteResponse, MessageType::MsgRequestPreVoteResponse),
    (ConsensusKind::Heartbeat, MessageType::MsgHeartbeat),
    (ConsensusKind::HeartbeatResponse, MessageType::MsgHeartbeatResponse),
    (ConsensusKind::TimeoutNow, MessageType::MsgTimeoutNow),
];

/// A message of the library for a peer, or `None` if it is nothing that peers say here.
pub(super) fn addressed(from: PeerId, message: eraftpb::Message) -> Option<Box<PeerMessage>> {
    let to = PeerId(message.to);
    said(message).map(|message| PeerMessage::new(from, to, PeerBody::Consensus(message)))
}

/// What the library wants said to a peer, or `None` if it is nothing that peers say here.
fn said(message: eraftpb::Message) -> Option<ConsensusMessage> {
    let kind = KINDS.iter().find(|(_, library)| *library == message.get_msg_type()).map(|(kind, _)| *kind)?;
    let entries = message.entries.into_iter().map(|entry| SentEntry {
        term: entry.term,
        index: entry.index,
        kind: u32::from(kind_of(&entry)),
        data: entry.data,
    });
    Some(ConsensusMessage {
        kind: kind as i32,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        entries: entries.collect(),
    })
}

/// What a peer said, for the library, or why it makes no sense.
pub(super) fn heard(from: u64, to: u64, message: ConsensusMessage) -> Result<eraftpb::Message, String> {
    let kind = KINDS.iter().find(|(kind, _)| *kind as i32 == message.kind).map(|(_, library)| *library);
    let kind = kind.ok_or_else(|| format!("a message of kind {}", message.kind))?;
    let mut next = message.index;
    let mut entries = Vec::with_capacity(message.entries.len());
    for entry in message.entries {
        next = next.checked_add(1).ok_or_else(|| format!("entries behind position {next}"))?;
        if entry.index != next || !is_known_kind(entry.kind) {
            return Err(format!("entry {} of kind {} where entry {next} is due", entry.index, entry.kind));
        }
        entries.push(made(entry.index, entry.term, entry.kind as u8, entry.data));
    }
    let mut out = eraftpb::Message {
        to,
        from,
        term: message.term,
        log_term: message.log_term,
        index: message.index,
        entries: entries.into(),
        commit: message.commit,
        commit_term: message.commit_term,
        reject: message.reject,
        reject_hint: message.reject_hint,
        context: message.context,
        ..Default::default()
    };
    out.set_msg_type(kind);
    Ok(out)
}
