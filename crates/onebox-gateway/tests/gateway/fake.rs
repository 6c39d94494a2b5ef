//! A service and a node small enough to be obviously right: the service's messages are JSON text, and the node gives
//! the answers that a test laid out, remembering the calls.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use onebox_gateway::{Answer, Backend, Call, Health, Pending, RequestOutcome, SpecAnswers};
use onebox_service::{
    BadRequest, Code, EventId, MethodId, MethodInfo, Outcome, Reader, Refusal, RefusalInfo, Route, Rows, Schema, Service, Tx, Verb,
};
use prost_types::{FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto};
use serde_json::{Map, Value};
use tokio::sync::{Semaphore, mpsc};

use prost::Message;

/// The fields that every request of the fake service may have.
const FIELDS: [&str; 3] = ["shelf", "item", "count"];

static METHODS: &[MethodInfo] = &[
    MethodInfo {
        name: "PutItem",
        read_only: false,
        routes: &[Route { verb: Verb::Post, path: "/v1/shelves/{shelf}:put", body: true }],
        request: "shop.v1.PutItemRequest",
        response: "shop.v1.PutItemResponse",
    },
    MethodInfo {
        name: "GetShelf",
        read_only: true,
        routes: &[Route { verb: Verb::Get, path: "/v1/shelves/{shelf}", body: false }],
        request: "shop.v1.GetShelfRequest",
        response: "shop.v1.GetShelfResponse",
    },
];

pub(crate) struct Shop {
    schema: &'static Schema,
}

impl Shop {
    fn new() -> Shop {
        let schema = Schema {
            name: "shop",
            service: "shop.v1.Shop",
            methods: METHODS,
            events: &[],
            refusals: &[RefusalInfo { name: "shop.v1.ShelfFull", code: Code::FailedPrecondition, message: "only {free} left" }],
            tables: &[],
            descriptors: descriptors().leak(),
        };
        Shop { schema: Box::leak(Box::new(schema)) }
    }
}

fn descriptors() -> Vec<u8> {
    let methods = METHODS.iter().map(|method| MethodDescriptorProto { name: Some(method.name.to_owned()), ..Default::default() });
    let service = ServiceDescriptorProto { name: Some("Shop".to_owned()), method: methods.collect(), ..Default::default() };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("shop.v1".to_owned()),
        service: vec![service],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

impl Service for Shop {
    fn schema(&self) -> &'static Schema {
        self.schema
    }

    fn execute(&self, _: MethodId, _: &mut Tx<'_>, _: &[u8]) -> Outcome<Vec<u8>> {
        unreachable!("a gateway never executes")
    }

    fn query(&self, _: MethodId, _: &Reader<'_>, _: &[u8]) -> Outcome<Vec<u8>> {
        unreachable!("a gateway never executes")
    }

    fn apply(&self, _: EventId, _: &[u8], _: &mut Rows<'_>) -> Result<(), String> {
        unreachable!("a gateway never applies")
    }

    fn request_from_json(&self, _: MethodId, body: &[u8], variables: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        let mut members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| BadRequest {
            problem: format!("not a JSON object: {error}"),
            field: String::new(),
            at: Some((error.line(), error.column())),
        })?;
        for (name, value) in variables {
            members.insert((*name).to_owned(), Value::String((*value).to_owned()));
        }
        for (name, value) in &members {
            if !FIELDS.contains(&name.as_str()) {
                return Err(BadRequest { problem: "there is no such field".to_owned(), field: name.clone(), at: Some((1, 2)) });
            }
            if name == "count" && !value.is_number() {
                return Err(BadRequest { problem: "it must be a number".to_owned(), field: name.clone(), at: Some((1, 2)) });
            }
        }
        Ok(Value::Object(members).to_string().into_bytes())
    }

    fn request_from_binary(&self, _: MethodId, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        match std::str::from_utf8(body) {
            Ok(_) => Ok(body.to_vec()),
            Err(_) => Err(BadRequest { problem: "it is not UTF-8".to_owned(), field: "item".to_owned(), at: None }),
        }
    }

    fn response_to_json(&self, _: MethodId, response: &[u8]) -> Result<Vec<u8>, String> {
        match serde_json::from_slice::<Value>(response) {
            Ok(_) => Ok(response.to_vec()),
            Err(_) => Err("the bytes are not what they should be".to_owned()),
        }
    }

    fn loggable_response<'r>(&self, _: MethodId, response: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(response)
    }

    fn loggable_request<'r>(&self, _: MethodId, request: &'r [u8]) -> Cow<'r, [u8]> {
        Cow::Borrowed(request)
    }

    fn specs(&self) -> Vec<onebox_service::Spec> {
        Vec::new()
    }
    fn refusal_to_json(&self, kind: &str, detail: &[u8]) -> Option<Vec<u8>> {
        (kind == "shop.v1.ShelfFull").then(|| detail.to_vec())
    }
}

/// A node that answers as it was told to, in that order, and `{}` when it was told nothing.
pub(crate) struct Node {
    specs: Option<Arc<dyn SpecAnswers>>,
    service: Arc<dyn Service>,
    answers: Mutex<VecDeque<Answer>>,
    outcome: Mutex<Result<RequestOutcome, Refusal>>,
    calls: Mutex<Vec<Call>>,
    health: Mutex<Health>,
    /// A call waits for a permit before it is answered.
    gate: Arc<Semaphore>,
    arrived: mpsc::UnboundedSender<()>,
    arrivals: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
}

impl Node {
    pub(crate) fn new(specs: Option<Arc<dyn SpecAnswers>>) -> Arc<Node> {
        let (arrived, arrivals) = mpsc::unbounded_channel();
        Arc::new(Node {
            specs,
            service: Arc::new(Shop::new()),
            answers: Mutex::default(),
            outcome: Mutex::new(Ok(RequestOutcome::Pending)),
            calls: Mutex::default(),
            health: Mutex::new(Health { ready: true, reason: "serving".to_owned() }),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            arrived,
            arrivals: tokio::sync::Mutex::new(arrivals),
        })
    }

    /// Lays out the next answer.
    pub(crate) fn will(&self, answer: Answer) {
        self.answers.lock().expect("no test panics here").push_back(answer);
    }

    /// Lays out what became of any request.
    pub(crate) fn will_tell(&self, outcome: Result<RequestOutcome, Refusal>) {
        *self.outcome.lock().expect("no test panics here") = outcome;
    }

    pub(crate) fn set_health(&self, ready: bool, reason: &str) {
        *self.health.lock().expect("no test panics here") = Health { ready, reason: reason.to_owned() };
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no test panics here").clone()
    }

    /// The calls so far, one a line, their deadlines apart.
    pub(crate) fn calls_shown(&self) -> String {
        let mut shown = String::new();
        for call in self.calls() {
            let (name, body) = (METHODS[usize::from(call.method.0)].name, String::from_utf8_lossy(&call.body).into_owned());
            let _ = writeln!(shown, "{name} tenant={} key={:?} reads={:?} body={body}", call.tenant, call.key, call.consistency);
        }
        shown
    }

    pub(crate) fn deadlines(&self) -> Vec<Duration> {
        self.calls.lock().expect("no test panics here").iter().map(|call| call.deadline).collect()
    }

    /// From now on calls wait for [`Node::answer_one`].
    pub(crate) fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(crate) fn answer_one(&self) {
        self.gate.add_permits(1);
    }

    /// Waits until one more call has reached the node.
    pub(crate) async fn arrival(&self) {
        self.arrivals.lock().await.recv().await.expect("the node lives");
    }

    fn next(&self) -> Answer {
        self.answers.lock().expect("no test panics here").pop_front().unwrap_or_else(|| done("{}"))
    }
}

impl Backend for Node {
    fn specs(&self) -> Option<Arc<dyn SpecAnswers>> {
        self.specs.clone()
    }

    fn service(&self) -> &Arc<dyn Service> {
        &self.service
    }

    fn call(&self, call: Call) -> Pending<Answer> {
        self.calls.lock().expect("no test panics here").push(call);
        self.arrived.send(()).expect("the node lives");
        let (answer, gate) = (self.next(), self.gate.clone());
        Box::pin(async move {
            gate.acquire().await.expect("never closed").forget();
            answer
        })
    }

    fn create_tenant(&self, name: String, partition: Option<u32>, _: Duration) -> Pending<Answer> {
        assert_eq!(partition, name.ends_with("-in-3").then_some(3), "{name}");
        let answer = self.next();
        Box::pin(async move {
            assert!(name.starts_with("acme"), "{name}");
            answer
        })
    }

    fn outcome(&self, request_id: String, _: Duration) -> Pending<Result<RequestOutcome, Refusal>> {
        assert!(!request_id.starts_with("local-"), "{request_id}");
        let outcome = self.outcome.lock().expect("no test panics here").clone();
        Box::pin(async move { outcome })
    }

    fn health(&self) -> Health {
        self.health.lock().expect("no test panics here").clone()
    }

    fn position(&self) -> String {
        "p-now".to_owned()
    }

    fn position_of(&self, _: &str) -> String {
        self.position()
    }
}

/// A response.
pub(crate) fn done(response: &str) -> Answer {
    Answer {
        request_id: "r-1".to_owned(),
        position: "p-7".to_owned(),
        outcome: Ok(response.as_bytes().to_vec()),
        repeated: false,
        retry_after: None,
    }
}

/// A refusal of the platform.
pub(crate) fn refused(code: Code, sentence: &str) -> Answer {
    Answer { outcome: Err(Refusal::platform(code, sentence)), ..done("") }
}

/// A refusal of the schema.
pub(crate) fn shelf_full() -> Answer {
    let refusal = Refusal {
        code: Code::FailedPrecondition,
        kind: "shop.v1.ShelfFull",
        message: "only 5 left".to_owned(),
        detail: br#"{"free":"5"}"#.to_vec(),
    };
    Answer { outcome: Err(refusal), ..done("") }
}
