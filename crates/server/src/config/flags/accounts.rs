//! The command `accounts` and its subcommands.

use clap::{Arg, ArgMatches, Command, value_parser};

use super::{arguments, json_arg, setting};
use crate::config::accounts::{AccountName, AccountsCommand, Source, parse_address};

/// Its name.
pub(super) const COMMAND: &str = "accounts";

/// The settings that it needs besides those of every command. They may follow the command too.
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

/// The command for clap.
pub(super) fn command() -> Command {
    Command::new(COMMAND)
        .about("Manage accounts, beside running servers or without any")
        .after_help(
            "Exit code: 0 done; 1 failed, may work later; 2 wrong usage or configuration; \
             3 refused, nothing was changed; 4 some lines of an import were invalid.",
        )
        .args(SETTINGS.iter().flat_map(|setting| arguments(setting)).map(|argument| argument.global(true)))
        .arg(json_arg().global(true))
        .subcommand_required(true)
        .subcommand(
            Command::new(CREATE)
                .about("Create an account; reads the password from standard input, or asks for it")
                .arg(Arg::new(ADDRESS).required(true).value_parser(parse_address)),
        )
        .subcommand(
            Command::new(LIST)
                .about("Print all accounts: a header, then one line each, with tabs between columns"),
        )
        .subcommand(on_account(
            DISABLE,
            "Refuse its sign-ins, revoke the existing ones and close its sockets (4302)",
        ))
        .subcommand(on_account(ENABLE, "Allow it to sign in again"))
        .subcommand(on_account(
            SET_PASSWORD,
            "Set its password (from standard input, or asks for it) and revoke its sign-ins (4301)",
        ))
        .subcommand(on_account(REMOVE_TOTP, "Remove its second factor"))
        .subcommand(on_account(REVOKE, "Revoke all its sign-ins and close its sockets (4301)"))
        .subcommand(
            Command::new(IMPORT)
                .about("Create an account for each line `email,bcrypt hash`; - is standard input")
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
