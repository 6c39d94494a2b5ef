//! Watches what every replica does and every client is told, and holds it against the promises.

use std::collections::BTreeMap;

use onebox_replica::AppliedEntry;
use onebox_replica::entry::{Entry, RecordKind};
use onebox_service::attempt::{Fate, RequestId};
use onebox_store::LogIndex;
use onebox_store::log::LogEntry;

use crate::checks::executed_means_by_a_majority::Applied;
use crate::checks::one_leader_per_term::Leaders;
use crate::checks::refusals_change_nothing::Refusals;
use crate::checks::replicas_agree::Agreement;
use crate::checks::requests_take_effect_once::Effects;
use crate::checks::{Breach, acknowledged_writes_survive, reads_go_forward};
use crate::workload::Workload;

#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) agreement: Agreement,
    pub(crate) leaders: Leaders,
    pub(crate) effects: Effects,
    refusals: Refusals,
    pub(crate) executed: Applied,
    /// Entries on their way to some disk, by index and term, until they are applied or others are in their place.
    logged: BTreeMap<(u64, u64), Vec<u8>>,
}

impl Judge {
    /// A replica puts entries on its disk.
    pub(crate) fn logged(&mut self, entries: &[LogEntry]) -> Result<(), Breach> {
        let applied = self.agreement.last().0;
        for entry in entries.iter().filter(|entry| entry.index.0 > applied && entry.kind == 0) {
            match self.logged.get(&(entry.index.0, entry.term.0)) {
                None => drop(self.logged.insert((entry.index.0, entry.term.0), entry.data.clone())),
                Some(known) if *known == entry.data => {}
                Some(_) => {
                    let words = format!("entry {} of {:?} is not the same everywhere", entry.index, entry.term);
                    return Err(("logs match", words));
                }
            }
        }
        Ok(())
    }

    /// A replica applied an entry.
    pub(crate) fn applied(&mut self, who: usize, entry: AppliedEntry, workload: &mut dyn Workload) -> Result<(), Breach> {
        if !self.agreement.applied(who, entry)? {
            return Ok(());
        }
        let data = self.logged.remove(&(entry.index.0, entry.term.0)).unwrap_or_default();
        while self.logged.first_key_value().is_some_and(|((index, _), _)| *index <= entry.index.0) {
            self.logged.pop_first();
        }
        if data.is_empty() {
            return Ok(());
        }
        let decoded = Entry::decode(&data).map_err(|what| ("entries can be read", what))?;
        for record in decoded.records() {
            let record = record.map_err(|what| ("entries can be read", what))?;
            if record.kind != RecordKind::Call {
                continue;
            }
            self.effects.happened(entry.index, &record)?;
            self.refusals.happened(record.session, record.sequence)?;
            workload.happened(&record).map_err(|words| ("what the service promises", words))?;
        }
        Ok(())
    }

    /// A client was told that its request was carried out.
    pub(crate) fn acknowledged(
        &self,
        (id, key): (RequestId, Option<&str>),
        (response, at): (&[u8], LogIndex),
        records: bool,
    ) -> Result<(), Breach> {
        acknowledged_writes_survive::told(id, key, response, records, &self.effects)?;
        // Who asks for at least this position later must find what was acknowledged.
        self.effects.of(id, key).map_or(Ok(()), |(index, _)| reads_go_forward::answered(index, at))
    }

    /// Somebody asked what became of a request, and was told. An answer that was acknowledged may be forgotten, and what is pending is
    /// not known yet.
    pub(crate) fn fate(&mut self, id: RequestId, fate: &Fate) -> Result<(), Breach> {
        match fate {
            Fate::TookEffect { response, .. } => acknowledged_writes_survive::told(id, None, response, true, &self.effects),
            Fate::NoEffect => self.refusals.told(id, &self.effects),
            Fate::Pending | Fate::Forgotten => Ok(()),
        }
    }

    /// A client was told that its request changed nothing.
    pub(crate) fn refused(&mut self, id: RequestId) -> Result<(), Breach> {
        self.refusals.told(id, &self.effects)
    }
}
