//! The socket protocol, described for programs (feature `openapi`): JSON Schema and AsyncAPI.
//!
//! Both are put together from the types that read and write the frames, so they say what the code does. The server
//! serves them beside its OpenAPI document.

mod asyncapi;
mod frames;
mod schema;

pub use asyncapi::asyncapi;
pub use schema::json_schema;

/// Who sends a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

impl Side {
    const ALL: [Self; 2] = [Self::Client, Self::Server];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}
