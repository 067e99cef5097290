//! Imports accounts: comma-separated values (RFC 4180), one account a line, with an email address and a bcrypt hash.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
};

use aldis_auth::BcryptHashError;
use aldis_protocol::UserId;
use uuid::Uuid;

mod columns;

use self::columns::Columns;
use super::{AccountsError, print};
use crate::{
    clock::unix_ms_i64,
    config::Source,
    email,
    store::{ImportedAccount, Store},
};

/// How many accounts one transaction creates: few, so that a running server waits only milliseconds for it.
const BATCH: usize = 100;

/// The longest line, in bytes: an address, a hash, and room for blanks.
const LONGEST_LINE: usize = 1_024;

/// Why a line is not imported. It contains no text of the line, which may be half a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BadLine {
    #[error("over {LONGEST_LINE} bytes")]
    TooLong,
    #[error("not UTF-8")]
    NotUtf8,
    #[error("not two columns, an address and a hash; if there are more, name them in a header line")]
    Columns,
    #[error("the header line has no column {0}")]
    NoColumn(&'static str),
    #[error("no valid email address")]
    NoAddress,
    #[error("no valid hash: {0}")]
    NoHash(#[from] BcryptHashError),
}

/// The counts that are printed at the end.
#[derive(Debug, Default)]
struct Counts {
    lines: u64,
    imported: u64,
    existed: u64,
    bad: u64,
}

/// Creates an account for each line, except if the address is taken, reports invalid lines, and prints the counts.
pub(super) async fn import(store: &Store, source: Source, json: bool) -> Result<(), AccountsError> {
    let (mut lines, path) = open(source)?;
    let mut counts = Counts::default();
    let mut columns = Columns::default();
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(line) =
        next_line(&mut lines).map_err(|source| AccountsError::ImportFile { path: path.clone(), source })?
    {
        counts.lines += 1;
        match line.and_then(|line| parse(&line, counts.lines == 1, &mut columns)) {
            Ok(account) => batch.extend(account),
            Err(bad) => counts.refuse(bad),
        }
        if batch.len() == BATCH {
            counts.write(store, std::mem::take(&mut batch)).await?;
        }
    }
    counts.write(store, batch).await?;
    counts.report(json)
}

impl Counts {
    fn refuse(&mut self, bad: BadLine) {
        self.bad += 1;
        let _ = writeln!(io::stderr(), "line {}: {bad}", self.lines);
    }

    async fn write(&mut self, store: &Store, batch: Vec<ImportedAccount>) -> Result<(), AccountsError> {
        let size = batch.len();
        let imported = store.import_accounts(batch, unix_ms_i64()).await.map_err(|error| {
            let done = self.imported + self.existed;
            AccountsError::Database(format!(
                "{}; the first {done} good lines are imported, import all again for the rest",
                error.with_causes()
            ))
        })?;
        self.imported += imported as u64;
        self.existed += (size - imported) as u64;
        Ok(())
    }

    fn report(&self, json: bool) -> Result<(), AccountsError> {
        let Self { imported, existed, bad, .. } = self;
        print(&if json {
            format!("{}\n", serde_json::json!({ "imported": imported, "existed": existed, "bad": bad }))
        } else {
            format!("imported\t{imported}\nexisted\t{existed}\nbad\t{bad}\n")
        });
        if *bad == 0 { Ok(()) } else { Err(AccountsError::BadLines(*bad)) }
    }
}

fn open(source: Source) -> Result<(Box<dyn BufRead>, PathBuf), AccountsError> {
    match source {
        Source::StandardInput => Ok((Box::new(io::stdin().lock()), "-".into())),
        Source::File(path) => match File::open(&path) {
            Ok(file) => Ok((Box::new(BufReader::new(file)), path)),
            Err(source) => Err(AccountsError::ImportFile { path, source }),
        },
    }
}

/// The next line with its end. The rest of a line that is too long is skipped.
fn next_line(lines: &mut dyn BufRead) -> io::Result<Option<Result<Vec<u8>, BadLine>>> {
    let mut line = Vec::new();
    (&mut *lines).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > LONGEST_LINE && !line.ends_with(b"\n") {
        lines.skip_until(b'\n')?;
        return Ok(Some(Err(BadLine::TooLong)));
    }
    Ok((!line.is_empty()).then_some(Ok(line)))
}

/// The account of a line; `None` for an empty line, and for a first line with the names of the columns.
fn parse(line: &[u8], is_first: bool, columns: &mut Columns) -> Result<Option<ImportedAccount>, BadLine> {
    let text = str::from_utf8(line).map_err(|_| BadLine::NotUtf8)?;
    // Spreadsheets write a byte order mark at the start of a file.
    let text = text.strip_prefix('\u{feff}').filter(|_| is_first).unwrap_or(text).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let fields = columns::split(text).ok_or(BadLine::Columns)?;
    if is_first && columns::are_names(&fields) {
        *columns = Columns::named(&fields)?;
        return Ok(None);
    }
    let (address, hash) = columns.pick(&fields)?;
    let email = email::of_new_account(address).ok_or(BadLine::NoAddress)?;
    aldis_auth::check_bcrypt_hash(hash)?;
    let user_id = UserId::new(Uuid::now_v7());
    Ok(Some(ImportedAccount { user_id, email, password_hash: hash.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC";

    fn parsed(line: &str) -> Result<Option<(String, String)>, BadLine> {
        let account = parse(line.as_bytes(), true, &mut Columns::default())?;
        Ok(account.map(|account| (account.email, account.password_hash)))
    }

    #[test]
    fn a_line_has_an_address_and_a_hash() {
        let expected = Ok(Some(("ann@example.test".to_owned(), HASH.to_owned())));
        for line in [
            format!("Ann@Example.test,{HASH}"),
            format!("  ann@example.test \t, {HASH} \r\n"),
            format!("\u{feff}ann@example.test,{HASH}\n"),
        ] {
            assert_eq!(parsed(&line), expected, "{line:?}");
        }
        let quoted = parsed(&format!("\"a,b@c\",\"{HASH}\""));
        assert_eq!(quoted, Ok(Some(("a,b@c".to_owned(), HASH.to_owned()))));
        assert_eq!(parsed(" \r\n"), Ok(None));
    }

    #[test]
    fn a_quoted_address_was_imported_with_its_quotes() {
        let (address, _) = parsed(&format!("\"Ann@Example.test\",\"{HASH}\"\r\n")).unwrap().unwrap();
        assert_eq!(address, "ann@example.test");
    }

    #[test]
    fn a_header_names_the_columns() {
        for (names, line) in [
            ("email,password_hash", format!("ann@example.test,{HASH}")),
            ("ID,Hashed_Password,\"E-Mail\",note", format!("7,{HASH},ann@example.test,\"a, b\"")),
            ("\u{feff}hash,email", format!("{HASH},ann@example.test")),
        ] {
            let mut columns = Columns::default();
            assert!(parse(names.as_bytes(), true, &mut columns).unwrap().is_none(), "{names}");
            let account = parse(line.as_bytes(), false, &mut columns).unwrap().unwrap();
            assert_eq!((account.email.as_str(), account.password_hash.as_str()), ("ann@example.test", HASH));
        }
        assert_eq!(parsed("id,email,name"), Err(BadLine::NoColumn("password_hash")));
        let mut columns = Columns::named(&["email".into(), "x".into(), "hash".into()]).unwrap();
        assert_eq!(parse(b"ann@example.test,x", false, &mut columns).map(drop), Err(BadLine::Columns));
    }

    #[test]
    fn an_invalid_line_is_reported_with_its_reason() {
        for line in [
            "ann@example.test".to_owned(),
            format!("1,ann@example.test,{HASH}"),
            "a@b.c,\"x".to_owned() + ",y",
        ] {
            assert!(matches!(parsed(&line), Err(BadLine::Columns | BadLine::NoHash(_))), "{line:?}");
        }
        for address in ["ann", "ann @example.test", "", "a\0@b", "a@b@c", "\"ann@example.test\" x"] {
            assert_eq!(parsed(&format!("{address},{HASH}")), Err(BadLine::NoAddress), "{address:?}");
        }
        for hash in
            ["", "secret", &HASH[1..], &HASH[..59], "\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\""]
        {
            let refused = parsed(&format!("ann@example.test,{hash}"));
            assert!(matches!(refused, Err(BadLine::NoHash(_))), "{hash:?}: {refused:?}");
        }
        assert_eq!(parse(b"\xff,x", true, &mut Columns::default()).map(drop), Err(BadLine::NotUtf8));
    }

    #[test]
    fn an_endless_line_takes_no_memory_and_hides_no_other_line() {
        let text = format!("{}\nann@example.test\n\n{}", "x".repeat(10_000), "y".repeat(LONGEST_LINE));
        let mut lines = text.as_bytes();
        let mut next = || next_line(&mut lines).unwrap();
        assert_eq!(next(), Some(Err(BadLine::TooLong)));
        assert_eq!(next(), Some(Ok(b"ann@example.test\n".to_vec())));
        assert_eq!(next(), Some(Ok(b"\n".to_vec())));
        assert_eq!(next(), Some(Ok(vec![b'y'; LONGEST_LINE])));
        assert_eq!(next(), None);
    }
}
