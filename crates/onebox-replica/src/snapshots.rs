//! Fetching a whole state from a peer, and giving one: for a replica that is new, or so far behind that no log reaches it.
//!
//! The follower asks, piece by piece; the leader keeps the base of one instant for it, and the log behind it. What was
//! fetched is installed by the next start, which is the one path that every start takes: so the replica stops for it.

use std::collections::BTreeMap;

use bytes::Bytes;
use onebox_service::buggify::buggify;
use onebox_service::{Fault, FaultKind, Time};
use onebox_store::state::{Applied, Chain, SnapshotFacts, SnapshotImport, SnapshotSource, StateDigest};
use onebox_store::{Disk, LogIndex, NodeId, Term};

use crate::effect::{Job, Note, Stop};
use crate::membership::PeerId;
use crate::peer::{Fetch, PeerBody, PeerMessage, SnapshotRow, SnapshotRows};
use crate::replica::Replica;

/// Ticks after which a piece is asked for again.
pub(crate) const ASK_AGAIN_TICKS: u64 = 10;
/// Ticks for which a giver may be silent before another is asked, for another snapshot.
const SILENT_TICKS: u64 = 200;
/// Ticks after a peer last asked for a piece, or was given one, for which a snapshot, and the log behind it, is kept for it.
const KEPT_TICKS: u64 = 1_000;

/// Both sides of it.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// This replica wants one, of at least this position.
    wanted: Option<LogIndex>,
    import: Option<Box<SnapshotImport>>,
    /// A piece is being written.
    writing: bool,
    /// Rows that were there when the last piece came, and all.
    rows: (u64, u64),
    asked_at: Option<u64>,
    /// Whose snapshot it is, and when it last gave some of it.
    giver: Option<(PeerId, u64)>,
    /// For whom one is kept.
    given: BTreeMap<PeerId, Given>,
    /// A piece is being read.
    reading: bool,
    waiting: BTreeMap<PeerId, Fetch>,
}

struct Given {
    source: SnapshotSource,
    used_at: u64,
}

/// Writes a piece of a peer's snapshot.
#[derive(Debug)]
pub struct ImportJob {
    /// None for the first piece.
    import: Option<Box<SnapshotImport>>,
    piece: SnapshotRows,
    node: NodeId,
}

impl ImportJob {
    /// Does it; gives the rest to go on with, or nothing once it is whole.
    ///
    /// # Errors
    /// The fault.
    pub fn run(self, disk: &dyn Disk) -> Result<Option<Box<SnapshotImport>>, Fault> {
        let mut import = match self.import {
            Some(import) => import,
            None => Box::new(SnapshotImport::begin(disk, facts_of(&self.piece)?)?),
        };
        let rows: Vec<_> = self.piece.rows.iter().map(|row| (row.key[..].into(), row.value[..].into())).collect();
        import.add(&rows)?;
        if self.piece.last {
            import.finish(disk, self.node)?;
            return Ok(None);
        }
        Ok(Some(import))
    }
}

/// Reads a piece of a snapshot for a peer.
#[derive(Debug)]
pub struct RowsJob {
    to: PeerId,
    source: SnapshotSource,
    after: Bytes,
    bytes: usize,
}

impl RowsJob {
    /// Does it.
    ///
    /// # Errors
    /// The fault.
    pub fn run(self) -> Result<(PeerId, Box<SnapshotRows>), Fault> {
        let SnapshotFacts { applied, chain, digest, rows: rows_total, membership } = self.source.facts();
        let (rows, last) = self.source.rows_after(&self.after, self.bytes)?;
        let copied = |row: (onebox_service::Bytes, onebox_service::Bytes)| SnapshotRow {
            key: Bytes::copy_from_slice(&row.0),
            value: Bytes::copy_from_slice(&row.1),
        };
        let piece = SnapshotRows {
            at: applied.index.0,
            term: applied.term.0,
            time: applied.time.0,
            chain: Bytes::copy_from_slice(&chain.0.to_le_bytes()),
            digest: Bytes::copy_from_slice(&digest.0.to_le_bytes()),
            rows_total,
            membership: membership.unwrap_or_default().into(),
            after: self.after,
            rows: rows.into_iter().map(copied).collect(),
            last,
        };
        Ok((self.to, Box::new(piece)))
    }
}

fn facts_of(piece: &SnapshotRows) -> Result<SnapshotFacts, Fault> {
    let number = |bytes: &Bytes| {
        let bytes = bytes[..].try_into();
        bytes.map(u128::from_le_bytes).map_err(|_| Fault::new(FaultKind::Damage, "install", "snapshot", "its chain or digest is cut short"))
    };
    Ok(SnapshotFacts {
        applied: Applied { index: LogIndex(piece.at), term: Term(piece.term), time: Time(piece.time) },
        chain: Chain(number(&piece.chain)?),
        digest: StateDigest(number(&piece.digest)?),
        rows: piece.rows_total,
        membership: Some(piece.membership.to_vec()),
    })
}

impl Snapshots {
    /// The lowest position behind which peers still need the log.
    pub(crate) fn needed_above(&self) -> Option<LogIndex> {
        self.given.values().map(|given| given.source.facts().applied.index).min()
    }

    /// While a snapshot is wanted: its rows that are there, and all; of none, as long as nothing has come.
    pub(crate) fn fetched(&self) -> Option<(u64, u64)> {
        self.wanted.map(|_| self.rows)
    }

    /// Whether a piece is being written, which may take long.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing
    }

    /// Forgets everything that others wait for.
    pub(crate) fn forget(&mut self) {
        self.given.clear();
        self.waiting.clear();
        (self.import, self.rows) = (None, (0, 0));
    }
}

impl Replica {
    /// This replica's own log and state do not do: it needs a snapshot of at least this position.
    pub(crate) fn want_snapshot(&mut self, at_least: LogIndex) {
        if self.snapshots.wanted.is_none_or(|wanted| wanted < at_least && self.divergence.at().is_some()) {
            self.effects.notes.push(Note::FetchesSnapshot { at_least });
            self.snapshots.wanted = Some(at_least);
        }
    }

    /// Asks for the next piece, and gives up what nobody asks for any more.
    pub(crate) fn snapshots_tick(&mut self) {
        let now = self.ticks;
        self.snapshots.given.retain(|_, given| now - given.used_at <= KEPT_TICKS);
        if self.hollow && self.consensus.leader().is_some() {
            // Of its own log nothing may be lost: the snapshot must be of an entry that is in it, unless it is empty.
            let (behind, last) = self.consensus.progress();
            self.want_snapshot(behind.next().min(last).max(LogIndex(1)));
        }
        if self.snapshots.asked_at.is_none_or(|asked| now - asked >= ASK_AGAIN_TICKS) {
            self.ask_for_rows();
        }
    }

    fn ask_for_rows(&mut self) {
        let Some(at_least) = self.snapshots.wanted else { return };
        let import = self.snapshots.import.as_ref().filter(|import| import.facts().applied.index >= at_least);
        // Whoever has begun goes on, also when another leads by now: each has another snapshot.
        let begun = self.snapshots.giver.filter(|(_, given_at)| import.is_some() && self.ticks - given_at <= SILENT_TICKS);
        let leader = self.consensus.leader().filter(|leader| *leader != self.consensus.id());
        let Some(giver) = begun.map(|(giver, _)| giver).or(leader) else { return };
        if self.snapshots.writing {
            return;
        }
        self.snapshots.asked_at = Some(self.ticks);
        let fetch = Fetch {
            at: import.map_or(0, |import| import.facts().applied.index.0),
            at_least: at_least.0,
            after: import.map_or_else(Bytes::new, |import| Bytes::copy_from_slice(import.last_key())),
            diverged_at: self.divergence.at().map_or(0, |at| at.0),
        };
        self.say(giver, PeerBody::Fetch(fetch));
    }

    pub(crate) fn say(&mut self, to: PeerId, body: PeerBody) {
        self.effects.messages.push(PeerMessage::new(self.consensus.id(), to, body));
    }

    /// A peer asks for rows.
    pub(crate) fn give_rows(&mut self, to: PeerId, fetch: Fetch) {
        // Also before the first entry of a leader's term is committed: it may be this peer that is missing for it. What is in
        // the base is committed in any case.
        if !self.may_have_rows(to, &fetch) {
            return;
        }
        if let Some(given) = self.snapshots.given.get_mut(&to) {
            // The reader may be busy for long. Timeline to avoid: what is asked for again and again is forgotten before it is read.
            given.used_at = self.ticks;
        }
        self.snapshots.waiting.insert(to, fetch);
        self.read_rows();
    }

    fn read_rows(&mut self) {
        while !self.snapshots.reading
            && let Some((to, fetch)) = self.snapshots.waiting.pop_first()
        {
            let now = self.ticks;
            let kept = self.snapshots.given.get_mut(&to).filter(|given| given.source.facts().applied.index.0 == fetch.at);
            let (source, after) = match kept {
                Some(given) if !buggify("the source of a snapshot is forgotten", 256) => {
                    given.used_at = now;
                    (given.source.clone(), fetch.after)
                }
                Some(_) | None => {
                    let source = self.execution.state.snapshot();
                    if source.facts().applied.index.0 < fetch.at_least.max(1) {
                        // The peer asks again when there is more in the base.
                        self.execution.state.request_flush();
                        continue;
                    }
                    self.snapshots.given.insert(to, Given { source: source.clone(), used_at: now });
                    (source, Bytes::new())
                }
            };
            self.snapshots.reading = true;
            self.effects.jobs.push(Job::ReadRows(Box::new(RowsJob { to, source, after, bytes: self.limits.snapshot_piece_bytes })));
        }
    }

    /// A piece was read for a peer.
    pub(crate) fn rows_read(&mut self, read: Result<(PeerId, Box<SnapshotRows>), Fault>) {
        self.snapshots.reading = false;
        match read {
            Ok((to, piece)) => {
                if let Some(given) = self.snapshots.given.get_mut(&to) {
                    given.used_at = self.ticks;
                }
                self.say(to, PeerBody::Rows(*piece));
                self.read_rows();
            }
            Err(fault) => self.stop(Stop::Fault(fault)),
        }
    }

    /// A piece has come.
    pub(crate) fn take_rows(&mut self, from: PeerId, piece: SnapshotRows) {
        let snapshots = &mut self.snapshots;
        if snapshots.writing || snapshots.wanted.is_none_or(|at_least| piece.at < at_least.0) {
            return;
        }
        let next = snapshots.import.as_ref().is_some_and(|import| {
            import.facts().applied.index.0 == piece.at && import.last_key() == &piece.after[..] && !piece.after.is_empty()
        });
        if !next && !piece.after.is_empty() {
            // A piece that came twice, or late.
            return;
        }
        let import = snapshots.import.take().filter(|_| next);
        snapshots.giver = Some((from, self.ticks));
        self.divergence.helped(self.ticks);
        snapshots.writing = true;
        self.effects.jobs.push(Job::Import(Box::new(ImportJob { import, piece, node: self.node })));
    }

    /// A piece was written.
    pub(crate) fn rows_written(&mut self, written: Result<Option<Box<SnapshotImport>>, Fault>) {
        self.snapshots.writing = false;
        match written {
            Ok(Some(import)) => {
                self.snapshots.rows = (import.rows(), import.facts().rows);
                self.snapshots.import = Some(import);
                self.ask_for_rows();
            }
            Ok(None) => self.stop(Stop::Fetched),
            // Rows that are not what was stated: from the beginning.
            Err(fault) if fault.kind == FaultKind::Damage => {
                self.snapshots.rows = (0, 0);
                self.effects.notes.push(Note::SnapshotRefused(fault));
            }
            Err(fault) => self.stop(Stop::Fault(fault)),
        }
    }
}
