//! Frames in both codecs. A frame that is read can be written, and is then read as the same.

use aldis_protocol::{Codec, ServerMessage};
use bytes::Bytes;

/// As a server reads them.
pub(crate) fn client(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    for codec in Codec::ALL {
        let Ok(frame) = codec.decode_client(&data) else { continue };
        for other in Codec::ALL {
            let written = other.encode_client(&frame);
            assert_eq!(other.decode_client(&written).as_ref(), Ok(&frame), "{codec:?} to {other:?}");
        }
    }
}

/// As a client reads them.
pub(crate) fn server(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    for codec in Codec::ALL {
        let Ok(frame) = codec.decode_server(&data) else { continue };
        // Only its name is read of a message that a newer server knows, so it cannot be written.
        if matches!(frame.message, ServerMessage::Unknown(_)) {
            continue;
        }
        for other in Codec::ALL {
            let written = other.encode_server(&frame);
            assert_eq!(other.decode_server(&written).as_ref(), Ok(&frame), "{codec:?} to {other:?}");
        }
    }
}
