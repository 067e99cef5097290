//! How fast the client makes requests by itself.

use std::time::Duration;

use crate::Instant;

/// Requests that may go out at once: part of the 100 that a server allows, which leaves some for the application.
const BURST: u32 = 60;
/// After that, one in this time: 40 a second, of the 50 that a server allows.
const ONE_IN: Duration = Duration::from_millis(25);

/// A token bucket of [`BURST`] that fills by one in each [`ONE_IN`].
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    /// When it is full.
    full_at: Option<Instant>,
}

impl RateLimit {
    /// Takes a token, or returns when there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + ONE_IN;
        let earliest = full_at.checked_sub(ONE_IN * BURST).unwrap_or(now);
        if earliest > now {
            return Err(earliest);
        }
        self.full_at = Some(full_at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_at_once_then_forty_a_second() {
        let (mut rate_limit, start) = (RateLimit::default(), Instant::default());
        (0..60).for_each(|_| rate_limit.take(start).unwrap());
        assert_eq!(rate_limit.take(start), Err(start + ONE_IN));
        let second = start + Duration::from_secs(1);
        (0..40).for_each(|_| rate_limit.take(second).unwrap());
        assert_eq!(rate_limit.take(second), Err(second + ONE_IN));
        let later = start + Duration::from_secs(60);
        (0..60).for_each(|_| rate_limit.take(later).unwrap());
        assert!(rate_limit.take(later).is_err());
    }
}
