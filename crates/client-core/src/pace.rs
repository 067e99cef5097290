//! How fast the client speaks of its own accord.

use std::time::Duration;

use crate::Instant;

/// What may go out at once: a part of the 100 that a server takes, so that the application finds some left.
const BURST: u32 = 60;
/// After that, one in so much time: 40 a second, of the 50 that a server takes.
const ONE_IN: Duration = Duration::from_millis(25);

/// A bucket of [`BURST`] messages that fills by one in each [`ONE_IN`].
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When it is full.
    full_at: Option<Instant>,
}

impl Pace {
    /// Takes one out, or says when there is one.
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
        let (mut pace, start) = (Pace::default(), Instant::default());
        (0..60).for_each(|_| pace.take(start).unwrap());
        assert_eq!(pace.take(start), Err(start + ONE_IN));
        let second = start + Duration::from_secs(1);
        (0..40).for_each(|_| pace.take(second).unwrap());
        assert_eq!(pace.take(second), Err(second + ONE_IN));
        let later = start + Duration::from_secs(60);
        (0..60).for_each(|_| pace.take(later).unwrap());
        assert!(pace.take(later).is_err());
    }
}
