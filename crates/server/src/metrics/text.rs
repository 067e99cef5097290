//! Prometheus' text format, version 0.0.4.

use std::fmt::Display;

use super::Histogram;

/// A page of metrics.
#[derive(Debug, Default)]
pub(super) struct Text(String);

impl Text {
    /// A metric without labels that goes up and down.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.line(name, value);
    }

    /// A metric without labels that only goes up.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.line(name, value);
    }

    /// A metric with one label that only goes up.
    pub(super) fn counters<N: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (N, u64)>,
    ) {
        self.head(name, help, "counter");
        values.for_each(|(value, count)| self.sample(name, &[(label, value)], count));
    }

    /// The lines before a metric's samples.
    pub(super) fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.0.push_str(&format!("# HELP {name} {help}.\n# TYPE {name} {kind}\n"));
    }

    /// A sample with labels. The values are fixed words of the server and need no escaping.
    pub(super) fn sample<N: Display>(&mut self, name: &str, labels: &[(&str, N)], value: u64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        self.line(&format!("{name}{{{}}}", labels.join(",")), value);
    }

    /// The samples of a histogram with one label. Its values are multiplied by `unit`.
    pub(super) fn histogram(&mut self, name: &str, label: (&str, &str), histogram: &Histogram, unit: f64) {
        let label = format!("{}=\"{}\"", label.0, label.1);
        for (bound, count) in histogram.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| scaled(bound, unit));
            self.line(&format!("{name}_bucket{{{label},le=\"{bound}\"}}"), count);
        }
        self.line(&format!("{name}_sum{{{label}}}"), scaled(histogram.sum(), unit));
        self.line(&format!("{name}_count{{{label}}}"), histogram.count());
    }

    /// A sample without labels, whose head is written.
    pub(super) fn value(&mut self, name: &str, value: impl Display) {
        self.line(name, value);
    }

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, series: &str, value: impl Display) {
        self.0.push_str(&format!("{series} {value}\n"));
    }
}

/// Rounded to the microsecond, so that no digits of binary fractions appear.
#[allow(clippy::cast_precision_loss, reason = "a sum beyond 2^53 loses its last digits")]
fn scaled(value: u64, unit: f64) -> String {
    ((value as f64 * unit * 1e6).round() / 1e6).to_string()
}
