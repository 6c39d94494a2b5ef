//! A worker: one connection, one corner, one request after the other, until the server is gone; then the reckoning.
//!
//! Since nobody else changes the corner, every answer can be told in advance. When the connection breaks, one request is
//! open: it must have taken effect wholly or not at all, and its key, if it has one, must tell which.

use std::io;
use std::net::SocketAddr;

use crate::client::{Ask, Connection, Reply};
use crate::corner::{Corner, Deed};
use crate::random::Random;

/// First answers of one worker that are asked for again after each restart: so many of the last, and as many of all.
const ASKED_AGAIN: usize = 20;

/// How one step ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It took effect, or was refused as it had to be.
    Answered,
    /// The server had no room; nothing changed.
    TurnedAway,
    /// The server is stopping or gone.
    Ended,
}

/// What the reckoning after a restart found.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Reckoning {
    /// Requests that had no answer when the server went.
    pub(crate) open: u64,
    /// Those of them that had taken effect.
    pub(crate) took_effect: u64,
    /// Those that had a key and were sent again.
    pub(crate) retried: u64,
    /// Keys that were sent again, and gave their first answer.
    pub(crate) repeated: u64,
}

impl Reckoning {
    pub(crate) fn add(&mut self, other: Reckoning) {
        self.open += other.open;
        self.took_effect += other.took_effect;
        self.retried += other.retried;
        self.repeated += other.repeated;
    }
}

pub(crate) struct Worker {
    number: usize,
    random: Random,
    pub(crate) corner: Corner,
    deeds: u64,
    /// Every request with a key that took effect, and its first answer.
    first_answers: Vec<(Ask, Vec<u8>)>,
    /// The request that has no answer.
    open: Option<(Deed, Ask)>,
    pub(crate) acknowledged: u64,
    /// What it heard last.
    pub(crate) ended_by: String,
}

impl Worker {
    /// Sets up the worker's corner.
    pub(crate) fn new(connection: &mut Connection, number: usize, seed: u64) -> Worker {
        let corner = Corner::set_up(connection, number);
        let random = Random::new(seed.wrapping_add(number as u64));
        Worker { number, random, corner, deeds: 0, first_answers: Vec::new(), open: None, acknowledged: 0, ended_by: String::new() }
    }

    /// Works until the server goes, telling `answered` of each answer.
    pub(crate) fn work(&mut self, address: SocketAddr, answered: impl Fn()) {
        let Ok(mut connection) = Connection::open(address) else { return };
        loop {
            match self.step(&mut connection) {
                Step::Answered => answered(),
                Step::TurnedAway => {}
                Step::Ended => return,
            }
        }
    }

    /// One request and its answer.
    pub(crate) fn step(&mut self, connection: &mut Connection) -> Step {
        assert!(self.open.is_none(), "a worker goes on only after the reckoning");
        let deed = self.next_deed();
        self.deeds += 1;
        let mut ask = self.corner.ask(&deed);
        if self.random.below(4) > 0 {
            ask = ask.keyed(format!("worker {} deed {}", self.number, self.deeds));
        }
        let reply = connection.send(&ask);
        self.hear(deed, ask, reply)
    }

    fn hear(&mut self, deed: Deed, ask: Ask, reply: io::Result<Reply>) -> Step {
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                self.ended_by = error.to_string();
                self.open = Some((deed, ask));
                return Step::Ended;
            }
        };
        self.ended_by = reply.to_string();
        match reply.code().as_str() {
            "RESOURCE_EXHAUSTED" => return Step::TurnedAway,
            // It says that nothing changed.
            "UNAVAILABLE" => return Step::Ended,
            "UNKNOWN" | "DEADLINE_EXCEEDED" => {
                self.open = Some((deed, ask));
                return Step::Ended;
            }
            _ => {}
        }
        assert!(!reply.repeated(), "a new key was answered as if it were known: {ask:?}\n{reply}");
        self.note(&deed, ask, &reply);
        Step::Answered
    }

    /// Notes an answer, which must be the one that this corner's state demands.
    fn note(&mut self, deed: &Deed, ask: Ask, reply: &Reply) {
        self.acknowledged += 1;
        if let Some(code) = self.corner.refusal(deed) {
            assert_eq!(reply.code(), code, "{deed:?} in {:?}\n{reply}", self.corner.books);
            return;
        }
        assert_eq!(reply.status, 200, "{deed:?} in {:?}\n{reply}", self.corner.books);
        self.corner.apply(deed, Some(&reply.json()));
        if is_keyed(&ask) {
            self.first_answers.push((ask, reply.body.clone()));
        }
    }

    /// Compares the corner with what a restarted server shows, settles the open request, and asks for old answers again.
    pub(crate) fn reckon(&mut self, connection: &mut Connection) -> Reckoning {
        let mut reckoning = Reckoning::default();
        let open = self.open.take();
        let seen = self.corner.read(connection, open.as_ref().map(|(deed, _)| deed));
        match open {
            None => assert_eq!(seen, self.corner.books, "worker {} had no open request", self.number),
            Some((deed, ask)) => {
                let mut after = self.corner.clone();
                if self.corner.refusal(&deed).is_none() {
                    after.apply(&deed, None);
                }
                let took_effect = seen != self.corner.books;
                if took_effect {
                    assert_eq!(
                        seen, after.books,
                        "worker {}: {deed:?} is half applied, or another is lost; before it: {:?}",
                        self.number, self.corner.books
                    );
                }
                reckoning.open = 1;
                reckoning.took_effect = u64::from(took_effect);
                reckoning.retried = u64::from(is_keyed(&ask));
                self.settle(connection, &deed, ask, took_effect);
                let seen = self.corner.read(connection, Some(&deed));
                assert_eq!(seen, self.corner.books, "worker {}: after {deed:?} was settled", self.number);
            }
        }
        reckoning.repeated = self.ask_again(connection);
        reckoning
    }

    fn settle(&mut self, connection: &mut Connection, deed: &Deed, ask: Ask, took_effect: bool) {
        if !is_keyed(&ask) {
            if took_effect {
                self.corner.apply(deed, None);
            }
            return;
        }
        let reply = connection.ask(&ask);
        assert_eq!(reply.repeated(), took_effect, "{deed:?} was sent again\n{reply}");
        self.note(deed, ask, &reply);
    }

    /// Sends requests again that took effect. Each must give its first answer, byte for byte.
    fn ask_again(&mut self, connection: &mut Connection) -> u64 {
        let count = self.first_answers.len();
        let last = count.saturating_sub(ASKED_AGAIN)..count;
        let any: Vec<usize> = (0..ASKED_AGAIN.min(count)).map(|_| self.random.place(count)).collect();
        let mut asked = 0;
        for place in last.chain(any) {
            let (ask, first) = &self.first_answers[place];
            let reply = connection.ask(ask);
            assert!(reply.status == 200 && reply.repeated(), "{ask:?} was sent again\n{reply}");
            assert_eq!(String::from_utf8_lossy(&reply.body), String::from_utf8_lossy(first), "{ask:?} was sent again");
            asked += 1;
        }
        asked
    }

    fn next_deed(&mut self) -> Deed {
        let (number, deeds) = (self.number, self.deeds);
        let reservation = self.corner.reservations.keys().copied().nth(self.random.place(self.corner.reservations.len().max(1)));
        let quantities = [1 + self.quantity(9), 1 + self.quantity(9)];
        match (self.random.below(100), reservation) {
            (0..40, _) | (60..80, None) => {
                // A little more goes in than out, and some of what would go out is not there.
                Deed::UpdateStock {
                    product: self.random.place(2),
                    change: [self.quantity(50) + 1, -self.quantity(45) - 1][self.random.place(2)],
                }
            }
            (40..60, _) => Deed::Reserve { code: format!("{number}-{deeds}"), quantities },
            (60..70, Some(reservation)) => Deed::Fulfill { reservation, picks: quantities },
            (70..80, Some(reservation)) => Deed::Cancel { reservation },
            (80..87, _) => Deed::AddForest { name: format!("forest-{deeds}"), side: self.random.place(2) },
            (87..94, _) => self.move_a_forest(),
            (94.., _) => Deed::AddProducts { skus: [1, 2, 3].map(|sku| format!("{number}-{deeds}-{sku}")) },
        }
    }

    fn move_a_forest(&mut self) -> Deed {
        let count = self.corner.roots.len();
        let Some((name, root)) = self.corner.roots.iter().nth(self.random.place(count.max(1))) else {
            return Deed::AddForest { name: "first forest".to_owned(), side: 0 };
        };
        Deed::MoveForest { name: name.clone(), root: *root, side: 1 - self.corner.books.forests[name] }
    }

    fn quantity(&mut self, end: u64) -> i64 {
        i64::try_from(self.random.below(end)).expect("quantities are small")
    }
}

fn is_keyed(ask: &Ask) -> bool {
    ask.headers.iter().any(|(name, _)| *name == "Idempotency-Key")
}
