//! Panics during a run: they are verdicts, and are told with the seed, so that nobody prints them as they happen.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};

std::thread_local! {
    /// What the last panic of the run on this thread said, and where; nothing of a thread that runs no seed.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics of runs are kept for their verdicts; all others are printed as before.
pub fn keep_for_verdicts() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let of_a_run = LAST.with_borrow_mut(|last| {
            let Some(last) = last else { return false };
            let place = info.location().map(|place| format!(", at {place}")).unwrap_or_default();
            *last = format!("{}{place}", info.payload_as_str().unwrap_or("a panic without words"));
            true
        });
        if !of_a_run {
            before(info);
        }
    }));
}

/// Does a part of a run.
///
/// # Errors
/// It panicked, with these words; where is among them if [`keep_for_verdicts`] was called.
pub(crate) fn caught<T>(part: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(part)).map_err(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let kept = LAST.with_borrow(|last| last.clone()).filter(|kept| !kept.is_empty());
        kept.unwrap_or_else(|| words.unwrap_or("a panic without words").to_owned())
    })
}

/// A run on this thread: while it is there, panics are the run's.
pub(crate) struct OfARun;

impl OfARun {
    pub(crate) fn begin() -> OfARun {
        LAST.set(Some(String::new()));
        OfARun
    }
}

impl Drop for OfARun {
    fn drop(&mut self) {
        LAST.set(None);
    }
}
