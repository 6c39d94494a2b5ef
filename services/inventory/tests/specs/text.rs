//! The text form: what is printed is read back, and mistakes in it are said with their place.

use expect_test::{Expect, expect};
use inventory::*;
use onebox::{Code, Refusal, Service, Spec, Time, spec};
use onebox_service::spec::Then;
use onebox_spec::{Catalogue, Rigour, Runner, text};

fn catalogue() -> Catalogue {
    Catalogue::new(Inventory.schema())
}

/// A spec without what its text does not hold: where it was written, and the sentences that follow from fields.
fn held(spec: &Spec) -> Spec {
    let mut held = Spec { place: ("", 0), about: spec.about.trim_end().to_owned(), ..spec.clone() };
    if let Then::Refused(refusal) = &mut held.then
        && !refusal.kind.is_empty()
    {
        refusal.message.clear();
    }
    held
}

#[test]
fn every_spec_is_read_back_as_it_was_printed() {
    let (catalogue, specs) = (catalogue(), Inventory.specs());
    let printed = text::print_all(&catalogue, &specs);
    let read = text::parse(&catalogue, &printed).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.len(), specs.len());
    for (read, spec) in read.iter().zip(&specs) {
        assert_eq!(read, &held(spec));
    }
    assert_eq!(text::print_all(&catalogue, &read), printed, "printing is canonical");
    let mut runner = Runner::new(std::sync::Arc::new(Inventory)).unwrap();
    for spec in &read {
        assert_eq!(runner.run(spec, Rigour::Plain), Ok(()), "{}", spec.name);
    }
}

#[test]
fn whatever_a_spec_can_say_is_read_back() {
    let catalogue = catalogue();
    let names = ["plain", "\"quoted\" \\ back", "line\nend\r\ttab", "\u{0}\u{1}\u{7f}\u{85}\u{2028}", "größe 仓库 🚚", "{ } # ' ---"];
    for name in names {
        let mut request = ReserveRequest { code: name.into(), ..ReserveRequest::default() };
        request.tags.insert("b".into(), name.into());
        request.tags.insert("a".into(), String::new());
        request.lines = (0..6).map(|quantity| ReserveLine { sku: name.into(), quantity: quantity - 1 }).collect();
        let spec = spec("everything")
            .about("# One\n\n  indented\n\nlast")
            .tenant("acme")
            .at(Time(1_700_000_000_123_456))
            .next_id(u64::MAX)
            .given([ProductAdded { product: u64::MAX, sku: name.into() }])
            .given_requests([AddProductsRequest { skus: vec![name.into(), String::new()] }])
            .when(request)
            .refused(Refusal::platform(Code::ResourceExhausted, name));
        let printed = text::print(&catalogue, &spec);
        let read = text::parse(&catalogue, &printed).unwrap_or_else(|error| panic!("{error}\n{printed}"));
        assert_eq!(read, [held(&spec)], "{printed}");
    }
}

#[test]
fn the_form() {
    let spec = spec("a name")
        .about("Why.")
        .tenant("acme")
        .at(Time(1_700_000_000_000_000))
        .next_id(7)
        .given([LocationAdded { location: 1, name: "Hall".into(), parent: 0 }])
        .when(AddProductsRequest { skus: vec!["GPU".into(), "CPU".into()] })
        .returns(AddProductsResponse { products: vec![7, 8] })
        .records([ProductAdded { product: 7, sku: "GPU".into() }, ProductAdded { product: 8, sku: "CPU".into() }]);
    expect![[r#"
        SPEC a name
        ABOUT
          Why.
        TENANT acme
        AT 2023-11-14T22:13:20Z
        NEXT_ID 7
        GIVEN
          LocationAdded { location: 1 name: "Hall" }
        WHEN
          AddProductsRequest { skus: ["GPU", "CPU"] }
        THEN
          AddProductsResponse { products: [7, 8] }
        EVENTS
          ProductAdded { product: 7 sku: "GPU" }
          ProductAdded { product: 8 sku: "CPU" }
    "#]]
    .assert_eq(&text::print(&catalogue(), &spec));
}

fn wrong(text: &str, expected: Expect) {
    let said = match text::parse(&catalogue(), text) {
        Ok(specs) => format!("{} specs", specs.len()),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&said);
}

#[test]
fn a_mistake_has_a_line_a_column_a_message_and_a_field() {
    let when = |message: &str| format!("SPEC s\nGIVEN\n  ProductAdded {{ product: 1 }}\nWHEN\n  {message}\nTHEN\n  CancelResponse {{}}\n");
    wrong(&when("CancelRequest { reservation: 1 }"), expect!["1 specs"]);
    wrong(
        &when("CancelRequest { reservatoin: 1 }"),
        expect![
            "line 5, column 19: CancelRequest: field reservatoin: field 'reservatoin' not found for message 'inventory.v1.CancelRequest'"
        ],
    );
    wrong(
        &when("CancelRequest { reservation: \"x\" }"),
        expect![[r#"line 5, column 32: CancelRequest: field reservation: expected an integer, but found '"x"'"#]],
    );
    wrong(
        &when("CancelRequest {\n    reservation: -1\n  }"),
        expect![
            "line 6, column 18: CancelRequest: field reservation: expected value to be an unsigned 64-bit integer, but the value -1 is out of range"
        ],
    );
    wrong(
        &when("ReserveRequest { lines { sku: \"a\" quantity: 99999999999999999999 } }"),
        expect![
            "line 5, column 47: ReserveRequest: field quantity: expected value to be a signed 64-bit integer, but the value 99999999999999999999 is out of range"
        ],
    );
    wrong(
        &when("CancelRequest { reservation 1 }"),
        expect!["line 5, column 31: CancelRequest: expected ':' or a message value, but found '1'"],
    );
    wrong(
        &when("CancelRequest { reservation: 1"),
        expect!["line 5, column 17: CancelRequest: this brace is not closed, or has more than 100 levels in it"],
    );
    wrong(&when("CancelRequest"), expect!["line 6, column 1: CancelRequest: its fields stand in braces: `{ field: 1 }`, or `{}`"]);
    wrong(
        &when("Cancel { reservation: 1 }"),
        expect![[r#"line 5, column 3: the schema has no message "Cancel"; names are those of the .proto, like `Name { field: 1 }`"#]],
    );
    wrong(
        &when("CancelRequest { } CancelRequest { }"),
        expect!["line 5, column 20: CancelRequest: each message begins on a line of its own"],
    );
    wrong(&when("CancelRequest { }\n  CancelRequest { }"), expect!["line 6, column 3: CancelRequest: only one message stands under WHEN"]);
    wrong(
        &when("ProductAdded { product: 1 }"),
        expect!["line 5, column 3: ProductAdded: it is not the request of a method, which WHEN wants"],
    );
    wrong(&when("UpdateStockRequest { }"), expect!["line 7, column 3: CancelResponse: UpdateStock answers UpdateStockResponse, not this"]);
    wrong(&when(""), expect!["line 4, column 1: a message stands under WHEN, indented, like `Name { field: 1 }`"]);
}

#[test]
fn a_spec_that_is_not_whole_is_said() {
    wrong("", expect!["0 specs"]);
    wrong("# a comment\n---\n", expect!["0 specs"]);
    wrong("GIVEN\n", expect!["line 1, column 1: a spec begins with SPEC and its name"]);
    wrong("SPEC\n", expect!["line 1, column 1: something must follow SPEC on its line"]);
    wrong("SPEC s\n", expect!["line 1, column 1: the spec has no WHEN: say what is asked"]);
    wrong(
        "SPEC s\nWHEN\n  CancelRequest {}\n",
        expect!["line 1, column 1: the spec has neither THEN nor REFUSED: say how the request ends"],
    );
    wrong(
        "SPEC s\nWHEN\n  CancelRequest {}\nTHEN\n  CancelResponse {}\nREFUSED\n  NOT_FOUND\n",
        expect!["line 1, column 1: the spec has both THEN and REFUSED: a request ends in one way"],
    );
    wrong(
        "SPEC s\nWHEN\n  CancelRequest {}\nREFUSED\n  NOT_FOUND\nEVENTS\n  ProductAdded {}\n",
        expect!["line 6, column 1: a refused request records no events: leave out EVENTS, or REFUSED"],
    );
    wrong(
        "SPEC s\nWHEN\n  CancelRequest {}\nREFUSED\n  NOT_FOUND because\n",
        expect!["line 5, column 1: after the code comes the sentence in quotes, or nothing if any sentence will do"],
    );
    wrong(
        "SPEC s\nWHEN\n  CancelRequest {}\nREFUSED\n  ProductAdded {}\n",
        expect!["line 5, column 3: ProductAdded: it is not a refusal of the schema; one of the platform is a code like RESOURCE_EXHAUSTED"],
    );
    wrong(
        "SPEC s\nGIVEN ProductAdded {}\n",
        expect!["line 2, column 1: nothing follows GIVEN on its line; what it holds stands on the lines below, indented"],
    );
    wrong("SPEC s\nNEXT_ID 1\nNEXT_ID 2\n", expect!["line 3, column 1: the spec has NEXT_ID twice"]);
    let deep = format!("SPEC s\nWHEN\n  AddLocationsRequest {{ locations {} }}\n", "{ children ".repeat(200) + &"}".repeat(200));
    wrong(&deep, expect!["line 3, column 23: AddLocationsRequest: this brace is not closed, or has more than 100 levels in it"]);
    wrong("SPEC s\nAT noon\n", expect!["line 2, column 1: AT wants a time since 1970 like 2020-01-01T00:00:00Z"]);
    wrong("SPEC s\nNEXT_ID 0\n", expect!["line 2, column 1: NEXT_ID wants a whole number from 1"]);
    wrong(
        "SPEC s\nTHAN\n",
        expect![
            "line 2, column 1: expected SPEC, ABOUT, TENANT, AT, NEXT_ID, GIVEN, WHEN, THEN, EVENTS, REFUSED or --- at the start of the line"
        ],
    );
}
