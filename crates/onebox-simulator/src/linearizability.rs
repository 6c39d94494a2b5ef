//! A linearizability checker: given what concurrent clients asked of one sequential object, and when, and what they were told, it looks
//! for an order of the operations in which the object, used by one client at a time, would have given the same answers, and in which
//! no operation comes before one that had been answered before it was invoked.
//!
//! It keeps true: `Linearizable` and `NotLinearizable` are proofs, never guesses; what it says is a function of its arguments, the
//! number of steps included.
//!
//! It must not know what the object is, nor whether faults were on: an outcome that nobody learned is all it sees of a fault.
//!
//! # How it searches
//!
//! As Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), depth first, with the cache of Lowe ("Testing for
//! Linearizability", 2017), so that no situation (what was taken, and the state) is searched twice. The operation answered first among
//! those left has to come before anything invoked later. So a move is this operation, after as few of the pending and unknown ones as
//! will do, and after more of them when all that follows has failed. Five facts keep the number of situations down:
//!
//! 1. What was taken is known from the first answer left and from which of the operations pending there were taken: a few bits, however
//!    long the history is. So a situation holds its own, and going back is to drop it; Lowe and Porcupine undo a list of events.
//! 2. An operation that only observes is taken as soon as it can be: any order that has it later is as good with it now.
//! 3. An operation of unknown outcome holds nobody back. Of two situations which differ only in the unknown operations taken, the one
//!    that took fewer can do all that the other can. The other is not searched.
//! 4. So an unknown operation is taken only where the next one would fare differently without it, and of equal ones the earliest.
//! 5. An operation that is not possible now needs one that enables it. If all that could were taken, the situation is hopeless.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

/// A sequential object.
pub trait Model {
    /// What a client asks.
    type Op;
    /// What it is told.
    type Answer;
    /// What the object remembers.
    type State: Clone + Eq + Hash;

    /// The state after `op`, if it may give `answer` in `state`; without an answer (the caller never learned the outcome) any answer
    /// will do.
    fn step(&self, state: &Self::State, op: &Self::Op, answer: Option<&Self::Answer>) -> Option<Self::State>;

    /// Whether `op`, having given `answer`, has left the state as it was, *whichever* state that was: a read, or a refusal. Saying
    /// `false` is always right; saying `true` of reads saves most of the search when a history is not linearizable.
    fn observes(&self, _op: &Self::Op, _answer: &Self::Answer) -> bool {
        false
    }

    /// Whether two operations do the same in every state (an equivalence). Saying `false` is always right; saying `true` of equal ones
    /// saves trying each of many unknown operations that would explain the same thing.
    fn interchangeable(&self, _left: &Self::Op, _right: &Self::Op) -> bool {
        false
    }
}

/// What one client asked and was told.
#[derive(Clone, Debug)]
pub struct Operation<O, A> {
    /// What was asked.
    pub op: O,
    /// When, in microseconds.
    pub invoked: u64,
    /// When it was answered, in microseconds, and what. `None`: outcome unknown; it may have taken effect at any time after the
    /// invocation, or never.
    pub answered: Option<(u64, A)>,
}

/// What the search has shown. Operations are named by their index in the slice that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// There is an order that explains all answers.
    Linearizable,
    /// There is none.
    NotLinearizable {
        /// The beginning of an order that explains the answers until the latest time, with the unknown operations it needs.
        linearized: Vec<usize>,
        /// The answered operations that were pending after it, in the order of their answers. By its time each could have come next,
        /// but there was no way to get to the first one. Unknown operations, which never have to come, are not listed.
        stuck: Vec<usize>,
    },
    /// The search was given up.
    TooHard {
        /// After so many steps.
        steps: u64,
    },
}

/// Whether `operations` on an object that was in the state `initial` are linearizable. An answer and an invocation at the same time are
/// concurrent. The search is given up after about `steps_max` steps: situations, and questions to the model, repeated ones included. Of
/// a quick model, a million of them take well under a second.
///
/// # Panics
///
/// If an operation was answered before it was invoked, or if [`Model::observes`] was said of an operation that changed the state.
pub fn check<M: Model>(model: &M, initial: M::State, operations: &[Operation<M::Op, M::Answer>], steps_max: u64) -> Verdict {
    let mut search = Search {
        states: States { model, operations, numbered: Vec::new(), ids: HashMap::default(), after: HashMap::default(), steps: 0 },
        history: History::new(model, operations),
        seen: HashMap::default(),
        prospects: HashMap::default(),
        impossible: HashMap::default(),
        outlooks: HashMap::default(),
        furthest: 0,
        evidence: None,
    };
    let initial = search.states.intern(initial);
    search.run(initial, steps_max)
}

/// How many states are followed to see what could make an operation possible.
const STATES_MAX: usize = 256;

/// How many events ahead it is looked whether operations can still come.
const SOON: usize = 40;

/// The search, and what it has learned. Situations are looked up by their frontier and state.
struct Search<'a, M: Model> {
    states: States<'a, M>,
    history: History,
    /// For each situation but for the unknown operations taken, the smallest sets of those with which it was reached.
    seen: HashMap<(usize, StateId, Bits), Vec<Bits>, Mixing>,
    prospects: HashMap<(usize, StateId), Rc<Prospects>, Mixing>,
    /// The pending and soon pending operations that are not possible in a state.
    impossible: HashMap<(usize, StateId), Rc<[usize]>, Mixing>,
    outlooks: HashMap<usize, Outlook, Mixing>,
    /// The latest frontier that was reached.
    furthest: usize,
    /// The latest at which the search went back, what was linearized then, and what was stuck.
    evidence: Option<(usize, Vec<usize>, Vec<usize>)>,
}

/// What was taken, and the state after it.
#[derive(Clone)]
struct Situation {
    /// The first answer whose operation was not taken, as an index of the events. Every operation answered before it was taken, none
    /// invoked after it was.
    frontier: usize,
    /// By slot, whether the number of its operations that were taken is odd; this says which pending ones were.
    pending_taken: Bits,
    unknown_taken: Bits,
    state: StateId,
}

/// A situation on the way from the start to the current one, and what was tried in it.
struct Frame {
    /// What was taken since the frame before.
    more: Vec<usize>,
    /// What may come before the operation answered first: nothing to begin with, then the chains of one operation, and so on.
    chains: Vec<Chain>,
    /// After how many of them that operation was tried.
    tried: usize,
    /// How many were lengthened.
    lengthened: usize,
}

/// A sequence of pending and unknown operations, and the situation after it.
#[derive(Clone)]
struct Chain {
    operations: Vec<usize>,
    situation: Situation,
    /// The state before its last operation, if that is an unknown one.
    without: Option<StateId>,
}

/// What may come next in a state, as long as a certain answer is the first one left; taken or not.
#[derive(Default)]
struct Prospects {
    /// Observers among the pending operations.
    observers: Vec<usize>,
    /// The other pending operations in the order of their answers, then the unknown ones that make a difference to what may follow.
    changes: Vec<usize>,
}

impl<M: Model> Search<'_, M> {
    fn run(mut self, initial: StateId, steps_max: u64) -> Verdict {
        let start = Situation {
            frontier: 0,
            pending_taken: vec![0; self.history.slots_count.div_ceil(64)].into(),
            unknown_taken: vec![0; self.history.unknowns.len().div_ceil(64)].into(),
            state: initial,
        };
        let mut frames = Vec::from_iter(self.enter(start, Vec::new()));
        while let Some(frame) = frames.last_mut() {
            if frame.chains[0].situation.frontier == self.history.events.len() {
                return Verdict::Linearizable;
            }
            if self.states.steps > steps_max {
                return Verdict::TooHard { steps: self.states.steps };
            }
            if frame.tried < frame.chains.len() {
                let next = self.descend(&frame.chains[frame.tried]);
                frame.tried += 1;
                frames.extend(next);
            } else if frame.lengthened < frame.chains.len() {
                self.lengthen(frame, frame.lengthened);
                frame.lengthened += 1;
            } else {
                self.note_evidence(&frames);
                frames.pop();
            }
        }
        let (_, linearized, stuck) = self.evidence.expect("the search went back to before the start");
        Verdict::NotLinearizable { linearized, stuck }
    }

    /// Takes a chain and the operation answered first. `None` if this cannot be, or leads where the search has been.
    fn descend(&mut self, chain: &Chain) -> Option<Frame> {
        let due = self.history.due(chain.situation.frontier);
        let state = self.step_after(chain, due)?;
        let mut situation = Situation { state, ..chain.situation.clone() };
        self.history.take(due, &mut situation);
        let more = [&chain.operations[..], &[due]].concat();
        self.enter(situation, more)
    }

    /// The frame of a situation that was reached by taking `more`. `None` if it was seen.
    fn enter(&mut self, mut situation: Situation, mut more: Vec<usize>) -> Option<Frame> {
        self.history.advance(&mut situation);
        while situation.frontier < self.history.events.len() && self.observe(&mut situation, &mut more, None) {
            self.history.advance(&mut situation);
        }
        if !self.is_new(&situation) {
            return None;
        }
        // Who gets further than ever may go on without hope, so that an easy history is checked at once, and the evidence is exact.
        let is_furthest = situation.frontier > self.furthest;
        self.furthest = self.furthest.max(situation.frontier);
        let tried = usize::from(!is_furthest && !self.is_hopeful(&situation));
        let chains = vec![Chain { operations: Vec::new(), situation, without: None }];
        Some(Frame { more, chains, tried, lengthened: tried })
    }

    /// Takes every observer that may come next, but for one; whether there was any.
    fn observe(&mut self, situation: &mut Situation, more: &mut Vec<usize>, except: Option<usize>) -> bool {
        let taken_before = more.len();
        for &observer in &self.prospects(situation.frontier, situation.state).observers {
            if Some(observer) != except && self.history.is_left(observer, situation) {
                self.history.take(observer, situation);
                more.push(observer);
            }
        }
        more.len() > taken_before
    }

    /// Adds the chains that are this one and one operation more.
    fn lengthen(&mut self, frame: &mut Frame, place: usize) {
        let chain = frame.chains[place].clone();
        let due = self.history.due(chain.situation.frontier);
        let prospects = self.prospects(chain.situation.frontier, chain.situation.state);
        if prospects.observers.contains(&due) {
            return;
        }
        for &operation in &prospects.changes {
            let is_left = |it| self.history.is_left(it, &chain.situation);
            if operation == due || !is_left(operation) || self.history.twins.get(&operation).is_some_and(|&twin| is_left(twin)) {
                continue;
            }
            let Some(state) = self.step_after(&chain, operation) else { continue };
            let longer = self.longer(&chain, operation, state);
            if self.is_hopeful(&longer.situation) && self.is_new(&longer.situation) {
                frame.chains.push(longer);
            }
        }
    }

    /// The state after a chain and one operation more. `None` as well if it would be the same without the unknown operation before it.
    fn step_after(&mut self, chain: &Chain, operation: usize) -> Option<StateId> {
        let next = self.states.step(chain.situation.state, operation)?;
        let is_same_without = chain.without.is_some_and(|without| self.states.step(without, operation) == Some(next));
        (!is_same_without).then_some(next)
    }

    /// A chain, an operation, and every observer that may come next but for the one answered first.
    fn longer(&mut self, chain: &Chain, operation: usize, state: StateId) -> Chain {
        let mut situation = Situation { state, ..chain.situation.clone() };
        self.history.take(operation, &mut situation);
        let mut operations = [&chain.operations[..], &[operation]].concat();
        let due = self.history.due(situation.frontier);
        let observed = self.observe(&mut situation, &mut operations, Some(due));
        let is_unknown = matches!(self.history.places[operation], Place::Unknown { .. });
        Chain { operations, situation, without: (is_unknown && !observed).then_some(chain.situation.state) }
    }

    fn prospects(&mut self, frontier: usize, state: StateId) -> Rc<Prospects> {
        if let Some(prospects) = self.prospects.get(&(frontier, state)) {
            return Rc::clone(prospects);
        }
        let mut prospects = Prospects::default();
        let pending = self.history.pending(frontier);
        for &operation in &*pending {
            let Some(next) = self.states.step(state, operation) else { continue };
            if self.states.observes(operation) {
                assert!(next == state, "operation {operation} was said to observe, and changes the state");
                prospects.observers.push(operation);
            } else {
                prospects.changes.push(operation);
            }
        }
        let unknowns = self.history.unknowns_until(frontier);
        for &operation in unknowns {
            let Some(after) = self.states.step(state, operation).filter(|after| *after != state) else { continue };
            let makes_a_difference = unknowns.iter().chain(&*pending).any(|&follower| {
                let next = self.states.step(after, follower);
                follower != operation && next.is_some() && next != self.states.step(state, follower)
            });
            if makes_a_difference {
                prospects.changes.push(operation);
            }
        }
        Rc::clone(self.prospects.entry((frontier, state)).or_insert(Rc::new(prospects)))
    }

    /// Whether no pending or soon pending operation is beyond help: it is possible right now, or one that is left may enable it.
    fn is_hopeful(&mut self, situation: &Situation) -> bool {
        self.impossible(situation.frontier, situation.state).iter().all(|&operation| {
            let outlook = &self.outlooks[&operation];
            let is_left = |&it: &usize| self.history.is_left(it, situation);
            !is_left(&operation) || outlook.met.len() > STATES_MAX || outlook.enablers.iter().any(is_left)
        })
    }

    fn impossible(&mut self, frontier: usize, state: StateId) -> Rc<[usize]> {
        if let Some(impossible) = self.impossible.get(&(frontier, state)) {
            return Rc::clone(impossible);
        }
        let mut impossible = self.history.pending(frontier).to_vec();
        let soon = self.history.events.iter().skip(frontier + 1).take(SOON);
        impossible.extend(soon.filter(|it| !it.is_answer).map(|it| it.operation));
        impossible.retain(|&it| self.states.step(state, it).is_none());
        for &operation in &impossible {
            let new = || Outlook { meanwhile: self.history.meanwhile(operation), ..Outlook::default() };
            let outlook = self.outlooks.entry(operation).or_insert_with(new);
            outlook.meet(state, operation, &mut self.states);
        }
        Rc::clone(self.impossible.entry((frontier, state)).or_insert(impossible.into()))
    }

    /// Whether the situation was not seen with these unknown operations or some of them; it is from now on.
    fn is_new(&mut self, situation: &Situation) -> bool {
        self.states.steps += 1;
        let Situation { frontier, pending_taken, unknown_taken, state } = situation;
        let smallest = self.seen.entry((*frontier, *state, pending_taken.clone())).or_default();
        if smallest.iter().any(|seen| is_subset(seen, unknown_taken)) {
            return false;
        }
        smallest.retain(|seen| !is_subset(unknown_taken, seen));
        smallest.push(unknown_taken.clone());
        true
    }

    fn note_evidence(&mut self, frames: &[Frame]) {
        let situation = &frames.last().expect("it is about to be given up").chains[0].situation;
        if self.evidence.as_ref().is_none_or(|(frontier, ..)| situation.frontier > *frontier) {
            let linearized = frames.iter().flat_map(|it| &it.more).copied().collect();
            let mut stuck = self.history.pending(situation.frontier).to_vec();
            stuck.retain(|&it| self.history.is_left(it, situation));
            self.evidence = Some((situation.frontier, linearized, stuck));
        }
    }
}

/// What could make an answered operation possible while it is pending, or soon will be.
#[derive(Default)]
struct Outlook {
    /// The operations that may be taken meanwhile.
    meanwhile: Vec<usize>,
    /// The states in which the operation is not possible, of those met and those that follow from them if operations could be repeated
    /// at will. If they are too many, anything may make it possible.
    met: HashSet<StateId, Mixing>,
    /// The operations that lead from one of these to a state in which it is.
    enablers: BTreeSet<usize>,
}

impl Outlook {
    /// Takes a state into account in which the operation is not possible.
    fn meet<M: Model>(&mut self, state: StateId, operation: usize, states: &mut States<M>) {
        let mut to_visit = vec![state];
        while let Some(state) = to_visit.pop() {
            if self.met.len() > STATES_MAX || !self.met.insert(state) {
                continue;
            }
            for &enabler in &self.meanwhile {
                let Some(next) = states.step(state, enabler) else { continue };
                if states.step(next, operation).is_some() {
                    self.enablers.insert(enabler);
                } else if next != state {
                    to_visit.push(next);
                }
            }
        }
    }
}

/// When things happened.
struct History {
    /// The invocations and answers of the answered operations in the order of time, invocations before answers where it is the same.
    events: Vec<Event>,
    /// The operations of unknown outcome in the order of their invocations, and the times of these.
    unknowns: Vec<usize>,
    unknowns_invoked: Vec<u64>,
    /// For an unknown operation, the last one before it that is interchangeable with it, to be taken first.
    twins: HashMap<usize, usize, Mixing>,
    /// By operation.
    places: Vec<Place>,
    slots_count: usize,
    /// By answer, what [`History::pending`] has said.
    pending: HashMap<usize, Rc<[usize]>, Mixing>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time: u64,
    is_answer: bool,
    operation: usize,
}

#[derive(Clone, Copy)]
enum Place {
    /// Its events; its slot, which no other operation has between them; whether it is the first of its slot, or the third, and so on.
    Answered { invocation: usize, answer: usize, slot: usize, is_odd: bool },
    /// Its index among the unknown ones.
    Unknown { index: usize },
}

impl History {
    fn new<M: Model>(model: &M, operations: &[Operation<M::Op, M::Answer>]) -> Self {
        let mut unknowns: Vec<usize> = (0..operations.len()).filter(|&it| operations[it].answered.is_none()).collect();
        unknowns.sort_by_key(|&it| operations[it].invoked);
        let unknowns_invoked = unknowns.iter().map(|&it| operations[it].invoked).collect();
        let mut places = vec![Place::Unknown { index: 0 }; operations.len()];
        let mut twins = HashMap::default();
        for (index, &operation) in unknowns.iter().enumerate() {
            let is_twin = |it: &&usize| model.interchangeable(&operations[**it].op, &operations[operation].op);
            twins.extend(unknowns[..index].iter().rfind(is_twin).map(|&twin| (operation, twin)));
            places[operation] = Place::Unknown { index };
        }
        let mut events = Vec::with_capacity(2 * operations.len());
        for (operation, it) in operations.iter().enumerate() {
            if let Operation { invoked, answered: Some((answered, _)), .. } = it {
                assert!(invoked <= answered, "operation {operation} was invoked at {invoked} and answered before, at {answered}");
                events.push(Event { time: *invoked, is_answer: false, operation });
                events.push(Event { time: *answered, is_answer: true, operation });
            }
        }
        events.sort_unstable();
        let mut slots_free = Vec::new();
        let mut slots_count = 0;
        for (index, event) in events.iter().enumerate() {
            let place = &mut places[event.operation];
            if let Place::Answered { answer, slot, is_odd, .. } = place {
                *answer = index;
                slots_free.push((*slot, *is_odd));
            } else {
                let (slot, was_odd) = slots_free.pop().unwrap_or((slots_count, false));
                slots_count = slots_count.max(slot + 1);
                *place = Place::Answered { invocation: index, answer: index, slot, is_odd: !was_odd };
            }
        }
        Self { events, unknowns, unknowns_invoked, twins, places, slots_count, pending: HashMap::default() }
    }

    /// The operation that has this answer.
    fn due(&self, frontier: usize) -> usize {
        self.events[frontier].operation
    }

    fn is_left(&self, operation: usize, situation: &Situation) -> bool {
        match self.places[operation] {
            Place::Unknown { index } => !contains(&situation.unknown_taken, index),
            Place::Answered { invocation, answer, slot, is_odd } => {
                answer >= situation.frontier && (invocation > situation.frontier || contains(&situation.pending_taken, slot) != is_odd)
            }
        }
    }

    /// Takes an operation that is unknown or pending, and is left.
    fn take(&self, operation: usize, situation: &mut Situation) {
        match self.places[operation] {
            Place::Unknown { index } => flip(&mut situation.unknown_taken, index),
            Place::Answered { slot, .. } => flip(&mut situation.pending_taken, slot),
        }
    }

    /// Moves the frontier to the first answer that is left.
    fn advance(&self, situation: &mut Situation) {
        while let Some(event) = self.events.get(situation.frontier)
            && !(event.is_answer && self.is_left(event.operation, situation))
        {
            situation.frontier += 1;
        }
    }

    /// The operations invoked before this answer and not answered before it, taken or not, in the order of their answers.
    fn pending(&mut self, frontier: usize) -> Rc<[usize]> {
        let compute = || {
            let answers = self.events.iter().skip(frontier).filter(|it| it.is_answer).map(|it| it.operation);
            let is_pending = |&it: &usize| matches!(self.places[it], Place::Answered { invocation, .. } if invocation < frontier);
            answers.filter(is_pending).collect()
        };
        Rc::clone(self.pending.entry(frontier).or_insert_with(compute))
    }

    /// The other operations that may be taken while an answered operation is pending or soon pending.
    fn meanwhile(&self, operation: usize) -> Vec<usize> {
        let Place::Answered { invocation: from, answer: until, .. } = self.places[operation] else { return Vec::new() };
        let is_meanwhile = |it| matches!(it, Place::Answered { invocation, answer, .. } if invocation < until && answer + SOON >= from);
        let answered = (0..self.places.len()).filter(|&it| it != operation && is_meanwhile(self.places[it]));
        answered.chain(self.unknowns_until(until).iter().copied()).collect()
    }

    /// The unknown operations that may come before this answer.
    fn unknowns_until(&self, answer: usize) -> &[usize] {
        let until = self.events[answer].time;
        &self.unknowns[..self.unknowns_invoked.partition_point(|invoked| *invoked <= until)]
    }
}

/// The states met, numbered, and what the model said about them.
struct States<'a, M: Model> {
    model: &'a M,
    operations: &'a [Operation<M::Op, M::Answer>],
    numbered: Vec<Rc<M::State>>,
    ids: HashMap<Rc<M::State>, StateId, Mixing>,
    after: HashMap<(StateId, usize), Option<StateId>, Mixing>,
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StateId(usize);

impl<M: Model> States<'_, M> {
    fn intern(&mut self, state: M::State) -> StateId {
        let state = Rc::new(state);
        let new = StateId(self.numbered.len());
        let id = *self.ids.entry(Rc::clone(&state)).or_insert(new);
        if id == new {
            self.numbered.push(state);
        }
        id
    }

    fn observes(&self, operation: usize) -> bool {
        let Operation { op, answered, .. } = &self.operations[operation];
        answered.as_ref().is_some_and(|(_, answer)| self.model.observes(op, answer))
    }

    /// The state after an operation with its answer, if the model allows it.
    fn step(&mut self, state: StateId, operation: usize) -> Option<StateId> {
        self.steps += 1;
        if let Some(&after) = self.after.get(&(state, operation)) {
            return after;
        }
        let Operation { op, answered, .. } = &self.operations[operation];
        let after = self.model.step(&self.numbered[state.0], op, answered.as_ref().map(|(_, answer)| answer));
        let after = after.map(|after| self.intern(after));
        self.after.insert((state, operation), after);
        after
    }
}

/// A set of small numbers. Two that are compared have the same length.
type Bits = Box<[u64]>;

fn flip(bits: &mut [u64], index: usize) {
    bits[index / 64] ^= 1 << (index % 64);
}

fn contains(bits: &[u64], index: usize) -> bool {
    (bits[index / 64] >> (index % 64)) & 1 == 1
}

fn is_subset(small: &[u64], large: &[u64]) -> bool {
    small.iter().zip(large).all(|(small, large)| small & !large == 0)
}

type Mixing = BuildHasherDefault<Mixer>;

/// A hasher without a random seed, as `FxHash`: the keys are our own, nobody chooses them so that they collide.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A register; with hints for the search or without.
    struct Register {
        hints: bool,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Op {
        Read,
        Write(u64),
        CompareAndSet { from: u64, to: u64 },
        Add(u64),
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Answer {
        Value(u64),
        Done,
        Refused,
    }

    impl Register {
        fn apply(state: u64, op: Op) -> (u64, Answer) {
            match op {
                Op::Read => (state, Answer::Value(state)),
                Op::Write(value) => (value, Answer::Done),
                Op::CompareAndSet { from, to } if from == state => (to, Answer::Done),
                Op::CompareAndSet { .. } => (state, Answer::Refused),
                Op::Add(more) => (state + more, Answer::Done),
            }
        }
    }

    impl Model for Register {
        type Op = Op;
        type Answer = Answer;
        type State = u64;

        fn step(&self, state: &u64, op: &Op, answer: Option<&Answer>) -> Option<u64> {
            let (after, given) = Self::apply(*state, *op);
            answer.is_none_or(|answer| *answer == given).then_some(after)
        }

        fn observes(&self, _: &Op, answer: &Answer) -> bool {
            self.hints && *answer != Answer::Done
        }

        fn interchangeable(&self, left: &Op, right: &Op) -> bool {
            self.hints && left == right
        }
    }

    type History = Vec<Operation<Op, Answer>>;

    fn answered(invoked: u64, at: u64, op: Op, answer: Answer) -> Operation<Op, Answer> {
        Operation { op, invoked, answered: Some((at, answer)) }
    }

    fn read(invoked: u64, at: u64, value: u64) -> Operation<Op, Answer> {
        answered(invoked, at, Op::Read, Answer::Value(value))
    }

    fn write(invoked: u64, at: u64, value: u64) -> Operation<Op, Answer> {
        answered(invoked, at, Op::Write(value), Answer::Done)
    }

    fn unknown(invoked: u64, op: Op) -> Operation<Op, Answer> {
        Operation { op, invoked, answered: None }
    }

    fn cas(from: u64, to: u64) -> Op {
        Op::CompareAndSet { from, to }
    }

    /// The verdict with and without hints on a register that starts as 0.
    fn check_register(history: &[Operation<Op, Answer>]) -> Verdict {
        let verdict = check(&Register { hints: true }, 0, history, 100_000_000);
        let without_hints = check(&Register { hints: false }, 0, history, 100_000_000);
        assert_eq!(verdict == Verdict::Linearizable, without_hints == Verdict::Linearizable, "hints matter in {history:?}");
        for verdict in [&verdict, &without_hints] {
            match verdict {
                Verdict::Linearizable => {}
                Verdict::NotLinearizable { linearized, stuck } => check_evidence(history, linearized, stuck),
                Verdict::TooHard { steps } => panic!("gave up after {steps} steps in {history:?}"),
            }
        }
        verdict
    }

    /// The longest prefix is one, and the operations stuck after it are those that could come next by their times.
    fn check_evidence(history: &[Operation<Op, Answer>], linearized: &[usize], stuck: &[usize]) {
        assert!(explains(history, linearized), "{linearized:?} does not explain its answers in {history:?}");
        assert!(!stuck.is_empty(), "nothing is stuck after {linearized:?} in {history:?}");
        for &operation in stuck {
            assert!(!linearized.contains(&operation), "{operation} was linearized in {history:?}");
            assert!(in_time(history, &[linearized, &[operation]].concat()), "{operation} is too late in {history:?}");
        }
    }

    fn good(history: &[Operation<Op, Answer>]) {
        assert_eq!(check_register(history), Verdict::Linearizable, "{history:?}");
    }

    fn bad(history: &[Operation<Op, Answer>]) {
        assert!(check_register(history) != Verdict::Linearizable, "{history:?}");
    }

    #[test]
    fn histories_of_answered_operations() {
        good(&[]);
        good(&[read(1, 2, 0)]);
        good(&[write(1, 10, 7), read(2, 3, 0), read(4, 5, 7), read(6, 7, 7)]);
        good(&[write(1, 10, 7), write(2, 9, 8), read(11, 12, 7)]);
        good(&[write(1, 10, 7), write(2, 9, 8), read(11, 12, 8)]);
        good(&[write(1, 2, 7), answered(3, 9, cas(7, 8), Answer::Done), answered(3, 9, cas(8, 9), Answer::Done), read(10, 11, 9)]);
        good(&[write(1, 2, 7), answered(3, 9, cas(7, 8), Answer::Done), answered(3, 9, cas(7, 9), Answer::Refused), read(10, 11, 8)]);
    }

    #[test]
    fn a_stale_read_is_found() {
        bad(&[write(1, 2, 7), write(3, 4, 8), read(5, 6, 7)]);
    }

    #[test]
    fn a_lost_write_is_found() {
        bad(&[write(1, 2, 7), read(3, 4, 0)]);
        bad(&[write(1, 5, 7), answered(6, 9, cas(7, 8), Answer::Done), answered(6, 9, cas(7, 9), Answer::Done)]);
        bad(&[answered(1, 4, Op::Add(1), Answer::Done), answered(1, 4, Op::Add(1), Answer::Done), read(5, 6, 1)]);
    }

    #[test]
    fn a_value_never_written_is_found() {
        bad(&[write(1, 2, 7), write(1, 9, 8), read(3, 4, 9)]);
    }

    #[test]
    fn reads_that_go_back_in_order_are_found() {
        bad(&[write(1, 10, 7), read(2, 3, 7), read(4, 5, 0)]);
        good(&[write(1, 10, 7), read(2, 4, 7), read(3, 5, 0)]);
    }

    #[test]
    fn the_same_time_is_concurrent() {
        good(&[write(1, 2, 7), read(2, 3, 0)]);
        good(&[write(2, 2, 7), write(2, 2, 8), read(2, 2, 0), read(3, 3, 7)]);
        good(&[unknown(2, Op::Write(7)), read(1, 2, 7)]);
        bad(&[unknown(3, Op::Write(7)), read(1, 2, 7)]);
        bad(&[write(1, 2, 7), read(3, 3, 0)]);
    }

    #[test]
    fn an_unknown_operation_may_take_effect_late_or_never() {
        good(&[unknown(1, Op::Write(7)), read(2, 3, 0), read(4, 5, 0), write(6, 7, 8), read(8, 9, 8), read(10, 11, 7)]);
        good(&[unknown(1, Op::Write(7)), read(2, 3, 0), write(4, 5, 8), read(6, 7, 8)]);
        good(&[unknown(1, Op::Write(7)), unknown(1, cas(7, 8)), unknown(1, cas(8, 9)), read(2, 3, 9)]);
        good(&[unknown(1, Op::Write(7))]);
    }

    #[test]
    fn an_unknown_operation_takes_effect_once() {
        bad(&[unknown(1, Op::Write(7)), read(2, 3, 7), read(4, 5, 0)]);
        bad(&[unknown(1, Op::Write(7)), read(2, 3, 7), write(4, 5, 8), read(6, 7, 8), read(8, 9, 7)]);
        good(&[unknown(1, Op::Write(7)), unknown(1, Op::Write(7)), read(2, 3, 7), write(4, 5, 8), read(6, 7, 8), read(8, 9, 7)]);
        bad(&[unknown(1, Op::Add(1)), unknown(1, Op::Add(2)), read(2, 3, 4)]);
        bad(&[read(2, 3, 7), unknown(4, Op::Write(7))]);
    }

    #[test]
    fn the_evidence_names_what_is_stuck() {
        let history = [write(1, 2, 7), write(3, 4, 8), read(5, 6, 7), read(5, 7, 7)];
        assert_eq!(check_register(&history), Verdict::NotLinearizable { linearized: vec![0, 1], stuck: vec![2, 3] });
    }

    #[test]
    fn the_search_is_bounded() {
        // Which of 60 unknown additions make up the sum: a hard question.
        let mut history: History = (0..60).map(|it| unknown(1, Op::Add(1_000 + (1 << (it % 40))))).collect();
        history.push(read(2, 3, 999));
        let Verdict::TooHard { steps } = check(&Register { hints: true }, 0, &history, 10_000) else { panic!("not hard enough") };
        assert!((10_000..100_000).contains(&steps), "{steps} steps");
    }

    #[test]
    #[should_panic(expected = "answered before")]
    fn an_answer_before_its_invocation_is_refused() {
        let _ = check_register(&[read(3, 2, 0)]);
    }

    /// Xorshift.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) % bound
        }

        fn one_in(&mut self, bound: u64) -> bool {
            self.below(bound) == 0
        }
    }

    /// Whatever was answered before an operation was invoked comes before it.
    fn in_time(history: &[Operation<Op, Answer>], order: &[usize]) -> bool {
        let mut places = vec![usize::MAX; history.len()];
        for (place, &it) in order.iter().enumerate() {
            places[it] = place;
        }
        let precedes = |other: usize, it: usize| history[other].answered.is_some_and(|(at, _)| at < history[it].invoked);
        order.iter().all(|&it| (0..history.len()).all(|other| places[other] < places[it] || !precedes(other, it)))
    }

    fn explains(history: &[Operation<Op, Answer>], order: &[usize]) -> bool {
        let mut state = 0;
        let answers_fit = order.iter().all(|&it| {
            let (after, given) = Register::apply(state, history[it].op);
            state = after;
            history[it].answered.is_none_or(|(_, answer)| answer == given)
        });
        answers_fit && in_time(history, order)
    }

    /// Whether some permutation of some of the operations, all answered ones among them, explains the history.
    fn some_order_explains(history: &[Operation<Op, Answer>], order: &mut Vec<usize>) -> bool {
        let complete = (0..history.len()).all(|it| history[it].answered.is_none() || order.contains(&it));
        if complete && explains(history, order) {
            return true;
        }
        (0..history.len()).any(|it| {
            if order.contains(&it) {
                return false;
            }
            order.push(it);
            let explained = some_order_explains(history, order);
            order.pop();
            explained
        })
    }

    fn random_op(random: &mut Random) -> Op {
        match random.below(5) {
            0 | 1 => Op::Read,
            2 => Op::Write(random.below(3)),
            3 => cas(random.below(3), random.below(3)),
            _ => Op::Add(1 + random.below(2)),
        }
    }

    /// The answers of a sequential execution, some of them changed.
    fn small_history(random: &mut Random) -> History {
        let mut state = 0;
        let mut history = History::new();
        let span = 1 + random.below(10);
        for place in 0..2 + random.below(5) {
            let op = random_op(random);
            let (after, answer) = Register::apply(state, op);
            if !random.one_in(5) {
                state = after;
            }
            let answer = match op {
                Op::Read if random.one_in(3) => Answer::Value(random.below(4)),
                Op::CompareAndSet { .. } if random.one_in(3) => Answer::Done,
                _ => answer,
            };
            let invoked = place * 3 + random.below(span);
            history.push(Operation { op, invoked, answered: (!random.one_in(4)).then(|| (invoked + random.below(span), answer)) });
        }
        for place in (1..history.len()).rev() {
            let other = random.below(place as u64 + 1);
            history.swap(place, usize::try_from(other).expect("small"));
        }
        history
    }

    #[test]
    fn the_verdict_on_small_histories_is_that_of_all_permutations() {
        let mut random = Random(0x5EED);
        let mut goods = 0;
        let rounds = 20_000;
        for round in 0..rounds {
            let history = small_history(&mut random);
            let expected = some_order_explains(&history, &mut Vec::new());
            assert_eq!(check_register(&history) == Verdict::Linearizable, expected, "round {round}: {history:?}");
            goods += u32::from(expected);
        }
        assert!((rounds / 4..rounds * 3 / 4).contains(&goods), "{goods} of {rounds} are linearizable: one-sided");
    }

    /// What `clients` clients see of a register, each always with one operation under way, of which one in 50 has an unknown outcome.
    fn large_history(seed: u64, clients: u64, count: usize, values: u64) -> History {
        let mut random = Random(seed);
        // When it takes effect, and its place in the history.
        let mut effects: Vec<(u64, usize)> = Vec::new();
        let mut history = History::new();
        let mut free_at: Vec<u64> = (0..clients).map(|_| random.below(1_000)).collect();
        while history.len() < count {
            let client = (0..free_at.len()).min_by_key(|&it| free_at[it]).expect("there are clients");
            let invoked = free_at[client] + random.below(20);
            let effect = invoked + 1 + random.below(500);
            let at = effect + 1 + random.below(500);
            free_at[client] = at;
            let answered = if random.one_in(50) { None } else { Some((at, Answer::Done)) };
            match answered {
                Some(_) => effects.push((effect, history.len())),
                None if random.one_in(2) => effects.push((effect + random.below(50_000), history.len())),
                None => {}
            }
            let value = if values == 0 { 1 + history.len() as u64 } else { random.below(values) };
            let op = match random.below(10) {
                0..5 => Op::Read,
                5..8 => Op::Write(value),
                _ => cas(0, value),
            };
            history.push(Operation { op, invoked, answered });
        }
        effects.sort_unstable();
        let mut state = 0;
        for (_, operation) in effects {
            let Operation { op, answered, .. } = &mut history[operation];
            if let Op::CompareAndSet { from, .. } = op {
                // Half of them find what they expect.
                *from = if random.one_in(2) { state } else { state + 1 };
            }
            let (after, given) = Register::apply(state, *op);
            state = after;
            if let Some((_, answer)) = answered {
                *answer = given;
            }
        }
        history
    }

    /// Makes a late read one of the value that was read long before.
    fn corrupt(history: &mut History) {
        let reads: Vec<usize> = (0..history.len()).filter(|&it| history[it].op == Op::Read && history[it].answered.is_some()).collect();
        let (early, late) = (reads[reads.len() / 2], reads[reads.len() * 9 / 10]);
        let stale = history[early].answered.expect("it is answered").1;
        history[late].answered.as_mut().expect("it is answered").1 = stale;
    }

    /// The plain search: whatever may come next, and no situation twice.
    fn plain_search_explains(history: &[Operation<Op, Answer>]) -> bool {
        let mut seen = HashSet::new();
        let mut to_visit = vec![(vec![false; history.len()], 0)];
        while let Some((taken, state)) = to_visit.pop() {
            let left = || history.iter().enumerate().filter(|(it, _)| !taken[*it]);
            let Some(first_answer) = left().filter_map(|(_, it)| it.answered.map(|(at, _)| at)).min() else { return true };
            for (it, operation) in left().filter(|(_, it)| it.invoked <= first_answer) {
                let (after, given) = Register::apply(state, operation.op);
                if operation.answered.is_none_or(|(_, answer)| answer == given) {
                    let mut taken = taken.clone();
                    taken[it] = true;
                    if seen.insert((taken.clone(), after)) {
                        to_visit.push((taken, after));
                    }
                }
            }
        }
        false
    }

    #[test]
    fn the_verdict_on_longer_histories_is_that_of_the_plain_search() {
        let mut bads = 0;
        for seed in 1..400 {
            let mut history = large_history(seed, 4, 120, if seed % 2 == 0 { 0 } else { 5 });
            good(&history);
            corrupt(&mut history);
            let expected = plain_search_explains(&history);
            assert_eq!(check_register(&history) == Verdict::Linearizable, expected, "seed {seed}: {history:?}");
            bads += u32::from(!expected);
        }
        assert!((100..350).contains(&bads), "{bads} are not linearizable: one-sided");
    }

    #[test]
    fn a_large_history_is_linearizable_and_with_a_stale_read_it_is_not() {
        for seed in 1..3 {
            let mut history = large_history(seed, 12, 5_000, 0);
            let unknown_count = history.iter().filter(|it| it.answered.is_none()).count();
            assert!((50..200).contains(&unknown_count), "{unknown_count} are unknown");
            assert_eq!(check(&Register { hints: true }, 0, &history, 100_000_000), Verdict::Linearizable);
            corrupt(&mut history);
            let verdict = check(&Register { hints: true }, 0, &history, 1_000_000_000);
            let Verdict::NotLinearizable { linearized, stuck } = verdict else { panic!("seed {seed}: {verdict:?}") };
            check_evidence(&history, &linearized, &stuck);
        }
    }

    #[test]
    fn large_histories_of_more_clients_or_fewer_values_are_linearizable() {
        for seed in 1..4 {
            for (clients, values) in [(20, 0), (10, 8)] {
                let history = large_history(seed, clients, 5_000, values);
                assert_eq!(check(&Register { hints: true }, 0, &history, 100_000_000), Verdict::Linearizable);
            }
        }
    }
}
