//! The columns of an import: which one has the address and which one the hash.

use super::BadLine;

/// The positions of address and hash in a line.
#[derive(Debug, Default)]
pub(super) enum Columns {
    /// Address and hash, and nothing else.
    #[default]
    Two,
    /// As the header names them; other columns are ignored.
    Named { address: usize, hash: usize },
}

const ADDRESS_NAMES: [&str; 4] = ["email", "e-mail", "email_address", "mail"];
const HASH_NAMES: [&str; 4] = ["password_hash", "hashed_password", "hash", "password"];

impl Columns {
    /// The columns that a header names.
    pub(super) fn named(names: &[String]) -> Result<Self, BadLine> {
        let find = |known: [&'static str; 4]| {
            names.iter().position(|name| is_one_of(name, known)).ok_or(BadLine::NoColumn(known[0]))
        };
        Ok(Self::Named { address: find(ADDRESS_NAMES)?, hash: find(HASH_NAMES)? })
    }

    /// The address and the hash of a line.
    pub(super) fn pick<'a>(&self, fields: &'a [String]) -> Result<(&'a str, &'a str), BadLine> {
        match (self, fields) {
            (Self::Two, [address, hash]) => Ok((address, hash)),
            (Self::Two, _) => Err(BadLine::Columns),
            (Self::Named { address, hash }, fields) => fields
                .get(*address)
                .zip(fields.get(*hash))
                .map(|(a, h)| (a.as_str(), h.as_str()))
                .ok_or(BadLine::Columns),
        }
    }
}

/// Whether a line is a header: one of its fields is a name for the address.
pub(super) fn are_names(fields: &[String]) -> bool {
    fields.iter().any(|field| is_one_of(field, ADDRESS_NAMES))
}

/// The fields of a line, without quotes and surrounding blanks. `None` if the line is malformed.
pub(super) fn split(line: &str) -> Option<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .quoting(true)
        .from_reader(line.as_bytes());
    let record = reader.records().next()?.ok()?;
    Some(record.iter().map(str::to_owned).collect())
}

fn is_one_of(name: &str, known: [&str; 4]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}
