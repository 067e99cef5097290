//! Ids, names, URLs and tokens out of text. What is read prints as a text that is read as the same.

use std::{fmt::Display, str::FromStr};

use aldis_auth::{RefreshToken, SecondFactor};
use aldis_client_core::Endpoint;
use aldis_protocol::{DeviceId, Fingerprint, MessageId, RequestId, RoomId, Timestamp, UserId, UserRef};

pub(crate) fn parse(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    survives_printing::<DeviceId>(text);
    survives_printing::<Fingerprint>(text);
    survives_printing::<MessageId>(text);
    survives_printing::<RequestId>(text);
    survives_printing::<RoomId>(text);
    survives_printing::<Timestamp>(text);
    survives_printing::<UserId>(text);
    survives_printing::<UserRef>(text);
    if let Ok(token) = RefreshToken::parse(text) {
        assert_eq!(token.to_text(), text, "a token has one text");
    }
    let _ = SecondFactor::parse(text);
    let _ = Endpoint::parse(text);
}

fn survives_printing<T: FromStr + Display + PartialEq>(text: &str) {
    let Ok(value) = text.parse::<T>() else { return };
    let printed = value.to_string();
    assert!(printed.parse::<T>().is_ok_and(|again| again == value), "{text:?} prints as {printed:?}");
}
