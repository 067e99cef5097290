//! Each public type says whether it may grow: it is `#[non_exhaustive]`, or a comment says why it is not.

#![allow(clippy::unwrap_used, reason = "the lint spares test functions, but not their helpers")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Above a type.
const OF_TYPE: &str = "// Exhaustive on purpose: ";
/// Anywhere in a file.
const OF_FILE: &str = "// Exhaustive on purpose, every type of this file: ";

#[test]
fn every_public_type_may_grow_or_says_why_not() {
    let (mut types, mut silent) = (0, Vec::new());
    for file in sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let of_file = lines.iter().any(|line| line.starts_with(OF_FILE));
        for (at, line) in lines.iter().enumerate() {
            if !line.starts_with("pub struct ") && !line.starts_with("pub enum ") {
                continue;
            }
            types += 1;
            if !of_file && !says(&lines[..at]) && !is_closed(&lines[at..]) {
                silent.push(format!("{}:{}: {line}", file.display(), at + 1));
            }
        }
    }
    assert!(types > 100, "{types}");
    assert!(silent.is_empty(), "neither `#[non_exhaustive]` nor `{OF_TYPE}…`:\n{}", silent.join("\n"));
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

/// Whether the attributes and comments above a type have what is asked for.
fn says(above: &[&str]) -> bool {
    let own = above.iter().rev().take_while(|line| !line.is_empty() && !line.ends_with('{') && *line != &"}");
    own.into_iter().any(|line| *line == "#[non_exhaustive]" || line.starts_with(OF_TYPE))
}

/// Whether nobody outside of the crate can build the type or take it apart: a struct without public fields.
fn is_closed(from: &[&str]) -> bool {
    let is_struct = from[0].starts_with("pub struct ");
    let fields = if from[0].ends_with('{') {
        from[1..].iter().take_while(|line| **line != "}").any(|line| line.starts_with("pub "))
    } else {
        from[0].contains("(pub ")
    };
    is_struct && !fields
}
