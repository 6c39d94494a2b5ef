//! Files and functions that are too long to be read at once, against a list that only shrinks.

use std::collections::BTreeMap;

use super::Finding;
use super::rust::RustFile;
use super::tree::Tree;

/// Lines of a file without its test modules. Past it, it is probably two things.
const FILE_LINES_MAX: usize = 600;
/// Lines of a function: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// What is longer for now: lines `PATH LINES` for a file, `PATH FUNCTION LINES` for a function.
const LIST: &str = "xtask/long.txt";

/// No file and no function is too long, but those in the list; and the list says nothing that is not so.
pub(super) fn within_bounds(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut list = listed(tree.text(LIST).unwrap_or(""), &mut findings);
    for long in tree.rust().flat_map(too_long) {
        let known = list.iter().position(|known| (&known.path, &known.function) == (&long.path, &long.function));
        match known.map(|at| list.remove(at)) {
            None => {
                findings.push(Finding::new(&long.path, long.line, format!("{} has {} lines, {}", long.what(), long.lines, long.advice())))
            }
            Some(known) if long.lines > known.lines => {
                let what = format!(
                    "{} has grown from {} lines to {}, and {LIST} may only shrink; {}",
                    long.what(),
                    known.lines,
                    long.lines,
                    long.advice()
                );
                findings.push(Finding::new(&long.path, long.line, what));
            }
            Some(known) if long.lines < known.lines => {
                let what = format!(
                    "{} of {} has {lines} lines now; write {lines} instead of {}",
                    long.what(),
                    long.path,
                    known.lines,
                    lines = long.lines
                );
                findings.push(Finding::new(LIST, known.line, what));
            }
            Some(_) => {}
        }
    }
    for gone in list {
        findings.push(Finding::new(
            LIST,
            gone.line,
            format!("{} of {} is not too long any more, or gone; remove the line", gone.what(), gone.path),
        ));
    }
    findings
}

/// A file or a function: as it is, or as the list has it.
#[derive(Debug, PartialEq, Eq)]
struct Long {
    path: String,
    function: Option<String>,
    lines: usize,
    /// Where it begins, or where the list has it.
    line: usize,
}

impl Long {
    fn what(&self) -> String {
        self.function.as_ref().map_or_else(|| "the file".to_owned(), |name| format!("fn {name}"))
    }

    fn advice(&self) -> String {
        match self.function {
            Some(_) => format!("at most {FUNCTION_LINES_MAX} fit on a screen: branch in the parent, compute in leaves"),
            None => format!("at most {FILE_LINES_MAX} (tests aside) read well: split it along its nouns"),
        }
    }
}

/// What is too long in a file. Of functions with one name the longest speaks for all.
fn too_long(file: &RustFile) -> Vec<Long> {
    let long = |function, lines, line| Long { path: file.path.clone(), function, lines, line };
    let mut functions: BTreeMap<String, Long> = BTreeMap::new();
    for found in file.functions().into_iter().filter(|found| found.lines > FUNCTION_LINES_MAX) {
        let longest = functions.entry(found.name.clone()).or_insert_with(|| long(Some(found.name), 0, 0));
        if found.lines > longest.lines {
            (longest.lines, longest.line) = (found.lines, found.line);
        }
    }
    let whole = Some(file.lines()).filter(|lines| *lines > FILE_LINES_MAX).map(|lines| long(None, lines, 1));
    whole.into_iter().chain(functions.into_values()).collect()
}

fn listed(text: &str, findings: &mut Vec<Finding>) -> Vec<Long> {
    let mut list = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (path, function, lines) = match words.as_slice() {
            [path, lines] => (path, None, lines.parse()),
            [path, function, lines] => (path, Some((*function).to_owned()), lines.parse()),
            _ => (&"", None, "".parse()),
        };
        match lines {
            Ok(lines) => list.push(Long { path: (*path).to_owned(), function, lines, line: number + 1 }),
            Err(_) => findings.push(Finding::new(LIST, number + 1, "a line is 'PATH LINES' or 'PATH FUNCTION LINES'")),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::super::tests::finds;
    use super::within_bounds;

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n".repeat(lines - 2))
    }

    #[test]
    fn a_long_function() {
        finds(within_bounds, &[("a.rs", &function(70))], &[]);
        finds(within_bounds, &[("a.rs", &format!("\n{}", function(71)))], &["a.rs:2: fn f has 71 lines, at most 70"]);
    }

    #[test]
    fn a_long_file_but_for_its_tests() {
        let code = "g!();\n".repeat(600);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        finds(within_bounds, &[("a.rs", &format!("{code}{tests}"))], &[]);
        finds(within_bounds, &[("a.rs", &format!("{code}{tests}g!();\n"))], &["a.rs:1: the file has 601 lines, at most 600"]);
    }

    #[test]
    fn the_list_may_only_shrink() {
        let list = |lines: &str| format!("# Why.\n{lines}\n");
        let check = |lines: usize, listed: &str, expected: &[&str]| {
            finds(within_bounds, &[("a.rs", &function(lines)), ("xtask/long.txt", &list(listed))], expected);
        };
        check(80, "a.rs f 80", &[]);
        check(80, "a.rs f 79", &["a.rs:1: fn f has grown from 79 lines to 80, and xtask/long.txt may only shrink"]);
        check(80, "a.rs f 81", &["xtask/long.txt:2: fn f of a.rs has 80 lines now; write 80 instead of 81"]);
        check(70, "a.rs f 80", &["xtask/long.txt:2: fn f of a.rs is not too long any more, or gone; remove the line"]);
        check(70, "a.rs 601", &["xtask/long.txt:2: the file of a.rs is not too long any more"]);
        check(70, "a.rs", &["xtask/long.txt:2: a line is 'PATH LINES'"]);
    }
}
