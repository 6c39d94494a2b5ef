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
//! As Wing and Gong ("Testing and Verifying Concurrent Objects", 1993), with the cache of Lowe ("Testing for Linearizability", 2017) and
//! the linked list of Porcupine: the invocations and answers of the operations are a list in the order of time; whatever was invoked
//! before the first answer in the list may come next. Taking an operation lifts both of its events out; going back puts them in again.
//! The operation answered first has to come before anything can that is invoked later, so a move is this operation, after as few of
//! the pending and unknown ones as will do; longer chains of those are tried when all that followed has failed.
//!
//! A situation is what was taken plus the state. Four facts keep the number of situations down:
//!
//! 1. What was taken is known from the first answer left in the list and from which of the operations pending there were taken. Each
//!    operation has a slot, used again after its answer, so the set is a few bits however long the history is.
//! 2. An operation that only observes is taken as soon as it can be: any order that has it later is as good with it now.
//! 3. An operation of unknown outcome is never answered, thus holds nobody back. Of two situations which differ only in the unknown
//!    operations taken, the one that took fewer can do all that the other can. The other is not visited.
//! 4. So an unknown operation is taken only where the next one would fare differently without it, and of equal ones the earliest.

use std::collections::{HashMap, HashSet};
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
        /// The longest beginning of an order that explains its answers, with the unknown operations it needs.
        linearized: Vec<usize>,
        /// The answered operations that were pending after it: each could have come next by its time, and none led further. Unknown
        /// operations, which never have to come, are not listed.
        stuck: Vec<usize>,
    },
    /// The search was given up.
    TooHard {
        /// After so many questions to the model.
        steps: u64,
    },
}

/// Whether `operations` on an object that was in the state `initial` are linearizable. An answer and an invocation at the same time are
/// concurrent. The search is given up after about `steps_max` questions to the model (repeated ones count, so that it bounds the time;
/// memory is a hundred bytes or so for each).
///
/// # Panics
///
/// If an operation was answered before it was invoked, or if [`Model::observes`] was said of an operation that changed the state.
pub fn check<M: Model>(model: &M, initial: M::State, operations: &[Operation<M::Op, M::Answer>], steps_max: u64) -> Verdict {
    let mut search = Search::new(model, operations);
    let state = search.states.intern(initial);
    search.run(state, steps_max)
}

/// From how many states on it is not asked whether an operation may come after one of them.
const STATES_MAX: usize = 256;

/// The search: what was taken so far, and the situations seen.
struct Search<'a, M: Model> {
    states: States<'a, M>,
    timeline: Timeline,
    unknowns: Unknowns,
    /// Answered operations whose answer means that they changed nothing.
    observers: Vec<bool>,
    /// The undo stack: the operations taken, in the order of linearization.
    taken: Vec<usize>,
    /// For each situation, the smallest sets of unknown operations with which it was reached.
    seen: HashMap<Situation, Vec<Bits>, Mixing>,
    prospects: HashMap<(usize, StateId), Rc<Prospects>, Mixing>,
    longest: Longest,
}

/// A situation but for the unknown operations taken.
#[derive(PartialEq, Eq, Hash)]
struct Situation {
    /// The first answer that is left.
    frontier: usize,
    /// Which of the operations pending there were taken, by slot.
    pending_taken: Bits,
    state: StateId,
}

/// The longest beginning of an order that was found.
#[derive(Default)]
struct Longest {
    answered_count: Option<usize>,
    linearized: Vec<usize>,
    stuck: Vec<usize>,
}

/// What may come next in a state, as long as a certain answer is the first one left; taken or not.
struct Prospects {
    /// Observers among the pending operations.
    observers: Vec<usize>,
    /// Other pending operations with the state after each, in the order of their answers.
    moves: Vec<(usize, StateId)>,
    /// Unknown operations after which something that may come next fares differently, as indexes of [`Unknowns`], likewise.
    unknowns: Vec<(usize, StateId)>,
}

/// A situation on the way from the start to the current one, and what was tried in it.
struct Frame {
    /// How many operations had been taken before the move that led here.
    taken_before: usize,
    /// The first answer that is left.
    frontier: usize,
    /// The operation it answers.
    due: usize,
    /// What may come before that operation: nothing first, then the chains of one operation, and so on.
    chains: Vec<Chain>,
    /// After how many of them it was tried.
    tried: usize,
    /// How many were lengthened.
    lengthened: usize,
}

/// A sequence of pending and unknown operations: a shorter one in the same frame, then some more.
#[derive(Clone)]
struct Chain {
    shorter: usize,
    /// An operation and the observers that follow it; nothing in the empty chain.
    more: Vec<usize>,
    /// The state after it.
    state: StateId,
    /// The state before its last operation, if that is an unknown one.
    without: Option<StateId>,
    pending_taken: Bits,
    unknown_taken: Bits,
    answered_count: usize,
}

impl<'a, M: Model> Search<'a, M> {
    fn new(model: &'a M, operations: &'a [Operation<M::Op, M::Answer>]) -> Self {
        let observes = |it: &Operation<M::Op, M::Answer>| it.answered.as_ref().is_some_and(|(_, answer)| model.observes(&it.op, answer));
        Self {
            states: States::new(model, operations),
            timeline: Timeline::new(operations),
            unknowns: Unknowns::new(model, operations),
            observers: operations.iter().map(observes).collect(),
            taken: Vec::new(),
            seen: HashMap::default(),
            prospects: HashMap::default(),
            longest: Longest::default(),
        }
    }

    fn run(mut self, initial: StateId, steps_max: u64) -> Verdict {
        let mut frames = Vec::new();
        frames.extend(self.enter(0, initial));
        while !self.timeline.is_empty() {
            if self.states.steps > steps_max {
                return Verdict::TooHard { steps: self.states.steps };
            }
            let Some(frame) = frames.last_mut() else {
                return Verdict::NotLinearizable { linearized: self.longest.linearized, stuck: self.longest.stuck };
            };
            if frame.tried < frame.chains.len() {
                let next = self.descend(frame, frame.tried);
                frame.tried += 1;
                frames.extend(next);
            } else if frame.lengthened < frame.chains.len() {
                self.lengthen(frame, frame.lengthened);
                frame.lengthened += 1;
            } else {
                self.note_longest(frame);
                self.go_back(frame.taken_before);
                frames.pop();
            }
        }
        Verdict::Linearizable
    }

    /// Takes a chain and the operation that is due. `None` if this cannot be, or leads where the search has been, or to the end.
    fn descend(&mut self, frame: &Frame, place: usize) -> Option<Frame> {
        let state = self.step_after(&frame.chains[place], frame.due)?;
        let taken_before = self.taken.len();
        for operation in frame.operations(place) {
            self.take(operation);
        }
        self.take(frame.due);
        self.enter(taken_before, state)
    }

    /// The frame of the current situation. `None` at the end, and, after going back, if there is nothing new to find.
    fn enter(&mut self, taken_before: usize, state: StateId) -> Option<Frame> {
        self.observe(state);
        if self.timeline.is_empty() {
            return None;
        }
        let frontier = self.timeline.frontier();
        let due = self.timeline.events[frontier - 1].operation;
        let chain = Chain {
            shorter: 0,
            more: Vec::new(),
            state,
            without: None,
            pending_taken: self.timeline.pending_taken.clone(),
            unknown_taken: self.unknowns.taken.clone(),
            answered_count: self.timeline.lifted_count,
        };
        if !self.is_new(frontier, &chain) {
            self.go_back(taken_before);
            return None;
        }
        let is_hopeless = !self.may_come(due, frontier, &chain);
        let chains = vec![chain];
        let lengthened = usize::from(is_hopeless);
        Some(Frame { taken_before, frontier, due, chains, tried: 0, lengthened })
    }

    /// Takes every observer that may come next.
    fn observe(&mut self, state: StateId) {
        while !self.timeline.is_empty() {
            let frontier = self.timeline.frontier();
            for &observer in &self.prospects(frontier, state).observers {
                if !self.timeline.is_taken(observer, &self.timeline.pending_taken) {
                    self.take(observer);
                }
            }
            if self.timeline.frontier() == frontier {
                return;
            }
        }
    }

    /// Whether an operation may come after some chain. Chains are taken to be able to repeat what is in them, so that only the states
    /// count; where those are many, the answer is yes.
    fn may_come(&mut self, due: usize, frontier: usize, chain: &Chain) -> bool {
        let mut states = vec![chain.state];
        let mut met: HashSet<StateId, Mixing> = HashSet::default();
        met.insert(chain.state);
        let mut place = 0;
        while place < states.len() && states.len() < STATES_MAX {
            let state = states[place];
            if self.states.step(state, due).is_some() {
                return true;
            }
            let prospects = self.prospects(frontier, state);
            self.states.steps += 1;
            let moves = prospects.moves.iter().filter(|(operation, _)| !self.timeline.is_taken(*operation, &chain.pending_taken));
            let unknowns = prospects.unknowns.iter().filter(|(unknown, _)| !contains(&chain.unknown_taken, *unknown));
            states.extend(moves.chain(unknowns).map(|&(_, next)| next).filter(|next| met.insert(*next)));
            place += 1;
        }
        place < states.len()
    }

    /// Adds the chains that are this one and one operation more.
    fn lengthen(&mut self, frame: &mut Frame, place: usize) {
        let chain = frame.chains[place].clone();
        let prospects = self.prospects(frame.frontier, chain.state);
        if prospects.observers.contains(&frame.due) {
            return;
        }
        for &(operation, _) in &prospects.moves {
            if operation == frame.due || self.timeline.is_taken(operation, &chain.pending_taken) {
                continue;
            }
            let Some(next) = self.step_after(&chain, operation) else { continue };
            let longer = self.longer(frame, place, operation, next);
            if self.is_new(frame.frontier, &longer) {
                frame.chains.push(longer);
            }
        }
        for &(unknown, _) in &prospects.unknowns {
            let Unknown { operation, twin, .. } = self.unknowns.operations[unknown];
            let is_taken = |it| contains(&chain.unknown_taken, it);
            if is_taken(unknown) || twin.is_some_and(|twin| !is_taken(twin)) {
                continue;
            }
            let Some(next) = self.step_after(&chain, operation) else { continue };
            let longer = self.longer(frame, place, operation, next);
            if self.is_new(frame.frontier, &longer) {
                frame.chains.push(longer);
            }
        }
    }

    /// The state after a chain and one operation more. `None` as well if it would be the same without the unknown operation before it.
    fn step_after(&mut self, chain: &Chain, operation: usize) -> Option<StateId> {
        let next = self.states.step(chain.state, operation)?;
        let is_same_without = chain.without.is_some_and(|without| self.states.step(without, operation) == Some(next));
        (!is_same_without).then_some(next)
    }

    /// A chain, an operation, and every observer that may come next but for the one that is due.
    fn longer(&mut self, frame: &Frame, shorter: usize, operation: usize, state: StateId) -> Chain {
        let chain = &frame.chains[shorter];
        let mut longer = Chain { shorter, more: vec![operation], state, without: None, ..chain.clone() };
        if let Some(unknown) = self.unknowns.index[operation] {
            flip(&mut longer.unknown_taken, unknown);
            longer.without = Some(chain.state);
        } else {
            flip(&mut longer.pending_taken, self.timeline.places[operation].slot);
            longer.answered_count += 1;
        }
        for &observer in &self.prospects(frame.frontier, state).observers {
            if observer != frame.due && !self.timeline.is_taken(observer, &longer.pending_taken) {
                flip(&mut longer.pending_taken, self.timeline.places[observer].slot);
                longer.answered_count += 1;
                longer.more.push(observer);
                longer.without = None;
            }
        }
        longer
    }

    fn prospects(&mut self, frontier: usize, state: StateId) -> Rc<Prospects> {
        if let Some(prospects) = self.prospects.get(&(frontier, state)) {
            return Rc::clone(prospects);
        }
        let mut prospects = Prospects { observers: Vec::new(), moves: Vec::new(), unknowns: Vec::new() };
        let pending = self.timeline.pending(frontier);
        for &operation in &*pending {
            let Some(next) = self.states.step(state, operation) else { continue };
            if self.observers[operation] {
                assert!(next == state, "operation {operation} was said to observe, and changes the state");
                prospects.observers.push(operation);
            } else {
                prospects.moves.push((operation, next));
            }
        }
        let until = self.timeline.events[frontier - 1].time;
        let count = self.unknowns.operations.partition_point(|it| it.invoked <= until);
        for unknown in 0..count {
            let operation = self.unknowns.operations[unknown].operation;
            let Some(after) = self.states.step(state, operation).filter(|after| *after != state) else { continue };
            let mut followers = self.unknowns.operations[..count].iter().map(|it| it.operation).chain(pending.iter().copied());
            let is_useful = followers.any(|follower| {
                let next = self.states.step(after, follower);
                follower != operation && next.is_some() && next != self.states.step(state, follower)
            });
            if is_useful {
                prospects.unknowns.push((unknown, after));
            }
        }
        let prospects = Rc::new(prospects);
        self.prospects.insert((frontier, state), Rc::clone(&prospects));
        prospects
    }

    /// Whether the situation after a chain was not seen with its unknown operations or some of them; it is from now on.
    fn is_new(&mut self, frontier: usize, chain: &Chain) -> bool {
        self.states.steps += 1;
        let situation = Situation { frontier, pending_taken: chain.pending_taken.clone(), state: chain.state };
        let smallest = self.seen.entry(situation).or_default();
        if smallest.iter().any(|seen| is_subset(seen, &chain.unknown_taken)) {
            return false;
        }
        smallest.retain(|seen| !is_subset(&chain.unknown_taken, seen));
        smallest.push(chain.unknown_taken.clone());
        true
    }

    fn take(&mut self, operation: usize) {
        match self.unknowns.index[operation] {
            Some(unknown) => flip(&mut self.unknowns.taken, unknown),
            None => self.timeline.lift(operation),
        }
        self.taken.push(operation);
    }

    fn go_back(&mut self, taken_before: usize) {
        while self.taken.len() > taken_before {
            let operation = self.taken.pop().expect("there are more than none");
            match self.unknowns.index[operation] {
                Some(unknown) => flip(&mut self.unknowns.taken, unknown),
                None => self.timeline.put_back(operation),
            }
        }
    }

    fn note_longest(&mut self, frame: &Frame) {
        let (place, chain) = frame.chains.iter().enumerate().max_by_key(|(_, it)| it.answered_count).expect("the empty chain is there");
        if Some(chain.answered_count) > self.longest.answered_count {
            let mut linearized = self.taken.clone();
            linearized.extend(frame.operations(place));
            let pending = self.timeline.pending(frame.frontier);
            let stuck = pending.iter().copied().filter(|&it| !self.timeline.is_taken(it, &chain.pending_taken)).collect();
            self.longest = Longest { answered_count: Some(chain.answered_count), linearized, stuck };
        }
    }
}

impl Frame {
    /// The operations of a chain, in their order.
    fn operations(&self, mut place: usize) -> Vec<usize> {
        let mut parts = Vec::new();
        while place != 0 {
            parts.push(&self.chains[place].more[..]);
            place = self.chains[place].shorter;
        }
        parts.reverse();
        parts.concat()
    }
}

/// The operations of unknown outcome.
struct Unknowns {
    /// In the order of their invocations.
    operations: Vec<Unknown>,
    /// For each operation of the history, where it is among these.
    index: Vec<Option<usize>>,
    taken: Bits,
}

#[derive(Clone, Copy)]
struct Unknown {
    operation: usize,
    invoked: u64,
    /// The last one before it that is interchangeable with it, to be taken first.
    twin: Option<usize>,
}

impl Unknowns {
    fn new<M: Model>(model: &M, history: &[Operation<M::Op, M::Answer>]) -> Self {
        let mut order: Vec<usize> = (0..history.len()).filter(|&it| history[it].answered.is_none()).collect();
        order.sort_by_key(|&it| (history[it].invoked, it));
        let mut index = vec![None; history.len()];
        let mut operations: Vec<Unknown> = Vec::with_capacity(order.len());
        for (unknown, operation) in order.into_iter().enumerate() {
            let Operation { op, invoked, .. } = &history[operation];
            let twin = operations.iter().rposition(|it| model.interchangeable(&history[it.operation].op, op));
            index[operation] = Some(unknown);
            operations.push(Unknown { operation, invoked: *invoked, twin });
        }
        let taken = bits(operations.len());
        Self { operations, index, taken }
    }
}

/// The invocations and answers of the answered operations not yet taken: a circular doubly linked list in the order of time, invocations
/// before answers where it is the same. Node 0 is before the first and after the last.
struct Timeline {
    next: Vec<usize>,
    previous: Vec<usize>,
    events: Vec<Event>,
    /// For each operation of the history, its two nodes and its slot; zeros if it is not answered.
    places: Vec<Place>,
    /// By slot, whether the number of its operations that were taken is odd. All of them but one were answered before any given place
    /// in the list, so there it says whether this one was taken.
    pending_taken: Bits,
    lifted_count: usize,
    /// By answer, what [`Timeline::pending`] has said.
    pending: HashMap<usize, Rc<[usize]>, Mixing>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    time: u64,
    is_answer: bool,
    operation: usize,
}

#[derive(Clone, Copy, Default)]
struct Place {
    invocation: usize,
    answer: usize,
    slot: usize,
    /// It is the first operation of its slot, or the third, and so on.
    is_odd: bool,
}

impl Timeline {
    fn new<O, A>(history: &[Operation<O, A>]) -> Self {
        let mut events = Vec::with_capacity(2 * history.len());
        for (operation, it) in history.iter().enumerate() {
            if let Some((answered, _)) = it.answered {
                let invoked = it.invoked;
                assert!(invoked <= answered, "operation {operation} was invoked at {invoked} and answered before, at {answered}");
                events.push(Event { time: invoked, is_answer: false, operation });
                events.push(Event { time: answered, is_answer: true, operation });
            }
        }
        events.sort_unstable();
        let mut places = vec![Place::default(); history.len()];
        let mut slots_free = Vec::new();
        let mut slots_count = 0;
        for (index, event) in events.iter().enumerate() {
            let place = &mut places[event.operation];
            if event.is_answer {
                place.answer = index + 1;
                slots_free.push((place.slot, place.is_odd));
            } else {
                place.invocation = index + 1;
                let (slot, was_odd) = slots_free.pop().unwrap_or((slots_count, false));
                (place.slot, place.is_odd) = (slot, !was_odd);
                slots_count = slots_count.max(place.slot + 1);
            }
        }
        let nodes_count = events.len() + 1;
        Self {
            next: (0..nodes_count).map(|node| (node + 1) % nodes_count).collect(),
            previous: (0..nodes_count).map(|node| (node + nodes_count - 1) % nodes_count).collect(),
            events,
            places,
            pending_taken: bits(slots_count),
            lifted_count: 0,
            pending: HashMap::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.next[0] == 0
    }

    /// The operation whose invocation it is; `None` for an answer and for the end.
    fn invocation(&self, node: usize) -> Option<usize> {
        let event = self.events[node.checked_sub(1)?];
        (!event.is_answer).then_some(event.operation)
    }

    /// The first answer; 0 if the list is empty.
    fn frontier(&self) -> usize {
        let mut node = self.next[0];
        while self.invocation(node).is_some() {
            node = self.next[node];
        }
        node
    }

    /// The operations invoked before this answer and not answered before it, taken or not, in the order of their answers.
    fn pending(&mut self, answer: usize) -> Rc<[usize]> {
        let places = &self.places;
        let compute = || {
            let is_pending = |it: &usize| (places[*it].invocation + 1..=places[*it].answer).contains(&answer);
            let mut pending: Vec<usize> = (0..places.len()).filter(is_pending).collect();
            pending.sort_unstable_by_key(|&it| places[it].answer);
            pending.into()
        };
        Rc::clone(self.pending.entry(answer).or_insert_with(compute))
    }

    /// Whether a pending operation is among those taken.
    fn is_taken(&self, operation: usize, pending_taken: &[u64]) -> bool {
        let Place { slot, is_odd, .. } = self.places[operation];
        contains(pending_taken, slot) == is_odd
    }

    fn lift(&mut self, operation: usize) {
        let Place { invocation, answer, slot, .. } = self.places[operation];
        for node in [invocation, answer] {
            let (previous, next) = (self.previous[node], self.next[node]);
            self.next[previous] = next;
            self.previous[next] = previous;
        }
        flip(&mut self.pending_taken, slot);
        self.lifted_count += 1;
    }

    /// Undoes the last [`Timeline::lift`] that was not undone, which must be the one of this operation.
    fn put_back(&mut self, operation: usize) {
        let Place { invocation, answer, slot, .. } = self.places[operation];
        for node in [answer, invocation] {
            self.next[self.previous[node]] = node;
            self.previous[self.next[node]] = node;
        }
        flip(&mut self.pending_taken, slot);
        self.lifted_count -= 1;
    }
}

/// The states met, numbered, and what the model said about them.
struct States<'a, M: Model> {
    model: &'a M,
    operations: &'a [Operation<M::Op, M::Answer>],
    states: Vec<Rc<M::State>>,
    ids: HashMap<Rc<M::State>, StateId, Mixing>,
    after: HashMap<(StateId, usize), Option<StateId>, Mixing>,
    /// How many questions were asked.
    steps: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StateId(usize);

impl<'a, M: Model> States<'a, M> {
    fn new(model: &'a M, operations: &'a [Operation<M::Op, M::Answer>]) -> Self {
        Self { model, operations, states: Vec::new(), ids: HashMap::default(), after: HashMap::default(), steps: 0 }
    }

    fn intern(&mut self, state: M::State) -> StateId {
        if let Some(&id) = self.ids.get(&state) {
            return id;
        }
        let id = StateId(self.states.len());
        let state = Rc::new(state);
        self.states.push(Rc::clone(&state));
        self.ids.insert(state, id);
        id
    }

    /// The state after an operation with its answer, if the model allows it.
    fn step(&mut self, state: StateId, operation: usize) -> Option<StateId> {
        self.steps += 1;
        if let Some(&after) = self.after.get(&(state, operation)) {
            return after;
        }
        let Operation { op, answered, .. } = &self.operations[operation];
        let after = self.model.step(&self.states[state.0], op, answered.as_ref().map(|(_, answer)| answer));
        let after = after.map(|after| self.intern(after));
        self.after.insert((state, operation), after);
        after
    }
}

/// A set of small numbers. Two that are compared have the same length.
type Bits = Box<[u64]>;

/// The empty set, for numbers below `count`.
fn bits(count: usize) -> Bits {
    vec![0; count.div_ceil(64)].into_boxed_slice()
}

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

/// A hasher without a random seed, as FxHash: the keys are our own, nobody chooses them so that they collide.
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
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
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
        let verdict = check(&Register { hints: true }, 0, history, 1_000_000);
        let without_hints = check(&Register { hints: false }, 0, history, 1_000_000);
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
        assert!((10_000..20_000).contains(&steps), "{steps} steps");
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

    /// Nothing comes before an operation that was answered before it was invoked; nor in place of one.
    fn in_time(history: &[Operation<Op, Answer>], order: &[usize]) -> bool {
        order.iter().enumerate().all(|(place, &it)| {
            let precedes = |other: &Operation<Op, Answer>| other.answered.is_some_and(|(at, _)| at < history[it].invoked);
            (0..history.len()).all(|other| !precedes(&history[other]) || order[..place].contains(&other))
        })
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

    #[test]
    fn a_large_history_is_linearizable_and_with_a_stale_read_it_is_not() {
        for seed in 1..4 {
            let mut history = large_history(seed, 20, 5_000, 0);
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
    fn a_large_history_of_few_values_is_linearizable() {
        for seed in 1..4 {
            let history = large_history(seed, 20, 5_000, 8);
            assert_eq!(check(&Register { hints: true }, 0, &history, 100_000_000), Verdict::Linearizable);
        }
    }
}
