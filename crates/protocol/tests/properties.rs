//! What holds for every message there can be.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lint spares test functions, but not their helpers"
)]

#[path = "properties/arbitrary.rs"]
mod arbitrary;

use aldis_protocol::{
    ClientFrame, ClientMessage, Codec, Payload, RelayedSignal, Sender, ServerFrame, ServerMessage, Signal,
    SignalKind, Target, Timestamp, UserId,
};
use arbitrary::{client_frame, json_text, server_frame};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*, sample::Index};

proptest! {
    #[test]
    fn a_clients_frame_survives_each_codec(frame in client_frame()) {
        for codec in Codec::ALL {
            let bytes = codec.encode_client(&frame);
            let read = codec.decode_client(&bytes);
            prop_assert_eq!(read.as_ref(), Ok(&frame), "{:?} {:?}", codec, bytes);
        }
    }

    #[test]
    fn a_servers_frame_survives_each_codec(frame in server_frame()) {
        for codec in Codec::ALL {
            let bytes = codec.encode_server(&frame);
            let read = codec.decode_server(&bytes);
            prop_assert_eq!(read.as_ref(), Ok(&frame), "{:?} {:?}", codec, bytes);
        }
    }

    #[test]
    fn what_one_codec_read_the_other_writes(client in client_frame(), server in server_frame()) {
        for (from, to) in [(Codec::Json, Codec::Proto), (Codec::Proto, Codec::Json)] {
            let bytes = from.encode_client(&client);
            let read = from.decode_client(&bytes).unwrap();
            prop_assert_eq!(to.encode_client(&read), to.encode_client(&client));
            let bytes = from.encode_server(&server);
            let read = from.decode_server(&bytes).unwrap();
            prop_assert_eq!(to.encode_server(&read), to.encode_server(&server));
        }
    }

    #[test]
    fn a_relayed_payload_keeps_its_bytes(text in json_text()) {
        for (from, to) in [
            (Codec::Json, Codec::Json),
            (Codec::Json, Codec::Proto),
            (Codec::Proto, Codec::Json),
            (Codec::Proto, Codec::Proto),
        ] {
            let sent = from.encode_client(&signal(&text));
            let relayed = to.encode_server(&relay(from.decode_client(&sent).unwrap()));
            let ServerMessage::Signal(signal) = to.decode_server(&relayed).unwrap().message else { panic!() };
            prop_assert_eq!(signal.payload.as_bytes(), text.as_bytes());
        }
    }

    #[test]
    fn a_damaged_frame_is_at_the_worst_refused(
        client in client_frame(),
        server in server_frame(),
        damages in vec(damage(), 1..4),
    ) {
        for codec in Codec::ALL {
            let (client, server) = (codec.encode_client(&client), codec.encode_server(&server));
            for frame in [&client, &server] {
                let damaged = damages.iter().fold(frame.to_vec(), |bytes, damage| damage.done_to(bytes, &server));
                read_everything(&damaged.into());
            }
        }
    }

    #[test]
    fn noise_is_at_the_worst_refused(noise in vec(any::<u8>(), 0..512)) {
        read_everything(&noise.into());
    }
}

#[test]
fn a_payload_is_read_without_a_copy() {
    for codec in Codec::ALL {
        let frame = codec.encode_client(&signal(r#"{"sdp":"v=0"}"#));
        let ClientMessage::Signal(signal) = codec.decode_client(&frame).unwrap().message else { panic!() };
        assert!(frame.as_ptr_range().contains(&signal.payload.as_bytes().as_ptr()), "{codec:?}");
    }
}

/// Decodes in every way; what is understood is also written, and read back as the same.
fn read_everything(bytes: &Bytes) {
    for codec in Codec::ALL {
        if let Ok(frame) = codec.decode_client(bytes) {
            assert_eq!(codec.decode_client(&codec.encode_client(&frame)), Ok(frame));
        }
        if let Ok(frame) = codec.decode_server(bytes) {
            assert_eq!(codec.decode_server(&codec.encode_server(&frame)), Ok(frame));
        }
    }
}

#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Truncate(Index),
    Splice(Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        any::<Index>().prop_map(Damage::Truncate),
        (any::<Index>(), any::<Index>()).prop_map(|(at, from)| Damage::Splice(at, from)),
    ]
}

impl Damage {
    fn done_to(&self, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
        if bytes.is_empty() || other.is_empty() {
            return bytes;
        }
        let index = |at: &Index| at.index(bytes.len());
        match self {
            Self::Flip(at, bit) => {
                let index = index(at);
                bytes[index] ^= 1 << bit;
            }
            Self::Truncate(at) => bytes.truncate(index(at)),
            Self::Splice(at, from) => {
                bytes.truncate(index(at));
                bytes.extend_from_slice(&other[from.index(other.len())..]);
            }
        }
        bytes
    }
}

fn signal(payload: &str) -> ClientFrame<'_> {
    let signal = Signal {
        kind: SignalKind::Signal,
        target: Target::Device("phone".parse().unwrap()),
        payload: Payload::from_json(payload).unwrap(),
        signature: None,
    };
    ClientFrame { id: None, message: ClientMessage::Signal(signal) }
}

fn relay(frame: ClientFrame<'_>) -> ServerFrame<'_> {
    let ClientMessage::Signal(Signal { kind, payload, signature, .. }) = frame.message else { panic!() };
    let sender = Sender::new("laptop".parse().unwrap(), UserId::new(uuid::Uuid::from_u128(1)));
    let message = ServerMessage::Signal(RelayedSignal::new(kind, sender, payload).with_signature(signature));
    ServerFrame { id: frame.id, timestamp: Timestamp::from_ms(0), message }
}
