//! What a client was told to be done is in the committed log, with the answer that it was told.

use onebox_service::attempt::RequestId;

use super::Breach;
use super::requests_take_effect_once::Effects;

const PROMISE: &str = "acknowledged writes survive";

/// A client was told that its request was carried out.
pub(crate) fn told(id: RequestId, key: Option<&str>, response: &[u8], records: bool, effects: &Effects) -> Result<(), Breach> {
    match effects.of(id, key) {
        Some((_, answer)) if answer == xxhash_rust::xxh3::xxh3_64(response) => Ok(()),
        Some(_) => Err((PROMISE, format!("request {id} was answered otherwise than the log says"))),
        None if records => Err((PROMISE, format!("request {id} was acknowledged, and nothing of it is in the log that is committed"))),
        None => Ok(()),
    }
}
