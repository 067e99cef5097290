//! Whether the connection is alive.

use std::time::Duration;

use aldis_protocol::{Heartbeat, limits::CLIENT_PING_INTERVAL};

use crate::Instant;

/// The shortest silence that counts as a break, whatever heartbeat the server announces: ordinary delays are shorter.
const SHORTEST_SILENCE: Duration = Duration::from_secs(5);

/// How long the pong may take if the connection is in doubt: a lost packet is sent again within that, twice.
const DOUBT: Duration = Duration::from_secs(5);

/// Pings every 20 s, with the pong within 20 s, and the heartbeat that the server announced.
#[derive(Debug)]
pub(super) struct Liveness {
    ping_at: Instant,
    pong_by: Option<Instant>,
    heard_at: Instant,
    longest_silence: Option<Duration>,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    Break,
}

impl Liveness {
    pub(super) fn new(heartbeat: Heartbeat, now: Instant) -> Self {
        Self {
            ping_at: now + CLIENT_PING_INTERVAL,
            pong_by: None,
            heard_at: now,
            longest_silence: longest_silence(heartbeat),
        }
    }

    /// Anything arrived.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    pub(super) fn pong(&mut self) {
        self.pong_by = None;
    }

    /// The connection may be dead: a ping is sent out of turn, and its pong has less time.
    pub(super) fn doubt(&mut self, now: Instant) {
        self.ping_at = now + CLIENT_PING_INTERVAL;
        let deadline = now + DOUBT;
        self.pong_by = Some(self.pong_by.map_or(deadline, |pong_by| pong_by.min(deadline)));
    }

    pub(super) fn deadline(&self) -> Instant {
        let silent_at = self.longest_silence.map(|silence| self.heard_at + silence);
        [self.pong_by, silent_at].into_iter().flatten().fold(self.ping_at, Instant::min)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        let no_pong = self.pong_by.is_some_and(|deadline| deadline <= now);
        let silent = self.longest_silence.is_some_and(|silence| self.heard_at + silence <= now);
        if no_pong || silent {
            return Some(Due::Break);
        }
        if self.ping_at > now {
            return None;
        }
        self.ping_at = now + CLIENT_PING_INTERVAL;
        self.pong_by.get_or_insert(now + CLIENT_PING_INTERVAL);
        Some(Due::Ping)
    }
}

fn longest_silence(heartbeat: Heartbeat) -> Option<Duration> {
    // A year stands for never, and keeps a made-up number from overflowing the clock.
    const NEVER: u64 = 365 * 24 * 3600;
    let seconds = heartbeat.interval.saturating_add(heartbeat.timeout);
    let announced = heartbeat.interval > 0 && seconds < NEVER;
    announced.then(|| Duration::from_secs(seconds).max(SHORTEST_SILENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Heartbeat = Heartbeat { interval: 0, timeout: 0 };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_ping_every_20_seconds_and_its_pong_within_20() {
        let start = Instant::default();
        let mut liveness = Liveness::new(NONE, start);
        assert_eq!(liveness.deadline(), start + seconds(20));
        assert_eq!(liveness.due(start + seconds(20)), Some(Due::Ping));
        liveness.pong();
        assert_eq!(liveness.due(start + seconds(40)), Some(Due::Ping));
        assert_eq!(liveness.due(start + seconds(60)), Some(Due::Break));
    }

    #[test]
    fn in_doubt_the_pong_has_5_seconds() {
        let start = Instant::default();
        let mut liveness = Liveness::new(NONE, start);
        liveness.doubt(start);
        assert_eq!(liveness.due(start + seconds(4)), None);
        assert_eq!(liveness.due(start + seconds(5)), Some(Due::Break));
        liveness.pong();
        assert_eq!(liveness.due(start + seconds(5)), None);
    }

    #[test]
    fn silence_beyond_the_servers_own_rhythm_is_a_break() {
        let start = Instant::default();
        let mut liveness = Liveness::new(Heartbeat { interval: 6, timeout: 2 }, start);
        liveness.heard(start + seconds(6));
        assert_eq!(liveness.deadline(), start + seconds(14));
        assert_eq!(liveness.due(start + seconds(13)), None);
        assert_eq!(liveness.due(start + seconds(14)), Some(Due::Break));
    }

    #[test]
    fn a_made_up_heartbeat_does_no_harm() {
        let mut liveness =
            Liveness::new(Heartbeat { interval: u64::MAX, timeout: u64::MAX }, Instant::default());
        assert_eq!(liveness.due(Instant::default()), None);
    }
}
