//! The dashboard for Grafana and the alert rules for Prometheus name metrics that exist, and the rules alert when they
//! should.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use aldis_tests::TestServer;
use regex::Regex;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The metrics of a server, a histogram by the names of its series.
fn existing() -> BTreeSet<String> {
    let page = TestServer::shared().metrics();
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")).to_vec(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

fn named(text: &str) -> BTreeSet<String> {
    let name = Regex::new(r"\b(?:aldis|process)_[a-z_]+").unwrap();
    name.find_iter(text).map(|found| found.as_str().to_owned()).collect()
}

/// Every expression of the dashboard.
fn expressions(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(text) if name == "expr" || name == "query" => vec![text.to_owned()],
                _ => expressions(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(expressions).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_metric_that_the_dashboard_names_exists() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana-dashboard.json")).unwrap();
    let all = expressions(&dashboard).join("\n");
    let (named, existing) = (named(&all), existing());
    assert!(named.len() > 20, "{named:?}");
    let unknown: Vec<&String> = named.difference(&existing).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let shown = |name: &String| !name.ends_with("_sum") && !name.ends_with("_count");
    let missing: Vec<&String> =
        existing.difference(&named).filter(|name| shown(name) && !name.ends_with("_bucket")).collect();
    assert!(missing.is_empty(), "the dashboard shows every metric but {missing:?}");
}

#[test]
fn every_panel_has_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana-dashboard.json")).unwrap();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(side("x") + side("w") <= 24, "{}", panel["title"]);
        for (x, y) in (side("x")..side("x") + side("w"))
            .flat_map(|x| (side("y")..side("y") + side("h")).map(move |y| (x, y)))
        {
            assert!(taken.insert((x, y)), "{} overlaps another panel", panel["title"]);
        }
    }
}

#[test]
fn every_metric_that_an_alert_names_exists() {
    let rules = read("docs/alerts.yml");
    let expressions: Vec<&str> =
        rules.lines().filter(|line| line.contains("expr:") || line.contains("histogram_quantile")).collect();
    let (named, existing) = (named(&expressions.join("\n")), existing());
    assert!(named.len() >= 8, "{named:?}");
    let unknown: Vec<&String> = named.difference(&existing).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_rules_alert_when_they_should_and_only_then() {
    for arguments in [["check", "rules", "docs/alerts.yml"], ["test", "rules", "tests/alerts/rules.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir(root()).output();
        let output = output.expect("the program promtool: `tests/run` installs it");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
