//! A node from start to stop: claim the directory, open what is there, serve, and leave in order.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use onebox_gateway::SpecAnswers;
use onebox_replica::replica::Opened;
use onebox_replica::{Beginning, Confirm, Input, Replica, Setup, Stop};
use onebox_service::{Fault, Service};
use onebox_store::Disk;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::claim;
use crate::folder::Folder;
use crate::identity;
use crate::link::{Clocks, Door, Link};
use crate::partition::{self, Events, INPUTS_WAITING_MAX, PartitionEvent, Parts};
use crate::queries::Readers;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// Ticks without a leader after which a replica may campaign: half a second.
const ELECTION_TICKS: usize = 10;

/// How a node's life ended.
#[derive(Debug)]
pub enum Exit {
    /// It was asked to stop, finished its work and flushed it.
    Stopped,
    /// It was asked to stop and did not finish in time; nothing is lost, but the next start replays more.
    Hurried,
    /// It could not go on. Nothing acknowledged is lost.
    Failed(Stop),
    /// A thread of it panicked: a bug. Nothing acknowledged is lost.
    Panicked {
        /// The thread.
        thread: &'static str,
    },
}

/// Why a node could not start.
#[derive(Debug)]
pub enum StartError {
    /// What is on the disk, or the disk itself.
    Fault(Fault),
    /// Anything else, as a sentence.
    Other(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Fault(fault) => write!(f, "{fault}"),
            StartError::Other(words) => f.write_str(words),
        }
    }
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> StartError {
        StartError::Fault(fault)
    }
}

impl From<String> for StartError {
    fn from(words: String) -> StartError {
        StartError::Other(words)
    }
}

/// Serves until `stop` completes or the node cannot go on. `specs`: who answers specs that others send, if they are taken.
///
/// # Errors
/// Why it could not start.
pub fn serve(
    service: Arc<dyn Service>,
    settings: &Settings,
    specs: Option<Arc<dyn SpecAnswers>>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<Exit, StartError> {
    settings.check()?;
    let folder = Folder::open(&settings.data)?;
    let mut claim = claim::claim(&settings.data, &settings.listen.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(settings.network_threads.max(1)).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the network threads: {error}"))?;
    // Listened to from here on: being asked to stop during the start counts too.
    let asked = runtime.spawn(stop);
    let stop = async move {
        // It ends without having completed only if it panicked; then nobody could ask any more.
        let _ = asked.await;
    };
    let listener = runtime.block_on(TcpListener::bind(settings.listen));
    let listener = listener.map_err(|error| format!("cannot listen on {}: {error}; give another --listen", settings.listen))?;
    let address = listener.local_addr().map_or_else(|_| settings.listen.to_string(), |address| address.to_string());
    claim.names(&address).map_err(|error| format!("cannot write {}: {error}", settings.data.join("lock").display()))?;

    let node = identity::node_id(&settings.data)?;
    let setup = Setup {
        limits: settings.limits(),
        node,
        seed: u64::from_le_bytes(identity::entropy()?),
        segment_bytes: settings.segment_bytes,
        cache_bytes: settings.cache_bytes,
        flush_bytes_target: settings.flush_bytes,
        election_ticks: ELECTION_TICKS,
        beginning: Beginning::Alone,
        confirm: Confirm::Replicated,
    };
    let (query_budget, clocks) = (setup.limits.query_budget, Clocks::start());
    let disk: Arc<dyn Disk> = Arc::new(folder);
    let mut opened = open(&disk, &service, setup)?;
    let inputs = sync_channel(INPUTS_WAITING_MAX);
    let input = inputs.0.clone();
    let link = Link::new(Arc::clone(&service), inputs.0.clone(), clocks, Tokens::of(node));
    link.published_at(opened.replica.view().position().index);
    let clock = clocks.read();
    link.log_time_is(opened.replica.log_time(clock), clock.uptime);
    let (told, mut events) = mpsc::unbounded_channel();
    let events_out: Events = Arc::new(move |event| {
        // The node may be gone already; then nobody needs to know.
        let _ = told.send(event);
    });
    let on_fault = {
        let input = input.clone();
        move |fault| {
            // The executor may be gone already, for the same reason.
            let _ = input.send(Input::PersistFailed(fault));
        }
    };
    let readers = Readers::start(settings.query_threads, &link, &service, query_budget, on_fault, &events_out);
    runtime.spawn(Arc::clone(&link).keep_deadlines());
    partition::start(Parts { disk, opened, inputs, link: Arc::clone(&link), readers, clocks, events: events_out });

    let drain_max = Duration::from_millis(settings.gateway.drain_ms_max);
    let router = onebox_gateway::router(Arc::new(Door(Arc::clone(&link), specs)), settings.gateway.clone());
    tracing::info!(%address, data = %settings.data.display(), "serving {}", service.schema().name);
    let exit = runtime.block_on(run(listener, (router, settings.gateway.clone()), stop, &link, input, &mut events, drain_max));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if !matches!(exit, Exit::Stopped) {
        // Threads that write may still be at it: the directory stays claimed until the process is gone.
        Box::leak(Box::new(claim));
    }
    Ok(exit)
}

/// Opens what is on the disk and says what was found.
fn open(disk: &Arc<dyn Disk>, service: &Arc<dyn Service>, setup: Setup) -> Result<Opened, Fault> {
    let opened = Replica::open(disk, Arc::clone(service), setup)?;
    if let Some(cut) = &opened.cut {
        tracing::info!(
            file = cut.file,
            offset = cut.offset,
            "an interrupted write at the end of the log was cut off; it was never acknowledged"
        );
    }
    let (base, log) = opened.replica.status().progress;
    tracing::info!(base = base.0, log = log.0, to_apply = log.0 - base.0, "opened; what the log holds beyond the base is applied first");
    Ok(opened)
}

/// Serves, then leaves: no new connections, finish what came, flush.
async fn run(
    listener: TcpListener,
    (router, gateway): (axum::Router, onebox_gateway::GatewaySettings),
    stop: impl Future<Output = ()> + Send + 'static,
    link: &Link,
    input: std::sync::mpsc::SyncSender<Input>,
    events: &mut mpsc::UnboundedReceiver<PartitionEvent>,
    drain_max: Duration,
) -> Exit {
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(onebox_gateway::serve(listener, router, gateway, async move {
        // The sender is dropped when the node leaves; either way it is time.
        let _ = closing.await;
    }));
    tokio::select! {
        () = stop => {}
        event = events.recv() => {
            drop(close);
            let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
            return event.map_or(Exit::Hurried, exit_of);
        }
    }
    tracing::info!("stopping: no new connections; finishing what is under way");
    link.set_stopping("stopping".to_owned());
    drop(close);
    let _ = tokio::time::timeout(drain_max, serving).await;
    let drained = tokio::time::timeout(drain_max, async {
        // The executor drains its inputs all the time, so there is room soon.
        let sent = tokio::task::spawn_blocking(move || input.send(Input::Drain)).await;
        if sent.is_ok() { events.recv().await } else { None }
    });
    match drained.await {
        Ok(Some(event)) => exit_of(event),
        Ok(None) | Err(_) => Exit::Hurried,
    }
}

fn exit_of(event: PartitionEvent) -> Exit {
    match event {
        PartitionEvent::Stopped(stop) => Exit::Failed(stop),
        PartitionEvent::Panicked { thread } => Exit::Panicked { thread },
        PartitionEvent::Drained => Exit::Stopped,
    }
}
