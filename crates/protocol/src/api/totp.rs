//! The second factor of an account.

// Exhaustive on purpose, every type of this file: the caller or the server builds a body in full, and decides about each
// member.

use serde::{Deserialize, Serialize};

use crate::Secret;
#[cfg(feature = "openapi")]
use crate::openapi;

/// What `POST /api/auth/totp/enroll` answers. It is in force only after a first code was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotpEnrollment {
    /// Base32, to be typed in.
    pub secret: Secret<'static>,
    /// The same for an authenticator app.
    pub otpauth_uri: Secret<'static>,
    /// The same as a picture to be scanned.
    pub qr_svg: Secret<'static>,
    /// Ten codes that each serve once in place of the app's.
    pub recovery_codes: Vec<Secret<'static>>,
}

/// `POST /api/auth/totp/verify` and `DELETE /api/auth/totp`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TotpCodeRequest {
    /// Six digits; for the removal also a recovery code.
    #[cfg_attr(feature = "openapi", schema(value_type = openapi::TotpCode))]
    pub code: Secret<'static>,
}
