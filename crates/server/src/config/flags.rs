//! The command line.

mod accounts;

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{
    CONFIG_VARIABLE, ConfigError, Place,
    accounts::AccountsCommand,
    layers::{Given, Layer},
    setting::{self, Setting},
};

/// What the command line asks for.
pub(super) enum Asked {
    /// Run a task with these settings.
    Run { flags: Layer, task: Task },
    /// Print a text: help or version.
    Text(String),
}

/// The task.
pub(super) enum Task {
    Serve,
    Check,
    RotateKeys,
    Accounts(AccountsCommand),
}

/// Parses the command line, beginning with the program's name.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, ConfigError> {
    match command().try_get_matches_from(arguments) {
        Ok(matches) => {
            let task =
                task(&matches).ok_or_else(|| ConfigError::Usage(command().render_usage().to_string()))?;
            Ok(Asked::Run { task, flags: layer(&matches) })
        }
        Err(text) if !text.use_stderr() => Ok(Asked::Text(text.render().to_string())),
        Err(error) => Err(ConfigError::Usage(error.render().to_string())),
    }
}

const CONFIG_FLAG: &str = "config";
const CHECK_FLAG: &str = "check-config";
const KEYS_COMMAND: &str = "keys";

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
                .help("Print the settings in force, with secrets masked, and exit"),
        )
        .args(setting::ALL.iter().flat_map(|setting| arguments(setting)))
        .subcommand(keys_command())
        .subcommand(accounts::command())
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
        return Some(Task::Check);
    }
    match matches.subcommand() {
        None => Some(Task::Serve),
        Some((accounts::COMMAND, matches)) => accounts::task(matches).map(Task::Accounts),
        Some((KEYS_COMMAND, _)) => Some(Task::RotateKeys),
        Some(_) => None,
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
    if let Some(matches) = matches.subcommand_matches(accounts::COMMAND) {
        layer.extend(given(matches, &accounts::SETTINGS));
    }
    if let Some(file) = matches.get_one::<String>(CONFIG_FLAG) {
        layer.insert(CONFIG_VARIABLE.to_owned(), from_flag(CONFIG_FLAG, file));
    }
    layer
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
