//! Messages of servers newer than this version (docs/protocol/evolution.md).

use crate::UnknownWord;

/// S→C: a message of a type that this version does not know. Encoded, it is nothing but its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownMessage {
    /// Its `type`; in protobuf, the number of its body.
    pub kind: UnknownWord,
    /// Whether the server left it out of the count that `received` confirms.
    pub uncounted: bool,
}
