//! A spec as a request to whatever implements the service, and the answer to one: `onebox.spec.v1`, as protobuf and as JSON.

use std::sync::Arc;

use onebox_service::spec::{Given, SPEC_TIME, Spec, Then};
use onebox_service::{BadRequest, Code, Fact, Fault, MethodId, Refusal, Service};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage};
use prost_types::Any;

use crate::catalogue::{Catalogue, Role};
use crate::run::{Problem, Runner, Verdict, compare};
use crate::{Mode, text};

/// The messages of the protocol.
#[allow(missing_docs, clippy::all, clippy::pedantic, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/onebox.spec.v1.rs"));
}

use v1::{AboutResponse, RunRequest, RunResponse, Status};

/// The encoded descriptors of the protocol.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/onebox.spec.v1.descriptors"));

/// How a type's name begins in an Any.
const TYPE_URL: &str = "type.googleapis.com/";

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Canonical proto3 JSON.
    Json,
    /// Protobuf.
    Binary,
}

/// Writes and reads the protocol's messages, with a service's messages inside.
#[derive(Debug, Clone)]
pub struct Codec {
    catalogue: Catalogue,
    pool: DescriptorPool,
}

impl Codec {
    /// The codec of a service.
    ///
    /// # Panics
    /// If the descriptors do not go together: the build wrote them.
    #[must_use]
    pub fn new(catalogue: &Catalogue) -> Codec {
        let mut pool = catalogue.pool().clone();
        pool.decode_file_descriptor_set(DESCRIPTORS).expect("the protocol's descriptors go with any service's");
        Codec { catalogue: catalogue.clone(), pool }
    }

    /// Encodes one of the protocol's messages; `name` is its name there.
    ///
    /// # Errors
    /// A sentence, if an Any in it holds what the service does not know.
    pub fn write(&self, form: Form, name: &str, message: &impl Message) -> Result<Vec<u8>, String> {
        match form {
            Form::Binary => Ok(message.encode_to_vec()),
            Form::Json => {
                let mut dynamic = self.dynamic(name);
                dynamic.transcode_from(message).map_err(|error| format!("a {name} cannot be written: {error}"))?;
                serde_json::to_vec(&dynamic).map_err(|error| format!("a {name} cannot be written as JSON: {error}"))
            }
        }
    }

    /// Decodes one of the protocol's messages.
    ///
    /// # Errors
    /// What is wrong and where.
    pub fn read<M: Message + Default>(&self, form: Form, name: &str, bytes: &[u8]) -> Result<M, BadRequest> {
        let bad = |problem: String, at| BadRequest { problem, field: String::new(), at };
        match form {
            Form::Binary => M::decode(bytes).map_err(|error| bad(format!("the bytes are not a {name}: {error}"), None)),
            Form::Json => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let failed = |error: serde_json::Error| {
                    let (line, column) = (error.line(), error.column());
                    let words = error.to_string();
                    let words = words.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&words);
                    bad(words.to_owned(), (line > 0).then_some((line, column.max(1))))
                };
                let dynamic = DynamicMessage::deserialize(self.dynamic(name).descriptor(), &mut json).map_err(failed)?;
                json.end().map_err(failed)?;
                dynamic.transcode_to().map_err(|error| bad(format!("not a {name}: {error}"), None))
            }
        }
    }

    fn dynamic(&self, name: &str) -> DynamicMessage {
        let full = format!("onebox.spec.v1.{name}");
        let descriptor = self.pool.get_message_by_name(&full);
        DynamicMessage::new(descriptor.unwrap_or_else(|| panic!("the protocol has no {name}")))
    }

    /// A spec as a request.
    #[must_use]
    pub fn request(&self, spec: &Spec) -> RunRequest {
        let of_request = |method: MethodId, bytes: &[u8]| any(self.catalogue.schema.info(method).request, bytes);
        let given = spec.given.iter().map(|given| match given {
            Given::Event(fact) => self.fact(fact),
            Given::Request(method, bytes) => of_request(*method, bytes),
        });
        RunRequest {
            given: given.collect(),
            when: Some(of_request(spec.method, &spec.request)),
            next_id: spec.next_id,
            tenant: if spec.tenant == "default" { String::new() } else { spec.tenant.clone() },
            at: (spec.at != SPEC_TIME).then(|| text::protobuf_time(spec.at)),
        }
    }

    fn fact(&self, fact: &Fact) -> Any {
        let name = self.catalogue.event(fact.event).map_or_else(String::new, |event| event.full_name().to_owned());
        any(&name, &fact.bytes)
    }

    /// A request as a spec that expects nothing in particular.
    fn spec(&self, request: RunRequest) -> Result<Spec, BadRequest> {
        let bad = |field: String, problem: String| BadRequest { problem, field, at: None };
        let mut given = Vec::with_capacity(request.given.len());
        for (position, message) in request.given.into_iter().enumerate() {
            let field = format!("given[{position}]");
            given.push(match self.role(&message).map_err(|problem| bad(field.clone(), problem))? {
                Role::Event(event) => Given::Event(Fact { event, bytes: message.value }),
                Role::Request(method) => Given::Request(method, message.value),
                Role::Response | Role::Refusal(_) | Role::Other => {
                    return Err(bad(field, format!("{} is neither an event nor a request", name_of(&message))));
                }
            });
        }
        let when = request.when.ok_or_else(|| bad("when".to_owned(), "it is missing: say what is asked".to_owned()))?;
        let Role::Request(method) = self.role(&when).map_err(|problem| bad("when".to_owned(), problem))? else {
            return Err(bad("when".to_owned(), format!("{} is not the request of a method", name_of(&when))));
        };
        let at = match request.at {
            None => SPEC_TIME,
            Some(at) => text::log_time(at).ok_or_else(|| bad("at".to_owned(), "it is before 1970 or far too late".to_owned()))?,
        };
        Ok(Spec {
            name: String::new(),
            about: String::new(),
            place: ("", 0),
            tenant: if request.tenant.is_empty() { "default".to_owned() } else { request.tenant },
            at,
            next_id: request.next_id,
            given,
            method,
            request: when.value,
            then: Then::Returns { response: Vec::new(), events: Vec::new() },
        })
    }

    fn role(&self, message: &Any) -> Result<Role, String> {
        let found = self.catalogue.pool().get_message_by_name(name_of(message));
        found.map(|message| self.catalogue.role(&message)).ok_or_else(|| format!("there is no message {:?}", message.type_url))
    }

    fn response(&self, method: MethodId, then: Then) -> RunResponse {
        match then {
            Then::Returns { response, events } => RunResponse {
                response: Some(any(self.catalogue.schema.info(method).response, &response)),
                events: events.iter().map(|fact| self.fact(fact)).collect(),
                status: Some(Status::default()),
            },
            Then::Refused(Refusal { code, kind, message, detail }) => {
                let details = if kind.is_empty() { Vec::new() } else { vec![any(kind, &detail)] };
                RunResponse { response: None, events: Vec::new(), status: Some(Status { code: code as i32, message, details }) }
            }
        }
    }

    /// Judges what another implementation answered to a spec: response and events must be equal; of a refusal the code,
    /// and its fields if they were given.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, spec: &Spec, answer: &RunResponse) -> Verdict {
        let strange = |words: String| Box::new(Problem::words(Mode::Plain, words));
        let status = answer.status.clone().unwrap_or_default();
        if status.code == 0 {
            let got =
                Then::Returns { response: self.answered(spec, answer).map_err(strange)?, events: self.recorded(answer).map_err(strange)? };
            return compare(&self.catalogue, Mode::Plain, spec, &spec.then, got);
        }
        let code = Code::ALL.into_iter().find(|code| *code as i32 == status.code);
        let code = code.ok_or_else(|| strange(format!("the remote answered the status {}, which is not a code", status.code)))?;
        if !answer.events.is_empty() {
            return Err(strange("the remote refused the request and recorded events; a refused request records none".to_owned()));
        }
        let mut got = Refusal { code, kind: "", message: status.message, detail: Vec::new() };
        if let Some(detail) = status.details.first()
            && let Ok(Role::Refusal(info)) = self.role(detail)
        {
            (got.kind, got.detail) = (info.name, detail.value.clone());
        }
        let expected = match &spec.then {
            // Without fields and sentences of its own, only the code can be compared.
            Then::Refused(expected) if got.kind.is_empty() && expected.code == code => return Ok(()),
            Then::Refused(expected) if expected.kind.is_empty() => Then::Refused(Refusal { message: String::new(), ..expected.clone() }),
            Then::Refused(_) | Then::Returns { .. } => spec.then.clone(),
        };
        compare(&self.catalogue, Mode::Plain, spec, &expected, Then::Refused(got))
    }

    fn answered(&self, spec: &Spec, answer: &RunResponse) -> Result<Vec<u8>, String> {
        let expected = self.catalogue.schema.info(spec.method).response;
        match &answer.response {
            Some(response) if name_of(response) == expected => Ok(response.value.clone()),
            Some(response) => Err(format!("the remote answered a {}; expected a {expected}", name_of(response))),
            None => Err(format!("the remote carried out the request and gave no response; expected a {expected}")),
        }
    }

    fn recorded(&self, answer: &RunResponse) -> Result<Vec<Fact>, String> {
        let fact = |message: &Any| match self.role(message)? {
            Role::Event(event) => Ok(Fact { event, bytes: message.value.clone() }),
            Role::Request(_) | Role::Response | Role::Refusal(_) | Role::Other => {
                Err(format!("the remote recorded a {}, which is not an event", name_of(message)))
            }
        };
        answer.events.iter().map(fact).collect()
    }
}

fn any(full_name: &str, bytes: &[u8]) -> Any {
    Any { type_url: format!("{TYPE_URL}{full_name}"), value: bytes.to_vec() }
}

fn name_of(message: &Any) -> &str {
    message.type_url.rsplit('/').next().unwrap_or("")
}

/// Answers specs that others send.
pub struct Answering {
    runner: Runner,
    codec: Codec,
}

impl Answering {
    /// Answers with this service's own code.
    ///
    /// # Errors
    /// A fault of the state in memory, which is a bug.
    pub fn new(service: Arc<dyn Service>) -> Result<Answering, Fault> {
        let runner = Runner::new(service)?;
        let codec = Codec::new(runner.catalogue());
        Ok(Answering { runner, codec })
    }

    /// Says what is implemented.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn about(&self, form: Form) -> Result<Vec<u8>, BadRequest> {
        let schema = self.runner.catalogue().schema;
        let about = AboutResponse {
            service: schema.service.to_owned(),
            implementation: "onebox".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            methods: schema.methods.iter().map(|method| method.name.to_owned()).collect(),
        };
        self.codec.write(form, "AboutResponse", &about).map_err(|problem| BadRequest { problem, ..BadRequest::default() })
    }

    /// Runs one spec.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn run(&mut self, form: Form, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let request: RunRequest = self.codec.read(form, "RunRequest", body)?;
        let spec = self.codec.spec(request)?;
        let bad = |problem: String| BadRequest { problem, ..BadRequest::default() };
        let then = self.runner.stage().play(&spec).map_err(|mistake| bad(mistake.0))?;
        self.codec.write(form, "RunResponse", &self.codec.response(spec.method, then)).map_err(bad)
    }
}
