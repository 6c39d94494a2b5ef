//! Every error that HTTP/JSON can meet, as its caller sees it.

use std::time::Duration;

use expect_test::expect;
use onebox_gateway::{Answer, GatewaySettings};
use onebox_service::Code;

use crate::client::{gateway, gateway_with};
use crate::fake::{done, refused, shelf_full};

#[tokio::test]
async fn malformed_json_is_placed_by_line_and_column() {
    let gateway = gateway().await;
    gateway.check("POST /v1/shelves/5:put\n\n{\"item\":\n  oops}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"line 2, column 3: not a JSON object: expected value at line 2 column 3","code":"INVALID_ARGUMENT","line":2,"column":3}
    "#]]).await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn an_unknown_field_is_named() {
    gateway().await.check("POST /v1/shelves/5:put\n\n{\"colour\": 1}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"line 1, column 2: field colour: there is no such field","code":"INVALID_ARGUMENT","field":"colour","line":1,"column":2}
    "#]]).await;
}

#[tokio::test]
async fn a_wrong_type_is_named() {
    gateway().await.check("POST /v1/shelves/5:put\n\n{\"count\": \"many\"}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"line 1, column 2: field count: it must be a number","code":"INVALID_ARGUMENT","field":"count","line":1,"column":2}
    "#]]).await;
}

#[tokio::test]
async fn unknown_query_parameters_are_named() {
    let gateway = gateway().await;
    gateway.check("GET /v1/shelves/5?colour=red", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"line 1, column 2: field colour: there is no such field","code":"INVALID_ARGUMENT","field":"colour","line":1,"column":2}
    "#]]).await;
    gateway
        .check(
            "GET /v1/shelves/5?shelf=6",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-2

        {"status":400,"title":"Bad Request","detail":"query parameter shelf: it is already given in the path","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
    gateway.check("POST /v1/shelves/5:put?item=x", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-3

        {"status":400,"title":"Bad Request","detail":"query parameter item: this route takes its fields in the body","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway
        .check(
            "GET /v1/shelves/5?item=%zz",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-4

        {"status":400,"title":"Bad Request","detail":"query parameter item=%zz: it is not percent-encoded UTF-8","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn a_body_where_none_belongs_is_refused() {
    gateway().await.check("GET /v1/shelves/5\n\n{}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"GET /v1/shelves/{shelf} takes no body; give its fields as query parameters","code":"INVALID_ARGUMENT"}
    "#]]).await;
}

#[tokio::test]
async fn unknown_paths_name_the_closest() {
    let gateway = gateway().await;
    gateway.check("GET /v1/shelfs/5", expect![[r#"
        404 Not Found
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":404,"title":"Not Found","detail":"nothing is at this path; closest is GET /v1/shelves/{shelf}; GET / lists every route","code":"NOT_FOUND"}
    "#]]).await;
    gateway.check("POST /shop.v1.Shop/PutItem", expect![[r#"
        404 Not Found
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-2

        {"status":404,"title":"Not Found","detail":"nothing is at this path; that is a gRPC path: call it over HTTP/2 with content-type application/grpc","code":"NOT_FOUND"}
    "#]]).await;
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    gateway()
        .await
        .check(
            "DELETE /v1/shelves/5:put",
            expect![[r#"
        405 Method Not Allowed
        allow: POST
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":405,"title":"Method Not Allowed","detail":"/v1/shelves/5:put does not take DELETE; it takes POST","code":"UNIMPLEMENTED"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_wrong_media_type_is_told_which_is_right() {
    let gateway = gateway().await;
    gateway.check("POST /v1/shelves/5:put\ncontent-type: application/x-www-form-urlencoded\n\nitem=x", expect![[r#"
        415 Unsupported Media Type
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":415,"title":"Unsupported Media Type","detail":"content-type application/x-www-form-urlencoded is not taken; send application/json, in UTF-8","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("POST /v1/shelves/5:put\ncontent-type: application/json; charset=latin1\n\n{}", expect![[r#"
        415 Unsupported Media Type
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-2

        {"status":415,"title":"Unsupported Media Type","detail":"content-type application/json; charset=latin1 is not taken; send application/json, in UTF-8","code":"INVALID_ARGUMENT"}
    "#]]).await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_sent() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    connection.send("POST /v1/shelves/5:put\ncontent-length: 1048577").await;
    expect![[r#"
        413 Payload Too Large
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":413,"title":"Payload Too Large","detail":"the body is larger than 1048576 bytes; send it in several requests","code":"RESOURCE_EXHAUSTED"}
    "#]].assert_eq(&connection.answer().await);
}

#[tokio::test]
async fn a_body_over_the_limit_of_unknown_length_is_refused_and_the_connection_lives() {
    let gateway = gateway_with(GatewaySettings { body_bytes_max: 10, ..GatewaySettings::default() }).await;
    let mut connection = gateway.connect().await;
    let head = "POST /v1/shelves/5:put HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.send_raw(head.as_bytes()).await;
    connection.send_raw(b"b\r\n{\"item\": 55\r\n").await;
    expect![[r#"
        413 Payload Too Large
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":413,"title":"Payload Too Large","detail":"the body is larger than 10 bytes; send it in several requests","code":"RESOURCE_EXHAUSTED"}
    "#]].assert_eq(&connection.answer().await);
    connection.send_raw(b"1\r\n}\r\n0\r\n\r\n").await;
    connection.send("GET /v1/shelves/5").await;
    assert!(connection.answer().await.starts_with("200"));
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_large_body_first_sees_why_it_was_refused() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    let body = "x".repeat(8 * 1024 * 1024);
    connection.send(&format!("POST /v1/shelves/5:put\n\n{body}")).await;
    assert!(connection.answer().await.starts_with("413"));
}

#[tokio::test]
async fn bad_headers_are_named() {
    let gateway = gateway().await;
    let long = "k".repeat(129);
    gateway.check(&format!("POST /v1/shelves/5:put\nidempotency-key: {long}"), expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"header Idempotency-Key: it has 129 characters; a key has 1 to 128","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("POST /v1/shelves/5:put\nidempotency-key:", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-2

        {"status":400,"title":"Bad Request","detail":"header Idempotency-Key: it has 0 characters; a key has 1 to 128","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway
        .check(
            "POST /v1/shelves/5:put\nidempotency-key: \u{e9}",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-3

        {"status":400,"title":"Bad Request","detail":"header Idempotency-Key: it may hold printable ASCII only","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
    gateway
        .check(
            "POST /v1/shelves/5:put\nidempotency-key: a\nidempotency-key: a",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-4

        {"status":400,"title":"Bad Request","detail":"header Idempotency-Key: it is given twice; give it once","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
    gateway.check("POST /v1/shelves/5:put\nonebox-tenant: ACME", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-5

        {"status":400,"title":"Bad Request","detail":"header Onebox-Tenant: a tenant's name has 1 to 64 characters of a-z 0-9 - _","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("POST /v1/shelves/5:put\nonebox-at-least: p-1", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-6

        {"status":400,"title":"Bad Request","detail":"header Onebox-At-Least: it is for reads, and PutItem is none; leave it out","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("GET /v1/shelves/5\nonebox-timeout: 2m", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-7

        {"status":400,"title":"Bad Request","detail":"header Onebox-Timeout: \"2m\" is not a time like 500ms or 2s, of at least 1ms and at most 60000ms","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("GET /v1/shelves/5\nonebox-timeout: 61s", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-8

        {"status":400,"title":"Bad Request","detail":"header Onebox-Timeout: \"61s\" is not a time like 500ms or 2s, of at least 1ms and at most 60000ms","code":"INVALID_ARGUMENT"}
    "#]]).await;
    gateway.check("GET /v1/shelves/5\nonebox-timeout: 0s", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-9

        {"status":400,"title":"Bad Request","detail":"header Onebox-Timeout: \"0s\" is not a time like 500ms or 2s, of at least 1ms and at most 60000ms","code":"INVALID_ARGUMENT"}
    "#]]).await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn a_bad_token_is_the_nodes_to_refuse() {
    let gateway = gateway().await;
    gateway.node.will(refused(Code::InvalidArgument, "header Onebox-At-Least: it is no position of this service"));
    gateway
        .check(
            "GET /v1/shelves/5\nonebox-at-least: nonsense",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":400,"title":"Bad Request","detail":"header Onebox-At-Least: it is no position of this service","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn overload_says_when_to_try_again() {
    let gateway = gateway().await;
    let answer = refused(Code::ResourceExhausted, "the queue is full");
    gateway.node.will(Answer { retry_after: Some(Duration::from_millis(1500)), ..answer });
    gateway
        .check(
            "POST /v1/shelves/5:put",
            expect![[r#"
        429 Too Many Requests
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1
        retry-after: 2

        {"status":429,"title":"Too Many Requests","detail":"the queue is full","code":"RESOURCE_EXHAUSTED"}
    "#]],
        )
        .await;
    gateway.node.will(refused(Code::Unavailable, "starting"));
    gateway
        .check(
            "POST /v1/shelves/5:put",
            expect![[r#"
        503 Service Unavailable
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1
        retry-after: 1

        {"status":503,"title":"Service Unavailable","detail":"starting","code":"UNAVAILABLE"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_budget_used_up_does_not_say_when_to_try_again() {
    let gateway = gateway().await;
    gateway.node.will(refused(Code::ResourceExhausted, "the request needs more than 100 rows read"));
    gateway
        .check(
            "GET /v1/shelves/5",
            expect![[r#"
        429 Too Many Requests
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":429,"title":"Too Many Requests","detail":"the request needs more than 100 rows read","code":"RESOURCE_EXHAUSTED"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_deadline_that_passed() {
    let gateway = gateway().await;
    gateway.node.will(refused(Code::DeadlineExceeded, "the deadline passed"));
    gateway
        .check(
            "POST /v1/shelves/5:put",
            expect![[r#"
        504 Gateway Timeout
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":504,"title":"Gateway Timeout","detail":"the deadline passed","code":"DEADLINE_EXCEEDED"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time() {
    let gateway = gateway().await;
    let mut connection = gateway.connect().await;
    connection.send("POST /v1/shelves/5:put\nonebox-timeout: 1ms\ncontent-length: 5").await;
    expect![[r#"
        504 Gateway Timeout
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":504,"title":"Gateway Timeout","detail":"the body did not arrive before the request's deadline","code":"DEADLINE_EXCEEDED"}
    "#]]
    .assert_eq(&connection.answer().await);
}

#[tokio::test]
async fn a_key_reused_with_another_request() {
    let gateway = gateway().await;
    gateway.node.will(refused(Code::Aborted, "the key was used with another request"));
    gateway
        .check(
            "POST /v1/shelves/5:put\nidempotency-key: k",
            expect![[r#"
        409 Conflict
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":409,"title":"Conflict","detail":"the key was used with another request","code":"ABORTED"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn an_unknown_outcome_has_the_id_to_ask_with() {
    let gateway = gateway().await;
    gateway.node.will(refused(Code::Unknown, "leadership was lost"));
    gateway
        .check(
            "POST /v1/shelves/5:put",
            expect![[r#"
        503 Service Unavailable
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":503,"title":"Outcome Unknown","detail":"leadership was lost","code":"UNKNOWN","requestId":"r-1"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_refusal_has_its_type_and_fields() {
    let gateway = gateway().await;
    gateway.node.will(shelf_full());
    gateway.check("POST /v1/shelves/5:put", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":400,"title":"Bad Request","detail":"only 5 left","code":"FAILED_PRECONDITION","refusal":{"type":"shop.v1.ShelfFull","free":"5"}}
    "#]]).await;
}

#[tokio::test]
async fn a_response_that_does_not_read_is_internal() {
    let gateway = gateway().await;
    gateway.node.will(done("nonsense"));
    gateway.check("GET /v1/shelves/5", expect![[r#"
        500 Internal Server Error
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":500,"title":"Internal Server Error","detail":"the response of GetShelf does not read as one: the bytes are not what they should be","code":"INTERNAL"}
    "#]]).await;
}

#[tokio::test]
async fn every_code_has_its_status() {
    let gateway = gateway().await;
    let mut table = String::new();
    for code in Code::ALL {
        gateway.node.will(refused(code, "no"));
        let answer = gateway.ask("GET /v1/shelves/5").await;
        table.push_str(&format!("{} {}\n", code.name(), answer.lines().next().expect("a status")));
    }
    expect![[r#"
        UNKNOWN 503 Service Unavailable
        INVALID_ARGUMENT 400 Bad Request
        DEADLINE_EXCEEDED 504 Gateway Timeout
        NOT_FOUND 404 Not Found
        ALREADY_EXISTS 409 Conflict
        PERMISSION_DENIED 403 Forbidden
        RESOURCE_EXHAUSTED 429 Too Many Requests
        FAILED_PRECONDITION 400 Bad Request
        ABORTED 409 Conflict
        OUT_OF_RANGE 400 Bad Request
        UNIMPLEMENTED 501 Not Implemented
        INTERNAL 500 Internal Server Error
        UNAVAILABLE 503 Service Unavailable
        DATA_LOSS 500 Internal Server Error
        UNAUTHENTICATED 401 Unauthorized
    "#]]
    .assert_eq(&table);
}
