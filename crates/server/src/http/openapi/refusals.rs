//! How a call may be refused, as the documented responses of its handler: `Refusals<(SignedIn, WithJson, Conflict)>`.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use aldis_protocol::ErrorCode;
use http::StatusCode;
use utoipa::{
    IntoResponses,
    openapi::{Ref, RefOr, Response},
};

/// The responses of the refusals in a tuple of sets, one for each status.
pub(in crate::http) struct Refusals<S>(PhantomData<S>);

/// Codes that occur together, or a tuple of such sets.
pub(in crate::http) trait Refuses {
    /// The statuses and codes of the set.
    fn refusals() -> Vec<Refusal>;
}

/// A status, and a code of its problem.
pub(in crate::http) type Refusal = (u16, ErrorCode);

/// All codes of one status form one response, which calls share by name.
const REFERENCE: &str = "#/components/responses/";

impl<S: Refuses> IntoResponses for Refusals<S> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut by_status: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
        for (status, code) in S::refusals() {
            by_status.entry(status).or_default().extend(place(code));
        }
        by_status
            .into_iter()
            .map(|(status, places)| (status.to_string(), reference(status, &places)))
            .collect()
    }
}

/// In the order in which the protocol lists them.
fn place(code: ErrorCode) -> Option<usize> {
    ErrorCode::ALL.iter().position(|other| *other == code)
}

fn reference(status: u16, places: &BTreeSet<usize>) -> RefOr<Response> {
    let names = places.iter().filter_map(|place| ErrorCode::ALL.get(*place)).map(|code| code.as_str());
    let name = std::iter::once(status.to_string().as_str()).chain(names).collect::<Vec<_>>().join(".");
    Ref::from_response_name(name).into()
}

/// The status and codes of a reference made here.
pub(super) fn referred(reference: &str) -> Option<(&str, StatusCode, Vec<ErrorCode>)> {
    let name = reference.strip_prefix(REFERENCE)?;
    let mut parts = name.split('.');
    let status = parts.next()?.parse().ok()?;
    let codes: Result<_, _> = parts.map(str::parse).collect();
    Some((name, status, codes.ok()?))
}

macro_rules! sets {
    ($($(#[$doc:meta])* $set:ident: $($status:literal)? $($code:ident)*;)*) => { $(
        $(#[$doc])*
        pub(in crate::http) enum $set {}

        impl Refuses for $set {
            fn refusals() -> Vec<Refusal> {
                vec![$(($status, ErrorCode::BadRequest),)? $((ErrorCode::$code.http_status(), ErrorCode::$code)),*]
            }
        }
    )* };
}

sets! {
    /// Of every call.
    Any: UriTooLong HeadersTooLarge RateLimited Internal Overloaded;
    /// Of every call that asks the database.
    Stored: UriTooLong HeadersTooLarge RateLimited Internal Overloaded Unavailable;
    /// Of calls with an access token.
    ByToken: MissingToken InvalidToken ExpiredToken Revoked;
    /// Of every call that needs an access token and asks the database.
    SignedIn: MissingToken InvalidToken ExpiredToken Revoked UriTooLong HeadersTooLarge RateLimited Internal Overloaded
        Unavailable;
    /// Of every call with a JSON body; 408 if it is not received in time.
    WithJson: 408 BadRequest TooLarge UnsupportedMediaType;
    /// Of every call with a body of any bytes.
    WithBlob: 408 BadRequest TooLarge;
    /// Of calls that need a recent login.
    WithStepUp: StepUpRequired;
    /// Of calls that a key may not make while its rotation can be cancelled.
    UnlessProvisional: Forbidden;
    /// Of calls that ask for the second factor.
    WithFactor: TotpRequired InvalidTotp RateLimited;
    /// Of calls that prove a key by a challenge.
    ByChallenge: PublicOriginRequired InvalidKey InvalidChallenge;
    /// Of calls that extend a chain.
    OfChain: ChainConflict ClockSkew InvalidSignature InvalidKey;
    /// Of calls with a rate limit.
    RateLimited: RateLimited;
    /// Of calls that wait to hash a password.
    Hashed: Overloaded;
    /// Of calls that replace only the version that the caller saw.
    IfMatch: PreconditionFailed PreconditionRequired;
    BadRequest: BadRequest;
    ClockSkew: ClockSkew;
    Conflict: Conflict;
    Draining: Draining;
    ExpiredToken: ExpiredToken;
    Forbidden: Forbidden;
    InvalidCredentials: InvalidCredentials;
    InvalidKey: InvalidKey;
    InvalidSignature: InvalidSignature;
    InvalidToken: InvalidToken;
    InvalidTotp: InvalidTotp;
    KeyInUse: KeyInUse;
    NotFound: NotFound;
    PublicOriginRequired: PublicOriginRequired;
    RefreshReused: RefreshReused;
    RegistrationClosed: RegistrationClosed;
    Revoked: Revoked;
    RotationPending: RotationPending;
    UnknownDevice: UnknownDevice;
    UnknownRoom: UnknownRoom;
    WindowClosed: WindowClosed;
}

macro_rules! tuples {
    ($first:ident $($rest:ident)*) => {
        impl<$first: Refuses, $($rest: Refuses),*> Refuses for ($first, $($rest,)*) {
            fn refusals() -> Vec<Refusal> {
                [$first::refusals(), $($rest::refusals()),*].concat()
            }
        }

        tuples! { $($rest)* }
    };
    () => {};
}

tuples! { A B C D E F G H I J }
