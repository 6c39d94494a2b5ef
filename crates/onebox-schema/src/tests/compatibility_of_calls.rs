//! The lock holds what methods that write ask and answer, because both are stored.

use expect_test::expect;

use super::compatibility::check_twice;
use super::compile_text;

const CALLS: &str = "service Shop {\n rpc Buy(BuyRequest) returns (BuyResponse);\n rpc Look(LookRequest) returns (LookResponse) { option (onebox.method) = { read_only: true }; } }\n\
     message BuyRequest { uint64 thing = 1; uint64 shelf = 2; Kind kind = 3; }\nmessage BuyResponse { Bill bill = 1; }\n\
     message Bill { sint64 price = 1; }\nenum Kind { KIND_NONE = 0; KIND_GIFT = 1; }\n\
     message LookRequest { uint64 thing = 1; }\nmessage LookResponse { string name = 1; }\n";

#[test]
fn requests_and_answers_of_methods_that_write_are_locked() {
    let changed = |old: &str, new: &str, expected| check_twice(CALLS, old, new, expected);
    expect![[r#"
        # What is stored under this schema. Written by the build; commit it, and edit it only where the build tells you to.
        version 1
        message Bill
          1 price sint64 single
        message BuyRequest
          1 thing uint64 single
          2 shelf uint64 single
          3 kind Kind single
        message BuyResponse
          1 bill Bill single
        enum Kind
          0 KIND_NONE
          1 KIND_GIFT
        method Buy BuyRequest BuyResponse
        method Look
    "#]]
    .assert_eq(&compile_text(CALLS, None).unwrap().lock);
    changed(
        "thing = 1; uint64 shelf = 2;",
        "thing = 2; uint64 shelf = 1;",
        expect![
            "shop.proto:4: `thing` was field 1 of BuyRequest and is now field 2: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
    changed(
        "uint64 shelf = 2;",
        "string shelf = 2;",
        expect![
            "shop.proto:4: number 2 of BuyRequest was `shelf` of type uint64 and now is `shelf` of type string; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 2;` in its place"
        ],
    );
    changed(
        "uint64 shelf = 2;",
        "",
        expect![
            "shop.proto:4: field `shelf` = 2 of BuyRequest is gone, but stored messages hold it; put it back, or write `reserved 2;` in its place"
        ],
    );
    changed("uint64 shelf = 2;", "reserved 2;", expect!["new lock"]);
    changed("uint64 shelf = 2;", "uint64 shelf = 2; uint64 count = 4;", expect!["new lock"]);
    changed(
        "Bill bill = 1;",
        "Bill bill = 2;",
        expect![
            "shop.proto:5: field `bill` of BuyResponse had number 1 and now has 2; stored messages hold it under 1: write 1 again, or keep 2 and put `reserved 1;` beside it"
        ],
    );
    changed(
        "sint64 price = 1;",
        "uint64 price = 1;",
        expect![
            "shop.proto:6: number 1 of Bill was `price` of type sint64 and now is `price` of type uint64; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 1;` in its place"
        ],
    );
    changed(
        "KIND_GIFT = 1;",
        "",
        expect!["shop.proto:7: value KIND_GIFT = 1 of enum Kind is gone, but stored messages hold it; put it back, or write `reserved 1;`"],
    );
    changed(
        "rpc Buy(BuyRequest)",
        "rpc Buy(Bill)",
        expect![
            "shop.proto:6: number 1 of Bill was `thing` of type uint64 and now is `price` of type sint64; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 1;` in its place"
        ],
    );
    // What only reads is not stored.
    changed("string name = 1;", "uint64 name = 1;", expect!["same lock"]);
    changed("message LookRequest { uint64 thing = 1; }", "message LookRequest {}", expect!["same lock"]);
}

#[test]
fn a_method_that_writes_keeps_its_name() {
    let renamed = CALLS.replace("rpc Buy(", "rpc Purchase(");
    check_twice(
        CALLS,
        CALLS,
        &renamed,
        expect![
            "shop.proto:1: method Buy is gone or has another name: retained idempotency keys and sessions that used it would be misread or refused; keep it as it was for one release (it may refuse every request). Removing it is allowed only if its line `method Buy BuyRequest BuyResponse` is removed from schema.lock by hand in the same commit"
        ],
    );
    check_twice(
        CALLS,
        " rpc Buy(BuyRequest) returns (BuyResponse);\n",
        "",
        expect![
            "shop.proto:1: method Buy is gone or has another name: retained idempotency keys and sessions that used it would be misread or refused; keep it as it was for one release (it may refuse every request). Removing it is allowed only if its line `method Buy BuyRequest BuyResponse` is removed from schema.lock by hand in the same commit"
        ],
    );
    let only_reads = "returns (BuyResponse) { option (onebox.method) = { read_only: true }; }";
    check_twice(
        CALLS,
        "returns (BuyResponse);",
        only_reads,
        expect![
            "shop.proto:2: method Buy wrote and is now read_only: retained idempotency keys and sessions that used it would be misread or refused; keep it as it was for one release (it may refuse every request). Removing it is allowed only if its line `method Buy BuyRequest BuyResponse` is removed from schema.lock by hand in the same commit"
        ],
    );
    check_twice(CALLS, "rpc Look(", "rpc See(", expect!["new lock"]);
    check_twice(CALLS, "{ option (onebox.method) = { read_only: true }; }", ";", expect!["new lock"]);

    // The way out.
    let lock = compile_text(CALLS, None).unwrap().lock;
    let without = lock.replace("method Buy BuyRequest BuyResponse\n", "");
    assert_ne!(without, lock);
    let after = compile_text(&renamed, Some(&without)).unwrap().lock;
    assert!(after.contains("method Purchase BuyRequest BuyResponse\n"), "{after}");
}

#[test]
fn a_lock_that_lists_the_names_of_methods_alone_is_read() {
    let lock = compile_text(CALLS, None).unwrap().lock;
    let names_alone = lock.replace("method Buy BuyRequest BuyResponse\n", "method Buy\n");
    let compiled = compile_text(CALLS, Some(&names_alone)).unwrap();
    assert_eq!(compiled.lock, lock);
}
