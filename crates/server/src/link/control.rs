//! Control messages of a session: close, or take a socket. Both go before its queue.

use std::collections::VecDeque;

use aldis_protocol::{CloseCode, ErrorReply};

use super::hand_over::Offer;

/// Sockets that may wait for a session: more than a client opens at once.
pub(super) const HAND_OVERS: usize = 8;

/// A control message of a session.
pub(crate) enum Control {
    /// Send the reason to the client, and close.
    Close(Closing),
    /// Check a socket whose client claims this session.
    HandOver(Offer),
}

/// A close that the server starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closing {
    pub(crate) code: CloseCode,
    pub(crate) reason: &'static str,
    /// The message of the `error` frame before it.
    pub(crate) error: ErrorReply<'static>,
}

/// Control messages that wait. Allocates only if there are some.
#[derive(Default)]
pub(super) struct Controls(Option<Box<Waiting>>);

#[derive(Default)]
struct Waiting {
    closing: Option<Closing>,
    offers: VecDeque<Offer>,
}

impl Closing {
    /// A close whose `error` has the code that belongs to it.
    pub(crate) fn new(code: CloseCode, reason: &'static str, message: &'static str) -> Self {
        let error = ErrorReply {
            close: Some(code.as_u16()),
            // With new credentials first, if the code says so.
            reconnect: Some(code.advice(reason) != aldis_protocol::Advice::Stop),
            ..ErrorReply::new(code.error_code(), message)
        };
        Self { code, reason, error }
    }

    /// As [`new`](Self::new), with the time after which the client should come back.
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.error.retry_after = Some(seconds);
        self
    }
}

impl Controls {
    /// Closes the session. Later closes are ignored.
    pub(super) fn close(&mut self, closing: Closing) {
        self.0.get_or_insert_default().closing.get_or_insert(closing);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.closing.is_some())
    }

    /// Returns the offer if the session closes, or has [`HAND_OVERS`] to check.
    pub(super) fn hand_over(&mut self, offer: Offer) -> Result<(), Offer> {
        let waiting = self.0.get_or_insert_default();
        if waiting.closing.is_some() || waiting.offers.len() >= HAND_OVERS {
            return Err(offer);
        }
        waiting.offers.push_back(offer);
        Ok(())
    }

    /// The next message; a close goes before sockets.
    pub(super) fn take(&mut self) -> Option<Control> {
        let waiting = self.0.as_mut()?;
        let closing = waiting.closing.take().map(Control::Close);
        let control = closing.or_else(|| waiting.offers.pop_front().map(Control::HandOver));
        if waiting.offers.is_empty() {
            self.0 = None;
        }
        control
    }

    pub(super) fn into_offers(self) -> VecDeque<Offer> {
        self.0.map(|waiting| waiting.offers).unwrap_or_default()
    }
}
