//! The logic of an Aldis client without IO.
//!
//! It has no runtime, socket, clock or random source. A shell brings those and makes no decision of its own.
//! `aldis-client` is the shell for tokio. This crate also compiles for `wasm32-unknown-unknown`.
//!
//! A [`Machine`] is a connection that reconnects by itself. The shell calls it in a loop: it gives the machine an input
//! (`handle_…`) with the time, carries out every [`Output`] of [`poll_output`](Machine::poll_output), and waits for the
//! next input or for [`next_timeout`](Machine::next_timeout).

mod account_error;
mod backoff;
mod calls;
mod credentials;
mod endpoint;
mod error;
mod events;
mod http;
mod keys;
mod machine;
mod own_device;
mod pending;
mod persistence;
mod pins;
mod purpose;
mod rate_limit;
mod reorder_buffer;
mod request;
mod sign_in;
mod time;
mod tokens;

pub use account_error::{AccountError, IdentityError, PutBlobError, SignInError};
pub use aldis_auth as auth;
pub use aldis_protocol as protocol;
pub use backoff::{FIRST_CEILING, LAST_CEILING};
pub use calls::{SignalRefused, is_polite};
pub use credentials::{BoxError, Proof, TokenError, TokenReason};
pub use endpoint::{Endpoint, InvalidUrl};
pub use error::{ConnectionError, DialError, Refusal, RequestError, is_temporary};
pub use events::{
    Event, IncomingChat, IncomingMessage, IncomingSignal, Numbered, Restorable, Session, State,
};
pub use http::{Answer, Call, CallError, HttpAnswer, HttpRefusal, HttpRequest, segment};
pub use keys::{Unverified, UserKeys, VerifiedDevice};
pub use machine::{Machine, Output, Pings, Reply, Settings};
pub use own_device::OwnDevice;
pub use persistence::{SaveError, SavedAccount};
pub use pins::{MAX_PINNED_IDENTITIES, NotPinned, Pins};
pub use purpose::Since;
pub use request::OutgoingRequest;
pub use sign_in::{
    AwaitingAnswer, AwaitingCode, AwaitingSignature, HttpChallenge, MAX_TOTP_TRIES, SignIn, SignInStep,
    TotpAsked,
};
pub use time::{Instant, Now};
pub use tokens::{AccessToken, AwaitingRefresh, Renewal, RenewalOf, TokenDecision, Tokens, renewed_after};
