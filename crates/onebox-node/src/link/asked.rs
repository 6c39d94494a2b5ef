//! What other nodes and operators ask of the executor here, and what nodes answer.

use onebox_replica::{Consistency, Input, PeerId, PeerMessage, Read, Token};
use onebox_service::attempt::Reply;
use onebox_service::{Code, Time};
use onebox_store::LogIndex;

use super::{Link, Out, Standing};
use crate::peers::wire::{self, Ask, Order, OrderKind, Question, Seen, SentRead, SentReply, SentStatus, Told};
use crate::peers::{Responder, lock};

impl Link {
    /// Asks the executor here for somebody else.
    fn ask_here(&self, responder: Responder, input: impl FnOnce(Token) -> Result<Input, Reply>) {
        let mut waiting = lock(&self.waiting);
        let number = waiting.out(self.me, Out::Asker(responder));
        if let Err(reply) = input(Token(number)).and_then(|input| self.input(input))
            && let Some((_, out)) = waiting.out.remove(&number)
        {
            drop(waiting);
            self.tell(out, reply, LogIndex(0));
        }
    }

    fn read_for(&self, token: Token, read: SentRead) -> Result<Input, Reply> {
        let SentRead { tenant, method, body, at_least, wait, any_replica } = read;
        let method = self.schema().method(&method).ok_or_else(|| wire::no_method(&method))?;
        let deadline = self.uptime().saturating_add(wait);
        // A build before asked for a position only of whoever leads, where it holds in any case.
        let consistency = if any_replica { Consistency::AtLeast(LogIndex(at_least)) } else { Consistency::Linearizable };
        Ok(Input::Read(Read { token, tenant, method, body, consistency, deadline }))
    }

    fn status(&self) -> SentStatus {
        let known = self.peers.get().map_or_else(Vec::new, |peers| peers.known());
        let known = known.into_iter().map(|(node, address, is_reached)| Seen { node, address, is_reached }).collect();
        let health = self.health().reason;
        let Some(Standing { status, members, digest }) = self.standing() else {
            return SentStatus { known, health, partitions: self.partitions, ..SentStatus::default() };
        };
        SentStatus {
            leader: status.leader.map_or(0, |leader| leader.0),
            term: status.term.0,
            applied: status.progress.0.0,
            committed: status.committed.0,
            last: status.progress.1.0,
            is_changing: members.is_joint(),
            voters: members.voters,
            learners: members.learners,
            known,
            health,
            digest,
            partitions: self.partitions,
        }
    }

    /// Why a node is not to vote, if it is on the host of one that does.
    fn shares_a_host(&self, order: Order) -> Option<String> {
        let (Standing { status, members, .. }, peers) = (self.standing()?, self.peers.get()?);
        if order.kind() != OrderKind::Promote || order.same_host || !status.leads {
            return None;
        }
        let (other, host) = peers.on_the_same_host(order.node, &members.voters)?;
        let node = order.node;
        Some(format!(
            "node {node:x} is on the host {host}, as the voter {other:x} is: its loss would cost two votes. Run it elsewhere, or say so: \
             cluster promote {node:x} --same-host"
        ))
    }
}

/// An order, as the executor takes it; or what is said of one that this build does not know.
pub(super) fn ordered(token: Token, order: Order) -> Result<Input, Reply> {
    match order.kind() {
        OrderKind::AddLearner | OrderKind::Promote | OrderKind::Remove => order.change().map(|change| Input::Change(token, change)),
        OrderKind::Transfer => Some(Input::Transfer(token, PeerId(order.node))),
        OrderKind::Activate => Some(Input::Activate(token)),
        OrderKind::Drain | OrderKind::Unspecified => None,
    }
    .ok_or_else(wire::newer)
}

impl Link {
    /// A replica speaks to the one here.
    pub(crate) fn hear(&self, message: PeerMessage) {
        // What does not fit now is repeated.
        let _ = self.input(Input::Peer(Box::new(message)));
    }

    /// Somebody asks.
    pub(crate) fn ask(&self, responder: Responder, ask: Ask) {
        match ask.question {
            Some(Question::Attempt(attempt)) => {
                self.ask_here(responder, |token| Ok(Input::Attempt(token, attempt.attempt(self.schema())?)));
            }
            Some(Question::Read(read)) => self.ask_here(responder, |token| self.read_for(token, read)),
            Some(Question::Fate(id)) => self.ask_here(responder, |token| Ok(Input::Outcome(token, id.id()))),
            Some(Question::Order(order)) if order.kind() == OrderKind::Drain && order.node == self.me => {
                self.stop_ordered.notify_one();
                self.ask_here(responder, |_| Err(Reply::Done { response: Vec::new(), repeated: false }));
            }
            Some(Question::Order(order)) => self.ask_here(responder, |token| match self.shares_a_host(order) {
                Some(words) => Err(Reply::refused(Code::FailedPrecondition, words)),
                None => ordered(token, order),
            }),
            Some(Question::Status(())) => {
                let reply = Some(SentReply::Status(self.status()));
                responder.answer(Told { number: responder.number, at: self.published().0, time: self.log_time().0, reply });
            }
            None => self.ask_here(responder, |_| Err(wire::newer())),
        }
    }

    /// A node answers.
    pub(crate) fn told(&self, node: u64, told: Told) {
        lock(&self.waiting).client.hear_time(Time(told.time));
        match told.reply.map(|reply| reply.read(self.schema())) {
            Some(Ok(reply)) => self.replied(node, told.number, reply, LogIndex(told.at)),
            Some(Err(fate)) => self.fate_told(node, told.number, fate),
            None => self.replied(node, told.number, Reply::Unknown("a node's answer was of a newer build".to_owned()), LogIndex(0)),
        }
    }

    /// A connection to a node has ended.
    pub(crate) fn lost(&self, node: u64) {
        let why = "the connection with the node that was asked ended before it answered";
        self.unanswered(node, &Reply::Unknown(why.to_owned()));
    }
}
