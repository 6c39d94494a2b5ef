//! What a run met, in numbers: a fault that never fires is no test.

use std::collections::BTreeMap;
use std::fmt;

use onebox_store::memory::CrashKind;

use crate::client::Counts;
use crate::machine::Work;

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) images: u64,
    kinds: BTreeMap<&'static str, u64>,
    /// Images in which some of the unsynced changes survived and others did not.
    pub(crate) mixed: u64,
    pub(crate) places: BTreeMap<Work, u64>,
    pub(crate) kills: u64,
    pub(crate) recoveries: u64,
    pub(crate) cuts: u64,
    pub(crate) digests: u64,
    pub(crate) rebuilt: u64,
    pub(crate) flushes: u64,
    pub(crate) scrubs: u64,
    pub(crate) effects: u64,
    pub(crate) counts: Counts,
}

impl Tally {
    pub(crate) fn image(&mut self, kind: CrashKind) {
        self.images += 1;
        let name = match kind {
            CrashKind::DropAll => "all dropped",
            CrashKind::KeepAll => "all kept",
            CrashKind::Random => "torn, garbled or reordered",
        };
        *self.kinds.entry(name).or_default() += 1;
    }

    pub(crate) fn add(&mut self, counts: &Counts) {
        let Counts { sent, acknowledged, refused, repeated, fates, took_effect, no_effect, reads, overloaded, put_off, unknown, disk_low } =
            counts;
        let sums = &mut self.counts;
        sums.sent += sent;
        sums.acknowledged += acknowledged;
        sums.refused += refused;
        sums.repeated += repeated;
        sums.fates += fates;
        sums.took_effect += took_effect;
        sums.no_effect += no_effect;
        sums.reads += reads;
        sums.overloaded += overloaded;
        sums.put_off += put_off;
        sums.unknown += unknown;
        sums.disk_low += disk_low;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { images, kinds, mixed, places, kills, recoveries, cuts, digests, rebuilt, flushes, scrubs, effects, counts } = self;
        writeln!(f, "{images} crash images ({mixed} of them neither all nor nothing): {kinds:?}; {kills} kills beside them")?;
        writeln!(f, "the power failed in: {places:?}")?;
        writeln!(
            f,
            "{recoveries} recoveries, {cuts} with a torn tail cut; {digests} digests compared, {rebuilt} states rebuilt from the log"
        )?;
        writeln!(f, "{flushes} flushes, {scrubs} whole scrubs, {effects} requests in the logs")?;
        write!(f, "{counts:?}")
    }
}
