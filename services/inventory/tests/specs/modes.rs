//! Each way of running a spec finds what it is there for.

use std::sync::Arc;

use expect_test::{Expect, expect};
use inventory::*;
use onebox::{Spec, facts, spec};
use onebox_spec::stage::AS_GIVEN;
use onebox_spec::{Rigour, Runner, Stage};

use crate::broken::{Broken, Wrong};

fn putting_in() -> Spec {
    spec("stock is put in")
        .given(facts![
            LocationAdded { location: 1, name: "Hall".into(), parent: 0 },
            ProductAdded { product: 2, sku: "GPU".into() },
            StockUpdated { location: 1, product: 2, change: 7, on_hand: 7 },
            Reserved { reservation: 3, code: "R".into(), items: vec![ReservedItem { product: 2, quantity: 1, location: 1 }] },
            Cancelled { reservation: 3, items: vec![CancelledItem { product: 2, location: 1, released: 1 }] },
        ])
        .when(UpdateStockRequest { location: 1, product: 2, change: 5 })
        .returns(UpdateStockResponse { on_hand: 12 })
        .records([StockUpdated { location: 1, product: 2, change: 5, on_hand: 12 }])
}

fn check(wrong: Wrong, expected: Expect) {
    let mut runner = Runner::new(Arc::new(Broken::new(wrong))).unwrap();
    let problem = runner.run(&putting_in(), Rigour::Hardened).expect_err("what is wrong is found");
    expected.assert_eq(&format!("{}: {problem}", problem.mode.name()));
    // A failure leaves nothing behind: the same again.
    let again = runner.run(&putting_in(), Rigour::Hardened).expect_err("what is wrong is found again");
    assert_eq!(again.mode, problem.mode);
}

#[test]
fn as_written() {
    check(Wrong::Answer, expect!["plain: response.on_hand: expected 12, got 13"]);
}

#[test]
fn a_panic_is_a_refusal_that_was_not_expected() {
    check(
        Wrong::Panic,
        expect![[
            r#"plain: request: expected to be carried out, got refused: INTERNAL "the code of UpdateStock failed on this request, which changed nothing: a shelf has collapsed""#
        ]],
    );
}

#[test]
fn sent_twice() {
    let mut runner = Runner::new(Arc::new(Broken::new(Wrong::StoredAnswer))).unwrap();
    let problem = runner.run(&putting_in(), Rigour::Hardened).expect_err("what is wrong is found");
    assert_eq!((problem.mode.name(), &*problem.differences[0].path), ("twice", "response.on_hand"));
}

#[test]
fn replayed() {
    check(
        Wrong::Replay,
        expect!["replayed: the state is another one: an `apply` writes other rows from the log than when its event was recorded"],
    );
}

#[test]
fn with_fields_of_a_newer_schema() {
    check(Wrong::UnknownFields, expect!["newer_fields: given[0] to [4] cannot be applied: event LocationAdded (number 1): unknown fields"]);
}

#[test]
fn a_restart_keeps_what_is_in_the_base_and_nothing_else() {
    let mut stage = Stage::new(Arc::new(Inventory)).unwrap();
    let spec = putting_in();
    let home = stage.set_up(&spec, AS_GIVEN).unwrap();
    let rows = stage.rows(home.tenant).unwrap();
    stage.seal().unwrap();
    drop(stage.commit(&spec));
    assert!(stage.state().dirty_bytes() > 0 && !rows.is_empty());
    let restarted = stage.restarted(&spec).unwrap();
    assert_eq!(restarted.state().dirty_bytes(), 0, "nothing is in memory");
    assert_eq!(restarted.rows(home.tenant).unwrap(), rows);

    // Without its commit an entry is not in the base, and a restart shows that it is gone.
    let mut stage = Stage::new(Arc::new(Inventory)).unwrap();
    let home = stage.set_up(&spec, AS_GIVEN).unwrap();
    let restarted = stage.restarted(&spec).unwrap();
    assert_eq!(restarted.rows(home.tenant).unwrap(), []);
}

#[test]
fn beside_another_tenant() {
    check(
        Wrong::Leak,
        expect![[r#"beside_a_tenant: request: expected to be carried out, got refused: FAILED_PRECONDITION "too much has happened""#]],
    );
}

#[test]
fn nothing_is_wrong_with_the_service_itself() {
    let mut runner = Runner::new(Arc::new(Inventory)).unwrap();
    assert_eq!(runner.run(&putting_in(), Rigour::Hardened), Ok(()));
}

#[test]
fn what_a_spec_itself_gets_wrong_is_said() {
    let mut runner = Runner::new(Arc::new(Inventory)).unwrap();
    let mut said = |spec: Spec| runner.run(&spec, Rigour::Hardened).expect_err("the spec is wrong").to_string();
    let add = || spec("s").given([ProductAdded { product: 1, sku: "GPU".into() }]);
    let nowhere = add().given([StockUpdated { location: 9, product: 1, change: 1, on_hand: 1 }]);
    expect!["given[0] to [1] cannot be applied: event StockUpdated (number 4): an event or a row names location 9, which does not exist"]
        .assert_eq(&said(nowhere.when(CancelRequest { reservation: 1 }).returns(CancelResponse {})));
    let refused = add().given_requests([AddProductsRequest { skus: vec!["GPU".into()] }]);
    expect!["given[1], a request of AddProducts, is refused: ALREADY_EXISTS: there already is a product with the sku GPU"]
        .assert_eq(&said(refused.when(CancelRequest { reservation: 1 }).returns(CancelResponse {})));
    let reading = add().given_requests([GetStockRequest { location: 0 }]);
    expect!["given[1] asks GetStock, which only reads: it changes nothing, so leave it out"]
        .assert_eq(&said(reading.when(CancelRequest { reservation: 1 }).returns(CancelResponse {})));
    expect!["next_id is 0; ids begin at 1"]
        .assert_eq(&said(add().next_id(0).when(CancelRequest { reservation: 1 }).returns(CancelResponse {})));
    let long = spec("s").given(vec![StockUpdated::default(); onebox_spec::stage::GIVEN_MAX + 1]);
    expect!["10001 things are given; at most 10000 may be"]
        .assert_eq(&said(long.when(CancelRequest { reservation: 1 }).returns(CancelResponse {})));
}
