//! A client of an Aldis server that stays connected by itself.
//!
//! ```no_run
//! use aldis_client::{Client, Credentials, Event, Options};
//! use aldis_client::auth::SecretKey;
//! use aldis_client::protocol::{Payload, SignalKind, Target};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let key = SecretKey::generate(&mut rand::rng());
//! let (client, mut events) = Client::start(Options::new("https://relay.example.org", Credentials::key(key))?);
//! println!("this is device {}", client.connected().await?.device_id);
//!
//! while let Some(event) = events.next().await {
//!     match event {
//!         Event::Signal(offer) if offer.signal.kind == SignalKind::Offer => {
//!             let caller = Target::Device(offer.signal.sender.device_id);
//!             let ack = client.answer(caller, Payload::from_json(r#"{"type":"answer","sdp":"…"}"#)?).await?;
//!             println!("{}", ack.message);
//!         }
//!         Event::Closed { cause, retry_in: Some(wait) } => println!("{cause}; trying again in {wait:?}"),
//!         other => println!("{other:?}"),
//!     }
//! }
//! client.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`Options`] name the server and the [`Credentials`]. [`Client::start`] starts one task and returns a [`Client`], a
//! cheap handle that any thread may use, and the [`Events`]. [`Client::room`] and [`Client::presence`] have streams of
//! their own. Requests return their [`Reply`] or a [`RequestError`]. [`Client::watch_state`] follows the [`State`].
//!
//! The logic is in [`aldis_client_core`], which knows no runtime; this crate adds sockets, TLS, HTTP and tasks for tokio.
//!
//! # Accounts over HTTP
//!
//! ```no_run
//! use aldis_client::{Client, SavedAccount, Server, auth::SecretKey};
//!
//! # async fn ask_the_user(_: aldis_client::TotpAsked) -> Option<String> { None }
//! # async fn save(account: SavedAccount) -> std::io::Result<()> { Ok(()) }
//! # async fn example(identity: &SecretKey) -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new("https://relay.example.org")?.totp(ask_the_user).keep(save);
//! let account = server.sign_in(identity).await?;
//! println!("{} has {} devices", account.user_id(), account.devices().await?.len());
//! let (client, events) = Client::start(account.options());
//! # drop((client, events));
//! # Ok(())
//! # }
//! ```
//!
//! A [`Server`] is the part of the HTTP API that needs no sign-in: it makes accounts, signs in and looks up identities.
//! An [`Account`] is signed in: it renews its tokens, has a device with a key of its own, and makes [`Options`] to
//! connect ([`Account::options`]). A program stores its [`SavedAccount`] and its [`Pins`] between runs. Each family of
//! calls has an error enum: [`CallError`], [`SignInError`], [`AccountError`], [`IdentityError`], [`PutBlobError`].
//!
//! # What it does by itself
//!
//! - **Reconnects** after a break. The wait is random, below a ceiling that doubles from 0.5 s to 30 s and falls back
//!   only after a connection of 30 s. A time that the server names takes precedence.
//! - **Obeys close codes.** Some stop the client, for some it asks for a new token. A client with a key stops only for
//!   `revoked`, `registration_closed`, `totp_required` and `invalid_totp`, and for codes that stop every client.
//! - **Resumes the session.** No message is lost or delivered twice, and requests without a reply are sent again under
//!   their ids. If the session is lost, [`Event::Connected`] says so, and requests that only that session could answer
//!   fail.
//! - **Restores a fresh session.** It [joins](Client::join) its rooms again, sets its
//!   [presence](Client::set_presence), renews its [subscriptions](Client::subscribe_presence), and fetches what its
//!   rooms and its [mailbox](Options::mailbox) received meanwhile. Each message of a room or of the mailbox is delivered
//!   once and in order. A gap of 250 ms is requested. [`Event::Missed`] reports messages that the server no longer has,
//!   [`Event::NotRestored`] what it now refuses. These requests are limited to 40 a second, of the 50 that a server
//!   allows.
//! - **Acknowledges** a message of the mailbox only after the application's handler has returned `Ok`.
//! - **Goes on while the application is slow.** It reads, answers pings and settles requests. Messages of rooms wait,
//!   other events are dropped and counted ([`Event::Lagged`]).
//! - **Detects dead connections.** It pings every 20 s and expects the pong within 20 s. It also ends a connection that
//!   is silent for longer than the server's heartbeat. Within 5 s of a computer's waking up it checks the connection.
//! - **Authenticates again** when the server asks for it, with a token from the provider.
//! - **Checks challenges.** It signs none that names another server than the one dialled or lives longer than two
//!   minutes.
//! - **Checks signals.** It drops a signal whose signed time is over ten minutes off or whose id came before, and an
//!   answer or candidate from a device without an open call. An offer, sent or received, opens a call;
//!   [`Client::end_call`] ends it.
//!
//! # What it leaves to the application
//!
//! - Encryption: the content of the mailbox is bytes to this library.
//! - Cursors over restarts: the `seq` of the last stored message is where the mailbox ([`Options::mailbox`]) and a room
//!   ([`Since::Seq`]) continue.
//! - Repeating a request that [timed out](RequestError::TimedOut), under the same id ([`Client::request_with_id`]). From
//!   a registered device the server stores it once; an ephemeral device is another one in each session.
//! - Signals and broadcasts that were sent during a break whose session was not [resumed](Session::resumed): they are
//!   lost.

mod account;
mod account_storage;
mod api;
mod client;
mod clock;
mod credentials;
mod dial;
mod event_queue;
mod events;
mod mailbox_handler;
mod options;
mod second_factor;
mod server;
mod socket;
mod statistics;
mod streams;
mod task;

pub use account::{Account, LoginProof, Whom};
pub use aldis_auth as auth;
pub use aldis_client_core::{
    AccountError, BoxError, CallError, ConnectionError, DialError, Event, HttpRefusal, IdentityError,
    IncomingChat, IncomingMessage, IncomingSignal, InvalidUrl, MAX_PINNED_IDENTITIES, MAX_TOTP_TRIES,
    Numbered, OwnDevice, Pins, PutBlobError, Refusal, Reply, RequestError, Restorable, SaveError,
    SavedAccount, Session, SignInError, SignalRefused, Since, State, TokenReason, TotpAsked, Unverified,
    UserKeys, VerifiedDevice, is_polite,
};
pub use aldis_protocol as protocol;
pub use aldis_protocol::DEFAULT_STUN_SERVERS;
pub use client::{Client, rooms::Room};
pub use credentials::{Credentials, SignedOut};
pub use dial::{InvalidCertificates, InvalidProxy, Proxy};
pub use events::Events;
pub use options::Options;
pub use server::{Blob, Server};
pub use statistics::Statistics;
pub use streams::{PresenceEvent, RoomEvent, Subscription};
