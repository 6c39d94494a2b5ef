//! Stopping: no new connections, what is in flight finishes, idle connections close.

use onebox_gateway::GatewaySettings;
use tokio::net::TcpStream;

use crate::client::{gateway, gateway_with};

#[tokio::test]
async fn a_stop_lets_calls_in_flight_finish() {
    let gateway = gateway().await;
    let mut idle = gateway.connect().await;
    idle.send("GET /health/live").await;
    idle.answer().await;
    gateway.node.hold();
    let mut busy = gateway.connect().await;
    busy.send("POST /v1/shelves/5:put").await;
    gateway.node.arrival().await;
    gateway.stop.send(()).expect("it serves");
    assert!(idle.is_closed().await);
    assert!(TcpStream::connect(gateway.address).await.is_err());
    gateway.node.answer_one();
    assert!(busy.answer().await.starts_with("200"));
    assert!(busy.is_closed().await);
    gateway.served.await.expect("it ends well");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let gateway = gateway_with(GatewaySettings { drain_ms_max: 1, ..GatewaySettings::default() }).await;
    gateway.node.hold();
    let mut stuck = gateway.connect().await;
    stuck.send("POST /v1/shelves/5:put").await;
    gateway.node.arrival().await;
    gateway.stop.send(()).expect("it serves");
    gateway.served.await.expect("it ends well");
    assert!(stuck.is_closed().await);
}
