//! The partitions of a node before its threads run: what is on the disk of each is opened, or made.
//!
//! A base that is damaged is set aside, and made anew from the log and the other nodes.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use onebox_replica::replica::Opened;
use onebox_replica::{Beginning, Input, PeerId, Replica, Setup, Stop};
use onebox_service::{Fault, FaultKind, Service};
use onebox_store::Disk;
use onebox_store::names::NodeId;
use tokio::sync::mpsc;

use crate::folder::Folder;
use crate::identity;
use crate::link::{Clocks, Link};
use crate::node::{Exit, Place, StartError};
use crate::partition::{self, Events, INPUTS_WAITING_MAX, PartitionEvent, Parts};
use crate::partitions::{count_for, folder_of, span_of};
use crate::queries::Readers;
use crate::settings::Settings;
use crate::tokens::Tokens;

/// Heartbeats without a leader after which a replica may campaign; it waits up to twice as long.
pub(crate) const ELECTION_TICKS: usize = 5;

/// What the partitions of a node are opened with.
pub(crate) struct Seats<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) service: &'a Arc<dyn Service>,
    pub(crate) node: NodeId,
    pub(crate) place: Option<&'a Place>,
}

/// One partition, opened.
pub(crate) struct Seat {
    pub(crate) data: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) link: Arc<Link>,
    pub(crate) inputs: (SyncSender<Input>, Receiver<Input>),
    opened: Opened,
}

impl Seats<'_> {
    /// How many there are.
    pub(crate) fn count(&self) -> Result<u32, String> {
        count_for(self.settings, self.place.and_then(|place| place.cluster.partitions))
    }

    /// Opens all of them.
    pub(crate) fn open_all(&self, clocks: Clocks, tokens: Tokens) -> Result<Vec<Seat>, StartError> {
        let partitions = self.count()?;
        let has_begun = identity::has_begun(&self.settings.data)?;
        let open = |partition| {
            let _span = span_of(partition, partitions).entered();
            let data = folder_of(&self.settings.data, partition, partitions);
            // Only a snapshot that is being put in its place has no log for a moment.
            if has_begun && !has_log(&data) && !data.join("reset").exists() {
                return Err(StartError::Other(self.log_gone(&data)));
            }
            let opened = self.open(data, (partition, partitions), clocks, tokens);
            opened.map_err(|error| if partitions == 1 { error } else { StartError::Other(format!("partition {partition}: {error}")) })
        };
        let opened = (0..partitions).map(open).collect::<Result<_, _>>()?;
        if !has_begun {
            identity::begins(&self.settings.data)?;
        }
        Ok(opened)
    }

    /// Timeline to avoid: the log of a voter is lost, with a base that is gone too or was not yet written, it comes back under its name
    /// as if it were new, votes for another that lacks what both had acknowledged, and that is gone.
    fn log_gone(&self, data: &Path) -> String {
        let way_out = match self.place {
            Some(_) => "it must not vote: cluster remove NODE, then start with an empty --data and --join",
            None => "put it back, or start with an empty --data",
        };
        format!("the log is gone from {}, and with it what this node has promised; {way_out}", data.join("log").display())
    }

    /// Opens one of so many.
    fn open(&self, data: PathBuf, (partition, partitions): (u32, u32), clocks: Clocks, tokens: Tokens) -> Result<Seat, StartError> {
        let disk: Arc<dyn Disk> = Arc::new(Folder::open(&data)?);
        let joined = self.place.is_some_and(|place| place.cluster.joined);
        let seed = u64::from_le_bytes(identity::entropy()?);
        let setup = setup(self.settings, self.node, if joined { Beginning::Join } else { Beginning::Alone }, seed, partitions);
        let in_cluster = self.place.is_some();
        let mut opened = if in_cluster { open_or_remake(&data, &disk, self.service, setup)? } else { open(&disk, self.service, setup)? };
        let inputs = sync_channel(INPUTS_WAITING_MAX);
        let me = PeerId::of(self.node);
        let link = Link::new(Arc::clone(self.service), me, (partition, partitions), inputs.0.clone(), clocks, tokens);
        link.published_at(opened.replica.view().position().index);
        let clock = clocks.read();
        link.log_time_is(opened.replica.log_time(clock), clock.uptime);
        Ok(Seat { data, disk, link, inputs, opened })
    }
}

impl Seat {
    /// Starts its threads, which tell what happens to it.
    pub(crate) fn start(
        self,
        settings: &Settings,
        service: &Arc<dyn Service>,
        clocks: Clocks,
        told: &mpsc::UnboundedSender<(u32, PartitionEvent)>,
    ) {
        let Seat { disk, link, inputs, opened, .. } = self;
        let (told, partition) = (told.clone(), link.partition);
        let events: Events = Arc::new(move |event| {
            // The node may be gone already; then nobody needs to know.
            let _ = told.send((partition, event));
        });
        let threads = settings.query_threads / link.partitions as usize;
        let readers = Readers::start(threads, &link, service, settings.limits().query_budget, tell_fault(&inputs.0), &events);
        let tick = Duration::from_millis(settings.heartbeat_ms);
        partition::start(Parts { disk, opened, inputs, link, readers, clocks, events, tick });
    }
}

/// What the replica of one of so many partitions is opened with. Memory that is for the whole node is shared out.
pub(crate) fn setup(settings: &Settings, node: NodeId, beginning: Beginning, seed: u64, partitions: u32) -> Setup {
    Setup {
        limits: settings.limits(),
        node,
        seed,
        segment_bytes: settings.segment_bytes,
        cache_bytes: settings.cache_bytes / partitions as usize,
        flush_bytes_target: settings.flush_bytes,
        election_ticks: ELECTION_TICKS,
        beginning,
        confirm: settings.confirm.into(),
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

/// A node whose base is damaged sets it aside and starts again.
pub(crate) fn without_a_damaged_base(exit: Exit, data: &Path, disk: &dyn Disk) -> Result<Exit, StartError> {
    match exit {
        Exit::Failed(Stop::Fault(fault)) if is_damage_of_the_base(&fault) && may_be_remade(data) => {
            set_base_aside(disk, &fault)?;
            Ok(Exit::Reopen)
        }
        exit => Ok(exit),
    }
}

fn has_log(data: &Path) -> bool {
    std::fs::read_dir(data.join("log"))
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".seg"))))
}

/// Whether there is a log, which holds what was promised to the others, and no base was set aside a moment ago: twice is no accident.
fn may_be_remade(data: &Path) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs() as i64);
    // Its name was changed then, and nothing since.
    let long_ago = std::fs::metadata(data.join(BASE_ASIDE)).map_or(true, |aside| now - aside.ctime() > ASIDE_AGAIN_SECONDS);
    has_log(data) && long_ago
}

/// Whether the base is what is damaged.
fn is_damage_of_the_base(fault: &Fault) -> bool {
    fault.kind == FaultKind::Damage && fault.file.ends_with(BASE)
}

/// The base.
const BASE: &str = "base.redb";
/// Where a damaged base is kept, for whoever wants to know what happened to it: the last one.
const BASE_ASIDE: &str = "base.damaged";
/// After so many seconds a base may be set aside again, in place of the last one.
const ASIDE_AGAIN_SECONDS: i64 = 30;

/// Opens what is on the disk, without the base if that is damaged.
fn open_or_remake(data: &Path, disk: &Arc<dyn Disk>, service: &Arc<dyn Service>, setup: Setup) -> Result<Opened, StartError> {
    let first = open(disk, service, setup.clone());
    match first {
        Err(fault) if is_damage_of_the_base(&fault) && may_be_remade(data) => {
            set_base_aside(&**disk, &fault)?;
            Ok(open(disk, service, setup)?)
        }
        opened => Ok(opened?),
    }
}

fn set_base_aside(disk: &dyn Disk, fault: &Fault) -> Result<(), StartError> {
    tracing::error!(%fault, "the base is damaged: it is kept as {BASE_ASIDE}, and made anew; check this machine's disk");
    disk.rename(BASE, BASE_ASIDE)?;
    Ok(())
}
