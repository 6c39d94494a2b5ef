//! Which changes of a schema its lock lets pass.

use expect_test::{Expect, expect};

use super::compile_text;

const EVENT: &str = "message Done { option (onebox.event) = { id: 7 };\n uint64 id = 1 [(onebox.field).new_id = true];\n string name = 2;\n Inner inner = 3;\n map<string, Inner> more = 4; Colour colour = 5; }\n";
const INNER: &str = "message Inner { sint64 count = 1; Inner next = 2; }\n";
const COLOUR: &str = "enum Colour { COLOUR_NONE = 0; COLOUR_RED = 1; }\n";
const TABLE: &str = "message Row { option (onebox.table) = { id: 3 name: \"rows\" key: [\"a\", \"b\"] index: { fields: \"c\" unique: true } index: { fields: [\"c\", \"b\"] } };\n uint64 a = 1; uint64 b = 2; string c = 3; }\n";

fn before() -> String {
    format!("{EVENT}{INNER}{COLOUR}{TABLE}")
}

/// Replaces `old` by `new` in a schema and compiles it against the lock of what it was.
fn check(old: &str, new: &str, expected: Expect) {
    check_twice(&before(), old, new, expected);
}

pub(super) fn check_twice(before: &str, old: &str, new: &str, expected: Expect) {
    assert!(old.is_empty() || before.contains(old), "the schema has no {old}");
    let lock = compile_text(before, None).unwrap().lock;
    let after = if old.is_empty() { format!("{before}{new}") } else { before.replacen(old, new, 1) };
    let said = match compile_text(&after, Some(&lock)) {
        Ok(compiled) if compiled.lock == lock => "same lock".to_owned(),
        Ok(_) => "new lock".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&said);
}

#[test]
fn the_text_of_a_lock() {
    expect![[r#"
        # What is stored under this schema. Written by the build; commit it, and edit it only where the build tells you to.
        version 1
        event 7 Done
        table 3 rows Row
          key a b
          index 1 unique c
          index 2 many c b
        message AskRequest
        message AskResponse
        message Done
          1 id uint64 single new_id
          2 name string single
          3 inner Inner single
          4 more map<string,Inner> map
          5 colour Colour single
        message Inner
          1 count sint64 single
          2 next Inner single
        message Row
          1 a uint64 single
          2 b uint64 single
          3 c string single
        enum Colour
          0 COLOUR_NONE
          1 COLOUR_RED
        method Ask AskRequest AskResponse
    "#]]
    .assert_eq(&compile_text(&before(), None).unwrap().lock);
}

#[test]
fn nothing_changed() {
    check("", "", expect!["same lock"]);
    check("", "message Unrelated { string text = 1; }", expect!["same lock"]);
}

#[test]
fn growth_is_compatible() {
    check("string name = 2;", "string name = 2; string note = 9;", expect!["new lock"]);
    check("", "message More { option (onebox.event) = { id: 8 }; }", expect!["new lock"]);
    check("", "message Other { option (onebox.table) = { id: 4 name: \"others\" key: \"a\" }; uint64 a = 1; }", expect!["new lock"]);
    check("COLOUR_RED = 1;", "COLOUR_RED = 1; COLOUR_BLUE = 2;", expect!["new lock"]);
}

#[test]
fn names_may_change() {
    check("string name = 2;", "string title = 2;", expect!["new lock"]);
    check("message Done", "message Finished", expect!["new lock"]);
    check("name: \"rows\"", "name: \"lines\"", expect!["new lock"]);
    check("message Row", "message Line", expect!["new lock"]);
    check("COLOUR_RED = 1;", "COLOUR_CRIMSON = 1;", expect!["new lock"]);
    let renamed = before().replace("Inner", "Part");
    let lock = compile_text(&before(), None).unwrap().lock;
    assert!(compile_text(&renamed, Some(&lock)).is_ok());
    let renamed = before().replace(" c = 3", " code = 3").replace("\"c\"", "\"code\"");
    assert!(compile_text(&renamed, Some(&lock)).is_ok());
}

#[test]
fn a_single_field_may_become_optional() {
    check("string name = 2;", "optional string name = 2;", expect!["new lock"]);
}

#[test]
fn a_number_keeps_its_type() {
    check(
        "string name = 2;",
        "uint64 name = 2;",
        expect![
            "shop.proto:3: number 2 of Done was `name` of type string and now is `name` of type uint64; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 2;` in its place"
        ],
    );
    check(
        "string name = 2;",
        "repeated string name = 2;",
        expect![
            "shop.proto:3: field `name` of Done was single and now is repeated; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 2;` in its place"
        ],
    );
    check(
        "string name = 2;",
        "oneof x { string name = 2; }",
        expect![
            "shop.proto:3: field `name` of Done was single and now is in oneof `x`; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 2;` in its place"
        ],
    );
    check(
        "Inner inner = 3;",
        "Row inner = 3;",
        expect![
            "shop.proto:4: number 3 of Done was `inner` of type Inner and now is `inner` of type Row; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 3;` in its place"
        ],
    );
    check(
        "sint64 count = 1;",
        "int64 count = 1;",
        expect![
            "shop.proto:6: number 1 of Inner was `count` of type sint64 and now is `count` of type int64; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 1;` in its place"
        ],
    );
    check(
        "map<string, Inner> more",
        "map<string, string> more",
        expect![
            "shop.proto:5: number 4 of Done was `more` of type map<string,Inner> and now is `more` of type map<string,string>; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 4;` in its place"
        ],
    );
    check(
        "map<string, Inner> more",
        "map<uint64, Inner> more",
        expect![
            "shop.proto:5: number 4 of Done was `more` of type map<string,Inner> and now is `more` of type map<uint64,Inner>; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 4;` in its place"
        ],
    );
    check(
        "Colour colour = 5;",
        "int32 colour = 5;",
        expect![
            "shop.proto:5: number 5 of Done was `colour` of type Colour and now is `colour` of type int32; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 5;` in its place"
        ],
    );
    check(
        "string c = 3;",
        "bytes c = 3;",
        expect![
            "shop.proto:9: number 3 of Row was `c` of type string and now is `c` of type bytes; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 3;` in its place"
        ],
    );
}

#[test]
fn a_field_goes_only_with_its_number_reserved() {
    check(
        "string name = 2;",
        "",
        expect![
            "shop.proto:1: field `name` = 2 of Done is gone, but stored messages hold it; put it back, or write `reserved 2;` in its place"
        ],
    );
    check(
        "string name = 2;",
        "string name = 9;",
        expect![
            "shop.proto:3: field `name` of Done had number 2 and now has 9; stored messages hold it under 2: write 2 again, or keep 9 and put `reserved 2;` beside it"
        ],
    );
    check("string name = 2;", "reserved 2;", expect!["new lock"]);
    check(
        "sint64 count = 1;",
        "",
        expect![
            "shop.proto:6: field `count` = 1 of Inner is gone, but stored messages hold it; put it back, or write `reserved 1;` in its place"
        ],
    );
    check(
        "COLOUR_RED = 1;",
        "",
        expect![
            "shop.proto:7: value COLOUR_RED = 1 of enum Colour is gone, but stored messages hold it; put it back, or write `reserved 1;`"
        ],
    );
    check("COLOUR_RED = 1;", "reserved 1;", expect!["new lock"]);
}

#[test]
fn a_reserved_number_stays_reserved() {
    let before = before().replace("string name = 2;", "reserved 2, 20 to 22;").replace("COLOUR_RED = 1;", "reserved 1;");
    check_twice(
        &before,
        "reserved 2, 20 to 22;",
        "uint64 fresh = 2; reserved 20 to 22;",
        expect![
            "shop.proto:3: field `fresh` of Done takes number 2, which was reserved: stored messages may hold something else under it; take a new number and put `reserved 2;` back"
        ],
    );
    check_twice(
        &before,
        "reserved 2, 20 to 22;",
        "reserved 20 to 22;",
        expect!["shop.proto:1: Done no longer reserves number 2: stored messages may hold something else under it; put `reserved 2;` back"],
    );
    check_twice(&before, "reserved 2, 20 to 22;", "reserved 2, 20 to 30;", expect!["new lock"]);
    check_twice(
        &before,
        "reserved 1;",
        "COLOUR_BLUE = 1;",
        expect![
            "shop.proto:7: value COLOUR_BLUE of enum Colour takes number 1, which was reserved; take a new number and put `reserved 1;` back"
        ],
    );
    check_twice(
        &before,
        "reserved 1;",
        "",
        expect![
            "shop.proto:7: enum Colour no longer reserves number 1: stored messages may mean something else by it; put `reserved 1;` back"
        ],
    );
    check_twice(&before, "reserved 1;", "reserved 1 to max;", expect!["new lock"]);
    let wide = before.replace("reserved 1;", "reserved 1 to max;").replace("20 to 22", "20 to max");
    check_twice(
        &wide,
        "20 to max",
        "20 to 99, 101 to max",
        expect![
            "shop.proto:1: Done no longer reserves number 100: stored messages may hold something else under it; put `reserved 100;` back"
        ],
    );
    check_twice(&wide, "20 to max", "20 to 99, 100 to max", expect!["new lock"]);
}

#[test]
fn events_and_tables_stay() {
    check(
        "id: 7",
        "id: 8",
        expect![
            "shop.proto:1: event Done had id 7 and now has 8; the log stores the id: write 7 again, and new kinds of facts as new events"
        ],
    );
    check(
        "option (onebox.event) = { id: 7 };\n uint64 id = 1 [(onebox.field).new_id = true];",
        "uint64 id = 1;",
        expect!["shop.proto:1: event Done (id 7) is gone, but logs hold it; put it back with its `Apply`, and just record it no more"],
    );
    check(
        EVENT,
        "",
        expect!["shop.proto:1: event Done (id 7) is gone, but logs hold it; put it back with its `Apply`, and just record it no more"],
    );
    check(
        "id: 3",
        "id: 4",
        expect![
            "shop.proto:8: table `rows` had id 3 and now has 4; its rows are stored under 3: write 3 again, or make a new message for a new table"
        ],
    );
    check(
        TABLE,
        "",
        expect![
            "shop.proto:1: table `rows` (id 3, rows Row) is gone, but rows of it are stored; put it back, and just write to it no more"
        ],
    );
}

#[test]
fn ids_are_counted_as_before() {
    check(
        " [(onebox.field).new_id = true]",
        "",
        expect![
            "shop.proto:2: field `id` of Done was marked new_id and now is not; replaying stored events would count ids differently: leave it as it was, and make a new event"
        ],
    );
    let before = before().replace(" [(onebox.field).new_id = true]", "");
    check_twice(
        &before,
        "uint64 id = 1;",
        "uint64 id = 1 [(onebox.field).new_id = true];",
        expect![
            "shop.proto:2: field `id` of Done was not marked new_id and now is; replaying stored events would count ids differently: leave it as it was, and make a new event"
        ],
    );
}

#[test]
fn keys_and_indexes_stay() {
    check(
        "key: [\"a\", \"b\"]",
        "key: [\"b\", \"a\"]",
        expect![
            "shop.proto:8: the key of table `rows` was [a, b] and now is [b, a]; stored rows stand under the old one: write it as it was, or make a new table with a new id"
        ],
    );
    check(
        "key: [\"a\", \"b\"]",
        "key: [\"a\"]",
        expect![
            "shop.proto:8: the key of table `rows` was [a, b] and now is [a]; stored rows stand under the old one: write it as it was, or make a new table with a new id"
        ],
    );
    check(
        "fields: \"c\" unique: true",
        "fields: \"c\"",
        expect![
            "shop.proto:8: index 1 of table `rows` was unique [c] and is not so any more; its stored entries stand under its position and fields: write it as it was, in its place, or make a new table with a new id"
        ],
    );
    check(
        "fields: [\"c\", \"b\"]",
        "fields: [\"b\", \"c\"]",
        expect![
            "shop.proto:8: index 2 of table `rows` was [c, b] and is not so any more; its stored entries stand under its position and fields: write it as it was, in its place, or make a new table with a new id"
        ],
    );
    check(
        "index: { fields: \"c\" unique: true }",
        "",
        expect![
            "shop.proto:8: index 1 of table `rows` was unique [c] and is not so any more; its stored entries stand under its position and fields: write it as it was, in its place, or make a new table with a new id"
        ],
    );
    check(
        "index: { fields: [\"c\", \"b\"] }",
        "",
        expect![
            "shop.proto:8: index 2 of table `rows` was [c, b] and is not so any more; its stored entries stand under its position and fields: write it as it was, in its place, or make a new table with a new id"
        ],
    );
    check(
        "index: { fields: [\"c\", \"b\"] }",
        "index: { fields: [\"c\", \"b\"] } index: { fields: \"b\" }",
        expect![
            "shop.proto:8: index [b] was added to table `rows`, whose stored rows have no entries in it and would not be found; make a new table with a new id that has the index"
        ],
    );
    check("fields: [\"c\", \"b\"]", "fields: [\"c\", \"b\"] name: \"by_anything\"", expect!["same lock"]);
}

#[test]
fn a_lock_that_was_edited_is_refused() {
    let lock = compile_text(&before(), None).unwrap().lock;
    let refused = |lock: &str| compile_text(&before(), Some(lock)).unwrap_err().to_string();
    expect!["schema.lock: the lock is empty; restore the committed file"].assert_eq(&refused(""));
    expect![
        "schema.lock:1: this is not a lock that this onebox reads; restore the committed file, or build with the version that wrote it"
    ]
    .assert_eq(&refused("version 9\n"));
    expect!["schema.lock:3: this line is not understood; restore the committed file (the build writes it, people do not)"]
        .assert_eq(&refused(&lock.replace("event 7 Done", "event seven Done")));
    expect!["schema.lock:16: this line is not understood; restore the committed file (the build writes it, people do not)"]
        .assert_eq(&refused(&lock.replace("message Inner\n", "")));
    expect!["schema.lock:4: this line is not understood; restore the committed file (the build writes it, people do not)"]
        .assert_eq(&refused(&lock.replace("event 7 Done", "event 7 Done\nevent 7 Done")));
}

#[test]
fn fields_do_not_exchange_their_numbers() {
    let pair = "message Moved { option (onebox.event) = { id: 9 };\n uint64 from = 1; uint64 to = 2; }\n";
    check_twice(
        pair,
        "from = 1; uint64 to = 2;",
        "from = 2; uint64 to = 1;",
        expect![
            "shop.proto:2: `from` was field 1 of Moved and is now field 2: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
    check_twice(
        pair,
        "from = 1; uint64 to = 2;",
        "source = 1; uint64 from = 2; reserved 9;",
        expect![
            "shop.proto:2: `from` was field 1 of Moved and is now field 2: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
    check_twice(
        pair,
        "from = 1; uint64 to = 2;",
        "source = 1; uint64 to = 2; uint64 from = 3;",
        expect![
            "shop.proto:2: `from` was field 1 of Moved and is now field 3: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
    check_twice(
        pair,
        "from = 1; uint64 to = 2;",
        "from = 2; reserved 1;",
        expect![
            "shop.proto:2: `from` was field 1 of Moved and is now field 2: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
    check_twice(pair, "from = 1; uint64 to = 2;", "source = 1; uint64 target = 2;", expect!["new lock"]);
    check_twice(pair, "from = 1; uint64 to = 2;", "to = 2; uint64 from = 3; reserved 1;", expect!["new lock"]);
    let row =
        "message Row { option (onebox.table) = { id: 3 name: \"rows\" key: \"a\" };\n uint64 a = 1;\n uint64 b = 2; uint64 c = 3; }\n";
    check_twice(
        row,
        "b = 2; uint64 c = 3;",
        "b = 3; uint64 c = 2;",
        expect![
            "shop.proto:3: `b` was field 2 of Row and is now field 3: stored messages would be read wrongly; give it back number 2, or give a new field another name"
        ],
    );
    check_twice(
        row,
        "a = 1;\n uint64 b = 2;",
        "a = 2;\n uint64 b = 1;",
        expect![
            "shop.proto:2: `a` was field 1 of Row and is now field 2: stored messages would be read wrongly; give it back number 1, or give a new field another name"
        ],
    );
}

#[test]
fn events_do_not_exchange_their_ids() {
    let pair = "message Opened { option (onebox.event) = { id: 1 }; uint64 door = 1; }\nmessage Closed { option (onebox.event) = { id: 2 }; uint64 door = 1; }\n";
    check_twice(
        pair,
        pair,
        &pair.replace("id: 1", "id: 0").replace("id: 2", "id: 1").replace("id: 0", "id: 2"),
        expect![
            "shop.proto:1: `Opened` was event 1 and is now event 2: old events would be read wrongly; give it back id 1, or give a new event another name"
        ],
    );
    check_twice(
        pair,
        pair,
        &pair.replace("Opened", "Unlocked").replace("Closed", "Opened"),
        expect![
            "shop.proto:2: `Opened` was event 1 and is now event 2: old events would be read wrongly; give it back id 1, or give a new event another name"
        ],
    );
    check_twice(pair, pair, &pair.replace("Opened", "Unlocked").replace("Closed", "Locked"), expect!["new lock"]);
}

#[test]
fn tables_do_not_exchange_their_ids() {
    let pair = "message Door { option (onebox.table) = { id: 1 name: \"doors\" key: \"id\" }; uint64 id = 1; }\nmessage Gate { option (onebox.table) = { id: 2 name: \"gates\" key: \"id\" }; uint64 id = 1; }\n";
    let exchanged = pair.replace("id: 1", "id: 0").replace("id: 2", "id: 1").replace("id: 0", "id: 2");
    check_twice(
        pair,
        pair,
        &exchanged,
        expect![
            "shop.proto:1: `doors` was table 1 and is now table 2: stored rows would be read wrongly; give it back id 1, or give a new table another name"
        ],
    );
    let rows = pair.replace("Door", "Old").replace("Gate", "Door").replace("Old", "Gate");
    check_twice(
        pair,
        pair,
        &rows,
        expect![
            "shop.proto:2: `Door` was the row of table 1 and is now the row of table 2: stored rows would be read wrongly; give it back id 1, or give a new table another name"
        ],
    );
    check_twice(pair, pair, &pair.replace("Door", "Way").replace("doors", "ways"), expect!["new lock"]);
}

#[test]
fn values_do_not_exchange_their_numbers() {
    let colours = "enum Colour { COLOUR_NONE = 0; COLOUR_RED = 1; COLOUR_BLUE = 2; }\nenum Size { SIZE_NONE = 0; SIZE_BIG = 1; SIZE_SMALL = 2; }\nmessage Painted { option (onebox.event) = { id: 9 }; Colour colour = 1; }\n";
    check_twice(
        colours,
        "COLOUR_RED = 1; COLOUR_BLUE = 2;",
        "COLOUR_RED = 2; COLOUR_BLUE = 1;",
        expect![
            "shop.proto:1: `COLOUR_RED` was value 1 of enum Colour and is now value 2: stored messages would be read wrongly; give it back number 1, or give a new value another name"
        ],
    );
    check_twice(colours, "COLOUR_RED = 1; COLOUR_BLUE = 2;", "COLOUR_CRIMSON = 1; COLOUR_NAVY = 2;", expect!["new lock"]);
    check_twice(
        colours,
        "Colour colour",
        "Size colour",
        expect![
            "shop.proto:3: number 1 of Painted was `colour` of type Colour and now is `colour` of type Size; stored messages would be misread: write it as it was, or make a new field with a new number and put `reserved 1;` in its place"
        ],
    );
}

#[test]
fn a_field_that_counts_ids_is_kept() {
    check(
        "uint64 id = 1 [(onebox.field).new_id = true];",
        "reserved 1;",
        expect![
            "shop.proto:1: field `id` = 1 of Done is marked new_id and is gone: replaying stored events would no longer move the counter of ids, and ids would be given out twice; keep it as it was, unused"
        ],
    );
    check(
        "uint64 id = 1 [(onebox.field).new_id = true];",
        "uint64 id = 9 [(onebox.field).new_id = true]; reserved 1;",
        expect![
            "shop.proto:1: field `id` = 1 of Done is marked new_id and is gone: replaying stored events would no longer move the counter of ids, and ids would be given out twice; keep it as it was, unused"
        ],
    );
}
