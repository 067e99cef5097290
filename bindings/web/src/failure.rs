//! Errors as JavaScript gets them: plain data, of which the shell makes its classes.

use std::time::Duration;

use aldis_client_core::{
    CallError, ConnectionError, DialError, Refusal, RequestError,
    protocol::{ErrorCode, PendingRotation},
};
use serde::Serialize;

/// What all errors have.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    code: &'static str,
    message: String,
    is_retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_credentials: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_sign_in: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    close_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<PendingRotation>,
}

impl Failure {
    /// An error of the application's own making.
    pub(crate) fn mistake(code: &'static str, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            is_retryable: false,
            retry_after: None,
            needs_credentials: None,
            ends_sign_in: None,
            close_code: None,
            status: None,
            rotation: None,
        }
    }

    pub(crate) fn judged(self, is_retryable: bool, needs_credentials: bool) -> Self {
        Self { is_retryable, needs_credentials: Some(needs_credentials), ..self }
    }

    pub(crate) fn ending_sign_in(self, ends_sign_in: bool) -> Self {
        Self { ends_sign_in: Some(ends_sign_in), ..self }
    }

    /// As JSON.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl From<&RequestError> for Failure {
    fn from(error: &RequestError) -> Self {
        let retry_after = if let RequestError::Refused(refusal) = error { refusal.retry_after } else { None };
        Self {
            is_retryable: error.is_retryable(),
            retry_after: milliseconds(retry_after),
            ..Self::mistake(request_code(error), error.to_string())
        }
    }
}

impl From<&ConnectionError> for Failure {
    fn from(error: &ConnectionError) -> Self {
        let close_code = if let ConnectionError::Closed { code, .. } = error { Some(*code) } else { None };
        let rotation = if let ConnectionError::Refused { rotation, .. } = error { *rotation } else { None };
        let dial = if let ConnectionError::Dial(error) = error { Some(error) } else { None };
        Self {
            retry_after: milliseconds(dial.and_then(DialError::retry_after)),
            needs_credentials: Some(error.needs_credentials()),
            close_code,
            rotation,
            ..Self::mistake(connection_code(error), error.to_string())
        }
    }
}

impl From<&Refusal> for Failure {
    fn from(refusal: &Refusal) -> Self {
        Self::from(&RequestError::Refused(refusal.clone()))
    }
}

impl From<&CallError> for Failure {
    fn from(error: &CallError) -> Self {
        let refusal = error.refusal();
        Self {
            is_retryable: error.is_retryable(),
            retry_after: milliseconds(refusal.and_then(|refusal| refusal.retry_after)),
            needs_credentials: Some(error.needs_credentials()),
            status: refusal.map(|refusal| refusal.status),
            rotation: refusal.and_then(|refusal| refusal.rotation),
            ..Self::mistake(call_code(error), error.to_string())
        }
    }
}

fn request_code(error: &RequestError) -> &'static str {
    match error {
        RequestError::NotConnected => "not_connected",
        RequestError::QueueFull => "queue_full",
        RequestError::ConnectionLost => "connection_lost",
        RequestError::TimedOut => "timed_out",
        RequestError::Stopped => "stopped",
        RequestError::TooLarge => ErrorCode::TooLarge.as_str(),
        RequestError::IdInUse => "id_in_use",
        RequestError::Reserved => "reserved",
        RequestError::Refused(refusal) => refusal.code.as_str(),
        RequestError::UnexpectedReply | _ => "unexpected_reply",
    }
}

fn connection_code(error: &ConnectionError) -> &'static str {
    match error {
        ConnectionError::Token(_) => "token_failed",
        ConnectionError::Dial(DialError::TimedOut) | ConnectionError::HandshakeTimedOut => "timed_out",
        ConnectionError::Dial(_) => "unreachable",
        ConnectionError::Challenge(_) => "challenge_refused",
        ConnectionError::Signature(_) => "signing_failed",
        ConnectionError::Refused { code, .. } | ConnectionError::Closed { error: Some(code), .. } => {
            code.as_str()
        }
        ConnectionError::Silent => "silent",
        ConnectionError::NetworkChanged => "network_changed",
        ConnectionError::CredentialsChanged => "credentials_changed",
        ConnectionError::Stopped => "stopped",
        ConnectionError::Closed { error: None, .. } | ConnectionError::Broken(_) | _ => "connection_lost",
    }
}

fn call_code(error: &CallError) -> &'static str {
    match error {
        CallError::Dial(_) => "unreachable",
        CallError::TimedOut => "timed_out",
        CallError::Broken(_) => "connection_lost",
        CallError::AnswerTooLarge { .. } => "answer_too_large",
        CallError::NotUnderstood(_) => "unexpected_reply",
        CallError::Unwritable(_) => "unwritable",
        CallError::Refused(refusal) => refusal.code.map_or("refused", ErrorCode::as_str),
        _ => "failed",
    }
}

/// Times cross as whole milliseconds.
pub(crate) fn milliseconds(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
