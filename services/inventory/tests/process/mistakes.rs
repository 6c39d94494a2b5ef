//! Bad input gets an answer that says what is wrong, changes nothing, and never stops the server.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::client::{Ask, Connection};
use crate::scratch::Scratch;
use crate::server::Server;

/// Sends a request that must be refused with this status and a problem that has at least these members.
pub(crate) fn refused(connection: &mut Connection, ask: &Ask, status: u16, members: Value) -> Value {
    let reply = connection.ask(ask);
    assert_eq!(reply.status, status, "{ask:?}\n{reply}");
    assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{reply}");
    let problem = reply.json();
    assert_eq!(problem["status"], json!(status), "{reply}");
    for member in ["title", "detail", "code"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {reply}");
    }
    for (name, value) in members.as_object().expect("members are given as an object") {
        assert_eq!(&problem[name], value, "{name} of the answer to {ask:?}\n{reply}");
    }
    problem
}

#[test]
fn each_mistake_is_named_and_changes_nothing() {
    let scratch = Scratch::new("mistakes");
    let server = Server::start(&scratch.join("data"), &[]);
    let mut connection = server.connect();
    let before = connection.ask(&Ask::get("/v1/locations/0")).header("onebox-position").map(str::to_owned);
    json_mistakes(&mut connection);
    url_mistakes(&mut connection);
    protocol_mistakes(&mut connection);
    refusals(&mut connection);
    let after = connection.ask(&Ask::get("/v1/locations/0"));
    assert_eq!(after.body, b"{}", "{after}");
    assert!(after.header("onebox-position").is_some() && before.is_some());
    not_http(&server);
    // The ids show that nothing was recorded: the first one is still to be given.
    assert_eq!(connection.succeed(&Ask::post("/v1/products", &json!({"skus": ["first"]}))), json!({"products": ["1"]}));
    server.stop();
}

fn json_mistakes(connection: &mut Connection) {
    let mut bad = |path: &str, body: &str, members: Value| {
        let mut members = members;
        members["code"] = json!("INVALID_ARGUMENT");
        refused(connection, &Ask::post_text(path, body), 400, members);
    };
    bad("/v1/products", "{\"skus\":[\"a\"]", json!({"line": 1, "column": 13}));
    bad("/v1/products", "{\n \"skus\": [\"a\",,\"b\"]}", json!({"line": 2, "column": 15}));
    bad("/v1/products", "{\"skus\":[\"a\"]} more", json!({"line": 1, "column": 16}));
    bad("/v1/products", "not json", json!({"line": 1}));
    bad("/v1/products", "[]", json!({"line": 1}));
    bad("/v1/products", "{\"skuz\":[\"a\"]}", json!({"line": 1, "field": "skuz"}));
    bad("/v1/products", "{\"skus\":[\"a\", 5]}", json!({"line": 1, "field": "skus[1]"}));
    bad("/v1/products", "{\"skus\":\"a\"}", json!({"line": 1, "field": "skus"}));
    bad(
        "/v1/locations",
        "{\"locations\":[{\"name\":\"a\",\"children\":[{\"nam\":\"b\"}]}]}",
        json!({"line": 1, "field": "locations[0].children[0].nam"}),
    );
    bad("/v1/locations", "{\"parent\":-1}", json!({"line": 1, "field": "parent"}));
    bad("/v1/locations", "{\"parent\":\"18446744073709551616\"}", json!({"line": 1, "field": "parent"}));
    bad("/v1/locations/1/stock", "{\"product\":1,\"change\":1.5}", json!({"line": 1, "field": "change"}));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    bad("/v1/products", &deep, json!({"line": 1}));
    bad("/v1/products", "{\"skus\":[\"a\"],\"skus\":[\"b\"]}", json!({"line": 1, "column": 20}));
    bad("/v1/products", "{\"skus\":[\"\\ud800\"]}", json!({"line": 1}));
}

fn url_mistakes(connection: &mut Connection) {
    let invalid = json!({"code": "INVALID_ARGUMENT"});
    refused(connection, &Ask::get("/v1/locations/abc/stock"), 400, json!({"field": "location"}));
    refused(connection, &Ask::get("/v1/locations/-1"), 400, json!({"field": "location"}));
    refused(connection, &Ask::get("/v1/locations/18446744073709551616"), 400, json!({"field": "location"}));
    refused(connection, &Ask::get("/v1/locations/%zz"), 400, invalid.clone());
    refused(connection, &Ask::get("/v1/locations/0?colour=red"), 400, json!({"field": "colour"}));
    refused(connection, &Ask::get("/v1/locations/0?location=1"), 400, invalid.clone());
    let contradiction = Ask::post("/v1/locations/1/stock", &json!({"location": "2", "product": "1", "change": "1"}));
    refused(connection, &contradiction, 400, json!({"field": "location"}));
    refused(connection, &Ask::get("/v1/product"), 404, json!({"code": "NOT_FOUND"}));
    refused(connection, &Ask::post("/v1/reservations/1:destroy", &json!({})), 404, json!({"code": "NOT_FOUND"}));
    let mut ask = Ask::get("/v1/products");
    for verb in ["GET", "PUT", "DELETE", "PATCH"] {
        ask.verb = verb;
        let reply = connection.ask(&ask);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{reply}");
    }
    let mut body_on_get = Ask::post("/v1/locations/0", &json!({"location": "0"}));
    body_on_get.verb = "GET";
    refused(connection, &body_on_get, 400, invalid);
}

fn protocol_mistakes(connection: &mut Connection) {
    let mut wrong_media = Ask::post("/v1/products", &json!({"skus": ["a"]}));
    for media in ["text/plain", "application/xml", "application/json; charset=latin1"] {
        wrong_media.headers = vec![("Content-Type", media.to_owned())];
        refused(connection, &wrong_media, 415, json!({"code": "INVALID_ARGUMENT"}));
    }
    // One byte more than a body may have, whatever is in it; and far more, which is answered all the same.
    for length in [1024 * 1024 + 1, 8 * 1024 * 1024] {
        refused(connection, &Ask::post_text("/v1/products", vec![b' '; length]), 413, json!({"code": "RESOURCE_EXHAUSTED"}));
    }
    let mut largest = b"{\"skus\":[]}".to_vec();
    largest.resize(1024 * 1024, b' ');
    refused(connection, &Ask::post_text("/v1/products", largest), 400, json!({"code": "INVALID_ARGUMENT"}));
}

fn refusals(connection: &mut Connection) {
    let mut no = |ask: Ask, status: u16, code: &str, kind: &str| {
        let problem = refused(connection, &ask, status, json!({ "code": code }));
        assert_eq!(problem["refusal"]["type"], json!(format!("inventory.v1.{kind}")), "{problem}");
    };
    let reserve = |code: &str, sku: &str, quantity: &str| {
        Ask::post("/v1/reservations", &json!({"code": code, "lines": [{"sku": sku, "quantity": quantity}]}))
    };
    no(Ask::get("/v1/locations/7/stock"), 404, "NOT_FOUND", "UnknownLocation");
    no(reserve("r", "none", "0"), 400, "INVALID_ARGUMENT", "QuantityBelowOne");
    no(reserve("r", "none", "1"), 404, "NOT_FOUND", "UnknownSku");
    no(Ask::post("/v1/locations/0/stock", &json!({"product": "1", "change": "1"})), 400, "INVALID_ARGUMENT", "RootHoldsNoStock");
    no(Ask::post("/v1/reservations/5:cancel", &json!({})), 404, "NOT_FOUND", "UnknownReservation");
    no(Ask::post("/v1/locations/0:move", &json!({"newParent": "0"})), 400, "FAILED_PRECONDITION", "RootCannotMove");
    no(Ask::post("/v1/products", &json!({"skus": ["a", "b", "a"]})), 409, "ALREADY_EXISTS", "SkuRepeated");
}

/// What is no HTTP gets 400 or a closed connection, and the server goes on.
fn not_http(server: &Server) {
    let nonsense: [&[u8]; 4] =
        [b"\x00\x01\x02\x03\r\n\r\n", b"GET\r\n\r\n", b"POST /v1/products HTTP/1.1\r\nContent-Length: -5\r\n\r\n", &[b'A'; 100_000]];
    for bytes in nonsense {
        let mut stream = TcpStream::connect(server.address()).expect("the server takes connections");
        // The server may close before all is sent; that is an answer too.
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(server.connect().ask(&Ask::get("/health/live")).status, 200);
}
