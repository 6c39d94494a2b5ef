//! Running many specs on several threads. The outcome depends neither on their number nor on who is first.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use onebox_service::{Fault, Service, Spec};
use onebox_spec::{Rigour, Runner, Verdict};

/// Runs all specs on so many threads; gives a verdict for each, in their order.
///
/// # Errors
/// A fault of the state in memory, which is a bug of the platform.
pub(crate) fn examine(service: &Arc<dyn Service>, specs: &[Spec], rigour: Rigour, jobs: usize) -> Result<Vec<Verdict>, Fault> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<(usize, Verdict)>, Fault> {
        let mut runner = Runner::new(Arc::clone(service))?;
        let mut verdicts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(spec) = specs.get(at) else { return Ok(verdicts) };
            verdicts.push((at, runner.run(spec, rigour)));
        }
    };
    let mut verdicts = thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs.clamp(1, specs.len().max(1))).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Result<Vec<_>, Fault>>()
    })?
    .concat();
    verdicts.sort_by_key(|(at, _)| *at);
    Ok(verdicts.into_iter().map(|(_, verdict)| verdict).collect())
}

/// As many threads as the machine runs at once.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
