//! The pages of `docs/`: their tables, and their marked blocks.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the repository.
pub(crate) struct Page {
    name: String,
    text: String,
}

/// A block of code with the marker before it.
pub(crate) struct Block {
    /// The kind in the marker: `golden: client/ping` is `("golden", "client/ping")`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) text: String,
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

impl Page {
    pub(crate) fn read(path: &str) -> Self {
        Self { name: path.to_owned(), text: read(path) }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The cells of the first table below a heading (`## Close codes`), without its header.
    #[track_caller]
    pub(crate) fn table(&self, heading: &str) -> Vec<Vec<String>> {
        let section = self.section(heading);
        let rows = section
            .lines()
            .skip_while(|line| !line.starts_with('|'))
            .take_while(|line| line.starts_with('|'));
        let rows: Vec<_> = rows.skip(2).map(cells).collect();
        assert!(!rows.is_empty(), "{}: no table below {heading}", self.name);
        rows
    }

    /// The text below a heading, up to the next one of the same or a higher level.
    #[track_caller]
    pub(crate) fn section(&self, heading: &str) -> String {
        self.sections()
            .into_iter()
            .find_map(|(title, text)| (title == heading).then_some(text))
            .unwrap_or_else(|| panic!("{}: no heading {heading}", self.name))
    }

    /// Each heading with the text below it.
    pub(crate) fn sections(&self) -> Vec<(String, String)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let level = |line: &str| line.bytes().take_while(|byte| *byte == b'#').count();
        let mut in_code = false;
        let is_heading: Vec<bool> = lines
            .iter()
            .map(|line| {
                in_code ^= line.starts_with("```");
                !in_code && line.starts_with('#')
            })
            .collect();
        let below = |at: usize| {
            let ends = |index: &usize| is_heading[*index] && level(lines[*index]) <= level(lines[at]);
            let end = (at + 1..lines.len()).find(ends).unwrap_or(lines.len());
            lines[at + 1..end].join("\n")
        };
        (0..lines.len()).filter(|at| is_heading[*at]).map(|at| (lines[at].to_owned(), below(at))).collect()
    }

    /// The text without its blocks of code.
    fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect()
    }

    /// The blocks that have a marker.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut lines = self.text.lines();
        let mut blocks = Vec::new();
        while let Some(line) = lines.next() {
            let Some(marker) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) else {
                continue;
            };
            let (kind, name) = marker.split_once(": ").unwrap_or_else(|| panic!("{}: {line}", self.name));
            let fence = lines.next().unwrap_or_default();
            assert!(fence.starts_with("```"), "{}: no block behind {line}", self.name);
            let text = lines
                .by_ref()
                .take_while(|line| *line != "```")
                .fold(String::new(), |text, line| text + line + "\n");
            blocks.push(Block { kind: kind.to_owned(), name: name.to_owned(), text });
        }
        blocks
    }
}

/// The cells of a row, without the blanks around them.
pub(crate) fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_start_matches('|').trim_end_matches('|');
    row.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().replace('\u{0}', "|")).collect()
}

/// The words in backticks.
pub(crate) fn code_words(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A program on a page is identical to its file.
#[test]
fn programs_on_pages_are_their_files() {
    let mut shown = Vec::new();
    for name in ["docs/first-client.md", "docs/protocol/signing.md"] {
        for block in Page::read(name).blocks() {
            assert_eq!(block.kind, "file", "{name}");
            assert!(block.text == read(&block.name), "{name}: {} is another", block.name);
            shown.push(block.name);
        }
    }
    let files = fs::read_dir(repository("examples/first-client")).unwrap();
    for file in files.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file()) {
        let path = format!("examples/first-client/{}", file.file_name().to_str().unwrap());
        assert!(shown.contains(&path), "{path} is on no page");
    }
}

/// Links lead to existing files, and anchors to existing headings.
#[test]
fn links_have_targets() {
    let mut pages = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for folder in ["docs", "docs/protocol"] {
        let entries = fs::read_dir(repository(folder)).unwrap();
        let names = entries.map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()));
        pages.extend(names.filter(|name| name.ends_with(".md")));
    }
    assert!(pages.len() > 15, "{pages:?}");
    for name in &pages {
        let page = Page::read(name);
        for link in page.prose().split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = repository(name).parent().unwrap().join(file);
            let target = if file.is_empty() { repository(name) } else { target };
            assert!(target.exists(), "{name}: {link} leads nowhere");
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&target).unwrap();
                let target = Page { name: file.to_owned(), text };
                let anchors: Vec<String> =
                    target.sections().iter().map(|(title, _)| anchor_of(title)).collect();
                assert!(
                    anchors.contains(&anchor.to_owned()),
                    "{name}: {link} has no heading; there are {anchors:?}"
                );
            }
        }
    }
}

/// The anchor that GitHub makes of a heading.
fn anchor_of(heading: &str) -> String {
    let title = heading.trim_start_matches('#').trim().to_lowercase();
    let kept =
        title.chars().filter(|character| character.is_alphanumeric() || [' ', '-', '_'].contains(character));
    kept.map(|character| if character == ' ' { '-' } else { character }).collect()
}
