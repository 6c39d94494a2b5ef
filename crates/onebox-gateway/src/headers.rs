//! The headers of onebox, the same in HTTP and in gRPC metadata: read once, checked, or refused by name.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::backend::Consistency;
use crate::limits::{GatewaySettings, KEY_CHARS_MAX, TENANT_CHARS_MAX, TOKEN_CHARS_MAX};
use crate::problem::Problem;

/// The tenant of a request that names none.
const TENANT_DEFAULT: &str = "default";

/// A header that requests may carry: its name, and how people write it.
struct Asked {
    name: HeaderName,
    shown: &'static str,
}

static IDEMPOTENCY_KEY: Asked = Asked { name: HeaderName::from_static("idempotency-key"), shown: "Idempotency-Key" };
static TENANT: Asked = Asked { name: HeaderName::from_static("onebox-tenant"), shown: "Onebox-Tenant" };
static READ: Asked = Asked { name: HeaderName::from_static("onebox-read"), shown: "Onebox-Read" };
static AT_LEAST: Asked = Asked { name: HeaderName::from_static("onebox-at-least"), shown: "Onebox-At-Least" };
static TIMEOUT: Asked = Asked { name: HeaderName::from_static("onebox-timeout"), shown: "Onebox-Timeout" };
static GRPC_TIMEOUT: Asked = Asked { name: HeaderName::from_static("grpc-timeout"), shown: "grpc-timeout" };

/// On every answer: the id of the request.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("onebox-request-id");
/// On every answer: the position token.
pub(crate) static POSITION: HeaderName = HeaderName::from_static("onebox-position");
/// On an answer that was given before: `true`.
pub(crate) static REPEATED: HeaderName = HeaderName::from_static("onebox-repeated");

/// What a request's headers say, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestHeaders {
    pub(crate) tenant: String,
    pub(crate) key: Option<String>,
    /// What a read must see, if the request says so, and the header that does.
    pub(crate) consistency: Option<(Consistency, &'static str)>,
    pub(crate) timeout: Duration,
}

impl RequestHeaders {
    /// Reads them from either protocol.
    ///
    /// # Errors
    /// Names the header that is wrong, and what would be right.
    pub(crate) fn read(headers: &HeaderMap, settings: &GatewaySettings) -> Result<RequestHeaders, Box<Problem>> {
        let tenant = match one(headers, &TENANT)? {
            None => TENANT_DEFAULT.to_owned(),
            Some(name) => tenant_name(name).map(|()| name.to_owned()).map_err(|why| wrong(&TENANT, &why))?,
        };
        let key = match one(headers, &IDEMPOTENCY_KEY)? {
            Some(key) if !key.is_empty() && key.len() <= KEY_CHARS_MAX => Some(key.to_owned()),
            None => None,
            Some(key) => {
                let why = format!("it has {} characters; a key has 1 to {KEY_CHARS_MAX}", key.len());
                return Err(wrong(&IDEMPOTENCY_KEY, &why));
            }
        };
        let consistency = match (one(headers, &READ)?, one(headers, &AT_LEAST)?) {
            (None, None) => None,
            (Some(read), None) => Some((consistency(read)?, READ.shown)),
            (None, Some(token)) => Some((at_least(&AT_LEAST, token)?, AT_LEAST.shown)),
            (Some(_), Some(_)) => return Err(wrong(&AT_LEAST, "it says the same as Onebox-Read: at-least; give one of the two")),
        };
        Ok(RequestHeaders { tenant, key, consistency, timeout: timeout(headers, settings)? })
    }

    /// Refuses to be told what a read must see where nothing is read from the service's state.
    pub(crate) fn refuse_consistency(&self, what: &str) -> Result<(), Box<Problem>> {
        match self.consistency {
            None => Ok(()),
            Some((_, shown)) => Err(Problem::invalid(format!("header {shown}: it is for reads, and {what} is none; leave it out"))),
        }
    }
}

/// What `Onebox-Read` asks for.
fn consistency(text: &str) -> Result<Consistency, Box<Problem>> {
    match (text, text.strip_prefix("at-least ")) {
        ("linearizable", _) => Ok(Consistency::Linearizable),
        ("stale", _) => Ok(Consistency::Stale),
        (_, Some(token)) => at_least(&READ, token),
        (_, None) => Err(wrong(&READ, &format!("{text:?} is not linearizable, stale, or at-least and an Onebox-Position"))),
    }
}

fn at_least(asked: &Asked, token: &str) -> Result<Consistency, Box<Problem>> {
    if token.is_empty() || token.len() > TOKEN_CHARS_MAX {
        return Err(wrong(asked, "it does not name the Onebox-Position of an earlier answer"));
    }
    Ok(Consistency::AtLeast(token.to_owned()))
}

/// Checks a tenant's name: 1 to 64 characters of `a-z 0-9 - _`.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn tenant_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > TENANT_CHARS_MAX || !name.bytes().all(allowed) {
        return Err(format!("a tenant's name has 1 to {TENANT_CHARS_MAX} characters of a-z 0-9 - _"));
    }
    Ok(())
}

/// A value that the node made for a header.
pub(crate) fn header_value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes::Bytes::from(text)).expect("request ids and positions are visible ASCII")
}

/// The value of a header that may be given once, in printable ASCII.
fn one<'h>(headers: &'h HeaderMap, asked: &Asked) -> Result<Option<&'h str>, Box<Problem>> {
    let mut values = headers.get_all(&asked.name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(asked, "it is given twice; give it once"));
    }
    match value.to_str() {
        Ok(text) if text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) => Ok(Some(text)),
        Ok(_) | Err(_) => Err(wrong(asked, "it may hold printable ASCII only")),
    }
}

fn wrong(asked: &Asked, why: &str) -> Box<Problem> {
    Problem::invalid(format!("header {}: {why}", asked.shown))
}

/// How long the caller waits. A gRPC deadline beyond our bound is shortened, since gRPC clients set long ones by habit;
/// our own header beyond it is refused, since whoever writes it means it.
fn timeout(headers: &HeaderMap, settings: &GatewaySettings) -> Result<Duration, Box<Problem>> {
    let max = settings.timeout_max();
    let ours = match one(headers, &TIMEOUT)? {
        None => None,
        Some(text) => match duration(text) {
            Some(asked) if !asked.is_zero() && asked <= max => Some(asked),
            Some(_) | None => {
                let why = format!("{text:?} is not a time like 500ms or 2s, of at least 1ms and at most {}ms", max.as_millis());
                return Err(wrong(&TIMEOUT, &why));
            }
        },
    };
    let theirs = match one(headers, &GRPC_TIMEOUT)? {
        None => None,
        Some(text) => match grpc_duration(text) {
            Some(asked) => Some(asked.min(max)),
            None => return Err(wrong(&GRPC_TIMEOUT, &format!("{text:?} is not 1 to 8 digits and a unit of H M S m u n"))),
        },
    };
    Ok(match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours.min(theirs),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => settings.timeout_default(),
    })
}

fn duration(text: &str) -> Option<Duration> {
    match text.strip_suffix("ms") {
        Some(digits) => number(digits).map(Duration::from_millis),
        None => number(text.strip_suffix('s')?).map(Duration::from_secs),
    }
}

fn grpc_duration(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    let count = number(digits)?;
    match text.as_bytes()[digits.len()] {
        b'H' => Some(Duration::from_secs(count * 3600)),
        b'M' => Some(Duration::from_secs(count * 60)),
        b'S' => Some(Duration::from_secs(count)),
        b'm' => Some(Duration::from_millis(count)),
        b'u' => Some(Duration::from_micros(count)),
        b'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// 1 to 8 digits: what gRPC allows, and no product of it overflows.
fn number(digits: &str) -> Option<u64> {
    let sound = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| digits.parse().ok())?
}
