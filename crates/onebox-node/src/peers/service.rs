//! The connections that others dial to this node.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::codegen::{Service, tokio_stream};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use tokio_stream::{Stream, StreamExt};

use super::line::EXCHANGE;
use super::wire::{Ask, Batch, Hello, Packet, Question, Said};
use super::{CONNECT_TIME_MAX, Outbox, PING_INTERVAL, Peers, RECEIVED_BYTES_MAX, Responder, check};

/// Takes connections of other nodes until the runtime ends.
///
/// # Errors
/// A sentence.
pub(crate) async fn serve(listener: TcpListener, peers: Arc<Peers>) -> Result<(), String> {
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_INTERVAL))
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    if let Some(tls) = peers.security.server() {
        server = server.tls_config(tls).map_err(|error| format!("the files in peer_tls are of no use: {error}"))?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server.add_service(PeerService(peers)).serve_with_incoming(incoming).await.map_err(|error| error.to_string())
}

#[derive(Clone)]
struct PeerService(Arc<Peers>);

impl NamedService for PeerService {
    const NAME: &'static str = "onebox.peer.v1.Peers";
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl Service<http::Request<Body>> for PeerService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let exchange = Exchange(Arc::clone(&self.0));
        Box::pin(async move {
            if request.uri().path() != EXCHANGE {
                return Ok(Status::unimplemented("nodes offer Exchange here, and nothing else").into_http());
            }
            let codec: ProstCodec<Batch, Batch> = ProstCodec::default();
            let mut grpc = Grpc::new(codec).max_decoding_message_size(RECEIVED_BYTES_MAX);
            Ok(grpc.streaming(exchange, request).await)
        })
    }
}

struct Exchange(Arc<Peers>);

impl StreamingService<Batch> for Exchange {
    type Response = Batch;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Batch, Status>> + Send>>;
    type Future = Boxed<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Batch>>) -> Self::Future {
        Box::pin(accept(Arc::clone(&self.0), request.into_inner()))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Batch, Status>> + Send>>;

/// Greets whoever connects, or says why not.
async fn accept(peers: Arc<Peers>, mut heard: Streaming<Batch>) -> Result<Response<Answers>, Status> {
    let first = tokio::time::timeout(CONNECT_TIME_MAX, heard.message()).await;
    let batch = first.map_err(|_| Status::deadline_exceeded("no greeting"))??.unwrap_or_default();
    let mut packets = batch.packets.into_iter();
    let Some(Said::Hello(hello)) = packets.next().and_then(|packet| packet.said) else {
        return Err(Status::invalid_argument("whoever connects greets first"));
    };
    let is_peer = is_peer(&peers, &hello).inspect_err(|why| peers.turned_away(why.message()))?;
    let (outbox, batches) = Outbox::new();
    let greeted = outbox.put(Packet::of(Said::Hello(peers.hello())));
    greeted.map_err(|_| Status::resource_exhausted("there is no room for a greeting"))?;
    if is_peer {
        peers.learn(&hello);
        peers.is_there(hello.node);
    }
    let rest: Vec<Packet> = packets.collect();
    tokio::spawn(async move {
        rest.into_iter().for_each(|packet| hear(&peers, is_peer, &outbox, packet));
        while let Ok(Some(batch)) = heard.message().await {
            batch.packets.into_iter().for_each(|packet| hear(&peers, is_peer, &outbox, packet));
        }
    });
    Ok(Response::new(Box::pin(batches.map(Ok))))
}

/// Whether it is a node of this cluster. Else it is one that wants to join, or an operator: neither has a cluster.
fn is_peer(peers: &Peers, hello: &Hello) -> Result<bool, Status> {
    if hello.cluster.is_empty() {
        let stranger = Hello { cluster: peers.me.cluster.clone(), partitions: peers.me.partitions, ..hello.clone() };
        return check(&peers.me, &stranger).map(|()| false).map_err(Status::failed_precondition);
    }
    check(&peers.me, hello).map(|()| true).map_err(Status::failed_precondition)
}

fn hear(peers: &Arc<Peers>, is_peer: bool, outbox: &Outbox, packet: Packet) {
    match packet.said {
        Some(Said::Peer(said)) if is_peer => peers.ear.replica(said),
        Some(Said::Ask(ask)) if is_peer || is_an_operators(&ask) => {
            let responder = Responder { outbox: outbox.clone(), number: ask.number };
            peers.ear.ask(responder, ask);
        }
        Some(Said::Hello(hello)) if is_peer => peers.learn(&hello),
        // Answers come over the connection that the questions went over; what a newer node says may be anything.
        Some(Said::Peer(_) | Said::Ask(_) | Said::Hello(_) | Said::Answer(_)) | None => {}
    }
}

/// Whether it is something that an operator asks. Requests of callers come from nodes alone.
fn is_an_operators(ask: &Ask) -> bool {
    matches!(ask.question, Some(Question::Order(_) | Question::Status(())))
}
