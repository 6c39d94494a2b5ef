//! The network: what is cut, what is slow, what is lost, and when the rest arrives.
//!
//! Places are machines, then clients. Each pair has a stream of chance of its own in each direction.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// How a link is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Disturbance {
    pub(crate) cut: bool,
    /// Messages lost, of a thousand.
    pub(crate) lost: u64,
    /// Messages doubled, of a thousand.
    pub(crate) doubled: u64,
    /// Microseconds added, at most.
    pub(crate) delay: u64,
}

impl Disturbance {
    fn and(self, other: Disturbance) -> Disturbance {
        Disturbance {
            cut: self.cut || other.cut,
            lost: self.lost.max(other.lost),
            doubled: self.doubled.max(other.doubled),
            delay: self.delay.max(other.delay),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    /// The ordinary way of a message: microseconds at least, and more at most.
    base: (u64, u64),
    /// What disturbs which directed link, by who asked for it.
    disturbances: BTreeMap<(usize, usize), BTreeMap<usize, Disturbance>>,
    /// By who sends, then who receives.
    streams: Vec<Vec<Chance>>,
    pub(crate) sent: u64,
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

impl Network {
    pub(crate) fn new(seed: u64, places: usize, base: (u64, u64)) -> Network {
        let stream = |from: usize, to: usize| Chance::stream(seed, "link", (from * 1_000 + to) as u64);
        let streams = (0..places).map(|from| (0..places).map(|to| stream(from, to)).collect()).collect();
        Network { base, disturbances: BTreeMap::new(), streams, sent: 0, lost: 0, doubled: 0 }
    }

    pub(crate) fn disturb(&mut self, from: usize, to: usize, by: usize, how: Disturbance) {
        self.disturbances.entry((from, to)).or_default().insert(by, how);
    }

    /// What was asked for under this number is over.
    pub(crate) fn calm(&mut self, by: usize) {
        for links in self.disturbances.values_mut() {
            links.remove(&by);
        }
        self.disturbances.retain(|_, links| !links.is_empty());
    }

    pub(crate) fn calm_all(&mut self) {
        self.disturbances.clear();
    }

    fn disturbance(&self, from: usize, to: usize) -> Disturbance {
        let Some(all) = self.disturbances.get(&(from, to)) else { return Disturbance::default() };
        all.values().fold(Disturbance::default(), |sum, next| sum.and(*next))
    }

    /// When a message that is sent now arrives: never, once, or twice.
    pub(crate) fn arrivals(&mut self, now: u64, from: usize, to: usize) -> [Option<u64>; 2] {
        self.sent += 1;
        let how = self.disturbance(from, to);
        let (base, stream) = (self.base, &mut self.streams[from][to]);
        let mut arrival = || {
            let ordinary = base.0 + stream.below(base.1 + 1);
            now + ordinary + if how.delay > 0 { stream.below(how.delay) } else { 0 }
        };
        let (first, second) = (arrival(), arrival());
        let (lost, doubled) = (stream.below(1000) < how.lost, stream.below(1000) < how.doubled);
        self.lost += u64::from(how.cut || lost);
        self.doubled += u64::from(doubled && !how.cut);
        match (how.cut || lost, doubled && !how.cut) {
            (true, false) => [None, None],
            (true, true) => [Some(second), None],
            (false, false) => [Some(first), None],
            (false, true) => [Some(first), Some(second)],
        }
    }

    /// Whether a message that arrives now gets through: a cut also stops what is under way.
    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.disturbance(from, to).cut
    }
}
