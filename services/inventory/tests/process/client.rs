//! A client of HTTP/1.1 over a plain socket: one kept-alive connection, one request at a time.
//!
//! It speaks only what RFC 9112 says and shares no code with the server. An answer that is not whole is an error, never
//! half an answer.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than any answer takes: a server that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// A request, to be sent as often as one likes.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) verb: &'static str,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Ask {
        Ask { verb: "GET", path: path.into(), headers: Vec::new(), body: None }
    }

    pub(crate) fn post(path: impl Into<String>, body: &Value) -> Ask {
        Ask::post_text(path, body.to_string())
    }

    /// With a body that need not be JSON.
    pub(crate) fn post_text(path: impl Into<String>, body: impl Into<Vec<u8>>) -> Ask {
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Ask { verb: "POST", path: path.into(), headers, body: Some(body.into()) }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Ask {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn keyed(self, key: impl Into<String>) -> Ask {
        self.with("Idempotency-Key", key)
    }
}

/// The beginning of it, for messages of failed tests.
impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = String::from_utf8_lossy(self.body.as_deref().unwrap_or_default()).chars().take(300).collect();
        write!(f, "{} {} {:?} {body}", self.verb, self.path, self.headers)
    }
}

/// An answer, whole.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// The code of a problem; empty if it is none.
    pub(crate) fn code(&self) -> String {
        if self.status < 400 {
            return String::new();
        }
        serde_json::from_slice::<Value>(&self.body).map_or_else(|_| String::new(), |body| text(&body["code"]).to_owned())
    }

    pub(crate) fn repeated(&self) -> bool {
        self.header("onebox-repeated") == Some("true")
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}\n{}", self.status, self.headers, String::from_utf8_lossy(&self.body))
    }
}

/// A connection, kept alive until an error.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Connection> {
        Connection::open_within(address, SILENCE_MAX)
    }

    /// A connection on which nothing is waited for longer.
    pub(crate) fn open_within(address: SocketAddr, silence_max: Duration) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, silence_max)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(silence_max))?;
        stream.set_write_timeout(Some(silence_max))?;
        Ok(Connection { stream: BufReader::new(stream), address })
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn send(&mut self, ask: &Ask) -> io::Result<Reply> {
        self.write(ask)?;
        self.read()
    }

    /// Sends a request that must be answered.
    pub(crate) fn ask(&mut self, ask: &Ask) -> Reply {
        self.send(ask).unwrap_or_else(|error| panic!("{} {}: no answer: {error}", ask.verb, ask.path))
    }

    /// Sends a request that must succeed, and gives its answer's JSON.
    pub(crate) fn succeed(&mut self, ask: &Ask) -> Value {
        let reply = self.ask(ask);
        assert!(reply.status < 300, "{} {}: {reply}", ask.verb, ask.path);
        reply.json()
    }

    fn write(&mut self, ask: &Ask) -> io::Result<()> {
        let mut bytes = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", ask.verb, ask.path, self.address).into_bytes();
        for (name, value) in &ask.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        if let Some(body) = &ask.body {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(ask.body.as_deref().unwrap_or_default());
        self.stream.get_mut().write_all(&bytes)
    }

    fn read(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or_else(|| malformed(&format!("status line {line:?}")))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| malformed(&format!("header {line:?}")))?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|text: &String| text.parse().ok());
        let length = length.ok_or_else(|| malformed("an answer without a length"))?;
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Reply { status, headers, body })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let whole = line.strip_suffix("\r\n");
        whole.map(str::to_owned).ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended"))
    }
}

/// A text of a JSON value; empty if it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A 64-bit number as proto3 JSON writes it: in quotes, and left out when it is 0.
pub(crate) fn number(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        value => text(value).parse().unwrap_or_else(|_| panic!("{value} is not a number in quotes")),
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the server sent {what}"))
}
