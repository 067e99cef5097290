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
//! In the order in which they come up: [`Options`] name the server and the [`Credentials`]; [`Client::start`] begins one
//! task and gives a [`Client`], a cheap handle that any thread may use, and the [`Events`]. A [`State`] can be watched.
//! Requests await their [`Reply`] or a [`RequestError`].
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
//! A [`Server`] is the HTTP API as everybody may call it: accounts are made and signed in to, identities looked up. An
//! [`Account`] is somebody who is signed in: its tokens renew themselves, it has a device with a key of its own, and
//! [`Account::options`] connect as that. What has to outlive the program is a [`SavedAccount`] and the [`Pins`].
//! Errors are an enum for each family of calls: [`CallError`], [`SignInError`], [`AccountError`], [`IdentityError`],
//! [`PutBlobError`].
//!
//! # What it does by itself
//!
//! - It comes back after a break, waiting a random time below a ceiling that doubles from 0.5 s to 30 s and starts over
//!   only after 30 s of a good connection; a time that the server tells wins.
//! - It obeys the close codes: some stop it, for some it asks the token provider anew. A client with a key comes back
//!   but for `revoked`, `registration_closed`, `totp_required` and `invalid_totp`.
//! - It resumes its session after a break: no message is lost or told twice, and requests without a reply are sent
//!   again under their ids. Whatever the reason for which that failed, the next [`Event::Connected`] says so, and the
//!   requests that only the lost session could answer fail.
//! - In a fresh session it is soon where it was: it [joins](Client::join) its rooms again, shows the
//!   [presence](Client::set_presence) that was shown last, [watches](Client::subscribe_presence) the same users, and
//!   fetches what its rooms and its [mailbox](Options::mailbox) got meanwhile. So each message of a room or of the
//!   mailbox is told once and in the order of its numbers, whatever broke, and whatever order frames and `ack`s come
//!   in. A gap that lasts for 250 ms is asked for. What the server keeps no longer is told as [`Event::Missed`], what
//!   it now refuses as [`Event::NotRestored`].
//! - It acknowledges a message of the mailbox only when the application's handler has returned `Ok`: commit, then ack.
//! - It asks all that at a pace of 40 a second, so that the application finds some of the 50 left that a server takes.
//! - It notices within 5 s of a computer's waking up that it slept, and has the server show within another 5 s that the
//!   connection still is one; waiting for the next attempt goes on while the computer sleeps.
//! - It pings every 20 s and takes 20 s without a pong for a break, and so it takes a silence longer than the server's
//!   own heartbeat.
//! - It answers `auth_required` with a token from the provider.
//! - It signs no challenge that names another server than the one dialled, or that lives longer than two minutes.
//! - It drops signals whose signed time is over ten minutes off or whose id came before, and answers and candidates of
//!   devices with which no call is open. A call opens with an offer, either way, and ends with [`Client::end_call`].
//!
//! # What it leaves to the application
//!
//! - Encryption: contents of the mailbox are bytes to it.
//! - Numbers over restarts of the program: the `seq` of the last message stored is where the mailbox
//!   ([`Options::mailbox`]) and a room ([`Since::Seq`]) go on.
//! - To send again what [timed out](RequestError::TimedOut), under the same id ([`Client::request_with_id`]): from a
//!   registered device it is stored once. An ephemeral device is another one in each session.
//! - Signals and broadcasts of a break after which [`Event::Connected`] tells of a session that was not
//!   [`resumed`](Session::resumed): nobody keeps those.

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
    NotKept, Numbered, OwnDevice, Pins, PutBlobError, Refusal, Reply, RequestError, Restorable, SavedAccount,
    Session, SignInError, SignalRefused, Since, State, TokenReason, TotpAsked, Unverified, UserKeys,
    VerifiedDevice, is_polite,
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
