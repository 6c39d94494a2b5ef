//! The limits of what goes between a leader and its followers, each reached with a small number.

use std::sync::Arc;

use onebox_store::log::{self, LogOptions, LogWriter};
use onebox_store::memory::MemoryDisk;
use onebox_store::{Disk, NodeId};

use super::*;

const ENTRY: usize = 100;

/// One of two members, with the writer of its log.
struct Member {
    consensus: Consensus,
    writer: LogWriter,
    committed: u64,
}

impl Member {
    fn new(id: u64, limits: Limits) -> Member {
        let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
        let options = LogOptions { segment_bytes: 1 << 20, node: NodeId(id.into()) };
        let opened = log::open(disk, options, LogIndex(0), Term(0), None).expect("a new log opens");
        let membership = Membership::of_voters([PeerId(1), PeerId(2)]);
        let start = Start {
            limits,
            id: PeerId(id),
            first_membership: Some(membership.encode()),
            membership,
            hard_state: opened.hard_state,
            applied: LogIndex(0),
            seed: id,
            reader: opened.reader,
            frame_bytes_max: options.frame_bytes_max(),
            election_ticks: 5,
            hollow: false,
        };
        Member { consensus: Consensus::start(start), writer: opened.writer, committed: 0 }
    }

    /// Does what there is to do; gives what is said, and how many committed entries came at once each time.
    fn work(&mut self) -> (Vec<PeerMessage>, Vec<usize>) {
        let mut pages = Vec::new();
        loop {
            while let Some(news) = self.consensus.news().expect("the disk is sound") {
                if let Some(last) = news.committed.last().map(|committed| committed.index) {
                    pages.push(news.committed.len());
                    self.consensus.applied_to(last);
                    self.committed = last.0;
                }
            }
            let Some(frame) = self.consensus.take_batch() else { break };
            let appended = self.writer.append(&frame.batch).expect("the disk is sound");
            self.consensus.persisted(frame.number, appended);
        }
        (self.consensus.take_messages().map(|message| *message).collect(), pages)
    }

    fn hear(&mut self, messages: Vec<PeerMessage>) {
        for message in messages {
            let Some(PeerBody::Consensus(said)) = message.body else { panic!("{message:?}") };
            self.consensus.hear(PeerId(message.from), said).expect("it makes sense");
        }
    }
}

/// A leader and its follower, both of which know all that there is.
fn pair(limits: Limits) -> (Member, Member) {
    let (mut leader, mut follower) = (Member::new(1, limits), Member::new(2, limits));
    for _ in 0..50 {
        if !leader.consensus.leads() {
            leader.consensus.tick();
        }
        exchange(&mut leader, &mut follower);
    }
    leader.consensus.tick();
    exchange(&mut leader, &mut follower);
    assert!(leader.consensus.leads() && follower.committed == leader.committed);
    (leader, follower)
}

/// One message each way and what it leads to, until nobody has anything to say.
fn exchange(leader: &mut Member, follower: &mut Member) {
    loop {
        let (to_follower, _) = leader.work();
        let quiet = to_follower.is_empty();
        follower.hear(to_follower);
        let (to_leader, _) = follower.work();
        if quiet && to_leader.is_empty() {
            return;
        }
        leader.hear(to_leader);
    }
}

fn propose(leader: &mut Member, entries: usize) -> usize {
    (0..entries).filter(|_| leader.consensus.propose(vec![7; ENTRY]).is_some()).count()
}

fn appends(messages: &[PeerMessage]) -> Vec<usize> {
    let entries = |message: &PeerMessage| match &message.body {
        Some(PeerBody::Consensus(said)) if said.kind == ConsensusKind::Append as i32 => Some(said.entries.len()),
        _ => None,
    };
    messages.iter().filter_map(entries).filter(|entries| *entries > 0).collect()
}

#[test]
fn messages_in_flight_max() {
    for messages_in_flight_max in [1, 3] {
        let (mut leader, mut follower) = pair(Limits { messages_in_flight_max, message_bytes_max: 1, ..Limits::default() });
        let mut said = Vec::new();
        for _ in 0..10 {
            assert_eq!(propose(&mut leader, 1), 1);
            said.extend(leader.work().0);
        }
        assert_eq!(appends(&said).len(), messages_in_flight_max, "the others wait for its answers");
        follower.hear(said);
        let answers = follower.work().0;
        leader.hear(answers);
        exchange(&mut leader, &mut follower);
        leader.consensus.tick();
        exchange(&mut leader, &mut follower);
        assert_eq!((leader.committed, follower.committed), (11, 11), "and come then");
    }
}

#[test]
fn message_bytes_max() {
    // With one message in flight, the others wait and go together.
    let limits = Limits { message_bytes_max: 3 * ENTRY as u64, messages_in_flight_max: 1, ..Limits::default() };
    let (mut leader, mut follower) = pair(limits);
    assert_eq!(propose(&mut leader, 13), 13);
    let mut sizes = Vec::new();
    for _ in 0..10 {
        let said = leader.work().0;
        sizes.extend(appends(&said));
        follower.hear(said);
        let answers = follower.work().0;
        leader.hear(answers);
    }
    assert_eq!((sizes.iter().max(), sizes.iter().sum()), (Some(&3), 13), "{sizes:?}");
    assert_eq!(leader.committed, 14);
}

#[test]
fn uncommitted_bytes_max() {
    let (mut leader, mut follower) =
        pair(Limits { uncommitted_bytes_max: 5 * ENTRY as u64, message_bytes_max: ENTRY as u64, ..Limits::default() });
    assert_eq!(propose(&mut leader, 12), 5, "the others are not taken");
    exchange(&mut leader, &mut follower);
    assert_eq!(propose(&mut leader, 12), 5, "and are when these are committed");
}

#[test]
fn committed_bytes_per_turn() {
    let (mut leader, mut follower) = pair(Limits { committed_bytes_per_turn: 2 * ENTRY as u64, ..Limits::default() });
    assert_eq!(propose(&mut leader, 12), 12);
    let said = leader.work().0;
    follower.hear(said);
    let answers = follower.work().0;
    leader.hear(answers);
    let (_, pages) = leader.work();
    assert_eq!(pages.iter().sum::<usize>(), 12);
    assert!(pages.iter().all(|entries| *entries <= 2), "{pages:?}");
}

#[test]
fn tail_bytes_kept() {
    let (mut leader, mut follower) = pair(Limits { tail_bytes_kept: 4 * ENTRY, ..Limits::default() });
    assert_eq!(propose(&mut leader, 12), 12);
    let said = leader.work().0;
    assert!(leader.consensus.node.store().tail.len() >= 12, "what is not applied is kept whole");
    follower.hear(said);
    let answers = follower.work().0;
    leader.hear(answers);
    leader.work();
    let tail = &leader.consensus.node.store().tail;
    assert!(tail.len() <= 4 && tail.back().is_some_and(|last| last.index == 13), "{}", tail.len());
}
