//! What was told of a request's end stays true, whatever the clocks and the open entry are at.

use onebox_replica::{Input, Token};
use onebox_service::attempt::{Attempt, Command, Fate, Reply, RequestId, Sequence, SessionId};
use onebox_service::{Method, Time};
use onebox_store::memory::MemoryDisk;

use inventory::{AddProducts, AddProductsRequest};
use onebox::private::prost::Message;

use crate::history::History;
use crate::machine::Machine;
use crate::scene::START;

struct Desk {
    machine: Machine,
    session: SessionId,
}

impl Desk {
    fn new() -> Desk {
        let opened = Machine::open(&MemoryDisk::new(), START, 1, History::default(), u64::MAX);
        let mut machine = opened.unwrap_or_else(|not| panic!("{}", not.fault));
        let id = RequestId { session: SessionId(0), sequence: Sequence(0), not_after: START.plus_micros(1_000_000) };
        while !machine.status().serves {
            machine.turn();
            machine.append();
        }
        machine.give(Input::Attempt(Token(0), Attempt { id, acknowledged_below: Sequence(0), command: Command::OpenSession }));
        let mut desk = Desk { machine, session: SessionId(0) };
        desk.finish();
        let (_, Reply::Opened(session), _) = desk.machine.desk.replies.remove(0) else { panic!("a session is opened") };
        desk.session = session;
        desk
    }

    fn finish(&mut self) {
        for _ in 0..4 {
            self.machine.turn();
            self.machine.append();
        }
    }

    fn id(&self, sequence: u64, not_after: Time) -> RequestId {
        RequestId { session: self.session, sequence: Sequence(sequence), not_after }
    }

    fn send(&mut self, sequence: u64, not_after: Time) {
        let body = AddProductsRequest { skus: vec![format!("GPU {sequence}")] }.encode_to_vec();
        let command = Command::Call { tenant: "default".to_owned(), method: AddProducts::ID, body, key: None };
        let attempt = Attempt { id: self.id(sequence, not_after), acknowledged_below: Sequence(0), command };
        self.machine.give(Input::Attempt(Token(sequence), attempt));
    }
}

#[test]
fn a_late_attempt_at_what_took_effect_gets_its_answer() {
    let mut desk = Desk::new();
    let soon = desk.machine.clock.wall.plus_micros(100);
    desk.send(1, soon);
    desk.finish();
    desk.machine.pass(10_000);
    desk.send(1, soon);
    desk.send(2, soon);
    desk.finish();
    let replies: Vec<Reply> = desk.machine.desk.replies.drain(..).map(|(_, reply, _)| reply).collect();
    let [Reply::Done { response, repeated: false }, Reply::Done { response: again, repeated: true }, Reply::Refused(refusal)] =
        &replies[..]
    else {
        panic!("{replies:?}");
    };
    assert_eq!(response, again);
    assert_eq!(refusal.code, onebox_service::Code::DeadlineExceeded);
}

#[test]
fn a_request_that_is_said_to_have_no_effect_never_acts() {
    let mut desk = Desk::new();
    let later = desk.machine.clock.wall.plus_micros(1_000_000);
    // Two entries wait for the disk, and a third is open with the time of now.
    for sequence in 1..4 {
        desk.send(sequence, later);
        desk.machine.turn();
    }
    let soon = desk.machine.clock.wall.plus_micros(100);
    desk.machine.pass(10_000);
    desk.machine.give(Input::Outcome(Token(100), desk.id(4, soon)));
    desk.send(4, soon);
    desk.finish();
    let acted = desk.machine.desk.replies.iter().any(|(token, reply, _)| *token == Token(4) && matches!(reply, Reply::Done { .. }));
    let [(Token(100), fate)] = &desk.machine.desk.fates[..] else { panic!("{:?}", desk.machine.desk.fates) };
    assert!(!acted || *fate != Fate::NoEffect, "it acted, and was said to have no effect for ever");
}

#[test]
fn a_clock_that_goes_back_revives_nothing() {
    let mut desk = Desk::new();
    let soon = desk.machine.clock.wall.plus_micros(100);
    desk.machine.pass(10_000);
    desk.machine.give(Input::Outcome(Token(100), desk.id(1, soon)));
    desk.finish();
    assert_eq!(desk.machine.desk.fates, [(Token(100), Fate::NoEffect)]);
    desk.machine.clock.wall = START;
    desk.send(1, soon);
    desk.finish();
    let (_, reply, _) = desk.machine.desk.replies.remove(0);
    assert_eq!(reply, Reply::Withdrawn, "it acted after it was said to have no effect");
}
