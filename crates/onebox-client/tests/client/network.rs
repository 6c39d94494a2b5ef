//! A client among several nodes: whom it asks.

use onebox_client::{Caller, Errand, NetworkClient, Now, RETRY_MAX_MICROS, SILENCE_MICROS, Whom};
use onebox_service::Time;
use onebox_service::attempt::{Attempt, Reply, SessionId};

use crate::deck::command;

const LONG: u64 = 600_000_000;
/// Between two ticks.
const TICK: u64 = 20_000;

/// A client that knows the nodes 7, 8 and 9, and its clock.
struct Table {
    client: NetworkClient<&'static str>,
    uptime: u64,
}

type Sent = (u64, Attempt);

impl Table {
    /// With a session, and one call whose attempt is out.
    fn asking() -> (Table, Sent) {
        let mut table = Table { client: NetworkClient::new(vec![7, 8, 9]), uptime: 7 };
        let errands = table.client.call(table.now(), Caller(1), command(1), table.uptime + LONG);
        let (to, opening) = sent(&errands).expect("a session is opened");
        let errands = table.client.reply(table.now(), to, opening.id, Reply::Opened(SessionId(1)));
        let first = sent(&errands).expect("the call is sent");
        (table, first)
    }

    fn now(&self) -> Now {
        Now { uptime: self.uptime, log: Time(self.uptime) }
    }

    /// Time passes, tick by tick, until something is sent.
    fn next(&mut self) -> Sent {
        loop {
            self.uptime = (self.uptime / TICK + 1) * TICK;
            if let Some(next) = sent(&self.client.tick(self.now())) {
                return next;
            }
        }
    }

    /// A node answers between two ticks.
    fn hear(&mut self, from: &Sent, reply: Reply) {
        self.uptime += TICK / 4;
        assert!(sent(&self.client.reply(self.now(), from.0, from.1.id, reply)).is_none(), "what is repeated waits first");
    }
}

fn sent(errands: &[Errand<&'static str>]) -> Option<Sent> {
    errands.iter().find_map(|errand| match errand {
        Errand::Attempt { to, attempt } => Some((*to, attempt.clone())),
        Errand::Read { .. } | Errand::Answer(..) | Errand::ReadAnswer(..) => None,
    })
}

#[test]
fn the_leader_that_was_named_is_asked_however_long_the_wait_before() {
    // Timeline to avoid: while a call waits to be sent again nothing is heard, which says nothing of whoever leads.
    const { assert!(RETRY_MAX_MICROS + TICK > SILENCE_MICROS, "the wait may seem a silence") };
    let (mut table, mut out) = Table::asking();
    for _ in 0..8 {
        table.hear(&out, Reply::Retry("later"));
        out = table.next();
    }
    for _ in 0..8 {
        table.hear(&out, Reply::Elsewhere(Some(9)));
        out = table.next();
        assert_eq!(out.0, 9);
    }
}

#[test]
fn whoever_is_silent_is_left_for_the_next() {
    let (mut table, first) = Table::asking();
    assert_eq!(first.0, 7);
    let second = table.next();
    assert_eq!((second.0, second.1.id), (8, first.1.id), "the same request, to another");
}

#[test]
fn a_read_is_asked_again_and_what_is_overloaded_is_not() {
    let mut table = Table { client: NetworkClient::new(vec![7, 8]), uptime: 7 };
    let until = table.uptime + LONG;
    let [Errand::Read { to: 7, number: 1, .. }] = table.client.read(table.now(), 1, "a read", Whom::Leader, until)[..] else {
        panic!("7 is asked")
    };
    assert!(table.client.read_reply(table.now(), 7, 1, Reply::Elsewhere(Some(8))).is_empty());
    table.uptime += TICK;
    let [Errand::Read { to: 8, number: 1, read: "a read" }] = table.client.tick(table.now())[..] else { panic!("8 is asked") };
    let ended = table.client.read_reply(table.now(), 8, 1, Reply::Overloaded);
    assert!(matches!(ended[..], [Errand::ReadAnswer(1, Some(Reply::Overloaded))]), "{ended:?}");
    assert_eq!(table.client.pending(), 0);
}

#[test]
fn a_read_that_nobody_can_answer_yet_is_asked_again_for_as_long_as_it_takes() {
    let mut table = Table { client: NetworkClient::new(vec![7]), uptime: 7 };
    table.client.read(table.now(), 1, "a read", Whom::Leader, LONG);
    for _ in 0..200 {
        table.client.read_reply(table.now(), 7, 1, Reply::Retry("later"));
        table.uptime += TICK;
        assert_eq!(table.client.tick(table.now()).len(), 1, "it is asked again at the next tick");
    }
}

#[test]
fn a_read_that_any_node_may_answer_goes_to_the_nearest_and_then_to_the_leader() {
    let mut table = Table { client: NetworkClient::new(vec![7, 8, 9]), uptime: 7 };
    table.client.elsewhere(7, Some(9));
    let asked = |errands: &[Errand<&'static str>]| {
        errands.iter().find_map(|errand| if let Errand::Read { to, .. } = errand { Some(*to) } else { None })
    };
    assert_eq!(asked(&table.client.read(table.now(), 1, "a read", Whom::Nearest, LONG)), Some(7));
    assert_eq!(asked(&table.client.read(table.now(), 2, "a read", Whom::Leader, LONG)), Some(9));
    drop(table.client.read_reply(table.now(), 9, 2, Reply::Overloaded));
    let again = (0..1_000).find_map(|_| {
        table.uptime += TICK;
        asked(&table.client.tick(table.now()))
    });
    assert_eq!(again, Some(9), "that the nearest is silent says nothing of the leader");
}

/// Timeline that was there: the nearest was overloaded, its readers were told so, and the leader had nothing to do.
#[test]
fn a_read_that_the_nearest_has_no_room_for_is_asked_of_the_leader() {
    let mut table = Table { client: NetworkClient::new(vec![7, 8, 9]), uptime: 7 };
    table.client.elsewhere(7, Some(9));
    drop(table.client.read(table.now(), 1, "a read", Whom::Nearest, LONG));
    assert!(table.client.read_reply(table.now(), 7, 1, Reply::Overloaded).is_empty());
    table.uptime += TICK;
    let [Errand::Read { to: 9, number: 1, .. }] = table.client.tick(table.now())[..] else { panic!("the leader is asked") };
    assert!(table.client.read_reply(table.now(), 7, 1, Reply::Overloaded).is_empty(), "it is not asked any more");
    let ended = table.client.read_reply(table.now(), 9, 1, Reply::Overloaded);
    assert!(matches!(ended[..], [Errand::ReadAnswer(1, Some(Reply::Overloaded))]), "{ended:?}");
}

/// Callers waited for the end of a pause that had grown, while a new leader was there already.
#[test]
fn what_waits_is_asked_of_a_new_leader_at_once() {
    let (mut table, mut out) = Table::asking();
    for _ in 0..6 {
        table.hear(&out, Reply::Retry("nobody leads"));
        out = table.next();
    }
    table.hear(&out, Reply::Retry("nobody leads"));
    table.client.read(table.now(), 1, "a read", Whom::Leader, LONG);
    assert!(table.client.read_reply(table.now(), table.client.target(), 1, Reply::Elsewhere(None)).is_empty());
    let errands = table.client.leads(table.now(), 9);
    assert_eq!(sent(&errands).map(|(to, attempt)| (to, attempt.id)), Some((9, out.1.id)), "it is the request that waited");
    assert!(errands.iter().any(|errand| matches!(errand, Errand::Read { to: 9, number: 1, .. })), "{errands:?}");
    assert!(table.client.leads(table.now(), 9).is_empty(), "what is asked is not asked twice");
}

#[test]
fn members_may_change_and_whom_to_ask_stays_while_it_is_there() {
    let (mut table, out) = Table::asking();
    table.hear(&out, Reply::Elsewhere(Some(8)));
    table.client.nodes_are(vec![7, 5, 8]);
    assert_eq!(table.client.target(), 8);
    table.client.nodes_are(vec![7, 5]);
    assert!([7, 5].contains(&table.client.target()));
}
