//! What only shows among several replicas: three of them, whose messages a test lets pass, changes or drops.

use onebox_replica::peer::{ConsensusKind, Fetch, PeerBody};
use onebox_replica::{Beginning, Confirm, Input, Limits, Note, PeerId, PeerMessage, Token};
use onebox_service::Code;
use onebox_service::attempt::{Attempt, Command, Reply, Sequence};
use onebox_store::disk::SECTOR_BYTES;
use onebox_store::{LogIndex, NodeId};

use crate::rig::{Member, Rig, id, set, verdict};

const SEGMENT_BYTES: u64 = 64 << 10;
const FLUSH_BYTES: usize = 16 << 10;

struct Peers {
    rigs: Vec<Rig>,
    ids: Vec<PeerId>,
    /// Everything that was said.
    said: Vec<Box<PeerMessage>>,
}

/// Whether a message to this replica arrives; it may be changed.
type Passes<'p> = &'p mut dyn FnMut(usize, &mut PeerMessage) -> bool;

impl Peers {
    /// Three voters, and which of them leads.
    fn three(limits: Limits, confirm: Confirm) -> (Peers, usize) {
        let nodes = [1, 2, 3].map(NodeId);
        let ids: Vec<PeerId> = nodes.map(PeerId::of).to_vec();
        let member = |node| Member { node, beginning: Beginning::Voters(ids.clone()), confirm };
        let rigs = nodes.map(|node| Rig::member(limits, SEGMENT_BYTES, FLUSH_BYTES, member(node))).into();
        let mut peers = Peers { rigs, ids, said: Vec::new() };
        for _ in 0..100 {
            peers.tick(&mut |_, _| true);
            if let Some(leader) = peers.rigs.iter().position(|rig| rig.replica.status().leads) {
                return (peers, leader);
            }
        }
        panic!("nobody comes to lead");
    }

    fn tick(&mut self, passes: Passes<'_>) {
        self.rigs.iter_mut().for_each(Rig::tick);
        self.settle(passes);
    }

    /// Goes on until nobody has anything to do or to say.
    fn settle(&mut self, passes: Passes<'_>) {
        for _ in 0..10_000 {
            let mut busy = false;
            for place in 0..self.rigs.len() {
                let rig = &mut self.rigs[place];
                busy |= rig.turn();
                rig.persist();
                rig.work();
                for mut message in std::mem::take(&mut rig.desk.messages) {
                    self.said.push(message.clone());
                    let to = self.ids.iter().position(|id| id.0 == message.to);
                    if let Some(to) = to.filter(|to| passes(*to, &mut message)) {
                        self.rigs[to].inputs.push(Input::Peer(message));
                    }
                }
            }
            if !busy && self.rigs.iter().all(|rig| rig.inputs.is_empty()) {
                return;
            }
        }
        panic!("the replicas do not come to rest");
    }

    /// Opens a session at the leader.
    fn session(&mut self, leader: usize) -> u64 {
        let rig = &mut self.rigs[leader];
        let attempt = Attempt { id: id(0, 0), acknowledged_below: Sequence(0), command: Command::OpenSession };
        let token = rig.send(attempt);
        self.settle(&mut |_, _| true);
        match self.rigs[leader].reply(token) {
            Some(Reply::Opened(session)) => session.0,
            other => panic!("a session is opened: {other:?}"),
        }
    }

    /// Segments that a replica has in `log/`.
    fn segments(&self, place: usize) -> usize {
        self.rigs[place].disk.files().iter().filter(|file| file.starts_with("log/") && file.ends_with(".seg")).count()
    }
}

/// Each handed leadership to the other, at every tick, and nobody served.
#[test]
fn of_three_of_which_two_are_to_stop_the_third_comes_to_lead() {
    let (mut peers, leader) = Peers::three(Limits::default(), Confirm::Replicated);
    if leader == 0 {
        let token = peers.rigs[0].token();
        peers.rigs[0].inputs.push(Input::Transfer(token, peers.ids[1]));
        peers.tick(&mut |_, _| true);
    }
    let before = peers.rigs[0].replica.status();
    assert!(!before.leads);
    let leader = peers.rigs.iter().position(|rig| rig.replica.status().leads).expect("one leads");
    // Of peers with equal logs the last is chosen: these two would choose each other.
    for place in [1, 2] {
        peers.rigs[place].inputs.push(Input::Drain);
    }
    for _ in 0..20 {
        peers.tick(&mut |_, _| true);
    }
    let status = peers.rigs[0].replica.status();
    assert!(status.serves, "{status:?}");
    assert!(status.term.0 <= before.term.0 + 3, "from {:?} to {:?}", before.term, status.term);
    // Nor does it go to one that stops because an operator wants it.
    let token = peers.rigs[0].token();
    peers.rigs[0].inputs.push(Input::Transfer(token, peers.ids[leader]));
    peers.settle(&mut |_, _| true);
    let reply = peers.rigs[0].reply(token);
    assert!(matches!(reply, Some(Reply::Refused(refusal)) if refusal.code == Code::FailedPrecondition), "{reply:?}");
}

/// It could stop at the first entry that another needs from there.
#[test]
fn a_leader_whose_log_is_damaged_lets_another_lead_and_goes_on() {
    let (mut peers, leader) = Peers::three(Limits::default(), Confirm::Replicated);
    let session = peers.session(leader);
    peers.rigs[leader].disk.flip_bit("log/0000000000000001.seg", SECTOR_BYTES + 70);
    let told = |rig: &Rig| rig.desk.notes.iter().any(|note| matches!(note, Note::LogScrub(_)));
    for _ in 0..10_000 {
        peers.tick(&mut |_, _| true);
        if told(&peers.rigs[leader]) {
            break;
        }
    }
    (0..20).for_each(|_| peers.tick(&mut |_, _| true));
    assert!(told(&peers.rigs[leader]) && !peers.rigs[leader].replica.status().leads && peers.rigs[leader].desk.stop.is_none());
    let next = peers.rigs.iter().position(|rig| rig.replica.status().serves).expect("another leads");
    assert!(!told(&peers.rigs[next]));
    let token = peers.rigs[next].send(set(session, 1, "cell", b"one"));
    (0..2).for_each(|_| peers.tick(&mut |_, _| true));
    assert_eq!(verdict(peers.rigs[next].reply(token).expect("it is answered")), Ok(false));
    assert!(peers.rigs.iter().all(|rig| rig.replica.digests() == peers.rigs[next].replica.digests()));
}

/// A leader without room hands over to the one that has some, and refuses writes only where nobody has.
#[test]
fn a_leader_whose_disk_is_nearly_full_lets_one_lead_that_has_room() {
    let limits = Limits::default();
    let (mut peers, leader) = Peers::three(limits, Confirm::Replicated);
    let session = peers.session(leader);
    let others: Vec<usize> = (0..3).filter(|place| *place != leader).collect();
    let disk_free = |peers: &mut Peers, place: usize, bytes: u64| peers.rigs[place].inputs.push(Input::DiskFree { bytes });
    disk_free(&mut peers, others[0], limits.disk_free_min - 1);
    peers.tick(&mut |_, _| true);
    // What waits meanwhile, and what comes, is turned away, not refused: it may be asked again, elsewhere.
    let waits = peers.rigs[leader].send(set(session, 1, "cell", b"one"));
    disk_free(&mut peers, leader, limits.disk_free_min - 1);
    peers.settle(&mut |_, _| true);
    let comes = peers.rigs[leader].send(set(session, 2, "cell", b"two"));
    peers.settle(&mut |_, _| true);
    for token in [waits, comes] {
        assert!(matches!(peers.rigs[leader].reply(token), Some(Reply::Elsewhere(_))));
    }
    for _ in 0..20 {
        peers.tick(&mut |_, _| true);
    }
    assert!(peers.rigs[others[1]].replica.status().serves, "the one that has room leads");
    // And when it has none either, it goes on leading, and refuses writes.
    disk_free(&mut peers, others[1], limits.disk_free_min - 1);
    for _ in 0..20 {
        peers.tick(&mut |_, _| true);
    }
    let token = peers.rigs[others[1]].send(set(session, 1, "cell", b"one"));
    peers.settle(&mut |_, _| true);
    let reply = peers.rigs[others[1]].reply(token);
    assert!(matches!(&reply, Some(Reply::Refused(refusal)) if refusal.code == Code::ResourceExhausted), "{reply:?}");
}

/// Writes waited for ever for a peer that was heard of, and did not hear that it was to lead.
#[test]
fn who_does_not_take_over_is_waited_for_a_while_and_then_the_next_is_asked() {
    let limits = Limits::default();
    for next_hears in [true, false] {
        let (mut peers, leader) = Peers::three(limits, Confirm::Replicated);
        let session = peers.session(leader);
        let mut asked = Vec::new();
        let mut passes = |to: usize, message: &mut PeerMessage| {
            let Some(PeerBody::Consensus(said)) = &message.body else { return true };
            if said.kind != ConsensusKind::TimeoutNow as i32 {
                return true;
            }
            asked.push(to);
            next_hears && asked.iter().any(|other| *other != to)
        };
        peers.rigs[leader].inputs.push(Input::DiskFree { bytes: limits.disk_free_min - 1 });
        for _ in 0..250 {
            peers.tick(&mut passes);
        }
        asked.dedup();
        assert!(asked.len() == 2 && asked.iter().all(|to| *to != leader), "first the one, then the other: {asked:?}");
        let token = peers.rigs[leader].send(set(session, 1, "cell", b"one"));
        peers.settle(&mut |_, _| true);
        let reply = peers.rigs[leader].reply(token);
        if next_hears {
            assert!(matches!(&reply, Some(Reply::Elsewhere(Some(next))) if *next == peers.ids[asked[1]].0), "{reply:?}");
        } else {
            assert!(matches!(&reply, Some(Reply::Refused(refusal)) if refusal.code == Code::ResourceExhausted), "{reply:?}");
        }
    }
}

/// Also cut off from everybody: such reads ask for no more than what this replica has.
#[test]
fn a_follower_answers_reads_that_need_not_be_linearizable() {
    let (mut peers, leader) = Peers::three(Limits::default(), Confirm::Replicated);
    let session = peers.session(leader);
    let follower = (leader + 1) % 3;
    peers.rigs[leader].send(set(session, 1, "cell", b"one"));
    peers.settle(&mut |_, _| true);
    peers.tick(&mut |_, _| true);
    let here = peers.rigs[follower].replica.view().position().index;
    let rig = &mut peers.rigs[follower];
    let [stale, reached, ahead] = [LogIndex(0), here, here.next()].map(|position| rig.read_at_least("cell", position));
    let linearizable = rig.read("cell");
    peers.settle(&mut |_, _| false);
    let answered = |peers: &Peers, token| peers.rigs[follower].desk.queries.contains_key(&token);
    assert_eq!([stale, reached, ahead].map(|token| answered(&peers, token)), [true, true, false]);
    let elsewhere = Some(Reply::Elsewhere(Some(peers.ids[leader].0)));
    assert_eq!(peers.rigs[follower].reply(linearizable), elsewhere.as_ref(), "only the leader can tell");
    peers.rigs[leader].send(set(session, 2, "cell", b"two"));
    peers.settle(&mut |_, _| true);
    peers.tick(&mut |_, _| true);
    assert!(answered(&peers, ahead), "the position is reached");
}

#[test]
fn entries_unconfirmed_max() {
    let limits = Limits { entries_unconfirmed_max: 3, ..Limits::default() };
    let (mut peers, leader) = Peers::three(limits, Confirm::Executed);
    let session = peers.session(leader);
    let before = peers.rigs[leader].replica.status().progress.0;
    // What the others say that they have applied does not arrive.
    let mut deaf = |_: usize, message: &mut PeerMessage| {
        message.applied = 0;
        true
    };
    let tokens: Vec<Token> = (1..=8)
        .map(|sequence| {
            let token = peers.rigs[leader].send(set(session, sequence, "cell", &[sequence as u8]));
            peers.settle(&mut deaf);
            token
        })
        .collect();
    let applied = peers.rigs[leader].replica.status().progress.0;
    assert_eq!(applied.0 - before.0, 3, "entries that are committed and not known to be executed elsewhere");
    assert!(tokens.iter().all(|token| peers.rigs[leader].reply(*token).is_none()), "none is answered");
    peers.tick(&mut |_, _| true);
    peers.settle(&mut |_, _| true);
    for token in tokens {
        assert_eq!(verdict(peers.rigs[leader].reply(token).expect("it is answered")), Ok(false));
    }
}

#[test]
fn snapshot_piece_bytes() {
    for piece_bytes in [2 << 10, 8 << 10] {
        let limits = Limits { snapshot_piece_bytes: piece_bytes, ..Limits::default() };
        let (mut peers, leader) = Peers::three(limits, Confirm::Replicated);
        let session = peers.session(leader);
        for sequence in 1..=60 {
            peers.rigs[leader].send(set(session, sequence, &format!("cell {sequence}"), &[7; 1_000]));
            peers.settle(&mut |_, _| true);
        }
        let (asker, giver) = (peers.ids[(leader + 1) % 3], peers.ids[leader]);
        let (mut after, mut at, mut pieces) = (bytes::Bytes::new(), 0, 0);
        loop {
            peers.said.clear();
            let fetch = PeerBody::Fetch(Fetch { at, at_least: 0, after: after.clone(), diverged_at: 0 });
            let message = PeerMessage { from: asker.0, to: giver.0, body: Some(fetch), ..PeerMessage::default() };
            peers.rigs[leader].inputs.push(Input::Peer(Box::new(message)));
            // Nobody asked for them but this test.
            peers.settle(&mut |_, message| !matches!(message.body, Some(PeerBody::Rows(_))));
            let rows = peers.said.iter().find_map(|message| if let Some(PeerBody::Rows(rows)) = &message.body { Some(rows) } else { None });
            let rows = rows.expect("rows are given");
            let sizes: Vec<usize> = rows.rows.iter().map(|row| row.key.len() + row.value.len()).collect();
            let largest = sizes.iter().max().copied().unwrap_or(0);
            assert!(sizes.iter().sum::<usize>() < piece_bytes + largest, "the row with which it is full is the last: {sizes:?}");
            pieces += 1;
            if rows.last {
                break;
            }
            (at, after) = (rows.at, rows.rows.last().expect("a piece that is not the last has rows").key.clone());
        }
        assert!(pieces > (8 << 10) / piece_bytes, "{pieces} pieces of {piece_bytes} bytes");
    }
}

/// A flush took longer than a snapshot was kept for the peer that asked for it again and again: it began anew each time, and never had
/// the whole.
#[test]
fn a_snapshot_is_kept_for_as_long_as_its_peer_asks_for_it() {
    let limits = Limits { snapshot_piece_bytes: 2 << 10, ..Limits::default() };
    let (mut peers, leader) = Peers::three(limits, Confirm::Replicated);
    let session = peers.session(leader);
    let (asker, giver) = (peers.ids[(leader + 1) % 3], peers.ids[leader]);
    let write = |peers: &mut Peers, sequences: std::ops::Range<u64>| {
        for sequence in sequences {
            peers.rigs[leader].send(set(session, sequence, &format!("cell {sequence}"), &[7; 1_000]));
            peers.settle(&mut |_, message| !matches!(message.body, Some(PeerBody::Rows(_))));
        }
    };
    let fetch = |at, after| {
        let body = Some(PeerBody::Fetch(Fetch { at, at_least: 0, after, diverged_at: 0 }));
        Input::Peer(Box::new(PeerMessage { from: asker.0, to: giver.0, body, ..PeerMessage::default() }))
    };
    let given = |said: &[Box<PeerMessage>]| {
        said.iter().rev().find_map(|message| match &message.body {
            Some(PeerBody::Rows(rows)) => Some(rows.clone()),
            _ => None,
        })
    };
    write(&mut peers, 1..60);
    peers.rigs[leader].inputs.push(fetch(0, bytes::Bytes::new()));
    write(&mut peers, 60..61);
    let first = given(&peers.said).expect("rows are given");
    write(&mut peers, 61..120);
    let after = first.rows.last().expect("the first piece has rows").key.clone();
    peers.said.clear();
    // The worker is busy, with a piece for another: nothing is read for a long time, while the peer goes on asking.
    let other = PeerBody::Fetch(Fetch { at: 0, at_least: 0, after: bytes::Bytes::new(), diverged_at: 0 });
    let other = PeerMessage { from: peers.ids[(leader + 2) % 3].0, to: giver.0, body: Some(other), ..PeerMessage::default() };
    let rig = &mut peers.rigs[leader];
    rig.inputs.push(Input::Peer(Box::new(other)));
    rig.turn();
    for tick in 0..3_000 {
        if tick % 10 == 0 {
            rig.inputs.push(fetch(first.at, after.clone()));
        }
        rig.tick();
        rig.turn();
        rig.persist();
    }
    for _ in 0..3 {
        rig.work();
        rig.turn();
    }
    let next = given(&std::mem::take(&mut rig.desk.messages)).expect("rows are given");
    assert_eq!((next.at, next.after), (first.at, after), "the same snapshot goes on");
}

/// Writes at the leader, and gives how many segments each replica keeps in `log/` at most meanwhile, once it has flushed what is in them.
fn kept(limits: Limits, passes: Passes<'_>) -> (usize, usize) {
    let (mut peers, leader) = Peers::three(limits, Confirm::Replicated);
    let session = peers.session(leader);
    let (follower, last) = ((leader + 1) % 3, (leader + 2) % 3);
    let (mut most, mut most_of_follower) = (0, 0);
    for sequence in 1..=400 {
        peers.rigs[leader].send(set(session, sequence, &format!("cell {sequence}"), &[7; 4_000]));
        peers.settle(&mut |to, message| to != last || passes(to, message));
        if sequence % 4 == 0 {
            peers.tick(&mut |to, message| to != last || passes(to, message));
        }
        most = most.max(peers.segments(leader));
        most_of_follower = most_of_follower.max(peers.segments(follower));
    }
    (most, most_of_follower)
}

/// Heartbeats arrive, entries do not: it is heard of, and falls behind.
fn falls_behind(_: usize, message: &mut PeerMessage) -> bool {
    !matches!(&message.body, Some(PeerBody::Consensus(said)) if said.kind == ConsensusKind::Append as i32)
}

#[test]
fn log_segments_kept_max() {
    // One more is being written, and one may wait for its move.
    for most in [2, 5] {
        let limits = Limits { log_segments_kept_max: most, log_segments_kept_by_followers: 1, ..Limits::default() };
        let (leader, _) = kept(limits, &mut falls_behind);
        assert!(
            (most + 1..=most + 3).contains(&leader),
            "a leader keeps {leader} segments for a peer that is behind, where {most} are allowed"
        );
    }
    let limits = Limits { log_segments_kept_max: 20, log_segments_kept_by_followers: 1, ..Limits::default() };
    assert!(kept(limits, &mut |_, _| true).0 <= 4, "and none that nobody needs");
}

#[test]
fn log_segments_kept_by_followers() {
    for most in [1, 4] {
        let limits = Limits { log_segments_kept_by_followers: most, log_segments_kept_max: 20, ..Limits::default() };
        let (_, follower) = kept(limits, &mut |_, _| true);
        assert!((most + 1..=most + 3).contains(&follower), "a follower keeps {follower} segments, where {most} are allowed");
    }
}
