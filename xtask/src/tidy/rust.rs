//! A Rust file, understood just enough for the rules: what of it is code, what is tests, where functions begin and end,
//! and which paths it names.
//!
//! This is no parser. It must never mistake a comment or a string for code, nor lose count of braces; anything finer
//! belongs to the compiler.

use super::tree::file_name;

/// A Rust file.
pub(super) struct RustFile {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with comments and the insides of literals replaced by spaces. Offsets and lines are the same.
    code: String,
    /// Bytes of `code` that only tests compile.
    tests: Vec<(usize, usize)>,
    /// Whether a program wrote it and a person is not to.
    pub(super) generated: bool,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    /// Lines from `fn` to the closing brace. In tests only those with code: a table of expectations may be long.
    pub(super) lines: usize,
}

/// A path such as `std::fs::read`, as it stands in the code or as a `use` makes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) line: usize,
    pub(super) segments: Vec<String>,
    /// Whether only tests name it.
    pub(super) in_tests: bool,
}

impl RustFile {
    pub(super) fn new(path: &str, text: &str) -> RustFile {
        let code = code_of(text);
        let tests = if is_tests(path) { vec![(0, code.len())] } else { test_items(&code) };
        let generated = text.lines().next().is_some_and(|line| line.contains("Generated") && line.contains("Do not edit"));
        RustFile { path: path.to_owned(), text: text.to_owned(), code, tests, generated }
    }

    /// Whether the whole file is tests.
    pub(super) fn is_tests(&self) -> bool {
        is_tests(&self.path)
    }

    /// Lines, without the items that only tests compile; all lines of a file that is tests as a whole.
    pub(super) fn lines(&self) -> usize {
        let all = self.code.lines().count();
        if self.is_tests() {
            return all;
        }
        all - self.tests.iter().map(|(from, to)| self.code[*from..*to].matches('\n').count() + 1).sum::<usize>()
    }

    /// Every function with a body, in order; those inside others too.
    pub(super) fn functions(&self) -> Vec<Function> {
        let words = words(&self.code);
        let pairs = words.iter().zip(words.iter().skip(1));
        let named = pairs.filter(|((at, word), (name_at, _))| *word == "fn" && self.code[at + 2..*name_at].trim().is_empty());
        named
            .filter_map(|((at, _), (_, name))| {
                let open = item_end(&self.code, *at).filter(|end| self.code.as_bytes()[*end] == b'{')?;
                let code = &self.code[*at..closing(&self.code, open)];
                let lines = code.lines().filter(|line| !self.in_tests(*at) || line.contains(char::is_alphanumeric)).count();
                Some(Function { name: (*name).to_owned(), line: self.line_of(*at), lines })
            })
            .collect()
    }

    /// Every path, those that a `use` spells with braces too.
    pub(super) fn named(&self) -> Vec<Named> {
        let mut named: Vec<(usize, Vec<String>)> = Vec::new();
        let words = words(&self.code);
        let mut next = 0;
        while let Some((at, word)) = words.get(next) {
            if *word == "use" && !self.code[at + 3..].trim_start().starts_with('<') {
                let end = self.code[*at..].find(';').map_or(self.code.len(), |length| at + length);
                use_tree(&self.code, at + 3, end, &[], &mut named);
                next = words.partition_point(|(at, _)| *at < end);
                continue;
            }
            let mut segments = vec![(*word).to_owned()];
            let mut behind = at + word.len();
            next += 1;
            while let Some((at, word)) = words.get(next).filter(|(at, _)| self.code[behind..*at].trim() == "::") {
                segments.push((*word).to_owned());
                behind = at + word.len();
                next += 1;
            }
            if segments.len() > 1 {
                named.push((*at, segments));
            }
        }
        let finished = named.into_iter().map(|(at, segments)| Named { line: self.line_of(at), segments, in_tests: self.in_tests(at) });
        finished.collect()
    }

    /// Line and code of every line that is not only for tests.
    pub(super) fn code_outside_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut start = 0;
        self.code.lines().enumerate().filter_map(move |(number, line)| {
            let at = start;
            start += line.len() + 1;
            (!self.in_tests(at)).then_some((number + 1, line))
        })
    }

    /// Line and code of every line.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(number, line)| (number + 1, line))
    }

    fn line_of(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }

    fn in_tests(&self, at: usize) -> bool {
        self.tests.iter().any(|(from, to)| (*from..*to).contains(&at))
    }
}

/// Whether a path is that of a file that only tests compile.
fn is_tests(path: &str) -> bool {
    let stem = file_name(path).trim_end_matches(".rs");
    path.starts_with("tests/") || path.contains("/tests/") || stem == "tests" || stem.ends_with("_tests")
}

/// From the start of the line of each `#[cfg(test)]` to the end of what it stands before.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let mut items: Vec<(usize, usize)> = Vec::new();
    for (at, attribute) in code.match_indices("#[cfg(test)]") {
        let inside = items.last().is_some_and(|(_, end)| at < *end);
        if let Some(end) = item_end(code, at + attribute.len()).filter(|_| !inside) {
            let end = if code.as_bytes()[end] == b'{' { closing(code, end) } else { end + 1 };
            let line_start = code[..at].rfind('\n').map_or(0, |newline| newline + 1);
            items.push((line_start, end));
        }
    }
    items
}

/// Where an item that begins at `from` has its `{` or `;`, outside parentheses and brackets.
fn item_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'{' | b';' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The offset behind the brace that closes the one at `open`.
fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Offset and text of every identifier and keyword.
fn words(code: &str) -> Vec<(usize, &str)> {
    let mut words = Vec::new();
    let mut at = 0;
    for piece in code.split(|c: char| !(c.is_alphanumeric() || c == '_')) {
        if piece.starts_with(|c: char| !c.is_ascii_digit()) {
            words.push((at, piece));
        }
        at += piece.len();
        at += code[at..].chars().next().map_or(0, char::len_utf8);
    }
    words
}

/// Adds the paths of the use tree in `code[from..to]`, each behind `prefix`.
fn use_tree(code: &str, from: usize, to: usize, prefix: &[String], named: &mut Vec<(usize, Vec<String>)>) {
    let mut from = from;
    for branch_end in branch_ends(code, from, to) {
        let branch = &code[from..branch_end];
        let before_group = branch.find('{').unwrap_or(branch.len());
        let renamed = words(&branch[..before_group]).iter().position(|(_, word)| *word == "as");
        let mut segments = prefix.to_vec();
        let own = words(&branch[..before_group]);
        segments
            .extend(own.iter().take(renamed.unwrap_or(own.len())).filter(|(_, word)| *word != "self").map(|(_, word)| (*word).to_owned()));
        if before_group < branch.len() {
            let group_end = closing(code, from + before_group) - 1;
            use_tree(code, from + before_group + 1, group_end, &segments, named);
        } else if !branch.trim().is_empty() {
            let at = from + own.first().map_or(0, |(at, _)| *at);
            named.push((at, segments));
        }
        from = branch_end + 1;
    }
}

/// The offsets of the commas between the branches of a use tree, and of its end.
fn branch_ends(code: &str, from: usize, to: usize) -> Vec<usize> {
    let mut depth = 0_usize;
    let mut ends = Vec::new();
    for (at, byte) in code.bytes().enumerate().take(to).skip(from) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => ends.push(at),
            _ => {}
        }
    }
    ends.push(to);
    ends
}

/// The text with comments and literals made blank.
fn code_of(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        match blank_end(bytes, at) {
            Some(end) => {
                code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
                at = end;
            }
            None => at += 1,
        }
    }
    String::from_utf8(code).expect("whole characters became spaces")
}

/// The end of the comment or literal that begins at `at`, if one does.
fn blank_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = &bytes[at..];
    let to = |length: Option<usize>| Some(length.map_or(bytes.len(), |length| at + length));
    let in_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    match rest {
        [b'/', b'/', ..] => to(rest.iter().position(|byte| *byte == b'\n')),
        [b'/', b'*', ..] => to(block_comment(rest)),
        [b'"', ..] => to(quoted(rest, b'"')),
        [b'r', b'"' | b'#', ..] if !in_word || matches!(bytes[at - 1], b'b' | b'c') => raw_string(rest).map(|length| at + length),
        [b'\'', b'\\', ..] => to(quoted(rest, b'\'')),
        [b'\'', ..] => char_literal(rest).map(|length| at + length),
        _ => None,
    }
}

fn block_comment(rest: &[u8]) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            (b'/', b'*') => depth += 1,
            (b'*', b'/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn quoted(rest: &[u8], quote: u8) -> Option<usize> {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

/// The length of a raw string; `None` for a raw identifier.
fn raw_string(rest: &[u8]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut end = vec![b'"'];
    end.extend(std::iter::repeat_n(b'#', hashes));
    let inside = 2 + hashes;
    let length = rest[inside..].windows(end.len()).position(|window| window == end);
    Some(length.map_or(rest.len(), |length| inside + length + end.len()))
}

/// The length of a literal of one character; `None` for a lifetime.
fn char_literal(rest: &[u8]) -> Option<usize> {
    let width = match rest.get(1)? {
        0..=0x7f => 1,
        0x80..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0.. => 4,
    };
    (rest.get(1 + width) == Some(&b'\'')).then_some(2 + width)
}

#[cfg(test)]
mod tests {
    use super::{Function, RustFile, code_of};

    #[track_caller]
    fn check_code(text: &str, expected: &str) {
        let code = code_of(text);
        assert_eq!(code.len(), text.len(), "offsets stay");
        assert_eq!(code.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }

    #[test]
    fn comments_are_no_code() {
        check_code("a // b \"\n c", "a c");
        check_code("a /* b /* c */ d\n */ e", "a e");
        check_code("//! a { \nb", "b");
    }

    #[test]
    fn literals_are_no_code() {
        check_code(r#"a("b \" { // c", d)"#, "a( , d)");
        check_code(r##"a(r#"b " { \"#, br"\", d)"##, "a( , b , d)");
        check_code(r"a('{', '\'', '\u{7d}', 'ä', b'{')", "a( , , , , b )");
    }

    #[test]
    fn lifetimes_and_raw_identifiers_are_code() {
        check_code("fn f<'a>(r#type: &'a str) -> &'a str { '}' }", "fn f<'a>(r#type: &'a str) -> &'a str { }");
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let file = RustFile::new(
            "a.rs",
            "fn one() {}\ntrait T { fn none(a: [u8; 2]); }\nconst F: fn(u8) = g;\n\
             pub fn long<F: Fn(u8)>(\n    f: F,\n) -> [u8; 2]\nwhere F: Sized {\n    fn inner() {\n        '}';\n    }\n}\n",
        );
        let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
        assert_eq!(file.functions(), [function("one", 1, 1), function("long", 4, 8), function("inner", 8, 3)]);
    }

    #[test]
    fn expectations_of_tests_are_no_lines_of_functions() {
        let text = "fn check() {\n    expect![[r#\"\n        1\n        2\n    \"#]];\n\n    // Why.\n}\n";
        assert_eq!(RustFile::new("a/tests/b.rs", text).functions()[0].lines, 2);
        assert_eq!(RustFile::new("a/src/b.rs", text).functions()[0].lines, 8);
    }

    #[test]
    fn test_items_do_not_count_as_lines() {
        let text =
            "//! A.\nfn a() {}\n#[cfg(test)]\nuse b::c;\n\n#[cfg(test)]\nmod tests {\n    #[cfg(test)]\n    fn d() {}\n}\nfn e() {}\n";
        let file = RustFile::new("a.rs", text);
        assert_eq!(file.lines(), 4);
        let outside: Vec<usize> = file.code_outside_tests().filter(|(_, line)| line.contains("fn")).map(|(line, _)| line).collect();
        assert_eq!(outside, [2, 11]);
        assert_eq!(RustFile::new("a/tests/b.rs", text).lines(), 11);
    }

    #[track_caller]
    fn check_named(text: &str, expected: &[&str]) {
        let named = RustFile::new("a.rs", text).named();
        let named: Vec<String> = named.iter().map(|named| format!("{}:{}", named.line, named.segments.join("::"))).collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn paths_are_found_in_code_and_in_use_trees() {
        check_named("let a = std::fs::read(b.raft.c);", &["1:std::fs::read"]);
        check_named("use std::{\n  fs::{self, File},\n  io as x, net,\n};", &["2:std::fs", "2:std::fs::File", "3:std::io", "3:std::net"]);
        check_named("pub use {a, b::c as d};\nuse e::*;\nfn f() -> impl G + use<'_, H> {}\n", &["1:a", "1:b::c", "2:e"]);
        check_named("#[tokio::test]\n// std::fs\nfn f() { \"std::net\" }", &["1:tokio::test"]);
    }

    #[test]
    fn generated_files_say_so_first() {
        assert!(RustFile::new("a.rs", "// Generated from b. Do not edit.\n").generated);
        assert!(!RustFile::new("a.rs", "//! Generated code stays thin.\n// Do not edit.\n").generated);
    }
}
