//! WebSocket frames (RFC 6455, section 5.2), valid and invalid ones.

/// One frame of a client.
#[derive(Debug, Clone)]
pub struct Frame {
    is_final: bool,
    reserved: u8,
    opcode: u8,
    masked: bool,
    stated_length: Option<u64>,
    payload: Vec<u8>,
}

const MASK: [u8; 4] = [0x5a, 0xc3, 0x3c, 0xa5];

impl Frame {
    /// A frame of any opcode, final and masked.
    #[must_use]
    pub fn new(opcode: u8, payload: impl Into<Vec<u8>>) -> Self {
        Self {
            is_final: true,
            reserved: 0,
            opcode,
            masked: true,
            stated_length: None,
            payload: payload.into(),
        }
    }

    /// A continuation.
    #[must_use]
    pub fn continuation(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x0, payload)
    }

    /// A text.
    #[must_use]
    pub fn text(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x1, payload)
    }

    /// Bytes.
    #[must_use]
    pub fn binary(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x2, payload)
    }

    /// A close with a code and a reason.
    #[must_use]
    pub fn close(code: u16, reason: &str) -> Self {
        Self::new(0x8, [&code.to_be_bytes(), reason.as_bytes()].concat())
    }

    /// A ping.
    #[must_use]
    pub fn ping(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0x9, payload)
    }

    /// A pong.
    #[must_use]
    pub fn pong(payload: impl Into<Vec<u8>>) -> Self {
        Self::new(0xa, payload)
    }

    /// Without FIN: more of the message follows.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.is_final = false;
        self
    }

    /// With reserved bits: RSV1 is 4, RSV2 is 2, RSV3 is 1.
    #[must_use]
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits;
        self
    }

    /// Without the mask that a client must use.
    #[must_use]
    pub fn unmasked(mut self) -> Self {
        self.masked = false;
        self
    }

    /// With a 64-bit length that is not the payload's.
    #[must_use]
    pub fn stating_length(mut self, length: u64) -> Self {
        self.stated_length = Some(length);
        self
    }

    /// The frame on the wire.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.is_final) << 7 | self.reserved << 4 | self.opcode];
        self.encode_length(&mut bytes);
        if self.masked {
            bytes.extend_from_slice(&MASK);
            bytes.extend(self.payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }

    fn encode_length(&self, bytes: &mut Vec<u8>) {
        let mask = u8::from(self.masked) << 7;
        match (self.stated_length, self.payload.len()) {
            (Some(length), _) => {
                bytes.push(mask | 127);
                bytes.extend_from_slice(&length.to_be_bytes());
            }
            (None, length @ 0..=125) => bytes.push(mask | u8::try_from(length).expect("a length of 7 bits")),
            (None, length) => match u16::try_from(length) {
                Ok(length) => {
                    bytes.push(mask | 126);
                    bytes.extend_from_slice(&length.to_be_bytes());
                }
                Err(_) => {
                    bytes.push(mask | 127);
                    bytes.extend_from_slice(&(length as u64).to_be_bytes());
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_text_is_that_of_the_rfc() {
        let bytes = Frame::text("Hello").encode();
        assert_eq!(bytes[..2], [0x81, 0x85]);
        assert_eq!(bytes[6] ^ MASK[0], b'H');
    }

    #[test]
    fn lengths_take_as_many_bytes_as_they_need() {
        assert_eq!(Frame::text(vec![b'x'; 126]).encode()[1..4], [0x80 | 126, 0, 126]);
        assert_eq!(Frame::text(vec![b'x'; 65_536]).encode()[1..10], [0x80 | 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
