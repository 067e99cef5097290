//! The commands that operate a server.

use std::path::PathBuf;

use aldis_protocol::{DeviceId, MessageId, RoomId};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::{JSON_FLAG, json_arg, setting, settings_of_command};
use crate::config::{BackupWanted, Operation, RestoreWanted, setting::Setting};

const HEALTH_CHECK: &str = "healthcheck";
const LIVE_FLAG: &str = "live";
const BACKUP: &str = "backup";
const RESTORE: &str = "restore";
const FILE: &str = "FILE";
const SEAL_FLAG: &str = "seal";
const PASSPHRASE_FLAG: &str = "passphrase-file";
const OVERWRITE_FLAG: &str = "overwrite";
const POSTGRES_FLAG: &str = "after-pg-restore";
const MIGRATE: &str = "migrate";
const SESSIONS: &str = "sessions";
const ROOMS: &str = "rooms";
const LIST: &str = "list";
const CLOSE: &str = "close";
const SHOW: &str = "show";
const REMOVE: &str = "remove";
const DEVICE: &str = "DEVICE_ID";
const ROOM: &str = "ROOM";
const TRACE: &str = "trace";
const MESSAGE: &str = "MESSAGE_ID";
const DRY_RUN_FLAG: &str = "dry-run";

/// What the health check needs to find the server.
const ADDRESS_SETTINGS: [&Setting; 5] =
    [&setting::HOST, &setting::PORT, &setting::TLS_CERT, &setting::TLS_KEY, &setting::TLS_SELF_SIGNED];

const SESSION_SETTINGS: [&Setting; 2] = [&setting::DATABASE_URL, &setting::ADMIN_LISTEN];
const DATABASE_SETTINGS: [&Setting; 1] = [&setting::DATABASE_URL];

/// The commands for clap.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let commands = [health_check(), backup(), restore(), migrate(), sessions(), rooms(), trace()];
    commands.into_iter().map(|command| {
        let settings = settings(command.get_name());
        let is_group = command.has_subcommands();
        command.args(settings_of_command(settings).map(|argument| argument.global(is_group)))
    })
}

/// The settings that may follow a command.
pub(super) fn settings(command: &str) -> &'static [&'static Setting] {
    match command {
        HEALTH_CHECK => &ADDRESS_SETTINGS,
        BACKUP | RESTORE | MIGRATE | ROOMS | TRACE => &DATABASE_SETTINGS,
        SESSIONS => &SESSION_SETTINGS,
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
        BACKUP => Some(Operation::Backup(BackupWanted {
            file: path(matches, FILE)?,
            seal: matches.get_flag(SEAL_FLAG),
            passphrase_file: path(matches, PASSPHRASE_FLAG),
            json: matches.get_flag(JSON_FLAG),
        })),
        RESTORE if matches.get_flag(POSTGRES_FLAG) => {
            Some(Operation::RestoredByPostgres { json: matches.get_flag(JSON_FLAG) })
        }
        RESTORE => Some(Operation::Restore(RestoreWanted {
            file: path(matches, FILE)?,
            passphrase_file: path(matches, PASSPHRASE_FLAG),
            overwrite: matches.get_flag(OVERWRITE_FLAG),
            json: matches.get_flag(JSON_FLAG),
        })),
        MIGRATE => Some(Operation::Migrate {
            dry_run: matches.get_flag(DRY_RUN_FLAG),
            json: matches.get_flag(JSON_FLAG),
        }),
        SESSIONS => sessions_task(matches),
        ROOMS => rooms_task(matches),
        TRACE => {
            let message = *matches.get_one(MESSAGE)?;
            Some(Operation::Trace { message, json: matches.get_flag(JSON_FLAG) })
        }
        _ => None,
    }
}

fn sessions_task(matches: &ArgMatches) -> Option<Operation> {
    let (name, matches) = matches.subcommand()?;
    let json = matches.get_flag(JSON_FLAG);
    match name {
        LIST => Some(Operation::ListSessions { json }),
        CLOSE => Some(Operation::CloseSession { device: matches.get_one::<DeviceId>(DEVICE)?.clone(), json }),
        _ => None,
    }
}

fn rooms_task(matches: &ArgMatches) -> Option<Operation> {
    let (name, matches) = matches.subcommand()?;
    let json = matches.get_flag(JSON_FLAG);
    let room = || matches.get_one::<RoomId>(ROOM).cloned();
    match name {
        LIST => Some(Operation::ListRooms { json }),
        SHOW => Some(Operation::ShowRoom { room: room()?, json }),
        REMOVE => Some(Operation::RemoveRoom { room: room()?, json }),
        _ => None,
    }
}

fn path(matches: &ArgMatches, name: &str) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(name).cloned()
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn file_arg(help: &'static str) -> Arg {
    Arg::new(FILE).value_parser(value_parser!(PathBuf)).help(help)
}

fn passphrase_arg(help: &'static str) -> Arg {
    Arg::new(PASSPHRASE_FLAG)
        .long(PASSPHRASE_FLAG)
        .value_name("FILE")
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

fn backup() -> Command {
    Command::new(BACKUP)
        .about("Copy the database (SQLite) and the key file into one file, while the server runs")
        .after_help(
            "The passphrase comes from --passphrase-file, from ALDIS_BACKUP_PASSPHRASE, or from standard input.\n\
             Exit code: 0 done; 1 failed, may work later; 2 wrong usage or configuration; 3 refused.",
        )
        .arg(file_arg("A file that does not exist yet").required(true))
        .arg(switch(SEAL_FLAG, "Seal it by a passphrase"))
        .arg(passphrase_arg("Seal it by the passphrase in this file"))
        .arg(json_arg())
}

fn restore() -> Command {
    Command::new(RESTORE)
        .about("Put a backup in place, while no server runs; ends every sign-in and tells the users")
        .after_help(
            "The passphrase of a sealed backup comes from --passphrase-file, from ALDIS_BACKUP_PASSPHRASE, or from \
             standard input.\n\
             Exit code: 0 done; 1 failed, may work later; 2 wrong usage or configuration; 3 refused. Unless it is 0, \
             nothing was changed.",
        )
        .arg(file_arg("A file that aldis backup wrote").required_unless_present(POSTGRES_FLAG))
        .arg(passphrase_arg("Where the passphrase of a sealed backup is"))
        .arg(switch(OVERWRITE_FLAG, "Replace the database and the key file that are there"))
        .arg(
            switch(POSTGRES_FLAG, "Only end every sign-in and tell the users, after pg_restore or psql")
                .conflicts_with_all([FILE, PASSPHRASE_FLAG, OVERWRITE_FLAG]),
        )
        .arg(json_arg())
}

fn migrate() -> Command {
    Command::new(MIGRATE)
        .about("Bring the tables of the database up to date; the start of the server does the same")
        .arg(switch(DRY_RUN_FLAG, "Only print what would be done"))
        .arg(json_arg())
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

fn sessions() -> Command {
    let device = Arg::new(DEVICE).required(true).value_parser(|text: &str| text.parse::<DeviceId>());
    Command::new(SESSIONS)
        .about("List or close the sessions of clients")
        .subcommand_required(true)
        .subcommand(
            Command::new(LIST)
                .about("Print the sessions of the server on this machine; asks its admin listener")
                .arg(json_arg()),
        )
        .subcommand(
            Command::new(CLOSE)
                .about("Close the session of a device (4301) on every server; its client may sign in again")
                .arg(device)
                .arg(json_arg()),
        )
}

fn rooms() -> Command {
    let room = || Arg::new(ROOM).required(true).value_parser(|text: &str| text.parse::<RoomId>());
    Command::new(ROOMS)
        .about("List, show or remove stored rooms")
        .subcommand_required(true)
        .subcommand(Command::new(LIST).about("Print all rooms, by name").arg(json_arg()))
        .subcommand(Command::new(SHOW).about("Print a room and its users").arg(room()).arg(json_arg()))
        .subcommand(
            Command::new(REMOVE)
                .about(
                    "Remove a room with its members, state and messages; servers empty it within two seconds",
                )
                .arg(room())
                .arg(json_arg()),
        )
}

fn trace() -> Command {
    let message = Arg::new(MESSAGE).required(true).value_parser(|text: &str| text.parse::<MessageId>());
    Command::new(TRACE)
        .about("Print when a stored message was accepted, stored, delivered and read, without its content")
        .arg(message)
        .arg(json_arg())
}
