//! Email addresses of accounts.

use aldis_protocol::limits::MAX_EMAIL_BYTES;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// The address in lower case, if it is valid: one `@`, text on both sides, no blanks or control characters. Older
/// accounts are stored in this form.
pub(crate) fn canonical(email: &str) -> Option<String> {
    let (local, domain) = email.split_once('@')?;
    let sides = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    let plain = !email.chars().any(|character| character.is_whitespace() || character.is_control());
    (sides && plain && email.len() <= MAX_EMAIL_BYTES).then(|| email.to_lowercase())
}

/// The address in the form of a new account: in lower case and NFC. `None` if it has invisible characters, which would
/// make it look like another address.
pub(crate) fn of_new_account(email: &str) -> Option<String> {
    let composed = composed(&canonical(email)?);
    let is_visible = !composed.chars().any(is_invisible);
    (is_visible && composed.len() <= MAX_EMAIL_BYTES).then_some(composed)
}

/// A typed address in lower case and NFC: the same for all spellings of an address.
pub(crate) fn composed(typed: &str) -> String {
    typed.to_lowercase().nfc().collect()
}

/// The forms in which an account with this address may be stored, the likeliest first: as typed, in NFC, and in NFD,
/// each in lower case. Older accounts were stored as typed.
pub(crate) fn spellings(canonical: &str) -> [String; 3] {
    [canonical.to_owned(), canonical.nfc().collect(), canonical.nfd().collect()]
}

/// Control, format and space characters, and those that fonts may leave out by Unicode
/// (`Default_Ignorable_Code_Point`).
fn is_invisible(character: char) -> bool {
    let is_of_such_category = matches!(
        character.general_category(),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::SpaceSeparator
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
    );
    is_of_such_category
        || matches!(
            character,
            '\u{34f}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{2065}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_at_and_no_blanks() {
        assert_eq!(canonical("Ann@Example.test").as_deref(), Some("ann@example.test"));
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "a\u{0}@b"] {
            assert!(canonical(bad).is_none() && of_new_account(bad).is_none(), "{bad:?}");
        }
        let longest = format!("{}@b", "a".repeat(252));
        assert!(canonical(&longest).is_some() && of_new_account(&longest).is_some());
        assert!(canonical(&format!("a{longest}")).is_none());
    }

    #[test]
    fn an_invisible_character_made_a_twin() {
        let invisible = [
            '\u{7f}',
            '\u{85}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1680}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{202f}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e0100}',
        ];
        for character in invisible {
            for twin in [format!("a{character}nn@b.example"), format!("ann@b{character}.example")] {
                assert_eq!(of_new_account(&twin), None, "{:?}", character.escape_unicode().to_string());
            }
        }
        for address in [
            "ann@b.example",
            "änn@bücher.example",
            "用户@例子.example",
            "o'brien+x@b.example",
            "a\u{1f40e}@b",
        ] {
            assert_eq!(of_new_account(address).as_deref(), Some(address));
        }
    }

    #[test]
    fn two_spellings_of_an_address_made_twins() {
        let (composed, decomposed) = ("r\u{e9}n\u{e9}@b.example", "r\u{65}\u{301}ne\u{301}@b.example");
        assert_eq!(of_new_account(decomposed).as_deref(), Some(composed));
        assert_eq!(of_new_account(&decomposed.to_uppercase()).as_deref(), Some(composed));
        for typed in [composed, decomposed] {
            let spellings = spellings(typed);
            assert!(spellings.contains(&composed.to_owned()) && spellings.contains(&decomposed.to_owned()));
            assert_eq!(spellings[0], typed, "the account of exactly these characters comes first");
        }
    }
}
