//! Clients that take their time: what they hold is bounded, keeps no others out, and is theirs for a bounded time.

use std::time::Duration;

use bytes::Bytes;
use expect_test::expect;
use h2::RecvStream;
use http::Request;
use onebox_gateway::GatewaySettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::client::{Gateway, gateway_with};
use crate::fake::done;

/// Bytes of [`long_answer`].
const LONG_BYTES: usize = 80;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

fn long_answer() -> String {
    let answer = format!("{{\"item\":\"{}\"}}", "x".repeat(LONG_BYTES - 11));
    assert_eq!(answer.len(), LONG_BYTES);
    answer
}

/// An answer of which the client has taken in one byte.
struct Lying {
    body: RecvStream,
    connection: JoinHandle<()>,
}

/// Asks over HTTP/2 with a window of one byte, and waits for that byte: the gateway has then let go of the body, and
/// the rest lies in HTTP/2's own memory.
async fn leave_lying(gateway: &Gateway, request: Request<()>, body: &'static [u8]) -> Lying {
    gateway.node.will(done(&long_answer()));
    let stream = TcpStream::connect(gateway.address).await.expect("the gateway listens");
    let (send, connection) = h2::client::Builder::new().initial_window_size(1).handshake::<_, Bytes>(stream).await.expect("HTTP/2");
    let connection = tokio::spawn(async move {
        let _ = connection.await;
    });
    let mut send = send.ready().await.expect("the connection lives");
    let (response, mut sent) = send.send_request(request, body.is_empty()).expect("a stream");
    if !body.is_empty() {
        sent.send_data(Bytes::from_static(body), true).expect("a body");
    }
    let mut body = response.await.expect("an answer").into_body();
    assert_eq!(body.data().await.expect("data").expect("data").len(), 1);
    Lying { body, connection }
}

impl Lying {
    async fn take_in(mut self) {
        self.body.flow_control().release_capacity(1).expect("one byte was taken");
        while let Some(chunk) = self.body.data().await {
            let length = chunk.expect("data").len();
            self.body.flow_control().release_capacity(length).expect("as much was taken");
        }
    }
}

fn get_shelf() -> Request<()> {
    Request::get("http://test/v1/shelves/5").body(()).expect("a request")
}

fn get_shelf_by_grpc() -> Request<()> {
    let request = Request::post("http://test/shop.v1.Shop/GetShelf").header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).expect("a request")
}

/// Asks until the answer is 200, also where connections are closed before they are through.
async fn until_taken(gateway: &Gateway) {
    let asking = async {
        loop {
            let mut stream = TcpStream::connect(gateway.address).await.expect("the gateway listens");
            let mut answer = Vec::new();
            let _ = stream.write_all(b"GET /v1/shelves/5 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("the room comes back");
}

async fn answers_are_bounded_until_taken_in(request: Request<()>, body: &'static [u8]) {
    let gateway = gateway_with(GatewaySettings { answers_in_flight_bytes_max: LONG_BYTES, ..GatewaySettings::default() }).await;
    let lying = leave_lying(&gateway, request, body).await;
    gateway.check("GET /v1/shelves/5", expect![[r#"
        429 Too Many Requests
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1
        retry-after: 1

        {"status":429,"title":"Too Many Requests","detail":"too many bytes of answers are in flight; nothing was done; try again later","code":"RESOURCE_EXHAUSTED"}
    "#]]).await;
    assert!(gateway.ask("POST /v1/shelves/5:put").await.starts_with("429"), "a write is refused before it is done, or not at all");
    assert_eq!(gateway.node.calls().len(), 1, "what is refused does not reach the node");
    assert!(gateway.ask("GET /").await.starts_with("429"));
    assert!(gateway.ask("GET /health/live").await.starts_with("200"), "health must answer under load");
    lying.take_in().await;
    until_taken(&gateway).await;
}

#[tokio::test]
async fn answers_are_bounded_until_taken_in_over_http() {
    answers_are_bounded_until_taken_in(get_shelf(), b"").await;
}

#[tokio::test]
async fn answers_are_bounded_until_taken_in_over_grpc() {
    answers_are_bounded_until_taken_in(get_shelf_by_grpc(), b"\0\0\0\0\x02{}").await;
}

#[tokio::test]
async fn answers_are_bounded_until_taken_in_over_http1() {
    // More than the system's own buffers of a connection hold.
    let large = format!("{{\"item\":\"{}\"}}", "x".repeat(32 << 20));
    let gateway = gateway_with(GatewaySettings { answers_in_flight_bytes_max: large.len(), ..GatewaySettings::default() }).await;
    gateway.node.will(done(&large));
    let mut slow = TcpStream::connect(gateway.address).await.expect("the gateway listens");
    slow.write_all(b"GET /v1/shelves/5 HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await.expect("the gateway reads");
    slow.read_u8().await.expect("an answer begins");
    assert!(gateway.ask("GET /v1/shelves/5").await.contains("too many bytes of answers are in flight"));
    slow.read_to_end(&mut Vec::new()).await.expect("an answer ends");
    until_taken(&gateway).await;
}

#[tokio::test]
async fn a_write_that_took_effect_is_answered_beyond_the_bound() {
    let gateway = gateway_with(GatewaySettings { answers_in_flight_bytes_max: LONG_BYTES + 20, ..GatewaySettings::default() }).await;
    let _lying = leave_lying(&gateway, get_shelf(), b"").await;
    gateway.node.will(done(&long_answer()));
    let answer = gateway.ask("POST /v1/shelves/5:put").await;
    assert!(answer.starts_with("200") && answer.contains(&long_answer()), "{answer}");
    gateway.node.will(done(&long_answer()));
    let answer = gateway.ask("GET /v1/shelves/5").await;
    assert!(answer.starts_with("429") && answer.contains("retry-after: 1") && answer.contains("RESOURCE_EXHAUSTED"), "{answer}");
}

#[tokio::test]
async fn a_call_keeps_its_place_until_its_answer_is_taken_in() {
    for (request, body) in [(get_shelf(), &b""[..]), (get_shelf_by_grpc(), b"\0\0\0\0\x02{}")] {
        let gateway = gateway_with(GatewaySettings { calls_in_flight_max: 1, ..GatewaySettings::default() }).await;
        let lying = leave_lying(&gateway, request, body).await;
        assert!(gateway.ask("GET /v1/shelves/5").await.contains("too many requests are in flight"));
        lying.take_in().await;
        until_taken(&gateway).await;
    }
}

#[tokio::test]
async fn a_connection_whose_client_leaves_an_answer_lying_is_closed() {
    let settings = GatewaySettings { answers_in_flight_bytes_max: LONG_BYTES, connection_idle_ms_max: 1_000, ..GatewaySettings::default() };
    let gateway = gateway_with(settings).await;
    let lying = leave_lying(&gateway, get_shelf(), b"").await;
    tokio::time::timeout(PATIENCE, lying.connection).await.expect("it is closed").expect("the client ends well");
    until_taken(&gateway).await;
}

#[tokio::test]
async fn a_connection_that_does_not_say_its_protocol_is_closed() {
    for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let gateway = gateway_with(GatewaySettings { connection_idle_ms_max: 50, ..GatewaySettings::default() }).await;
        let mut silent = gateway.connect().await;
        silent.send_raw(first).await;
        let closed = tokio::time::timeout(PATIENCE, silent.is_closed()).await;
        assert_eq!(closed, Ok(true), "after {:?}", String::from_utf8_lossy(first));
    }
}

#[tokio::test]
async fn a_first_line_may_come_in_pieces() {
    let gateway = gateway_with(GatewaySettings::default()).await;
    let mut pieces = gateway.connect().await;
    for piece in ["P", "O", "ST /v1/shelves/5:put HT", "TP/1.1\r\nhost: test\r\n\r\n"] {
        pieces.send_raw(piece.as_bytes()).await;
        tokio::task::yield_now().await;
    }
    assert!(pieces.answer().await.starts_with("200"));
}

#[tokio::test]
async fn bodies_that_do_not_come_take_no_places() {
    let gateway = gateway_with(GatewaySettings { calls_in_flight_max: 1, ..GatewaySettings::default() }).await;
    let mut slow = Vec::new();
    for path in ["/v1/shelves/5:put", "/onebox/v1/tenants"] {
        let mut client = gateway.connect().await;
        client
            .send_raw(format!("POST {path} HTTP/1.1\r\nhost: test\r\nexpect: 100-continue\r\ncontent-length: 15\r\n\r\n").as_bytes())
            .await;
        // The gateway says so when it begins to read the body.
        assert!(client.answer().await.starts_with("100"));
        slow.push(client);
    }
    let client = gateway.grpc().await;
    let _begun = client.begin(get_shelf_by_grpc()).await;
    // On one connection, what came first is looked at first.
    let told = client.call("/shop.v1.Shop/GetShelf", &[], b"{}").await.to_string();
    assert!(told.contains("grpc-status: 0"), "{told}");
    assert!(gateway.ask("GET /v1/shelves/5").await.starts_with("200"));
    slow[0].send_raw(b"{\"item\": \"box\"}").await;
    assert!(slow[0].answer().await.starts_with("200"));
}
