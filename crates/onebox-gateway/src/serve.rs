//! Connections: accepting them within a bound, HTTP/1.1 and HTTP/2 on each, and the end of all of them.
//!
//! Keeps true that a client which is slow, silent or many costs bounded memory, and that a stop finishes what is in
//! flight. It knows nothing of what the router does.

use std::future::Future;
use std::io::{self, Cursor};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::{BoxError, Router};
use http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use tower::Service;

use crate::delivery::Undelivered;
use crate::limits::{ACCEPT_PAUSE, GatewaySettings, H2_PING_INTERVAL, H2_WINDOW_BYTES, HEAD_BYTES_MAX};

/// How every HTTP/2 connection begins (RFC 9113, 3.4).
const H2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection beyond the bound is told, in the one protocol that needs no reading first.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves `router` on `listener` until `shutdown` is ready. Then it accepts no more, lets what is in flight finish for
/// at most `drain_ms_max`, closes what is left, and returns.
pub async fn serve(listener: TcpListener, router: Router, settings: GatewaySettings, shutdown: impl Future<Output = ()>) {
    let (stopping, stop) = watch::channel(());
    let builder = builder(&settings);
    let idle_max = Duration::from_millis(settings.connection_idle_ms_max);
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next() => complain(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) if connections.len() >= settings.connections_max => refuse(&stream),
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), builder.clone(), idle_max, stop.clone()));
                }
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop(listener);
    drop(stopping);
    let finished = async {
        while let Some(ended) = connections.join_next().await {
            complain(ended);
        }
    };
    if tokio::time::timeout(Duration::from_millis(settings.drain_ms_max), finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections that did not finish in time");
        connections.shutdown().await;
    }
}

fn builder(settings: &GatewaySettings) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.connection_idle_ms_max))
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).expect("a head is small"))
        .initial_stream_window_size(H2_WINDOW_BYTES)
        .initial_connection_window_size(H2_WINDOW_BYTES)
        .max_concurrent_streams(settings.streams_per_connection_max)
        .keep_alive_interval(H2_PING_INTERVAL)
        .keep_alive_timeout(H2_PING_INTERVAL);
    builder
}

async fn connection(
    mut stream: TcpStream,
    router: Router,
    builder: Builder<TokioExecutor>,
    idle_max: Duration,
    mut stop: watch::Receiver<()>,
) {
    // An answer is one small write; waiting to fill a packet would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let (read, builder) = tokio::select! {
        first = tokio::time::timeout(idle_max, first_bytes(&mut stream)) => match first {
            Ok(Ok(First { read, http2: true })) => (read, builder.http2_only()),
            Ok(Ok(First { read, http2: false })) => (read, builder.http1_only()),
            Ok(Err(error)) => return tracing::debug!(%error, "a connection ended before it began"),
            Err(_) => return tracing::debug!("closed a connection that did not say which protocol it speaks"),
        },
        _ = stop.changed() => return,
    };
    let (reader, writer) = stream.into_split();
    let stream = TokioIo::new(tokio::io::join(Cursor::new(read).chain(reader), writer));
    let undelivered = Arc::new(Undelivered::default());
    let service = TowerToHyperService::new(Tracked { router, undelivered: undelivered.clone() });
    let served = builder.serve_connection(stream, service);
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = undelivered.overdue(idle_max) => return tracing::debug!("closed a connection whose client left an answer lying"),
        _ = stop.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// The bytes that told which protocol a connection speaks.
struct First {
    read: Vec<u8>,
    http2: bool,
}

/// Reads until the bytes are HTTP/2's preface or can no longer become it. The protocol's own timers start only then,
/// so the caller bounds the time.
async fn first_bytes(stream: &mut TcpStream) -> io::Result<First> {
    let mut read = [0; H2_PREFACE.len()];
    let mut length = 0;
    while length < read.len() && H2_PREFACE.starts_with(&read[..length]) {
        match stream.read(&mut read[length..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
    }
    Ok(First { read: read[..length].to_vec(), http2: read == *H2_PREFACE })
}

/// The router, each of its requests knowing the connection that its answer goes to.
#[derive(Clone)]
struct Tracked {
    router: Router,
    undelivered: Arc<Undelivered>,
}

impl<B> Service<Request<B>> for Tracked
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = <Router as Service<Request<B>>>::Response;
    type Error = <Router as Service<Request<B>>>::Error;
    type Future = <Router as Service<Request<B>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Router as Service<Request<B>>>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        request.extensions_mut().insert(self.undelivered.clone());
        self.router.call(request)
    }
}

/// A panic ends the connection it happened on, and no other; it must not end unseen.
fn complain(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection was ended by a bug");
    }
}

fn refuse(stream: &TcpStream) {
    tracing::debug!("refused a connection: connections_max is reached");
    // Whether the client gets to see it does not matter: the connection is closed either way.
    let _ = stream.try_write(TOO_MANY);
}

/// A client that has gone is none of our business; a system without a handle to give must get time to find one.
async fn pause_after(error: &io::Error) {
    let gone = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionRefused];
    if !gone.contains(&error.kind()) {
        tracing::warn!(%error, "cannot accept connections; trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
