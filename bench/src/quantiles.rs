//! Latencies in short: how long half of them, 99% and 99.9% took at most.

/// Quantiles of latencies, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Quantiles {
    pub(crate) p50: u32,
    pub(crate) p99: u32,
    pub(crate) p999: u32,
}

impl Quantiles {
    /// The quantiles of all of `micros`, exactly; zeros if there are none.
    pub(crate) fn of(micros: &mut [u32]) -> Quantiles {
        micros.sort_unstable();
        Quantiles { p50: at(micros, 500), p99: at(micros, 990), p999: at(micros, 999) }
    }
}

/// The least value that at least so many thousandths do not exceed.
fn at(sorted: &[u32], thousandths: usize) -> u32 {
    let rank = (sorted.len() * thousandths).div_ceil(1_000);
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut micros: Vec<u32> = (1..=1_000).rev().collect();
        assert_eq!(Quantiles::of(&mut micros), Quantiles { p50: 500, p99: 990, p999: 999 });
        assert_eq!(Quantiles::of(&mut [7]), Quantiles { p50: 7, p99: 7, p999: 7 });
        assert_eq!(Quantiles::of(&mut []), Quantiles::default());
    }
}
