//! Every mistake has a line and a sentence that says what to do.

use expect_test::{Expect, expect};

use super::{compile_files, compile_text};

fn check(text: &str, expected: Expect) {
    let said = match compile_text(text, None) {
        Ok(_) => "compiles".to_owned(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&said);
}

/// A schema with one table whose options are `options`.
fn check_table(options: &str, expected: Expect) {
    let row = "uint64 id = 1; string name = 2; double weight = 3; repeated uint64 parts = 4; optional uint64 rank = 5; \
               map<string, string> tags = 6; oneof either { uint64 left = 7; uint64 right = 8; } Inner inner = 9; float ratio = 10;";
    check(&format!("\nmessage Inner {{}}\nmessage Row {{\n option (onebox.table) = {options};\n {row} }}"), expected);
}

/// A schema with one method whose request has fields of several types and whose options are `options`.
fn check_method(options: &str, expected: Expect) {
    let request =
        "message R { uint64 id = 1; repeated uint64 parts = 2; Inner inner = 3; oneof either { uint64 left = 4; } } message Inner {}";
    check(&format!("{request}\nmessage A {{}}\nservice S {{\n rpc Do(R) returns (A) {{\n {options}\n }} }}"), expected);
}

#[test]
fn a_schema_without_mistakes_compiles() {
    check("message Row { option (onebox.table) = { id: 1 name: \"rows\" key: \"id\" }; uint64 id = 1; }", expect!["compiles"]);
    check_table("{ id: 1 name: \"rows\" key: [\"id\"] index: { fields: [\"name\", \"id\"] } }", expect!["compiles"]);
    check_method("option (google.api.http) = { post: \"/v1/things/{id}:do\" body: \"*\" };", expect!["compiles"]);
}

#[test]
fn versions_of_apply() {
    let text = |options: &str| {
        format!("message R {{}}\nmessage A {{}}\nservice S {{\n option (onebox.service) = {options};\n rpc Do(R) returns (A); }}")
    };
    let generated = |options: &str| compile_text(&text(options), None).map_or_else(|error| error.to_string(), |compiled| compiled.rust);
    assert!(generated("{ newest_version: 3 }").contains("{ 1..=3 }"), "from the first on");
    assert!(generated("{ oldest_version: 2 newest_version: 3 }").contains("{ 2..=3 }"));
    assert!(!generated("{ newest_version: 1 }").contains("fn versions"), "the first alone is what is so anyway");
    check(
        &text("{ oldest_version: 2 }"),
        expect!["shop.proto:4: oldest_version 2 is above newest_version 1; a build runs every version from the one to the other"],
    );
}

#[test]
fn syntax_and_unknown_types() {
    check("\n\nmessage Row { uint64 id = ; }", expect!["shop.proto:3: expected an integer, but found ';'"]);
    check("\nmessage Row { Nothing id = 1; }", expect!["shop.proto:2: name 'Nothing' is not defined"]);
    check(
        "\nmessage Row { option (onebox.tabel) = { id: 1 }; }",
        expect!["shop.proto:2: 'onebox.tabel' resolves to 'onebox.tabel', which is not defined"],
    );
    check(
        "\nmessage Row { option (onebox.table) = { idd: 1 }; }",
        expect![
            "shop.proto:2: invalid value of type 'onebox.TableOptions' for option '(onebox.table)'; it can hold `id` (uint32), `name` (string), `key` (string), `index` (IndexOptions)"
        ],
    );
    check("\nmessage Row { uint64 id = 1; uint64 other = 1; }", expect!["shop.proto:2: field number '1' is already used"]);
    check("import \"nowhere.proto\";", expect!["shop.proto:1: import 'nowhere.proto' not found"]);
}

#[test]
fn a_request_of_two_methods() {
    check(
        "message R {} message A {} service S {\n rpc Ask(R) returns (A);\n rpc Tell(R) returns (A);\n}",
        expect!["shop.proto:3: methods Ask and Tell share the request R; give each method a request of its own"],
    );
}

#[test]
fn file_and_package() {
    let refused = |text: &str| compile_files(&[("a.proto", text)], None).unwrap_err().to_string();
    expect!["a.proto:1: the schema has no package; add a line like `package inventory.v1;`"]
        .assert_eq(&refused("syntax = \"proto3\"; service S {}"));
    expect![[r#"a.proto:1: a schema is written in proto3: begin the file with `syntax = "proto3";`"#]]
        .assert_eq(&refused("syntax = \"proto2\"; package a.v1; service S {}"));
    expect!["a.proto:1: the schema declares no service; add `service Name { ... }` with its methods"]
        .assert_eq(&refused("syntax = \"proto3\"; package a.v1;"));
    let other = ("b.proto", "syntax = \"proto3\"; package b.v1; message B {}");
    let main = ("a.proto", "syntax = \"proto3\"; package a.v1; import \"b.proto\"; service S {}\nmessage A { b.v1.B b = 1; }");
    expect!["a.proto:2: field `b` has type b.v1.B, which is not of package a.v1; declare the type in this package (a time is best a uint64 of microseconds)"].assert_eq(&compile_files(&[main, other], None).unwrap_err().to_string());
    let main = ("a.proto", "syntax = \"proto3\"; package a.v1; import \"b.proto\"; service S {\nrpc Do(b.v1.B) returns (b.v1.B); }");
    expect!["a.proto:2: method Do uses b.v1.B, which is not of package a.v1; declare a message of its own, even if it is empty"]
        .assert_eq(&compile_files(&[main, other], None).unwrap_err().to_string());
}

#[test]
fn messages_of_one_package_may_stand_in_several_files() {
    let other = ("b.proto", "syntax = \"proto3\"; package a.v1; message B {}");
    let main = ("a.proto", "syntax = \"proto3\"; package a.v1; import \"b.proto\"; service S { rpc Do(B) returns (B); }");
    let compiled = compile_files(&[main, other], None).unwrap();
    assert!(compiled.rust.contains("pub struct B {"), "{}", compiled.rust);
}

#[test]
fn keys_and_indexes() {
    check_table(
        "{ id: 1 name: \"rows\" key: [\"idd\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `idd`, which is not a field of it; its fields are `id`, `name`, `weight`, `parts`, `rank`, `tags`, `left`, `right`, `inner`, `ratio`"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"id\"] index: { fields: [\"nome\"] } }",
        expect![
            "shop.proto:4: table of Row: its index names `nome`, which is not a field of it; its fields are `id`, `name`, `weight`, `parts`, `rank`, `tags`, `left`, `right`, `inner`, `ratio`"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"weight\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `weight` of type double; the fields of a key are whole numbers, bool, string, bytes or enums"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"ratio\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `ratio` of type float; the fields of a key are whole numbers, bool, string, bytes or enums"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"inner\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `inner` of type Inner; the fields of a key are whole numbers, bool, string, bytes or enums"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"parts\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `parts`, which is repeated, optional, a map or in a oneof; the fields of a key have exactly one value"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"rank\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `rank`, which is repeated, optional, a map or in a oneof; the fields of a key have exactly one value"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"tags\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `tags`, which is repeated, optional, a map or in a oneof; the fields of a key have exactly one value"
        ],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"left\"] }",
        expect![
            "shop.proto:4: table of Row: its key names `left`, which is repeated, optional, a map or in a oneof; the fields of a key have exactly one value"
        ],
    );
    check_table("{ id: 1 name: \"rows\" key: [\"id\", \"id\"] }", expect!["shop.proto:4: table of Row: its key names field `id` twice"]);
    check_table(
        "{ id: 1 name: \"rows\" }",
        expect![[r#"shop.proto:4: table of Row: it has no key; name the fields of its primary key: `key: ["id"]`"#]],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"id\"] index: {} }",
        expect![[r#"shop.proto:4: table of Row: an index has no fields; name them: `index: [{ fields: ["parent"] }]`"#]],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"id\"] index: [{ fields: \"name\" }, { fields: \"name\" unique: true }] }",
        expect!["shop.proto:4: table of Row: two indexes are called `by_name`; remove one, or give one a `name`"],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"id\"] index: { fields: \"name\" name: \"all\" } }",
        expect!["shop.proto:4: table of Row: an index cannot be called `all`; write a free lower_snake_case name, for example `by_parent`"],
    );
    check_table(
        "{ id: 1 name: \"rows\" key: [\"id\"] index: { fields: \"name\" name: \"match\" } }",
        expect![
            "shop.proto:4: table of Row: an index cannot be called `match`; write a free lower_snake_case name, for example `by_parent`"
        ],
    );
}

#[test]
fn numbers_and_names_of_tables() {
    check_table(
        "{ name: \"rows\" key: [\"id\"] }",
        expect!["shop.proto:4: table of Row: it has no id; give it a number from 1 that no table ever had: `id: N`"],
    );
    check_table(
        "{ id: 0 name: \"rows\" key: [\"id\"] }",
        expect!["shop.proto:4: table of Row: it has no id; give it a number from 1 that no table ever had: `id: N`"],
    );
    check_table(
        "{ id: 1 key: [\"id\"] }",
        expect![[r#"shop.proto:4: table of Row: it has no name; name its accessor, lower_snake_case and plural: `name: "locations"`"#]],
    );
    check_table(
        "{ id: 1 name: \"Rows\" key: [\"id\"] }",
        expect![
            "shop.proto:4: table of Row: the name `Rows` cannot be a method's name; write it lower_snake_case, for example `locations`"
        ],
    );
    check_table(
        "{ id: 1 name: \"type\" key: [\"id\"] }",
        expect![
            "shop.proto:4: table of Row: the name `type` cannot be a method's name; write it lower_snake_case, for example `locations`"
        ],
    );
    check_table(
        "{ id: 1 name: \"scan\" key: [\"id\"] }",
        expect!["shop.proto:4: table of Row: the name `scan` is taken by the platform; choose another"],
    );
    let two = |first: &str, second: &str| {
        format!(
            "message A {{ option (onebox.table) = {{ {first} key: \"id\" }}; uint64 id = 1; }}\n\
             message B {{ option (onebox.table) = {{ {second} key: \"id\" }}; uint64 id = 1; }}"
        )
    };
    check(
        &two("id: 1 name: \"rows\"", "id: 1 name: \"lines\""),
        expect!["shop.proto:2: table of B: the table of A already has id 1; take another"],
    );
    check(
        &two("id: 1 name: \"rows\"", "id: 2 name: \"rows\""),
        expect!["shop.proto:2: table of B: the name `rows` is too like `rows` of A; take another"],
    );
    check(
        &two("id: 1 name: \"rows2\"", "id: 2 name: \"rows_2\""),
        expect!["shop.proto:2: table of B: the name `rows_2` is too like `rows2` of A; take another"],
    );
}

#[test]
fn events() {
    check(
        "\nmessage Done { option (onebox.event) = {}; }",
        expect!["shop.proto:2: event Done has no id; give it a number from 1 that no event ever had: `(onebox.event) = { id: N }`"],
    );
    check(
        "\nmessage Done { option (onebox.event) = { id: 0 }; }",
        expect!["shop.proto:2: event Done has no id; give it a number from 1 that no event ever had: `(onebox.event) = { id: N }`"],
    );
    check(
        "message Done { option (onebox.event) = { id: 3 }; }\nmessage Gone {\n option (onebox.event).id = 3; }",
        expect!["shop.proto:3: event Gone has id 3, which Done already has; take a number that no event ever had"],
    );
    check(
        "message Done { option (onebox.event) = { id: 3 };\n option (onebox.table) = { id: 1 name: \"a\" key: \"id\" }; uint64 id = 1; }",
        expect![
            "shop.proto:1: message Done is both an event and a table's row; make two messages of it, since the one must be free to change without the other"
        ],
    );
    check(
        "message Outer {\n message Done { option (onebox.event) = { id: 3 }; } }",
        expect!["shop.proto:2: an event is a message of its own: move Done out of Outer"],
    );
}

#[test]
fn new_ids() {
    let event = |field: &str| format!("message Done {{ option (onebox.event) = {{ id: 3 }};\n {field} }}");
    check(&event("repeated uint64 ids = 1 [(onebox.field).new_id = true];"), expect!["compiles"]);
    check(
        &event("int64 id = 1 [(onebox.field) = { new_id: true }];"),
        expect!["shop.proto:2: field `id` is marked new_id; ids are `uint64` or `repeated uint64`, without optional or oneof"],
    );
    check(
        &event("optional uint64 id = 1 [(onebox.field) = { new_id: true }];"),
        expect!["shop.proto:2: field `id` is marked new_id; ids are `uint64` or `repeated uint64`, without optional or oneof"],
    );
    check(
        &event("map<string, uint64> ids = 1 [(onebox.field) = { new_id: true }];"),
        expect!["shop.proto:2: field `ids` is marked new_id; ids are `uint64` or `repeated uint64`, without optional or oneof"],
    );
    check(
        "message Row {\n uint64 id = 1 [(onebox.field) = { new_id: true }]; }",
        expect![
            "shop.proto:2: field `id` is marked new_id, but Row is not an event; only an event creates ids (a repeated uint64 in the event itself can hold many)"
        ],
    );
}

#[test]
fn routes() {
    let route = |rule: &str| format!("option (google.api.http) = {{ {rule} }};");
    check_method(
        &route("post: \"/v1/{idd}\""),
        expect!["shop.proto:5: route of Do: the path `/v1/{idd}` has the variable {idd}, but R has no field `idd`"],
    );
    check_method(
        &route("post: \"/v1/{parts}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/{parts}` has the variable {parts}, but `parts` of R is not a single number, bool, string, bytes or enum"
        ],
    );
    check_method(
        &route("post: \"/v1/{inner}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/{inner}` has the variable {inner}, but `inner` of R is not a single number, bool, string, bytes or enum"
        ],
    );
    check_method(
        &route("post: \"/v1/{left}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/{left}` has the variable {left}, but `left` of R is not a single number, bool, string, bytes or enum"
        ],
    );
    check_method(
        &route("post: \"/v1/{inner.name}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/{inner.name}` has the variable {inner.name}; a variable is the plain name of a field of R"
        ],
    );
    check_method(
        &route("post: \"/v1/{id=things/*}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/{id=things/*}` has the part `{id=things`; a part is letters, digits, `-`, `_`, `.`, `~`, or one {variable}"
        ],
    );
    check_method(
        &route("post: \"/v1/{id}/{id}\""),
        expect!["shop.proto:5: route of Do: the path `/v1/{id}/{id}` has the variable {id} twice"],
    );
    check_method(
        &route("post: \"/v1/x{id}\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/x{id}` has the part `x{id}`; a part is letters, digits, `-`, `_`, `.`, `~`, or one {variable}"
        ],
    );
    check_method(
        &route("post: \"/v1/**\""),
        expect![
            "shop.proto:5: route of Do: the path `/v1/**` has the part `**`; a part is letters, digits, `-`, `_`, `.`, `~`, or one {variable}"
        ],
    );
    check_method(
        &route("post: \"v1/things\""),
        expect!["shop.proto:5: route of Do: the path `v1/things` does not start with `/`; write `/v1/things`"],
    );
    check_method(
        &route("post: \"/v1//things\""),
        expect!["shop.proto:5: route of Do: the path `/v1//things` has an empty part; remove the extra `/` or `:`"],
    );
    check_method(
        &route("post: \"/v1/things:\""),
        expect!["shop.proto:5: route of Do: the path `/v1/things:` has an empty part; remove the extra `/` or `:`"],
    );
    check_method(
        &route("post: \"/onebox/things\""),
        expect!["shop.proto:5: route of Do: paths under `/onebox` belong to the platform; choose another"],
    );
    check_method(
        &route("body: \"*\""),
        expect![[
            r#"shop.proto:5: route of Do: it names no path; write one of get, post, put, patch, delete, for example `get: "/v1/locations"`"#
        ]],
    );
    check_method(
        &route("custom: { kind: \"HEAD\" path: \"/v1\" }"),
        expect![[
            r#"shop.proto:5: route of Do: it names no path; write one of get, post, put, patch, delete, for example `get: "/v1/locations"`"#
        ]],
    );
    check_method(
        &route("post: \"/v1\" body: \"inner\""),
        expect![[r#"shop.proto:5: route of Do: body is "inner"; the body is the whole request, `body: "*"`, or there is none"#]],
    );
    check_method(
        &route("post: \"/v1\" response_body: \"inner\""),
        expect!["shop.proto:5: route of Do: `selector` and `response_body` have no meaning here; leave them out"],
    );
    check_method(
        &route("get: \"/v1\" body: \"*\""),
        expect!["shop.proto:5: route of Do: a get has no body; leave `body` out, and the fields come as query parameters"],
    );
    check_method(
        &route("get: \"/v1\""),
        expect![
            "shop.proto:5: route of Do: a get must change nothing; mark the method `option (onebox.method) = { read_only: true };`, or use post"
        ],
    );
    check_method(
        &route("post: \"/v1/a\" additional_bindings: { post: \"/v1/{nothing}\" }"),
        expect!["shop.proto:5: route of Do: the path `/v1/{nothing}` has the variable {nothing}, but R has no field `nothing`"],
    );
    check_method(
        &route("post: \"/v1/a\" additional_bindings: { post: \"/v1/a\" }"),
        expect!["shop.proto:5: route of Do: `/v1/a` matches the same requests as a route of Do; change one of the paths"],
    );
    check_method(&route("post: \"/v1/{id}:a\" additional_bindings: { post: \"/v1/{id}:b\" }"), expect!["compiles"]);
    check_method("option deprecated = true;", expect!["compiles"]);
}

#[test]
fn two_methods_on_one_route() {
    check(
        "message R { uint64 id = 1; } message T { uint64 other = 2; }\nservice S {\n rpc One(R) returns (R) { option (google.api.http) = { post: \"/v1/{id}\" }; }\n \
         rpc Two(T) returns (R) {\n option (google.api.http) = { post: \"/v1/{other}\" }; } }",
        expect!["shop.proto:5: route of Two: `/v1/{other}` matches the same requests as a route of One; change one of the paths"],
    );
}

#[test]
fn methods_and_services() {
    check(
        "message R {} service S {\n rpc Do(stream R) returns (R); }",
        expect![
            "shop.proto:2: method Do streams; a method takes one request and gives one answer: remove `stream`, and let the request name where to go on"
        ],
    );
    check(
        "message R {} service S {\n rpc Do(R) returns (stream R); }",
        expect![
            "shop.proto:2: method Do streams; a method takes one request and gives one answer: remove `stream`, and let the request name where to go on"
        ],
    );
    check(
        "message R {} service S {}\nservice T {}",
        expect!["shop.proto:2: a schema has one service, and S is already one; put the methods of T into it, or into a schema of its own"],
    );
}

#[test]
fn refusals() {
    let refusal = |options: &str| {
        format!(
            "message No {{\n option (onebox.refusal) = {{ {options} }};\n uint64 free = 1; repeated uint64 parts = 2; bytes raw = 3; string token = 4 [(onebox.field).secret = true]; }}"
        )
    };
    check(&refusal("code: NOT_FOUND message: \"{{ only {free} }} left\""), expect!["compiles"]);
    check(
        &refusal("code: NOT_FOUND message: \"only {fre} left\""),
        expect!["shop.proto:2: refusal No: its message uses {fre}, which is not one of its fields (`{{` stands for a brace)"],
    );
    check(
        &refusal("code: NOT_FOUND message: \"only {free left\""),
        expect!["shop.proto:2: refusal No: its message has a single brace; write `{field}` for a field, `{{` or `}}` for a brace"],
    );
    check(
        &refusal("code: NOT_FOUND message: \"only free} left\""),
        expect!["shop.proto:2: refusal No: its message has a single brace; write `{field}` for a field, `{{` or `}}` for a brace"],
    );
    check(
        &refusal("code: NOT_FOUND message: \"only {parts} left\""),
        expect![
            "shop.proto:2: refusal No: its message uses {parts}, which is not a number, bool or string; a sentence can hold only those"
        ],
    );
    check(
        &refusal("code: NOT_FOUND message: \"only {raw} left\""),
        expect!["shop.proto:2: refusal No: its message uses {raw}, which is not a number, bool or string; a sentence can hold only those"],
    );
    check(
        &refusal("code: NOT_FOUND message: \"only {token} left\""),
        expect!["shop.proto:2: refusal No: its message uses {token}, which is secret; leave it out of the sentence"],
    );
    check(
        &refusal("message: \"no\""),
        expect!["shop.proto:2: refusal No: it has no code; add one, for example `code: FAILED_PRECONDITION`"],
    );
    check(
        &refusal("code: NOT_FOUND"),
        expect![[
            r#"shop.proto:2: refusal No: it has no message; add the sentence that a caller reads, for example `message: "only {free} left"`"#
        ]],
    );
    check(
        &refusal("code: NOT_THERE message: \"no\""),
        expect![
            "shop.proto:2: invalid value of type 'onebox.RefusalOptions' for option '(onebox.refusal)'; it can hold `code` (Code), `message` (string)"
        ],
    );
}

#[test]
fn secrets() {
    let secret = "string password = 1 [(onebox.field) = { secret: true }];";
    check(&format!("message Login {{\n {secret} }}"), expect!["compiles"]);
    check(
        &format!("message Done {{ option (onebox.event) = {{ id: 1 }};\n {secret} }}"),
        expect![
            "shop.proto:2: field `password` is secret, but event Done stores it; keep only what can be shown (a hash of it, for example) in a field that is not secret"
        ],
    );
    check(
        &format!("message Row {{ option (onebox.table) = {{ id: 1 name: \"rows\" key: \"id\" }}; uint64 id = 2;\n {secret} }}"),
        expect![
            "shop.proto:2: field `password` is secret, but row Row stores it; keep only what can be shown (a hash of it, for example) in a field that is not secret"
        ],
    );
    check(
        &format!("message Done {{ option (onebox.event) = {{ id: 1 }}; repeated Inner inner = 1; }}\nmessage Inner {{\n {secret} }}"),
        expect![
            "shop.proto:3: field `password` is secret, but event Done stores it; keep only what can be shown (a hash of it, for example) in a field that is not secret"
        ],
    );
    check(
        &format!("message Done {{ option (onebox.event) = {{ id: 1 }}; map<string, Inner> inner = 1; }}\nmessage Inner {{\n {secret} }}"),
        expect![
            "shop.proto:3: field `password` is secret, but event Done stores it; keep only what can be shown (a hash of it, for example) in a field that is not secret"
        ],
    );
    let login = |rule: &str| {
        format!(
            "message Login {{ {secret} }}\nservice S {{ rpc Do(Login) returns (Login) {{\n option (google.api.http) = {{ {rule} }}; }} }}"
        )
    };
    check(&login("post: \"/v1/login\" body: \"*\""), expect!["compiles"]);
    check(
        &login("post: \"/v1/login\""),
        expect![[
            r#"shop.proto:3: route of Do: Login has a secret, which must not stand in a URL, where others read it; use post with `body: "*"`"#
        ]],
    );
    check(
        &login("post: \"/v1/login/{password}\" body: \"*\""),
        expect![
            "shop.proto:3: route of Do: the path `/v1/login/{password}` has the variable {password}, which is secret; others read URLs, so leave it to the body"
        ],
    );
    check(
        "message Login { oneof how {\n string password = 1 [(onebox.field).secret = true]; } }",
        expect!["shop.proto:2: field `password` is or holds a secret and stands in a oneof; move it out of the oneof"],
    );
}

#[test]
fn names() {
    check(
        "message R {} service S {\n rpc R(R) returns (R); }",
        expect!["shop.proto:2: a method is called R, and so is a message; both become Rust types of that name: rename one"],
    );
    check("message R {}\nservice R {}", expect!["shop.proto:2: name 'shop.v1.R' is defined twice"]);
    check(
        "message RowsTable {}\nmessage Row { option (onebox.table) = { id: 1 name: \"rows\" key: \"id\" }; uint64 id = 1; }",
        expect![
            "shop.proto:2: a table's accessor is called RowsTable, and so is a message; both become Rust types of that name: rename one"
        ],
    );
    check(
        "\nmessage GPURack {}",
        expect![
            "shop.proto:2: message `GPURack`: write it UpperCamelCase, with only the first letter of each word a capital, for example `GpuRack`"
        ],
    );
    check(
        "\nmessage gpu_rack {}",
        expect![
            "shop.proto:2: message `gpu_rack`: write it UpperCamelCase, with only the first letter of each word a capital, for example `GpuRack`"
        ],
    );
    check("\nmessage GpuRack { message V1Request {} }", expect!["compiles"]);
    check(
        "\nmessage Tables {}",
        expect!["shop.proto:2: a message cannot be called Tables, which generated code needs; choose another name"],
    );
    check("\nmessage Prost {}", expect!["shop.proto:2: a message cannot be called Prost, which generated code needs; choose another name"]);
    check(
        "\nenum RED { RED_NONE = 0; }",
        expect![
            "shop.proto:2: enum `RED`: write it UpperCamelCase, with only the first letter of each word a capital, for example `GpuRack`, and not like a word of Rust"
        ],
    );
    check(
        "message A {\n uint64 newParent = 1; }",
        expect!["shop.proto:2: field `newParent`: field names are lower_snake_case, for example `new_parent`"],
    );
    check(
        "message A {\n uint64 self = 1; }",
        expect!["shop.proto:2: a field cannot be called `self`, which is a word of Rust; choose another name"],
    );
    check("message A {\n uint64 type = 1; }", expect!["compiles"]);
    check(
        "message R {} service S {\n rpc do_it(R) returns (R); }",
        expect!["shop.proto:2: a method cannot be called `do_it`; write it UpperCamelCase, for example `GpuRack`"],
    );
}
