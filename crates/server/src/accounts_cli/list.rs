//! Lists all accounts as a table.

use aldis_protocol::Timestamp;
use serde_json::{Value, json};

use super::{AccountsError, print as write};
use crate::store::{AccountSummary, Store};

/// How many accounts one query reads.
const PAGE: i64 = 500;

const HEADER: &str = "user_id\temail\tfingerprint\tstate\ttotp\tcreated_at\n";
const NONE: &str = "-";

/// Prints a line for each account, in the order in which they were created, until the reader closes the pipe. As JSON it is
/// one array.
pub(super) async fn print(store: &Store, json: bool) -> Result<(), AccountsError> {
    let mut is_read = write(if json { "[" } else { HEADER });
    let mut last = None;
    while is_read {
        let page = store.accounts_after(last, PAGE).await?;
        let before = if last.is_none() { "\n" } else { ",\n" };
        is_read = match (json, page.is_empty()) {
            (false, _) => write(&page.iter().map(line).collect::<String>()),
            (true, true) => true,
            (true, false) => {
                let objects: Vec<String> = page.iter().map(|account| object(account).to_string()).collect();
                write(&format!("{before}{}", objects.join(",\n")))
            }
        };
        match page.last() {
            Some(account) => last = Some(account.user_id),
            None => break,
        }
    }
    if json {
        write("\n]\n");
    }
    Ok(())
}

fn object(account: &AccountSummary) -> Value {
    let AccountSummary { user_id, email, fingerprint, created_at_ms, .. } = account;
    json!({
        "user_id": user_id,
        "email": email,
        "fingerprint": fingerprint,
        "state": state(account),
        "totp": account.second_factor_at_ms.is_some(),
        "created_at": Timestamp::from_ms(*created_at_ms).to_string(),
    })
}

const fn state(account: &AccountSummary) -> &'static str {
    if account.disabled_at_ms.is_some() { "disabled" } else { "active" }
}

fn line(account: &AccountSummary) -> String {
    let AccountSummary { user_id, created_at_ms, .. } = account;
    let email = account.email.as_deref().map_or_else(|| NONE.to_owned(), shown);
    let fingerprint =
        account.fingerprint.map_or_else(|| NONE.to_owned(), |fingerprint| fingerprint.to_string());
    let state = state(account);
    let totp = if account.second_factor_at_ms.is_some() { "on" } else { "off" };
    let created_at = Timestamp::from_ms(*created_at_ms);
    format!("{user_id}\t{email}\t{fingerprint}\t{state}\t{totp}\t{created_at}\n")
}

/// An address that is safe to print: no character can reverse the rest of the line, and no spreadsheet takes it for a
/// formula, which begins with one of these signs.
fn shown(email: &str) -> String {
    let mut shown = String::with_capacity(email.len());
    for (place, character) in email.chars().enumerate() {
        let begins_formula = place == 0 && matches!(character, '=' | '+' | '-' | '@');
        let is_plain = character.is_ascii_graphic() || character.is_alphanumeric();
        if is_plain && !begins_formula {
            shown.push(character);
        } else {
            shown.extend(character.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn an_address_cannot_reverse_a_line() {
        assert_eq!(shown("o'brien+x@bücher.example"), "o'brien+x@bücher.example");
        assert_eq!(shown("a\u{202e}b@c"), "a\\u{202e}b@c");
        assert_eq!(shown("a\u{1b}[2Jb@c"), "a\\u{1b}[2Jb@c");
    }

    #[test]
    fn an_address_is_no_formula() {
        assert_eq!(shown("=cmd|'/c calc'!A0@c"), "\\u{3d}cmd|'/c\\u{20}calc'!A0@c");
        for sign in ["+", "-", "="] {
            assert!(shown(&format!("{sign}1+1@c")).starts_with("\\u{"), "{sign}");
        }
        assert_eq!(shown("a=b@c"), "a=b@c");
    }
}
