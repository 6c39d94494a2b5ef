//! `spec --against URL`: another implementation is asked what this one's specs say, over HTTP/JSON.

use std::time::Duration;

use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use onebox_service::Spec;
use onebox_spec::wire::v1::AboutResponse;
use onebox_spec::wire::{Codec, Form};
use onebox_spec::{Catalogue, Mode, Problem, Verdict};

/// How long one answer may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Runs specs on the implementation at `url`, one after the other.
///
/// # Errors
/// A sentence, if it cannot be reached at first, or is of another service. One bad answer fails its spec only.
pub(crate) fn run(catalogue: &Catalogue, specs: &[Spec], url: &str) -> Result<Vec<Verdict>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(ask_all(catalogue, specs, url.trim_end_matches('/')))
}

async fn ask_all(catalogue: &Catalogue, specs: &[Spec], url: &str) -> Result<Vec<Verdict>, String> {
    let remote = Remote { client: Client::builder(TokioExecutor::new()).build_http(), url };
    let codec = Codec::new(catalogue);
    let about = remote.ask(Method::GET, "/onebox/v1/specs", Vec::new()).await?;
    let about: AboutResponse = codec.read(Form::Json, "AboutResponse", &about).map_err(|error| format!("{url} answered: {error}"))?;
    if about.service != catalogue.schema.service {
        return Err(format!("{url} implements {:?}, and these specs are of {}", about.service, catalogue.schema.service));
    }
    let mut verdicts = Vec::with_capacity(specs.len());
    for spec in specs {
        let told = |words: String| format!("{url}, asked \"{}\": {words}", spec.name);
        let body = codec.write(Form::Json, "RunRequest", &codec.request(spec)).map_err(told)?;
        let answer = remote.ask(Method::POST, "/onebox/v1/specs:run", body).await;
        let answer =
            answer.and_then(|answer| codec.read(Form::Json, "RunResponse", &answer).map_err(|error| format!("it answered: {error}")));
        verdicts.push(match answer {
            Ok(answer) => codec.judge(spec, &answer),
            Err(words) => Err(Box::new(Problem::words(Mode::Plain, words))),
        });
    }
    Ok(verdicts)
}

struct Remote<'u> {
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    url: &'u str,
}

impl Remote<'_> {
    async fn ask(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let address = format!("{}{path}", self.url);
        let uri: Uri = address.parse().map_err(|_| format!("{address} is not an address like http://127.0.0.1:8080{path}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("{address}: only http:// is spoken"));
        }
        let request = Request::builder().method(method).uri(uri).header(header::CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body)).map_err(|error| format!("{address}: {error}"))?;
        let answered = async {
            let response =
                self.client.request(request).await.map_err(|error| format!("{address} cannot be reached: {}", root_of(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("{address} broke off its answer: {error}"))?.to_bytes().to_vec();
            if !status.is_success() {
                return Err(format!("{address} answered {status}: {}", String::from_utf8_lossy(&body)));
            }
            Ok(body)
        };
        let waited = tokio::time::timeout(ANSWER_WAIT_MAX, answered).await;
        waited.map_err(|_| format!("{address} did not answer within {} s", ANSWER_WAIT_MAX.as_secs()))?
    }
}

/// The error at the bottom, which says what happened.
fn root_of(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}
