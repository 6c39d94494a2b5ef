//! The verbs of the binary, as a person or a tool calls them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use onebox::Service;
use serde_json::Value;

/// The spec that docs/specs.md shows.
pub(crate) const SHOWN: &str = "stock that is put in is added to what is on hand";

pub(crate) fn inventory(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_inventory")).args(arguments).stdin(Stdio::null()).output().expect("the binary can be started")
}

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder of this test's own, under cargo's.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("specs-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn spec_tells_how_many_passed_as_its_last_line() {
    let output = inventory(&["spec"]);
    let count = inventory::Inventory.specs().len();
    assert!(output.status.success(), "{}", told(&output));
    assert_eq!(told(&output).lines().last(), Some(&*format!("{count} passed, 0 failed")));
    let output = inventory(&["spec", "update_stock", "CANCEL"]);
    assert!(told(&output).ends_with(" passed, 0 failed\n") && !told(&output).starts_with(&count.to_string()));
    let output = inventory(&["spec", "no spec has such a name"]);
    assert!(!output.status.success() && errors(&output).contains("specs has no spec has such a name in its name or method"));
}

#[test]
fn specs_are_a_workload_for_a_simulated_cluster() {
    let output = inventory(&["simulate", "--specs", "--seed", "1", "--seeds", "2", "--duration", "10s", "--nodes", "3"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    let least = told.lines().find_map(|line| line.strip_prefix("in a run, median: ")).and_then(|line| line.split(" and ").nth(1));
    assert!(least.is_some_and(|writes| writes.parse::<u64>().unwrap() > 3), "some requests are carried out: {told}");
    let output = inventory(&["simulate", "--specs", "--toy"]);
    assert!(!output.status.success() && errors(&output).contains("say one of the two"));
}

#[test]
fn a_text_is_printed_and_run() {
    let folder = folder("text");
    let file = folder.join("specs.txt");
    let printed = told(&inventory(&["spec", "--text", "cancel"]));
    std::fs::write(&file, &printed).unwrap();
    let file_name = file.to_str().unwrap();
    assert!(inventory(&["spec", "--from", file_name]).status.success());
    assert_eq!(told(&inventory(&["spec", "--from", file_name, "--text"])), printed);

    std::fs::write(&file, "SPEC wrong\nWHEN\n  CancelRequest { reservation: 1 }\nTHEN\n  CancelResponse {}\n").unwrap();
    let output = inventory(&["spec", "--from", file_name]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("request: expected to be carried out, got refused: NOT_FOUND UnknownReservation { reservation: 1 }"));
    assert!(told(&output).ends_with("\n0 passed, 1 failed\n"));
    let json: Value = serde_json::from_str(&told(&inventory(&["spec", "--from", file_name, "--json"]))).unwrap();
    assert_eq!((json["failed"].as_u64(), json["specs"][0]["differences"][0]["path"].as_str()), (Some(1), Some("request")));

    std::fs::write(&file, "SPEC wrong\nWHEN\n  CancelRequest { reservation: x }\n").unwrap();
    let output = inventory(&["spec", "--from", file_name]);
    assert!(errors(&output).contains("specs.txt: line 3, column "), "{}", errors(&output));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn explore_leaves_a_database_and_overwrites_only_its_own() {
    let folder = folder("explore");
    let file = folder.join("state.sqlite");
    let file_name = file.to_str().unwrap();
    for _ in 0..2 {
        let output = inventory(&["explore", SHOWN, "--out", file_name]);
        assert!(output.status.success(), "{}", errors(&output));
        assert!(told(&output).contains("balances ("), "{}", told(&output));
    }
    let database = rusqlite::Connection::open(&file).unwrap();
    let number = |query: &str| database.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(number("SELECT count(*) FROM sqlite_master WHERE type = 'table'"), 4);
    assert_eq!(number("SELECT count(*) FROM sqlite_master WHERE name IN ('products_by_sku', 'locations_by_parent_name')"), 2);
    assert_eq!(number("SELECT on_hand FROM balances WHERE location = 2 AND product = 4"), 12);
    assert_eq!(number("SELECT count(*) FROM locations"), 3);

    let other = folder.join("mine.txt");
    std::fs::write(&other, "mine").unwrap();
    let output = inventory(&["explore", SHOWN, "--out", other.to_str().unwrap()]);
    assert!(!output.status.success() && errors(&output).contains("was not written by explore or export"), "{}", errors(&output));
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
    let output = inventory(&["explore", "stock"]);
    assert!(!output.status.success() && errors(&output).contains("say which:"), "{}", errors(&output));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn schema_tells_methods_events_refusals_and_tables() {
    let told = told(&inventory(&["schema"]));
    for line in [
        "    POST /v1/locations/{location}:move",
        "  GetStock (read only)",
        "    4 StockUpdated { uint64 location = 1; uint64 product = 2; sint64 change = 3; sint64 on_hand = 4 }",
        "  NOT_FOUND UnknownSku { string sku = 1 }",
        "      index by_parent_name on parent, name, unique",
        "    asks    ReserveRequest { string code = 1; uint64 location = 2; repeated ReserveLine lines = 3; map<string, string> tags = 4 }",
        "    1 LocationAdded { uint64 location = 1 [new_id]; string name = 2; uint64 parent = 3 }",
    ] {
        assert!(told.lines().any(|told| told == line), "{line}\nis not in\n{told}");
    }
}

#[test]
fn bench_prints_figures() {
    let output = inventory(&["spec", "--bench", "--seconds", "1", "cancel"]);
    let told = told(&output);
    assert!(output.status.success(), "{}", errors(&output));
    for words in [" specs/s\n", " events applied/s\n", "SQLite in memory", "microseconds of one spec"] {
        assert!(told.contains(words), "{told}");
    }
}
