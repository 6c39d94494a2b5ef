//! Places in the code where a simulation makes happen what may happen and seldom does: a queue that seems full, a segment that ends
//! early, a cache that is forgotten. What is made to happen is always allowed; only its time is unlikely.
//!
//! Without the feature `buggify` the question is `false` at compile time. With it, it is `false` wherever no simulation runs on this
//! thread. Each run takes about half of the places, drawn from its seed.

#[cfg(feature = "buggify")]
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Whether this build has such places.
pub const IS_COMPILED: bool = cfg!(feature = "buggify");

/// How often each place made something happen.
pub type Taken = BTreeMap<&'static str, u64>;

#[cfg(feature = "buggify")]
struct Run {
    seed: u64,
    draws: u64,
    taken: Taken,
}

#[cfg(feature = "buggify")]
std::thread_local! {
    static RUN: RefCell<Option<Run>> = const { RefCell::new(None) };
}

/// Whether the unlikely happens here, once in so many times.
#[cfg(feature = "buggify")]
pub fn buggify(place: &'static str, once_in: u64) -> bool {
    RUN.with_borrow_mut(|run| {
        let Some(run) = run else { return false };
        run.draws += 1;
        let is_used = xxhash_rust::xxh3::xxh3_64_with_seed(place.as_bytes(), run.seed).is_multiple_of(2);
        let taken = is_used && xxhash_rust::xxh3::xxh3_64_with_seed(&run.draws.to_le_bytes(), run.seed).is_multiple_of(once_in);
        let count = run.taken.entry(place).or_default();
        *count += u64::from(taken);
        taken
    })
}

/// Whether the unlikely happens here: never, in this build.
#[cfg(not(feature = "buggify"))]
#[inline(always)]
pub const fn buggify(_place: &'static str, _once_in: u64) -> bool {
    false
}

/// Whether this place has made something happen in the simulation that runs on this thread.
pub fn happened(_place: &str) -> bool {
    #[cfg(feature = "buggify")]
    return RUN.with_borrow(|run| run.as_ref().is_some_and(|run| run.taken.get(_place).is_some_and(|count| *count > 0)));
    #[cfg(not(feature = "buggify"))]
    false
}

/// A simulation begins on this thread.
pub fn begin(_seed: u64) {
    #[cfg(feature = "buggify")]
    RUN.set(Some(Run { seed: _seed, draws: 0, taken: Taken::new() }));
}

/// It ends; gives what each place that was met made happen.
pub fn end() -> Taken {
    #[cfg(feature = "buggify")]
    return RUN.take().map(|run| run.taken).unwrap_or_default();
    #[cfg(not(feature = "buggify"))]
    Taken::new()
}
