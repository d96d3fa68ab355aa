//! Medians and quartiles: on a machine that others use too, means say little.

/// Median and quartiles of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quartiles {
    /// A quarter of the numbers is at most this.
    pub(crate) lower: f64,
    /// Half of them are at most this.
    pub(crate) median: f64,
    /// Three quarters are at most this.
    pub(crate) upper: f64,
}

impl Quartiles {
    /// Of `numbers`; `None` if there is none.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        // The quantile at `quarters` quarters of the way, between two neighbours where it falls there.
        let at = |quarters: usize| {
            let (below, rest) = (last * quarters / 4, last * quarters % 4);
            let low = sorted.get(below).copied()?;
            let high = sorted.get(below + 1).copied().unwrap_or(low);
            Some(low + (high - low) * [0.0, 0.25, 0.5, 0.75].get(rest)?)
        };
        Some(Self { lower: at(1)?, median: at(2)?, upper: at(3)? })
    }
}
