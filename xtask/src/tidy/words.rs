//! Words that a file must have, and words that must not be in it.

use super::Finding;
use super::tree::Tree;

/// Where a program talks to whoever started it. Everything else speaks through logs, errors and answers.
const MAY_PRINT: [&str; 7] = [
    "bench/",
    "xtask/",
    "crates/onebox/src/binary.rs",
    "crates/onebox/src/verbs/bench.rs",
    "crates/onebox/src/verbs/simulate.rs",
    "crates/onebox-schema/src/build.rs",
    "crates/onebox-spec/build.rs",
];

/// Every Rust file says first what it is for.
pub(super) fn headers(tree: &Tree) -> Vec<Finding> {
    let without = tree.rust().filter(|file| {
        let first = file.text.lines().next().unwrap_or("");
        first.strip_prefix("//!").is_none_or(|words| words.trim().len() < 4)
    });
    without
        .map(|file| Finding::new(&file.path, 1, "the first line is no '//!' with words; say what the file is for and what it keeps true"))
        .collect()
}

/// Nothing is left for later, and nothing prints that should not.
pub(super) fn nothing_forgotten(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let notes = [concat!("FIX", "ME"), concat!("XX", "X")];
    for (path, text) in tree.texts() {
        for (number, line) in text.lines().enumerate() {
            if let Some(note) = notes.iter().find(|note| has_word(line, note)) {
                findings.push(Finding::new(path, number + 1, format!("a note for later, {note}; do it now, or take it out")));
            }
        }
    }
    for file in tree.rust() {
        for (number, line) in file.code() {
            if let Some(name) = ["todo!", "dbg!"].iter().find(|name| has_word(line, name)) {
                findings.push(Finding::new(&file.path, number, format!("{name} is for the moment of writing; take it out")));
            }
        }
        let may_print = MAY_PRINT.iter().any(|start| file.path.starts_with(start));
        for (number, line) in file.code_outside_tests().filter(|_| !may_print) {
            if let Some(name) = ["println!", "eprintln!", "print!", "eprint!"].iter().find(|name| has_word(line, name)) {
                let what = format!("{name} here reaches nobody who can act; use tracing, or give it back as an error");
                findings.push(Finding::new(&file.path, number, what));
            }
        }
    }
    findings
}

/// No file names a folder of the machine on which it was written.
pub(super) fn nothing_of_this_machine(tree: &Tree) -> Vec<Finding> {
    let folders = ["home", "root", "work"].map(|name| format!("/{name}/"));
    let mut findings = Vec::new();
    for (path, text) in tree.texts() {
        for (number, line) in text.lines().enumerate() {
            let names = |folder: &&String| line.match_indices(folder.as_str()).any(|(at, _)| !line[..at].ends_with(is_of_a_path));
            if let Some(folder) = folders.iter().find(names) {
                findings.push(Finding::new(
                    path,
                    number + 1,
                    format!("{folder} exists on one machine only; name the place relative to the workspace"),
                ));
            }
        }
    }
    findings
}

fn is_of_a_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '}' | '*')
}

/// Whether a line has a word that is not a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(in_word) && !line[at + word.len()..].starts_with(in_word))
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::{headers, nothing_forgotten, nothing_of_this_machine};

    #[test]
    fn a_file_that_does_not_say_what_it_is_for() {
        let files = [
            ("a.rs", "//! Adds.\n"),
            ("b.rs", "\n//! Late.\n"),
            ("c.rs", "//! .\n"),
            ("d.rs", "// Generated. Do not edit.\n"),
            ("e.rs", ""),
        ];
        finds(headers, &files, &["b.rs:1: the first line is no", "c.rs:1: the first line is no", "e.rs:1: the first line is no"]);
    }

    #[test]
    fn notes_for_later() {
        let note = format!("a\n{} b", concat!("FIX", "ME"));
        finds(nothing_forgotten, &[("a.md", &note), ("b.md", concat!("XX", "XX"))], &["a.md:2: a note for later"]);
        finds(nothing_forgotten, &[("a.rs", "fn f() {\n todo!() }\n// dbg!(x)\n")], &["a.rs:2: todo! is for the moment"]);
    }

    #[test]
    fn printing_where_nobody_reads() {
        let code = "fn f() { println!(); }\n#[cfg(test)]\nmod tests {\n  fn g() { eprintln!(); }\n}\n";
        finds(nothing_forgotten, &[("a/src/b.rs", code), ("bench/src/c.rs", code), ("a/tests/d.rs", code)], &["a/src/b.rs:1: println!"]);
    }

    #[test]
    fn folders_of_one_machine() {
        let home = concat!("/ho", "me/");
        let line = format!("a\n\"{home}me\"\nhttps://a.b{home}c\n");
        let expected = format!("a.toml:2: {home} exists on one machine only");
        finds(nothing_of_this_machine, &[("a.toml", &line)], &[expected.as_str()]);
    }
}
