//! The results of several runs.

use std::fmt;

/// The minimum, median and maximum of some figures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of at least one figure.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let last = figures.len() - 1;
        Self { min: figures[0], median: figures[figures.len() / 2], max: figures[last] }
    }

    /// The median.
    pub(crate) const fn median(&self) -> f64 {
        self.median
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = f.precision().unwrap_or(2);
        let Self { min, median, max } = self;
        write!(f, "{min:.decimals$} | {median:.decimals$} | {max:.decimals$}")
    }
}

/// Prints a row of the table in `docs/benchmarks.md`.
pub(crate) fn row(what: &str, decimals: usize, figures: impl IntoIterator<Item = f64>) {
    println!("| {what} | {:.decimals$} |", Spread::of(figures));
}
