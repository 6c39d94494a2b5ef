//! Connections: accepting them within a bound, HTTP/1.1 and HTTP/2 on each, and the end of all of them.
//!
//! Keeps true that a client which is slow, silent or many costs bounded memory, and that a stop finishes what is in
//! flight. It knows nothing of what the router does.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::limits::{ACCEPT_PAUSE, GatewaySettings, H2_PING_INTERVAL, H2_WINDOW_BYTES, HEAD_BYTES_MAX};

/// What a connection beyond the bound is told, in the one protocol that needs no reading first.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Serves `router` on `listener` until `shutdown` is ready. Then it accepts no more, lets what is in flight finish for
/// at most `drain_ms_max`, closes what is left, and returns.
pub async fn serve(listener: TcpListener, router: Router, settings: GatewaySettings, shutdown: impl Future<Output = ()>) {
    let (stopping, stop) = watch::channel(());
    let builder = builder(&settings);
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
                    connections.spawn(connection(stream, router.clone(), builder.clone(), stop.clone()));
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

async fn connection(stream: TcpStream, router: Router, builder: Builder<TokioExecutor>, mut stop: watch::Receiver<()>) {
    // An answer is one small write; waiting to fill a packet would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was refused");
    }
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut served = std::pin::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        _ = stop.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
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
