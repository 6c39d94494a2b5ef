//! How a failure reads.

use std::sync::Arc;

use expect_test::{Expect, expect};
use inventory::*;
use onebox::{Service, Spec, facts, spec};
use onebox_service::spec::Then;
use onebox_service::{Code, Fact, Refusal};
use onebox_spec::{Catalogue, difference};

use onebox::private::prost::Message;

/// The differences between how one spec ends and another expects it.
fn check(expected: Then, got: Then, lines: Expect) {
    let catalogue = Catalogue::new(Inventory.schema());
    let spec = Spec { then: expected.clone(), ..spec("s").when(AddLocationsRequest::default()).returns(AddLocationsResponse::default()) };
    let found = difference::between(&catalogue, &spec, &expected, &got);
    lines.assert_eq(&found.iter().map(|difference| format!("{difference}\n")).collect::<String>());
}

fn node(id: u64, name: &str, children: Vec<LocationNode>) -> LocationNode {
    LocationNode { id, name: name.into(), parent: 0, children }
}

fn returns(locations: Vec<LocationNode>, events: impl IntoIterator<Item = Fact>) -> Then {
    Then::Returns { response: AddLocationsResponse { locations }.encode_to_vec(), events: events.into_iter().collect() }
}

fn added(location: u64, name: &str) -> LocationAdded {
    LocationAdded { location, name: name.into(), parent: 0 }
}

#[test]
fn responses_path_by_path() {
    let expected = returns(vec![node(1, "A", vec![node(2, "B", vec![])]), node(3, "C", vec![])], []);
    let got = returns(vec![node(1, "A", vec![node(2, "X", vec![]), node(4, "D", vec![])])], []);
    check(
        expected,
        got,
        expect![[r#"
            response.locations[0].children[0].name: expected "B", got "X"
            response.locations[0].children[1]: not expected { id: 4 name: "D" }
            response.locations[1]: missing { id: 3 name: "C" }
        "#]],
    );
}

#[test]
fn events_are_aligned() {
    let moved = || LocationMoved { location: 1, old_parent: 0, new_parent: 2 };
    let expected = returns(vec![], facts![added(1, "A"), added(2, "B"), moved(), added(3, "C")]);
    let got = returns(vec![], facts![added(1, "A"), moved(), added(3, "X"), moved()]);
    check(
        expected,
        got,
        expect![[r#"
            events[1]: missing LocationAdded { location: 2 name: "B" }
            events[3].name: expected "C", got "X"
            events[3]: not expected LocationMoved { location: 1 new_parent: 2 }
        "#]],
    );
}

#[test]
fn refusals_field_by_field() {
    let refused = |refusal: Refusal| Then::Refused(refusal);
    let short = |available| refused(Refusal::of(&NotEnoughAvailable { location: 1, product: 2, available, wanted: 9 }));
    check(
        short(5),
        short(6),
        expect![[r#"
        refused.available: expected 5, got 6
    "#]],
    );
    check(
        short(5),
        refused(Refusal::of(&UnknownProduct { product: 2 })),
        expect![[r#"
            refused: expected FAILED_PRECONDITION NotEnoughAvailable { location: 1 product: 2 available: 5 wanted: 9 }, got NOT_FOUND UnknownProduct { product: 2 }
        "#]],
    );
    check(
        returns(vec![], []),
        refused(Refusal::platform(Code::ResourceExhausted, "too many rows")),
        expect![[r#"
            request: expected to be carried out, got refused: RESOURCE_EXHAUSTED "too many rows"
        "#]],
    );
    check(
        short(5),
        returns(vec![node(1, "A", vec![])], []),
        expect![[r#"
            request: expected refused: FAILED_PRECONDITION NotEnoughAvailable { location: 1 product: 2 available: 5 wanted: 9 }, got carried out: AddLocationsResponse { locations { id: 1 name: "A" } }
        "#]],
    );
    let any = refused(Refusal::platform(Code::ResourceExhausted, ""));
    check(any, refused(Refusal::platform(Code::ResourceExhausted, "whatever")), expect![[r#""#]]);
}

/// The page that shows how a failure reads shows what is printed today.
#[test]
fn the_page_shows_a_real_failure() {
    let service: Arc<dyn Service> = Arc::new(crate::broken::Broken::new(crate::broken::Wrong::Answer));
    let specs = service.specs();
    let named = |spec: &&Spec| spec.name == crate::binary::SHOWN;
    let spec = specs.iter().find(named).expect("the spec that the page shows is there");
    let mut runner = onebox_spec::Runner::new(service).unwrap();
    let problem = runner.run(spec, onebox_spec::Rigour::Hardened).expect_err("the rule is broken");
    let page = include_str!("../../../../docs/specs.md");
    for line in onebox_spec::text::steps(runner.catalogue(), spec).lines().chain(problem.to_string().lines()) {
        assert!(page.contains(line), "docs/specs.md does not show: {line}");
    }
}
