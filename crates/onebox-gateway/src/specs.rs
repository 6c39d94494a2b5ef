//! Specs that others send (`onebox.spec.v1`), where the node takes them: two HTTP routes and two gRPC methods.
//!
//! They are answered on a state of their own, so nothing here touches the node's data, its sessions or its positions.

use std::sync::Arc;

use http::StatusCode;
use onebox_service::{BadRequest, Code};
use tokio::time::Instant;

use crate::gateway::{Content, Gateway, Reply};
use crate::headers::RequestHeaders;
use crate::json::{self, Asked};
use crate::problem::Problem;

/// How a message of the protocol is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecForm {
    /// Canonical proto3 JSON.
    Json,
    /// Protobuf.
    Binary,
}

/// What is asked of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpecAsk {
    /// What is implemented.
    About,
    /// To run one spec.
    Run,
}

/// Answers specs. Called on a thread that may take its time.
pub trait SpecAnswers: Send + Sync + 'static {
    /// Answers one message in its own form.
    ///
    /// # Errors
    /// What is wrong with it.
    fn answer(&self, ask: SpecAsk, form: SpecForm, body: &[u8]) -> Result<Vec<u8>, BadRequest>;

    /// The encoded descriptors of the protocol, for reflection.
    fn descriptors(&self) -> &'static [u8];
}

/// The full name of the gRPC service.
pub(crate) const SERVICE: &str = "onebox.spec.v1.SpecService";

/// `GET /onebox/v1/specs` and `POST /onebox/v1/specs:run`.
pub(crate) async fn over_http(gateway: &Gateway, mut asked: Asked<'_>, ask: SpecAsk) -> Result<Reply, Box<Problem>> {
    let headers = RequestHeaders::read(&asked.parts.headers, &gateway.settings)?;
    headers.refuse_consistency("a spec")?;
    json::refuse_query(&asked)?;
    let until = asked.started + headers.timeout;
    let (bytes, _taken) = json::json_body(gateway, &mut asked, until).await?;
    let template = asked.found.template;
    answered(gateway, template, ask, SpecForm::Json, json::or_empty_object(&bytes).to_vec(), until).await
}

/// What a gRPC path asks of the protocol, where it is taken.
pub(crate) fn of_path(gateway: &Gateway, path: &str) -> Option<(&'static str, SpecAsk)> {
    gateway.specs.as_ref()?;
    match path.strip_prefix('/')?.strip_prefix(SERVICE)? {
        "/About" => Some(("SpecService.About", SpecAsk::About)),
        "/Run" => Some(("SpecService.Run", SpecAsk::Run)),
        _ => None,
    }
}

/// Has one message answered.
pub(crate) async fn answered(
    gateway: &Gateway,
    what: &'static str,
    ask: SpecAsk,
    form: SpecForm,
    body: Vec<u8>,
    until: Instant,
) -> Result<Reply, Box<Problem>> {
    let specs = gateway.specs.clone().expect("specs are asked only where they are taken");
    // A room of its own: specs never take the place of requests, and one that is late keeps its place until it ends.
    let place = gateway.specs_running.take(1).ok_or_else(|| Problem::overloaded("specs"))?;
    let ran = tokio::task::spawn_blocking(move || (specs.answer(ask, form, &body), place));
    let (told, place) = match tokio::time::timeout_at(until, ran).await {
        Ok(Ok((told, place))) => (told.map_err(Problem::bad_request)?, place),
        Ok(Err(_panicked)) => return Err(Problem::new(Code::Internal, "running the spec failed, which is a bug of the platform")),
        Err(_late) => return Err(Problem::new(Code::DeadlineExceeded, "the spec did not end before the deadline")),
    };
    Ok(gateway.local(what, Ok(Content { status: StatusCode::OK, bytes: told })).holding(place, true))
}

/// Specs that are taken, or not.
pub(crate) type Specs = Option<Arc<dyn SpecAnswers>>;
