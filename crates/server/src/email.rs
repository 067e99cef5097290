//! Addresses that accounts sign in with.

use aldis_protocol::limits::MAX_EMAIL_BYTES;

/// The address in lower case, as it is kept and compared, if it is one: one `@`, both sides non-empty, no blanks or control
/// characters.
pub(crate) fn canonical(email: &str) -> Option<String> {
    let (local, domain) = email.split_once('@')?;
    let sides = !local.is_empty() && !domain.is_empty() && !domain.contains('@');
    let plain = !email.chars().any(|character| character.is_whitespace() || character.is_control());
    (sides && plain && email.len() <= MAX_EMAIL_BYTES).then(|| email.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn an_address_has_one_at_and_no_blanks() {
        assert_eq!(canonical("Ann@Example.test").as_deref(), Some("ann@example.test"));
        for bad in ["", "a", "@b", "a@", "a@b@c", "a b@c", "a@b\n", "a\u{0}@b"] {
            assert!(canonical(bad).is_none(), "{bad:?}");
        }
        let longest = format!("{}@b", "a".repeat(252));
        assert!(canonical(&longest).is_some());
        assert!(canonical(&format!("a{longest}")).is_none());
    }
}
