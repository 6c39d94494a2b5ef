//! gRPC: calls, errors with their details, health and reflection.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use bytes::Bytes;
use expect_test::expect;
use onebox_gateway::{Answer, Consistency, GatewaySettings};
use onebox_service::{Code, Refusal};
use prost::Message;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::client::{gateway, gateway_with};
use crate::fake::{done, refused, shelf_full};

const PUT: &str = "/shop.v1.Shop/PutItem";
const GET: &str = "/shop.v1.Shop/GetShelf";

/// Writes out the google.rpc.Status of an error, decoded field by field without the gateway's own definitions.
pub(crate) fn details(base64: &str) -> String {
    let bytes = STANDARD_NO_PAD.decode(base64).or_else(|_| STANDARD.decode(base64)).expect("base64");
    let mut shown = String::new();
    for (number, value) in fields(&bytes) {
        match (number, value) {
            (1, Field::Number(code)) => shown.push_str(&format!("code {code}")),
            (2, Field::Bytes(message)) => shown.push_str(&format!(", {:?}", String::from_utf8_lossy(&message))),
            (3, Field::Bytes(any)) => {
                let any = prost_types::Any::decode(&any[..]).expect("an Any");
                shown.push_str(&format!("\n  {} {}", any.type_url, show(&any.value)));
            }
            (number, value) => panic!("field {number}: {value:?}"),
        }
    }
    shown
}

#[derive(Debug)]
enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

fn fields(mut bytes: &[u8]) -> Vec<(u32, Field)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let (number, wire) = prost::encoding::decode_key(&mut bytes).expect("a key");
        let value = prost::encoding::decode_varint(&mut bytes).expect("a number");
        fields.push((
            number,
            match wire {
                prost::encoding::WireType::Varint => Field::Number(value),
                prost::encoding::WireType::LengthDelimited => {
                    let (field, rest) = bytes.split_at(usize::try_from(value).expect("a length"));
                    bytes = rest;
                    Field::Bytes(field.to_vec())
                }
                other => panic!("wire type {other:?}"),
            },
        ));
    }
    fields
}

/// JSON as it is (the fake refusals), messages as nested lists of fields.
fn show(value: &[u8]) -> String {
    if value.starts_with(b"{") {
        return String::from_utf8_lossy(value).into_owned();
    }
    let shown: Vec<String> = fields(value)
        .into_iter()
        .map(|(number, field)| match field {
            Field::Number(value) => format!("{number}: {value}"),
            Field::Bytes(bytes) if bytes.iter().all(|byte| (0x20..0x7f).contains(byte)) => {
                format!("{number}: {:?}", String::from_utf8_lossy(&bytes))
            }
            Field::Bytes(bytes) => format!("{number}: ({})", show(&bytes)),
        })
        .collect();
    shown.join(", ")
}

#[tokio::test]
async fn a_write_and_its_answer() {
    let gateway = gateway().await;
    gateway.node.will(Answer { repeated: true, ..done("the response") });
    let metadata = [("idempotency-key", "k1"), ("onebox-tenant", "acme"), ("grpc-timeout", "700m")];
    gateway
        .grpc()
        .await
        .check(
            PUT,
            &metadata,
            b"the request",
            expect![[r#"
        header content-type: application/grpc
        header onebox-position: p-7
        header onebox-repeated: true
        header onebox-request-id: r-1
        trailer grpc-status: 0
        message the response
    "#]],
        )
        .await;
    expect![[r#"
        PutItem tenant=acme key=Some("k1") reads=Linearizable body=the request
    "#]]
    .assert_eq(&gateway.node.calls_shown());
    let deadline = gateway.node.deadlines()[0];
    assert!(deadline <= Duration::from_millis(700) && !deadline.is_zero(), "{deadline:?}");
}

#[tokio::test]
async fn a_read_waits_for_a_position() {
    let gateway = gateway().await;
    let told = gateway.grpc().await.call(GET, &[("onebox-at-least", "p-3"), ("grpc-timeout", "99999999H")], b"").await;
    assert_eq!(told.trailers["grpc-status"], "0");
    assert_eq!(gateway.node.calls()[0].consistency, Consistency::AtLeast("p-3".to_owned()));
    assert!(gateway.node.deadlines()[0] <= Duration::from_secs(60), "a deadline is bounded");
}

#[tokio::test]
async fn a_refusal_has_its_type_and_fields() {
    let gateway = gateway().await;
    gateway.node.will(shelf_full());
    gateway
        .grpc()
        .await
        .check(
            PUT,
            &[],
            b"",
            expect![[r#"
        header content-type: application/grpc
        header grpc-message: only%205%20left
        header grpc-status-details-bin: code 9, "only 5 left"
          type.googleapis.com/shop.v1.ShelfFull {"free":"5"}
        header grpc-status: 9
        header onebox-position: p-7
        header onebox-request-id: r-1
    "#]],
        )
        .await;
}

#[tokio::test]
async fn platform_errors_have_standard_details() {
    let gateway = gateway().await;
    let grpc = gateway.grpc().await;
    gateway.node.will(Answer { retry_after: Some(Duration::from_millis(1500)), ..refused(Code::ResourceExhausted, "the queue is full") });
    grpc.check(
        PUT,
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: the%20queue%20is%20full
        header grpc-status-details-bin: code 8, "the queue is full"
          type.googleapis.com/google.rpc.RetryInfo 1: (1: 1, 2: 500000000)
        header grpc-status: 8
        header onebox-position: p-7
        header onebox-request-id: r-1
    "#]],
    )
    .await;
    gateway.node.will(refused(Code::Unknown, "leadership was lost"));
    grpc.check(
        PUT,
        &[],
        b"",
        expect![[r#"
            header content-type: application/grpc
            header grpc-message: leadership%20was%20lost
            header grpc-status-details-bin: code 2, "leadership was lost"
              type.googleapis.com/google.rpc.RequestInfo 1: "r-1"
            header grpc-status: 2
            header onebox-position: p-7
            header onebox-request-id: r-1
        "#]],
    )
    .await;
    gateway.node.will(refused(Code::Aborted, "the key was used with another request: é"));
    grpc.check(
        PUT,
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: the%20key%20was%20used%20with%20another%20request:%20%C3%A9
        header grpc-status-details-bin: code 10, "the key was used with another request: é"
        header grpc-status: 10
        header onebox-position: p-7
        header onebox-request-id: r-1
    "#]],
    )
    .await;
    gateway.node.will(refused(Code::DeadlineExceeded, "the deadline passed"));
    grpc.check(
        PUT,
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: the%20deadline%20passed
        header grpc-status-details-bin: code 4, "the deadline passed"
        header grpc-status: 4
        header onebox-position: p-7
        header onebox-request-id: r-1
    "#]],
    )
    .await;
}

#[tokio::test]
async fn every_code_keeps_its_number() {
    let gateway = gateway().await;
    let grpc = gateway.grpc().await;
    for code in Code::ALL {
        gateway.node.will(refused(code, "no"));
        let told = grpc.call(GET, &[], b"").await;
        assert_eq!(told.headers["grpc-status"], (code as i32).to_string());
    }
}

#[tokio::test]
async fn bad_requests_are_explained() {
    let gateway = gateway().await;
    let grpc = gateway.grpc().await;
    grpc.check(
        PUT,
        &[],
        b"\xff",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: field%20item:%20it%20is%20not%20UTF-8
        header grpc-status-details-bin: code 3, "field item: it is not UTF-8"
          type.googleapis.com/google.rpc.BadRequest 1: (1: "item", 2: "field item: it is not UTF-8")
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-1
    "#]],
    )
    .await;
    grpc.check(
        PUT,
        &[("onebox-tenant", "ACME")],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: header%20Onebox-Tenant:%20a%20tenant's%20name%20has%201%20to%2064%20characters%20of%20a-z%200-9%20-%20_
        header grpc-status-details-bin: code 3, "header Onebox-Tenant: a tenant's name has 1 to 64 characters of a-z 0-9 - _"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-2
    "#]],
    )
    .await;
    grpc.check(
        PUT,
        &[("onebox-at-least", "p-1")],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: header%20Onebox-At-Least:%20it%20is%20for%20reads,%20and%20PutItem%20is%20none;%20leave%20it%20out
        header grpc-status-details-bin: code 3, "header Onebox-At-Least: it is for reads, and PutItem is none; leave it out"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-3
    "#]],
    )
    .await;
    grpc.check(PUT, &[("grpc-timeout", "5 s")], b"", expect![[r#"
        header content-type: application/grpc
        header grpc-message: header%20grpc-timeout:%20%225%20s%22%20is%20not%201%20to%208%20digits%20and%20a%20unit%20of%20H%20M%20S%20m%20u%20n
        header grpc-status-details-bin: code 3, "header grpc-timeout: \"5 s\" is not 1 to 8 digits and a unit of H M S m u n"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-4
    "#]]).await;
    grpc.check(
        PUT,
        &[("idempotency-key", "a"), ("idempotency-key", "b")],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: header%20Idempotency-Key:%20it%20is%20given%20twice;%20give%20it%20once
        header grpc-status-details-bin: code 3, "header Idempotency-Key: it is given twice; give it once"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-5
    "#]],
    )
    .await;
    grpc.check(
        "/shop.v1.Shop/Nothing",
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: there%20is%20no%20such%20method;%20this%20is%20shop.v1.Shop,%20and%20gRPC%20reflection%20lists%20its%20methods
        header grpc-status-details-bin: code 12, "there is no such method; this is shop.v1.Shop, and gRPC reflection lists its methods"
        header grpc-status: 12
        header onebox-position: p-now
        header onebox-request-id: local-6
    "#]],
    )
    .await;
    grpc.check(
        "/other.v1.Other/PutItem",
        &[],
        b"",
        expect![[r#"
        header content-type: application/grpc
        header grpc-message: there%20is%20no%20such%20method;%20this%20is%20shop.v1.Shop,%20and%20gRPC%20reflection%20lists%20its%20methods
        header grpc-status-details-bin: code 12, "there is no such method; this is shop.v1.Shop, and gRPC reflection lists its methods"
        header grpc-status: 12
        header onebox-position: p-now
        header onebox-request-id: local-7
    "#]],
    )
    .await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn a_deadline_of_nothing_never_reaches_the_node() {
    let gateway = gateway().await;
    gateway
        .grpc()
        .await
        .check(
            PUT,
            &[("grpc-timeout", "0n")],
            b"",
            expect![[r#"
        header content-type: application/grpc
        header grpc-message: the%20deadline%20passed%20before%20the%20request%20was%20carried%20out
        header grpc-status-details-bin: code 4, "the deadline passed before the request was carried out"
        header grpc-status: 4
        header onebox-position: p-now
        header onebox-request-id: local-1
    "#]],
        )
        .await;
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn broken_frames_are_explained() {
    let gateway = gateway_with(GatewaySettings { body_bytes_max: 16, ..GatewaySettings::default() }).await;
    let grpc = gateway.grpc().await;
    let mut told = String::new();
    for body in [&b""[..], b"\0\0\0\0\x05four", b"\0\0\0\0\x03four", b"\x01\0\0\0\x04four", b"\0\0\0\0\x11seventeen letters"] {
        told.push_str(&grpc.call_raw(PUT, &[], Bytes::copy_from_slice(body)).await.to_string());
    }
    expect![[r#"
        header content-type: application/grpc
        header grpc-message: the%20request%20holds%20no%20gRPC%20message
        header grpc-status-details-bin: code 3, "the request holds no gRPC message"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-1
        header content-type: application/grpc
        header grpc-message: the%20request%20holds%204%20bytes%20after%20a%20message%20prefix%20that%20says%205;%20it%20must%20hold%20one%20message
        header grpc-status-details-bin: code 3, "the request holds 4 bytes after a message prefix that says 5; it must hold one message"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-2
        header content-type: application/grpc
        header grpc-message: the%20request%20holds%204%20bytes%20after%20a%20message%20prefix%20that%20says%203;%20it%20must%20hold%20one%20message
        header grpc-status-details-bin: code 3, "the request holds 4 bytes after a message prefix that says 3; it must hold one message"
        header grpc-status: 3
        header onebox-position: p-now
        header onebox-request-id: local-3
        header content-type: application/grpc
        header grpc-message: compressed%20messages%20are%20not%20taken;%20send%20with%20grpc-encoding%20identity
        header grpc-status-details-bin: code 12, "compressed messages are not taken; send with grpc-encoding identity"
        header grpc-status: 12
        header onebox-position: p-now
        header onebox-request-id: local-4
        header content-type: application/grpc
        header grpc-message: the%20body%20is%20larger%20than%2021%20bytes;%20send%20it%20in%20several%20requests
        header grpc-status-details-bin: code 8, "the body is larger than 21 bytes; send it in several requests"
        header grpc-status: 8
        header onebox-position: p-now
        header onebox-request-id: local-5
    "#]].assert_eq(&told);
    assert!(gateway.node.calls().is_empty());
}

#[tokio::test]
async fn details_too_long_for_a_header_are_left_out() {
    let gateway = gateway().await;
    let refusal =
        Refusal { code: Code::FailedPrecondition, kind: "shop.v1.ShelfFull", message: "é".repeat(3000), detail: vec![b'{'; 9000] };
    gateway.node.will(Answer { outcome: Err(refusal), ..done("") });
    let told = gateway.grpc().await.call(PUT, &[], b"").await;
    let bytes: usize = told.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    assert!(bytes < 8 * 1024, "{bytes} bytes of headers");
    assert_eq!(told.headers["grpc-status"], "9");
}

#[tokio::test]
async fn health_follows_the_node() {
    let gateway = gateway().await;
    let grpc = gateway.grpc().await;
    let path = "/grpc.health.v1.Health/Check";
    let ask = |service: &str| HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    for (ready, status) in [(true, 1), (false, 2), (true, 1)] {
        gateway.node.set_health(ready, "because");
        for service in ["", "shop.v1.Shop"] {
            let told = grpc.call(path, &[], &ask(service)).await;
            assert_eq!(HealthCheckResponse::decode(&told.messages[0][..]).expect("an answer").status, status);
            assert!(told.headers.contains_key("onebox-request-id") && told.headers.contains_key("onebox-position"));
        }
    }
    let told = grpc.call(path, &[], &ask("other")).await;
    assert_eq!(told.headers["grpc-status"], "5");
}

#[tokio::test]
async fn reflection_lists_the_service() {
    let gateway = gateway().await;
    let grpc = gateway.grpc().await;
    let ask = ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let told = grpc.call(&path, &[], &ask.encode_to_vec()).await;
        // The two versions have the same messages under two names.
        let answer = ServerReflectionResponse::decode(&told.messages[0][..]).expect("an answer");
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else { panic!("{answer:?}") };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        assert_eq!(names, ["grpc.health.v1.Health", &format!("grpc.reflection.{version}.ServerReflection"), "shop.v1.Shop"]);
    }
}
