//! What a well formed HTTP request becomes, and what its answer looks like.

use std::time::Duration;

use expect_test::expect;
use onebox_gateway::Consistency;

use crate::client::gateway;
use crate::fake::{done, shelf_full};

#[tokio::test]
async fn a_write_and_its_answer() {
    let gateway = gateway().await;
    gateway.node.will(done(r#"{"item":"9"}"#));
    let request = "POST /v1/shelves/5:put\ncontent-type: application/json; charset=UTF-8\nidempotency-key: k 1\nonebox-tenant: acme-1_x\nonebox-timeout: 500ms\n\n{\"item\": \"GPU\"}";
    gateway
        .check(
            request,
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-7
        onebox-request-id: r-1

        {"item":"9"}
    "#]],
        )
        .await;
    expect![[r#"
        PutItem tenant=acme-1_x key=Some("k 1") reads=Linearizable body={"item":"GPU","shelf":"5"}
    "#]]
    .assert_eq(&gateway.node.calls_shown());
    let deadline = gateway.node.deadlines()[0];
    assert!(deadline <= Duration::from_millis(500) && !deadline.is_zero(), "{deadline:?}");
}

#[tokio::test]
async fn a_read_and_its_answer() {
    let gateway = gateway().await;
    gateway.node.will(done(r#"{"items":[]}"#));
    gateway
        .check(
            "GET /v1/shelves/a%2Fb%20c?item=x+y%2B\nonebox-at-least: p-3\nidempotency-key: harmless",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-7
        onebox-request-id: r-1

        {"items":[]}
    "#]],
        )
        .await;
    expect![[r#"
        GetShelf tenant=default key=None reads=AtLeast("p-3") body={"item":"x y+","shelf":"a/b c"}
    "#]]
    .assert_eq(&gateway.node.calls_shown());
    let deadline = gateway.node.deadlines()[0];
    assert!(deadline <= Duration::from_secs(10) && deadline > Duration::from_secs(5), "{deadline:?}");
}

#[tokio::test]
async fn an_answer_given_again_says_so() {
    let gateway = gateway().await;
    gateway.node.will(onebox_gateway::Answer { repeated: true, ..done("{}") });
    gateway
        .check(
            "POST /v1/shelves/5:put\nidempotency-key: k",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-7
        onebox-repeated: true
        onebox-request-id: r-1

        {}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_body_left_out_has_no_fields() {
    let gateway = gateway().await;
    gateway.ask("POST /v1/shelves/5:put").await;
    assert_eq!(gateway.node.calls()[0].body, br#"{"shelf":"5"}"#);
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    let head = "POST /v1/shelves/5:put HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send_raw(head.as_bytes()).await;
    connection.send_raw(b"3\r\n{\"i\r\n8\r\ntem\": \"x\r\n2\r\n\"}\r\n0\r\n\r\n").await;
    connection.answer().await;
    assert_eq!(gateway.node.calls()[0].body, br#"{"item":"x","shelf":"5"}"#);
}

#[tokio::test]
async fn requests_share_a_connection() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    gateway.node.will(done("{}"));
    gateway.node.will(shelf_full());
    gateway.node.will(done("{}"));
    for status in ["200", "400", "200"] {
        connection.send("POST /v1/shelves/5:put\n\n{}").await;
        let answer = connection.answer().await;
        assert!(answer.starts_with(status), "{answer}");
    }
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    connection.send_raw(b"HEAD /health/live HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").await;
    let mut raw = Vec::new();
    connection.read_to_end(&mut raw).await;
    let raw = String::from_utf8(raw).expect("ASCII");
    assert!(raw.starts_with("HTTP/1.1 200 OK\r\n"), "{raw}");
    assert!(raw.contains("content-length: 13\r\n"), "{raw}");
    assert!(raw.ends_with("\r\n\r\n"), "{raw}");
}

#[tokio::test]
async fn json_comes_over_http2_too() {
    let gateway = gateway().await;
    let http2 = gateway.grpc().await;
    gateway.node.will(done(r#"{"item":"9"}"#));
    http2
        .check_json(
            "POST",
            "/v1/shelves/5:put",
            b"{}",
            expect![[r#"
        header content-type: application/json
        header onebox-position: p-7
        header onebox-request-id: r-1
        message {"item":"9"}
    "#]],
        )
        .await;
    http2.check_json("GET", "/v1/shelves/5?colour=red", b"", expect![[r#"
        header content-type: application/problem+json
        header onebox-position: p-now
        header onebox-request-id: local-1
        message {"status":400,"title":"Bad Request","detail":"line 1, column 2: field colour: there is no such field","code":"INVALID_ARGUMENT","field":"colour","line":1,"column":2}
    "#]]).await;
    http2.check_json("POST", "/v1/shelves/5:put", &[b' '; 1024 * 1024 + 1], expect![[r#"
        header content-type: application/problem+json
        header onebox-position: p-now
        header onebox-request-id: local-2
        message {"status":413,"title":"Payload Too Large","detail":"the body is larger than 1048576 bytes; send it in several requests","code":"RESOURCE_EXHAUSTED"}
    "#]]).await;
}

#[tokio::test]
async fn what_a_read_must_see() {
    let gateway = gateway().await;
    let refused = |words: &str| format!("header Onebox-Read: {words}");
    let asked = [
        ("", Ok(Consistency::Linearizable)),
        ("\nonebox-read: linearizable", Ok(Consistency::Linearizable)),
        ("\nonebox-read: stale", Ok(Consistency::Stale)),
        ("\nonebox-read: at-least p-3", Ok(Consistency::AtLeast("p-3".to_owned()))),
        ("\nonebox-at-least: p-4", Ok(Consistency::AtLeast("p-4".to_owned()))),
        ("\nonebox-read: fresh", Err(refused("\\\"fresh\\\" is not linearizable, stale, or at-least and an Onebox-Position"))),
        ("\nonebox-read: at-least", Err(refused("\\\"at-least\\\" is not linearizable"))),
        ("\nonebox-read: stale\nonebox-read: stale", Err(refused("it is given twice"))),
        ("\nonebox-read: stale\nonebox-at-least: p-4", Err("it says the same as Onebox-Read: at-least; give one of the two".to_owned())),
    ];
    for (headers, expected) in asked {
        let before = gateway.node.calls().len();
        gateway.node.will(done(r#"{"items":[]}"#));
        let told = gateway.ask(&format!("GET /v1/shelves/5?item=x{headers}")).await;
        match expected {
            Ok(consistency) => assert_eq!(gateway.node.calls()[before].consistency.clone(), consistency, "{headers}"),
            Err(words) => assert!(told.contains("400 Bad Request") && told.contains(&words), "{headers}: {told}"),
        }
    }
}
