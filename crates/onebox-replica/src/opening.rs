//! Opening a replica: every start takes this path, whatever the end before it was.
//!
//! A fetched snapshot is installed first; then the base is opened at its position, the log is opened behind it, and the
//! consensus goes on from both.

use std::collections::VecDeque;
use std::sync::Arc;

use onebox_service::planted::planted;
use onebox_service::{Fault, FaultKind, Service};
use onebox_store::log::{self, HardState, LogOptions};
use onebox_store::state::{State, StateOptions, install_snapshot};
use onebox_store::{Disk, LogIndex, Term};

use crate::admission::Queue;
use crate::background::Jobs;
use crate::clock::LogClock;
use crate::confirming::Confirming;
use crate::consensus::{Consensus, Start};
use crate::divergence::Divergence;
use crate::effect::Effects;
use crate::execution::Execution;
use crate::handover::Handover;
use crate::limits::ELECTION_TICKS_MIN;
use crate::membership::{Membership, PeerId};
use crate::reads::Reads;
use crate::replica::{Beginning, Opened, Replica, Setup};
use crate::skew::Skew;
use crate::snapshots::Snapshots;
use crate::upgrades::{self, Builds};

impl Replica {
    /// Opens what is on the disk, or makes it; every start takes this path.
    ///
    /// # Errors
    /// The fault: damage, a version that this build cannot read, a disk that fails.
    pub fn open(disk: &Arc<dyn Disk>, service: Arc<dyn Service>, setup: Setup) -> Result<Opened, Fault> {
        let Setup { limits, node, seed, segment_bytes, cache_bytes, flush_bytes_target, election_ticks, beginning, confirm } = setup;
        let log_options = LogOptions { segment_bytes, node };
        install_snapshot(disk, log_options)?;
        let options = StateOptions { cache_bytes, hash_seed: seed, flush_bytes_target, node };
        let (mut state, base) = State::open(Arc::clone(disk), options)?;
        upgrades::can_run(&*service, &state)?;
        let lost = lost_base(&**disk, log_options, base.applied.index)?;
        let (applied, term) = lost.unwrap_or((base.applied.index, base.applied.term));
        let log = log::open(Arc::clone(disk), log_options, applied, term, None)?;
        log_reaches(&log, applied)?;
        let id = PeerId::of(node);
        let begun = Begun::of(base.membership.or(log.membership), &beginning, id)?;
        let hollow = is_hollow(&begun.membership, id, lost)?;
        if !begun.membership.is_empty() {
            state.set_membership(begun.membership.encode());
        }
        let replay_to = log.hard_state.commit.max(applied);
        let replaying = begun.membership == Membership::of_voters([id]) || replay_to > applied;
        state.set_replaying(replaying);
        let start = Start {
            limits,
            id,
            membership: begun.membership,
            hard_state: remembered(log.hard_state),
            applied: start_at(applied),
            seed,
            reader: log.reader,
            frame_bytes_max: log_options.frame_bytes_max(),
            election_ticks: election_ticks.max(ELECTION_TICKS_MIN),
            first_membership: begun.first,
            hollow,
        };
        let view = state.publish();
        let replica = Replica {
            limits,
            execution: Execution::new(service, limits, state),
            open_replies: Vec::new(),
            clock: LogClock::after(base.applied.time),
            effects: Effects::default(),
            consensus: Consensus::start(start),
            queue: Queue::default(),
            reads: Reads::default(),
            in_flight: VecDeque::new(),
            confirming: Confirming::new(confirm),
            published: 0,
            view,
            seed,
            segment_bytes,
            node,
            replaying,
            replay_to,
            hollow,
            divergence: Divergence::default(),
            snapshots: Snapshots::default(),
            builds: Builds::default(),
            skew: Skew::default(),
            led: None,
            changing: None,
            disk_low: false,
            draining: false,
            handover: Handover::default(),
            stopped: None,
            jobs: Jobs::default(),
            log_bytes_unflushed: 0,
            ticks: 0,
            quiet_since: 0,
        };
        Ok(Opened { replica, writer: log.writer, cut: log.cut })
    }
}

/// The members at the position of the base; and, written with the first frame of a new log, those it begins with.
struct Begun {
    membership: Membership,
    first: Option<Vec<u8>>,
}

impl Begun {
    /// The log states the members it began with, the base those at its position.
    fn of(stored: Option<Vec<u8>>, beginning: &Beginning, id: PeerId) -> Result<Begun, Fault> {
        if let Some(stored) = stored {
            return Ok(Begun { membership: members_of(&stored)?, first: None });
        }
        let membership = beginning.members(id);
        let first = (!membership.is_empty()).then(|| membership.encode());
        Ok(Begun { membership, first })
    }
}

/// Where the log begins, if there is no base and it begins later: a replica that began with a peer's snapshot lost that. What it said
/// that it has is in the log; its state is to be had from a peer.
fn lost_base(disk: &dyn Disk, options: LogOptions, applied: LogIndex) -> Result<Option<(LogIndex, Term)>, Fault> {
    if applied > LogIndex(0) {
        return Ok(None);
    }
    Ok(log::begins_behind(disk, options)?.filter(|(behind, _)| *behind > LogIndex(0)))
}

fn is_hollow(membership: &Membership, id: PeerId, lost: Option<(LogIndex, Term)>) -> Result<bool, Fault> {
    match lost {
        Some((behind, _)) if membership.voters == [id.0] => {
            let detail = format!("base.redb is gone, the log has what came after entry {behind}, and no other voter has the state");
            Err(Fault::new(FaultKind::Damage, "open", "log", detail))
        }
        lost => Ok(membership.is_empty() || lost.is_some()),
    }
}

fn log_reaches(log: &log::Opened, applied: LogIndex) -> Result<(), Fault> {
    let (first, last) = (log.reader.first(), log.reader.last());
    if last >= applied && first <= applied.next() {
        return Ok(());
    }
    let detail = format!("base.redb holds everything up to entry {applied}, the log has {first} to {last}: entries are missing");
    Err(Fault::new(FaultKind::Damage, "open", "log", detail))
}

fn remembered(hard_state: HardState) -> HardState {
    if planted("term and vote forgotten") { HardState { commit: hard_state.commit, ..HardState::default() } } else { hard_state }
}

fn start_at(applied: LogIndex) -> LogIndex {
    if planted("applied twice after a restart") { LogIndex(applied.0.saturating_sub(1)) } else { applied }
}

impl Beginning {
    fn members(&self, id: PeerId) -> Membership {
        match self {
            Beginning::Alone => Membership::of_voters([id]),
            Beginning::Voters(voters) => Membership::of_voters(voters.iter().copied()),
            Beginning::Join => Membership::default(),
        }
    }
}

fn members_of(stored: &[u8]) -> Result<Membership, Fault> {
    Membership::decode(stored).ok_or_else(|| Fault::new(FaultKind::Damage, "open", "base.redb", "the record of the members makes no sense"))
}
