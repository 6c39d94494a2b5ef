//! Tests of the route matcher: each line is a request and what it means.

use expect_test::{Expect, expect};
use onebox_service::{MethodInfo, Route, Schema, Verb};

use super::{Missed, Routes};

const fn route(verb: Verb, path: &'static str) -> Route {
    Route { verb, path, body: false }
}

static SCHEMA: Schema = Schema {
    name: "shop",
    service: "shop.v1.Shop",
    methods: &[MethodInfo {
        name: "Any",
        read_only: false,
        routes: &[
            route(Verb::Get, "/v1/places/{place}"),
            route(Verb::Delete, "/v1/places/{place}"),
            route(Verb::Post, "/v1/places/{place}:move"),
            route(Verb::Get, "/v1/places/all"),
            route(Verb::Get, "/v1/places/{place}/things/{thing}"),
            route(Verb::Post, "/v1/places:batch"),
        ],
        request: "shop.v1.Ask",
        response: "shop.v1.Reply",
    }],
    events: &[],
    refusals: &[],
    tables: &[],
    descriptors: &[],
};

fn check(request: &str, expected: &Expect) {
    let (verb, path) = request.split_once(' ').expect("METHOD path");
    let verb = http::Method::from_bytes(verb.as_bytes()).expect("a method");
    let told = match Routes::new(&SCHEMA, true).find(&verb, path) {
        Ok(found) => format!("{} {:?}", found.template, found.variables),
        Err(Missed::UnknownPath { closest }) => format!("unknown, closest {closest}"),
        Err(Missed::WrongVerb { allow }) => format!("wrong verb, allow {allow}"),
        Err(Missed::BadEscape { variable }) => format!("bad escape in {variable}"),
    };
    expected.assert_eq(&told);
}

#[test]
fn variables_match_one_segment_and_are_decoded() {
    check("GET /v1/places/5", &expect![[r#"/v1/places/{place} [("place", "5")]"#]]);
    check("GET /v1/places/a%20b%2Fc", &expect![[r#"/v1/places/{place} [("place", "a b/c")]"#]]);
    check("GET /v1/places/5/things/6", &expect![[r#"/v1/places/{place}/things/{thing} [("place", "5"), ("thing", "6")]"#]]);
    check("HEAD /v1/places/5", &expect![[r#"/v1/places/{place} [("place", "5")]"#]]);
    check("GET /", &expect!["/ []"]);
}

#[test]
fn literals_win_over_verbs_and_verbs_over_variables() {
    check("GET /v1/places/all", &expect!["/v1/places/all []"]);
    check("DELETE /v1/places/all", &expect![[r#"/v1/places/{place} [("place", "all")]"#]]);
    check("POST /v1/places/5:move", &expect![[r#"/v1/places/{place}:move [("place", "5")]"#]]);
    check("GET /v1/places/5:move", &expect!["wrong verb, allow POST"]);
    check("GET /v1/places/5%3Amove", &expect![[r#"/v1/places/{place} [("place", "5:move")]"#]]);
    check("GET /v1/places/5:other", &expect![[r#"/v1/places/{place} [("place", "5:other")]"#]]);
    check("POST /v1/places:batch", &expect!["/v1/places:batch []"]);
}

#[test]
fn a_wrong_method_names_the_right_ones() {
    check("PUT /v1/places/5", &expect!["wrong verb, allow DELETE, GET, HEAD"]);
    check("POST /v1/places/all", &expect!["wrong verb, allow DELETE, GET, HEAD"]);
    check("OPTIONS /v1/places:batch", &expect!["wrong verb, allow POST"]);
}

#[test]
fn an_unknown_path_names_the_closest() {
    check("GET /v1/place/5", &expect!["unknown, closest GET /v1/places/{place}"]);
    check("GET /v1/places/", &expect!["unknown, closest GET /v1/places/{place}"]);
    check("GET /v1/places/:move", &expect![[r#"/v1/places/{place} [("place", ":move")]"#]]);
    check("GET /v1/places/5/thing/6", &expect!["unknown, closest GET /v1/places/{place}/things/{thing}"]);
    check("GET /health", &expect!["unknown, closest GET /health/live"]);
    check("GET /onebox/v1/request/7", &expect!["unknown, closest GET /onebox/v1/requests/{id}"]);
    check("GET *", &expect!["unknown, closest GET /"]);
    check(&format!("GET /{}", "ä/".repeat(500)), &expect!["unknown, closest GET /"]);
}

#[test]
fn broken_escapes_name_their_variable() {
    check("GET /v1/places/%", &expect!["bad escape in place"]);
    check("GET /v1/places/%f", &expect!["bad escape in place"]);
    check("GET /v1/places/%zz", &expect!["bad escape in place"]);
    check("GET /v1/places/%ff", &expect!["bad escape in place"]);
}
