//! What the headers promise, on the real binary: keys, tenants, positions, deadlines, request ids; and health.

use serde_json::{Value, json};

use crate::client::{Ask, Connection, Reply, number, text};
use crate::mistakes::refused;
use crate::scratch::Scratch;
use crate::server::{Server, await_condition};

#[test]
fn headers_mean_what_they_say() {
    let scratch = Scratch::new("requests");
    let server = Server::start(&scratch.join("data"), &[]);
    let mut connection = server.connect();
    health(&mut connection);
    every_answer_is_stamped(&mut connection);
    keys(&mut connection);
    tenants(&mut connection);
    positions(&mut connection);
    request_ids(&mut connection);
    server.stop();
}

fn products(skus: &[&str]) -> Ask {
    Ask::post("/v1/products", &json!({ "skus": skus }))
}

fn stock_at_root() -> Ask {
    Ask::get("/v1/locations/0/stock")
}

fn health(connection: &mut Connection) {
    assert_eq!(connection.succeed(&Ask::get("/health/live")), json!({"live": true}));
    // The log line of being ready is a moment earlier than the probe.
    await_condition("the server calls itself ready", || connection.ask(&Ask::get("/health/ready")).status == 200);
    assert_eq!(connection.succeed(&Ask::get("/health/ready")), json!({"ready": true, "reason": "ready"}));
    let index = connection.succeed(&Ask::get("/"));
    assert_eq!(index["service"], "inventory.v1.Inventory");
    assert_eq!(index["methods"].as_array().map(Vec::len), Some(9));
}

fn every_answer_is_stamped(connection: &mut Connection) {
    let asks = [products(&["stamp"]), products(&["stamp"]), stock_at_root(), Ask::get("/nowhere"), Ask::get("/health/live")];
    for ask in asks {
        let reply = connection.ask(&ask);
        assert!(reply.header("onebox-request-id").is_some_and(|id| !id.is_empty()), "{reply}");
        assert!(reply.header("onebox-position").is_some_and(|position| !position.is_empty()), "{reply}");
        let media = if reply.status < 300 { "application/json" } else { "application/problem+json" };
        assert_eq!(reply.header("content-type"), Some(media), "{reply}");
    }
}

fn keys(connection: &mut Connection) {
    let first = connection.ask(&products(&["keyed"]).keyed("order 7"));
    assert!(first.status == 200 && !first.repeated(), "{first}");
    // White space and the order of fields are not part of a request.
    let spaced = Ask::post_text("/v1/products", "{ \"skus\" :\n[\"keyed\"] }");
    for ask in [products(&["keyed"]).keyed("order 7"), spaced.keyed("order 7")] {
        let again = connection.ask(&ask);
        assert!(again.repeated() && again.body == first.body, "{again}");
    }
    refused(connection, &products(&["other"]).keyed("order 7"), 409, json!({"code": "ABORTED"}));
    let other_method = Ask::post("/v1/locations", &json!({"locations": [{"name": "keyed"}]}));
    refused(connection, &other_method.keyed("order 7"), 409, json!({"code": "ABORTED"}));

    // A refusal is not remembered: the same request may succeed later.
    let reserve = Ask::post("/v1/reservations", &json!({"code": "later", "lines": [{"sku": "later", "quantity": "1"}]})).keyed("order 8");
    refused(connection, &reserve, 404, json!({"code": "NOT_FOUND"}));
    let (product, location) = one_of(connection, "later");
    put(connection, location, product, 1);
    let reply = connection.ask(&reserve);
    assert!(reply.status == 200 && !reply.repeated(), "{reply}");

    for key in ["", "x".repeat(129).as_str(), "caf\u{e9}", "tab\there"] {
        refused(connection, &products(&["bad key"]).keyed(key), 400, json!({"code": "INVALID_ARGUMENT"}));
    }
    let longest = "~".repeat(128);
    assert_eq!(connection.ask(&products(&["longest key"]).keyed(longest)).status, 200);
    refused(connection, &products(&["two keys"]).keyed("a").keyed("b"), 400, json!({"code": "INVALID_ARGUMENT"}));
}

fn tenants(connection: &mut Connection) {
    let create = |name: Value| Ask::post("/onebox/v1/tenants", &json!({ "name": name }));
    for name in ["north", "south"] {
        let reply = connection.ask(&create(json!(name)));
        assert!(reply.status == 201 && reply.json() == json!({ "name": name }), "{reply}");
    }
    refused(connection, &create(json!("north")), 409, json!({"code": "ALREADY_EXISTS"}));
    refused(connection, &create(json!("default")), 409, json!({"code": "ALREADY_EXISTS"}));
    for name in [json!("North"), json!(""), json!("n".repeat(65)), json!("a b"), json!(7), Value::Null] {
        refused(connection, &create(name), 400, json!({"code": "INVALID_ARGUMENT", "field": "name"}));
    }

    // Each has its own skus, ids, keys and stock.
    let (north, south) = (|ask: Ask| ask.with("Onebox-Tenant", "north"), |ask: Ask| ask.with("Onebox-Tenant", "south"));
    let added = connection.succeed(&north(products(&["shared"]).keyed("same key")));
    assert_eq!(added, json!({"products": ["1"]}));
    let reply = connection.ask(&south(products(&["shared"]).keyed("same key")));
    assert!(reply.json() == json!({"products": ["1"]}) && !reply.repeated(), "{reply}");
    refused(connection, &north(products(&["shared"])), 409, json!({"code": "ALREADY_EXISTS"}));
    let shelf = Ask::post("/v1/locations", &json!({"locations": [{"name": "shelf"}]}));
    assert_eq!(connection.succeed(&north(shelf.clone()))["locations"][0]["id"], "2");
    let stock = Ask::post("/v1/locations/2/stock", &json!({"product": "1", "change": "5"}));
    assert_eq!(connection.succeed(&north(stock.clone())), json!({"onHand": "5"}));
    assert_eq!(connection.succeed(&north(stock_at_root()))["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(connection.succeed(&south(stock_at_root())), json!({}));
    refused(connection, &south(stock), 404, json!({"code": "NOT_FOUND"}));

    for ask in [stock_at_root(), products(&["nobody"])] {
        refused(connection, &ask.clone().with("Onebox-Tenant", "west"), 404, json!({"code": "NOT_FOUND"}));
        for name in ["North", "", "n/s", "n".repeat(65).as_str()] {
            refused(connection, &ask.clone().with("Onebox-Tenant", name), 400, json!({"code": "INVALID_ARGUMENT"}));
        }
    }
}

fn positions(connection: &mut Connection) {
    let (product, location) = one_of(connection, "positions");
    let read = |location: i64, token: &str| Ask::get(format!("/v1/locations/{location}/stock")).with("Onebox-At-Least", token);
    for on_hand in 1..=20 {
        let written = put(connection, location, product, 1);
        let token = written.header("onebox-position").expect("every answer has a position").to_owned();
        let seen = connection.ask(&read(location, &token));
        assert_eq!(number(&seen.json()["items"][0]["onHand"]), on_hand, "a read at least at {token}: {seen}");
    }
    let now = connection.ask(&stock_at_root()).header("onebox-position").expect("every answer has a position").to_owned();
    let (rest, index) = now.rsplit_once('-').expect("a token has an index, in hexadecimal");
    let index = u64::from_str_radix(index, 16).expect("a token has an index, in hexadecimal");
    let future = format!("{rest}-{:x}", index + 1_000_000);
    refused(connection, &read(0, &future).with("Onebox-Timeout", "200ms"), 504, json!({"code": "DEADLINE_EXCEEDED"}));
    for token in ["", "7", "not a token", "0000-0-1", &format!("{now}0z"), &"f".repeat(200)] {
        refused(connection, &read(0, token), 400, json!({"code": "INVALID_ARGUMENT"}));
    }
    refused(connection, &products(&["at least"]).with("Onebox-At-Least", now), 400, json!({"code": "INVALID_ARGUMENT"}));
    for timeout in ["0ms", "5", "61s", "-1s", "1h", ""] {
        refused(connection, &stock_at_root().with("Onebox-Timeout", timeout), 400, json!({"code": "INVALID_ARGUMENT"}));
    }
}

fn request_ids(connection: &mut Connection) {
    let outcome = |id: &str| Ask::get(format!("/onebox/v1/requests/{id}"));
    let written = connection.ask(&products(&["asked about"]));
    let id = written.header("onebox-request-id").expect("every answer has an id").to_owned();
    let told = connection.succeed(&outcome(&id));
    assert_eq!(told, json!({"requestId": id, "outcome": "TOOK_EFFECT", "method": "AddProducts", "response": written.json()}));
    let read = connection.ask(&stock_at_root());
    let id = read.header("onebox-request-id").expect("every answer has an id");
    assert_eq!(connection.succeed(&outcome(id)), json!({"requestId": id, "outcome": "NO_EFFECT"}));
    refused(connection, &outcome("nonsense"), 400, json!({"code": "INVALID_ARGUMENT"}));
    refused(connection, &outcome(&"1".repeat(200)), 400, json!({"code": "INVALID_ARGUMENT"}));
}

/// A product `name` and a location `name`.
pub(crate) fn one_of(connection: &mut Connection, name: &str) -> (i64, i64) {
    let added = connection.succeed(&products(&[name]));
    let product = number(&added["products"][0]);
    let added = connection.succeed(&Ask::post("/v1/locations", &json!({"locations": [{ "name": name }]})));
    assert_eq!(text(&added["locations"][0]["name"]), name);
    (product, number(&added["locations"][0]["id"]))
}

/// Puts stock in.
pub(crate) fn put(connection: &mut Connection, location: i64, product: i64, change: i64) -> Reply {
    let body = json!({"product": product.to_string(), "change": change.to_string()});
    let reply = connection.ask(&Ask::post(format!("/v1/locations/{location}/stock"), &body));
    assert_eq!(reply.status, 200, "{reply}");
    reply
}
