//! Requests from JSON and URLs, answers to JSON.

use expect_test::{Expect, expect};
use onebox::Service;
use prost::Message;

use crate::*;

/// What a request of `Find` becomes.
fn check_find(variables: &[(&str, &str)], expected: Expect) {
    check("Find", "", variables, expected);
}

fn check_register(body: &str, expected: Expect) {
    check("Register", body, &[], expected);
}

fn check(method: &str, body: &str, variables: &[(&str, &str)], expected: Expect) {
    let said = match Everything.request_from_json(SCHEMA.method(method).unwrap(), body.as_bytes(), variables) {
        Ok(bytes) if method == "Find" => format!("{:?}", FindRequest::decode(&bytes[..]).unwrap()),
        Ok(bytes) => format!("{:?}", RegisterRequest::decode(&bytes[..]).unwrap()),
        Err(error) => format!("refused: {error}"),
    };
    expected.assert_eq(&said);
}

#[test]
fn bodies_are_proto3_json() {
    check_register("", expect![[r#"RegisterRequest { shelf: 0, parts: [], r#type: "", colour: None, raw: [] }"#]]);
    check_register("{}", expect![[r#"RegisterRequest { shelf: 0, parts: [], r#type: "", colour: None, raw: [] }"#]]);
    check_register(
        r#"{"shelf": "18446744073709551615", "parts": [{"name": "a", "count": -3, "inner": {"x": {"numbers": [1, "2"]}}}], "type": "t", "colour": "COLOUR_RED", "raw": "AQI="}"#,
        expect![[
            r#"RegisterRequest { shelf: 18446744073709551615, parts: [Part { name: "a", count: -3, inner: {"x": Inner { numbers: [1, 2] }} }], r#type: "t", colour: Red, raw: [1, 2] }"#
        ]],
    );
    check_register(r#"{"colour": 1}"#, expect![[r#"RegisterRequest { shelf: 0, parts: [], r#type: "", colour: Red, raw: [] }"#]]);
}

#[test]
fn bad_bodies_are_refused_with_line_column_and_field() {
    check_register(
        "{\n  \"shelf\": 1,\n  \"parts\": [{\"name\": 7}]\n}",
        expect!["refused: line 3, column 22: field parts[0].name: invalid type: integer `7`, expected a string"],
    );
    check_register(
        "{\n  \"shelf\": 1,\n  \"sheld\": 2\n}",
        expect!["refused: line 3, column 9: field sheld: unknown field `sheld`, expected one of `shelf`, `parts`, `type`, `colour`, `raw`"],
    );
    check_register(
        "{\"parts\": [{\"name\": \"a\"}, {\"nome\": \"b\"}]}",
        expect!["refused: line 1, column 33: field parts[1].nome: unknown field `nome`, expected one of `name`, `count`, `inner`"],
    );
    check_register(
        "{\"parts\": [{\"inner\": {\"x\": {\"numbers\": [1, -2]}}}]}",
        expect!["refused: line 1, column 46: field parts[0].inner.x.numbers[1]: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": -1}",
        expect!["refused: line 1, column 13: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": 1.5}",
        expect!["refused: line 1, column 14: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": 18446744073709551616}",
        expect!["refused: line 1, column 31: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": \"four\"}",
        expect!["refused: line 1, column 17: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": \"\"}",
        expect!["refused: line 1, column 13: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"shelf\": \"18446744073709551616\"}",
        expect!["refused: line 1, column 33: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register(
        "{\"colour\": 7}",
        expect![[
            r#"refused: line 1, column 12: field colour: invalid value: integer `7`, expected one of: ["COLOUR_NONE", "COLOUR_RED"]"#
        ]],
    );
    check_register(
        "{\"shelf\": true}",
        expect!["refused: line 1, column 15: field shelf: expected a number that fits the field, plain or in quotes"],
    );
    check_register("{\"shelf\": 1, \"shelf\": 2}", expect!["refused: line 1, column 20: duplicate field `shelf`"]);
    check_register(
        "{\"colour\": \"COLOUR_BLUE\"}",
        expect!["refused: line 1, column 24: field colour: unknown variant `COLOUR_BLUE`, expected `COLOUR_NONE` or `COLOUR_RED`"],
    );
    check_register("{\"raw\": \"%\"}", expect!["refused: line 1, column 11: field raw: expected bytes as base64"]);
    check_register("{\"shelf\": 1,}", expect!["refused: line 1, column 13: trailing comma"]);
    check_register("{\"shelf\": 1", expect!["refused: line 1, column 11: EOF while parsing an object"]);
    check_register("{\"shelf\": 1} x", expect!["refused: line 1, column 14: trailing characters"]);
    check_register("{} {}", expect!["refused: line 1, column 4: trailing characters"]);
    check_register("[]", expect!["refused: line 1, column 2: invalid type: sequence, expected struct everything.v1.RegisterRequest"]);
    check_register("null", expect!["refused: line 1, column 4: invalid type: null, expected struct everything.v1.RegisterRequest"]);
    check_register("   ", expect!["refused: line 1, column 3: EOF while parsing a value"]);
    check_register("{\"type\": \"\\ud800\"}", expect!["refused: line 1, column 17: unexpected end of hex escape"]);
}

#[test]
fn deep_nesting_is_refused_before_parsing() {
    let nested = |levels: usize| format!("{{\"parts\":\n {}{}}}", "[".repeat(levels), "]".repeat(levels));
    check_register(
        &nested(63),
        expect!["refused: line 2, column 3: field parts[0]: invalid type: sequence, expected struct everything.v1.RegisterRequest.Part"],
    );
    check_register(&nested(64), expect!["refused: line 2, column 65: objects and arrays are nested more than 64 levels deep"]);
    check_register(&nested(1_000_000), expect!["refused: line 2, column 65: objects and arrays are nested more than 64 levels deep"]);
    check_register(
        &format!("{{\"type\": \"{}\\\"[\"}}", "[{".repeat(5)),
        expect![[r#"RegisterRequest { shelf: 0, parts: [], r#type: "[{[{[{[{[{\"[", colour: None, raw: [] }"#]],
    );
}

#[test]
fn variables_set_fields() {
    check_find(
        &[("colour", "COLOUR_RED"), ("at_least", "5"), ("otherColour", "1")],
        expect![[
            r#"FindRequest { colour: Red, at_least: Some(5), other_colour: Some(Red), flag: false, raw: [], ratio: 0.0, text: "", small: 0, words: [] }"#
        ]],
    );
    check_find(
        &[("atLeast", "5"), ("flag", "true"), ("raw", "AQI"), ("ratio", "1.5"), ("text", "a/b"), ("small", "-8")],
        expect![[
            r#"FindRequest { colour: None, at_least: Some(5), other_colour: None, flag: true, raw: [1, 2], ratio: 1.5, text: "a/b", small: -8, words: [] }"#
        ]],
    );
    check(
        "Register",
        "{\"type\": \"t\"}",
        &[("shelf", "4")],
        expect![[r#"RegisterRequest { shelf: 4, parts: [], r#type: "t", colour: None, raw: [] }"#]],
    );
    check(
        "Register",
        "{\"shelf\": 4}",
        &[("shelf", "4")],
        expect![[r#"RegisterRequest { shelf: 4, parts: [], r#type: "", colour: None, raw: [] }"#]],
    );
    check(
        "Register",
        "{\"shelf\": 0}",
        &[("shelf", "4")],
        expect![[r#"RegisterRequest { shelf: 4, parts: [], r#type: "", colour: None, raw: [] }"#]],
    );
}

#[test]
fn bad_variables_name_the_field_and_what_is_wanted() {
    check_find(&[("at_least", "-5")], expect!["refused: field at_least: `-5` is not a whole number from 0 to 18446744073709551615"]);
    check_find(&[("at_least", "")], expect!["refused: field at_least: `` is not a whole number from 0 to 18446744073709551615"]);
    check_find(
        &[("small", "2147483648")],
        expect!["refused: field small: `2147483648` is not a whole number from -2147483648 to 2147483647"],
    );
    check_find(&[("flag", "yes")], expect!["refused: field flag: `yes` is not true or false"]);
    check_find(&[("colour", "red")], expect!["refused: field colour: `red` is not the name or number of a value of the enum"]);
    check_find(&[("colour", "7")], expect!["refused: field colour: `7` is not the name or number of a value of the enum"]);
    check_find(&[("raw", "%")], expect!["refused: field raw: `%` is not base64"]);
    check_find(&[("ratio", "much")], expect!["refused: field ratio: `much` is not a number"]);
    check_find(
        &[("words", "a")],
        expect!["refused: field words: a list, a map or a message cannot be given in the URL; send it in a JSON body"],
    );
    check_find(&[("limit", "3")], expect!["refused: field limit: the request has no such field"]);
    check_find(
        &[("text", "a"), ("text", "b")],
        expect!["refused: field text: the URL says `b`, but the field is also given with another value; give it once"],
    );
    check(
        "Register",
        "{\"shelf\": 5}",
        &[("shelf", "4")],
        expect!["refused: field shelf: the URL says `4`, but the field is also given with another value; give it once"],
    );
}

#[test]
fn binary_requests_become_canonical() {
    let find = SCHEMA.method("Find").unwrap();
    // Fields 4 and 1 out of order, field 4 twice.
    let canonical = Everything.request_from_binary(find, &[0x20, 1, 0x08, 1, 0x20, 1]).unwrap();
    assert_eq!(canonical, [0x08, 1, 0x20, 1]);
    let error = Everything.request_from_binary(find, &[0x0a, 200]).unwrap_err();
    expect!["the bytes are not a Find request: failed to decode Protobuf message: FindRequest.colour: invalid wire type: LengthDelimited (expected Varint)"].assert_eq(&error.to_string());
}

#[test]
fn answers_are_canonical_json() {
    let counts = [("b", 2), ("a", 1), ("c", 3)].map(|(name, count)| (name.to_owned(), count)).into();
    let response = RegisterResponse { things: vec![7, 8], counts };
    let json = |method: &str, bytes: &[u8]| match Everything.response_to_json(SCHEMA.method(method).unwrap(), bytes) {
        Ok(json) => String::from_utf8(json).unwrap(),
        Err(error) => format!("failed: {error}"),
    };
    expect![[r#"{"things":["7","8"],"counts":{"a":"1","b":"2","c":"3"}}"#]].assert_eq(&json("Register", &response.encode_to_vec()));
    expect![[r#"{"waitSeconds":3}"#]]
        .assert_eq(&json("Login", &LoginResponse { answer: Some(login_response::Answer::WaitSeconds(3)), device: None }.encode_to_vec()));
    expect!["{}"].assert_eq(&json("Find", &[]));
    expect!["failed: the bytes are not a response of Register: failed to decode Protobuf message: RegisterResponse.things: invalid varint"]
        .assert_eq(&json("Register", &[0x0a, 200]));
}
