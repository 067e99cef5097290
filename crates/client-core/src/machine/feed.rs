//! A numbered stream of the server, a room or the mailbox: told in turn, asked for where something is missing.

use std::time::Duration;

use crate::{
    Instant,
    reorder_buffer::{Limits, ReorderBuffer},
};

/// How long a gap may take to close by itself: the `ack` of a message of one's own may come behind what follows it.
const GRACE: Duration = Duration::from_millis(250);
/// What the grace doubles to where asking does not close the gap.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// First and last of a range of numbers.
pub(super) type Range = (u64, u64);

#[derive(Debug)]
pub(super) struct Feed<T> {
    pub(super) buffer: ReorderBuffer<T>,
    /// There may be more than was seen.
    behind: bool,
    /// A page is under way.
    asking: bool,
    /// When a gap has lasted for too long.
    look_at: Option<Instant>,
    /// How often a gap has lasted for too long.
    looks: u32,
    /// Behind which number the last page was asked for.
    asked: u64,
    /// The first number that a page left out. Where the next one does so too, it is not there any more.
    hole: Option<u64>,
}

impl<T> Feed<T> {
    pub(super) const fn new(told: Option<u64>, limits: Limits) -> Self {
        let buffer = ReorderBuffer::new(told, limits);
        Self { buffer, behind: false, asking: false, look_at: None, looks: 0, asked: 0, hole: None }
    }

    /// Something may have been missed; what was asked before is not answered any more.
    pub(super) fn restart(&mut self) {
        (self.behind, self.asking, self.look_at, self.looks) = (true, false, None, 0);
    }

    /// Something may have been missed.
    pub(super) fn fall_behind(&mut self) {
        self.behind = true;
    }

    /// Takes in what the server sent by itself or in a page.
    pub(super) fn offer(&mut self, number: u64, item: T, size: usize) {
        if !self.buffer.offer(number, item, size) {
            self.behind = true;
        }
    }

    /// Whether a page is to be asked for.
    pub(super) const fn wants_page(&self) -> bool {
        self.behind && !self.asking
    }

    /// Whether a page is under way.
    pub(super) const fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether something may have been missed since a page was asked for.
    pub(super) const fn is_behind(&self) -> bool {
        self.behind
    }

    /// Whether a page is under way or to be asked for.
    pub(super) const fn is_catching_up(&self) -> bool {
        self.asking || self.behind
    }

    /// Behind which number the page begins.
    pub(super) fn since(&self) -> u64 {
        self.buffer.delivered().unwrap_or_default()
    }

    pub(super) fn ask(&mut self) {
        (self.behind, self.asking, self.asked) = (false, true, self.since());
    }

    /// Whether a server whose newest number is this one has lost numbers: it was restored from a backup.
    pub(super) const fn has_lost(&self, newest: u64) -> bool {
        newest < self.asked
    }

    /// Begins again with the oldest that the server keeps. Numbers that were told may stand for something else now.
    pub(super) fn start_over(&mut self, first_kept: u64) {
        self.buffer.start_over(first_kept.saturating_sub(1));
        (self.asked, self.hole) = (0, None);
        self.restart();
    }

    /// The page will not come.
    pub(super) fn fail(&mut self) {
        (self.behind, self.asking) = (true, false);
    }

    /// The page has begun where the server's memory does: what it forgot before is passed.
    pub(super) fn begin_page(&mut self, first_kept: u64) -> Vec<Range> {
        let forgotten = first_kept.saturating_sub(1);
        if self.buffer.delivered().is_some() {
            return self.buffer.skip_missing(forgotten);
        }
        self.buffer.begin(forgotten);
        Vec::new()
    }

    /// A page goes up to this number. False where it leaves something out for the first time: it is then to be asked
    /// for again. What is left out twice is passed.
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

    /// The page is over. One that brought nothing is the last, whatever it says.
    pub(super) fn end_page(&mut self, is_last: bool) {
        self.asking = false;
        self.behind |= !is_last;
    }

    /// Sees to the gap, if there is one.
    pub(super) fn look(&mut self, now: Instant) {
        if !self.buffer.has_gap() {
            (self.look_at, self.looks) = (None, 0);
        } else if self.is_catching_up() {
            self.look_at = None;
        } else {
            let grace = GRACE.saturating_mul(2_u32.saturating_pow(self.looks)).min(LONGEST_GRACE);
            self.look_at.get_or_insert(now + grace);
        }
    }

    /// When the gap has lasted for too long.
    pub(super) const fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Falls behind where the gap has lasted for too long.
    pub(super) fn lose_patience(&mut self, now: Instant) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        (self.look_at, self.looks, self.behind) = (None, self.looks.saturating_add(1), true);
        true
    }
}
