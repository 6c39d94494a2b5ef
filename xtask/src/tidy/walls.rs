//! The walls between crates: who may depend on whom, who may name which library, and who must not know the machine.

use std::collections::BTreeSet;

use super::Finding;
use super::manifest::{Kind, Manifest};
use super::rust::{Named, RustFile};
use super::tree::Tree;

/// Crates whose outcomes are functions of their inputs: no clock, thread, socket, file or async runtime.
const PURE: [&str; 5] = ["onebox-service", "onebox-store", "onebox-replica", "onebox-client", "onebox-spec"];

/// What each crate of the platform may depend on, tests aside. Everything not named here is forbidden.
const DIRECTIONS: [(&str, &[&str]); 10] = [
    ("onebox", &["onebox-node", "onebox-service", "onebox-simulator", "onebox-spec"]),
    ("onebox-client", &["onebox-service"]),
    ("onebox-gateway", &["onebox-client", "onebox-service"]),
    ("onebox-node", &["onebox-client", "onebox-gateway", "onebox-replica", "onebox-service", "onebox-store"]),
    ("onebox-replica", &["onebox-service", "onebox-store"]),
    ("onebox-schema", &[]),
    ("onebox-service", &[]),
    ("onebox-simulator", &["onebox-client", "onebox-replica", "onebox-service", "onebox-store"]),
    ("onebox-spec", &["onebox-replica", "onebox-service", "onebox-store"]),
    ("onebox-store", &["onebox-service"]),
];

/// What only one file, or the files in a folder of its name, may name.
const BEHIND_ONE_FILE: [(&str, &str); 2] =
    [("raft", "crates/onebox-replica/src/consensus"), ("redb", "crates/onebox-store/src/state/base")];

/// The parts of the machine that pure code must not know.
const MACHINE: [&[&str]; 9] = [
    &["std", "fs"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["tokio"],
];

/// Crates depend on each other in one direction.
pub(super) fn crates_point_one_way(tree: &Tree) -> Vec<Finding> {
    let members: BTreeSet<&str> = tree.manifests().map(|manifest| manifest.name.as_str()).collect();
    let mut findings = Vec::new();
    for manifest in tree.manifests().filter(|manifest| !manifest.name.is_empty()) {
        let Some(allowed) = allowed(manifest) else {
            let what = format!("where {} stands is not decided; give it a line in DIRECTIONS, xtask/src/tidy/walls.rs", manifest.name);
            findings.push(Finding::new(&manifest.path, 1, what));
            continue;
        };
        for dependency in &manifest.dependencies {
            let name = dependency.name.as_str();
            let free = match dependency.kind {
                Kind::Normal => !members.contains(name) || allowed.is_none_or(|allowed| allowed.contains(&name)),
                Kind::Build => !members.contains(name) || name == "onebox-schema",
                Kind::Dev | Kind::Workspace => true,
            };
            if !free || manifest.name == "xtask" {
                let what = format!("{} must not depend on {name}; ARCHITECTURE.md says who may, and why", manifest.name);
                findings.push(Finding::new(&manifest.path, dependency.line, what));
            }
        }
    }
    findings
}

/// What a package may depend on: `Some(None)` is everything, `None` that nobody has decided.
fn allowed(manifest: &Manifest) -> Option<Option<&'static [&'static str]>> {
    if manifest.folder().starts_with("services/") {
        return Some(Some(&["onebox"]));
    }
    if !manifest.folder().starts_with("crates/") {
        return Some(None);
    }
    DIRECTIONS.iter().find(|(name, _)| *name == manifest.name).map(|(_, allowed)| Some(*allowed))
}

/// The consensus library and the B-tree each stand behind one file.
pub(super) fn one_file_names_each_library(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (library, place) in BEHIND_ONE_FILE {
        let inside = |file: &RustFile| file.path.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
        for file in tree.rust().filter(|file| !inside(file)) {
            for named in file.named().iter().filter(|named| named.segments[0] == library) {
                let what = format!("only {place}.rs names {library}; ask it in the words of this project");
                findings.push(Finding::new(&file.path, named.line, what));
            }
        }
    }
    findings
}

/// Pure crates and services do not know the machine, tests aside.
pub(super) fn pure_crates_know_no_machine(tree: &Tree) -> Vec<Finding> {
    let pure = |file: &&RustFile| {
        let mut parts = file.path.splitn(4, '/');
        let (group, name, folder) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        folder == "src" && (group == "services" || group == "crates" && PURE.contains(&name)) && parts.next() != Some("main.rs")
    };
    let mut findings = BTreeSet::new();
    for file in tree.rust().filter(pure) {
        for named in file.named().iter().filter(|named| !named.in_tests) {
            if let Some(part) = MACHINE.iter().find(|part| is_of(named, part)) {
                let what = format!(
                    "{} in pure code; let it come in as an input or through a trait, and leave the machine to onebox-node",
                    part.join("::")
                );
                findings.insert(Finding::new(&file.path, named.line, what));
            }
        }
    }
    findings.into_iter().collect()
}

/// Whether a path names a part of the machine; `use std::time; time::Instant::now()` does too.
fn is_of(named: &Named, part: &[&str]) -> bool {
    let segments: Vec<&str> = named.segments.iter().map(String::as_str).collect();
    let last_is_a_type = part.last().filter(|last| last.starts_with(char::is_uppercase));
    segments.starts_with(part) || last_is_a_type.is_some_and(|last| segments.contains(last))
}

/// Clippy reads the `clippy.toml` nearest to a crate; those of the pure crates are one.
pub(super) fn lints_are_the_same(tree: &Tree) -> Vec<Finding> {
    let path_of = |name: &str| format!("crates/{name}/clippy.toml");
    let first = tree.text(&path_of(PURE[0]));
    let differs = |name: &&&str| tree.has(&format!("crates/{name}")) && (first.is_none() || tree.text(&path_of(name)) != first);
    let finding = |name: &&str| {
        Finding::new(&path_of(name), 1, format!("it differs from {}; the pure crates have one set of lints", path_of(PURE[0])))
    };
    PURE.iter().filter(differs).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::{crates_point_one_way, lints_are_the_same, one_file_names_each_library, pure_crates_know_no_machine};

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{dependencies}\n")
    }

    #[test]
    fn a_dependency_against_the_direction() {
        finds(
            crates_point_one_way,
            &[
                ("crates/onebox-client/Cargo.toml", &manifest("onebox-client", "")),
                ("crates/onebox-service/Cargo.toml", &manifest("onebox-service", "[dev-dependencies]\nonebox-client.workspace = true")),
                (
                    "crates/onebox-replica/Cargo.toml",
                    &manifest("onebox-replica", "[dependencies]\nbytes = \"1\"\nonebox-client.workspace = true"),
                ),
                ("crates/onebox-new/Cargo.toml", &manifest("onebox-new", "")),
                (
                    "services/shop/Cargo.toml",
                    &manifest("shop", "[dependencies]\nonebox-service.workspace = true\n[build-dependencies]\nonebox-client = \"1\""),
                ),
                ("xtask/Cargo.toml", &manifest("xtask", "[dependencies]\nbytes = \"1\"")),
                ("bench/Cargo.toml", &manifest("bench", "[dependencies]\nonebox-client.workspace = true")),
            ],
            &[
                "crates/onebox-new/Cargo.toml:1: where onebox-new stands is not decided",
                "crates/onebox-replica/Cargo.toml:5: onebox-replica must not depend on onebox-client",
                "services/shop/Cargo.toml:4: shop must not depend on onebox-service",
                "services/shop/Cargo.toml:6: shop must not depend on onebox-client",
                "xtask/Cargo.toml:4: xtask must not depend on bytes",
            ],
        );
    }

    #[test]
    fn a_library_named_elsewhere() {
        finds(
            one_file_names_each_library,
            &[
                ("crates/onebox-replica/src/consensus.rs", "use raft::RawNode;\nuse redb::Database;\n"),
                ("crates/onebox-store/src/state/base.rs", "use redb::Database;\n"),
                ("crates/onebox-store/src/state/base/backend.rs", "use redb::StorageBackend;\n"),
                ("crates/onebox-store/src/state/based.rs", "fn f() { ::redb::f(self.raft.term) } // raft::x\n"),
            ],
            &[
                "crates/onebox-replica/src/consensus.rs:2: only crates/onebox-store/src/state/base.rs names redb",
                "crates/onebox-store/src/state/based.rs:1: only",
            ],
        );
    }

    #[test]
    fn the_machine_in_pure_code() {
        let code = "use std::{fs, sync::Arc};\nuse std::time;\nfn f() { time::Instant::now(); }\n#[cfg(test)]\nmod tests {\n  use std::net::TcpStream;\n}\n";
        finds(
            pure_crates_know_no_machine,
            &[
                ("crates/onebox-store/src/a.rs", code),
                ("crates/onebox-store/tests/a.rs", code),
                ("crates/onebox-node/src/a.rs", code),
                ("services/shop/src/main.rs", "use std::process::ExitCode;\n"),
                ("services/shop/src/lib.rs", "async fn f() { tokio::spawn(g) }\n"),
            ],
            &[
                "crates/onebox-store/src/a.rs:1: std::fs in pure code",
                "crates/onebox-store/src/a.rs:3: std::time::Instant in pure code",
                "services/shop/src/lib.rs:1: tokio in pure code",
            ],
        );
    }

    #[test]
    fn lints_that_differ() {
        let lib = |name: &str| format!("crates/{name}/src/lib.rs");
        let (service, store) = (lib("onebox-service"), lib("onebox-store"));
        let files = [
            (service.as_str(), ""),
            (store.as_str(), ""),
            ("crates/onebox-service/clippy.toml", "a"),
            ("crates/onebox-store/clippy.toml", "b"),
        ];
        finds(lints_are_the_same, &files, &["crates/onebox-store/clippy.toml:1: it differs from crates/onebox-service/clippy.toml"]);
        finds(lints_are_the_same, &files[..1], &["crates/onebox-service/clippy.toml:1: it differs"]);
    }
}
