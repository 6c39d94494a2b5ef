//! Making a failure small: of all that went wrong in a run, the few things that suffice for it.
//!
//! A run's faults are a list that is drawn beforehand, each with chance of its own, so that leaving some out changes nothing
//! about the others.

use crate::checks::Verdict;
use crate::plan::{Options, Plan};
use crate::workload::Workload;
use crate::world::{Report, run};

/// A failure, made small.
#[derive(Debug, Clone)]
pub struct Shrunk {
    /// The numbers of the faults that suffice.
    pub keep: Vec<usize>,
    /// How many there were.
    pub faults: usize,
    /// Runs that it took.
    pub runs: usize,
    /// The run with these alone, with everything that happens in it.
    pub report: Report,
}

/// Looks for few faults with which the run of these options breaks the same promise; gives up after so many runs.
pub fn shrink(options: &Options, workload: &mut dyn FnMut() -> Box<dyn Workload>, runs_max: usize) -> Shrunk {
    let all: Vec<usize> = Plan::draw(options, workload().before().is_some()).injections.iter().map(|injection| injection.number).collect();
    let faults = all.len();
    let mut runs = 1;
    let wanted = promise(&run(options, workload).verdict);
    let mut keep = all;
    let mut part = keep.len().div_ceil(2);
    while part > 0 && runs < runs_max {
        let mut from = 0;
        let mut left_out = false;
        while from < keep.len() && runs < runs_max {
            let rest: Vec<usize> = [&keep[..from], &keep[(from + part).min(keep.len())..]].concat();
            runs += 1;
            let tried = Options { keep: Some(rest.clone()), trace: false, ..options.clone() };
            if wanted.is_some() && promise(&run(&tried, workload).verdict) == wanted {
                keep = rest;
                left_out = true;
            } else {
                from += part;
            }
        }
        if !left_out || part > 1 {
            part = if part == 1 { 0 } else { part.div_ceil(2) };
        }
    }
    let kept = Options { keep: Some(keep.clone()), trace: true, ..options.clone() };
    Shrunk { keep, faults, runs, report: run(&kept, workload) }
}

fn promise(verdict: &Verdict) -> Option<&'static str> {
    match verdict {
        Verdict::Kept => None,
        Verdict::Broken(broken) | Verdict::Stuck(broken) => Some(broken.promise),
    }
}
