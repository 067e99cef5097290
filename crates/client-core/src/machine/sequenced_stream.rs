//! A numbered stream of the server, a room or the mailbox: delivered in order, with missing pages requested.

use std::time::Duration;

use crate::{
    Instant,
    reorder_buffer::{Limits, ReorderBuffer},
};

/// How long a gap may take to close by itself: the `ack` of the client's own message may arrive after the messages that
/// follow it.
const GRACE: Duration = Duration::from_millis(250);
/// The most that the grace doubles to while requests do not close the gap.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// First and last of a range of numbers.
pub(super) type Range = (u64, u64);

#[derive(Debug)]
pub(super) struct SequencedStream<T> {
    pub(super) buffer: ReorderBuffer<T>,
    /// The server may have more than has arrived.
    behind: bool,
    /// A page is requested.
    is_requested: bool,
    /// When the present gap is requested.
    gap_deadline: Option<Instant>,
    /// How often the present gap was requested.
    gap_timeouts: u32,
    /// The number after which the last page was requested.
    requested_after: u64,
    /// The first number that the last page left out. A number that the next page leaves out too is gone.
    hole: Option<u64>,
}

impl<T> SequencedStream<T> {
    pub(super) const fn new(delivered: Option<u64>, limits: Limits) -> Self {
        let buffer = ReorderBuffer::new(delivered, limits);
        Self {
            buffer,
            behind: false,
            is_requested: false,
            gap_deadline: None,
            gap_timeouts: 0,
            requested_after: 0,
            hole: None,
        }
    }

    /// Starts over in a fresh session: something may be missing, and earlier requests will not be answered.
    pub(super) fn restart(&mut self) {
        (self.behind, self.is_requested, self.gap_deadline, self.gap_timeouts) = (true, false, None, 0);
    }

    /// Something may be missing.
    pub(super) fn fall_behind(&mut self) {
        self.behind = true;
    }

    /// Adds an item that the server pushed or sent in a page. Returns false if an item had to be dropped: it is then
    /// requested again.
    pub(super) fn offer(&mut self, number: u64, item: T, size: usize) -> bool {
        let all_kept = self.buffer.offer(number, item, size);
        self.behind |= !all_kept;
        all_kept
    }

    /// Whether a page has to be requested.
    pub(super) const fn wants_page(&self) -> bool {
        self.behind && !self.is_requested
    }

    /// Whether a page is requested.
    pub(super) const fn is_page_requested(&self) -> bool {
        self.is_requested
    }

    /// Whether something may be missing beyond the page that is requested.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether a page is requested or has to be.
    pub(super) const fn is_catching_up(&self) -> bool {
        self.is_requested || self.behind
    }

    /// The number after which the next page begins.
    pub(super) fn since(&self) -> u64 {
        self.buffer.delivered().unwrap_or_default()
    }

    pub(super) fn begin_request(&mut self) {
        (self.behind, self.is_requested, self.requested_after) = (false, true, self.since());
    }

    /// Whether a server with this newest number has lost numbers, because it was restored from a backup.
    pub(super) const fn has_lost(&self, newest: u64) -> bool {
        newest < self.requested_after
    }

    /// Starts over with the oldest item that the server keeps. Numbers that were delivered may stand for other items now.
    pub(super) fn start_over(&mut self, first_kept: u64) {
        self.buffer.start_over(first_kept.saturating_sub(1));
        (self.requested_after, self.hole) = (0, None);
        self.restart();
    }

    /// The request for a page failed.
    pub(super) fn fail(&mut self) {
        (self.behind, self.is_requested) = (true, false);
    }

    /// Skips what the server no longer keeps; returns the skipped ranges.
    pub(super) fn begin_page(&mut self, first_kept: u64) -> Vec<Range> {
        let forgotten = first_kept.saturating_sub(1);
        if self.buffer.delivered().is_some() {
            return self.buffer.skip_missing(forgotten);
        }
        self.buffer.begin(forgotten);
        Vec::new()
    }

    /// Takes in that a page covers the numbers up to `last`. Returns false if it leaves a number out for the first time,
    /// which is then requested again. A number that is left out twice is skipped.
    pub(super) fn reach(&mut self, last: u64, missed: &mut Vec<Range>) -> bool {
        let next = self.buffer.reached().unwrap_or_default() + 1;
        if next > last {
            return true;
        }
        if self.hole.replace(next) != Some(next) {
            self.behind = true;
            return false;
        }
        missed.extend(self.buffer.skip_missing(last));
        true
    }

    /// The page has ended.
    pub(super) fn end_page(&mut self, is_last: bool) {
        self.is_requested = false;
        self.behind |= !is_last;
    }

    /// Starts the timer of a gap, or stops it when the gap is closed.
    pub(super) fn watch_gap(&mut self, now: Instant) {
        if !self.buffer.has_gap() {
            (self.gap_deadline, self.gap_timeouts) = (None, 0);
        } else if self.is_catching_up() {
            self.gap_deadline = None;
        } else {
            let grace = GRACE.saturating_mul(2_u32.saturating_pow(self.gap_timeouts)).min(LONGEST_GRACE);
            self.gap_deadline.get_or_insert(now + grace);
        }
    }

    /// When the gap has to be requested.
    pub(super) const fn gap_deadline(&self) -> Option<Instant> {
        self.gap_deadline
    }

    /// Requests the gap if its time has come; returns whether it had.
    pub(super) fn gap_timeout(&mut self, now: Instant) -> bool {
        if self.gap_deadline.is_none_or(|at| at > now) {
            return false;
        }
        (self.gap_deadline, self.gap_timeouts, self.behind) =
            (None, self.gap_timeouts.saturating_add(1), true);
        true
    }
}
