//! A view: one consistent, committed instant of the state, for any thread, without locks.
//!
//! It holds the runs of committed entries over a read transaction of the base, and keeps both alive: pages that a held
//! view can still see are not reused, so views should not be held for long.

use std::sync::Arc;

use onebox_service::keyspace::EachRow;
use onebox_service::{Bytes, Fault, Keyspace};

use super::Applied;
use super::base::BaseReader;
use super::merge::{self, Layer};
use super::runs::Run;

/// One consistent instant. Cloning shares it.
#[derive(Debug, Clone)]
pub struct View(Arc<Contents>);

#[derive(Debug)]
struct Contents {
    /// From the newest to the oldest.
    runs: Vec<Arc<Run>>,
    base: Arc<BaseReader>,
    position: Applied,
}

impl View {
    pub(crate) fn new(runs: Vec<Arc<Run>>, base: Arc<BaseReader>, position: Applied) -> View {
        View(Arc::new(Contents { runs, base, position }))
    }

    /// The last entry whose writes this view has.
    #[must_use]
    pub fn position(&self) -> Applied {
        self.0.position
    }
}

impl Keyspace for View {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.0.runs.iter().find_map(|run| run.get(key)) {
            Some(slot) => Ok(slot.clone()),
            None => self.0.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], each: &mut EachRow<'_>) -> Result<(), Fault> {
        if from >= to {
            return Ok(());
        }
        let runs = self.0.runs.iter().filter(|run| run.may_hold(from, to));
        // A run without a row in the range would be asked again for each row of the others.
        let layers = runs.map(|run| Layer::new(run.range(from, to))).filter_map(Layer::unless_empty).collect();
        merge::scan(layers, &self.0.base, from, to, each)
    }
}
