//! An operator's questions and orders, asked of any node of a cluster.

use std::time::Duration;

use onebox_service::Schema;
use onebox_service::attempt::Reply;

use crate::peers::tls::Security;
use crate::peers::wire::{Ask, Hello, Order, OrderKind, Question, SentReply, SentStatus};
use crate::peers::{self, Asked};
use crate::settings::Settings;

/// How long an operator waits for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// How often an order is given, while leaders change.
const LEADERS_TRIED_MAX: usize = 20;
/// How often leadership is handed over that the other does not take up: it must have the whole log first.
const TRANSFERS_MAX: usize = 10;
/// How long the other may take to lead, and between two looks.
const LEADS_SOON: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// Looks at the status after a change was ordered, until it must be whole.
const CHANGE_LOOKS_MAX: usize = 200;
/// How long a leader that is to be taken out may take to hand over.
const HANDED_OVER_SOON: Duration = Duration::from_secs(3);
/// Looks in a row at which a node that is to stop does not answer, after which it has.
const SILENT_LOOKS: u32 = 3;
/// How long a node may take to stop.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(60);

/// What a partition says whose version is the newest already.
const IN_FORCE: &str = "is in force already";

/// How one node sees its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The cluster's name.
    pub cluster: String,
    /// The node that was asked.
    pub node: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The term.
    pub term: u64,
    /// The last entry that it has applied.
    pub applied: u64,
    /// The last entry that it knows to be committed.
    pub committed: u64,
    /// The last entry of its log.
    pub last: u64,
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who follows without a vote.
    pub learners: Vec<u64>,
    /// Whether a change of the members is half way.
    pub is_changing: bool,
    /// Every node that it knows.
    pub known: Vec<KnownNode>,
    /// Whether it is ready, in words.
    pub health: String,
    /// The low half of its state's digest: equal states have equal ones.
    pub digest: u64,
    /// How many partitions there are; all but the nodes is of one of them.
    pub partitions: u32,
}

impl ClusterStatus {
    /// Whether a node is a member, with a vote or without.
    #[must_use]
    pub fn takes_part(&self, node: u64) -> bool {
        self.voters.contains(&node) || self.learners.contains(&node)
    }
}

/// A node that another knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// Its identity.
    pub node: u64,
    /// Where it is.
    pub address: String,
    /// Whether there is a connection to it.
    pub is_reached: bool,
}

/// What an operator may order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// A node that was removed follows again, without a vote.
    Add(u64),
    /// A node takes part no more.
    Remove(u64),
    /// A node that follows gets a vote, also on the host of another voter if it says so.
    Promote(u64, SameHost),
    /// Another voter is to lead.
    Transfer(u64),
    /// The newest version of apply that all builds run is put in force.
    Activate,
    /// A node stops in order: somebody else leads, what was asked is finished, everything is flushed.
    Drain(u64),
}

/// Whether a node may vote although another voter is on the same host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameHost {
    /// It may.
    Allowed,
    /// It may not.
    Refused,
}

impl Command {
    /// Whether it is done, as a node sees it: by an earlier order whose answer was lost.
    fn is_carried_out(self, status: &ClusterStatus) -> bool {
        match self {
            Command::Add(node) => status.takes_part(node),
            Command::Remove(node) => !status.is_changing && !status.takes_part(node),
            Command::Promote(node, _) => status.voters.contains(&node),
            Command::Transfer(node) => status.leader == Some(node),
            Command::Activate | Command::Drain(_) => false,
        }
    }

    fn order(self) -> Order {
        let (kind, node) = match self {
            Command::Add(node) => (OrderKind::AddLearner, node),
            Command::Remove(node) => (OrderKind::Remove, node),
            Command::Promote(node, _) => (OrderKind::Promote, node),
            Command::Transfer(node) => (OrderKind::Transfer, node),
            Command::Activate => (OrderKind::Activate, 0),
            Command::Drain(node) => (OrderKind::Drain, node),
        };
        Order { kind: kind as i32, node, same_host: matches!(self, Command::Promote(_, SameHost::Allowed)) }
    }
}

/// Asks the node at a peer address how it sees a partition of its cluster.
///
/// # Errors
/// A sentence.
pub fn status(schema: &Schema, settings: &Settings, address: &str, partition: u32) -> Result<ClusterStatus, String> {
    let security = Security::read(&settings.peer_tls)?;
    blocking(Operator { security: &security, schema, partition }.status_of(address))
}

/// The same of all partitions, in order.
///
/// # Errors
/// A sentence.
pub fn statuses(schema: &Schema, settings: &Settings, address: &str) -> Result<Vec<ClusterStatus>, String> {
    let first = status(schema, settings, address, 0)?;
    let rest = (1..first.partitions).map(|partition| status(schema, settings, address, partition));
    std::iter::once(Ok(first)).chain(rest).collect()
}

/// Gives an order to whoever leads, beginning with the node at a peer address; what is about members or leaders, in every partition.
/// Comes back when it is carried out.
///
/// # Errors
/// Why it was not, and what to do.
pub fn command(schema: &Schema, settings: &Settings, address: &str, command: Command) -> Result<(), String> {
    let security = Security::read(&settings.peer_tls)?;
    blocking(async {
        let first = Operator { security: &security, schema, partition: 0 };
        if let Command::Drain(node) = command {
            return first.drain(address, node).await;
        }
        let partitions = first.status_of(address).await?.partitions;
        let mut in_force = Vec::new();
        for partition in 0..partitions {
            let operator = Operator { partition, ..first };
            // An order that was carried out in part is given again as a whole.
            if partitions > 1 && command.is_carried_out(&operator.status_of(address).await?) {
                continue;
            }
            match operator.carry_out(address, command).await {
                Ok(()) => {}
                Err(why) if partitions == 1 => return Err(why),
                // A partition in which nothing was written before has begun with the newest version.
                Err(why) if command == Command::Activate && why.contains(IN_FORCE) => in_force.push(why),
                Err(why) => return Err(format!("partition {partition} of {partitions}: {why}")),
            }
        }
        if in_force.len() < partitions as usize { Ok(()) } else { Err(in_force.swap_remove(0)) }
    })
}

/// Who asks, and of which partition.
#[derive(Clone, Copy)]
struct Operator<'a> {
    security: &'a Security,
    schema: &'a Schema,
    partition: u32,
}

impl Operator<'_> {
    async fn carry_out(self, address: &str, command: Command) -> Result<(), String> {
        match command {
            Command::Transfer(to) => self.transfer(address, to).await,
            Command::Drain(_) | Command::Activate => self.order(address, command).await,
            Command::Remove(node) => {
                let ClusterStatus { leader, voters, known, .. } = self.status_of(address).await?;
                let other = known.iter().find(|other| other.is_reached && other.node != node && voters.contains(&other.node));
                let is_there = known.iter().any(|known| known.node == node && known.is_reached);
                if let (true, true, Some(other)) = (leader == Some(node), is_there, other) {
                    // Nobody has to find out that it is gone. It can be taken out also if nobody takes over in time.
                    let _ = tokio::time::timeout(HANDED_OVER_SOON, self.transfer(address, other.node)).await;
                }
                self.change(address, command).await
            }
            Command::Add(node) => {
                let status = self.status_of(address).await?;
                if !status.takes_part(node) && !status.known.iter().any(|known| known.node == node && known.is_reached) {
                    return Err(format!("node {node:x} is not heard of: start it, a new one with an empty --data and --join {address}"));
                }
                self.change(address, command).await
            }
            Command::Promote(..) => self.change(address, command).await,
        }
    }

    /// Changes the members, and comes back when the change is whole.
    async fn change(self, address: &str, command: Command) -> Result<(), String> {
        self.order(address, command).await?;
        let mut unanswered = String::new();
        for _ in 0..CHANGE_LOOKS_MAX {
            match self.status_of(address).await {
                Ok(status) if command.is_carried_out(&status) && !status.is_changing => return Ok(()),
                Ok(_) => unanswered.clear(),
                // It may be starting again, or busy: the next look may tell.
                Err(why) => unanswered = format!("; {why}"),
            }
            tokio::time::sleep(LEADS_SOON.1).await;
        }
        Err(format!("the change is ordered and not seen to be whole; look at the status{unanswered}"))
    }

    /// Hands leadership over until the other has it.
    async fn transfer(self, address: &str, to: u64) -> Result<(), String> {
        for _ in 0..TRANSFERS_MAX {
            self.order(address, Command::Transfer(to)).await?;
            let until = tokio::time::Instant::now() + LEADS_SOON.0;
            while tokio::time::Instant::now() < until {
                if self.status_of(address).await?.leader == Some(to) {
                    return Ok(());
                }
                tokio::time::sleep(LEADS_SOON.1).await;
            }
        }
        Err(format!("node {to:x} did not take over: it may not keep up with the log; look at the status"))
    }

    /// Has a node stop, and comes back when it cannot be reached any more.
    async fn drain(self, address: &str, node: u64) -> Result<(), String> {
        let status = self.status_of(address).await?;
        let place = status.known.iter().find(|known| known.node == node);
        let place = place.ok_or_else(|| format!("node {node:x} is not known; look at the status"))?;
        let question = Question::Order(Command::Drain(node).order());
        let told = self.ask(&place.address, question).await.map_err(|why| format!("{why}; it may have stopped already"))?;
        if told.hello.node != node {
            return Err(format!("node {:x} is at {} now", told.hello.node, place.address));
        }
        match told.told.reply.map(|reply| reply.read(self.schema)) {
            Some(Ok(Reply::Done { .. })) => {}
            Some(Ok(Reply::Refused(refusal))) => return Err(refusal.message),
            other => return Err(format!("node {node:x} said {other:?}; it may be of another build")),
        }
        let until = tokio::time::Instant::now() + DRAIN_TIME_MAX;
        let mut silent = 0;
        while tokio::time::Instant::now() < until && silent < SILENT_LOOKS {
            silent = match self.status_of(&place.address).await {
                Ok(status) if status.node == node => 0,
                // Another is there, which only one that is gone makes room for.
                Ok(_) => return Ok(()),
                Err(_) => silent + 1,
            };
            tokio::time::sleep(LEADS_SOON.1).await;
        }
        if silent == SILENT_LOOKS {
            return Ok(());
        }
        Err(format!("node {node:x} has not stopped in {} s; look at its log", DRAIN_TIME_MAX.as_secs()))
    }

    /// Gives an order to the node that leads, as the node at a peer address sees it.
    async fn order(self, address: &str, command: Command) -> Result<(), String> {
        for tried in 0..LEADERS_TRIED_MAX {
            let status = self.status_of(address).await?;
            if (tried > 0 || !matches!(command, Command::Remove(_))) && command.is_carried_out(&status) {
                return Ok(());
            }
            let leader = status.known.iter().find(|known| Some(known.node) == status.leader);
            // What was ordered before, and perhaps of another leader, may be half way.
            let is_half_way = tried > 0 && status.is_changing;
            if let Some(leader) = leader.filter(|_| !is_half_way) {
                let told = self.ask(&leader.address, Question::Order(command.order())).await;
                match told.map(|asked| asked.told.reply.map(|reply| reply.read(self.schema))) {
                    Ok(Some(Ok(Reply::Done { .. }))) => return Ok(()),
                    Ok(Some(Ok(Reply::Refused(refusal)))) => return Err(refusal.message),
                    // Another leads by now, or will; what became of the order is seen in the status.
                    Ok(Some(Ok(Reply::Elsewhere(_) | Reply::Retry(_) | Reply::Unknown(_)))) | Err(_) => {}
                    Ok(Some(Ok(other))) => return Err(format!("the node at {address} said {other:?}; look at the status, and ask again")),
                    Ok(Some(Err(_)) | None) => return Err(format!("the node at {address} answered something else than was asked")),
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err("no node leads for long enough; look at the status, and ask again".to_owned())
    }

    async fn status_of(self, address: &str) -> Result<ClusterStatus, String> {
        let Asked { hello, told } = self.ask(address, Question::Status(())).await?;
        match told.reply {
            Some(SentReply::Status(status)) => Ok(seen(hello, status)),
            Some(_) | None => Err(format!("the node at {address} did not tell how it sees its cluster")),
        }
    }

    async fn ask(self, address: &str, question: Question) -> Result<Asked, String> {
        let hello = Hello::of_stranger(self.schema.service);
        let ask = Ask { number: 1, partition: self.partition, question: Some(question) };
        let asked = tokio::time::timeout(ANSWER_TIME_MAX, peers::ask_stranger(self.security, address, hello, ask)).await;
        asked
            .map_err(|_| format!("no answer from {address} in {} s", ANSWER_TIME_MAX.as_secs()))?
            .map_err(|why| format!("{address}: {why}"))
    }
}

fn seen(hello: Hello, status: SentStatus) -> ClusterStatus {
    let known = status.known.into_iter();
    ClusterStatus {
        cluster: hello.cluster,
        node: hello.node,
        leader: (status.leader != 0).then_some(status.leader),
        term: status.term,
        applied: status.applied,
        committed: status.committed,
        last: status.last,
        voters: status.voters,
        learners: status.learners,
        is_changing: status.is_changing,
        known: known.map(|seen| KnownNode { node: seen.node, address: seen.address, is_reached: seen.is_reached }).collect(),
        health: status.health,
        digest: status.digest,
        partitions: status.partitions.max(1),
    }
}

fn blocking<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("cannot start a thread: {error}"))?.block_on(work)
}
