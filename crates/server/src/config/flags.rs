//! The command line.

mod accounts;
mod operations;
mod pages;

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    CONFIG_VARIABLE, ConfigError, Place,
    accounts::AccountsCommand,
    layers::{Given, Layer},
    operation::Operation,
    setting::{self, Setting},
};

/// What the command line asks for.
pub(super) enum Asked {
    /// Run a task with these settings.
    Run { flags: Layer, task: Task },
    /// Print a text: help, version, a completion script or a man page.
    Text(String),
    /// Write these files to a directory.
    Files { directory: PathBuf, files: Vec<(String, Vec<u8>)> },
}

/// The task.
pub(super) enum Task {
    Serve,
    Check { json: bool },
    RotateKeys,
    Accounts { command: AccountsCommand, json: bool },
    Operate(Operation),
}

/// Parses the command line, beginning with the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, ConfigError> {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => {
            asked(&matches).ok_or_else(|| ConfigError::Usage(command().render_usage().to_string()))
        }
        Err(text) if !text.use_stderr() => Ok(Asked::Text(text.render().to_string())),
        Err(error) => Err(ConfigError::Usage(error.render().to_string())),
    }
}

fn asked(matches: &ArgMatches) -> Option<Asked> {
    if let Some(pages) = pages::asked(matches, command) {
        return Some(pages);
    }
    Some(Asked::Run { task: task(matches)?, flags: layer(matches) })
}

const CONFIG_FLAG: &str = "config";
const CHECK_FLAG: &str = "check-config";
const SERVE_COMMAND: &str = "serve";
const CHECK_COMMAND: &str = "check-config";
const KEYS_COMMAND: &str = "keys";
const JSON_FLAG: &str = "json";

/// clap does not read the environment: the layers are merged in one place, and help must not print values.
fn command() -> Command {
    Command::new("aldis")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Signaling, rooms and encrypted mail for the devices of your users")
        .after_help("A flag wins over its variable, a variable over the file.")
        // The same text at any terminal width, so that searching it for a variable works.
        .term_width(0)
        .arg(
            value_arg(
                CONFIG_FLAG.to_owned(),
                "FILE",
                format!("Configuration file, TOML [env: {CONFIG_VARIABLE}]"),
            )
            .global(true),
        )
        .arg(
            Arg::new(CHECK_FLAG)
                .long(CHECK_FLAG)
                .action(ArgAction::SetTrue)
                .help("The same as the command check-config"),
        )
        .args(all_settings())
        .subcommand(
            Command::new(SERVE_COMMAND)
                .about("Start the server; so does aldis without a command")
                .args(settings_of_command(setting::ALL)),
        )
        .subcommand(
            Command::new(CHECK_COMMAND)
                .about("Print the settings in force, with secrets masked, and exit")
                .arg(json_arg())
                .args(settings_of_command(setting::ALL)),
        )
        .subcommands(operations::commands())
        .subcommand(keys_command())
        .subcommand(accounts::command())
        .subcommands(pages::commands())
}

fn all_settings() -> impl Iterator<Item = Arg> {
    setting::ALL.iter().flat_map(|setting| arguments(setting))
}

/// The settings that may follow a command too. A global one already may.
fn settings_of_command(settings: &[&'static Setting]) -> impl Iterator<Item = Arg> {
    settings.iter().flat_map(|setting| arguments(setting)).filter(|argument| !argument.is_global_set())
}

fn json_arg() -> Arg {
    Arg::new(JSON_FLAG).long(JSON_FLAG).action(ArgAction::SetTrue).help("Print JSON, for programs")
}

fn keys_command() -> Command {
    let rotate =
        Command::new("rotate").about("Add a new key to the key file; servers use it after their next start");
    Command::new(KEYS_COMMAND)
        .about("Manage the key file; finds it by the server's settings")
        .subcommand_required(true)
        .subcommand(rotate)
}

fn task(matches: &ArgMatches) -> Option<Task> {
    if matches.get_flag(CHECK_FLAG) {
        return Some(Task::Check { json: false });
    }
    match matches.subcommand() {
        None | Some((SERVE_COMMAND, _)) => Some(Task::Serve),
        Some((CHECK_COMMAND, matches)) => Some(Task::Check { json: matches.get_flag(JSON_FLAG) }),
        Some((accounts::COMMAND, matches)) => accounts::task(matches)
            .map(|command| Task::Accounts { command, json: matches.get_flag(JSON_FLAG) }),
        Some((KEYS_COMMAND, _)) => Some(Task::RotateKeys),
        Some((name, matches)) => operations::task(name, matches).map(Task::Operate),
    }
}

fn arguments(setting: &Setting) -> Vec<Arg> {
    let default = match setting.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let help = format!("{} [env: {}]{default}", setting.help, setting.variable);
    // Every command needs this setting.
    let is_global = setting.variable == setting::DATA_DIR.variable;
    let mut arguments = vec![value_arg(setting.flag(), setting.value_name, help).global(is_global)];
    if setting.secret {
        let help = format!("The same, from a file [env: {}]", setting.file_variable());
        arguments.push(value_arg(setting.file_flag(), "FILE", help));
    }
    arguments
}

fn value_arg(flag: String, value_name: &'static str, help: String) -> Arg {
    Arg::new(flag.clone()).long(flag).value_name(value_name).help(help)
}

fn layer(matches: &ArgMatches) -> Layer {
    let mut layer = given(matches, setting::ALL);
    if let Some((name, matches)) = matches.subcommand() {
        layer.extend(given(matches, settings_after(name)));
    }
    if let Some(file) = matches.get_one::<String>(CONFIG_FLAG) {
        layer.insert(CONFIG_VARIABLE.to_owned(), from_flag(CONFIG_FLAG, file));
    }
    layer
}

/// The settings that may follow a command.
fn settings_after(command: &str) -> &'static [&'static Setting] {
    match command {
        SERVE_COMMAND | CHECK_COMMAND => setting::ALL,
        accounts::COMMAND => &accounts::SETTINGS,
        _ => operations::settings(command),
    }
}

/// The values that are set for these settings, in either form.
fn given(matches: &ArgMatches, settings: &[&Setting]) -> Layer {
    let forms = settings.iter().flat_map(|setting| {
        let file_form = setting.secret.then(|| (setting.file_flag(), setting.file_variable()));
        [(setting.flag(), setting.variable.to_owned())].into_iter().chain(file_form)
    });
    let given = forms.filter_map(|(flag, variable)| {
        let text = matches.get_one::<String>(&flag)?;
        Some((variable, from_flag(&flag, text)))
    });
    given.collect()
}

fn from_flag(flag: &str, text: &str) -> Given {
    Given::new(text.to_owned(), Place::Flag(format!("--{flag}")))
}
