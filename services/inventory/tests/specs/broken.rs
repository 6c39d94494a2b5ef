//! The service with one thing wrong in it: what the checks must find.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};

use inventory::{Inventory, LocationAdded, StockUpdated, UpdateStockResponse};
use onebox::private::prost::Message;
use onebox::{BadRequest, Event, EventId, MethodId, Outcome, Reader, Rows, Schema, Service, Spec, Tx, refuse};
use onebox_service::{Code, Refusal};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// UpdateStock answers one too much.
    Answer,
    /// What is answered is stored otherwise.
    StoredAnswer,
    /// An event is applied otherwise from the log than when it is recorded.
    Replay,
    /// Events with fields that this schema does not have are refused.
    UnknownFields,
    /// Applying counts over all tenants, outside of the rows.
    Leak,
    /// UpdateStock panics.
    Panic,
}

pub(crate) struct Broken {
    wrong: Wrong,
    applied: AtomicUsize,
}

impl Broken {
    pub(crate) fn new(wrong: Wrong) -> Broken {
        Broken { wrong, applied: AtomicUsize::new(0) }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }
}

impl Service for Broken {
    fn schema(&self) -> &'static Schema {
        Inventory.schema()
    }

    fn execute(&self, method: MethodId, tx: &mut Tx<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        let update = self.schema().info(method).name == "UpdateStock";
        let applied = self.applied.swap(0, Ordering::Relaxed);
        if self.is(Wrong::Leak) && applied > 8 {
            return refuse(Refusal::platform(Code::FailedPrecondition, "too much has happened"));
        }
        assert!(!(self.is(Wrong::Panic) && update), "a shelf has collapsed");
        let response = Inventory.execute(method, tx, request)?;
        if !(self.is(Wrong::Answer) && update) {
            return Ok(response);
        }
        let UpdateStockResponse { on_hand } = UpdateStockResponse::decode(&response[..]).unwrap();
        Ok(UpdateStockResponse { on_hand: on_hand + 1 }.encode_to_vec())
    }

    fn query(&self, method: MethodId, reader: &Reader<'_>, request: &[u8]) -> Outcome<Vec<u8>> {
        Inventory.query(method, reader, request)
    }

    fn apply(&self, event: EventId, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), String> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        if event == LocationAdded::ID && self.is(Wrong::UnknownFields) {
            let known = LocationAdded::decode(bytes).map_err(|error| error.to_string())?;
            if known.encode_to_vec() != bytes {
                return Err("unknown fields".to_owned());
            }
        }
        if event == StockUpdated::ID && self.is(Wrong::Leak) && StockUpdated::decode(bytes).is_ok_and(|update| update.change == 5) {
            // The end of a replay, in which no request is executed.
            self.applied.store(0, Ordering::Relaxed);
        }
        if event == StockUpdated::ID && self.is(Wrong::Replay) {
            let mut update = StockUpdated::decode(bytes).map_err(|error| error.to_string())?;
            // What is given says 7; only the request of the spec adds 5.
            update.change += i64::from(update.change == 5);
            return Inventory.apply(event, &update.encode_to_vec(), rows);
        }
        Inventory.apply(event, bytes, rows)
    }

    fn request_from_json(&self, method: MethodId, body: &[u8], variables: &[(&str, &str)]) -> Result<Vec<u8>, BadRequest> {
        Inventory.request_from_json(method, body, variables)
    }

    fn request_from_binary(&self, method: MethodId, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        Inventory.request_from_binary(method, body)
    }

    fn loggable_request<'r>(&self, method: MethodId, request: &'r [u8]) -> Cow<'r, [u8]> {
        Inventory.loggable_request(method, request)
    }

    fn loggable_response<'r>(&self, method: MethodId, response: &'r [u8]) -> Cow<'r, [u8]> {
        // Another answer each time it is asked: the one that was stored is not the one that is expected.
        match self.is(Wrong::StoredAnswer) {
            true => Cow::Owned(UpdateStockResponse { on_hand: self.applied.fetch_add(1, Ordering::Relaxed) as i64 + 100 }.encode_to_vec()),
            false => Inventory.loggable_response(method, response),
        }
    }

    fn response_to_json(&self, method: MethodId, response: &[u8]) -> Result<Vec<u8>, String> {
        Inventory.response_to_json(method, response)
    }

    fn specs(&self) -> Vec<Spec> {
        Inventory.specs()
    }

    fn refusal_to_json(&self, kind: &str, detail: &[u8]) -> Option<Vec<u8>> {
        Inventory.refusal_to_json(kind, detail)
    }
}
