//! What replicas of one partition say to each other. FORMAT.md has the same, as a schema.
//!
//! The consensus library's own types never parse bytes that came from elsewhere: `consensus.rs` converts.

use bytes::Bytes;

use crate::membership::PeerId;

/// One message from a replica to another of the same partition.
#[derive(Clone, PartialEq, prost::Message)]
pub struct PeerMessage {
    /// The sender.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// Who is to get it. A replica with another identity ignores it.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// The sender's wall clock when it was sent: microseconds since 1970.
    #[prost(fixed64, tag = "3")]
    pub clock: u64,
    /// The newest version of the service's apply that the sender's build runs.
    #[prost(uint32, tag = "9")]
    pub newest_version: u32,
    /// The last entry that the sender has applied.
    #[prost(uint64, tag = "10")]
    pub applied: u64,
    /// The sender had better not lead: it is to stop, its disk is nearly full, its state is gone or its clock is wrong.
    #[prost(bool, tag = "11")]
    pub yields: bool,
    /// What is said.
    #[prost(oneof = "PeerBody", tags = "4, 5, 6, 7, 8")]
    pub body: Option<PeerBody>,
}

impl PeerMessage {
    /// A message of this body.
    pub(crate) fn new(from: PeerId, to: PeerId, body: PeerBody) -> Box<PeerMessage> {
        Box::new(PeerMessage { from: from.0, to: to.0, clock: 0, newest_version: 0, applied: 0, yields: false, body: Some(body) })
    }
}

/// What is said.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum PeerBody {
    /// The consensus.
    #[prost(message, tag = "4")]
    Consensus(ConsensusMessage),
    /// A leader to a follower that it has no log for: fetch a snapshot.
    #[prost(message, tag = "5")]
    Behind(Behind),
    /// Send rows of a snapshot.
    #[prost(message, tag = "6")]
    Fetch(Fetch),
    /// Rows of a snapshot.
    #[prost(message, tag = "7")]
    Rows(SnapshotRows),
    /// A follower to a leader that said it is behind: it is not, for the log reaches to what it has.
    #[prost(message, tag = "8")]
    Here(Here),
}

/// See the consensus' own papers for the fields; `kind` is a [`ConsensusKind`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ConsensusMessage {
    /// Its kind.
    #[prost(enumeration = "ConsensusKind", tag = "1")]
    pub kind: i32,
    /// The sender's term.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The term of the entry at `index`.
    #[prost(uint64, tag = "3")]
    pub log_term: u64,
    /// The entry before those that are sent, or the one that is answered for.
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// Up to where the sender knows entries to be committed.
    #[prost(uint64, tag = "5")]
    pub commit: u64,
    /// The term of that entry.
    #[prost(uint64, tag = "6")]
    pub commit_term: u64,
    /// It is a refusal.
    #[prost(bool, tag = "7")]
    pub reject: bool,
    /// Where to try next after a refusal.
    #[prost(uint64, tag = "8")]
    pub reject_hint: u64,
    /// The read round that a heartbeat confirms, or that a vote is for a handed over leadership.
    #[prost(bytes = "bytes", tag = "9")]
    pub context: Bytes,
    /// Entries to append.
    #[prost(message, repeated, tag = "10")]
    pub entries: Vec<SentEntry>,
}

/// Kinds of messages of the consensus. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ConsensusKind {
    /// None of those that this version knows.
    Unspecified = 0,
    /// Entries to append.
    Append = 1,
    /// The answer.
    AppendResponse = 2,
    /// A candidate asks for a vote.
    RequestVote = 3,
    /// The answer.
    RequestVoteResponse = 4,
    /// Whether a candidate would get a vote.
    RequestPreVote = 5,
    /// The answer.
    RequestPreVoteResponse = 6,
    /// The leader is there.
    Heartbeat = 7,
    /// The answer.
    HeartbeatResponse = 8,
    /// Campaign now: leadership is handed over.
    TimeoutNow = 9,
}

/// An entry of the log, as it is sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SentEntry {
    /// Its term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// Its position.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    /// What sort of data it has, as in the log.
    #[prost(uint32, tag = "3")]
    pub kind: u32,
    /// What was agreed.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The leader's log begins above what the follower has.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Behind {
    /// The leader's term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The first entry of its log.
    #[prost(uint64, tag = "2")]
    pub first: u64,
}

/// Where a follower is.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Here {
    /// Everything up to this entry is there, and committed.
    #[prost(uint64, tag = "1")]
    pub committed: u64,
}

/// Asks for rows of a snapshot.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fetch {
    /// The position of the snapshot that was begun; 0 to begin one.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    /// The position must be at least this.
    #[prost(uint64, tag = "2")]
    pub at_least: u64,
    /// Rows above this key; empty for the first ones.
    #[prost(bytes = "bytes", tag = "3")]
    pub after: Bytes,
    /// The entry at which the asker's state was another than the log states; 0 if it was not.
    #[prost(uint64, tag = "4")]
    pub diverged_at: u64,
}

/// Rows of a snapshot, ascending, and what the whole of it is.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotRows {
    /// Its position.
    #[prost(uint64, tag = "1")]
    pub at: u64,
    /// The term of the entry there.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The log time there: microseconds since 1970.
    #[prost(fixed64, tag = "3")]
    pub time: u64,
    /// The chain there, 16 bytes, little endian.
    #[prost(bytes = "bytes", tag = "4")]
    pub chain: Bytes,
    /// The digest of all rows, 16 bytes, little endian.
    #[prost(bytes = "bytes", tag = "5")]
    pub digest: Bytes,
    /// How many rows there are in all.
    #[prost(uint64, tag = "6")]
    pub rows_total: u64,
    /// The members there.
    #[prost(bytes = "bytes", tag = "7")]
    pub membership: Bytes,
    /// The key above which these rows are.
    #[prost(bytes = "bytes", tag = "8")]
    pub after: Bytes,
    /// The rows.
    #[prost(message, repeated, tag = "9")]
    pub rows: Vec<SnapshotRow>,
    /// These are the last.
    #[prost(bool, tag = "10")]
    pub last: bool,
}

/// One row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotRow {
    /// Its key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its value.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}
