//! The README's session with curl is real: every command of it is run here, and every line of output compared.
//!
//! A session stands in blocks marked `console`: a line that begins with `$ ` is a command (a `\` at its end continues
//! it), what follows is its output. An output line `...` stands for any lines, or none. Blocks without `curl` are passed
//! over. All blocks together are one session, on a server that starts empty.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::scratch::Scratch;
use crate::server::Server;

/// Where the README says the server listens.
const ADDRESS_IN_README: &str = "127.0.0.1:8080";

/// A command, the line of the file it stands in, and the output promised.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

#[test]
fn the_session_in_the_readme_is_real() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let steps = steps_of(&text);
    assert!(!steps.is_empty(), "the README has no ```console block with curl in it");
    if let Err(difference) = run("readme", &steps) {
        panic!("README.md{difference}");
    }
    eprintln!("README: {} commands answered as written", steps.len());
}

const SAMPLE: &str = r#"
```console
$ cargo run --release -p inventory -- serve
```
```sh
curl this is no session
```
```console
$ curl -s http://127.0.0.1:8080/v1/products \
    -H 'Content-Type: application/json' -d '{"skus": ["GPU"]}'; echo
{"products":["1"]}
$ curl -si http://127.0.0.1:8080/v1/locations/0/stock | tr -d '\r'
HTTP/1.1 200 OK
...

{}
```
"#;

#[test]
fn a_session_is_read_run_and_compared() {
    let steps = steps_of(SAMPLE);
    assert_eq!(steps.iter().map(|step| step.line).collect::<Vec<_>>(), [9, 12]);
    assert_eq!(steps[0].output, ["{\"products\":[\"1\"]}"]);
    assert_eq!(run("readme-sample", &steps), Ok(()));
    let wrong = steps_of(&SAMPLE.replace("[\"1\"]", "[\"2\"]"));
    let difference = run("readme-sample-wrong", &wrong).expect_err("another output must be noticed");
    assert!(difference.starts_with(":9: "), "{difference}");
    let wrong = steps_of(&SAMPLE.replace("200 OK", "404 Not Found"));
    assert!(run("readme-sample-wrong", &wrong).is_err());
}

#[test]
fn three_dots_stand_for_any_lines() {
    let fits = |pattern: &[&str], lines: &[&str]| {
        let (pattern, lines): (Vec<String>, Vec<String>) = (strings(pattern), strings(lines));
        matches(&pattern, &lines)
    };
    assert!(fits(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(fits(&["a", "...", "d"], &["a", "d"]));
    assert!(fits(&["..."], &[]));
    assert!(!fits(&["a", "...", "d"], &["a", "b"]));
    assert!(!fits(&["a"], &["a", "b"]));
    assert!(!fits(&[], &["a"]));
}

fn strings(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

fn steps_of(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut block: Option<Vec<(usize, &str)>> = None;
    for (number, line) in text.lines().enumerate() {
        match block.as_mut() {
            None if line.trim() == "```console" => block = Some(Vec::new()),
            None => {}
            Some(lines) if line.trim() != "```" => lines.push((number + 1, line)),
            Some(_) => steps.extend(steps_in(&block.take().unwrap_or_default())),
        }
    }
    assert!(block.is_none(), "a ```console block is not closed");
    steps
}

fn steps_in(lines: &[(usize, &str)]) -> Vec<Step> {
    if !lines.iter().any(|(_, line)| line.starts_with("$ ") && line.contains("curl")) {
        return Vec::new();
    }
    let mut steps: Vec<Step> = Vec::new();
    let mut continued = false;
    for &(number, line) in lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: number, command: command.to_owned(), output: Vec::new() });
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("line {number}: output before any command"));
            if continued {
                step.command.push('\n');
                step.command.push_str(line);
            } else {
                step.output.push(line.to_owned());
            }
        }
        continued = (continued || line.starts_with("$ ")) && line.ends_with('\\');
    }
    steps
}

/// Runs a session on a new server. Otherwise the line at fault, and what came instead.
fn run(name: &str, steps: &[Step]) -> Result<(), String> {
    let scratch = Scratch::new(name);
    let server = Server::start(&scratch.join("data"), &[]);
    for Step { line, command, output } in steps {
        let here = command.replace(ADDRESS_IN_README, &server.address().to_string());
        let ran = Command::new("sh").arg("-c").arg(&here).current_dir(scratch.join("")).output().expect("sh can be started");
        let said = String::from_utf8_lossy(&ran.stdout).replace(&server.address().to_string(), ADDRESS_IN_README);
        let lines: Vec<String> = said.lines().map(|line| line.trim_end_matches('\r').to_owned()).collect();
        if !matches(output, &lines) {
            let mut difference = format!(":{line}: $ {command}\n--- written:\n{}\n--- came:\n{said}", output.join("\n"));
            let _ = write!(
                difference,
                "\n--- on standard error ({}; is curl installed?):\n{}",
                ran.status,
                String::from_utf8_lossy(&ran.stderr)
            );
            return Err(difference);
        }
    }
    server.stop();
    Ok(())
}

fn matches(pattern: &[String], lines: &[String]) -> bool {
    match pattern.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..])),
        Some((first, rest)) => lines.first() == Some(first) && matches(rest, &lines[1..]),
    }
}
