//! Compares the schemas of texts with the types that parse them.

use aldis_protocol::{DeviceId, Fingerprint, Hash, MessageId, RequestId, RoomId, UserId, UserRef, binary};
use aldis_tests::base64;
use serde_json::json;

use crate::description::Description;

/// Whether the server accepts a text.
type IsRead = fn(&str) -> bool;

/// A text matches a schema exactly if the server accepts it.
#[test]
fn texts_are_described_as_they_are_parsed() {
    let description = Description::read();
    let uuid = "01900000-0000-7000-8000-00000000000a";
    let mut samples: Vec<String> =
        ["", "a", "a b", "a/b", "é", "A.b_c:d-9", "m-1", "m.1", "~", "~abc", "a\n", uuid]
            .map(str::to_owned)
            .into();
    samples.extend([64, 65].map(|length| "a".repeat(length)));
    samples.extend([63, 64, 65].map(|length| "0".repeat(length)));
    samples.extend(["0A", "0g"].map(|pair| pair.repeat(32)));
    samples.extend([uuid.to_uppercase(), uuid.replace('-', ""), format!("{{{uuid}}}"), format!("~{uuid}")]);
    samples.push(format!("~{}", uuid.replace("-7", "-4")));
    for length in [31, 32, 33, 63, 64, 65] {
        let text = base64(&vec![0xfb; length]);
        samples.extend([text.replace('=', ""), text.replace('+', "-"), text.replacen("s=", "t=", 1), text]);
    }
    samples.push(base64(&[0xfb; 64]).replace("w==", "x=="));

    let kinds: [(&str, IsRead); 10] = [
        ("UserId", |text| text.parse::<UserId>().is_ok()),
        ("MessageId", |text| text.parse::<MessageId>().is_ok()),
        ("UserRef", |text| text.parse::<UserRef>().is_ok()),
        ("DeviceId", |text| text.parse::<DeviceId>().is_ok()),
        ("RoomId", |text| text.parse::<RoomId>().is_ok()),
        ("RequestId", |text| text.parse::<RequestId>().is_ok()),
        ("Hash", |text| text.parse::<Hash>().is_ok()),
        ("Fingerprint", |text| text.parse::<Fingerprint>().is_ok()),
        ("PublicKey", |text| binary::decode_array::<32>(text).is_ok()),
        ("Signature", |text| binary::decode_array::<64>(text).is_ok()),
    ];
    for (name, is_read) in kinds {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        for sample in &samples {
            assert_eq!(description.fits(&schema, &json!(sample)), is_read(sample), "{name}: {sample:?}");
        }
        assert!(samples.iter().any(|sample| is_read(sample)), "{name} has no sample");
    }
}
