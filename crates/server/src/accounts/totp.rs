//! The second factor: enrolled and removed over HTTP, required at each sign-in.

use std::iter;

use aldis_auth::{
    KeyRing, RECOVERY_CODES, RecoveryCode, SealedFor, Sealer, SecondFactor, SubKeyRing, TotpCode, TotpSecret,
};
use aldis_protocol::{AlertKind, ErrorCode, Secret, UserId, api::TotpEnrollment};
use rand::RngExt;
use zeroize::Zeroizing;

use super::{Accounts, Caller};
use crate::{
    clock::Now,
    refusal::{FACTOR_REQUIRED, Refusal},
    store::{Credential, Evidence, FactorChange, FactorCheck, Notice},
};

/// The keys that seal TOTP secrets and hash recovery codes.
pub(super) struct SecondFactors {
    sealer: Sealer,
    recovery_keys: SubKeyRing,
}

/// A second factor that a user still has to show, and the code that they sent.
#[must_use = "nobody is signed in before it is settled"]
#[derive(Debug)]
pub(crate) struct FactorDue {
    user: UserId,
    shown: Option<SecondFactor>,
}

const PURPOSE: &str = "totp";

const TOTP_CHANGED: Notice = Notice::of_account(AlertKind::TotpChanged);

const MALFORMED: Refusal = Refusal::new(
    ErrorCode::BadRequest,
    "`totp_code` (or `code`) is six digits as the app shows them, or a recovery code",
);
const INVALID: Refusal =
    Refusal::new(ErrorCode::InvalidTotp, "the code is wrong or was used before; wait for the app's next one");
/// `retry_after` is the longest time until the oldest wrong code no longer counts.
const LOCKED: Refusal = Refusal {
    retry_after: Some(15 * 60),
    ..Refusal::new(ErrorCode::RateLimited, "too many wrong codes; try again in fifteen minutes")
};
const IN_FORCE: Refusal =
    Refusal::new(ErrorCode::Conflict, "a second factor is in force; remove it before you enroll another");
const NOT_ENROLLED: Refusal =
    Refusal::new(ErrorCode::NotFound, "there is no second factor; enroll one first");
const FAILED: Refusal = Refusal::new(ErrorCode::Internal, "the server failed");

/// Parses the code that a user sent with a sign-in. An empty code is none.
pub(crate) fn shown_factor(code: Option<&Secret<'_>>) -> Result<Option<SecondFactor>, Refusal> {
    let code = code.map(Secret::expose).filter(|code| !code.trim().is_empty());
    code.map(parse).transpose()
}

fn parse(code: &str) -> Result<SecondFactor, Refusal> {
    SecondFactor::parse(code).map_err(|_| MALFORMED)
}

impl Accounts {
    /// Gives the caller a new secret and recovery codes. They are in force once a first code is verified.
    pub(crate) async fn enroll_totp(&self, caller: &Caller, now: Now) -> Result<TotpEnrollment, Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        let credential = caller.step_up(now)?;
        let account = self.account_name(caller.user).await?;
        let secret = TotpSecret::new(rand::rng().random());
        let codes: Vec<_> =
            iter::repeat_with(|| RecoveryCode::generate(&mut rand::rng())).take(RECOVERY_CODES).collect();
        let hashes: Vec<_> = codes.iter().map(|code| self.factors.hash(code, caller.user)).collect();
        let sealed = self.factors.seal(&secret, caller.user)?;
        if !self.store.enroll_totp(&credential, &sealed, &hashes, now.store_ms()).await? {
            return Err(IN_FORCE);
        }
        Ok(TotpEnrollment {
            secret: secret.to_base32(),
            otpauth_uri: secret.otpauth_uri(&self.settings.name, &account),
            qr_svg: secret.qr_svg(&self.settings.name, &account).map_err(|_| FAILED)?,
            recovery_codes: codes.iter().map(RecoveryCode::to_text).collect(),
        })
    }

    /// Verifies a code of the app, and puts the caller's factor in force if it is not yet.
    pub(crate) async fn verify_totp(&self, caller: &Caller, code: &str, now: Now) -> Result<(), Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        let credential = caller.step_up(now)?;
        // A recovery code does not prove that the app has the secret.
        let shown = Some(parse(code)?).filter(|shown| matches!(shown, SecondFactor::Totp(_)));
        let was_in_force = self.store.has_second_factor(caller.user).await?;
        self.change_factor(&credential, FactorChange::Confirmation, shown, now).await?;
        self.cache.forget(caller.user);
        if !was_in_force {
            tracing::info!(user = %caller.user, "second factor added");
            self.notices.tell_written(caller.user, &TOTP_CHANGED, &[], now).await;
        }
        Ok(())
    }

    /// Removes the caller's factor. This needs a code of the app or a recovery code.
    pub(crate) async fn remove_totp(&self, caller: &Caller, code: &str, now: Now) -> Result<(), Refusal> {
        self.forbid_while_provisional(caller, now).await?;
        let credential = caller.step_up(now)?;
        let shown = Some(parse(code)?);
        self.change_factor(&credential, FactorChange::Removal, shown, now).await?;
        tracing::info!(user = %caller.user, "second factor removed");
        self.cache.forget(caller.user);
        self.notices.tell_written(caller.user, &TOTP_CHANGED, &[], now).await;
        Ok(())
    }

    /// Checks the second factor that was due. Returns whether it was shown: it may have been removed meanwhile.
    pub(crate) async fn settle(&self, due: FactorDue, now: Now) -> Result<bool, Refusal> {
        let Some(shown) = due.shown else {
            self.refuse_without_code(due.user).await?;
            return Ok(false);
        };
        match self.use_factor(due.user, Some(shown), now).await {
            Ok(()) => Ok(true),
            Err(refusal) if refusal == NOT_ENROLLED => Ok(false),
            Err(refusal) => Err(refusal),
        }
    }

    /// Asks the store before it refuses: the cache may not know yet that another node removed the factor.
    async fn refuse_without_code(&self, user: UserId) -> Result<(), Refusal> {
        if self.store.has_second_factor(user).await? { Err(FACTOR_REQUIRED) } else { Ok(()) }
    }

    /// The second factor that is due from a user who signs in with this code, if they have one.
    pub(super) async fn factor_due(
        &self,
        user: UserId,
        shown: Option<SecondFactor>,
        now: Now,
    ) -> Result<Option<FactorDue>, Refusal> {
        let enrolled = self.has_second_factor(user, now).await?;
        Ok(enrolled.then_some(FactorDue { user, shown }))
    }

    /// Requires the second factor of a user who signs in over HTTP, if they have one. Returns whether they showed it.
    pub(super) async fn require_factor(
        &self,
        user: UserId,
        shown: Option<&SecondFactor>,
        now: Now,
    ) -> Result<bool, Refusal> {
        if !self.store.has_second_factor(user).await? {
            return Ok(false);
        }
        self.settle(FactorDue { user, shown: shown.cloned() }, now).await
    }

    async fn use_factor(&self, user: UserId, shown: Option<SecondFactor>, now: Now) -> Result<(), Refusal> {
        let judge = |sealed: &[u8]| self.factors.judge_shown(shown, user, sealed, now);
        outcome(self.store.check_second_factor(user, now.store_ms(), judge).await?)
    }

    async fn change_factor(
        &self,
        credential: &Credential,
        change: FactorChange,
        shown: Option<SecondFactor>,
        now: Now,
    ) -> Result<(), Refusal> {
        let judge = |sealed: &[u8]| self.factors.judge_shown(shown, credential.user, sealed, now);
        outcome(self.store.change_second_factor(credential, change, now.store_ms(), judge).await?)
    }

    async fn account_name(&self, user: UserId) -> Result<String, Refusal> {
        if let Some(email) = self.store.email_of(user).await? {
            return Ok(email);
        }
        let fingerprint = self.store.fingerprint_of(user).await?;
        Ok(fingerprint.map_or_else(|| user.to_string(), |fingerprint| fingerprint.to_string()))
    }
}

impl SecondFactors {
    pub(super) fn new(ring: &KeyRing) -> Self {
        Self {
            sealer: Sealer::new(ring.sub_keys("sealed-secrets")),
            recovery_keys: ring.sub_keys("recovery-codes"),
        }
    }

    fn hash(&self, code: &RecoveryCode, user: UserId) -> [u8; 32] {
        code.hash(self.recovery_keys.current().1, user)
    }

    fn seal(&self, secret: &TotpSecret, user: UserId) -> Result<Vec<u8>, Refusal> {
        self.sealer.seal(&mut rand::rng(), sealed_for(user), secret.as_bytes()).map_err(|_| FAILED)
    }

    /// Judges a code; no code is wrong.
    fn judge_shown(&self, shown: Option<SecondFactor>, user: UserId, sealed: &[u8], now: Now) -> Evidence {
        shown.map_or(Evidence::Wrong, |shown| self.judge(&shown, user, sealed, now))
    }

    fn judge(&self, shown: &SecondFactor, user: UserId, sealed: &[u8], now: Now) -> Evidence {
        match shown {
            SecondFactor::Totp(code) => self
                .step_of(code, user, sealed, now)
                .map_or(Evidence::Wrong, |(step, sealed_secret)| Evidence::Step { step, sealed_secret }),
            SecondFactor::Recovery(code) => {
                Evidence::Recovery(self.recovery_keys.iter().map(|key| code.hash(key, user)).collect())
            }
        }
    }

    /// The time step of a code, and the secret as it is to be stored: sealed again if an older key sealed it.
    fn step_of(&self, code: &TotpCode, user: UserId, sealed: &[u8], now: Now) -> Option<(i64, Vec<u8>)> {
        let secret = self.open(user, sealed)?;
        let step = i64::try_from(secret.check(code, now.unix_ms)?).ok()?;
        let outdated = self.sealer.is_outdated(sealed);
        let renewed = outdated.then(|| self.seal(&secret, user).ok()).flatten();
        Some((step, renewed.unwrap_or_else(|| sealed.to_vec())))
    }

    fn open(&self, user: UserId, sealed: &[u8]) -> Option<TotpSecret> {
        let opened = self.sealer.open(sealed_for(user), sealed);
        let opened: Zeroizing<Vec<u8>> =
            opened.inspect_err(|error| tracing::error!(%user, %error, "a second factor is lost")).ok()?;
        opened.as_slice().try_into().ok().map(TotpSecret::new)
    }
}

fn outcome(checked: FactorCheck) -> Result<(), Refusal> {
    match checked {
        FactorCheck::Accepted => Ok(()),
        FactorCheck::Wrong | FactorCheck::Repeated => Err(INVALID),
        FactorCheck::Locked => Err(LOCKED),
        FactorCheck::NotEnrolled => Err(NOT_ENROLLED),
    }
}

const fn sealed_for(user_id: UserId) -> SealedFor<'static> {
    SealedFor { user_id, purpose: PURPOSE }
}
