use aldis_auth::PassphraseParameters;

use super::*;

const PHRASE: &str = "correct horse battery staple";

fn parameters() -> PassphraseParameters {
    let generated = PassphraseParameters::generate(&mut rand::rng());
    PassphraseParameters { memory_kib: 8, iterations: 1, ..generated }
}

/// A backup of one file of this length.
fn written(length: usize, passphrase: Option<&str>) -> Vec<u8> {
    let sealed = passphrase.map(|_| Seal::from(&parameters()));
    let head = Head::new(24, "2026-12-01T00:00:00Z".to_owned(), sealed);
    let mut writer = Writer::begin(Vec::new(), &head, passphrase).unwrap();
    writer.add("aldis.key", 3, &b"key"[..]).unwrap();
    writer.add("aldis.db", length as u64, &*vec![7; length]).unwrap();
    writer.finish().unwrap()
}

fn read(backup: &[u8], passphrase: Option<&str>) -> Result<Vec<(String, usize)>, ArchiveError> {
    let mut files = Reader::open(backup)?.files(passphrase)?;
    let mut found = Vec::new();
    while let Some(name) = files.next()? {
        let mut content = Vec::new();
        files.copy_to(&mut content)?;
        found.push((name, content.len()));
    }
    Ok(found)
}

#[test]
fn a_backup_is_read_as_it_was_written() {
    // Around the borders of chunks, which the head of each file moves.
    for length in [0, 1, 65_400, 65_448, 65_449, 65_450, 65_536, 200_000] {
        for passphrase in [None, Some(PHRASE)] {
            let found = read(&written(length, passphrase), passphrase).unwrap();
            assert_eq!(found, [("aldis.key".to_owned(), 3), ("aldis.db".to_owned(), length)]);
        }
    }
}

#[test]
fn a_backup_that_was_cut_anywhere_is_refused() {
    for passphrase in [None, Some(PHRASE)] {
        let whole = written(70_000, passphrase);
        for length in (0..whole.len()).step_by(997).chain([whole.len() - 1]) {
            assert!(read(&whole[..length], passphrase).is_err(), "{length}");
        }
    }
}

#[test]
fn a_backup_in_which_one_byte_changed_is_refused() {
    for passphrase in [None, Some(PHRASE)] {
        let whole = written(70_000, passphrase);
        for place in (0..whole.len()).step_by(499).chain([whole.len() - 1]) {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            assert!(read(&changed, passphrase).is_err(), "{place}");
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(read(&longer, passphrase).is_err());
    }
}

#[test]
fn another_passphrase_and_another_format_are_named() {
    let sealed = written(10, Some(PHRASE));
    assert!(matches!(read(&sealed, Some("another phrase")), Err(ArchiveError::WrongPassphrase)));
    assert!(matches!(read(b"PK\x03\x04 something else", None), Err(ArchiveError::NoBackup)));
    let clear = String::from_utf8_lossy(&written(10, None)).replace("\"format\":1", "\"format\":2");
    assert!(matches!(read(clear.as_bytes(), None), Err(ArchiveError::NewerFormat(2))));
}
