//! Bugs planted on purpose, to see that the simulator finds them. Without the feature `mutants`, which no service has, the
//! question is `false` at compile time and nothing of them is left.

#[cfg(feature = "mutants")]
std::thread_local! {
    static PLANTED: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Whether the bug of this name is planted.
#[cfg(feature = "mutants")]
pub fn planted(name: &str) -> bool {
    PLANTED.with(|planted| planted.get() == name)
}

/// Whether the bug of this name is planted: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
pub const fn planted(_name: &str) -> bool {
    false
}

/// Plants the bug of this name for whatever runs on this thread; the empty name is none.
#[cfg(feature = "mutants")]
pub fn plant(name: &'static str) {
    PLANTED.with(|planted| planted.set(name));
}
