//! The bodies of the HTTP API, shared by the server's handlers and the client (http.md).

mod account;
mod device;
mod problem;

pub use account::{
    ChallengeRequest, ChallengeResponse, LoginRequest, RefreshRequest, RegisterRequest, TokenResponse,
    TokenType, VerifyRequest,
};
pub use device::{Device, DeviceList, RegisterDevice};
pub use problem::Problem;
