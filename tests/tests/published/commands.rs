//! The command line: docs/command-line.md names every command and every option that is no setting.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use aldis_tests::{TestServer, unique};
use regex::Regex;

use crate::page::{Page, code_words};

const PAGE: &str = "docs/command-line.md";

/// Every command of the binary, by the names of its man pages.
fn commands() -> BTreeSet<String> {
    let directory = std::env::temp_dir().join(unique("aldis-man"));
    fs::create_dir(&directory).unwrap();
    let written = TestServer::builder().run(&["man", directory.to_str().unwrap()]);
    assert!(written.status.success(), "{written:?}");
    let pages = fs::read_dir(&directory).unwrap().map(|page| {
        let name = page.unwrap().file_name().into_string().unwrap();
        name.strip_suffix(".1").unwrap().to_owned()
    });
    let pages = pages.collect();
    fs::remove_dir_all(&directory).unwrap();
    pages
}

/// The options in a command's help that are neither settings nor common to all commands.
fn options(command: &str) -> BTreeSet<String> {
    let arguments: Vec<&str> = command.split(' ').skip(1).chain(["--help"]).collect();
    let help = TestServer::builder().run(&arguments);
    let help = String::from_utf8(help.stdout).unwrap();
    let option = Regex::new(r"(?m)^ +(?:-\w, )?--([a-z-]+)(?: [^\n]*)?$").unwrap();
    let of_command = option.captures_iter(&help).filter(|found| !found[0].contains("[env: "));
    of_command.map(|found| format!("--{}", &found[1])).filter(|option| option != "--help").collect()
}

#[test]
fn the_commands_are_those_of_the_binary_with_their_options() {
    let table = Page::read(PAGE).table("## Commands");
    let shown: BTreeMap<String, BTreeSet<String>> = table
        .iter()
        .map(|row| (code_words(&row[0])[0].clone(), code_words(&row[1]).into_iter().collect()))
        .collect();
    // A page joins the words of its command, whose own words may have hyphens.
    let as_pages: BTreeSet<String> = shown.keys().map(|command| command.replace(' ', "-")).collect();
    let in_binary: BTreeSet<String> = commands().into_iter().filter(|name| name != "aldis").collect();
    assert_eq!(as_pages, in_binary);
    for (command, named) in shown {
        assert_eq!(named, options(&command), "{command}");
    }
}
