//! A node from start to stop: claim the directory, open what is there, serve, and leave in order.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use onebox_gateway::SpecAnswers;
use onebox_replica::replica::Opened;
use onebox_replica::{Beginning, Confirm, Input, PeerId, Replica, Setup, Stop};
use onebox_service::{Fault, FaultKind, Service};
use onebox_store::Disk;
use onebox_store::names::NodeId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::claim;
use crate::cluster::{self, Cluster};
use crate::door::Door;
use crate::folder::Folder;
use crate::identity;
use crate::link::{Clocks, Link};
use crate::partition::{self, Events, INPUTS_WAITING_MAX, PartitionEvent, Parts};
use crate::peers::tls::Security;
use crate::peers::{self, Book, Ear, Identity, Peers};
use crate::queries::Readers;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// Heartbeats without a leader after which a replica may campaign; it waits up to twice as long.
pub(crate) const ELECTION_TICKS: usize = 5;

/// How a node's life ended.
#[derive(Debug)]
pub enum Exit {
    /// It was asked to stop, finished its work and flushed it.
    Stopped,
    /// It was asked to stop and did not finish in time; nothing is lost, but the next start replays more.
    Hurried,
    /// It is to be started again at once: it has fetched what it could not compute, and a start puts that in place.
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
    let folder = Folder::open(&settings.data)?;
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
    let joined = place.as_ref().is_some_and(|place| place.cluster.joined);
    let setup = setup_of(settings, node, joined)?;
    let (query_budget, clocks) = (setup.limits.query_budget, Clocks::start());
    let disk: Arc<dyn Disk> = Arc::new(folder);
    let in_cluster = place.is_some();
    let mut opened = if in_cluster { open_or_remake(&settings.data, &disk, &service, setup)? } else { open(&disk, &service, setup)? };
    let inputs = sync_channel(INPUTS_WAITING_MAX);
    let input = inputs.0.clone();
    let tokens = Tokens::of(place.as_ref().map_or(node, |place| place.cluster.first));
    let link = Link::new(Arc::clone(&service), me, inputs.0.clone(), clocks, tokens);
    link.published_at(opened.replica.view().position().index);
    let clock = clocks.read();
    link.log_time_is(opened.replica.log_time(clock), clock.uptime);
    let (told, mut events) = mpsc::unbounded_channel();
    let events_out: Events = Arc::new(move |event| {
        // The node may be gone already; then nobody needs to know.
        let _ = told.send(event);
    });
    let readers = Readers::start(settings.query_threads, &link, &service, query_budget, tell_fault(&input), &events_out);
    runtime.spawn(Arc::clone(&link).keep_deadlines());
    if let Some(place) = place {
        place.occupy(&runtime, &link, me, (schema.service, settings.vote));
    }
    let tick = Duration::from_millis(settings.heartbeat_ms);
    partition::start(Parts { disk: Arc::clone(&disk), opened, inputs, link: Arc::clone(&link), readers, clocks, events: events_out, tick });

    let stop = asked_or_ordered(stop, Arc::clone(&link));
    let drain_max = Duration::from_millis(settings.gateway.drain_ms_max);
    let router = onebox_gateway::router(Arc::new(Door(Arc::clone(&link), specs)), settings.gateway.clone());
    tracing::info!(%address, data = %settings.data.display(), "serving {}", schema.name);
    let exit = runtime.block_on(run(listener, (router, settings.gateway.clone()), stop, &link, input, &mut events, drain_max));
    runtime.shutdown_timeout(Duration::from_secs(1));
    if !matches!(exit, Exit::Stopped) {
        // Threads that write may still be at it: the directory stays claimed until the process is gone.
        Box::leak(Box::new(claim));
    }
    if in_cluster { without_a_damaged_base(exit, &settings.data, &*disk) } else { Ok(exit) }
}

/// A node whose base is damaged sets it aside and starts again.
fn without_a_damaged_base(exit: Exit, data: &Path, disk: &dyn Disk) -> Result<Exit, StartError> {
    match exit {
        Exit::Failed(Stop::Fault(fault)) if is_damage_of_the_base(&fault) && may_be_remade(data) => {
            set_base_aside(disk, &fault)?;
            Ok(Exit::Reopen)
        }
        exit => Ok(exit),
    }
}

/// Whether there is a log, which holds what was promised to the others, and no base was set aside before: twice is no accident.
fn may_be_remade(data: &Path) -> bool {
    let has_log = std::fs::read_dir(data.join("log"))
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))));
    has_log && !data.join(BASE_ASIDE).exists()
}

/// Whether the base is what is damaged.
fn is_damage_of_the_base(fault: &Fault) -> bool {
    fault.kind == FaultKind::Damage && fault.file.ends_with("base.redb")
}

/// Where a damaged base is kept, for whoever wants to know what happened to it: the last one.
const BASE_ASIDE: &str = "base.damaged";

/// Opens what is on the disk, without the base if that is damaged.
fn open_or_remake(data: &Path, disk: &Arc<dyn Disk>, service: &Arc<dyn Service>, setup: Setup) -> Result<Opened, StartError> {
    let node = PeerId::of(setup.node);
    let first = open(disk, service, setup.clone());
    let opened = match first {
        Err(fault) if is_damage_of_the_base(&fault) && may_be_remade(data) => {
            set_base_aside(&**disk, &fault)?;
            open(disk, service, setup)
        }
        opened => opened,
    };
    opened.map_err(|fault| {
        // Without a base everything is to be read from the log.
        let lacks_log = fault.kind == FaultKind::Damage && fault.file.starts_with("log/");
        if !lacks_log || !data.join(BASE_ASIDE).exists() {
            return StartError::Fault(fault);
        }
        StartError::Other(format!(
            "the base was damaged and is kept as {BASE_ASIDE}, and the log here does not reach back far enough to make it anew ({fault}). \
             Let a new node take this one's place: cluster remove {node}, then start with an empty --data and --join"
        ))
    })
}

fn set_base_aside(disk: &dyn Disk, fault: &Fault) -> Result<(), StartError> {
    tracing::error!(%fault, "the base is damaged: it is kept as {BASE_ASIDE}, and made anew; check this machine's disk");
    disk.rename("base.redb", BASE_ASIDE)?;
    Ok(())
}

/// Completes when the process is asked to stop, or an operator orders it.
async fn asked_or_ordered(asked: impl Future<Output = ()>, link: Arc<Link>) {
    tokio::select! {
        () = asked => {}
        () = link.told_to_stop() => tracing::info!("an operator has it stop"),
    }
}

/// Tells the executor of a row that could not be read.
fn tell_fault(input: &SyncSender<Input>) -> impl Fn(Fault) + Clone + Send + 'static + use<> {
    let input = input.clone();
    move |fault| {
        // The executor may be gone already; then nobody needs to know.
        let _ = input.send(Input::PersistFailed(fault));
    }
}

/// The port for callers, and its address.
async fn listen(at: SocketAddr) -> Result<(TcpListener, String), StartError> {
    let listener = TcpListener::bind(at).await;
    let listener = listener.map_err(|error| format!("cannot listen on {at}: {error}; give another --listen"))?;
    let address = listener.local_addr().map_or_else(|_| at.to_string(), |address| address.to_string());
    Ok((listener, address))
}

/// What the replica is opened with.
fn setup_of(settings: &Settings, node: NodeId, joined: bool) -> Result<Setup, StartError> {
    Ok(Setup {
        limits: settings.limits(),
        node,
        seed: u64::from_le_bytes(identity::entropy()?),
        segment_bytes: settings.segment_bytes,
        cache_bytes: settings.cache_bytes,
        flush_bytes_target: settings.flush_bytes,
        election_ticks: ELECTION_TICKS,
        beginning: if joined { Beginning::Join } else { Beginning::Alone },
        confirm: Confirm::Replicated,
    })
}

/// A node's place in a cluster: which one, who else is there, and the port for them.
struct Place {
    cluster: Cluster,
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
        Some(cluster) => cluster,
        None if settings.join.is_empty() => cluster::begin(&settings.data, node)?,
        None => cluster::join(&settings.data, node, &mut book, &security, service, &settings.join).await?,
    };
    tracing::info!(%address, node = %PeerId::of(node), cluster = cluster.name(), "other nodes reach this one here");
    Ok(Some(Place { cluster, book, security, listener }))
}

impl Place {
    /// Talks to the others from now on, and becomes a voter if this node is to.
    fn occupy(self, runtime: &tokio::runtime::Runtime, link: &Arc<Link>, me: PeerId, (service, vote): (&'static str, bool)) {
        let Place { cluster, book, security, listener } = self;
        let identity = Identity { service, cluster: cluster.name(), node: me.0 };
        let ear: Arc<dyn Ear> = Arc::clone(link) as Arc<dyn Ear>;
        let peers = Peers::start(identity, security, book, ear, runtime.handle().clone());
        link.set_peers(Arc::clone(&peers));
        runtime.spawn(async move {
            if let Err(error) = peers::serve(listener, peers).await {
                tracing::error!(error, "other nodes cannot reach this one any more");
            }
        });
        if cluster.joined {
            runtime.spawn(cluster::take_part(Arc::clone(link), me, vote));
        }
    }
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

/// Serves, then leaves: in a cluster another leads first; no new connections, finish what came, flush.
async fn run(
    listener: TcpListener,
    (router, gateway): (axum::Router, onebox_gateway::GatewaySettings),
    stop: impl Future<Output = ()> + Send + 'static,
    link: &Link,
    input: SyncSender<Input>,
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
    link.set_stopping("stopping".to_owned());
    let until = tokio::time::Instant::now() + drain_max;
    let finish = async {
        drop(close);
        let _ = tokio::time::timeout_at(until, serving).await;
    };
    if link.is_among_others() {
        tracing::info!("stopping: another node leads; what still comes goes there");
        let exit = drain(input, events, drain_max).await;
        finish.await;
        return exit;
    }
    tracing::info!("stopping: no new connections; finishing what is under way");
    finish.await;
    drain(input, events, drain_max).await
}

/// Lets another lead, if there is another, and flushes.
async fn drain(input: SyncSender<Input>, events: &mut mpsc::UnboundedReceiver<PartitionEvent>, drain_max: Duration) -> Exit {
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
        PartitionEvent::Stopped(Stop::Reopen) => Exit::Reopen,
        PartitionEvent::Stopped(stop) => Exit::Failed(stop),
        PartitionEvent::Panicked { thread } => Exit::Panicked { thread },
        PartitionEvent::Drained => Exit::Stopped,
    }
}
