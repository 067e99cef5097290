//! Normalises passwords like RFC 8265's OpaqueString, so that the same text typed on different keyboards is the same
//! password.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

/// The password in NFC, with each blank as U+0020. Unlike in the RFC, nothing is refused.
pub(super) fn mapped(password: &str) -> Cow<'_, str> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let with_spaces = password.chars().map(|character| if is_blank(character) { ' ' } else { character });
    let mapped: String = with_spaces.nfc().collect();
    if mapped == password { Cow::Borrowed(password) } else { Cow::Owned(mapped) }
}

/// Unicode's general category Zs.
const fn is_blank(character: char) -> bool {
    matches!(
        character,
        ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_encodings_of_one_text_are_one_password() {
        assert_eq!(mapped("cafe\u{301} au lait"), "caf\u{e9} au lait");
        assert_eq!(mapped("a\u{a0}b\u{3000}c"), "a b c");
        assert_eq!(mapped("\u{212b}ngstr\u{f6}m"), "\u{c5}ngstr\u{f6}m");
    }

    #[test]
    fn a_normalised_password_does_not_change() {
        for password in ["correct horse", "caf\u{e9}", "tab\there", "zero\u{200b}width", "\u{1f40e}"] {
            assert!(matches!(mapped(password), Cow::Borrowed(same) if same == password), "{password:?}");
        }
    }

    #[test]
    fn case_and_width_are_significant() {
        assert_eq!(mapped("Pass\u{ff21}"), "Pass\u{ff21}");
    }
}
