//! The command `accounts` and its own commands.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{arguments, setting};
use crate::config::accounts::{AccountName, AccountsCommand, Source, parse_address};

/// Its name.
pub(super) const COMMAND: &str = "accounts";

/// The settings that it needs beside those of every command, which may stand behind it too.
pub(super) const SETTINGS: [&setting::Setting; 2] = [&setting::DATABASE_URL, &setting::PASSWORD_HASH];

const ADDRESS: &str = "EMAIL";
const ACCOUNT: &str = "EMAIL|USER_ID|FINGERPRINT";
const FILE: &str = "FILE";

const CREATE: &str = "create";
const LIST: &str = "list";
const DISABLE: &str = "disable";
const ENABLE: &str = "enable";
const SET_PASSWORD: &str = "set-password";
const REMOVE_TOTP: &str = "remove-totp";
const REVOKE: &str = "revoke";
const IMPORT: &str = "import";

/// What clap has to know of it.
pub(super) fn command() -> Command {
    Command::new(COMMAND)
        .about("Manage accounts, beside running servers or without any")
        .after_help(
            "Exit code: 0 done; 1 it may work another time; 2 wrong usage or configuration; \
             3 refused, nothing is changed; 4 some lines of an import were bad.",
        )
        .args(SETTINGS.iter().flat_map(|setting| arguments(setting)).map(|argument| argument.global(true)))
        .subcommand_required(true)
        .subcommand(
            Command::new(CREATE)
                .about("Make an account; the password is read from standard input, or asked for")
                .arg(Arg::new(ADDRESS).required(true).value_parser(parse_address)),
        )
        .subcommand(
            Command::new(LIST).about("Print all accounts: a header, then a line each, columns between tabs"),
        )
        .subcommand(on_account(
            DISABLE,
            "Refuse its sign-ins, revoke all there are and close its sockets (4302)",
        ))
        .subcommand(on_account(ENABLE, "Let it sign in again"))
        .subcommand(on_account(
            SET_PASSWORD,
            "Set its password, read from standard input or asked for, and revoke its sign-ins (4301)",
        ))
        .subcommand(on_account(REMOVE_TOTP, "Take its second factor away"))
        .subcommand(on_account(REVOKE, "Revoke all its sign-ins and close its sockets (4301)"))
        .subcommand(
            Command::new(IMPORT)
                .about("Make an account of each line `email, bcrypt hash`; - is standard input")
                .arg(Arg::new(FILE).required(true).value_parser(value_parser!(Source))),
        )
}

/// What it asks for.
pub(super) fn task(matches: &ArgMatches) -> Option<AccountsCommand> {
    let (name, matches) = matches.subcommand()?;
    let account = || matches.get_one::<AccountName>(ACCOUNT).cloned();
    match name {
        CREATE => matches.get_one::<String>(ADDRESS).cloned().map(AccountsCommand::Create),
        LIST => Some(AccountsCommand::List),
        DISABLE => account().map(AccountsCommand::Disable),
        ENABLE => account().map(AccountsCommand::Enable),
        SET_PASSWORD => account().map(AccountsCommand::SetPassword),
        REMOVE_TOTP => account().map(AccountsCommand::RemoveTotp),
        REVOKE => account().map(AccountsCommand::Revoke),
        IMPORT => matches.get_one::<Source>(FILE).cloned().map(AccountsCommand::Import),
        _ => None,
    }
}

fn on_account(name: &'static str, about: &'static str) -> Command {
    let account = Arg::new(ACCOUNT).required(true).value_parser(value_parser!(AccountName));
    Command::new(name).about(about).arg(account)
}
