//! The HTTP API as an OpenAPI document: handlers describe themselves, and this file adds the common parts.

mod finish;
pub(super) mod refusals;

use aldis_protocol::{Door, api::Problem};
use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

pub(super) use self::{finish::finish, refusals::Refusals};

/// The name of the security scheme of signed-in callers.
const BEARER: &str = "bearer";

/// The head of the document.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Aldis HTTP API",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    security(("bearer" = [])),
    components(schemas(Problem)),
    tags(
        (name = "accounts", description = "Accounts by email and password or by Ed25519 key, and their tokens"),
        (name = "totp", description = "The second factor"),
        (name = "identities", description = "Identities: their chains, their blobs, the keys that they vouch for"),
        (name = "devices", description = "The devices of the caller"),
        (name = "contacts", description = "Who may signal the caller, message them and see their presence"),
        (name = "messages", description = "The caller's encrypted messages"),
        (name = "rooms", description = "Rooms: make, manage and read them"),
        (name = "ice", description = "STUN and TURN servers"),
        (name = "operations", description = "Calls of operators and other services"),
    ),
    modifiers(&Preamble),
)]
struct Api;

/// The document without its calls.
pub(super) fn document() -> openapi::OpenApi {
    Api::openapi()
}

/// The parts that attributes cannot express.
struct Preamble;

impl Modify for Preamble {
    fn modify(&self, document: &mut openapi::OpenApi) {
        document.info.description = Some(description());
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token, from any sign-in."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(BEARER, SecurityScheme::Http(bearer.build()));
    }
}

fn description() -> String {
    let doors = Door::ALL.map(|door| format!("`{}`", door.path())).join(", ");
    format!(
        "JSON in, JSON out: 201 creates, 200 answers with an object, 204 with nothing. Members of a body that are not \
         known are ignored; U+0000 is in no text.\n\n\
         Errors are `application/problem+json` (RFC 9457), whose `code` is for programs and whose `detail` is for \
         people. Beside what each call documents, an unknown path is 404 `not_found`, and a method that a path does \
         not know 405 `method_not_allowed` with `Allow`. `HEAD` goes where `GET` goes.\n\n\
         Pages of the allowed origins and of loopback ones may call (CORS), without credentials of the browser's.\n\n\
         Not described here: the WebSocket doors, {doors}, whose frames OpenAPI has no words for; this document and \
         the page that shows it, at `/docs/`; and `/metrics`, on the admin listener."
    )
}
