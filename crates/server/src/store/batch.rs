//! Many rows in one statement. PostgreSQL has `unnest`. SQLite reads lists from JSON, and takes rows in statements of
//! a few sizes, so that each is prepared only once.

use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// Numbers of rows in one `INSERT`. Any number of rows is a sum of a few of these.
const SIZES: [usize; 5] = [256, 64, 16, 4, 1];

/// The ids as a JSON list for `unhex(value)` over `json_each`.
pub(super) fn hex_list(ids: impl IntoIterator<Item = Uuid>) -> String {
    let mut list = String::from("[");
    for id in ids {
        if list.len() > 1 {
            list.push(',');
        }
        list.push('"');
        list.push_str(id.simple().encode_lower(&mut Uuid::encode_buffer()));
        list.push('"');
    }
    list.push(']');
    list
}

/// Splits the rows into pieces, each for one `INSERT`.
pub(super) fn in_pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

/// An `INSERT` for this number of rows and columns: the text before `VALUES`, the placeholders, and the text after
/// them.
pub(super) fn with_values(
    insert: &'static str,
    columns: usize,
    rows: usize,
    on_conflict: &'static str,
) -> AssertSqlSafe<String> {
    let row = format!("({})", vec!["?"; columns].join(","));
    AssertSqlSafe(format!("{insert} VALUES {} {on_conflict}", vec![row; rows].join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_rows_is_made_up_of_pieces() {
        for count in 0..600 {
            let rows: Vec<usize> = (0..count).collect();
            let pieces: Vec<&[usize]> = in_pieces(&rows).collect();
            assert_eq!(pieces.concat(), rows);
            assert!(pieces.len() <= 3 + 3 + 3 + 3 + count / 256, "{count}");
        }
    }

    #[test]
    fn lists_are_json() {
        assert_eq!(hex_list([]), "[]");
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let list: Vec<String> = serde_json::from_str(&hex_list(ids)).unwrap();
        assert_eq!(list, ["00000000000000000000000000000001", "00000000000000000000000000000002"]);
    }
}
