//! A node from start to stop: claim the directory, open what is there, serve, and leave in order.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use onebox_gateway::SpecAnswers;
use onebox_replica::{Input, PeerId, Stop};
use onebox_service::{Fault, Service};
use onebox_store::Disk;
use onebox_store::names::NodeId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::Instrument;

use crate::claim;
use crate::cluster::{self, Cluster};
use crate::door::Door;
use crate::folder::Folder;
use crate::identity;
use crate::link::{Clocks, Link};
use crate::partition::PartitionEvent;
use crate::partitions::{Partitions, span_of};
use crate::peers::tls::Security;
use crate::peers::{self, Book, Ear, Identity, Peers};
use crate::seats::{Seats, without_a_damaged_base};
use crate::settings::Settings;
use crate::tokens::Tokens;

/// How many heartbeats a partition that has fetched its state waits for others that fetch theirs: fewer than those for which its peers keep
/// what it needs next.
const OTHERS_FETCH_HEARTBEATS: u32 = 400;
/// Between two looks whether they do.
const OTHERS_FETCH_LOOK: Duration = Duration::from_millis(200);

/// How a node's life ended.
#[derive(Debug)]
pub enum Exit {
    /// It was asked to stop, finished its work and flushed it.
    Stopped,
    /// It was asked to stop and did not finish in time; nothing is lost, but the next start replays more.
    Hurried,
    /// It is to be started again at once: what it has fetched is put in its place by a start, and so is what it goes on without.
    Reopen,
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
    Folder::open(&settings.data)?;
    let mut claim = claim::claim(&settings.data, &settings.listen.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(settings.network_threads.max(1)).enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the network threads: {error}"))?;
    // Listened to from here on: being asked to stop during the start counts too.
    let asked = runtime.spawn(stop);
    let mut stop = Box::pin(async move {
        // It ends without having completed only if it panicked; then nobody could ask any more.
        let _ = asked.await;
    });
    let (listener, address) = runtime.block_on(listen(settings.listen))?;
    claim.names(&address).map_err(|error| format!("cannot write {}: {error}", settings.data.join("lock").display()))?;

    let node = identity::node_id(&settings.data)?;
    let me = PeerId::of(node);
    let schema = service.schema();
    let place = runtime.block_on(async {
        tokio::select! {
            place = take_place(settings, node, schema.service) => Some(place),
            () = &mut stop => None,
        }
    });
    // Asked to stop while it waited for a cluster to join.
    let Some(place) = place.transpose()? else { return Ok(Exit::Stopped) };
    let seats = Seats { settings, service: &service, node, place: place.as_ref() };
    let clocks = Clocks::start();
    let tokens = Tokens::of(place.as_ref().map_or(node, |place| place.cluster.first));
    let opened = seats.open_all(clocks, tokens)?;
    let partitions = Partitions::new(opened.iter().map(|seat| Arc::clone(&seat.link)).collect());
    let folders: Vec<(PathBuf, Arc<dyn Disk>)> = opened.iter().map(|seat| (seat.data.clone(), Arc::clone(&seat.disk))).collect();
    let inputs: Vec<SyncSender<Input>> = opened.iter().map(|seat| seat.inputs.0.clone()).collect();
    for link in partitions.all() {
        runtime.spawn(Arc::clone(link).keep_deadlines());
    }
    let in_cluster = place.is_some();
    if let Some(place) = place {
        place.occupy(&runtime, &partitions, me, (schema.service, settings.vote));
        runtime.spawn(Arc::clone(&partitions).tend(me.0));
    }
    let (told, mut events) = mpsc::unbounded_channel();
    opened.into_iter().for_each(|seat| seat.start(settings, &service, clocks, &told));

    let stop = asked_or_ordered(stop, Arc::clone(partitions.first()));
    let drain_max = Duration::from_millis(settings.gateway.drain_ms_max);
    let waits = (drain_max, OTHERS_FETCH_HEARTBEATS * Duration::from_millis(settings.heartbeat_ms));
    let router = onebox_gateway::router(Arc::new(Door(Arc::clone(&partitions), specs)), settings.gateway.clone());
    tracing::info!(%address, data = %settings.data.display(), "serving {}", schema.name);
    let (partition, exit) =
        runtime.block_on(run(listener, (router, settings.gateway.clone()), stop, &partitions, inputs, &mut events, waits));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if !matches!(exit, Exit::Stopped) {
        // Threads that write may still be at it: the directory stays claimed until the process is gone.
        Box::leak(Box::new(claim));
    }
    let (data, disk) = &folders[partition as usize];
    if in_cluster { without_a_damaged_base(exit, data, &**disk) } else { Ok(exit) }
}

/// Completes when the process is asked to stop, or an operator orders it.
async fn asked_or_ordered(asked: impl Future<Output = ()>, link: Arc<Link>) {
    tokio::select! {
        () = asked => {}
        () = link.told_to_stop() => tracing::info!("an operator has it stop"),
    }
}

/// The port for callers, and its address.
async fn listen(at: SocketAddr) -> Result<(TcpListener, String), StartError> {
    let listener = TcpListener::bind(at).await;
    let listener = listener.map_err(|error| format!("cannot listen on {at}: {error}; give another --listen"))?;
    let address = listener.local_addr().map_or_else(|_| at.to_string(), |address| address.to_string());
    Ok((listener, address))
}

/// A node's place in a cluster: which one, who else is there, and the port for them.
pub(crate) struct Place {
    pub(crate) cluster: Cluster,
    book: Book,
    security: Security,
    listener: TcpListener,
}

/// Begins a cluster, joins one, or comes back to it; nothing for a node that runs alone.
async fn take_place(settings: &Settings, node: NodeId, service: &str) -> Result<Option<Place>, StartError> {
    let known = cluster::of(&settings.data)?;
    let Some(listen) = settings.peers_at()? else {
        if known.is_some() {
            let words = format!(
                "the data directory {} is of a node in a cluster: give peer_listen, where the others reach it",
                settings.data.display()
            );
            return Err(StartError::Other(words));
        }
        return Ok(None);
    };
    let security = Security::read(&settings.peer_tls)?;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.map_err(|error| format!("cannot listen for other nodes on {listen}: {error}; give another peer_listen"))?;
    let own = listener.local_addr().map_or(listen, |address| address).to_string();
    let address = if settings.peer_address.is_empty() { own } else { settings.peer_address.clone() };
    let mut book = peers::book(&settings.data, PeerId::of(node).0, &address, &settings.host)?;
    let cluster = match known {
        Some(cluster) => {
            if !settings.join.is_empty() && !book.all().any(|(_, address)| address == settings.join) {
                let (join, data, cluster) = (&settings.join, settings.data.display(), cluster.name());
                tracing::warn!(
                    "the setting join is passed over: {data} is of a node of the cluster {cluster}, which knows of no node at {join}"
                );
            }
            cluster
        }
        None if settings.join == address => return Err(format!("the setting join names this node itself, {address}; name another").into()),
        None if settings.join.is_empty() => cluster::begin(&settings.data, node)?,
        None => cluster::join(&settings.data, node, &mut book, &security, (service, settings.partitions), &settings.join).await?,
    };
    tracing::info!(%address, node = %PeerId::of(node), cluster = cluster.name(), "other nodes reach this one here");
    Ok(Some(Place { cluster, book, security, listener }))
}

impl Place {
    /// Talks to the others from now on, and becomes a voter if this node is to.
    fn occupy(self, runtime: &tokio::runtime::Runtime, partitions: &Arc<Partitions>, me: PeerId, (service, vote): (&'static str, bool)) {
        let Place { cluster, book, security, listener } = self;
        let identity = Identity { service, cluster: cluster.name(), node: me.0, partitions: partitions.first().partitions };
        let ear: Arc<dyn Ear> = Arc::clone(partitions) as Arc<dyn Ear>;
        let peers = Peers::start(identity, security, book, ear, runtime.handle().clone());
        partitions.set_peers(&peers);
        runtime.spawn(async move {
            if let Err(error) = peers::serve(listener, peers).await {
                tracing::error!(error, "other nodes cannot reach this one any more");
            }
        });
        if cluster.joined {
            for link in partitions.all() {
                runtime.spawn(cluster::take_part(Arc::clone(link), me, vote).instrument(span_of(link.partition, link.partitions)));
            }
        }
    }
}

/// Serves, then leaves: in a cluster others lead first; no new connections, finish what came, flush. Gives the partition whose end
/// it was, and that end.
async fn run(
    listener: TcpListener,
    (router, gateway): (axum::Router, onebox_gateway::GatewaySettings),
    stop: impl Future<Output = ()> + Send + 'static,
    partitions: &Partitions,
    inputs: Vec<SyncSender<Input>>,
    events: &mut mpsc::UnboundedReceiver<(u32, PartitionEvent)>,
    (drain_max, fetch_max): (Duration, Duration),
) -> (u32, Exit) {
    let (close, closing) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(onebox_gateway::serve(listener, router, gateway, async move {
        // The sender is dropped when the node leaves; either way it is time.
        let _ = closing.await;
    }));
    let mut stop = std::pin::pin!(stop);
    let ended = tokio::select! {
        () = &mut stop => None,
        event = events.recv() => Some(event),
    };
    let mut fetched = Vec::new();
    let starts_again = match ended {
        None => false,
        Some(Some((partition, PartitionEvent::Stopped(Stop::Fetched)))) => {
            fetched.push(partition);
            tokio::select! {
                () = &mut stop => false,
                others = others_fetched(&mut fetched, events, fetch_max, || partitions.fetching()) => match others {
                    Ok(()) => true,
                    Err(end) => return leave_at_once(close, serving, end).await,
                },
            }
        }
        Some(event) => {
            let end = event.map_or((0, Exit::Hurried), |(partition, event)| (partition, exit_of(event)));
            return leave_at_once(close, serving, end).await;
        }
    };
    partitions.set_stopping("stopping");
    let until = tokio::time::Instant::now() + drain_max;
    let finish = async {
        drop(close);
        let _ = tokio::time::timeout_at(until, serving).await;
    };
    let (partition, exit) = if partitions.is_among_others() {
        tracing::info!("stopping: another node leads; what still comes goes there");
        let end = drain(inputs, &mut fetched, events, drain_max).await;
        finish.await;
        end
    } else {
        tracing::info!("stopping: no new connections; finishing what is under way");
        finish.await;
        drain(inputs, &mut fetched, events, drain_max).await
    };
    let starts_again = starts_again
        && tokio::select! {
            biased;
            // It was asked to stop meanwhile.
            () = stop => false,
            () = std::future::ready(()) => true,
        };
    match exit {
        Exit::Stopped | Exit::Hurried if starts_again => (partition, Exit::Reopen),
        // What was fetched is put in its place at the next start, whenever that is.
        Exit::Stopped if !fetched.is_empty() => (partition, Exit::Hurried),
        exit => (partition, exit),
    }
}

/// Nothing can be finished any more.
async fn leave_at_once(close: tokio::sync::oneshot::Sender<()>, serving: tokio::task::JoinHandle<()>, end: (u32, Exit)) -> (u32, Exit) {
    drop(close);
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    end
}

/// A node starts again once for all partitions that fetch their state, not once for each. Adds those that have; ends early with the end
/// of one that cannot go on.
async fn others_fetched(
    fetched: &mut Vec<u32>,
    events: &mut mpsc::UnboundedReceiver<(u32, PartitionEvent)>,
    longest: Duration,
    fetching: impl Fn() -> Vec<u32>,
) -> Result<(), (u32, Exit)> {
    let until = tokio::time::Instant::now() + longest;
    while tokio::time::Instant::now() < until && fetching().iter().any(|partition| !fetched.contains(partition)) {
        match tokio::time::timeout(OTHERS_FETCH_LOOK, events.recv()).await {
            Ok(Some((partition, PartitionEvent::Stopped(Stop::Fetched)))) => fetched.push(partition),
            Ok(Some((partition, event))) => return Err((partition, exit_of(event))),
            Ok(None) => return Err((0, Exit::Hurried)),
            Err(_) => {}
        }
    }
    Ok(())
}

/// Lets others lead, if there are any, and flushes; all partitions but those that wait for the next start, to which more may come.
async fn drain(
    inputs: Vec<SyncSender<Input>>,
    fetched: &mut Vec<u32>,
    events: &mut mpsc::UnboundedReceiver<(u32, PartitionEvent)>,
    drain_max: Duration,
) -> (u32, Exit) {
    let partitions = inputs.len();
    let drained = tokio::time::timeout(drain_max, async {
        // Executors drain their inputs all the time, so there is room soon. Whoever is gone has told why.
        let sent = tokio::task::spawn_blocking(move || inputs.into_iter().for_each(|input| drop(input.send(Input::Drain))));
        let _ = sent.await;
        let mut drained = 0;
        while drained + fetched.len() < partitions {
            let (partition, event) = events.recv().await?;
            match event {
                PartitionEvent::Drained => drained += 1,
                PartitionEvent::Stopped(Stop::Fetched | Stop::Reopen) => fetched.push(partition),
                event @ (PartitionEvent::Stopped(_) | PartitionEvent::Panicked { .. }) => return Some((partition, exit_of(event))),
            }
        }
        Some((0, Exit::Stopped))
    });
    drained.await.ok().flatten().unwrap_or((0, Exit::Hurried))
}

fn exit_of(event: PartitionEvent) -> Exit {
    match event {
        PartitionEvent::Stopped(Stop::Fetched | Stop::Reopen) => Exit::Reopen,
        PartitionEvent::Stopped(stop) => Exit::Failed(stop),
        PartitionEvent::Panicked { thread } => Exit::Panicked { thread },
        PartitionEvent::Drained => Exit::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FETCHED: PartitionEvent = PartitionEvent::Stopped(Stop::Fetched);

    /// Partition 0 has fetched its state, and of the others each in turn until its word is out.
    fn fetched(words: Vec<(u32, PartitionEvent)>) -> (Vec<u32>, Result<(), (u32, Exit)>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime can be made");
        let (told, mut events) = mpsc::unbounded_channel();
        let fetching: Vec<u32> = std::iter::once(0).chain(words.iter().map(|(partition, _)| *partition)).collect();
        words.into_iter().for_each(|word| told.send(word).expect("somebody listens"));
        let mut fetched = vec![0];
        let ended = runtime.block_on(others_fetched(&mut fetched, &mut events, Duration::from_secs(600), || fetching.clone()));
        (fetched, ended)
    }

    #[test]
    fn a_node_starts_again_once_for_all_partitions_that_fetch_their_state() {
        let (all, ended) = fetched(vec![(2, FETCHED), (1, FETCHED)]);
        assert!(ended.is_ok() && all == [0, 2, 1], "{all:?}");
        let (alone, ended) = fetched(Vec::new());
        assert!(ended.is_ok() && alone == [0]);
    }

    #[test]
    fn one_that_cannot_go_on_ends_the_wait() {
        let (_, ended) = fetched(vec![(2, FETCHED), (1, PartitionEvent::Panicked { thread: "executor" }), (3, FETCHED)]);
        assert!(matches!(ended, Err((1, Exit::Panicked { thread: "executor" }))), "{ended:?}");
    }
}
