//! The commands that operate a server.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::{JSON_FLAG, json_arg, setting, settings_of_command};
use crate::config::{Operation, setting::Setting};

const HEALTH_CHECK: &str = "healthcheck";
const LIVE_FLAG: &str = "live";

/// What the health check needs to find the server.
const ADDRESS_SETTINGS: [&Setting; 4] =
    [&setting::HOST, &setting::PORT, &setting::TLS_CERT, &setting::TLS_KEY];

/// The commands for clap.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let commands = [health_check()];
    commands.into_iter().map(|command| {
        let settings = settings(command.get_name());
        command.args(settings_of_command(settings))
    })
}

/// The settings that may follow a command.
pub(super) fn settings(command: &str) -> &'static [&'static Setting] {
    match command {
        HEALTH_CHECK => &ADDRESS_SETTINGS,
        _ => &[],
    }
}

/// What the command `name` asks for.
pub(super) fn task(name: &str, matches: &ArgMatches) -> Option<Operation> {
    match name {
        HEALTH_CHECK => Some(Operation::HealthCheck {
            live: matches.get_flag(LIVE_FLAG),
            json: matches.get_flag(JSON_FLAG),
        }),
        _ => None,
    }
}

fn health_check() -> Command {
    Command::new(HEALTH_CHECK)
        .about("Ask the server on this machine whether it takes clients; for containers and scripts")
        .after_help(
            "Exit code: 0 it does; 1 it does not, or does not answer; 2 wrong usage or configuration.",
        )
        .arg(
            Arg::new(LIVE_FLAG)
                .long(LIVE_FLAG)
                .action(ArgAction::SetTrue)
                .help("Ask only whether it answers: it may be draining, or its database may be away"),
        )
        .arg(json_arg())
}
