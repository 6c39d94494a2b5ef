//! Specs held against other implementations: one in Python, written from the contract alone, and this one over its wire.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::binary::{inventory, told};

/// An implementation that runs as a process and ends with its test.
struct Remote {
    child: Child,
    address: String,
    /// What its process writes to; kept open, or it would end.
    _log: Box<dyn Read>,
    data: Option<PathBuf>,
}

impl Remote {
    /// Starts a process and waits until it says where it listens, in a line that `address_of` understands.
    fn start(mut command: Command, data: Option<PathBuf>, from_stderr: bool, address_of: fn(&str) -> Option<String>) -> Remote {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the implementation can be started");
        let out: Box<dyn Read> = if from_stderr { Box::new(child.stderr.take().unwrap()) } else { Box::new(child.stdout.take().unwrap()) };
        let mut lines = BufReader::new(out);
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it ended without saying where it listens:\n{seen}");
            if let Some(address) = address_of(&line) {
                break address;
            }
            seen.push_str(&line);
        };
        Remote { child, address, _log: Box::new(lines), data }
    }

    fn python(arguments: &[&str]) -> Remote {
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/second.py")).args(arguments);
        Remote::start(command, None, false, |line| line.strip_prefix("listening on ").map(|address| address.trim().to_owned()))
    }

    fn own(name: &str, arguments: &[&str]) -> Remote {
        let data = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("against-{name}-{}", std::process::id()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_inventory"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).args(arguments).env("ONEBOX_SEGMENT_BYTES", "67108864");
        Remote::start(command, Some(data), true, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["message"].as_str()?.starts_with("serving").then(|| line["address"].as_str().unwrap_or("").to_owned())
        })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// One HTTP request; gives the status and the body.
    fn ask(&self, verb: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!("{verb} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).expect("a body is JSON"))
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(data) = &self.data {
            let _ = std::fs::remove_dir_all(data);
        }
    }
}

#[test]
fn a_second_implementation_passes_the_same_specs() {
    let second = Remote::python(&[]);
    let output = inventory(&["spec", "--against", &second.url(), "UpdateStock", "Reserve"]);
    let told = told(&output);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    let passed: usize = told.lines().last().unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(passed >= 25, "{told}");
}

#[test]
fn a_second_implementation_with_a_mistake_does_not() {
    let second = Remote::python(&["--broken"]);
    let output = inventory(&["spec", "--against", &second.url(), crate::binary::SHOWN]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("response.on_hand: expected 12, got 13\n"), "{}", told(&output));
    let output = inventory(&["spec", "--against", &second.url(), "AddProducts"]);
    assert!(told(&output).contains("UNIMPLEMENTED"), "what it does not have is said: {}", told(&output));
}

#[test]
fn this_implementation_passes_them_over_the_wire_too() {
    let own = Remote::own("own", &["--specs"]);
    let output = inventory(&["spec", "--against", &own.url()]);
    assert!(output.status.success(), "{}", told(&output));
    let given = r#"{"@type": "type.googleapis.com/inventory.v1.ProductAdded", "product": "7", "sku": "GPU"}"#;
    let when = r#"{"@type": "type.googleapis.com/inventory.v1.AddProductsRequest", "skus": ["CPU"]}"#;
    let (status, ran) = own.ask("POST", "/onebox/v1/specs:run", &format!(r#"{{"given": [{given}], "when": {when}}}"#));
    assert_eq!((status, &ran["response"]["products"][0], &ran["events"][0]["product"]), (200, &Value::from("8"), &Value::from("8")));
    let (_, ran) = own.ask("POST", "/onebox/v1/specs:run", &format!(r#"{{"given": [{given}], "when": {when}, "nextId": "100"}}"#));
    assert_eq!(ran["events"][0]["product"], "100");
    let again = when.replace("CPU", "GPU");
    let (status, ran) = own.ask("POST", "/onebox/v1/specs:run", &format!(r#"{{"given": [{given}], "when": {again}}}"#));
    assert_eq!((status, ran["status"]["code"].as_u64(), ran["status"]["details"][0]["sku"].as_str()), (200, Some(6), Some("GPU")));
    // Nothing of it is in the node's own data.
    let (status, _) = own.ask("POST", "/v1/locations/7/stock", r#"{"product": "7", "change": "1"}"#);
    assert_eq!(status, 404);
    let (_, added) = own.ask("POST", "/v1/products", r#"{"skus": ["GPU"]}"#);
    assert_eq!(added["products"][0], "1");
}

#[test]
fn a_spec_that_makes_no_sense_is_refused_with_its_place() {
    let own = Remote::own("sense", &["--specs"]);
    let refused = |body: &str, words: &str| {
        let (status, told) = own.ask("POST", "/onebox/v1/specs:run", body);
        assert_eq!(status, 400, "{told}");
        assert!(told.to_string().contains(words), "{told} does not say {words}");
    };
    let when = r#""when": {"@type": "type.googleapis.com/inventory.v1.CancelRequest"}"#;
    refused("{", "EOF");
    refused("{}", "say what is asked");
    refused(r#"{"when": {"@type": "type.googleapis.com/inventory.v1.Cancelled"}}"#, "is not the request of a method");
    refused(r#"{"when": {"@type": "type.googleapis.com/inventory.v1.Nothing"}}"#, "Nothing");
    refused(r#"{"whenever": 1}"#, "whenever");
    refused(&format!(r#"{{"given": [{{"@type": "type.googleapis.com/inventory.v1.Location"}}], {when}}}"#), "given[0]");
    let nowhere = r#"{"@type": "type.googleapis.com/inventory.v1.StockUpdated", "location": "9", "change": "1"}"#;
    refused(&format!(r#"{{"given": [{nowhere}], {when}}}"#), "names location 9, which does not exist");
    refused(&format!(r#"{{"nextId": "0", {when}}}"#), "ids begin at 1");
    refused(&format!(r#"{{"at": "1900-01-01T00:00:00Z", {when}}}"#), "before 1970");
    // A bad spec leaves nothing behind.
    let output = inventory(&["spec", "--against", &own.url(), "cancel"]);
    assert!(output.status.success(), "{}", told(&output));
}

#[test]
fn specs_are_taken_only_where_the_operator_says_so() {
    let own = Remote::own("closed", &[]);
    let (status, _) = own.ask("POST", "/onebox/v1/specs:run", "{}");
    assert_eq!(status, 404);
    let output = inventory(&["spec", "--against", &own.url(), "cancel"]);
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("404"), "{errors}");
    let output = inventory(&["spec", "--against", "http://127.0.0.1:1", "cancel"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be reached"), "{output:?}");
    let output = inventory(&["spec", "--against", "https://127.0.0.1:1", "cancel"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("only http://"), "{output:?}");
}
