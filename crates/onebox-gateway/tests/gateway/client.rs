//! A gateway on a loopback port, and clients that share no code with it: HTTP/1.1 by hand, gRPC over bare h2.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use expect_test::Expect;
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use onebox_gateway::{GatewaySettings, router, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake::Node;

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) address: SocketAddr,
    pub(crate) stop: oneshot::Sender<()>,
    pub(crate) served: JoinHandle<()>,
}

pub(crate) async fn gateway() -> Gateway {
    gateway_with(GatewaySettings::default()).await
}

pub(crate) async fn gateway_with(settings: GatewaySettings) -> Gateway {
    gateway_over(Node::new(None), settings).await
}

pub(crate) async fn gateway_over(node: Arc<Node>, settings: GatewaySettings) -> Gateway {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port");
    let address = listener.local_addr().expect("a bound port");
    let (stop, stopped) = oneshot::channel();
    let router = router(node.clone(), settings.clone());
    let served = tokio::spawn(serve(listener, router, settings, async {
        let _ = stopped.await;
    }));
    Gateway { node, address, stop, served }
}

impl Gateway {
    pub(crate) async fn connect(&self) -> Connection {
        Connection { stream: TcpStream::connect(self.address).await.expect("the gateway listens"), read: Vec::new() }
    }

    /// Sends one request on a connection of its own and gives the answer, written out.
    pub(crate) async fn ask(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.answer().await
    }

    /// Sends one request and compares the answer.
    pub(crate) async fn check(&self, request: &str, expected: Expect) {
        expected.assert_eq(&self.ask(request).await);
    }

    pub(crate) async fn grpc(&self) -> Grpc {
        let stream = TcpStream::connect(self.address).await.expect("the gateway listens");
        let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
        tokio::spawn(connection);
        Grpc { send }
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// Sends a request given as lines: `METHOD path`, headers, an empty line, the body. Content-Length is added.
    pub(crate) async fn send(&mut self, request: &str) {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
        let mut raw = format!("{line} HTTP/1.1\r\nhost: test\r\n");
        for header in headers.lines() {
            raw.push_str(&format!("{header}\r\n"));
        }
        if !body.is_empty() {
            raw.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        raw.push_str("\r\n");
        raw.push_str(body);
        self.send_raw(raw.as_bytes()).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the gateway reads");
    }

    /// Reads one answer and writes it out: status, the headers that matter, body.
    pub(crate) async fn answer(&mut self) -> String {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            self.more().await;
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("ASCII");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().expect("a status line").strip_prefix("HTTP/1.1 ").expect("HTTP/1.1").to_owned();
        let (mut shown, mut length) = (Vec::new(), 0);
        for line in lines {
            match line.split_once(": ").expect("a header") {
                ("content-length", value) => length = value.parse().expect("a number"),
                ("date", _) => {}
                _ => shown.push(line.to_owned()),
            }
        }
        while self.read.len() < length {
            self.more().await;
        }
        let body = String::from_utf8(self.read.drain(..length).collect()).expect("UTF-8");
        shown.sort();
        format!("{status}\n{}\n\n{body}\n", shown.join("\n"))
    }

    /// Whether the gateway has closed the connection, waiting until it says either.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte).await, Ok(0) | Err(_))
    }

    /// Everything until the gateway closes the connection.
    pub(crate) async fn read_to_end(&mut self, into: &mut Vec<u8>) {
        self.stream.read_to_end(into).await.expect("the gateway answers");
    }

    async fn more(&mut self) {
        let count = self.stream.read_buf(&mut self.read).await.expect("the gateway answers");
        assert!(count > 0, "the connection ended before the answer: {:?}", String::from_utf8_lossy(&self.read));
    }
}

/// An HTTP/2 connection that speaks gRPC.
#[derive(Clone)]
pub(crate) struct Grpc {
    send: SendRequest<Bytes>,
}

/// What a gRPC call came to.
pub(crate) struct Told {
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Bytes>,
    pub(crate) trailers: HeaderMap,
}

impl Grpc {
    /// Calls `path` with one message.
    pub(crate) async fn call(&self, path: &str, metadata: &[(&str, &str)], message: &[u8]) -> Told {
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).expect("a small message"));
        frame.put_slice(message);
        self.call_raw(path, metadata, frame.freeze()).await
    }

    /// Begins a request whose body does not come for as long as what is given lives.
    pub(crate) async fn begin(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.send.clone().ready().await.expect("the connection lives").send_request(request, false).expect("a stream")
    }

    /// Sends JSON over the same connection and compares the answer.
    pub(crate) async fn check_json(&self, method: &str, path: &str, body: &'static [u8], expected: Expect) {
        let request = Request::builder().method(method).uri(format!("http://test{path}")).header("content-type", "application/json");
        let (headers, body, trailers) = self.exchange(request.body(()).expect("a request"), Bytes::from_static(body)).await;
        assert!(trailers.is_empty(), "{trailers:?}");
        let told = Told { headers, messages: vec![body], trailers };
        expected.assert_eq(&told.to_string());
    }

    /// Calls `path` with these bytes as the request's body.
    pub(crate) async fn call_raw(&self, path: &str, metadata: &[(&str, &str)], body: Bytes) -> Told {
        let mut request = Request::post(format!("http://test{path}")).header("content-type", "application/grpc").header("te", "trailers");
        for (name, value) in metadata {
            request = request.header(*name, *value);
        }
        let (headers, body, trailers) = self.exchange(request.body(()).expect("a request"), body).await;
        Told { headers, messages: messages(body), trailers }
    }

    async fn exchange(&self, request: Request<()>, body: Bytes) -> (HeaderMap, Bytes, HeaderMap) {
        let mut send = self.send.clone().ready().await.expect("the connection lives");
        let (response, mut stream) = send.send_request(request, false).expect("a stream");
        // A refused request may be reset before its body is through; the answer then tells.
        let _ = stream.send_data(body, true);
        let (parts, mut body) = response.await.expect("an answer").into_parts();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.expect("data");
            bytes.put_slice(&chunk);
            let _ = body.flow_control().release_capacity(chunk.len());
        }
        let trailers = body.trailers().await.expect("trailers").unwrap_or_default();
        (parts.headers, bytes.freeze(), trailers)
    }

    /// Calls and compares what came back, errors with their details decoded.
    pub(crate) async fn check(&self, path: &str, metadata: &[(&str, &str)], message: &[u8], expected: Expect) {
        expected.assert_eq(&self.call(path, metadata, message).await.to_string());
    }
}

fn messages(mut bytes: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while bytes.len() >= 5 {
        let prefix = bytes.split_to(5);
        let length = u32::from_be_bytes(prefix[1..].try_into().expect("four bytes")) as usize;
        messages.push(bytes.split_to(length));
    }
    assert!(bytes.is_empty(), "half a message");
    messages
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, headers) in [("header", &self.headers), ("trailer", &self.trailers)] {
            let mut lines = Vec::new();
            for (name, value) in headers.iter().filter(|(name, _)| !["date", "content-length"].contains(&name.as_str())) {
                let value = value.to_str().expect("ASCII");
                let shown = if name == "grpc-status-details-bin" { crate::grpc::details(value) } else { value.to_owned() };
                let mut line = String::new();
                write!(line, "{kind} {name}: {shown}")?;
                lines.push(line);
            }
            lines.sort();
            for line in lines {
                writeln!(f, "{line}")?;
            }
        }
        for message in &self.messages {
            writeln!(f, "message {}", String::from_utf8_lossy(message))?;
        }
        Ok(())
    }
}
