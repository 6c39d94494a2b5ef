//! Specs that others send: over HTTP and gRPC where the node takes them, nowhere else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use expect_test::expect;
use onebox_gateway::{GatewaySettings, SpecAnswers, SpecAsk, SpecForm};
use onebox_service::BadRequest;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::client::{Gateway, gateway, gateway_over};
use crate::fake::Node;

/// Says what it was asked.
struct Echo;

impl SpecAnswers for Echo {
    fn answer(&self, ask: SpecAsk, form: SpecForm, body: &[u8]) -> Result<Vec<u8>, BadRequest> {
        let body = String::from_utf8_lossy(body);
        match &*body {
            "bad" | "\"bad\"" => {
                Err(BadRequest { problem: "it makes no sense".to_owned(), field: "given[0]".to_owned(), at: Some((1, 2)) })
            }
            "\"panic\"" => panic!("a bug of the platform"),
            _ => Ok(format!("{ask:?} {form:?} {body}").into_bytes()),
        }
    }

    fn descriptors(&self) -> &'static [u8] {
        &[]
    }
}

async fn taking() -> Gateway {
    gateway_over(Node::new(Some(Arc::new(Echo))), GatewaySettings::default()).await
}

const RUN: &str = "/onebox.spec.v1.SpecService/Run";

#[tokio::test]
async fn over_http() {
    let gateway = taking().await;
    let answered = |asked: &str, body: &str| format!("POST {asked}\ncontent-type: application/json\n\n{body}");
    gateway
        .check(
            "GET /onebox/v1/specs",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-1

        About Json {}
    "#]],
        )
        .await;
    gateway
        .check(
            &answered("/onebox/v1/specs:run", "{}"),
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-2

        Run Json {}
    "#]],
        )
        .await;
    gateway.check(&answered("/onebox/v1/specs:run", "\"bad\""), expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-3

        {"status":400,"title":"Bad Request","detail":"line 1, column 2: field given[0]: it makes no sense","code":"INVALID_ARGUMENT","field":"given[0]","line":1,"column":2}
    "#]]).await;
    gateway
        .check(
            &answered("/onebox/v1/specs:run?x=1", "{}"),
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-4

        {"status":400,"title":"Bad Request","detail":"query parameter x: /onebox/v1/specs:run takes none","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
    gateway
        .check(
            &answered("/onebox/v1/specs:run", "\"panic\""),
            expect![[r#"
        500 Internal Server Error
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-5

        {"status":500,"title":"Internal Server Error","detail":"running the spec failed, which is a bug of the platform","code":"INTERNAL"}
    "#]],
        )
        .await;
    assert!(gateway.ask("GET /").await.contains("POST /onebox/v1/specs:run"));
    assert!(gateway.node.calls().is_empty(), "nothing of it reaches the node");
}

#[tokio::test]
async fn over_grpc() {
    let gateway = taking().await;
    let grpc = gateway.grpc().await;
    grpc.check(
        RUN,
        &[],
        b"a spec",
        expect![[r#"
        header content-type: application/grpc
        header onebox-position: p-now
        header onebox-request-id: local-1
        trailer grpc-status: 0
        message Run Binary a spec
    "#]],
    )
    .await;
    grpc.check(
        "/onebox.spec.v1.SpecService/About",
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header onebox-position: p-now
        header onebox-request-id: local-2
        trailer grpc-status: 0
        message About Binary 
    "#]],
    )
    .await;
    grpc.check(
        RUN,
        &[],
        b"bad",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: line%201,%20column%202:%20field%20given[0]:%20it%20makes%20no%20sense
        header grpc-status-details-bin: code 3, "line 1, column 2: field given[0]: it makes no sense"
          type.googleapis.com/google.rpc.BadRequest 1: (1: "given[0]", 2: "line 1, column 2: field given[0]: it makes no sense")
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-3
    "#]],
    )
    .await;
    grpc.check(
        "/onebox.spec.v1.SpecService/Walk",
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: there%20is%20no%20such%20method;%20this%20is%20shop.v1.Shop,%20and%20gRPC%20reflection%20lists%20its%20methods
        header grpc-status-details-bin: code 12, "there is no such method; this is shop.v1.Shop, and gRPC reflection lists its methods"
        header grpc-status: 12
        header onebox-position: p-now
        header onebox-request-id: local-4
    "#]],
    )
    .await;
}

/// Does not end before it may.
struct Slow {
    running: AtomicUsize,
    may_end: Semaphore,
}

impl SpecAnswers for Slow {
    fn answer(&self, _: SpecAsk, _: SpecForm, _: &[u8]) -> Result<Vec<u8>, BadRequest> {
        self.running.fetch_add(1, Ordering::Relaxed);
        drop(Handle::current().block_on(self.may_end.acquire()));
        Ok(b"{}".to_vec())
    }

    fn descriptors(&self) -> &'static [u8] {
        &[]
    }
}

#[tokio::test]
async fn a_few_at_a_time_in_a_room_of_their_own() {
    const SPECS_RUNNING_MAX: usize = 8;
    let slow = Arc::new(Slow { running: AtomicUsize::new(0), may_end: Semaphore::new(0) });
    let gateway = gateway_over(Node::new(Some(slow.clone())), GatewaySettings::default()).await;
    let mut asked = Vec::new();
    for _ in 0..SPECS_RUNNING_MAX {
        let mut connection = gateway.connect().await;
        connection.send("POST /onebox/v1/specs:run").await;
        asked.push(connection);
    }
    while slow.running.load(Ordering::Relaxed) < SPECS_RUNNING_MAX {
        tokio::task::yield_now().await;
    }
    assert!(gateway.ask("POST /onebox/v1/specs:run").await.starts_with("429"));
    assert!(gateway.ask("GET /v1/shelves/1").await.starts_with("200"), "a request has a place all the same");
    slow.may_end.add_permits(SPECS_RUNNING_MAX);
    for mut connection in asked {
        assert!(connection.answer().await.starts_with("200"));
    }
    slow.may_end.add_permits(1);
    assert!(gateway.ask("POST /onebox/v1/specs:run").await.starts_with("200"), "the places are free again");
}

#[tokio::test]
async fn nowhere_else() {
    let gateway = gateway().await;
    assert!(gateway.ask("POST /onebox/v1/specs:run").await.starts_with("404"));
    assert!(gateway.ask("GET /onebox/v1/specs").await.starts_with("404"));
    assert!(!gateway.ask("GET /").await.contains("specs"));
    gateway
        .grpc()
        .await
        .check(
            RUN,
            &[],
            b"a spec",
            expect![[r#"
        header content-type: application/grpc
        header grpc-message: there%20is%20no%20such%20method;%20this%20is%20shop.v1.Shop,%20and%20gRPC%20reflection%20lists%20its%20methods
        header grpc-status-details-bin: code 12, "there is no such method; this is shop.v1.Shop, and gRPC reflection lists its methods"
        header grpc-status: 12
        header onebox-position: p-now
        header onebox-request-id: local-4
    "#]],
        )
        .await;
}
