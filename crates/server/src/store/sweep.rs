//! Deletes expired rows, but not while the clock may be wrong, because deleted rows cannot be restored.

use super::{
    Store, StoreError,
    db::{Db, on},
};
use crate::clock::Now;

/// How many rows one statement of a sweep deletes, so that it holds the write lock only for milliseconds.
pub(super) const SWEEP_ROWS: i64 = 500;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// How often the newest time is stored.
const WRITE_NEWEST_MS: u64 = 10 * 60 * 1000;

/// Whether the clock is trusted for deleting.
#[derive(Debug, Default)]
pub(crate) struct SweepClock {
    /// The tick since which the clock has been more than a day ahead of the newest stored time.
    ahead_since: Option<u64>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Believed,
    /// The clock was just found to be ahead.
    FoundAhead,
    Ahead,
}

impl SweepClock {
    /// Compares the clock with the newest stored time, if there is one. A clock that is ahead is trusted once the
    /// server has run with it for an hour.
    fn judge(&mut self, newest_ms: Option<i64>, now: Now) -> Verdict {
        let ahead_ms = newest_ms.map_or(0, |newest_ms| unix_ms(now).saturating_sub(newest_ms));
        if ahead_ms <= DAY_MS {
            self.ahead_since = None;
            return Verdict::Believed;
        }
        match self.ahead_since {
            None => {
                self.ahead_since = Some(now.tick);
                Verdict::FoundAhead
            }
            Some(since) if now.tick.saturating_sub(since) < HOUR_MS => Verdict::Ahead,
            Some(_) => {
                self.ahead_since = None;
                Verdict::Believed
            }
        }
    }
}

impl Store {
    /// Deletes expired rows and returns how many. Deletes nothing while the clock is more than a day ahead of the
    /// newest stored time and the server has not run with it for an hour.
    ///
    /// # Errors
    /// [`StoreError`], as [`sweep`](Self::sweep).
    pub(crate) async fn sweep_by(&self, clock: &mut SweepClock, now: Now) -> Result<u64, StoreError> {
        let newest_ms = self.newest_time().await?;
        match clock.judge(newest_ms, now) {
            Verdict::Believed => {}
            Verdict::FoundAhead => {
                tracing::warn!(
                    now = %now.timestamp(),
                    newest_stored_ms = newest_ms,
                    "the clock is more than a day beyond the newest stored time: nothing that has expired is deleted \
                     for an hour; set the clock if it is wrong"
                );
                return Ok(0);
            }
            Verdict::Ahead => return Ok(0),
        }
        if newest_ms.is_none_or(|newest_ms| unix_ms(now).abs_diff(newest_ms) >= WRITE_NEWEST_MS) {
            self.set_newest_time(unix_ms(now)).await?;
        }
        self.sweep(unix_ms(now)).await
    }

    /// The newest time at which the server has used this database, in Unix milliseconds; up to ten minutes old.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn newest_time(&self) -> Result<Option<i64>, StoreError> {
        let select = "SELECT at_ms FROM newest_time";
        Ok(on!(&self.db, r, pool => sqlx::query_scalar(select).fetch_optional(pool).await?))
    }

    /// Also stores an earlier time, after the clock was set back: then the stored one was wrong.
    async fn set_newest_time(&self, now_ms: i64) -> Result<(), StoreError> {
        let upsert = "INSERT INTO newest_time (id, at_ms) VALUES (1, $1) \
             ON CONFLICT (id) DO UPDATE SET at_ms = excluded.at_ms";
        on!(&self.db, w, pool => sqlx::query(upsert).bind(now_ms).execute(pool).await.map(drop))?;
        Ok(())
    }
}

/// Adds up the sweeps of all tables, which run independently; returns the first failure.
pub(super) fn total(
    swept: impl IntoIterator<Item = (&'static str, Result<u64, StoreError>)>,
) -> Result<u64, StoreError> {
    let mut total = Ok(0);
    for (table, swept) in swept {
        match swept {
            Ok(rows) => total = total.map(|total| total + rows),
            Err(error) => {
                tracing::warn!(
                    table,
                    error = error.with_causes(),
                    "cannot delete expired rows; trying again"
                );
                total = total.and(Err(error));
            }
        }
    }
    total
}

/// Repeats a statement that deletes up to [`SWEEP_ROWS`] rows until none is left. Its parameters are the time and that
/// number.
pub(super) async fn sweep_rows(db: &Db, delete: &'static str, until_ms: i64) -> Result<u64, StoreError> {
    let mut total = 0;
    loop {
        let deleted = on!(db, w, pool => {
            sqlx::query(delete).bind(until_ms).bind(SWEEP_ROWS).execute(pool).await?.rows_affected()
        });
        total += deleted;
        if deleted < SWEEP_ROWS.unsigned_abs() {
            return Ok(total);
        }
    }
}

fn unix_ms(now: Now) -> i64 {
    i64::try_from(now.unix_ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWEST_MS: i64 = 1_800_000_000_000;

    fn after(days: i64, tick: u64) -> Now {
        Now { tick, unix_ms: (NEWEST_MS + days * DAY_MS).unsigned_abs() }
    }

    #[test]
    fn a_clock_that_is_ahead_is_trusted_after_an_hour() {
        let mut clock = SweepClock::default();
        assert_eq!(clock.judge(Some(NEWEST_MS), after(1, 5)), Verdict::Believed);
        assert_eq!(clock.judge(Some(NEWEST_MS), after(2, 10)), Verdict::FoundAhead);
        assert_eq!(clock.judge(Some(NEWEST_MS), after(2, 9 + HOUR_MS)), Verdict::Ahead);
        assert_eq!(clock.judge(Some(NEWEST_MS), after(2, 10 + HOUR_MS)), Verdict::Believed);
    }

    #[test]
    fn a_corrected_clock_is_trusted_at_once() {
        let mut clock = SweepClock::default();
        assert_eq!(clock.judge(Some(NEWEST_MS), after(40, 0)), Verdict::FoundAhead);
        assert_eq!(clock.judge(Some(NEWEST_MS), after(0, 1)), Verdict::Believed);
        assert_eq!(
            clock.judge(Some(NEWEST_MS), after(40, HOUR_MS)),
            Verdict::FoundAhead,
            "the hour starts again"
        );
    }

    #[test]
    fn a_database_without_a_time_or_a_clock_that_is_behind_does_not_delay_the_sweep() {
        let mut clock = SweepClock::default();
        assert_eq!(clock.judge(None, after(40, 0)), Verdict::Believed);
        assert_eq!(clock.judge(Some(NEWEST_MS), after(-40, 0)), Verdict::Believed);
    }
}
