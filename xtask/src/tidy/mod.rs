//! What the compiler cannot check. Each rule is a function of the [`Tree`], gives findings, and has a test in which it
//! fires.
//!
//! Reading order: [`tree`] (which files), [`rust`] (a Rust file, enough understood for the rules), [`manifest`]; then
//! the rules.

mod dependencies;
mod lengths;
mod manifest;
mod names;
mod pages;
mod rust;
mod tree;
mod walls;
mod words;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use tree::Tree;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    /// What is wrong, and what to do.
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// All rules, in the order of their files.
const RULES: [fn(&Tree) -> Vec<Finding>; 13] = [
    dependencies::listed,
    dependencies::used,
    lengths::within_bounds,
    names::no_rag_bags,
    pages::architecture_is_short,
    pages::links_lead_somewhere,
    walls::crates_point_one_way,
    walls::lints_are_the_same,
    walls::one_file_names_each_library,
    walls::pure_crates_know_no_machine,
    words::headers,
    words::nothing_forgotten,
    words::nothing_of_this_machine,
];

/// Prints what the rules find in the workspace.
pub(crate) fn run(root: &Path) -> ExitCode {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(words) => {
            eprintln!("tidy: {words}");
            return ExitCode::FAILURE;
        }
    };
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: {} files, nothing to say", tree.len());
        return ExitCode::SUCCESS;
    }
    println!("tidy: {} files, {} findings", tree.len(), findings.len());
    ExitCode::FAILURE
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<Finding> = RULES.iter().flat_map(|rule| rule(tree)).collect();
    findings.sort();
    findings
}

#[cfg(test)]
mod tests {
    use super::tree::Tree;
    use super::{Finding, check};

    /// Whether a rule finds, in these files, exactly these things: each by its beginning.
    #[track_caller]
    pub(super) fn finds(rule: fn(&Tree) -> Vec<Finding>, files: &[(&str, &str)], expected: &[&str]) {
        let mut found: Vec<String> = rule(&Tree::of(files)).iter().map(ToString::to_string).collect();
        found.sort();
        let as_expected = found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
        assert!(as_expected, "expected findings that begin with\n{expected:#?}\nfound\n{found:#?}");
    }

    #[test]
    fn findings_come_in_the_order_of_the_files() {
        let found = check(&Tree::of(&[("b/src/util.rs", "fn b() {}\n"), ("a/src/lib.rs", "fn a() {}\n")]));
        let places: Vec<(&str, usize)> = found.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
        assert_eq!(places, [("ARCHITECTURE.md", 1), ("a/src/lib.rs", 1), ("b/src/util.rs", 1), ("b/src/util.rs", 1)]);
    }

    #[test]
    fn the_workspace_is_found() {
        let tree = Tree::read(crate::root()).expect("the workspace can be read");
        assert!(tree.rust().any(|file| file.path == "xtask/src/tidy/mod.rs"), "this very file is among {} files", tree.len());
    }
}
