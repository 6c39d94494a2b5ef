//! What nodes say to each other, as bytes. FORMAT.md, beside this crate's manifest, has the same as a schema.
//!
//! Methods and refusals go by their names in the service's schema, because two builds may number them otherwise.

use onebox_replica::{Change, PeerId, PeerMessage};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence, SessionId};
use onebox_service::{Code, PLACED, Refusal, Schema, Time};
use onebox_store::LogIndex;

/// Several packets at once, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Batch {
    #[prost(message, repeated, tag = "1")]
    pub(crate) packets: Vec<Packet>,
}

/// One thing that is said.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Packet {
    #[prost(oneof = "Said", tags = "1, 2, 3, 4")]
    pub(crate) said: Option<Said>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Said {
    /// Who speaks. The first packet in each direction; again when what it says has changed.
    #[prost(message, tag = "1")]
    Hello(Hello),
    /// A replica speaks to the replica of the same partition.
    #[prost(message, tag = "2")]
    Peer(ToReplica),
    /// A question, which one answer with the same number follows, unless the connection ends.
    #[prost(message, tag = "3")]
    Ask(Ask),
    /// The answer.
    #[prost(message, tag = "4")]
    Answer(Told),
}

/// Who speaks, and whom it knows.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Hello {
    /// The newest version of this protocol that it speaks.
    #[prost(uint32, tag = "1")]
    pub(crate) protocol: u32,
    /// The full name of the service.
    #[prost(string, tag = "2")]
    pub(crate) service: String,
    /// The cluster; empty for a node that wants to join one.
    #[prost(string, tag = "3")]
    pub(crate) cluster: String,
    /// The identity of its disk.
    #[prost(uint64, tag = "4")]
    pub(crate) node: u64,
    /// Every node that it has heard of, itself included.
    #[prost(message, repeated, tag = "5")]
    pub(crate) known: Vec<Known>,
    /// How many partitions its cluster has; 0 from builds that know of one only, and from who is no node.
    #[prost(uint32, tag = "6")]
    pub(crate) partitions: u32,
}

/// A node, and where it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Known {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    /// Where peers reach it: host and port.
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    /// When it came to be there, by its own clock: microseconds since 1970. The latest is right.
    #[prost(fixed64, tag = "3")]
    pub(crate) since: u64,
    /// What it shares with nodes that are lost together with it: a machine, a rack, a room. Empty if nobody said.
    #[prost(string, tag = "4")]
    pub(crate) host: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ToReplica {
    #[prost(uint32, tag = "1")]
    pub(crate) partition: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) message: Option<PeerMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ask {
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) partition: u32,
    #[prost(oneof = "Question", tags = "3, 4, 5, 6, 7")]
    pub(crate) question: Option<Question>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Question {
    /// To carry out an attempt.
    #[prost(message, tag = "3")]
    Attempt(SentAttempt),
    #[prost(message, tag = "4")]
    Read(SentRead),
    /// What became of a request.
    #[prost(message, tag = "5")]
    Fate(SentId),
    /// To change the members, or who leads.
    #[prost(message, tag = "6")]
    Order(Order),
    /// How the node sees its partition.
    #[prost(message, tag = "7")]
    Status(()),
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct SentId {
    #[prost(uint64, tag = "1")]
    pub(crate) session: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) sequence: u64,
    #[prost(fixed64, tag = "3")]
    pub(crate) not_after: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentAttempt {
    #[prost(message, optional, tag = "1")]
    pub(crate) id: Option<SentId>,
    #[prost(uint64, tag = "2")]
    pub(crate) acknowledged_below: u64,
    #[prost(oneof = "SentCommand", tags = "3, 4, 5, 6, 7, 8")]
    pub(crate) command: Option<SentCommand>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum SentCommand {
    #[prost(message, tag = "3")]
    Call(SentCall),
    /// The tenant's name.
    #[prost(string, tag = "4")]
    CreateTenant(String),
    #[prost(message, tag = "5")]
    OpenSession(()),
    #[prost(message, tag = "6")]
    TouchSession(()),
    #[prost(message, tag = "7")]
    Withdraw(()),
    #[prost(message, tag = "8")]
    PlaceTenant(SentPlacement),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentPlacement {
    /// The tenant's name.
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(uint32, tag = "2")]
    pub(crate) partition: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentCall {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    /// The method's name.
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) body: Vec<u8>,
    #[prost(string, optional, tag = "4")]
    pub(crate) key: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentRead {
    #[prost(string, tag = "1")]
    pub(crate) tenant: String,
    /// The method's name.
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) body: Vec<u8>,
    /// The entry that the state must have reached.
    #[prost(uint64, tag = "4")]
    pub(crate) at_least: u64,
    /// Microseconds that the asker still waits.
    #[prost(uint64, tag = "5")]
    pub(crate) wait: u64,
    /// Whoever is asked may answer, once its state has reached the entry; else only the leader, after a read round.
    #[prost(bool, tag = "6")]
    pub(crate) any_replica: bool,
}

/// An order to the leader; to drain, to the node itself.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Order {
    #[prost(enumeration = "OrderKind", tag = "1")]
    pub(crate) kind: i32,
    /// The node it is about; 0 where it is about none.
    #[prost(uint64, tag = "2")]
    pub(crate) node: u64,
    /// It may vote although another voter is on the same host.
    #[prost(bool, tag = "3")]
    pub(crate) same_host: bool,
}

/// Kinds of orders. The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum OrderKind {
    Unspecified = 0,
    AddLearner = 1,
    Promote = 2,
    Remove = 3,
    Transfer = 4,
    Activate = 5,
    Drain = 6,
}

impl Order {
    /// The change of members that is ordered, if it is one.
    pub(crate) fn change(self) -> Option<Change> {
        let peer = PeerId(self.node);
        match self.kind() {
            OrderKind::AddLearner => Some(Change::AddLearner(peer)),
            OrderKind::Promote => Some(Change::Promote(peer)),
            OrderKind::Remove => Some(Change::Remove(peer)),
            OrderKind::Transfer | OrderKind::Activate | OrderKind::Drain | OrderKind::Unspecified => None,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Told {
    /// The question's.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    /// The entry at which the answer holds; 0 if it is of no state.
    #[prost(uint64, tag = "2")]
    pub(crate) at: u64,
    /// The log time where it was answered.
    #[prost(fixed64, tag = "3")]
    pub(crate) time: u64,
    #[prost(oneof = "SentReply", tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    pub(crate) reply: Option<SentReply>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum SentReply {
    #[prost(message, tag = "4")]
    Done(SentDone),
    /// The session.
    #[prost(uint64, tag = "5")]
    Opened(u64),
    #[prost(message, tag = "6")]
    Refused(SentRefusal),
    #[prost(message, tag = "7")]
    Overloaded(()),
    /// Why.
    #[prost(string, tag = "8")]
    Retry(String),
    /// The leader; 0 if it is not known.
    #[prost(uint64, tag = "9")]
    Elsewhere(u64),
    #[prost(message, tag = "10")]
    Withdrawn(()),
    /// Why.
    #[prost(string, tag = "11")]
    Unknown(String),
    #[prost(message, tag = "12")]
    SessionGone(()),
    #[prost(message, tag = "13")]
    Fate(SentFate),
    #[prost(message, tag = "14")]
    Status(SentStatus),
}

/// How a node sees its partition.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentStatus {
    /// The leader; 0 if it knows none.
    #[prost(uint64, tag = "1")]
    pub(crate) leader: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) term: u64,
    /// The last entry that it has applied.
    #[prost(uint64, tag = "3")]
    pub(crate) applied: u64,
    /// The last entry that it knows to be committed.
    #[prost(uint64, tag = "4")]
    pub(crate) committed: u64,
    /// The last entry of its log.
    #[prost(uint64, tag = "5")]
    pub(crate) last: u64,
    #[prost(uint64, repeated, tag = "6")]
    pub(crate) voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    pub(crate) learners: Vec<u64>,
    /// A change of the members is half way.
    #[prost(bool, tag = "8")]
    pub(crate) is_changing: bool,
    /// Every node that it knows.
    #[prost(message, repeated, tag = "9")]
    pub(crate) known: Vec<Seen>,
    /// Why it is or is not ready.
    #[prost(string, tag = "10")]
    pub(crate) health: String,
    /// The low half of its state's digest.
    #[prost(fixed64, tag = "11")]
    pub(crate) digest: u64,
    /// How many partitions there are; 0 from builds that know of one only.
    #[prost(uint32, tag = "12")]
    pub(crate) partitions: u32,
}

/// A node that another knows.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Seen {
    #[prost(uint64, tag = "1")]
    pub(crate) node: u64,
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    /// There is a connection to it.
    #[prost(bool, tag = "3")]
    pub(crate) is_reached: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentDone {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) response: Vec<u8>,
    #[prost(bool, tag = "2")]
    pub(crate) repeated: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentRefusal {
    /// The number of its code.
    #[prost(uint32, tag = "1")]
    pub(crate) code: u32,
    /// The full name of its message; empty for a refusal of the platform, but for the one that says of which partition a tenant is.
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(string, tag = "3")]
    pub(crate) message: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) detail: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SentFate {
    #[prost(enumeration = "FateKind", tag = "1")]
    pub(crate) kind: i32,
    /// Where it took effect: its method's name.
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) response: Vec<u8>,
}

/// The numbers are on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum FateKind {
    Unspecified = 0,
    TookEffect = 1,
    NoEffect = 2,
    Pending = 3,
    Forgotten = 4,
}

impl Hello {
    /// The greeting of who is no node of a cluster: it wants to join one, or is an operator.
    pub(crate) fn of_stranger(service: &str) -> Hello {
        Hello { protocol: super::PROTOCOL, service: service.to_owned(), ..Hello::default() }
    }
}

impl Packet {
    pub(crate) fn of(said: Said) -> Packet {
        Packet { said: Some(said) }
    }
}

impl SentId {
    pub(crate) fn of(id: RequestId) -> SentId {
        SentId { session: id.session.0, sequence: id.sequence.0, not_after: id.not_after.0 }
    }

    pub(crate) fn id(self) -> RequestId {
        RequestId { session: SessionId(self.session), sequence: Sequence(self.sequence), not_after: Time(self.not_after) }
    }
}

impl SentAttempt {
    pub(crate) fn of(attempt: Attempt, schema: &Schema) -> SentAttempt {
        let command = match attempt.command {
            Command::Call { tenant, method, body, key } => {
                SentCommand::Call(SentCall { tenant, method: schema.info(method).name.to_owned(), body, key })
            }
            Command::CreateTenant { name } => SentCommand::CreateTenant(name),
            Command::PlaceTenant { name, partition } => SentCommand::PlaceTenant(SentPlacement { name, partition }),
            Command::OpenSession => SentCommand::OpenSession(()),
            Command::TouchSession => SentCommand::TouchSession(()),
            Command::Withdraw => SentCommand::Withdraw(()),
        };
        let acknowledged_below = attempt.acknowledged_below.0;
        SentAttempt { id: Some(SentId::of(attempt.id)), acknowledged_below, command: Some(command) }
    }

    /// The attempt; or what its asker is told.
    pub(crate) fn attempt(self, schema: &Schema) -> Result<Attempt, Reply> {
        let (Some(id), Some(command)) = (self.id, self.command) else { return Err(newer()) };
        let command = match command {
            SentCommand::Call(SentCall { tenant, method, body, key }) => {
                let method = schema.method(&method).ok_or_else(|| no_method(&method))?;
                Command::Call { tenant, method, body, key }
            }
            SentCommand::CreateTenant(name) => Command::CreateTenant { name },
            SentCommand::PlaceTenant(SentPlacement { name, partition }) => Command::PlaceTenant { name, partition },
            SentCommand::OpenSession(()) => Command::OpenSession,
            SentCommand::TouchSession(()) => Command::TouchSession,
            SentCommand::Withdraw(()) => Command::Withdraw,
        };
        Ok(Attempt { id: id.id(), acknowledged_below: Sequence(self.acknowledged_below), command })
    }
}

/// What is asked makes no sense to this build.
pub(crate) fn newer() -> Reply {
    Reply::Retry("the leader's build does not know what is asked")
}

/// The leader runs a build without the method, which another leader may have.
pub(crate) fn no_method(method: &str) -> Reply {
    Reply::refused(Code::Unimplemented, format!("the node that leads runs a build without the method {method}"))
}

impl Told {
    pub(crate) fn reply(number: u64, reply: Reply, at: LogIndex, time: Time) -> Told {
        let reply = match reply {
            Reply::Done { response, repeated } => SentReply::Done(SentDone { response, repeated }),
            Reply::Opened(session) => SentReply::Opened(session.0),
            Reply::Refused(Refusal { code, kind, message, detail }) => {
                SentReply::Refused(SentRefusal { code: code as u32, kind: kind.to_owned(), message, detail })
            }
            Reply::Overloaded => SentReply::Overloaded(()),
            Reply::Retry(why) => SentReply::Retry(why.to_owned()),
            Reply::Elsewhere(leader) => SentReply::Elsewhere(leader.unwrap_or(0)),
            Reply::Withdrawn => SentReply::Withdrawn(()),
            Reply::Unknown(why) => SentReply::Unknown(why),
            Reply::SessionGone => SentReply::SessionGone(()),
        };
        Told { number, at: at.0, time: time.0, reply: Some(reply) }
    }

    pub(crate) fn fate(number: u64, fate: Fate, time: Time) -> Told {
        let (kind, method, response) = match fate {
            Fate::TookEffect { method, response } => (FateKind::TookEffect, method, response),
            Fate::NoEffect => (FateKind::NoEffect, String::new(), Vec::new()),
            Fate::Pending => (FateKind::Pending, String::new(), Vec::new()),
            Fate::Forgotten => (FateKind::Forgotten, String::new(), Vec::new()),
        };
        let fate = SentFate { kind: kind as i32, method, response };
        Told { number, at: 0, time: time.0, reply: Some(SentReply::Fate(fate)) }
    }
}

impl SentReply {
    /// The reply, or the fate that was asked for.
    pub(crate) fn read(self, schema: &Schema) -> Result<Reply, Fate> {
        Ok(match self {
            SentReply::Done(SentDone { response, repeated }) => Reply::Done { response, repeated },
            SentReply::Opened(session) => Reply::Opened(SessionId(session)),
            SentReply::Refused(refusal) => Reply::Refused(refusal.refusal(schema)),
            SentReply::Overloaded(()) => Reply::Overloaded,
            SentReply::Retry(_) => Reply::Retry("the node that leads could not take it"),
            SentReply::Elsewhere(leader) => Reply::Elsewhere((leader != 0).then_some(leader)),
            SentReply::Withdrawn(()) => Reply::Withdrawn,
            SentReply::Unknown(why) => Reply::Unknown(why),
            SentReply::SessionGone(()) => Reply::SessionGone,
            // Only operators ask for it.
            SentReply::Status(_) => Reply::Retry("a status was told where none was asked for"),
            SentReply::Fate(SentFate { kind, method, response }) => {
                return Err(match FateKind::try_from(kind) {
                    Ok(FateKind::TookEffect) => Fate::TookEffect { method, response },
                    Ok(FateKind::NoEffect) => Fate::NoEffect,
                    Ok(FateKind::Forgotten) => Fate::Forgotten,
                    // A fate of a newer build: whoever asks again may be told more.
                    Ok(FateKind::Pending | FateKind::Unspecified) | Err(_) => Fate::Pending,
                });
            }
        })
    }
}

impl SentRefusal {
    fn refusal(self, schema: &Schema) -> Refusal {
        let code = Code::ALL.into_iter().find(|code| *code as u32 == self.code).unwrap_or(Code::Internal);
        match schema.refusals.iter().find(|known| known.name == self.kind) {
            None if self.kind == PLACED => Refusal { code, kind: PLACED, message: self.message, detail: self.detail },
            Some(known) => Refusal { code, kind: known.name, message: self.message, detail: self.detail },
            // One of the platform, or of a newer build: its sentence says it.
            None => Refusal::platform(code, self.message),
        }
    }
}
