//! Specs: given these facts, when this is asked, then this is answered and recorded. Data, not functions.
//!
//! A spec stands beside its feature, and is at once its test, a page of its documentation, a load for its benchmark and
//! a question that can be put to any other implementation. It runs on an empty state of its own, which is forgotten
//! after it.
//!
//! ```text
//! spec("refuse to reserve more than is free")
//!     .given([product_added(1, "GPU"), location_added(2, "Shelf", 0), stock_updated(2, 1, 5)])
//!     .when(ReserveRequest { code: "R1".into(), location: 2, lines: vec![line("GPU", 6)], ..default() })
//!     .refused(NotEnoughAvailable { location: 2, product: 1, available: 5, wanted: 6 })
//! ```

use std::marker::PhantomData;
use std::panic::Location;

use prost::Message;

use crate::{Event, EventId, Method, MethodId, Refusal, Time};

/// The time at which a spec happens that does not say: 2020-01-01T00:00:00Z.
pub const SPEC_TIME: Time = Time(1_577_836_800_000_000);

/// A request message: it belongs to one method. Implemented by generated code.
pub trait Request: Message + Default {
    /// Its method.
    type Method: Method<Request = Self>;
}

/// One event in its encoded form, as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its number.
    pub event: EventId,
    /// Its encoding.
    pub bytes: Vec<u8>,
}

impl<E: Event> From<E> for Fact {
    fn from(event: E) -> Fact {
        Fact { event: E::ID, bytes: event.encode_to_vec() }
    }
}

/// One thing that happened before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// An event was recorded, whoever asked for it.
    Event(Fact),
    /// A request was carried out.
    Request(MethodId, Vec<u8>),
}

/// How the request of a spec ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It is carried out.
    Returns {
        /// The encoded response.
        response: Vec<u8>,
        /// The events that it records, in order.
        events: Vec<Fact>,
    },
    /// It is refused and records nothing. A refusal of the platform with an empty sentence stands for any sentence.
    Refused(Refusal),
}

/// One spec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// A sentence that names it; no other spec of the service has the same.
    pub name: String,
    /// Why it is so, for whoever reads the page; Markdown.
    pub about: String,
    /// The file and line where it is written; empty and 0 if it came from elsewhere.
    pub place: (&'static str, u32),
    /// The tenant in which all of it happens.
    pub tenant: String,
    /// The time at which all of it happens: what `now()` says.
    pub at: Time,
    /// The first id that the request draws, where it shall not follow from what was given.
    pub next_id: Option<u64>,
    /// What happened before, in order.
    pub given: Vec<Given>,
    /// The method that is asked.
    pub method: MethodId,
    /// The encoded request.
    pub request: Vec<u8>,
    /// How it ends.
    pub then: Then,
}

/// Begins a spec; `name` is a sentence.
#[track_caller]
pub fn spec(name: &str) -> SpecGiven {
    let place = Location::caller();
    SpecGiven(Spec {
        name: name.to_owned(),
        about: String::new(),
        place: (place.file(), place.line()),
        tenant: "default".to_owned(),
        at: SPEC_TIME,
        next_id: None,
        given: Vec::new(),
        method: MethodId(0),
        request: Vec::new(),
        then: Then::Returns { response: Vec::new(), events: Vec::new() },
    })
}

/// A spec that has no request yet.
#[derive(Debug)]
#[must_use = "a spec goes on with when()"]
pub struct SpecGiven(Spec);

impl SpecGiven {
    /// Why it is so: Markdown for the page of the feature. Diagrams are kept as they are.
    pub fn about(mut self, about: &str) -> SpecGiven {
        about.clone_into(&mut self.0.about);
        self
    }

    /// These events were recorded before. For events of different types, see the macro `facts!`.
    pub fn given<F: Into<Fact>>(mut self, facts: impl IntoIterator<Item = F>) -> SpecGiven {
        self.0.given.extend(facts.into_iter().map(|fact| Given::Event(fact.into())));
        self
    }

    /// These requests were carried out before; one that is refused fails the spec. Give events where you can: they say
    /// what is so, whatever a request would do today.
    pub fn given_requests<R: Request>(mut self, requests: impl IntoIterator<Item = R>) -> SpecGiven {
        self.0.given.extend(requests.into_iter().map(|request| Given::Request(R::Method::ID, request.encode_to_vec())));
        self
    }

    /// All of it happens at this time; [`SPEC_TIME`] otherwise.
    pub fn at(mut self, time: Time) -> SpecGiven {
        self.0.at = time;
        self
    }

    /// All of it happens in this tenant; `default` otherwise.
    pub fn tenant(mut self, name: &str) -> SpecGiven {
        name.clone_into(&mut self.0.tenant);
        self
    }

    /// The request's first new id is this one, whatever ids the given events created.
    pub fn next_id(mut self, id: u64) -> SpecGiven {
        self.0.next_id = Some(id);
        self
    }

    /// This is asked.
    pub fn when<R: Request>(mut self, request: R) -> SpecWhen<R::Method> {
        self.0.method = R::Method::ID;
        self.0.request = request.encode_to_vec();
        SpecWhen(self.0, PhantomData)
    }
}

/// A spec that does not say yet how it ends.
#[derive(Debug)]
#[must_use = "a spec ends with returns() or refused()"]
pub struct SpecWhen<M: Method>(Spec, PhantomData<M>);

impl<M: Method> SpecWhen<M> {
    /// It is carried out and answered so. Unless [`Spec::records`] follows, it records nothing.
    pub fn returns(mut self, response: M::Response) -> Spec {
        self.0.then = Then::Returns { response: response.encode_to_vec(), events: Vec::new() };
        self.0
    }

    /// It is refused, and changes nothing.
    pub fn refused(mut self, refusal: impl Into<Refusal>) -> Spec {
        self.0.then = Then::Refused(refusal.into());
        self.0
    }
}

impl Spec {
    /// It records these events, in this order. For events of different types, see the macro `facts!`.
    ///
    /// # Panics
    /// If the request is refused: it then records nothing.
    #[must_use]
    pub fn records<F: Into<Fact>>(mut self, facts: impl IntoIterator<Item = F>) -> Spec {
        match &mut self.then {
            Then::Returns { events, .. } => events.extend(facts.into_iter().map(Into::into)),
            Then::Refused(_) => panic!("the spec \"{}\" expects events of a refused request; it records none", self.name),
        }
        self
    }
}
