//! What is bounded is refused beyond its bound, and taken again when there is room.

use expect_test::expect;
use onebox_gateway::GatewaySettings;

use crate::client::gateway_with;

#[tokio::test]
async fn calls_in_flight() {
    let gateway = gateway_with(GatewaySettings { calls_in_flight_max: 1, ..GatewaySettings::default() }).await;
    gateway.node.hold();
    let mut first = gateway.connect().await;
    first.send("POST /v1/shelves/5:put").await;
    gateway.node.arrival().await;
    gateway.check("GET /v1/shelves/5", expect![[r#"
        429 Too Many Requests
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1
        retry-after: 1

        {"status":429,"title":"Too Many Requests","detail":"too many requests are in flight; nothing was done; try again later","code":"RESOURCE_EXHAUSTED"}
    "#]]).await;
    assert!(gateway.ask("GET /health/ready").await.starts_with("200"), "health must answer under load");
    gateway.node.answer_one();
    assert!(first.answer().await.starts_with("200"));
    gateway.node.answer_one();
    assert!(gateway.ask("GET /v1/shelves/5").await.starts_with("200"));
}

#[tokio::test]
async fn bytes_in_flight() {
    let settings = GatewaySettings { body_bytes_max: 40, bodies_in_flight_bytes_max: 40, ..GatewaySettings::default() };
    let gateway = gateway_with(settings).await;
    gateway.node.hold();
    let request = "POST /v1/shelves/5:put\n\n{\"item\": \"a little of this\"}";
    let mut first = gateway.connect().await;
    first.send(request).await;
    gateway.node.arrival().await;
    gateway.check(request, expect![[r#"
        429 Too Many Requests
        content-type: application/problem+json
        onebox-position: p-now
        onebox-request-id: local-1
        retry-after: 1

        {"status":429,"title":"Too Many Requests","detail":"too many bytes of requests are in flight; nothing was done; try again later","code":"RESOURCE_EXHAUSTED"}
    "#]]).await;
    gateway.node.answer_one();
    assert!(first.answer().await.starts_with("200"));
    gateway.node.answer_one();
    assert!(gateway.ask(request).await.starts_with("200"));
}

#[tokio::test]
async fn connections() {
    let gateway = gateway_with(GatewaySettings { connections_max: 1, ..GatewaySettings::default() }).await;
    let mut first = gateway.connect().await;
    first.send("GET /health/live").await;
    first.answer().await;
    let mut second = gateway.connect().await;
    expect![[r#"
        503 Service Unavailable
        connection: close
        retry-after: 1


    "#]]
    .assert_eq(&second.answer().await);
    assert!(second.is_closed().await);
    first.send("GET /health/live").await;
    assert!(first.answer().await.starts_with("200"));
}

#[test]
fn settings_that_cannot_work_together_are_refused() {
    let default = GatewaySettings::default();
    assert_eq!(default.check(), Ok(()));
    let check = |settings: GatewaySettings, expected: expect_test::Expect| expected.assert_eq(&settings.check().expect_err("refused"));
    check(GatewaySettings { calls_in_flight_max: 0, ..default.clone() }, expect!["calls_in_flight_max is 0; it must be at least 1"]);
    check(
        GatewaySettings { answers_in_flight_bytes_max: 0, ..default.clone() },
        expect!["answers_in_flight_bytes_max is 0; it must be at least 1"],
    );
    check(
        GatewaySettings { bodies_in_flight_bytes_max: 1000, ..default.clone() },
        expect!["bodies_in_flight_bytes_max (1000) is below body_bytes_max (1048576); no largest body could ever be taken"],
    );
    check(
        GatewaySettings { request_timeout_max_ms: 9_999, ..default.clone() },
        expect!["request_timeout_max_ms (9999) is below request_timeout_default_ms (10000)"],
    );
    check(
        GatewaySettings { body_bytes_max: 1 << 33, bodies_in_flight_bytes_max: 1 << 34, ..default },
        expect!["body_bytes_max (8589934592) is above 4294967295, the longest message that gRPC can carry"],
    );
}

#[test]
fn settings_are_read_from_toml() {
    let read: GatewaySettings = toml::from_str("calls_in_flight_max = 5").expect("settings");
    assert_eq!(read, GatewaySettings { calls_in_flight_max: 5, ..GatewaySettings::default() });
    assert!(toml::from_str::<GatewaySettings>("calls_in_fligth_max = 5").is_err(), "a misspelt setting must not pass");
}
