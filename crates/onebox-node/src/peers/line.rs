//! The connection that this node dials to another: made, kept, made again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::{Notify, mpsc};
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use super::tls::Security;
use super::wire::{Ask, Batch, Hello, Packet, Said, Told};
use super::{BATCH_BYTES_MAX, CONNECT_TIME_MAX, DIAL_AGAIN, Outbox, PING_INTERVAL, Peers, RECEIVED_BYTES_MAX, check, lock};

/// The one method.
pub(crate) const EXCHANGE: &str = "/onebox.peer.v1.Peers/Exchange";

/// Packets, as batches for one connection.
#[derive(Debug)]
pub(crate) struct Batches {
    packets: mpsc::Receiver<Packet>,
    bytes: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

impl Batches {
    pub(crate) fn new(packets: mpsc::Receiver<Packet>, bytes: Arc<AtomicUsize>, broken: Arc<AtomicBool>) -> Batches {
        Batches { packets, bytes, broken }
    }
}

impl Stream for Batches {
    type Item = Batch;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Batch>> {
        if self.broken.load(Ordering::Relaxed) {
            return Poll::Ready(None);
        }
        let mut batch = Batch::default();
        let mut bytes = 0;
        while bytes < BATCH_BYTES_MAX {
            match self.packets.poll_recv(context) {
                Poll::Ready(Some(packet)) => {
                    bytes += packet.encoded_len();
                    batch.packets.push(packet);
                }
                Poll::Ready(None) if batch.packets.is_empty() => return Poll::Ready(None),
                Poll::Pending if batch.packets.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Poll::Ready(Some(batch))
    }
}

/// Keeps a connection with a node, for as long as it is known.
pub(crate) async fn dial(peers: Arc<Peers>, node: u64, there: Arc<Notify>) {
    let mut wait = DIAL_AGAIN.0;
    let mut told = String::new();
    while let Some(address) = peers.address(node) {
        match exchange(&peers, node, &address, &there).await {
            Ok(()) => {
                wait = DIAL_AGAIN.0;
                told.clear();
            }
            // The same reason again and again is told once.
            Err(why) if why != told => {
                tracing::warn!(node = format!("{node:x}"), address, why, "cannot talk to a node; trying again");
                told = why;
            }
            Err(_) => {}
        }
        let known = pause(jittered(wait), &there).await;
        wait = if known { DIAL_AGAIN.0 } else { (2 * wait).min(DIAL_AGAIN.1) };
    }
}

/// Waits until it is time to try again, or until the node is known to be there; tells which.
pub(super) async fn pause(wait: Duration, there: &Notify) -> bool {
    tokio::time::timeout(wait, there.notified()).await.is_ok()
}

/// Between half of a time and all of it, so that nodes which lost each other do not all try at once.
fn jittered(wait: Duration) -> Duration {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), ()) % 1024;
    wait / 2 + wait / 2 * u32::try_from(random).expect("it is below 1024") / 1024
}

/// One connection from beginning to end.
///
/// # Errors
/// Why it did not come about.
async fn exchange(peers: &Arc<Peers>, node: u64, address: &str, there: &Notify) -> Result<(), String> {
    let (outbox, batches) = Outbox::new();
    outbox.put(Packet::of(Said::Hello(peers.hello()))).map_err(|_| "there is no room for a greeting".to_owned())?;
    let mut heard = connect(&peers.security, address, batches, there).await?;
    let (hello, rest) = greeting(&mut heard).await?;
    check(&peers.me, &hello)?;
    if hello.node != node {
        peers.replaced(node, hello.node, address);
        return Err(format!("node {:x} is there instead", hello.node));
    }
    tracing::info!(node = format!("{node:x}"), address, "talks to a node");
    peers.learn(&hello);
    lock(&peers.lines).insert(node, outbox);
    let _connected = Connected { peers, node };
    rest.into_iter().for_each(|packet| hear(peers, node, packet));
    loop {
        match heard.message().await {
            Ok(Some(batch)) => batch.packets.into_iter().for_each(|packet| hear(peers, node, packet)),
            Ok(None) => break,
            Err(status) => {
                tracing::debug!(%status, "a connection to a node ended");
                break;
            }
        }
    }
    tracing::warn!(node = format!("{node:x}"), address, "the connection to a node ended; trying again");
    Ok(())
}

/// A connection that is there; however it ends, what was asked over it is known to be lost.
struct Connected<'a> {
    peers: &'a Peers,
    node: u64,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        lock(&self.peers.lines).remove(&self.node);
        self.peers.ear.lost(self.node);
    }
}

fn hear(peers: &Arc<Peers>, node: u64, packet: Packet) {
    match packet.said {
        Some(Said::Answer(told)) => peers.ear.told(node, told),
        Some(Said::Hello(hello)) => peers.learn(&hello),
        // What a node asks comes over the connection that it dialled; what a newer one says may be anything.
        Some(Said::Peer(_) | Said::Ask(_)) | None => {}
    }
}

/// Connects; begins anew if the node is known to be there meanwhile, for what was sent before may be lost.
async fn connect(security: &Security, address: &str, batches: Batches, there: &Notify) -> Result<Streaming<Batch>, String> {
    let endpoint = Endpoint::from_shared(format!("{}://{address}", security.scheme()))
        .map_err(|_| format!("{address:?} is not a host and a port, like 10.0.0.7:7400"))?
        .connect_timeout(CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_INTERVAL)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20);
    let endpoint = match security.client() {
        Some(tls) => endpoint.tls_config(tls).map_err(|error| format!("its certificate files are of no use: {}", words(&error)))?,
        None => endpoint,
    };
    let channel: Channel = loop {
        tokio::select! {
            connected = endpoint.connect() => break connected.map_err(|error| hinted(security, words(&error)))?,
            () = there.notified() => {}
        }
    };
    let mut grpc = tonic::client::Grpc::new(channel).max_decoding_message_size(RECEIVED_BYTES_MAX);
    grpc.ready().await.map_err(|error| hinted(security, words(&error)))?;
    let codec: ProstCodec<Batch, Batch> = ProstCodec::default();
    let asked = grpc.streaming(Request::new(batches), PathAndQuery::from_static(EXCHANGE), codec);
    match tokio::time::timeout(CONNECT_TIME_MAX, asked).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) if status.code() == tonic::Code::FailedPrecondition => Err(status.message().to_owned()),
        Ok(Err(status)) if status.code() == tonic::Code::Unimplemented => {
            Err(format!("{address} is not for nodes, but perhaps for callers; a node's address for others is its --peer-listen"))
        }
        Ok(Err(status)) => Err(hinted(security, status.message().to_owned())),
        Err(_) => Err("no answer".to_owned()),
    }
}

/// What a connection failed of, and what that often means.
fn hinted(security: &Security, words: String) -> String {
    if words.contains("refused") {
        return words;
    }
    match security {
        Security::ClearText => format!("{words}; this node speaks clear text, the other may want TLS (peer_tls)"),
        Security::Mutual { .. } => {
            format!("{words}; this node speaks TLS, and the other may not, or its certificate is of another authority or for another host")
        }
    }
}

/// Who is there, and what else it said at once.
async fn greeting(heard: &mut Streaming<Batch>) -> Result<(Hello, Vec<Packet>), String> {
    let first = tokio::time::timeout(CONNECT_TIME_MAX, heard.message()).await.map_err(|_| "no greeting".to_owned())?;
    let batch = first.map_err(|status: Status| status.message().to_owned())?.ok_or("it hung up without a greeting")?;
    let mut packets = batch.packets.into_iter();
    match packets.next().and_then(|packet| packet.said) {
        Some(Said::Hello(hello)) => Ok((hello, packets.collect())),
        Some(_) | None => Err("it did not greet first".to_owned()),
    }
}

/// An error with what lies beneath it.
fn words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut beneath = error.source();
    while let Some(error) = beneath {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        beneath = error.source();
    }
    words
}

/// Asks the node at an address, of which nothing is known, for its greeting.
///
/// # Errors
/// A sentence.
pub(crate) async fn join(security: &Security, address: &str, hello: Hello) -> Result<Hello, String> {
    let (outbox, batches) = Outbox::new();
    outbox.put(Packet::of(Said::Hello(hello))).map_err(|_| "there is no room for a greeting".to_owned())?;
    let mut heard = connect(security, address, batches, &Notify::new()).await?;
    Ok(greeting(&mut heard).await?.0)
}

/// What an operator was told: by whom, and what.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) hello: Hello,
    pub(crate) told: Told,
}

/// Asks the node at an address one question, as an operator.
///
/// # Errors
/// A sentence.
pub(crate) async fn ask_stranger(security: &Security, address: &str, hello: Hello, ask: Ask) -> Result<Asked, String> {
    let (outbox, batches) = Outbox::new();
    let full = |_| "there is no room for a question".to_owned();
    outbox.put(Packet::of(Said::Hello(hello))).map_err(full)?;
    outbox.put(Packet::of(Said::Ask(ask))).map_err(full)?;
    let mut heard = connect(security, address, batches, &Notify::new()).await?;
    let (hello, mut packets) = greeting(&mut heard).await?;
    loop {
        for packet in packets {
            if let Some(Said::Answer(told)) = packet.said {
                return Ok(Asked { hello, told });
            }
        }
        let batch = heard.message().await.map_err(|status| status.message().to_owned())?;
        packets = batch.ok_or("it hung up without an answer")?.packets;
    }
}
