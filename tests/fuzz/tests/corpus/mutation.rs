//! Small damages to an input, the same ones for the same seed.

use std::ops::Range;

/// Bytes and texts that decoders tend to trip over.
const TOKENS: [&[u8]; 16] = [
    b"\0",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"\\ud800",
    b"\"",
    b"{",
    b"[",
    b"}",
    b"null",
    b"-1",
    b"1e999",
    b"18446744073709551616",
    b"\n",
    b"+86400000",
];

/// Damages inputs.
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    /// A mutator whose choices follow from the seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// A copy of the input with one to four damages; some take a piece of another input.
    pub(crate) fn mutate(&mut self, input: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
        let mut data = input.to_vec();
        for _ in 0..=self.below(4) {
            self.damage(&mut data, others);
        }
        data
    }

    fn damage(&mut self, data: &mut Vec<u8>, others: &[Vec<u8>]) {
        let at = self.below(data.len() + 1);
        match self.below(6) {
            0 => data.truncate(at),
            1 => drop(data.drain(self.range(data.len()))),
            2 => drop(data.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
            3 => {
                let other = &others[self.below(others.len())];
                let piece = other[self.range(other.len())].to_vec();
                drop(data.splice(at..at, piece));
            }
            4 => {
                let piece = data[self.range(data.len())].to_vec();
                drop(data.splice(at..at, piece));
            }
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
        }
    }

    fn range(&mut self, len: usize) -> Range<usize> {
        let (one, other) = (self.below(len + 1), self.below(len + 1));
        one.min(other)..one.max(other)
    }

    /// A number below the limit, by xorshift64*.
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(random).unwrap() % limit.max(1)
    }
}
