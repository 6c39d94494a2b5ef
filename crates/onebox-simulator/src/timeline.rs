//! What happened in a run: a hash of all of it, always, and all of it as text, if asked for.

use std::fmt::{self, Write as _};

use onebox_replica::PeerMessage;
use onebox_replica::peer::{ConsensusKind, PeerBody};
use onebox_store::{LogIndex, Term};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::checks::seconds;
use crate::workload::Ended;

/// Where something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// At a machine.
    Machine(usize),
    /// At a machine's replica of a partition, where there are several.
    Replica(usize, usize),
    /// At a gateway and its clients.
    Gateway(usize),
    /// Nowhere in particular.
    World,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A process runs.
    Up,
    /// A process does not run any more, and why.
    Down(&'static str),
    /// A replica stopped, and why.
    Stopped(String),
    /// A disk was replaced by an empty one.
    Wiped,
    /// A replica leads in this term, from this entry on.
    Leads(Term, LogIndex),
    /// A message was sent; it arrives then, or never.
    Sent {
        /// To which machine.
        to: usize,
        /// When it arrives.
        arrives: Option<u64>,
        /// What it is.
        words: String,
    },
    /// Something goes wrong: which of the list, for how long, and in words.
    Strike {
        /// Its number.
        number: usize,
        /// Microseconds.
        lasts: u64,
        /// What.
        words: String,
    },
    /// It is over.
    Relief(usize),
    /// An operation that began then has ended.
    Operation {
        /// When it began.
        invoked: u64,
        /// How it ended: done, refused, unknown.
        ended: &'static str,
    },
    /// A promise was broken.
    Broken(String),
    /// Something worth a line.
    Note(String),
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When, in virtual microseconds.
    pub at: u64,
    /// Where.
    pub place: Place,
    /// What.
    pub what: What,
}

/// Everything that happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Timeline {
    hash: u64,
    /// In order; only if asked for.
    pub lines: Vec<Line>,
    keeps: bool,
    scratch: String,
}

impl Timeline {
    pub(crate) fn new(keeps: bool) -> Timeline {
        Timeline { keeps, ..Timeline::default() }
    }

    /// Equal for equal runs.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes note of numbers only.
    pub(crate) fn mark<const N: usize>(&mut self, numbers: [u64; N]) {
        let bytes = numbers.map(u64::to_le_bytes);
        self.hash = xxh3_64_with_seed(bytes.as_flattened(), self.hash);
    }

    pub(crate) fn add(&mut self, at: u64, place: Place, what: What) {
        let line = Line { at, place, what };
        self.scratch.clear();
        write!(self.scratch, "{line}").expect("a string takes everything");
        self.hash = xxh3_64_with_seed(self.scratch.as_bytes(), self.hash);
        if self.keeps {
            self.lines.push(line);
        }
    }

    pub(crate) fn sent(&mut self, at: u64, (place, from): (Place, usize), to: usize, arrives: Option<u64>, message: &PeerMessage) {
        self.mark([at, from as u64, to as u64, arrives.unwrap_or(0)]);
        if self.keeps {
            let what = What::Sent { to, arrives, words: words_of(message) };
            self.lines.push(Line { at, place, what });
        }
    }

    pub(crate) fn operation(&mut self, gateway: usize, invoked: u64, at: u64, ended: &Ended) {
        let ended = match ended {
            Ended::Done(_) => "done",
            Ended::Refused(_) => "refused",
            Ended::Unknown => "unknown",
        };
        self.mark([at, gateway as u64, invoked, ended.len() as u64]);
        if self.keeps {
            self.lines.push(Line { at, place: Place::Gateway(gateway), what: What::Operation { invoked, ended } });
        }
    }
}

impl Line {
    /// Whether it is one of the few lines that tell what a run was like.
    pub fn is_worth_reading(&self) -> bool {
        match &self.what {
            What::Sent { .. } | What::Operation { .. } | What::Note(_) => false,
            What::Up
            | What::Down(_)
            | What::Stopped(_)
            | What::Wiped
            | What::Leads(..)
            | What::Strike { .. }
            | What::Relief(_)
            | What::Broken(_) => true,
        }
    }
}

fn words_of(message: &PeerMessage) -> String {
    match &message.body {
        Some(PeerBody::Consensus(said)) => {
            let kind = ConsensusKind::try_from(said.kind).unwrap_or(ConsensusKind::Unspecified);
            let entries = if said.entries.is_empty() { String::new() } else { format!(", {} entries", said.entries.len()) };
            let no = if said.reject { ", no" } else { "" };
            format!("{kind:?} term {} index {} commit {}{entries}{no}", said.term, said.index, said.commit)
        }
        Some(PeerBody::Behind(_)) => "Behind".to_owned(),
        Some(PeerBody::Here(here)) => format!("Here at {}", here.committed),
        Some(PeerBody::Fetch(fetch)) => format!("Fetch at {}", fetch.at),
        Some(PeerBody::Rows(rows)) => format!("Rows at {}: {}{}", rows.at, rows.rows.len(), if rows.last { ", the last" } else { "" }),
        None => "nothing".to_owned(),
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Machine(machine) => format!("machine {machine}"),
            Place::Replica(machine, partition) => format!("machine {machine}, partition {partition}"),
            Place::Gateway(gateway) => format!("gateway {gateway}"),
            Place::World => "world".to_owned(),
        };
        write!(f, "{:>14}  {place:<10}  ", seconds(self.at))?;
        write!(f, "{}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Up => f.write_str("started"),
            What::Down(why) => write!(f, "down: {why}"),
            What::Stopped(why) => write!(f, "stopped: {why}"),
            What::Wiped => f.write_str("its disk is replaced by an empty one"),
            What::Leads(term, from) => write!(f, "leads in term {} from entry {from} on", term.0),
            What::Sent { to, arrives: Some(arrives), words } => write!(f, "-> machine {to}, arrives {}: {words}", seconds(*arrives)),
            What::Sent { to, arrives: None, words } => write!(f, "-> machine {to}, lost: {words}"),
            What::Strike { number, lasts, words } => write!(f, "fault {number}, for {}: {words}", seconds(*lasts)),
            What::Relief(number) => write!(f, "fault {number} is over"),
            What::Operation { invoked, ended } => write!(f, "asked {}: {ended}", seconds(*invoked)),
            What::Broken(words) => write!(f, "BROKEN: {words}"),
            What::Note(words) => f.write_str(words),
        }
    }
}
