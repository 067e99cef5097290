//! Prometheus' text format, version 0.0.4.

use std::fmt::Display;

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

    /// The page.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn line(&mut self, series: &str, value: impl Display) {
        self.0.push_str(&format!("{series} {value}\n"));
    }
}
