//! The published schema, as any protobuf library reads it.

use std::sync::LazyLock;

use protox::prost_reflect::{DescriptorPool, MessageDescriptor};

static ENVELOPE: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let files = protox::compile(["aldis/v1/envelope.proto"], [root]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name("aldis.v1.Envelope").unwrap()
});

pub(crate) fn envelope() -> MessageDescriptor {
    ENVELOPE.clone()
}
