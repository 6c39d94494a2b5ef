//! The platform's own HTTP routes: the index, health, tenants, and what became of a request.

use http::StatusCode;
use onebox_service::{BadRequest, Schema};
use serde::Serialize;
use serde_json::Value;

use crate::backend::{Health, RequestOutcome};
use crate::gateway::{Content, Gateway, LOCAL_ID_PREFIX, Reply, remaining};
use crate::headers::{RequestHeaders, tenant_name};
use crate::json::{self, Asked};
use crate::limits::REQUEST_ID_CHARS_MAX;
use crate::problem::{Problem, json_string};
use crate::routes::{self, verb_name};
use crate::specs;

/// `GET /health/live`: the process answers.
pub(crate) fn live() -> Content {
    Content { status: StatusCode::OK, bytes: b"{\"live\":true}".to_vec() }
}

/// `GET /health/ready`: whether requests are taken, and why.
pub(crate) fn ready(health: &Health) -> Content {
    let status = if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut bytes = format!("{{\"ready\":{},\"reason\":", health.ready).into_bytes();
    bytes.extend_from_slice(&json_string(&health.reason));
    bytes.push(b'}');
    Content { status, bytes }
}

/// The answer to `GET /`: what is here, for a person with curl.
pub(crate) fn index(schema: &Schema, specs: bool) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Index {
        service: &'static str,
        methods: Vec<Method>,
        platform: Vec<String>,
        grpc: Vec<&'static str>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Method {
        name: &'static str,
        read_only: bool,
        routes: Vec<String>,
        grpc: String,
    }
    let methods = schema.methods.iter().map(|method| Method {
        name: method.name,
        read_only: method.read_only,
        routes: method.routes.iter().map(|route| format!("{} {}", verb_name(route.verb), route.path)).collect(),
        grpc: format!("/{}/{}", schema.service, method.name),
    });
    let index = Index {
        service: schema.service,
        methods: methods.collect(),
        platform: routes::platform(specs).map(|(verb, path, _)| format!("{} {path}", verb_name(verb))).collect(),
        grpc: ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
            .into_iter()
            .chain(specs.then_some(specs::SERVICE))
            .collect(),
    };
    let mut bytes = serde_json::to_vec_pretty(&index).expect("strings are always JSON");
    bytes.push(b'\n');
    bytes
}

/// `POST /onebox/v1/tenants`. The tenant and key headers mean nothing here: creating a tenant twice is ALREADY_EXISTS.
pub(crate) async fn create_tenant(gateway: &Gateway, mut asked: Asked<'_>) -> Result<Reply, Box<Problem>> {
    let headers = RequestHeaders::read(&asked.parts.headers, &gateway.settings)?;
    headers.refuse_consistency("creating a tenant")?;
    json::refuse_query(&asked)?;
    let until = asked.started + headers.timeout;
    let (bytes, _taken) = json::json_body(gateway, &mut asked, until).await?;
    let (name, partition) = new_tenant(json::or_empty_object(&bytes)).map_err(Problem::bad_request)?;
    drop(bytes);
    let place = gateway.enter()?;
    let answer = gateway.backend.create_tenant(name.clone(), partition, remaining(until)?).await;
    let reply = gateway.reply(asked.found.template, answer, |_| {
        let mut bytes = b"{\"name\":".to_vec();
        bytes.extend_from_slice(&json_string(&name));
        bytes.push(b'}');
        Ok(Content { status: StatusCode::CREATED, bytes })
    });
    Ok(reply.holding(place, false))
}

/// `GET /onebox/v1/requests/{id}`.
pub(crate) async fn request_outcome(gateway: &Gateway, asked: Asked<'_>) -> Result<Reply, Box<Problem>> {
    let headers = RequestHeaders::read(&asked.parts.headers, &gateway.settings)?;
    headers.refuse_consistency("the outcome of a request")?;
    json::refuse_query(&asked)?;
    let id = asked.found.variables.first().map_or("", |(_, value)| value.as_ref());
    if id.len() > REQUEST_ID_CHARS_MAX {
        return Err(Problem::invalid(format!("path variable id: a request id has at most {REQUEST_ID_CHARS_MAX} characters")));
    }
    let place = gateway.enter()?;
    let outcome = if id.starts_with(LOCAL_ID_PREFIX) {
        RequestOutcome::NoEffect
    } else {
        let deadline = remaining(asked.started + headers.timeout)?;
        let told = gateway.backend.outcome(id.to_owned(), deadline).await;
        told.map_err(|refusal| Problem::refused(refusal, None))?
    };
    let content = outcome_json(gateway, id, &outcome)?;
    let position = gateway.backend.position_of(id);
    Ok(Reply { position, ..gateway.local(asked.found.template, Ok(content)) }.holding(place, true))
}

fn outcome_json(gateway: &Gateway, id: &str, outcome: &RequestOutcome) -> Result<Content, Box<Problem>> {
    let word = match outcome {
        RequestOutcome::TookEffect { .. } => "TOOK_EFFECT",
        RequestOutcome::NoEffect => "NO_EFFECT",
        RequestOutcome::Pending => "PENDING",
        RequestOutcome::Forgotten => "FORGOTTEN",
    };
    let mut bytes = b"{\"requestId\":".to_vec();
    bytes.extend_from_slice(&json_string(id));
    bytes.extend_from_slice(format!(",\"outcome\":\"{word}\"").as_bytes());
    if let RequestOutcome::TookEffect { method: Some(method), response } = outcome {
        bytes.extend_from_slice(b",\"method\":");
        bytes.extend_from_slice(&json_string(gateway.schema.info(*method).name));
        bytes.extend_from_slice(b",\"response\":");
        bytes.extend_from_slice(&json::to_json(gateway, *method, response)?.bytes);
    }
    bytes.push(b'}');
    Ok(Content { status: StatusCode::OK, bytes })
}

/// The name in `{"name": "acme"}`.
fn new_tenant(body: &[u8]) -> Result<(String, Option<u32>), BadRequest> {
    let wrong = |field: &str, problem: String| BadRequest { problem, field: field.to_owned(), at: None };
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        let sentence = error.to_string();
        let sentence = sentence.rsplit_once(" at line ").map_or(sentence.as_str(), |(sentence, _)| sentence);
        let at = Some((error.line().max(1), error.column().max(1)));
        BadRequest { problem: format!("not JSON: {sentence}"), field: String::new(), at }
    })?;
    let Value::Object(members) = value else {
        return Err(wrong("", "the body must be an object like {\"name\": \"acme\"}".to_owned()));
    };
    if let Some(stray) = members.keys().find(|key| *key != "name" && *key != "partition") {
        return Err(wrong(stray, "there is no such field; a new tenant has a name, and may have a partition".to_owned()));
    }
    let partition = match members.get("partition") {
        None => None,
        Some(number) => match number.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(partition) => Some(partition),
            None => return Err(wrong("partition", "it must be the number of a partition, counted from 0".to_owned())),
        },
    };
    match members.get("name") {
        Some(Value::String(name)) => tenant_name(name).map(|()| (name.clone(), partition)).map_err(|why| wrong("name", why)),
        Some(_) => Err(wrong("name", "it must be a string".to_owned())),
        None => Err(wrong("name", "it is missing".to_owned())),
    }
}
