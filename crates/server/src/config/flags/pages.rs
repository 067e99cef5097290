//! Completion scripts and man pages, generated from the command line itself.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Asked;

const COMPLETIONS: &str = "completions";
const SHELL: &str = "SHELL";
const MAN: &str = "man";
const DIRECTORY: &str = "DIRECTORY";

/// The commands for clap.
pub(super) fn commands() -> [Command; 2] {
    let completions = Command::new(COMPLETIONS)
        .about("Print the completion script for a shell")
        .arg(Arg::new(SHELL).required(true).value_parser(value_parser!(Shell)));
    let man = Command::new(MAN).about("Print the man page, or write the pages of all commands").arg(
        Arg::new(DIRECTORY)
            .value_parser(value_parser!(PathBuf))
            .help("An existing directory, for aldis.1, aldis-serve.1 and so on"),
    );
    [completions, man]
}

/// What they ask for; `None` if another command was given.
pub(super) fn asked(matches: &ArgMatches, command: impl Fn() -> Command) -> Option<Asked> {
    match matches.subcommand()? {
        (COMPLETIONS, matches) => {
            let shell = *matches.get_one::<Shell>(SHELL)?;
            Some(Asked::Text(completion_script(shell, &mut command())))
        }
        (MAN, matches) => Some(match matches.get_one::<PathBuf>(DIRECTORY) {
            Some(directory) => Asked::Files { directory: directory.clone(), files: all_pages(command()) },
            None => Asked::Text(String::from_utf8_lossy(&page(&command())).into_owned()),
        }),
        _ => None,
    }
}

fn completion_script(shell: Shell, command: &mut Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The page of a command and those of its subcommands, by file name.
fn all_pages(mut command: Command) -> Vec<(String, Vec<u8>)> {
    command.build();
    let mut pages = Vec::new();
    collect(&command, command.get_name(), &mut pages);
    pages
}

fn collect(command: &Command, name: &str, pages: &mut Vec<(String, Vec<u8>)>) {
    let named = command.clone().name(name.to_owned());
    pages.push((format!("{name}.1"), page(&named)));
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        collect(subcommand, &format!("{name}-{}", subcommand.get_name()), pages);
    }
}

fn page(command: &Command) -> Vec<u8> {
    let mut page = Vec::new();
    // Writing to a `Vec` cannot fail.
    let _ = Man::new(command.clone()).render(&mut page);
    page
}
