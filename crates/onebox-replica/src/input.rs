//! What a replica is told. Everything that happens to it is one of these.

use onebox_service::attempt::{Attempt, RequestId};
use onebox_service::{Fault, MethodId, Time};
use onebox_store::LogIndex;
use onebox_store::log::Appended;

use crate::effect::JobDone;
use crate::membership::{Change, PeerId};
use crate::peer::PeerMessage;

/// The clocks of the machine, read once per turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Microseconds since 1970, as the machine believes; it may jump.
    pub wall: Time,
    /// Microseconds since the process started; it never jumps.
    pub uptime: u64,
}

/// Names a caller that waits, for the shell to find again. Chosen by the shell, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// One input.
#[derive(Debug)]
pub enum Input {
    /// A client's attempt at a request.
    Attempt(Token, Attempt),
    /// A read-only request.
    Read(Read),
    /// A question for what became of a request.
    Outcome(Token, RequestId),
    /// A frame is on the disk.
    Persisted {
        /// The batch's number.
        number: u64,
        /// Where it is.
        appended: Appended,
        /// The log wants a spare segment made.
        needs_spare: bool,
    },
    /// A job has ended.
    JobDone(JobDone),
    /// The log could not be written, or a reader met a row that cannot be read. Nothing more will be acknowledged.
    PersistFailed(Fault),
    /// Time has passed: one tick of [`TICK_MICROS`](crate::replica::TICK_MICROS).
    Tick,
    /// What is free on the disk, now and then.
    DiskFree {
        /// Bytes.
        bytes: u64,
    },
    /// A message from a peer.
    Peer(Box<PeerMessage>),
    /// Change the members; only the leader can.
    Change(Token, Change),
    /// Hand leadership over to this voter; only the leader can.
    Transfer(Token, PeerId),
    /// Put the newest version of apply that this build runs in force; only the leader can.
    Activate(Token),
    /// The node is to stop: let another lead, take nothing new, finish, flush.
    Drain,
}

/// What a read must see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consistency {
    /// Everything that was acknowledged to anybody before it was asked: answered where the leader is.
    Linearizable,
    /// A committed state that has reached this position, on any replica; with position 0, whatever state that has.
    AtLeast(LogIndex),
}

/// A read-only request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Who waits.
    pub token: Token,
    /// The tenant's name.
    pub tenant: String,
    /// The method.
    pub method: MethodId,
    /// The canonical encoding of the request.
    pub body: Vec<u8>,
    /// What state it may be answered from.
    pub consistency: Consistency,
    /// Uptime, in microseconds, after which nobody waits any more.
    pub deadline: u64,
}
