//! The platform's own routes.

use expect_test::expect;
use onebox_gateway::RequestOutcome;
use onebox_service::{Code, MethodId, Refusal};

use crate::client::gateway;
use crate::fake::{done, refused};

#[tokio::test]
async fn the_index_lists_methods_and_routes() {
    gateway()
        .await
        .check(
            "GET /",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-1

        {
          "service": "shop.v1.Shop",
          "methods": [
            {
              "name": "PutItem",
              "readOnly": false,
              "routes": [
                "POST /v1/shelves/{shelf}:put"
              ],
              "grpc": "/shop.v1.Shop/PutItem"
            },
            {
              "name": "GetShelf",
              "readOnly": true,
              "routes": [
                "GET /v1/shelves/{shelf}"
              ],
              "grpc": "/shop.v1.Shop/GetShelf"
            }
          ],
          "platform": [
            "GET /",
            "GET /health/live",
            "GET /health/ready",
            "POST /onebox/v1/tenants",
            "GET /onebox/v1/requests/{id}"
          ],
          "grpc": [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"
          ]
        }

    "#]],
        )
        .await;
}

#[tokio::test]
async fn live_and_ready() {
    let gateway = gateway().await;
    gateway
        .check(
            "GET /health/live",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-1

        {"live":true}
    "#]],
        )
        .await;
    gateway
        .check(
            "GET /health/ready?probe=1",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-2

        {"ready":true,"reason":"serving"}
    "#]],
        )
        .await;
    gateway.node.set_health(false, "recovering: replayed 12 of \"80\" entries");
    gateway
        .check(
            "GET /health/ready",
            expect![[r#"
        503 Service Unavailable
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-3

        {"ready":false,"reason":"recovering: replayed 12 of \"80\" entries"}
    "#]],
        )
        .await;
    assert!(gateway.ask("GET /health/live").await.starts_with("200"));
}

#[tokio::test]
async fn a_tenant_is_created() {
    let gateway = gateway().await;
    gateway.node.will(done(""));
    gateway
        .check(
            "POST /onebox/v1/tenants\ncontent-type: application/json\n\n{\"name\": \"acme\"}",
            expect![[r#"
        201 Created
        content-type: application/json
        onebox-position: p-7
        onebox-request-id: r-1

        {"name":"acme"}
    "#]],
        )
        .await;
    gateway.node.will(done(""));
    gateway
        .check(
            "POST /onebox/v1/tenants\n\n{\"name\": \"acme-in-3\", \"partition\": 3}",
            expect![[r#"
        201 Created
        content-type: application/json
        onebox-position: p-7
        onebox-request-id: r-1

        {"name":"acme-in-3"}
    "#]],
        )
        .await;
    gateway.node.will(refused(Code::AlreadyExists, "tenant acme exists"));
    gateway
        .check(
            "POST /onebox/v1/tenants\n\n{\"name\": \"acme\"}",
            expect![[r#"
        409 Conflict
        content-type: application/problem+json
        onebox-position: p-7
        onebox-request-id: r-1

        {"status":409,"title":"Conflict","detail":"tenant acme exists","code":"ALREADY_EXISTS"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_bad_tenant_is_refused_with_reasons() {
    let gateway = gateway().await;
    gateway.check("POST /onebox/v1/tenants\n\n{\"name\": \"A b\"}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1

        {"status":400,"title":"Bad Request","detail":"field name: a tenant's name has 1 to 64 characters of a-z 0-9 - _","code":"INVALID_ARGUMENT","field":"name"}
    "#]]).await;
    gateway.check("POST /onebox/v1/tenants\n\n{\"nmae\": \"acme\"}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-2

        {"status":400,"title":"Bad Request","detail":"field nmae: there is no such field; a new tenant has a name, and may have a partition","code":"INVALID_ARGUMENT","field":"nmae"}
    "#]]).await;
    gateway.check("POST /onebox/v1/tenants\n\n{\"name\": \"acme\", \"partition\": -1}", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-3

        {"status":400,"title":"Bad Request","detail":"field partition: it must be the number of a partition, counted from 0","code":"INVALID_ARGUMENT","field":"partition"}
    "#]]).await;
    gateway
        .check(
            "POST /onebox/v1/tenants\n\n{\"name\": 5}",
            expect![[r#"
                400 Bad Request
                content-type: application/problem+json
                onebox-position: p-now
                onebox-request-id: local-4

                {"status":400,"title":"Bad Request","detail":"field name: it must be a string","code":"INVALID_ARGUMENT","field":"name"}
            "#]],
        )
        .await;
    gateway.check("POST /onebox/v1/tenants\n\n{", expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-5

        {"status":400,"title":"Bad Request","detail":"line 1, column 1: not JSON: EOF while parsing an object","code":"INVALID_ARGUMENT","line":1,"column":1}
    "#]]).await;
    gateway
        .check(
            "POST /onebox/v1/tenants",
            expect![[r#"
                400 Bad Request
                content-type: application/problem+json
                onebox-position: p-now
                onebox-request-id: local-6

                {"status":400,"title":"Bad Request","detail":"field name: it is missing","code":"INVALID_ARGUMENT","field":"name"}
            "#]],
        )
        .await;
    gateway
        .check(
            "POST /onebox/v1/tenants?name=acme",
            expect![[r#"
                400 Bad Request
                content-type: application/problem+json
                onebox-position: p-now
                onebox-request-id: local-7

                {"status":400,"title":"Bad Request","detail":"query parameter name: /onebox/v1/tenants takes none","code":"INVALID_ARGUMENT"}
            "#]],
        )
        .await;
}

#[tokio::test]
async fn what_became_of_a_request() {
    let gateway = gateway().await;
    let response = br#"{"item":"9"}"#.to_vec();
    gateway.node.will_tell(Ok(RequestOutcome::TookEffect { method: Some(MethodId(0)), response }));
    gateway
        .check(
            "GET /onebox/v1/requests/r-1",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-1

        {"requestId":"r-1","outcome":"TOOK_EFFECT","method":"PutItem","response":{"item":"9"}}
    "#]],
        )
        .await;
    for outcome in [RequestOutcome::NoEffect, RequestOutcome::Pending, RequestOutcome::Forgotten] {
        let word = format!("{outcome:?}").to_lowercase();
        gateway.node.will_tell(Ok(outcome));
        let answer = gateway.ask("GET /onebox/v1/requests/r-1").await.to_lowercase().replace('_', "");
        assert!(answer.contains(&word), "{answer}");
    }
    gateway.node.will_tell(Err(Refusal::platform(Code::InvalidArgument, "r! is no request id")));
    gateway
        .check(
            "GET /onebox/v1/requests/r!",
            expect![[r#"
        400 Bad Request
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-5

        {"status":400,"title":"Bad Request","detail":"r! is no request id","code":"INVALID_ARGUMENT"}
    "#]],
        )
        .await;
}

#[tokio::test]
async fn a_request_that_never_reached_the_node_had_no_effect() {
    let gateway = gateway().await;
    let refused = gateway.ask("POST /v1/shelves/5:put\n\n{").await;
    assert!(refused.contains("onebox-request-id: local-1\n"), "{refused}");
    gateway
        .check(
            "GET /onebox/v1/requests/local-1",
            expect![[r#"
        200 OK
        content-type: application/json
        onebox-position: p-now
        onebox-request-id: local-2

        {"requestId":"local-1","outcome":"NO_EFFECT"}
    "#]],
        )
        .await;
}
