//! What the simulator found once in the consensus, each as a case of its own.

use std::sync::Arc;

use onebox_store::log::{self, LogEntry, LogOptions};
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, NodeId};
use raft::{GetEntriesContext, Storage};

use super::*;
use crate::membership::Change;
use crate::peer::SentEntry;

const ENTRIES: u64 = 20;

/// A log of entries of the first term, and the disk that it is on.
fn log_of_entries() -> (MemoryDisk, log::Opened) {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = LogOptions { segment_bytes: 64 << 10, node: NodeId(1) };
    let mut opened = log::open(shared, options, LogIndex(0), Term(0), None).expect("a new log opens");
    // An entry without data, as a term begins with, is as good as any.
    let entry = |index| LogEntry { index: LogIndex(index), term: Term(1), kind: 0, data: vec![1; (index % 3) as usize * 40] };
    let hard_state = HardState { term: Term(1), vote: 0, commit: LogIndex(ENTRIES) };
    let batch = Batch { hard_state: Some(hard_state), membership: None, entries: (1..=ENTRIES).map(entry).collect() };
    opened.reader.note(opened.writer.append(&batch).expect("is written"));
    opened.hard_state = hard_state;
    (disk, opened)
}

fn members() -> Membership {
    Membership::of_voters([PeerId(1), PeerId(2), PeerId(3)])
}

/// Once the library read further than what had been fetched, and panicked when that read failed.
#[test]
fn what_is_committed_and_was_fetched_is_given_without_another_read() {
    for bytes in [1, 100, 10_000] {
        let (disk, opened) = log_of_entries();
        let limits = Limits { committed_bytes_per_turn: bytes, tail_bytes_kept: 0, ..Limits::default() };
        let mut entries = Entries::new(opened.reader, &limits, opened.hard_state, members());
        entries.fetch(4, ENTRIES + 1).expect("is read");
        disk.fail_next("read", "");
        let given = entries.entries(4, ENTRIES + 1, bytes, GetEntriesContext::empty(false)).expect("is in memory");
        assert!(!given.is_empty(), "with {bytes} bytes");
        assert!(given.iter().zip(4..).all(|(entry, index)| entry.index == index));
        assert!(entries.fault.take().is_none(), "nothing was read");
    }
}

#[test]
fn all_that_is_asked_for_without_a_bound_is_given() {
    let (_disk, opened) = log_of_entries();
    let limits = Limits { committed_bytes_per_turn: 1, ..Limits::default() };
    let mut entries = Entries::new(opened.reader, &limits, opened.hard_state, members());
    entries.fetch(4, ENTRIES + 1).expect("is read");
    let given = entries.entries(2, ENTRIES + 1, None, GetEntriesContext::empty(false)).expect("is read");
    assert!(given.iter().map(|entry| entry.index).eq(2..=ENTRIES));
}

fn follower(opened: log::Opened) -> Consensus {
    follower_at(opened, LogIndex(ENTRIES))
}

fn follower_at(opened: log::Opened, applied: LogIndex) -> Consensus {
    Consensus::start(Start {
        limits: Limits::default(),
        id: PeerId(1),
        membership: members(),
        hard_state: opened.hard_state,
        applied,
        seed: 1,
        reader: opened.reader,
        frame_bytes_max: 32 << 10,
        election_ticks: 5,
        first_membership: None,
        hollow: false,
    })
}

/// Rot in a last frame looks like a write that was interrupted. The library panicked at the first heartbeat.
#[test]
fn a_log_that_lacks_what_it_told_is_damaged() {
    for (commit, lacks) in [(ENTRIES, false), (ENTRIES + 1, true)] {
        let (_disk, opened) = log_of_entries();
        let mut consensus = follower(opened);
        let heartbeat = ConsensusMessage { kind: ConsensusKind::Heartbeat as i32, term: 1, commit, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(2), heartbeat), Ok(()));
        match consensus.news() {
            Err(fault) => assert!(lacks && fault.kind == FaultKind::Damage, "{fault}"),
            Ok(_) => assert!(!lacks, "entry {commit} is not on this disk"),
        }
    }
}

/// The library passes on what is proposed to a replica that does not lead, and says that all is well.
#[test]
fn a_replica_that_does_not_lead_passes_nothing_on() {
    let (_disk, opened) = log_of_entries();
    let mut consensus = follower(opened);
    let heartbeat = ConsensusMessage { kind: ConsensusKind::Heartbeat as i32, term: 1, commit: ENTRIES, ..ConsensusMessage::default() };
    assert_eq!(consensus.hear(PeerId(2), heartbeat), Ok(()));
    assert!(consensus.news().is_ok(), "it knows its leader now");
    drop(consensus.take_messages());
    assert!(consensus.propose_change(Change::AddLearner(PeerId(4))).is_err());
    assert!(consensus.transfer_leadership(PeerId(3)).is_err());
    assert_eq!(consensus.propose(vec![1]), None);
    let passed_on = |message: &PeerMessage| matches!(&message.body, Some(PeerBody::Consensus(said)) if said.kind != ConsensusKind::HeartbeatResponse as i32);
    assert!(!consensus.take_messages().any(|message| passed_on(&message)));
}

/// Whoever waits for a leader asks it in vain until the entry that begins its term is committed.
#[test]
fn a_leader_serves_once_an_entry_of_its_term_is_committed() {
    let (_disk, opened) = log_of_entries();
    let mut consensus = follower(opened);
    assert_eq!(consensus.serving_leader(), None, "nobody is heard of");
    let mut hear = |kind, commit, entries| {
        let said =
            ConsensusMessage { kind: kind as i32, term: 2, index: ENTRIES, log_term: 1, commit, entries, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(2), said), Ok(()));
        consensus.serving_leader()
    };
    let first = SentEntry { index: ENTRIES + 1, term: 2, ..SentEntry::default() };
    assert_eq!(hear(ConsensusKind::Heartbeat, ENTRIES, Vec::new()), None, "only entries of other terms are committed");
    assert_eq!(hear(ConsensusKind::Append, ENTRIES, vec![first]), None);
    assert_eq!(hear(ConsensusKind::Heartbeat, ENTRIES + 1, Vec::new()), Some((PeerId(2), Term(2))));
}

/// It went on believing in a leader that was gone, and refused every other its vote.
#[test]
fn a_replica_that_does_not_campaign_votes_once_its_leader_is_gone() {
    for (ticks, granted) in [(1, false), (10, true)] {
        let (_disk, opened) = log_of_entries();
        let mut consensus = follower(opened);
        consensus.become_hollow();
        let heartbeat = ConsensusMessage { kind: ConsensusKind::Heartbeat as i32, term: 1, commit: ENTRIES, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(2), heartbeat), Ok(()));
        assert!(consensus.hears_leader());
        (0..ticks).for_each(|_| consensus.tick());
        assert_eq!(consensus.hears_leader(), !granted, "after {ticks} ticks");
        let kind = ConsensusKind::RequestPreVote as i32;
        let asked = ConsensusMessage { kind, term: 2, log_term: 1, index: ENTRIES, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(3), asked), Ok(()));
        assert!(consensus.news().is_ok());
        let votes = |message: &PeerMessage| match &message.body {
            Some(PeerBody::Consensus(said)) => said.kind == ConsensusKind::RequestPreVoteResponse as i32 && !said.reject,
            _ => false,
        };
        assert_eq!(consensus.take_messages().any(|message| votes(&message)), granted, "after {ticks} ticks");
    }
}

/// Leadership was handed over in vain whenever its successor had something left to apply, which under load it always has.
#[test]
fn who_is_told_to_campaign_does_so_once_it_has_applied_everything() {
    // Too late: the leader has given up. And another leader's word is of no use to this one.
    for (ticks, by, campaigns) in [(0, 2, true), (4, 2, true), (6, 2, false), (0, 3, false)] {
        let (_disk, opened) = log_of_entries();
        let mut consensus = follower_at(opened, LogIndex(10));
        let said = |kind| ConsensusMessage { kind: kind as i32, term: 1, commit: ENTRIES, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(2), said(ConsensusKind::Heartbeat)), Ok(()));
        assert_eq!(consensus.hear(PeerId(by), said(ConsensusKind::TimeoutNow)), Ok(()));
        let news = consensus.news().expect("nothing fails").expect("entries are committed");
        assert!(!news.committed.is_empty() && consensus.node.raft.state == StateRole::Follower);
        (0..ticks).for_each(|_| consensus.tick());
        consensus.applied_to(LogIndex(ENTRIES - 1));
        assert_eq!(consensus.node.raft.state, StateRole::Follower, "one is left");
        consensus.applied_to(LogIndex(ENTRIES));
        let candidate = consensus.node.raft.state == StateRole::Candidate;
        assert_eq!(candidate, campaigns, "after {ticks} ticks, told by {by}");
    }
}

/// A candidate that heard in a request for its vote what is committed read those entries, and panicked when that failed.
#[test]
fn a_candidate_reads_nothing_because_of_what_it_hears() {
    let (disk, mut opened) = log_of_entries();
    opened.hard_state.commit = LogIndex(10);
    let mut consensus = follower_at(opened, LogIndex(10));
    (0..20).for_each(|_| consensus.tick());
    assert!(consensus.news().is_ok() && consensus.node.raft.state == StateRole::PreCandidate);
    disk.fail_next("read", "");
    // Who asks has less in its log and gets no vote; who answers gives none.
    for (kind, term) in [(ConsensusKind::RequestPreVote, 2), (ConsensusKind::RequestPreVoteResponse, 1)] {
        let of_a_vote =
            ConsensusMessage { log_term: 1, index: 5, commit: ENTRIES, commit_term: 1, reject: true, ..ConsensusMessage::default() };
        assert_eq!(consensus.hear(PeerId(2), ConsensusMessage { kind: kind as i32, term, ..of_a_vote }), Ok(()));
    }
    assert!(consensus.news().is_ok());
    assert_eq!(consensus.committed(), LogIndex(10));
}
